/* What a run must reach, and by how much it did: the service levels (levels/levels.h), and stricter or further goals of its own. */
#ifndef BENCH_GOALS_H
#define BENCH_GOALS_H

#include <stdbool.h>
#include <stddef.h>

/* What is measured. */
enum goal_measure {
    /* of the service levels */
    GOAL_AVAILABILITY, /* share of calls that were answered, whatever the business outcome */
    GOAL_SUCCESS,      /* share of final decisions that are routed or duplicates */
    GOAL_P95_MS,       /* latency */
    GOAL_P99_MS,       /* latency */
    GOAL_DUE,          /* rows of the retry queue that were due at once, at most */
    GOAL_LOCKS,        /* share of leads asked for whose lock was had at once */
    GOAL_STALE,        /* stale locks at once, at most */
    /* others */
    GOAL_LEADS_PER_SECOND, /* decided */
    GOAL_QUEUE,            /* open rows of the retry queue, at most */
    GOAL_LOCK_WAITS,       /* leads asked for whose lock was not had at once */
    GOAL_BACKLOG_S,        /* from when the last lead was due until nothing was left to do */
    GOAL_SESSIONS, /* share of the database's connections in use, at most; pools are as large as they are set, so no margin is asked */
    GOAL_WRONG, /* decisions that are wrong, missing or made twice */
    /* of the parts of a transaction, by the server's own measurement (phases.h) */
    GOAL_ACQUIRE_MS,
    GOAL_MATCH_MS,
    GOAL_COMPLETE_MS,
    GOAL_MEASURES
};

/* How a bound is meant. */
enum goal_direction {
    GOAL_AT_LEAST_SHARE, /* of 1; what is missing to 1 is what counts */
    GOAL_AT_LEAST,
    GOAL_BELOW,
    GOAL_AT_MOST,
};

struct goal {
    enum goal_measure measure;
    double bound;
};

/* Several goals, one of each measure at most. */
struct goals {
    struct goal items[GOAL_MEASURES];
    size_t count;
};

/* The service level of a measure that has one. */
struct goal goal_of_level(enum goal_measure measure);

/* Whether a measure is that of a service level. */
bool goal_is_level(enum goal_measure measure);

/* Adds a goal; of two of the same measure the stricter one stays. */
void goals_add(struct goals *goals, struct goal goal);

/* A goal held against what was measured. */
struct verdict {
    struct goal goal;
    double measured;
    /* How many times over it was met: how much slower it could have been, how many more failures there could have been, how many
     * times the speed that is wanted. INFINITY when nothing at all was used of what is allowed. */
    double margin;
    bool is_met; /* as many times over as was asked for */
};

/* `times` is how many times over the goal must be met, 1 at least. */
struct verdict verdict_of(struct goal goal, double measured, double times);

/* For programs ("latency_p95"), and for people ("p95 latency"). */
const char *goal_name(enum goal_measure measure);
const char *goal_title(enum goal_measure measure);

/* For the head of a column: 8 characters at most. */
const char *goal_short_title(enum goal_measure measure);

/* A value ("99.90 %", "12.4 ms"), and a bound with its sign ("< 2000 ms", ">= 99.90 %", "0"), as text. */
enum { GOAL_TEXT_SIZE = 32 };
const char *goal_format(enum goal_measure measure, double value, char ret_text[GOAL_TEXT_SIZE]);
const char *goal_format_bound(struct goal goal, char ret_text[GOAL_TEXT_SIZE]);

#endif
