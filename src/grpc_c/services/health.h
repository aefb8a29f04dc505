/* grpc.health.v1: what load balancers and probes ask (github.com/grpc/grpc/blob/master/doc/health-checking.md). Check
 * and Watch; a server switches it on by adding it. Any thread. */
#ifndef GRPC_C_SERVICES_HEALTH_H
#define GRPC_C_SERVICES_HEALTH_H

#include <stdbool.h>

#include "grpc_c/server.h"

struct grpc_c_health;

/* Knows only the server as a whole (""), which does not serve yet. Released after the server. */
struct grpc_c_health *grpc_c_health_new(void);
void grpc_c_health_free(struct grpc_c_health *health); /* NULL is fine */

/* Registers the service. Before the server starts. */
void grpc_c_health_add(struct grpc_c_server *server, struct grpc_c_health *health);

/* Says whether a service ("" for the server as a whole; a full name otherwise, copied) serves. A service is known from
 * its first time on; who watches is told when it changes. */
void grpc_c_health_set(struct grpc_c_health *health, const char *service, bool is_serving);

/* Nothing serves any more, whatever is set later, and who watches is told and sent away with UNAVAILABLE. First thing
 * when a server is to stop. */
void grpc_c_health_stop(struct grpc_c_health *health);

#endif
