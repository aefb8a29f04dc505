#include "base/histogram.h"

#include <assert.h>
#include <stddef.h>

static_assert(HISTOGRAM_STEPS == 32, "the comment in the header and the error bound speak of 32 steps");

/* Values below HISTOGRAM_STEPS have a bucket each; above, the position of the top bit selects a group of
 * HISTOGRAM_STEPS buckets and the next HISTOGRAM_STEP_BITS bits the bucket in it. */
static size_t bucket_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (size_t)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return ((size_t)shift + 1) * HISTOGRAM_STEPS + (size_t)((value >> shift) - HISTOGRAM_STEPS);
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_upper_edge(size_t bucket)
{
    assert(bucket < HISTOGRAM_BUCKETS);
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = (unsigned)(bucket / HISTOGRAM_STEPS) - 1;
    uint64_t first = (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
    return first + (((uint64_t)1 << shift) - 1);
}

void histogram_clear(struct histogram *histogram)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        atomic_store_explicit(&histogram->counts[i], 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->max, 0, memory_order_relaxed);
}

static void raise_max(struct histogram *histogram, uint64_t value)
{
    uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);

    while (value > max && !atomic_compare_exchange_weak_explicit(
                              &histogram->max, &max, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    atomic_fetch_add_explicit(&histogram->counts[bucket_of(value)], 1, memory_order_relaxed);
    raise_max(histogram, value);
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&from->counts[i], memory_order_relaxed);
        if (count != 0)
            atomic_fetch_add_explicit(&histogram->counts[i], count, memory_order_relaxed);
    }
    raise_max(histogram, histogram_max(from));
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    return count;
}

uint64_t histogram_max(const struct histogram *histogram)
{
    return atomic_load_explicit(&histogram->max, memory_order_relaxed);
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille)
{
    uint64_t count = histogram_count(histogram);
    uint64_t rank = (count * per_mille + 999) / 1000;
    uint64_t seen = 0;
    uint64_t max = histogram_max(histogram);

    assert(per_mille >= 1 && per_mille <= 1000);
    if (count == 0)
        return 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        if (seen >= rank) {
            uint64_t edge = bucket_upper_edge(i);
            return edge < max ? edge : max;
        }
    }
    return max;
}
