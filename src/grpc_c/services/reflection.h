/* Server reflection, v1 and v1alpha: clients such as grpcurl learn services and messages from the server
 * (github.com/grpc/grpc/blob/master/doc/server-reflection.md). */
#ifndef GRPC_C_SERVICES_REFLECTION_H
#define GRPC_C_SERVICES_REFLECTION_H

#include "grpc_c/server.h"

struct grpc_c_reflection;

/* Registers both versions, which tell of the services that the server has by now and of themselves: the last service
 * to be added. Before the server starts. The result is released after the server. */
struct grpc_c_reflection *grpc_c_reflection_add(struct grpc_c_server *server);
void grpc_c_reflection_free(struct grpc_c_reflection *reflection); /* NULL is fine */

#endif
