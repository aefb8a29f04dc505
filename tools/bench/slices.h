/* Measuring what differs by less than the machine's speed does from one second to the next: several sides, each with a server of its
 * own, take turns of a fraction of a second, in an order that changes. */
#ifndef BENCH_SLICES_H
#define BENCH_SLICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "children.h"
#include "unary.h"
#include "workload.h"

enum { SLICE_MS = 250 };
#define SLICES_OF(duration_s) ((size_t)((duration_s)*1000 / SLICE_MS))

/* One side in one round: its server, and what its slices came to. */
struct slices_side {
    const char *name;
    struct server server;
    const char *const *authorizations; /* as in struct unary_options, for all leads; or NULL */
    struct histogram latency;
    uint64_t answered;
    double seconds;
    double *per_second; /* Optional: of each turn; SLICES_OF(duration_s) */
};

/* Has `count` sides route leads by turns, `duration_s` seconds each, with so many calls in flight. A lead that one had is none of the
 * others'. Errors: a call failed, there are too few leads, or it was interrupted. */
bool slices_measure(struct slices_side *sides, size_t count, const struct workload *workload, int64_t duration_s,
    unsigned in_flight, struct error *reterr_error);

#endif
