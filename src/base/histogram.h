/* Counts of durations in buckets whose width grows with the value: 32 per power of two, so that any quantile is at
 * most 3.2 % above the true one, in 15 KiB. Adding is safe from any thread; reading gives one moment only when
 * nobody adds. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 5,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS
};

struct histogram {
    atomic_uint_least64_t counts[HISTOGRAM_BUCKETS];
    atomic_uint_least64_t max;
};

/* Empties it. Not while others add. */
void histogram_clear(struct histogram *histogram);

/* Counts one value. */
void histogram_add(struct histogram *histogram, uint64_t value);

/* How many values were added. */
uint64_t histogram_count(const struct histogram *histogram);

/* The largest value added, exact; 0 when there is none. */
uint64_t histogram_max(const struct histogram *histogram);

/* Adds everything that another one has. Others may add to `from` meanwhile. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

/* The upper edge of the bucket that holds the value of rank ceil(per_mille / 1000 × count), and never more than the
 * largest value; 0 when there is none. `per_mille` is 1 … 1000. */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille);

#endif
