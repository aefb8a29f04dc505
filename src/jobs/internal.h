/* What the module's files share. Not for users of src/jobs. */
#ifndef JOBS_INTERNAL_H
#define JOBS_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/uuid.h"
#include "jobs/jobs.h"
#include "jobs/retry_policy.h"
#include "routing/retries.h"

/* --- The catalogue ------------------------------------------------------------------------------------------------ */

struct job_run;

enum job_step_kind {
    JOB_STEP_ONCE,   /* one statement that returns a count */
    JOB_STEP_REPEAT, /* the same again until the count is 0 */
    JOB_STEP_SWEEP,  /* $1 is a page; returns a count and the next page, NULL at the end */
    JOB_STEP_WALK, /* the last parameter is a place as text, NULL at first; returns a count and the next place, NULL at the end */
};

enum job_parameter {
    JOB_PARAMETER_NONE,
    JOB_PARAMETER_LOG_KEEP_DAYS,
    JOB_PARAMETER_LOST_WINDOW, /* seconds to look back, or NULL: all */
};

/* One statement of a job: a bounded batch in a transaction of its own. */
struct job_step {
    const char *label; /* what is counted, in the run's detail */
    const char *sql;
    enum job_step_kind kind;
    enum job_parameter parameter; /* $1, if there is one; none for a sweep */
};

enum { JOB_STEPS_MAX = 6 };

struct job_entry {
    struct job_description base;
    bool is_long;     /* may take minutes: run by a thread that the short ones do not wait for */
    int32_t grace_ms; /* a run that has not shown itself for so long belongs to a server that has gone */
    const struct job_step steps[JOB_STEPS_MAX];                   /* up to the first without a label */
    bool (*run)(struct job_run *run, struct error *reterr_error); /* instead of steps, or NULL */
};

extern const struct job_entry jobs_catalogue[];
extern const size_t jobs_catalogue_count;
/* The entry of that name, or NULL. */
const struct job_entry *jobs_entry(const char *name);

/* --- A run -------------------------------------------------------------------------------------------------------- */

/* A run under way. Belongs to one thread. */
struct job_run {
    struct jobs *jobs;
    const struct job_entry *entry;
    struct pg_conn *conn;
    struct arena *arena; /* cleared between statements */
    json_t *detail;      /* counts by label */
    struct uuid run_id;
    bool by_hand;
    bool is_cut_short;   /* ended between two batches because the server stops */
    bool is_paused;      /* ended between two batches because of a pause: to be gone on with when that ends */
    const char *step;    /* under way, or NULL */
    int64_t deadline_ns; /* monotonic */
};

enum job_begin { JOB_BEGUN, JOB_NOT_NOW, JOB_BEGIN_FAILED };

/* Begins the job if it is time for it (by hand: at once), runs it, records how it ended; a run by schedule that is cut
 * short is not recorded, so that another server takes it over. JOB_NOT_NOW when somebody runs it, or it is not time;
 * `*ret_is_done` is false, with the error, when it was begun and failed or was cut short. */
enum job_begin job_run(struct jobs *jobs, struct pg_conn *conn, const struct job_entry *entry, int64_t next_run_us,
    bool by_hand, int64_t deadline_ns, bool *ret_is_done, struct error *reterr_error);

/* For jobs of their own code, between batches: shows that the run goes on. False when it is to end: it was given to another server
 * (ERROR_BUSY), time is up (ERROR_DEADLINE), or the server stops (ERROR_UNAVAILABLE). `*ret_is_paused` tells that it should end well. */
bool job_run_goes_on(struct job_run *run, bool *ret_is_paused, struct error *reterr_error);
/* Adds to a count of the run's detail. */
void job_run_count(struct job_run *run, const char *label, int64_t count);

/* The job `health_check`: an observer hears of what is wrong. */
bool job_check_health(struct job_run *run, struct error *reterr_error);
/* The job `retries`, run by hand: everything that is due now. */
bool job_drain_retries(struct job_run *run, struct error *reterr_error);

/* --- Threads ------------------------------------------------------------------------------------------------------ */

/* Makes the rows of the jobs that have none: they first run when their schedule says, counted from now. */
bool jobs_make_rows(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

struct scheduler;
/* Starts the scheduler's threads. */
bool scheduler_new(struct jobs *jobs, struct scheduler **ret_scheduler, struct error *reterr_error);
/* Waits for them; the jobs must be stopping. NULL is fine. */
void scheduler_free(struct scheduler *scheduler);

struct retry_runner;
/* Starts the retry lanes and the listener. */
bool retry_runner_new(struct jobs *jobs, struct retry_runner **ret_runner, struct error *reterr_error);
/* Ends them. NULL is fine. */
void retry_runner_free(struct retry_runner *runner);

/* What keeps the first lane from its work; false when nothing does. Any thread. */
bool retry_runner_failure(struct retry_runner *runner, struct error *ret_error);

/* Takes what the lanes have done since this was called last, to be recorded; false when that is nothing yet. Any thread. */
struct retry_burst {
    struct routing_retries_report report;
    int64_t duration_ms;
};
bool retry_runner_take_burst(struct retry_runner *runner, struct retry_burst *ret_burst);

struct jobs {
    struct jobs_options options;
    struct scheduler *scheduler;
    struct retry_runner *retry_runner;
    atomic_int_fast64_t lost_all_ns; /* monotonic: when all leads are looked through next, not only the late ones */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic clock */
    /* under the lock */
    bool is_stopping;
};

/* True once jobs_stop() was called. Any thread. */
bool jobs_are_stopping(struct jobs *jobs);
/* What callers may read about a failure: PostgreSQL's own words may quote rows, so they are for the log only. `step` is what failed,
 * or NULL. */
const char *jobs_failure_text(const struct error *error, const char *step, char ret_text[ERROR_TEXT_SIZE]);
/* Tells the observer, if there is one. */
void jobs_tell(struct jobs *jobs, const struct jobs_event *event);

#endif
