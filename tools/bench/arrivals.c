#include "arrivals.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"

static const uint64_t SECOND_NS = 1000000000;

static int64_t rate_in_second(const struct arrivals_shape *shape, int64_t second)
{
    assert(shape->per_second >= 1 && (shape->burst_per_second == 0 || shape->burst_every_s >= 1));
    if (shape->burst_per_second > 0 && second % shape->burst_every_s == 0)
        return shape->burst_per_second;
    return shape->per_second;
}

size_t arrivals_count(const struct arrivals_shape *shape, int64_t seconds)
{
    size_t count = 0;

    for (int64_t second = 0; second < seconds; second++)
        count += (size_t)rate_in_second(shape, second);
    return count;
}

static int compare_times(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

int64_t *arrivals_make(const struct arrivals_shape *shape, int64_t seconds, uint64_t seed)
{
    struct random_sequence sequence = random_sequence_from(seed);
    int64_t *due_ns = memory_new_array(arrivals_count(shape, seconds), sizeof(*due_ns));
    int64_t *next_ns = due_ns;

    for (int64_t second = 0; second < seconds; second++) {
        size_t count = (size_t)rate_in_second(shape, second);
        for (size_t i = 0; i < count; i++)
            next_ns[i] = second * (int64_t)SECOND_NS + (int64_t)random_below(&sequence, SECOND_NS);
        qsort(next_ns, count, sizeof(*next_ns), compare_times);
        next_ns += count;
    }
    return due_ns;
}
