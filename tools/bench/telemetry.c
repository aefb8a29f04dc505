#include "telemetry.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "grpc_c/server.h"
#include "otlp.grpc.h"
#include "run.h"
#include "slices.h"
#include "stage.h"

enum { ROUNDS_MAX = 9 };

#define OTLP(type) Opentelemetry__Proto__Collector__Trace__V1__##type

static const char *const kind_names[] = {"off", "metrics", "logs", "on"};

struct bench {
    const struct bench_options *options;
    struct stage stage;
    struct grpc_c_server *collector;
    char endpoint[64];
    atomic_uint_least64_t spans;
};

/* --- The collector ------------------------------------------------------------------------------------------------ */

/* Counts, and keeps nothing. */
static void take_spans(struct grpc_c_call *call, const OTLP(ExportTraceServiceRequest) * request, void *user)
{
    OTLP(ExportTraceServiceResponse)
    response = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_RESPONSE__INIT;
    struct bench *bench = user;

    for (size_t i = 0; i < request->n_resource_spans; i++)
        for (size_t k = 0; k < request->resource_spans[i]->n_scope_spans; k++)
            atomic_fetch_add(&bench->spans, request->resource_spans[i]->scope_spans[k]->n_spans);
    opentelemetry__proto__collector__trace__v1__trace_service__export__reply(call, &response);
}

static bool start_collector(struct bench *bench, struct error *reterr_error)
{
    static const struct opentelemetry__proto__collector__trace__v1__trace_service__handlers handlers = {
        .export_ = take_spans};
    const struct grpc_c_server_options options = {.threads = 1};
    int port = 0;

    bench->collector = grpc_c_server_new(&options);
    opentelemetry__proto__collector__trace__v1__trace_service__add(bench->collector, &handlers, bench);
    if (!grpc_c_server_listen(bench->collector, "127.0.0.1:0", &port, reterr_error) ||
        !grpc_c_server_start(bench->collector, reterr_error))
        return false;
    snprintf(bench->endpoint, sizeof(bench->endpoint), "--trace-endpoint=127.0.0.1:%d", port);
    return true;
}

/* --- Measuring ---------------------------------------------------------------------------------------------------- */

static bool start(struct bench *bench, enum telemetry_kind kind, struct server *ret_server, struct error *reterr_error)
{
    const char *const flags[] = {kind >= TELEMETRY_LOGS ? "--log-sample-per-mille=10" : "--log-sample-per-mille=0",
        kind >= TELEMETRY_METRICS ? "--admin-listen=127.0.0.1:0" : "--no-metrics", "--trace-sample-per-mille=10",
        kind == TELEMETRY_ON ? bench->endpoint : NULL, NULL};
    bool ok = false;

    bench->stage.flags = flags;
    ok = stage_start_server(&bench->stage, false, ret_server, reterr_error);
    bench->stage.flags = NULL;
    return ok;
}

/* What one kind came to in a round. */
struct figures {
    double per_second;
    double p99_ms;
    double cpu_us;
};

/* Processor time that each server takes until the round's end: exports and looks at the database come when they come, not in the turns of
 * who makes them. */
static bool measure_sides(
    struct bench *bench, struct slices_side *sides, size_t count, struct figures *figures, struct error *reterr_error)
{
    int64_t before_ns[TELEMETRY_KINDS] = {0};
    int64_t after_ns = 0;
    bool ok = true;

    for (size_t i = 0; i < count; i++)
        child_cpu_read(sides[i].server.child.pid, &before_ns[i]);
    ok = slices_measure(sides, count, &bench->stage.workload, bench->options->duration_s,
        (unsigned)bench->options->in_flight, reterr_error);
    for (size_t i = 0; ok && i < count; i++) {
        ok = child_cpu_read(sides[i].server.child.pid, &after_ns) ||
             error_set(reterr_error, ERROR_SYSTEM, "a server has ended");
        figures[i].per_second = (double)sides[i].answered / sides[i].seconds;
        figures[i].p99_ms = (double)histogram_quantile(&sides[i].latency, 990) * 1e-6;
        figures[i].cpu_us = (double)(after_ns - before_ns[i]) * 1e-3 / (double)sides[i].answered;
    }
    return ok;
}

/* Kinds are numbered as they stand in `kinds`, off first. */
static bool measure_round(struct bench *bench, struct slices_side *sides, const enum telemetry_kind *kinds,
    size_t count, struct figures *figures, struct error *reterr_error)
{
    bool ok = stage_copy(&bench->stage, reterr_error);

    for (size_t i = 0; ok && i < count; i++) {
        sides[i].name = kind_names[kinds[i]];
        ok = start(bench, kinds[i], &sides[i].server, reterr_error);
    }
    ok = ok && measure_sides(bench, sides, count, figures, reterr_error);
    for (size_t i = 0; i < count; i++)
        stage_stop_server(&bench->stage, &sides[i].server);
    return ok;
}

static void report_kind(struct telemetry_report *report, enum telemetry_kind kind, const struct figures *figures,
    double *ratios, size_t turns)
{
    const size_t rounds = (size_t)report->rounds;

    report->per_second[kind] = run_median_of(&figures->per_second, sizeof(*figures), rounds);
    report->p99_ms[kind] = run_median_of(&figures->p99_ms, sizeof(*figures), rounds);
    report->cpu_us[kind] = run_median_of(&figures->cpu_us, sizeof(*figures), rounds);
    report->to_off[kind] = run_median(ratios, turns);
    report->is_measured[kind] = true;
}

static bool measure_rounds(struct bench *bench, const enum telemetry_kind *kinds, size_t count,
    struct telemetry_report *report, struct error *reterr_error)
{
    struct slices_side *sides = memory_new_array(count, sizeof(*sides));
    const size_t turns = SLICES_OF(bench->options->duration_s);
    double *speeds = memory_new_array(count * turns, sizeof(*speeds));
    double *ratios[TELEMETRY_KINDS] = {NULL};
    struct figures figures[TELEMETRY_KINDS][ROUNDS_MAX];
    struct figures round_figures[TELEMETRY_KINDS] = {{0}};
    bool ok = true;

    for (size_t i = 0; i < count; i++)
        ratios[i] = memory_new_array(turns * (size_t)report->rounds, sizeof(double));
    for (int64_t round = 0; ok && round < report->rounds; round++) {
        memset(sides, 0, count * sizeof(*sides));
        for (size_t i = 0; i < count; i++)
            sides[i].per_second = speeds + i * turns;
        ok = measure_round(bench, sides, kinds, count, round_figures, reterr_error);
        for (size_t i = 0; ok && i < count; i++) {
            figures[i][round] = round_figures[i];
            for (size_t turn = 0; turn < turns; turn++)
                ratios[i][(size_t)round * turns + turn] = sides[i].per_second[turn] / sides[0].per_second[turn];
            fprintf(stderr, "round %" PRId64 "  %-7s %7.0f leads/s  p99 %.1f ms  %.1f us of the server  %.3f\n",
                round + 1, sides[i].name, round_figures[i].per_second, round_figures[i].p99_ms, round_figures[i].cpu_us,
                round_figures[i].per_second / round_figures[0].per_second);
        }
    }
    report->turns = turns * (size_t)report->rounds;
    for (size_t i = 0; ok && i < count; i++)
        report_kind(report, kinds[i], figures[i], ratios[i], report->turns);
    for (size_t i = 0; i < count; i++)
        free(ratios[i]);
    free(speeds);
    free(sides);
    return ok;
}

/* Off, and with it the kinds that `only` names (NULL: all of them). */
static bool choose(
    const char *only, enum telemetry_kind ret_kinds[TELEMETRY_KINDS], size_t *ret_count, struct error *reterr_error)
{
    *ret_count = 0;
    for (int kind = 0; kind < TELEMETRY_KINDS; kind++)
        if (kind == TELEMETRY_OFF || only == NULL || strcmp(only, kind_names[kind]) == 0)
            ret_kinds[(*ret_count)++] = (enum telemetry_kind)kind;
    return *ret_count > 1 || error_set(reterr_error, ERROR_INVALID, "--only: metrics, logs or on");
}

bool telemetry_run(const struct bench_options *options, struct telemetry_report *ret_report, struct error *reterr_error)
{
    struct telemetry_report report = {.rounds = options->rounds, .in_flight = options->in_flight};
    struct bench bench = {.options = options};
    enum telemetry_kind kinds[TELEMETRY_KINDS];
    size_t count = 0;
    bool ok = false;

    assert(options->rounds >= 1 && options->rounds <= ROUNDS_MAX);
    ok = choose(options->only, kinds, &count, reterr_error) && stage_open(&bench.stage, options, NULL, reterr_error) &&
         start_collector(&bench, reterr_error) && measure_rounds(&bench, kinds, count, &report, reterr_error);
    report.other_work_percent = bench.stage.other_work_percent;
    report.spans = atomic_load(&bench.spans);
    if (ok && report.is_measured[TELEMETRY_ON] && report.spans == 0)
        ok = error_set(reterr_error, ERROR_INTERNAL, "the collector got no spans");
    grpc_c_server_free(bench.collector);
    stage_close(&bench.stage);
    *ret_report = report;
    return ok;
}

/* --- Printing ----------------------------------------------------------------------------------------------------- */

static void print_json(FILE *output, const struct telemetry_report *report)
{
    json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:f}", "rounds", (json_int_t)report->rounds, "in_flight",
        (json_int_t)report->in_flight, "turns", (json_int_t)report->turns, "spans", (json_int_t)report->spans,
        "other_work_percent", report->other_work_percent);

    for (int kind = 0; kind < TELEMETRY_KINDS; kind++)
        if (report->is_measured[kind])
            json_object_set_new(json, kind_names[kind],
                json_pack("{s:f, s:f, s:f, s:f}", "leads_per_second", report->per_second[kind], "p99_ms",
                    report->p99_ms[kind], "server_cpu_us", report->cpu_us[kind], "to_off", report->to_off[kind]));
    json_dumpf(json, output, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', output);
    json_decref(json);
}

void telemetry_print(FILE *output, const struct telemetry_report *report, bool is_json)
{
    static const char *const labels[] = {"off", "metrics", "and logs at 1 %", "and traces at 1 %"};

    if (is_json) {
        print_json(output, report);
        return;
    }
    fprintf(output,
        "RouteLead, %" PRId64 " in flight; medians of %" PRId64 " rounds, of ratios over %zu turns; %" PRIu64
        " spans; other work on the machine: %.0f %%\n\n",
        report->in_flight, report->rounds, report->turns, report->spans, report->other_work_percent);
    for (int kind = 0; kind < TELEMETRY_KINDS; kind++)
        if (report->is_measured[kind])
            fprintf(output, "%-24s %8.0f leads/s   p99 %6.1f ms   %6.1f us of the server a lead   %.3f x\n",
                labels[kind], report->per_second[kind], report->p99_ms[kind], report->cpu_us[kind],
                report->to_off[kind]);
}
