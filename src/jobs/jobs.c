#include "jobs/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "jobs/internal.h"

enum { RETRY_LANES_DEFAULT = 2, LOG_KEEP_DAYS_DEFAULT = 90 };

bool jobs_are_stopping(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    bool is_stopping = jobs->is_stopping;
    pthread_mutex_unlock(&jobs->lock);
    return is_stopping;
}

const char *jobs_failure_text(const struct error *error, const char *step, char ret_text[ERROR_TEXT_SIZE])
{
    bool is_ours =
        error->code != ERROR_DATABASE || strncmp(error->sqlstate, "LR", 2) == 0; /* raised by our functions */

    if (is_ours)
        snprintf(ret_text, ERROR_TEXT_SIZE, "%s", error->text); /* has the step before it */
    else
        snprintf(ret_text, ERROR_TEXT_SIZE,
            "%s%sthe database refused it (SQLSTATE %s); the server's log has the reason", step == NULL ? "" : step,
            step == NULL ? "" : ": ", error->sqlstate);
    return ret_text;
}

void jobs_tell(struct jobs *jobs, const struct jobs_event *event)
{
    if (jobs->options.observer != NULL)
        jobs->options.observer(jobs->options.user, event);
}

bool jobs_new(const struct jobs_options *options, struct jobs **ret_jobs, struct error *reterr_error)
{
    struct jobs *jobs = memory_new(sizeof(*jobs));

    jobs->options = *options;
    if (jobs->options.retry_lanes_max == 0)
        jobs->options.retry_lanes_max = RETRY_LANES_DEFAULT;
    if (jobs->options.log_keep_days == 0)
        jobs->options.log_keep_days = LOG_KEEP_DAYS_DEFAULT;
    pthread_mutex_init(&jobs->lock, NULL);
    condition_init(&jobs->changed);
    if (options->by_hand_only || (retry_runner_new(jobs, &jobs->retry_runner, reterr_error) &&
                                     scheduler_new(jobs, &jobs->scheduler, reterr_error))) {
        *ret_jobs = jobs;
        return true;
    }
    jobs_free(jobs);
    return false;
}

void jobs_stop(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    jobs->is_stopping = true;
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
}

void jobs_free(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    jobs_stop(jobs);
    scheduler_free(jobs->scheduler);
    retry_runner_free(jobs->retry_runner);
    pthread_cond_destroy(&jobs->changed);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

bool jobs_register(const struct pg_config *database, int64_t deadline_ns, struct error *reterr_error)
{
    struct pg_conn *conn = pg_conn_new(database);
    bool ok = pg_conn_open(conn, deadline_ns, reterr_error) && jobs_make_rows(conn, deadline_ns, reterr_error);

    pg_conn_free(conn);
    return ok;
}

bool jobs_run(struct jobs *jobs, const char *name, int64_t deadline_ns, struct error *reterr_error)
{
    const struct job_entry *entry = jobs_entry(name);
    struct pg_conn *conn = NULL;
    bool is_done = false;

    if (entry == NULL)
        return error_set(reterr_error, ERROR_NOT_FOUND, "name: no such job");
    conn = pg_conn_new(jobs->options.database);
    if (!pg_conn_open(conn, deadline_ns, reterr_error))
        goto cleanup;
    if (job_run(jobs, conn, entry, INT64_MAX, true, deadline_ns, &is_done, reterr_error) == JOB_NOT_NOW)
        error_set(reterr_error, ERROR_BUSY, "a server runs the job at this moment");
cleanup:
    pg_conn_free(conn);
    return is_done;
}
