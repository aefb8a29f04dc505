/* How hard to work on the retry queue: as hard as there is work, and as callers leave room for. A function of what was seen, and nothing
 * else. Any thread. */
#ifndef JOBS_RETRY_POLICY_H
#define JOBS_RETRY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct retry_policy_limits {
    unsigned batch_max;
    unsigned lanes_max;
};

/* What a lane saw of its last batch. */
struct retry_observation {
    bool was_full;         /* as many leads as it had asked for: there are more */
    int64_t duration_ns;   /* of the batch */
    bool callers_are_here; /* somebody waited for a lead of his own within the last second */
};

/* What to do next. */
struct retry_pace {
    unsigned batch; /* leads to ask for */
    unsigned lanes; /* that work at the same time */
};

/* Where a lane begins, and begins again once the queue was empty. */
struct retry_pace retry_pace_first(const struct retry_policy_limits *limits);
/* How it goes on after a batch. */
struct retry_pace retry_pace_next(
    const struct retry_policy_limits *limits, struct retry_pace pace, const struct retry_observation *seen);

#endif
