/* Names of status codes. */
#ifndef GRPC_C_STATUS_H
#define GRPC_C_STATUS_H

#include "grpc_c/types.h"

/* "INVALID_ARGUMENT" and so on; "UNKNOWN" for numbers without a name. Static storage. */
const char *grpc_c_status_name(enum grpc_c_status status);

#endif
