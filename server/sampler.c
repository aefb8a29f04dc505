#include "sampler.h"

#include <stdlib.h>
#include <string.h>

#include "audit_watch.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "health_reading.h"
#include "jobs/jobs.h"

enum { READ_MS = 5000 };

static const double us_per_s = 1e6;
static const double ms_per_s = 1e3;
static const double ns_per_s = 1e9;
static const int64_t ns_per_ms = 1000000;

struct sampler {
    struct service *service;
    int64_t next_tables_ns; /* the thread only; so the next */
    int64_t next_duplicates_ns;
    uint64_t failures[METRICS_SAMPLE_DUPLICATES + 1];
    struct audit_watch audit;

    struct thread thread;
    /* under its lock */
    struct sampler_view view;
    int64_t asked_ns;  /* when somebody asked last; 0: nobody yet */
    int64_t looked_ns; /* when the last look began */
};

/* --- Jobs --------------------------------------------------------------------------------------------------------- */

/* Places of jobs among the values of their label are those of the catalogue. */
static bool find_job(const char *name, size_t *ret_place)
{
    for (size_t i = 0; jobs_describe(i) != NULL; i++)
        if (strcmp(jobs_describe(i)->name, name) == 0) {
            *ret_place = i;
            return true;
        }
    return false;
}

static void set_job(struct metrics *metrics, const struct health_job *job, int64_t now_us)
{
    bool is_late = job->has_schedule && !job->is_running && !job->is_paused && now_us > job->next_run_us;
    size_t place = 0;

    if (!find_job(job->name, &place))
        return;
    metrics_set(metrics, METRIC_JOB_SUCCESS, place, 0, (double)job->last_done_us / us_per_s);
    metrics_set(metrics, METRIC_JOB_DURATION, place, 0, (double)job->last_duration_ms / ms_per_s);
    metrics_set(metrics, METRIC_JOB_FAILURES, place, 0, job->failures);
    metrics_set(metrics, METRIC_JOB_RUNS, place, 0, (double)job->runs);
    metrics_set(metrics, METRIC_JOB_PAUSED, place, 0, job->is_paused ? 1 : 0);
    metrics_set(metrics, METRIC_JOB_LATE, place, 0, is_late ? (double)(now_us - job->next_run_us) / us_per_s : 0);
}

/* --- Routing ------------------------------------------------------------------------------------------------------ */

static void set_facts(struct metrics *metrics, const struct health_facts *facts)
{
    const struct health_counts *counts = &facts->counts;

    metrics_set(metrics, METRIC_LEADS, METRICS_STATUS_PENDING, 0, (double)counts->pending);
    metrics_set(metrics, METRIC_LEADS, METRICS_STATUS_ROUTING, 0, (double)counts->routing);
    metrics_set(metrics, METRIC_LEADS, METRICS_STATUS_FAILED, 0, (double)counts->failed);
    metrics_set(metrics, METRIC_LEADS_HELD, 0, 0, (double)counts->held);
    metrics_set(metrics, METRIC_PENDING_AGE, 0, 0, (double)counts->oldest_pending_age_seconds);
    metrics_set(metrics, METRIC_STALE_LOCKS, 0, 0, (double)counts->stale_locks);
    metrics_set(metrics, METRIC_STALE_LOCKS_AGE, METRICS_AGGREGATE_MEAN, 0, counts->stale_mean_seconds);
    metrics_set(metrics, METRIC_STALE_LOCKS_AGE, METRICS_AGGREGATE_MAX, 0, counts->stale_max_seconds);
    metrics_set(metrics, METRIC_RETRIES_ATTEMPT, METRICS_AGGREGATE_MEAN, 0, counts->due_attempt_mean);
    metrics_set(metrics, METRIC_RETRIES_ATTEMPT, METRICS_AGGREGATE_MAX, 0, counts->due_attempt_max);
    metrics_set(metrics, METRIC_AUDIT_SEALED, 0, 0, (double)counts->sealed_us / us_per_s);
    metrics_set(metrics, METRIC_RETRIES_DEPTH, 0, 0, (double)counts->retry_queue_depth);
    metrics_set(metrics, METRIC_RETRIES_DUE, 0, 0, (double)counts->retries_due);
    metrics_set(metrics, METRIC_RETRIES_DUE_AGE, 0, 0, (double)counts->oldest_due_age_seconds);
    metrics_set(metrics, METRIC_AUDIT_UNSEALED_AGE, 0, 0, (double)counts->unsealed_age_seconds);
    metrics_set(metrics, METRIC_AUDIT_DAYS_AHEAD, 0, 0, counts->log_days_ahead);
    for (size_t i = 0; i < facts->job_count; i++)
        set_job(metrics, &facts->jobs[i], counts->counted_us);
}

/* Which schema the database has now. */
static bool read_version(struct service *service, int64_t deadline_ns, int *ret_version, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "sample_version", .sql = "select leadrouter.schema_version()"};
    struct pg_result *result = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    *ret_version = pg_result_int4(result, 0, 0);
    pg_result_free(result);
    return true;
}

/* Once when the database goes, and once when it is back. */
static void log_change(bool is_up, const struct error *error)
{
    const struct log_field fields[] = {
        LOG_STRING("error", is_up ? NULL : error->text),
        LOG_STRING("sqlstate", is_up || error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_END,
    };

    if (is_up)
        log_write(LOG_LEVEL_INFO, "sample.back", "the database answers the sampler again", fields);
    else
        log_write(LOG_LEVEL_WARNING, "sample.failed", "the database did not answer the sampler", fields);
}

static void count_sample(struct sampler *sampler, enum metrics_sample sample, bool is_ok, int64_t began_ns)
{
    struct metrics *metrics = sampler->service->metrics;

    if (!is_ok)
        sampler->failures[sample]++;
    metrics_set(metrics, METRIC_SAMPLE_TIME, sample, 0, (double)(clock_now_ns() - began_ns) / ns_per_s);
    metrics_set(metrics, METRIC_SAMPLE_FAILURES, sample, 0, (double)sampler->failures[sample]);
}

static void read_routing(struct sampler *sampler)
{
    int64_t began_ns = clock_now_ns();
    int64_t deadline_ns = clock_after_ms(READ_MS);
    struct health_facts *facts = memory_new(sizeof(*facts));
    struct error error = {0};
    int version = 0;
    bool is_up = health_read(sampler->service, deadline_ns, facts, &error) &&
                 read_version(sampler->service, deadline_ns, &version, &error);

    if (is_up)
        set_facts(sampler->service->metrics, facts);
    count_sample(sampler, METRICS_SAMPLE_ROUTING, is_up, began_ns);
    metrics_set(sampler->service->metrics, METRIC_DATABASE_UP, 0, 0, is_up ? 1 : 0);
    pthread_mutex_lock(&sampler->thread.lock);
    struct sampler_view *view = &sampler->view;
    bool was_up = view->is_up || (!view->has_facts && view->error.code == ERROR_NONE);
    view->is_up = is_up;
    view->error = error;
    if (is_up) {
        view->has_facts = true;
        view->facts = *facts;
        view->read_ns = began_ns;
        view->schema_version = version;
    }
    pthread_mutex_unlock(&sampler->thread.lock);
    if (was_up != is_up)
        log_change(is_up, &error);
    free(facts);
}

/* --- Tables, sessions, workspaces --------------------------------------------------------------------------------- */

static bool read_tables(struct service *service, int64_t deadline_ns, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "sample_tables",
        .sql = "select table_name, live_rows, dead_rows, size_bytes from leadrouter.sample_tables()",
    };
    const struct metrics_label_family *tables = &metrics_labels[METRICS_LABEL_TABLE];
    struct pg_result *result = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    for (int row = 0; row < pg_result_row_count(result); row++)
        for (size_t i = 0; i < tables->count; i++) {
            if (strcmp(tables->values[i], pg_result_text(result, row, 0)) != 0)
                continue;
            metrics_set(service->metrics, METRIC_TABLE_LIVE, i, 0, (double)pg_result_int8(result, row, 1));
            metrics_set(service->metrics, METRIC_TABLE_DEAD, i, 0, (double)pg_result_int8(result, row, 2));
            metrics_set(service->metrics, METRIC_TABLE_BYTES, i, 0, (double)pg_result_int8(result, row, 3));
        }
    pg_result_free(result);
    return true;
}

static bool read_database(struct service *service, int64_t deadline_ns, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "sample_database",
        .sql = "select sessions, sessions_hidden, sessions_max, lock_waits, snapshot_seconds, standbys, lag_seconds, "
               "lag_bytes from leadrouter.sample_database()",
    };
    struct metrics *metrics = service->metrics;
    struct pg_result *result = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    metrics_set(metrics, METRIC_SESSIONS, 0, 0, pg_result_int4(result, 0, 0));
    metrics_set(metrics, METRIC_SESSIONS_HIDDEN, 0, 0, pg_result_int4(result, 0, 1));
    metrics_set(metrics, METRIC_SESSIONS_MAX, 0, 0, pg_result_int4(result, 0, 2));
    metrics_set(metrics, METRIC_LOCK_WAITS, 0, 0, pg_result_int4(result, 0, 3));
    metrics_set(metrics, METRIC_SNAPSHOT_AGE, 0, 0, pg_result_float8(result, 0, 4));
    metrics_set(metrics, METRIC_STANDBYS, 0, 0, pg_result_int4(result, 0, 5));
    metrics_set(metrics, METRIC_REPLICATION_LAG, 0, 0, pg_result_float8(result, 0, 6));
    metrics_set(metrics, METRIC_REPLICATION_LAG_BYTES, 0, 0, (double)pg_result_int8(result, 0, 7));
    pg_result_free(result);
    return true;
}

static void set_workspaces(struct metrics *metrics, enum metric metric, const struct pg_result *result)
{
    struct metrics_entry entries[METRICS_LIST_MAX];
    char ids[METRICS_LIST_MAX][UUID_TEXT_SIZE];
    size_t count = 0;

    for (int row = 0; row < pg_result_row_count(result) && count < METRICS_LIST_MAX; row++) {
        struct uuid id = pg_result_uuid(result, row, 0);
        entries[count] = (struct metrics_entry){
            {uuid_format(&id, ids[count]), pg_result_text(result, row, 1)}, (double)pg_result_int8(result, row, 2)};
        count++;
    }
    metrics_set_list(metrics, metric, entries, count);
}

static bool read_workspaces(struct service *service, enum metric metric, const struct pg_statement *statement,
    int64_t deadline_ns, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct pg_result *result = NULL;
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_int4(&params, METRICS_LIST_MAX);
    bool ok = service_query_unasked(service, statement, &params, deadline_ns, &result, reterr_error);
    if (ok)
        set_workspaces(service->metrics, metric, result);
    pg_result_free(result);
    arena_free(arena);
    return ok;
}

static bool read_due_workspaces(struct service *service, int64_t deadline_ns, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "sample_workspaces",
        .sql = "select workspace_id, workspace_name, count from leadrouter.sample_workspaces($1)",
        .param_count = 1,
        .param_types = {PG_INT4},
    };

    return read_workspaces(service, METRIC_RETRIES_DUE_TOP, &statement, deadline_ns, reterr_error);
}

int64_t sampler_duplicates_pause_ns(int64_t took_ns)
{
    int64_t share_ns = took_ns * (SAMPLER_DUPLICATES_SHARE - 1);

    return share_ns > SAMPLER_TABLES_MS * ns_per_ms ? share_ns : SAMPLER_TABLES_MS * ns_per_ms;
}

bool sampler_is_told(enum metrics_sample sample, const struct error *error)
{
    /* Counting duplicates is what can take too long: nobody else would say so. */
    return error->code == ERROR_DATABASE || (sample == METRICS_SAMPLE_DUPLICATES && error->code == ERROR_DEADLINE);
}

static void read_duplicates(struct sampler *sampler)
{
    static const struct pg_statement statement = {
        .name = "sample_duplicates",
        .sql = "select workspace_id, workspace_name, count from leadrouter.sample_duplicates($1)",
        .param_count = 1,
        .param_types = {PG_INT4},
    };
    int64_t began_ns = clock_now_ns();
    struct error error = {0};
    bool ok = read_workspaces(sampler->service, METRIC_DUPLICATES_TOP, &statement, clock_after_ms(READ_MS), &error);

    count_sample(sampler, METRICS_SAMPLE_DUPLICATES, ok, began_ns);
    sampler->next_duplicates_ns = clock_now_ns() + sampler_duplicates_pause_ns(clock_now_ns() - began_ns);
    if (ok) {
        pthread_mutex_lock(&sampler->thread.lock);
        sampler->view.duplicates_ns = began_ns;
        pthread_mutex_unlock(&sampler->thread.lock);
    } else if (sampler_is_told(METRICS_SAMPLE_DUPLICATES, &error)) {
        log_change(false, &error);
    }
}

/* A round of a small log is over at once. */
static bool watch_audit(struct sampler *sampler, struct error *reterr_error)
{
    bool ok = true;

    do
        ok = audit_watch_step(&sampler->audit, sampler->service, clock_after_ms(READ_MS), reterr_error);
    while (ok && sampler->audit.next_seal != 0 && sampler->audit.is_small);
    return ok;
}

static void read_slow_things(struct sampler *sampler)
{
    int64_t began_ns = clock_now_ns();
    int64_t deadline_ns = clock_after_ms(READ_MS);
    struct error error = {0};
    bool ok = read_tables(sampler->service, deadline_ns, &error) &&
              read_database(sampler->service, deadline_ns, &error) &&
              read_due_workspaces(sampler->service, deadline_ns, &error) && watch_audit(sampler, &error);

    count_sample(sampler, METRICS_SAMPLE_TABLES, ok, began_ns);
    if (ok) {
        pthread_mutex_lock(&sampler->thread.lock);
        sampler->view.tables_ns = began_ns;
        pthread_mutex_unlock(&sampler->thread.lock);
    } else if (sampler_is_told(METRICS_SAMPLE_TABLES, &error)) {
        log_change(false, &error);
    }
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

static int64_t next_look_ns(const struct sampler *sampler, int64_t now_ns)
{
    bool is_asked = sampler->asked_ns != 0 && now_ns - sampler->asked_ns < SAMPLER_ASKED_MS * ns_per_ms;

    return sampler->looked_ns + (is_asked ? SAMPLER_FAST_MS : SAMPLER_SLOW_MS) * ns_per_ms;
}

/* Waits until it is time for the next look. False when it is time to stop. */
static bool wait_for_time(struct sampler *sampler)
{
    pthread_mutex_lock(&sampler->thread.lock);
    while (!sampler->thread.is_stopping) {
        int64_t now_ns = clock_now_ns();
        int64_t until_ns = sampler->looked_ns == 0 ? now_ns : next_look_ns(sampler, now_ns);
        if (now_ns >= until_ns)
            break;
        (void)condition_wait(&sampler->thread.changed, &sampler->thread.lock, until_ns);
    }
    sampler->looked_ns = clock_now_ns();
    bool goes_on = !sampler->thread.is_stopping;
    pthread_mutex_unlock(&sampler->thread.lock);
    return goes_on;
}

static void *run(void *argument)
{
    struct sampler *sampler = argument;

    while (wait_for_time(sampler)) {
        read_routing(sampler);
        bool is_up = metrics_value(sampler->service->metrics, METRIC_DATABASE_UP, 0, 0) > 0;
        if (is_up && clock_now_ns() >= sampler->next_tables_ns) {
            sampler->next_tables_ns = clock_after_ms(SAMPLER_TABLES_MS);
            read_slow_things(sampler);
        }
        if (is_up && clock_now_ns() >= sampler->next_duplicates_ns)
            read_duplicates(sampler);
    }
    return NULL;
}

bool sampler_new(struct service *service, struct sampler **ret_sampler, struct error *reterr_error)
{
    struct sampler *sampler = memory_new(sizeof(*sampler));

    sampler->service = service;
    sampler->view.read_ns = clock_now_ns();
    sampler->view.tables_ns = sampler->view.read_ns;
    sampler->view.duplicates_ns = sampler->view.read_ns;
    if (!thread_begin(&sampler->thread, run, sampler, "could not make a thread", reterr_error)) {
        free(sampler);
        return false;
    }
    *ret_sampler = sampler;
    return true;
}

void sampler_look(struct sampler *sampler, struct sampler_view *ret_view)
{
    pthread_mutex_lock(&sampler->thread.lock);
    sampler->asked_ns = clock_now_ns();
    *ret_view = sampler->view;
    pthread_cond_signal(&sampler->thread.changed);
    pthread_mutex_unlock(&sampler->thread.lock);
}

void sampler_free(struct sampler *sampler)
{
    if (sampler == NULL)
        return;
    thread_end(&sampler->thread);
    free(sampler);
}
