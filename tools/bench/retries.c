#include "retries.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "routing/retries.h"
#include "run.h"
#include "stage.h"
#include "unary.h"

enum {
    ROUNDS_MAX = 9,
    IN_FLIGHT = 64,
    CALLS_AT_ONCE_MAX = 512,
    STATEMENT_MS = 600000,
    DRAIN_MS = 120000,
    POLL_MS = 100,
    CHURN_ATTEMPTS = 20,
    SAMPLE = 50, /* claims whose median counts */
};

/* All leads but the last $1 are due. */
static const struct pg_statement statement_queue = {
    .sql = "insert into public.lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, "
           "rules_version)"
           " select l.id, l.source_workspace_id, 0, $2, now() - interval '1 second', v.version"
           " from (select * from public.leads order by external_id limit (select count(*) - $1 from public.leads)) l"
           " join leadrouter.rule_versions v on v.workspace_id = l.source_workspace_id",
    .param_count = 2,
    .param_types = {PG_INT8, PG_INT4}};

static const struct pg_statement statement_settle = {.sql = "vacuum (analyze) public.lead_routing_queue"};
static const struct pg_statement statement_checkpoint = {.sql = "checkpoint"};

static const struct pg_statement statement_now = {
    .sql = "select (extract(epoch from clock_timestamp()) * 1000000)::int8"};

static const struct pg_statement statement_is_empty = {
    .sql = "select not exists (select from public.lead_routing_queue where processed_at is null)"};

/* Rows that were closed from $1 to $2, and the microseconds from the first transaction to the last. */
static const struct pg_statement statement_closed = {
    .sql =
        "select count(*), coalesce((extract(epoch from max(processed_at) - min(processed_at)) * 1000000)::int8, 0)"
        " from public.lead_routing_queue where processed_at between leadrouter.from_us($1) and leadrouter.from_us($2)",
    .param_count = 2,
    .param_types = {PG_INT8, PG_INT8}};

/* The leads that are called for have been waiting for longer than a minute; nobody else is to find them. */
static const char prepare_sql[] =
    "insert into leadrouter.scheduled_jobs (name, next_run_at, is_paused) values ('lost_leads', 'infinity', true)";

/* --- Small things ------------------------------------------------------------------------------------------------- */

static bool queue_leads(struct pg_conn *conn, int64_t left_out, int32_t max_attempts, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct pg_params params;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_int8(&params, left_out);
    pg_params_add_int4(&params, max_attempts);
    ok = pg_execute(conn, &statement_queue, &params, clock_after_ms(STATEMENT_MS), NULL, reterr_error) &&
         pg_execute(conn, &statement_settle, NULL, clock_after_ms(STATEMENT_MS), NULL, reterr_error) &&
         pg_execute(conn, &statement_checkpoint, NULL, clock_after_ms(STATEMENT_MS), NULL, reterr_error);
    arena_free(arena);
    return ok;
}

static bool read_now(struct pg_conn *conn, int64_t *ret_us, struct error *reterr_error)
{
    struct pg_result *rows = NULL;

    if (!pg_execute(conn, &statement_now, NULL, clock_after_ms(STATEMENT_MS), &rows, reterr_error))
        return false;
    *ret_us = pg_result_int8(rows, 0, 0);
    pg_result_free(rows);
    return true;
}

/* Rows closed in a time, and how fast: over the time itself, or from the first to the last when the queue ran empty. */
static bool read_speed(
    struct pg_conn *conn, int64_t from_us, int64_t to_us, double *ret_per_second, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct pg_result *rows = NULL;
    struct pg_params params;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_int8(&params, from_us);
    pg_params_add_int8(&params, to_us);
    ok = pg_execute(conn, &statement_closed, &params, clock_after_ms(STATEMENT_MS), &rows, reterr_error);
    if (ok) {
        double us = (double)pg_result_int8(rows, 0, 1);
        *ret_per_second = us > 0 ? (double)pg_result_int8(rows, 0, 0) * 1e6 / us : 0;
    }
    pg_result_free(rows);
    arena_free(arena);
    return ok;
}

static bool wait_until_empty(struct pg_conn *conn, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(DRAIN_MS);
    bool is_empty = false;

    while (!is_empty) {
        struct pg_result *rows = NULL;
        if (clock_now_ns() > deadline_ns || atomic_load(&run_interrupted))
            return error_set(reterr_error, ERROR_DEADLINE, "the queue was not worked off in time");
        poll(NULL, 0, POLL_MS);
        if (!pg_execute(conn, &statement_is_empty, NULL, deadline_ns, &rows, reterr_error))
            return false;
        is_empty = pg_result_bool(rows, 0, 0);
        pg_result_free(rows);
    }
    return true;
}

/* --- Working the queue off ---------------------------------------------------------------------------------------- */

static bool measure_unary(
    struct stage *stage, const struct bench_options *options, double *ret_per_second, struct error *reterr_error)
{
    const struct unary_options unary = {.in_flight = IN_FLIGHT};
    struct unary_options with_target = unary;
    struct run *run = memory_new(sizeof(*run));
    struct run_summary summary = {0};
    struct server server = {0};
    bool ok = false;

    run_init(run, &stage->workload, options->duration_s * 1000);
    ok = stage_copy(stage, reterr_error) && stage_start_server(stage, false, &server, reterr_error);
    with_target.target = server.target;
    ok = ok && unary_run(run, &with_target, reterr_error);
    if (ok) {
        run_finish(run, &summary);
        *ret_per_second = summary.leads_per_second;
    }
    stage_stop_server(stage, &server);
    free(run);
    return ok;
}

static bool measure_drain(struct stage *stage, double *ret_per_second, struct error *reterr_error)
{
    struct pg_conn *conn = NULL;
    struct server server = {0};
    bool ok = stage_copy(stage, reterr_error) && stage_connect(stage, &conn, reterr_error) &&
              queue_leads(conn, 0, ROUTING_MAX_ATTEMPTS_DEFAULT, reterr_error) &&
              stage_start_server(stage, true, &server, reterr_error) && wait_until_empty(conn, reterr_error) &&
              read_speed(conn, 0, INT64_MAX, ret_per_second, reterr_error);

    stage_stop_server(stage, &server);
    pg_conn_free(conn);
    return ok;
}

/* RouteLead at a rate, of the last leads, with or without the others being due. */
static bool measure_callers(struct stage *stage, const struct bench_options *options, bool has_due, double *ret_p99_ms,
    double *ret_per_second, struct error *reterr_error)
{
    size_t called = (size_t)(options->duration_s + 2) * RETRIES_CALLS_PER_SECOND;
    size_t first = stage->workload.count - called;
    const struct workload last = {.count = called,
        .lead_ids = stage->workload.lead_ids + first,
        .source_workspace_ids = stage->workload.source_workspace_ids + first};
    struct unary_options unary = {.in_flight = CALLS_AT_ONCE_MAX, .calls_per_second = RETRIES_CALLS_PER_SECOND};
    struct run *run = memory_new(sizeof(*run));
    struct run_summary summary = {0};
    struct pg_conn *conn = NULL;
    struct server server = {0};
    int64_t from_us = 0;
    int64_t to_us = 0;
    bool ok = false;

    run_init(run, &last, options->duration_s * 1000);
    ok = stage_copy(stage, reterr_error) && stage_connect(stage, &conn, reterr_error) &&
         (!has_due || queue_leads(conn, (int64_t)called, ROUTING_MAX_ATTEMPTS_DEFAULT, reterr_error)) &&
         stage_start_server(stage, true, &server, reterr_error) && read_now(conn, &from_us, reterr_error);
    unary.target = server.target;
    ok = ok && unary_run(run, &unary, reterr_error) && read_now(conn, &to_us, reterr_error) &&
         read_speed(conn, from_us, to_us, ret_per_second, reterr_error);
    if (ok) {
        run_finish(run, &summary);
        *ret_p99_ms = summary.p99_ms;
        if (summary.errors > 0)
            ok = error_set(reterr_error, ERROR_INTERNAL, "a call failed: %s", summary.error_text);
    }
    stage_stop_server(stage, &server);
    pg_conn_free(conn);
    free(run);
    return ok;
}

/* The rounds alternate: each measurement once per round, so that a machine that slows down slows all of them. */
static bool measure_rounds(
    struct stage *stage, const struct bench_options *options, struct retries_report *report, struct error *reterr_error)
{
    enum { UNARY, DRAIN, ALONE, DRAINED, POLITE, FIGURES };
    double figures[FIGURES][ROUNDS_MAX];
    double nothing = 0;

    for (int64_t i = 0; i < options->rounds; i++) {
        if (!measure_unary(stage, options, &figures[UNARY][i], reterr_error) ||
            !measure_drain(stage, &figures[DRAIN][i], reterr_error) ||
            !measure_callers(stage, options, false, &figures[ALONE][i], &nothing, reterr_error) ||
            !measure_callers(stage, options, true, &figures[DRAINED][i], &figures[POLITE][i], reterr_error))
            return false;
        fprintf(stderr,
            "round %" PRId64 "  unary %.0f/s  drained %.0f/s  p99 %.1f ms, while %.0f/s are drained %.1f ms\n", i + 1,
            figures[UNARY][i], figures[DRAIN][i], figures[ALONE][i], figures[POLITE][i], figures[DRAINED][i]);
    }
    report->unary_per_second = run_median(figures[UNARY], (size_t)options->rounds);
    report->drain_per_second = run_median(figures[DRAIN], (size_t)options->rounds);
    report->alone_p99_ms = run_median(figures[ALONE], (size_t)options->rounds);
    report->drained_p99_ms = run_median(figures[DRAINED], (size_t)options->rounds);
    report->polite_per_second = run_median(figures[POLITE], (size_t)options->rounds);
    return true;
}

/* --- A long life -------------------------------------------------------------------------------------------------- */

/* Nothing takes the leads, and what failed is due again at once. */
static const char churn_sql[] =
    "delete from public.lead_routing_rules;"
    " update leadrouter.error_classes set delays = '{0}', jitter = 0 where class = 'unmatched'";

/* Works on until `count` more retries are done; the median of the first claims, and of the last. */
static bool churn(struct routing_retries *retries, int64_t count, double *ret_first_us, double *ret_last_us,
    struct error *reterr_error)
{
    double first[SAMPLE];
    double last[SAMPLE];
    size_t batches = 0;

    for (int64_t done = 0; done < count;) {
        const struct routing_retries_order order = {.kind = ROUTING_RETRIES_DUE, .deadline_ns = clock_after_ms(30000)};
        struct routing_retries_report report = {0};
        if (atomic_load(&run_interrupted))
            return error_set(reterr_error, ERROR_CANCELLED, "interrupted");
        if (!routing_retries_run(retries, &order, &report, NULL, NULL, reterr_error))
            return false;
        if (report.is_short)
            return error_set(reterr_error, ERROR_INTERNAL, "the queue ran empty after %" PRId64 " retries", done);
        done += report.processed;
        if (batches < SAMPLE)
            first[batches] = (double)report.claim_ns / 1e3;
        last[batches++ % SAMPLE] = (double)report.claim_ns / 1e3;
    }
    if (batches < SAMPLE)
        return error_set(reterr_error, ERROR_INVALID, "--churn: too few to measure");
    *ret_first_us = run_median(first, SAMPLE);
    *ret_last_us = run_median(last, SAMPLE);
    return true;
}

static bool measure_churn(
    struct stage *stage, const struct bench_options *options, struct retries_report *report, struct error *reterr_error)
{
    struct routing_engine_options engine_options = {0};
    struct pg_config database = {.application_name = "leadrouter-bench"};
    struct routing_engine *engine = NULL;
    struct routing_retries *retries = NULL;
    struct pg_conn *conn = NULL;
    char *url = NULL;
    double ignored = 0;
    bool ok = false;

    if (!stage_copy(stage, reterr_error) || !stage_connect(stage, &conn, reterr_error) ||
        !pg_execute_script(conn, churn_sql, clock_after_ms(STATEMENT_MS), reterr_error) ||
        !queue_leads(conn, 0, CHURN_ATTEMPTS, reterr_error) || !stage_service_url(stage, &url, reterr_error))
        goto cleanup;
    database.url = url;
    engine_options.database = &database;
    if (!routing_engine_new(&engine_options, &engine, reterr_error))
        goto cleanup;
    retries = routing_retries_new(engine);
    ok = churn(retries, options->churn, &report->claim_first_us, &report->claim_last_us, reterr_error) &&
         pg_execute_script(conn, "begin isolation level repeatable read; select count(*) from public.workspaces",
             clock_after_ms(STATEMENT_MS), reterr_error) &&
         churn(retries, options->churn / 10, &ignored, &report->claim_held_us, reterr_error);
    report->churned = options->churn;
cleanup:
    routing_retries_free(retries);
    routing_engine_free(engine, 0);
    pg_conn_free(conn);
    free(url);
    return ok;
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

bool retries_run(const struct bench_options *options, struct retries_report *ret_report, struct error *reterr_error)
{
    struct retries_report report = {.rounds = options->rounds, .leads = options->workload.leads};
    struct stage stage = {0};
    bool ok = false;

    assert(options->rounds >= 1 && options->rounds <= ROUNDS_MAX);
    if (options->churn > (int64_t)options->workload.leads * (CHURN_ATTEMPTS - 2))
        return error_set(reterr_error, ERROR_INVALID, "--churn: at most %d times --leads", CHURN_ATTEMPTS - 2);
    ok = stage_open(&stage, options, prepare_sql, reterr_error) &&
         measure_rounds(&stage, options, &report, reterr_error) &&
         (options->churn == 0 || measure_churn(&stage, options, &report, reterr_error));
    stage_close(&stage);
    *ret_report = report;
    return ok;
}

static double ratio(double of, double to)
{
    return to > 0 ? of / to : 0;
}

static void print_json(FILE *output, const struct retries_report *report)
{
    json_t *json = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f}", "rounds",
        (json_int_t)report->rounds, "leads", (json_int_t)report->leads, "unary_per_second", report->unary_per_second,
        "drain_per_second", report->drain_per_second, "drain_to_unary",
        ratio(report->drain_per_second, report->unary_per_second), "alone_p99_ms", report->alone_p99_ms,
        "drained_p99_ms", report->drained_p99_ms, "p99_ratio", ratio(report->drained_p99_ms, report->alone_p99_ms),
        "polite_per_second", report->polite_per_second, "polite_to_unary",
        ratio(report->polite_per_second, report->unary_per_second), "churned", (json_int_t)report->churned,
        "claim_first_us", report->claim_first_us, "claim_last_us", report->claim_last_us, "claim_held_us",
        report->claim_held_us);

    assert(json != NULL);
    json_dumpf(json, output, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', output);
    json_decref(json);
}

void retries_print(FILE *output, const struct retries_report *report, bool is_json)
{
    if (is_json) {
        print_json(output, report);
        return;
    }
    fprintf(output, "%" PRId64 " leads that are due; medians of %" PRId64 " alternating rounds\n\n", report->leads,
        report->rounds);
    fprintf(output, "RouteLead, %d in flight        %8.0f leads/s\n", IN_FLIGHT, report->unary_per_second);
    fprintf(output, "the queue, nothing else        %8.0f leads/s   %.2f x\n", report->drain_per_second,
        ratio(report->drain_per_second, report->unary_per_second));
    fprintf(output, "the queue, with callers        %8.0f leads/s   %.2f x\n", report->polite_per_second,
        ratio(report->polite_per_second, report->unary_per_second));
    fprintf(output, "RouteLead at %d/s, p99        %8.1f ms, and %.1f ms while the queue is worked off: %.1f x\n",
        RETRIES_CALLS_PER_SECOND, report->alone_p99_ms, report->drained_p99_ms,
        ratio(report->drained_p99_ms, report->alone_p99_ms));
    if (report->churned > 0)
        fprintf(output,
            "claiming 256 rows              %8.0f us; after %" PRId64
            " retries %.0f us (%.1f x), with a snapshot held open "
            "%.0f us (%.1f x)\n",
            report->claim_first_us, report->churned, report->claim_last_us,
            ratio(report->claim_last_us, report->claim_first_us), report->claim_held_us,
            ratio(report->claim_held_us, report->claim_first_us));
}
