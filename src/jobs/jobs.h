/* Background work of a server (src/jobs/README.md): the retry queue, and jobs by schedule. Several servers on one database share both;
 * nothing is done twice, and what one of them leaves behind another takes up. */
#ifndef JOBS_JOBS_H
#define JOBS_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/schedule.h"
#include "pg/pg.h"
#include "routing/engine.h"

struct jobs;

/* What jobs tell their server, for its log. Texts are constant but for `detail` and `error`. Called on threads of this module; must not
 * block for long. */
enum jobs_event_kind {
    JOBS_EVENT_DONE,    /* a run ended well */
    JOBS_EVENT_FAILED,  /* a run failed; it is tried again */
    JOBS_EVENT_ALERT,   /* the health check found something wrong */
    JOBS_EVENT_RETRIES, /* a burst of retries ended */
    JOBS_EVENT_DATABASE, /* the scheduler or a retry lane lost the database, or could not use it; told once until it is back */
};
struct jobs_event {
    enum jobs_event_kind kind;
    const char *job;    /* name */
    const char *detail; /* a JSON object of counts; for ALERT a sentence */
    int64_t duration_ms;
    const struct error *error; /* of FAILED and DATABASE; otherwise NULL */
};
typedef void jobs_observer(void *user, const struct jobs_event *event);

struct jobs_options {
    const struct pg_config *database; /* Required; borrowed while the jobs live, as the next */
    const struct pg_config
        *listen_database;          /* where to LISTEN for changes of rules; NULL: found by polling, within a second */
    struct routing_engine *engine; /* Required; borrowed */
    unsigned retry_lanes_max;      /* connections that decide retries, 1 at least; default 2 */
    int log_keep_days;             /* audit log and what explains it; default 90 */
    jobs_observer *observer;       /* or NULL */
    void *user;
    bool by_hand_only; /* nothing runs by itself; for jobs_run() */
};

/* Starts the background work. It connects by itself and goes on trying; it does not fail because the database is away. */
bool jobs_new(const struct jobs_options *options, struct jobs **ret_jobs, struct error *reterr_error);

/* Makes the jobs' rows in the database, those that are missing, over a connection of its own. The background work does so too, in its own
 * time; a server that wants to show them from the start does it before. Errors: those of pg_conn_open() and pg_execute(). */
bool jobs_register(const struct pg_config *database, int64_t deadline_ns, struct error *reterr_error);

/* Begins to end it, and returns at once: what is under way ends after its transaction, runs by hand too. Any thread. */
void jobs_stop(struct jobs *jobs);

/* Ends it: waits for the transactions under way, not for whole jobs. NULL is fine. */
void jobs_free(struct jobs *jobs);

/* A job as this build knows it. */
struct job_description {
    const char *name;
    const char *description; /* a sentence */
    struct job_schedule schedule;
};

/* The jobs, in order of their names; NULL for an index at or behind the end, or a name that there is not. */
const struct job_description *jobs_describe(size_t index);
const struct job_description *jobs_find(const char *name);

/* Runs a job now, paused or not, on the caller's thread and a connection of its own; returns when it has ended or the
 * deadline has passed (it is then recorded as failed, and what it did stays done). Errors: ERROR_NOT_FOUND, ERROR_BUSY (a
 * server runs it at this moment), ERROR_UNAVAILABLE, ERROR_DEADLINE, and what the job failed with. Any thread. */
bool jobs_run(struct jobs *jobs, const char *name, int64_t deadline_ns, struct error *reterr_error);

#endif
