/* RouteLead over gRPC, one lead a call, with a fixed number of calls in flight. */
#ifndef BENCH_UNARY_H
#define BENCH_UNARY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "run.h"

struct unary_options {
    const char *target; /* Required. "host:port" */
    unsigned in_flight; /* calls under way at most; at least 1 */
    /* 0: as fast as answers come. Otherwise calls are due at this rate, and their latency counts from then. */
    unsigned calls_per_second;
    /* Optional, in place of a rate: when each call is due, in nanoseconds from the start and in order, as many as leads. */
    const int64_t *due_ns;
    /* Optional: what the call for each lead shows as its "authorization", as many as leads. */
    const char *const *authorizations;
    const char *service_config_json; /* Optional: of the channel, as a retry policy */
    /* Optional: calls that were refused for want of room are counted here, and made again at once; otherwise they are errors of the run. */
    atomic_uint_least64_t *refused;
};

/* Waits until the server answers Health, 30 s at most; `token` may be NULL. ERROR_UNAVAILABLE when it does not. */
bool unary_wait_ready(const char *target, const char *token, struct error *reterr_error);

/* Routes the run's leads until it ends. Errors: ERROR_INVALID (target). What single calls answer is in the run. */
bool unary_run(struct run *run, const struct unary_options *options, struct error *reterr_error);

#endif
