/* Refusals that are told later, so that a client that does not wait as it is told to is kept from asking all the time. */
#ifndef SERVER_CALL_REFUSALS_H
#define SERVER_CALL_REFUSALS_H

#include <stdbool.h>

#include "base/error.h"
#include "grpc_c/server.h"

enum {
    CALL_REFUSALS_MS = 100,   /* how much later */
    CALL_REFUSALS_MAX = 1024, /* calls that wait to be told; more are told at once */
};

struct call_refusals;

/* Starts the thread that tells. Errors: ERROR_SYSTEM. */
bool call_refusals_new(struct call_refusals **ret_refusals, struct error *reterr_error);

/* Ends a call with what `error` means to its caller, with push-back; CALL_REFUSALS_MS later when `is_late` and there is room. Any
 * thread. */
void call_refusals_tell(
    struct call_refusals *refusals, struct grpc_c_call *call, const struct error *error, bool is_late);

/* Tells those that wait, ends the thread. Once no more calls come. NULL is fine. */
void call_refusals_free(struct call_refusals *refusals);

#endif
