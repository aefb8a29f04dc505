/* The hourly look at routing as a whole: what is wrong goes into the log, a line each. Thresholds: docs/operations.md. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "jobs/internal.h"

enum {
    QUERY_MS = 10000,
    DUE_MAX = 100,
    DUE_OF_ONE_WORKSPACE_MAX = 50,
    OLDEST_DUE_S_MAX = 300,
    STALE_LOCKS_MAX = 10,
    UNSEALED_S_MAX = 300,
    FAILURE_PERCENT_MAX = 10,
    FINALS_MIN = 20,     /* fewer final decisions say nothing about a share */
    WORKSPACES_MAX = 10, /* named at most */
    ALERT_SIZE = 160,
};

static void alert(struct job_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void alert(struct job_run *run, const char *format, ...)
{
    char text[ALERT_SIZE];
    va_list arguments;
    struct jobs_event event = {.kind = JOBS_EVENT_ALERT, .job = run->entry->base.name, .detail = text};

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    job_run_count(run, "alerts", 1);
    jobs_tell(run->jobs, &event);
}

static bool check_counts(struct job_run *run, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .sql = "select retries_due, stale_locks, oldest_due_age_seconds from leadrouter.health_counts(null)"};
    struct pg_result *rows = NULL;

    if (!pg_execute(run->conn, &statement, NULL, clock_after_ms(QUERY_MS), &rows, reterr_error))
        return false;
    long long due = pg_result_int8(rows, 0, 0);
    long long stale_locks = pg_result_int8(rows, 0, 1);
    long long oldest_due_s = pg_result_int8(rows, 0, 2);
    pg_result_free(rows);
    if (due > DUE_MAX)
        alert(run, "%lld retries are due, more than %d", due, DUE_MAX);
    if (oldest_due_s > OLDEST_DUE_S_MAX)
        alert(run, "the oldest due retry has waited for %lld s, more than %d", oldest_due_s, OLDEST_DUE_S_MAX);
    if (stale_locks > STALE_LOCKS_MAX)
        alert(run, "%lld leads have been held for over five minutes, more than %d", stale_locks, STALE_LOCKS_MAX);
    job_run_count(run, "retries_due", due);
    job_run_count(run, "stale_locks", stale_locks);
    return true;
}

static bool check_workspaces(struct job_run *run, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .sql = "select workspace_id, due from leadrouter.workspaces_due($1, $2)",
        .param_count = 2,
        .param_types = {PG_INT4, PG_INT4}};
    struct pg_result *rows = NULL;
    struct pg_params params;
    char id[UUID_TEXT_SIZE];

    arena_clear(run->arena);
    pg_params_init(&params, run->arena);
    pg_params_add_int4(&params, DUE_OF_ONE_WORKSPACE_MAX);
    pg_params_add_int4(&params, WORKSPACES_MAX);
    if (!pg_execute(run->conn, &statement, &params, clock_after_ms(QUERY_MS), &rows, reterr_error))
        return false;
    for (int row = 0; row < pg_result_row_count(rows); row++) {
        struct uuid workspace_id = pg_result_uuid(rows, row, 0);
        alert(run, "%lld retries of workspace %s are due, more than %d", (long long)pg_result_int8(rows, row, 1),
            uuid_format(&workspace_id, id), DUE_OF_ONE_WORKSPACE_MAX);
    }
    pg_result_free(rows);
    return true;
}

static bool check_seals(struct job_run *run, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .sql = "select (extract(epoch from now()) * 1000000)::int8 - since_us, is_held from leadrouter.log_unsealed()"};
    struct pg_result *rows = NULL;

    if (!pg_execute(run->conn, &statement, NULL, clock_after_ms(QUERY_MS), &rows, reterr_error))
        return false;
    long long unsealed_s = pg_result_is_null(rows, 0, 0) ? 0 : pg_result_int8(rows, 0, 0) / 1000000;
    if (unsealed_s > UNSEALED_S_MAX)
        alert(run, "the audit log has not been sealed for %lld s, more than %d%s", unsealed_s, UNSEALED_S_MAX,
            pg_result_bool(rows, 0, 1) ? ": a transaction has been under way for as long" : "");
    pg_result_free(rows);
    return true;
}

/* What this server decided; others check theirs. */
static void check_failures(struct job_run *run)
{
    struct routing_rates rates;

    routing_engine_rates(run->jobs->options.engine, &rates);
    double failed_percent = 100 * (1 - rates.success_share);
    if (rates.finals >= FINALS_MIN && failed_percent > FAILURE_PERCENT_MAX)
        alert(run, "%.0f %% of %llu final decisions of the last hour were failures, more than %d %%", failed_percent,
            (unsigned long long)rates.finals, FAILURE_PERCENT_MAX);
}

bool job_check_health(struct job_run *run, struct error *reterr_error)
{
    check_failures(run);
    return check_counts(run, reterr_error) && check_workspaces(run, reterr_error) && check_seals(run, reterr_error);
}
