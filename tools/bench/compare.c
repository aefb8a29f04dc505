#include "compare.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ceiling.h"
#include "naive.h"
#include "stage.h"
#include "stream.h"
#include "unary.h"

enum { ROUNDS_MAX = 9 };

typedef bool measure_function(struct stage *stage, struct run *run, unsigned parallel, struct error *reterr_error);
static measure_function measure_unary, measure_stream, measure_naive, measure_ceiling;

/* What is measured in each round. Ratios are taken from the first line on. */
static const struct measurement {
    const char *name;
    const char *variant;
    measure_function *measure;
    unsigned parallel;
} measurements[] = {
    {"unary", "64 in flight", measure_unary, 64},
    {"unary", "256 in flight", measure_unary, 256},
    {"stream", "512 under way", measure_stream, STREAM_UNDER_WAY},
    {"naive", "8 connections", measure_naive, 8},
    {"naive", "16 connections", measure_naive, 16},
    {"naive", "32 connections", measure_naive, 32},
    {"ceiling", "2048 waiting", measure_ceiling, CEILING_WAITING},
};

static_assert(COUNT_OF(measurements) <= COUNT_OF(((struct report *)0)->lines), "the report has a line for each");

/* True when an item of `only`, of `size` bytes, names the measurement: "unary" or "unary-64". */
static bool is_named(size_t index, const char *item, size_t size)
{
    const struct measurement *measurement = &measurements[index];
    char full[32];

    snprintf(full, sizeof(full), "%s-%u", measurement->name, measurement->parallel);
    return (strlen(measurement->name) == size && memcmp(item, measurement->name, size) == 0) ||
           (strlen(full) == size && memcmp(item, full, size) == 0);
}

/* How a run's leads go to a server. */
typedef bool send_function(struct run *run, const char *target, unsigned parallel, struct error *reterr_error);

static bool send_unary(struct run *run, const char *target, unsigned parallel, struct error *reterr_error)
{
    const struct unary_options options = {.target = target, .in_flight = parallel};

    return unary_run(run, &options, reterr_error);
}

/* A server of its own for each run: it starts with cold caches, like what it is compared with. It does no background work: leads
 * that wait for their turn are not to be found by somebody else. */
static bool measure_server(
    struct stage *stage, struct run *run, send_function *send, unsigned parallel, struct error *reterr_error)
{
    struct server server = {0};
    bool ok =
        stage_start_server(stage, false, &server, reterr_error) && send(run, server.target, parallel, reterr_error);

    stage_stop_server(stage, &server);
    return ok;
}

static bool measure_unary(struct stage *stage, struct run *run, unsigned parallel, struct error *reterr_error)
{
    return measure_server(stage, run, send_unary, parallel, reterr_error);
}

static bool measure_stream(struct stage *stage, struct run *run, unsigned parallel, struct error *reterr_error)
{
    return measure_server(stage, run, stream_run, parallel, reterr_error);
}

static bool measure_naive(struct stage *stage, struct run *run, unsigned parallel, struct error *reterr_error)
{
    char *url = NULL;
    bool ok = false;

    if (!stage_admin_url(stage, &url, reterr_error))
        return false;
    const struct pg_config config = {.url = url, .application_name = "naive"};
    ok = naive_run(run, &config, parallel, reterr_error);
    free(url);
    return ok;
}

static bool measure_ceiling(struct stage *stage, struct run *run, unsigned parallel, struct error *reterr_error)
{
    char *url = NULL;
    bool ok = false;

    assert(parallel == CEILING_WAITING);
    if (!stage_service_url(stage, &url, reterr_error))
        return false;
    const struct pg_config config = {.url = url, .application_name = "ceiling"};
    ok = ceiling_run(run, &config, reterr_error);
    free(url);
    return ok;
}

/* Holds what was answered against what the database has. Answers that were lost may have been decided: then only
 * the invariants count. */
static bool verify(struct stage *stage, const struct run_summary *summary, struct error *reterr_error)
{
    struct workload_check check = {0};
    struct pg_conn *conn = NULL;
    char text[WORKLOAD_TEXT_SIZE];
    bool ok = stage_connect(stage, &conn, reterr_error) && workload_verify(conn, &check, reterr_error);

    pg_conn_free(conn);
    if (ok && workload_count_wrong(&check, summary->errors == 0 ? (int64_t)summary->answered : -1, text) != 0)
        ok = error_set(reterr_error, ERROR_INTERNAL, "wrong decisions: %s", text);
    return ok;
}

static bool measure_once(struct stage *stage, const struct bench_options *options,
    const struct measurement *measurement, struct run_summary *ret_summary, struct error *reterr_error)
{
    struct run *run = memory_new(sizeof(*run));
    bool ok = false;

    if (atomic_load(&run_interrupted)) {
        error_set(reterr_error, ERROR_CANCELLED, "interrupted");
        goto cleanup;
    }
    run_init(run, &stage->workload, options->duration_s * 1000);
    if (!stage_copy(stage, reterr_error))
        goto cleanup;
    if (!measurement->measure(stage, run, measurement->parallel, reterr_error))
        goto cleanup;
    run_finish(run, ret_summary);
    if (ret_summary->answered == 0 && ret_summary->errors > 0) {
        error_set(reterr_error, ERROR_INTERNAL, "no lead was decided: %s", ret_summary->error_text);
        goto cleanup;
    }
    ok = verify(stage, ret_summary, reterr_error);
cleanup:
    if (!ok)
        error_add_context(reterr_error, "%s, %s", measurement->name, measurement->variant);
    free(run);
    return ok;
}

static int compare_speed(const void *left, const void *right)
{
    double difference =
        ((const struct run_summary *)left)->leads_per_second - ((const struct run_summary *)right)->leads_per_second;

    return (difference > 0) - (difference < 0);
}

/* Fills the report from the rounds: per measurement the run of median speed, errors of all runs. */
static void sum_up(const struct stage *stage, const struct bench_options *options, const bool *wanted,
    struct run_summary summaries[][ROUNDS_MAX], struct report *ret_report)
{
    struct report report = {.workload = options->workload,
        .rounds = options->rounds,
        .memory = stage->memory,
        .other_work_percent = stage->other_work_percent};
    double unary = 0;
    double naive = 0;
    double ceiling = 0;
    double stream = 0;

    for (size_t i = 0; i < COUNT_OF(measurements); i++) {
        struct report_line *line = &report.lines[report.line_count];
        if (!wanted[i])
            continue;
        report.line_count++;
        qsort(summaries[i], (size_t)report.rounds, sizeof(summaries[i][0]), compare_speed);
        line->name = measurements[i].name;
        line->variant = measurements[i].variant;
        line->summary = summaries[i][report.rounds / 2];
        double speed = line->summary.leads_per_second;
        if (i == 0)
            unary = speed;
        if (measurements[i].measure == measure_naive && speed > naive)
            naive = speed;
        if (measurements[i].measure == measure_ceiling)
            ceiling = speed;
        if (measurements[i].measure == measure_stream)
            stream = speed;
    }
    if (naive > 0)
        report.unary_to_naive = unary / naive;
    if (ceiling > 0)
        report.unary_to_ceiling = unary / ceiling;
    if (unary > 0)
        report.stream_to_unary = stream / unary;
    *ret_report = report;
}

/* The rounds alternate: each measurement once per round, so that a machine that slows down slows all of them. */
static bool measure_all(struct stage *stage, const struct bench_options *options, const bool *wanted,
    struct report *ret_report, struct error *reterr_error)
{
    struct run_summary(*summaries)[ROUNDS_MAX] = memory_new_array(COUNT_OF(measurements), sizeof(*summaries));
    bool ok = true;

    for (int64_t round = 0; round < options->rounds && ok; round++)
        for (size_t i = 0; i < COUNT_OF(measurements) && ok; i++) {
            struct run_summary *summary = &summaries[i][round];
            if (!wanted[i])
                continue;
            ok = measure_once(stage, options, &measurements[i], summary, reterr_error);
            if (ok)
                fprintf(stderr, "round %" PRId64 "  %-8s %-15s %7.0f leads/s  p99 %.1f ms%s%s\n", round + 1,
                    measurements[i].name, measurements[i].variant, summary->leads_per_second, summary->p99_ms,
                    summary->errors > 0 ? "  first error: " : "", summary->error_text);
        }
    if (ok)
        sum_up(stage, options, wanted, summaries, ret_report);
    free(summaries);
    return ok;
}

bool compare_run(const struct bench_options *options, struct report *ret_report, struct error *reterr_error)
{
    bool wanted[COUNT_OF(measurements)];
    struct stage stage = {0};
    bool ok = false;

    assert(options->rounds >= 1 && options->rounds <= ROUNDS_MAX);
    if (!options_choose(options->only, COUNT_OF(measurements), is_named, wanted, reterr_error))
        return false;
    ok = stage_open(&stage, options, NULL, reterr_error) &&
         measure_all(&stage, options, wanted, ret_report, reterr_error);
    stage_close(&stage);
    return ok;
}
