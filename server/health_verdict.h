/* From what is known about routing to a word and sentences for people: the thresholds of Health, without a database in sight. */
#ifndef SERVER_HEALTH_VERDICT_H
#define SERVER_HEALTH_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "routing/engine.h"

enum { HEALTH_JOBS_MAX = 32, HEALTH_JOB_NAME_SIZE = 64, HEALTH_PROBLEMS_MAX = 13 + 2 * HEALTH_JOBS_MAX };

/* What the database counts (sql/README.md, health_counts()). */
struct health_counts {
    int64_t pending, routing, failed, retry_queue_depth, retries_due, stale_locks, oldest_pending_age_seconds,
        counted_us, held, oldest_due_age_seconds;
    double stale_mean_seconds, stale_max_seconds; /* how long stale locks have been held */
    double due_attempt_mean;                      /* attempts made of retries that are due */
    int32_t due_attempt_max;
    int64_t sealed_us;            /* when the audit log was sealed last; 0: never; not of one workspace */
    int32_t log_days_ahead;       /* days after today that the audit log has partitions for */
    int64_t unsealed_age_seconds; /* how old the oldest row of the audit log is that no seal covers; 0: none */
    bool is_sealing_held;         /* a transaction that is under way keeps it from being sealed */
};

/* A background job (list_jobs()). */
struct health_job {
    char name[HEALTH_JOB_NAME_SIZE];
    bool is_paused;
    bool is_running;
    bool has_schedule; /* false: `next_run_us` says nothing */
    int32_t failures;  /* in a row */
    int64_t next_run_us;
    int64_t last_ended_us; /* 0: never */
    int64_t last_done_us;  /* when it last ended well; 0: never */
    int64_t last_duration_ms;
    int64_t runs;
};

/* Everything that is judged. */
struct health_facts {
    bool is_one_workspace; /* then of the rest only `counts` is known */
    struct health_counts counts;
    struct health_job jobs[HEALTH_JOBS_MAX];
    size_t job_count;
    struct routing_rates rates;
    int64_t descriptors_used;
    int64_t descriptors_limit;
};

/* Worse is larger; the numbers are those of leadrouter.v1.HealthStatus. */
enum health_status { HEALTH_HEALTHY = 1, HEALTH_DEGRADED = 2, HEALTH_CRITICAL = 3 };

struct health_verdict {
    enum health_status status;
    char *problems[HEALTH_PROBLEMS_MAX]; /* what is wrong, a sentence each, in the arena */
    size_t problem_count;
};

/* Judges. Pure, but for the arena. */
void health_judge(const struct health_facts *facts, struct arena *arena, struct health_verdict *ret_verdict);

#endif
