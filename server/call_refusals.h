/* Refusals that are told later, so that a client that does not wait as it is told to is kept from asking all the time.
 *
 * A call that waits to be told takes no thread, and no place of its workspace; it ends before its deadline, and when its caller has
 * gone. */
#ifndef SERVER_CALL_REFUSALS_H
#define SERVER_CALL_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "grpc_c/server.h"

enum { CALL_REFUSALS_MAX = 4096 }; /* calls that wait to be told; more are told at once */

struct call_refusals;

/* Starts the thread that tells. Errors: ERROR_SYSTEM. */
bool call_refusals_new(struct call_refusals **ret_refusals, struct error *reterr_error);

/* Ends a call with what `error` means to its caller, with push-back: at `tell_ns` (monotonic), which is at once when it has passed, if
 * there is room, and in time for the call's deadline. For the gate, which must not have asked to be told when the caller goes. */
void call_refusals_tell(
    struct call_refusals *refusals, struct grpc_c_call *call, const struct error *error, int64_t tell_ns);

/* Tells those that wait, and from now on all at once: a server that ends does not wait for them. NULL is fine. */
void call_refusals_hurry(struct call_refusals *refusals);

/* How many wait at present, and how many have waited so far, those among them. Any thread. */
void call_refusals_count(struct call_refusals *refusals, size_t *ret_waiting, uint64_t *ret_late);

/* Ends the thread. Once no more calls come. NULL is fine. */
void call_refusals_free(struct call_refusals *refusals);

#endif
