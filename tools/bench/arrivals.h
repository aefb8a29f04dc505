/* When the calls of a load test are due: as many in each second as its rate says, at random moments within it, as callers
 * who know nothing of one another would make them. */
#ifndef BENCH_ARRIVALS_H
#define BENCH_ARRIVALS_H

#include <stddef.h>
#include <stdint.h>

/* A load over time. */
struct arrivals_shape {
    int64_t per_second;       /* 1 at least */
    int64_t burst_per_second; /* the rate of the first second of every `burst_every_s`; 0: no bursts */
    int64_t burst_every_s;    /* 1 at least with bursts */
};

/* How many calls are due within the first `seconds`. */
size_t arrivals_count(const struct arrivals_shape *shape, int64_t seconds);

/* When they are due, in nanoseconds from the start, in order: arrivals_count() of them, the same for the same `seed`. Memory of the
 * caller. */
int64_t *arrivals_make(const struct arrivals_shape *shape, int64_t seconds, uint64_t seed);

#endif
