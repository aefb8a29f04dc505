#include "jobs/retry_policy.h"

/* How long a batch may take while callers are here. Who needs the core that it runs on waits until its statement is over or the
 * kernel looks at the clock again, each 4 ms on most machines: the two statements of such a batch are shorter
 * (docs/performance.md). */
static const int64_t polite_ns = 6000000;

enum {
    BATCH_FIRST = 32,
    BATCH_LEAST = 64, /* smaller ones cost much more a lead, and a busy machine would become busier by them */
};

static unsigned at_most(unsigned value, unsigned most)
{
    return value > most ? most : value;
}

struct retry_pace retry_pace_first(const struct retry_policy_limits *limits)
{
    return (struct retry_pace){.batch = at_most(BATCH_FIRST, limits->batch_max), .lanes = 1};
}

/* The batch that would have taken polite_ns, by how long this one took. */
static unsigned polite_batch(unsigned batch, int64_t duration_ns)
{
    int64_t fitting = duration_ns <= 0 ? batch : batch * polite_ns / duration_ns;

    return fitting < BATCH_LEAST ? BATCH_LEAST : (unsigned)fitting;
}

struct retry_pace retry_pace_next(
    const struct retry_policy_limits *limits, struct retry_pace pace, const struct retry_observation *seen)
{
    if (!seen->was_full)
        return retry_pace_first(limits); /* the queue is empty: start small again */
    if (seen->callers_are_here) {
        unsigned fitting = polite_batch(pace.batch, seen->duration_ns);
        pace.batch = at_most(at_most(pace.batch * 2, fitting), limits->batch_max);
        pace.lanes = 1;
        return pace;
    }
    /* One lane with the largest batches first; more of them only when that is not enough. */
    if (pace.batch >= limits->batch_max)
        pace.lanes = limits->lanes_max;
    pace.batch = at_most(pace.batch * 2, limits->batch_max);
    return pace;
}
