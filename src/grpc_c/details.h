/* Rich errors: messages of any type that travel beside a status, in "grpc-status-details-bin", as google.rpc.Status
 * (cloud.google.com/apis/design/errors). Both ends. */
#ifndef GRPC_C_DETAILS_H
#define GRPC_C_DETAILS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "grpc_c/client.h"
#include "grpc_c/server.h"

/* One detail: the bytes of a message and its type, "type.googleapis.com/google.rpc.RetryInfo". */
struct grpc_c_detail {
    const char *type_url;
    const void *bytes;
    size_t size;
};

/* Ends the call as grpc_c_call_fail() does, with details, which are packed before the function returns. Any thread. */
void grpc_c_call_fail_with_details(struct grpc_c_call *call, enum grpc_c_status status, const char *message,
    const struct grpc_c_detail *details, size_t count);

/* The details of a call that failed, in the arena; `*ret_count` 0 when it has none. Errors: ERROR_INVALID when what the
 * server sent is no google.rpc.Status, or has another code than the call ended with. */
bool grpc_c_outcome_details(const struct grpc_c_outcome *outcome, struct arena *arena,
    const struct grpc_c_detail **ret_details, size_t *ret_count, struct error *reterr_error);

#endif
