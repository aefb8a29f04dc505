/* The threads that run jobs when their time has come. The schedule lives in the database, and so does its clock: each
 * second a thread reads the rows, and begins what is due; of several that try, on whatever server, one gets it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "jobs/internal.h"

enum {
    THREADS = 2, /* the first for short jobs, the second for long ones */
    TICK_MS = 1000,
    CONNECT_MS = 5000,
    QUERY_MS = 10000,
    RUN_MS = 3600000, /* what a scheduled run may take; it goes on the next time */
    RETRIES_NOTE_MS = 300000,
    RETRIES_FAILING_NOTE_MS = 60000,
};

struct scheduler_thread {
    struct scheduler *scheduler;
    pthread_t thread;
    struct pg_conn *conn;
    struct arena *arena;
    int64_t next_note_ns; /* of the retries; the first thread only */
    bool is_first;
    bool has_noted_failure; /* of the retries */
    bool is_registered;     /* on this connection */
    bool is_away;           /* and has said so */
};

struct scheduler {
    struct jobs *jobs;
    struct scheduler_thread threads[THREADS];
    unsigned thread_count;
};

/* A row of list_jobs(), as far as it matters for what is due. */
struct job_row {
    const struct job_entry *entry;
    bool is_paused;
    bool is_running;
    bool is_left; /* by a server that has gone */
    int64_t next_run_us;
    int64_t now_us;
};

static void tell_database(struct scheduler_thread *thread, const struct error *error)
{
    const struct jobs_event event = {.kind = JOBS_EVENT_DATABASE, .job = "scheduler", .detail = "{}", .error = error};

    if (error != NULL && !thread->is_away)
        jobs_tell(thread->scheduler->jobs, &event);
    thread->is_away = error != NULL;
}

/* --- What is due -------------------------------------------------------------------------------------------------- */

static bool read_now(struct pg_conn *conn, int64_t deadline_ns, int64_t *ret_now_us, struct error *reterr_error)
{
    static const struct pg_statement statement = {.sql = "select (extract(epoch from now()) * 1000000)::bigint"};
    struct pg_result *rows = NULL;

    if (!pg_execute(conn, &statement, NULL, deadline_ns, &rows, reterr_error))
        return false;
    *ret_now_us = pg_result_int8(rows, 0, 0);
    pg_result_free(rows);
    return true;
}

bool jobs_make_rows(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    static const struct pg_statement statement = {.sql = "select leadrouter.register_jobs($1, $2)",
        .param_count = 2,
        .param_types = {PG_TEXT_ARRAY, PG_INT8_ARRAY}};
    struct arena *arena = arena_new(0);
    const char **names = arena_alloc_array(arena, jobs_catalogue_count, sizeof(char *));
    int64_t *next_us = arena_alloc_array(arena, jobs_catalogue_count, sizeof(*next_us));
    int64_t now_us = 0;
    struct pg_params params;
    bool ok = read_now(conn, deadline_ns, &now_us, reterr_error);

    for (size_t i = 0; ok && i < jobs_catalogue_count; i++) {
        names[i] = jobs_catalogue[i].base.name;
        next_us[i] = job_schedule_next(&jobs_catalogue[i].base.schedule, now_us);
    }
    pg_params_init(&params, arena);
    pg_params_add_text_array(&params, names, jobs_catalogue_count);
    pg_params_add_int8_array(&params, next_us, NULL, jobs_catalogue_count);
    ok = ok && pg_execute(conn, &statement, &params, deadline_ns, NULL, reterr_error);
    arena_free(arena);
    return ok;
}

static int64_t int8_or(const struct pg_result *rows, int row, int column, int64_t otherwise)
{
    return pg_result_is_null(rows, row, column) ? otherwise : pg_result_int8(rows, row, column);
}

/* The rows of jobs that this build knows. */
static bool read_jobs(
    struct scheduler_thread *thread, struct job_row *ret_jobs, size_t *ret_count, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .sql = "select now_us, name, is_paused, is_running, is_left, next_run_us from leadrouter.list_jobs()"};
    struct pg_result *rows = NULL;

    *ret_count = 0;
    if (!pg_execute(thread->conn, &statement, NULL, clock_after_ms(QUERY_MS), &rows, reterr_error))
        return false;
    for (int row = 0; row < pg_result_row_count(rows) && *ret_count < jobs_catalogue_count; row++) {
        const struct job_entry *entry = jobs_entry(pg_result_text(rows, row, 1));
        if (entry == NULL)
            continue; /* of a newer server */
        ret_jobs[(*ret_count)++] = (struct job_row){
            .entry = entry,
            .is_paused = pg_result_bool(rows, row, 2),
            .is_running = pg_result_bool(rows, row, 3),
            .is_left = pg_result_bool(rows, row, 4),
            .next_run_us = int8_or(rows, row, 5, INT64_MAX),
            .now_us = pg_result_int8(rows, row, 0),
        };
    }
    pg_result_free(rows);
    return true;
}

/* Worth trying to begin: begin_job() has the last word. A next run that is later than the schedule says was written down by a clock that
 * has been put back since. */
static bool is_due(const struct job_row *job)
{
    if (job->is_paused || job->is_running || job->entry->base.schedule.kind == JOB_WHEN_DUE)
        return false;
    return job->is_left || job->next_run_us <= job->now_us ||
           job->next_run_us > job_schedule_next(&job->entry->base.schedule, job->now_us);
}

/* --- The retries' row --------------------------------------------------------------------------------------------- */

static bool retries_are_paused(const struct job_row *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (jobs[i].entry->base.schedule.kind == JOB_WHEN_DUE)
            return jobs[i].is_paused;
    return false;
}

static bool write_note(struct scheduler_thread *thread, const struct retry_burst *burst, const struct error *failure,
    struct error *reterr_error)
{
    static const struct pg_statement statement = {.sql = "select leadrouter.note_job_run('retries', $1, $2, $3, $4)",
        .param_count = 4,
        .param_types = {PG_INT8, PG_BOOL, PG_JSONB, PG_TEXT}};
    const struct routing_retries_report *report = &burst->report;
    struct pg_params params;
    char text[ERROR_TEXT_SIZE];
    char detail[256];

    snprintf(detail, sizeof(detail),
        "{\"processed\":%u,\"routed\":%u,\"duplicates\":%u,\"requeued\":%u,\"failed\":%u,\"expired\":%u,\"held\":%u,"
        "\"errors\":%u}",
        report->processed, report->routed, report->duplicates, report->requeued, report->failed, report->expired,
        report->held, report->errors);
    if (report->processed > 0) {
        const struct jobs_event event = {
            .kind = JOBS_EVENT_RETRIES, .job = "retries", .detail = detail, .duration_ms = burst->duration_ms};
        jobs_tell(thread->scheduler->jobs, &event);
    }
    pg_params_init(&params, thread->arena);
    pg_params_add_int8(&params, burst->duration_ms);
    pg_params_add_bool(&params, failure == NULL);
    pg_params_add_jsonb(&params, detail, strlen(detail));
    pg_params_add_text(&params, failure == NULL ? NULL : jobs_failure_text(failure, NULL, text));
    return pg_execute(thread->conn, &statement, &params, clock_after_ms(QUERY_MS), NULL, reterr_error);
}

/* Retries are run by lanes of their own; here their row says when they last were, and what keeps them from it: after each burst, when they
 * begin or cease to fail, and from time to time. While they are paused they run not, and nothing says that they did. */
static bool note_retries(struct scheduler_thread *thread, bool is_paused, struct error *reterr_error)
{
    struct retry_runner *runner = thread->scheduler->jobs->retry_runner;
    struct retry_burst burst = {0};
    struct error failure = {0};
    bool is_failing = retry_runner_failure(runner, &failure);
    bool is_wanted = retry_runner_take_burst(runner, &burst) || is_failing != thread->has_noted_failure;

    if (!is_wanted && (clock_now_ns() < thread->next_note_ns || is_paused))
        return true;
    if (!write_note(thread, &burst, is_failing ? &failure : NULL, reterr_error))
        return false;
    thread->next_note_ns = clock_after_ms(is_failing ? RETRIES_FAILING_NOTE_MS : RETRIES_NOTE_MS);
    thread->has_noted_failure = is_failing;
    return true;
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

/* False when one that is due cannot be begun, with the first such error; the others are tried all the same. */
static bool run_due(
    struct scheduler_thread *thread, const struct job_row *jobs, size_t count, struct error *reterr_error)
{
    bool ok = true;

    for (size_t i = 0; i < count; i++) {
        struct error error = {0};
        bool is_done = false;
        if (jobs[i].entry->is_long == thread->is_first || !is_due(&jobs[i]) ||
            jobs_are_stopping(thread->scheduler->jobs))
            continue;
        if (job_run(thread->scheduler->jobs, thread->conn, jobs[i].entry,
                job_schedule_next(&jobs[i].entry->base.schedule, jobs[i].now_us), false, clock_after_ms(RUN_MS),
                &is_done, &error) == JOB_BEGIN_FAILED) {
            if (ok)
                *reterr_error = error;
            ok = false;
        }
        if (!pg_conn_is_open(thread->conn))
            break;
    }
    return ok;
}

static bool tick(struct scheduler_thread *thread, struct error *reterr_error)
{
    struct job_row *jobs = arena_alloc_array(thread->arena, jobs_catalogue_count, sizeof(*jobs));
    size_t count = 0;

    if (!pg_conn_is_open(thread->conn))
        thread->is_registered = false;
    if (!pg_conn_open(thread->conn, clock_after_ms(CONNECT_MS), reterr_error))
        return false;
    if (!thread->is_registered)
        thread->is_registered = jobs_make_rows(thread->conn, clock_after_ms(QUERY_MS), reterr_error);
    if (!thread->is_registered || !read_jobs(thread, jobs, &count, reterr_error) ||
        (thread->is_first && !note_retries(thread, retries_are_paused(jobs, count), reterr_error)))
        return false;
    return run_due(thread, jobs, count, reterr_error);
}

/* False when it is time to stop. */
static bool wait_for_tick(struct jobs *jobs, int ms)
{
    int64_t until_ns = clock_after_ms(ms);

    pthread_mutex_lock(&jobs->lock);
    while (!jobs->is_stopping && clock_now_ns() < until_ns)
        (void)condition_wait(&jobs->changed, &jobs->lock, until_ns);
    bool goes_on = !jobs->is_stopping;
    pthread_mutex_unlock(&jobs->lock);
    return goes_on;
}

static void *scheduler_main(void *argument)
{
    struct scheduler_thread *thread = argument;
    struct pg_backoff backoff = {0};
    int wait_ms = 0;

    while (wait_for_tick(thread->scheduler->jobs, wait_ms)) {
        struct error error = {0};
        bool ok = tick(thread, &error);
        tell_database(thread, ok ? NULL : &error);
        if (ok)
            pg_backoff_reset(&backoff);
        wait_ms = ok ? TICK_MS : pg_backoff_next_ms(&backoff);
        arena_clear(thread->arena);
    }
    return NULL;
}

bool scheduler_new(struct jobs *jobs, struct scheduler **ret_scheduler, struct error *reterr_error)
{
    struct scheduler *scheduler = memory_new(sizeof(*scheduler));

    scheduler->jobs = jobs;
    for (unsigned i = 0; i < THREADS; i++) {
        struct scheduler_thread *thread = &scheduler->threads[i];
        thread->scheduler = scheduler;
        thread->is_first = i == 0;
        thread->conn = pg_conn_new(jobs->options.database);
        thread->arena = arena_new(0);
        int failure = pthread_create(&thread->thread, NULL, scheduler_main, thread);
        if (failure != 0) {
            pg_conn_free(thread->conn);
            arena_free(thread->arena);
            scheduler_free(scheduler);
            return error_set(
                reterr_error, ERROR_SYSTEM, "could not start the scheduler's thread: %s", strerror(failure));
        }
        scheduler->thread_count++;
    }
    *ret_scheduler = scheduler;
    return true;
}

void scheduler_free(struct scheduler *scheduler)
{
    if (scheduler == NULL)
        return;
    for (unsigned i = 0; i < scheduler->thread_count; i++) {
        pthread_join(scheduler->threads[i].thread, NULL);
        pg_conn_free(scheduler->threads[i].conn);
        arena_free(scheduler->threads[i].arena);
    }
    free(scheduler);
}
