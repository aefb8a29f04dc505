#include "tenants.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "noise.h"
#include "run.h"
#include "stage.h"
#include "unary.h"

enum {
    ROUNDS_MAX = 9,
    QUIET_IN_FLIGHT = 512,
    STATEMENT_MS = 10000,
    AHEAD_MS = 1000, /* the noisy one begins so much earlier, and ends so much later */
};

/* The limits of a workspace: $2 calls a second, a tenth of that at once, $3 under way. */
static const struct pg_statement statement_limit = {
    .sql = "update public.workspaces set routing_config = jsonb_build_object('limits', jsonb_build_object("
           "'calls_per_second', $2, 'calls_burst', greatest($2 / 10, 1), 'calls_in_flight', $3)) where id = $1",
    .param_count = 3,
    .param_types = {PG_UUID, PG_INT4, PG_INT4}};

static const char *const noise_names[] = {"alone", "patient", "impatient", "unlimited"};

struct bench {
    const struct bench_options *options;
    struct stage stage;
    struct workload quiet; /* lists of its own, of leads of one workspace */
    struct workload noisy; /* and of another */
    struct noise noise;
};

/* --- Two tenants -------------------------------------------------------------------------------------------------- */

static struct workload leads_of(const struct workload *all, const struct uuid *workspace_id)
{
    struct workload part = {.lead_ids = memory_new_array(all->count, sizeof(*part.lead_ids)),
        .source_workspace_ids = memory_new_array(all->count, sizeof(*part.source_workspace_ids))};

    for (size_t i = 0; i < all->count; i++)
        if (uuid_equal(&all->source_workspace_ids[i], workspace_id)) {
            part.lead_ids[part.count] = all->lead_ids[i];
            part.source_workspace_ids[part.count++] = *workspace_id;
        }
    return part;
}

static bool split(struct bench *bench, struct error *reterr_error)
{
    const struct workload *all = &bench->stage.workload;
    const struct uuid *first = all->source_workspace_ids;
    size_t i = 0;

    while (i < all->count && uuid_equal(&all->source_workspace_ids[i], first))
        i++;
    if (i == all->count)
        return error_set(reterr_error, ERROR_INVALID, "--leads: too few for two workspaces");
    bench->quiet = leads_of(all, first);
    bench->noisy = leads_of(all, &all->source_workspace_ids[i]);
    return true;
}

static bool set_limit(struct bench *bench, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct pg_conn *conn = NULL;
    struct pg_params params;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, bench->noisy.source_workspace_ids);
    pg_params_add_int4(&params, (int32_t)bench->options->limit);
    pg_params_add_int4(&params, (int32_t)bench->options->in_flight);
    ok = stage_connect(&bench->stage, &conn, reterr_error) &&
         pg_execute(conn, &statement_limit, &params, clock_after_ms(STATEMENT_MS), NULL, reterr_error);
    pg_conn_free(conn);
    arena_free(arena);
    return ok;
}

/* --- Measuring ---------------------------------------------------------------------------------------------------- */

static bool begin_noise(struct bench *bench, enum tenants_noise kind, const char *target, struct error *reterr_error)
{
    struct noise_order order = {.duration_ms = bench->options->duration_s * 1000 + INT64_C(2) * AHEAD_MS,
        .in_flight = (unsigned)bench->options->in_flight,
        .is_patient = kind == TENANTS_PATIENT};

    if (kind == TENANTS_NONE)
        return true;
    snprintf(order.target, sizeof(order.target), "%s", target);
    if (!noise_begin(&bench->noise, &order, reterr_error))
        return false;
    poll(NULL, 0, AHEAD_MS);
    return true;
}

static bool end_noise(
    struct bench *bench, enum tenants_noise kind, struct noise_figures *ret_figures, struct error *reterr_error)
{
    if (kind == TENANTS_NONE)
        return true;
    if (!noise_end(&bench->noise, ret_figures, reterr_error))
        return false;
    if (ret_figures->errors > 0)
        return error_set(
            reterr_error, ERROR_INTERNAL, "a call of the noisy tenant failed: %s", ret_figures->error_text);
    if (ret_figures->ran_dry)
        return error_set(reterr_error, ERROR_INVALID, "--leads: too few: the noisy tenant had none left");
    return true;
}

/* One figure of each kind. */
struct figures {
    double p99_ms;
    double p50_ms;
    double to_alone; /* the first, in the same round */
    double noisy_per_second;
    double refused_per_second;
    double noisy_cpu_percent;
};

static bool measure(
    struct bench *bench, enum tenants_noise kind, struct figures *ret_figures, struct error *reterr_error)
{
    struct unary_options unary = {.in_flight = QUIET_IN_FLIGHT, .calls_per_second = (unsigned)bench->options->rate};
    struct run *run = memory_new(sizeof(*run));
    struct run_summary summary = {0};
    struct server server = {0};
    struct noise_figures noise = {0};
    bool has_limit = kind == TENANTS_PATIENT || kind == TENANTS_IMPATIENT;
    bool ok = false;

    run_init(run, &bench->quiet, bench->options->duration_s * 1000);
    ok = stage_copy(&bench->stage, reterr_error) && (!has_limit || set_limit(bench, reterr_error)) &&
         stage_start_server(&bench->stage, false, &server, reterr_error);
    if (ok && begin_noise(bench, kind, server.target, reterr_error)) {
        unary.target = server.target;
        ok = unary_run(run, &unary, reterr_error);
        ok = end_noise(bench, kind, &noise, reterr_error) && ok;
    } else {
        ok = false;
    }
    if (ok) {
        run_finish(run, &summary);
        ret_figures->noisy_per_second = noise.leads_per_second;
        ret_figures->refused_per_second = noise.refused_per_second;
        ret_figures->noisy_cpu_percent = noise.cpu_percent;
        ret_figures->p99_ms = summary.p99_ms;
        ret_figures->p50_ms = summary.p50_ms;
        if (summary.errors > 0 || run_ran_dry(run))
            ok = error_set(reterr_error, ERROR_INTERNAL, "the quiet tenant: %s",
                summary.errors > 0 ? summary.error_text : "no leads are left; --leads");
    }
    stage_stop_server(&bench->stage, &server);
    free(run);
    return ok;
}

/* Each round has all kinds, in another order each time: what comes first is not always the same. */
static bool measure_rounds(struct bench *bench, struct tenants_report *report, struct error *reterr_error)
{
    struct figures figures[TENANTS_NOISES][ROUNDS_MAX] = {0};
    size_t rounds = (size_t)report->rounds;

    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < TENANTS_NOISES; i++) {
            enum tenants_noise kind = (enum tenants_noise)((i + round) % TENANTS_NOISES);
            struct figures *figure = &figures[kind][round];
            if (atomic_load(&run_interrupted))
                return error_set(reterr_error, ERROR_CANCELLED, "interrupted");
            if (!measure(bench, kind, figure, reterr_error))
                return error_add_context(reterr_error, "%s", noise_names[kind]);
            fprintf(stderr,
                "round %zu  %-10s p50 %5.1f ms  p99 %5.1f ms   noise %7.0f/s  refused %7.0f/s  its client's CPU %3.0f "
                "%%\n",
                round + 1, noise_names[kind], figure->p50_ms, figure->p99_ms, figure->noisy_per_second,
                figure->refused_per_second, figure->noisy_cpu_percent);
        }
    for (int kind = 0; kind < TENANTS_NOISES; kind++) {
        for (size_t round = 0; round < rounds; round++)
            figures[kind][round].to_alone = figures[kind][round].p99_ms / figures[TENANTS_NONE][round].p99_ms;
        report->p99_ms[kind] = run_median_of(&figures[kind]->p99_ms, sizeof(struct figures), rounds);
        report->p50_ms[kind] = run_median_of(&figures[kind]->p50_ms, sizeof(struct figures), rounds);
        report->noisy_per_second[kind] =
            run_median_of(&figures[kind]->noisy_per_second, sizeof(struct figures), rounds);
        report->refused_per_second[kind] =
            run_median_of(&figures[kind]->refused_per_second, sizeof(struct figures), rounds);
        report->noisy_cpu_percent[kind] =
            run_median_of(&figures[kind]->noisy_cpu_percent, sizeof(struct figures), rounds);
        report->to_alone[kind] = run_median_of(&figures[kind]->to_alone, sizeof(struct figures), rounds);
    }
    return true;
}

bool tenants_run(const struct bench_options *options, struct tenants_report *ret_report, struct error *reterr_error)
{
    struct tenants_report report = {
        .rounds = options->rounds, .rate = options->rate, .limit = options->limit, .in_flight = options->in_flight};
    struct bench bench = {.options = options};
    bool ok = false;

    assert(options->rounds >= 1 && options->rounds <= ROUNDS_MAX);
    if (options->rate == 0)
        return error_set(reterr_error, ERROR_INVALID, "--rate: the quiet tenant needs one");
    ok = stage_open(&bench.stage, options, NULL, reterr_error) && split(&bench, reterr_error) &&
         noise_open(&bench.noisy, &bench.noise, reterr_error) && measure_rounds(&bench, &report, reterr_error);
    report.other_work_percent = bench.stage.other_work_percent;
    noise_close(&bench.noise);
    workload_release(&bench.quiet);
    workload_release(&bench.noisy);
    stage_close(&bench.stage);
    *ret_report = report;
    return ok;
}

/* --- Printing ----------------------------------------------------------------------------------------------------- */

static void print_json(FILE *output, const struct tenants_report *report)
{
    json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:f}", "rounds", (json_int_t)report->rounds, "rate",
        (json_int_t)report->rate, "limit", (json_int_t)report->limit, "in_flight", (json_int_t)report->in_flight,
        "other_work_percent", report->other_work_percent);

    for (int kind = 0; kind < TENANTS_NOISES; kind++)
        json_object_set_new(json, noise_names[kind],
            json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "p50_ms", report->p50_ms[kind], "p99_ms", report->p99_ms[kind],
                "to_alone", report->to_alone[kind], "noisy_per_second", report->noisy_per_second[kind],
                "refused_per_second", report->refused_per_second[kind], "noisy_cpu_percent",
                report->noisy_cpu_percent[kind]));
    json_dumpf(json, output, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', output);
    json_decref(json);
}

void tenants_print(FILE *output, const struct tenants_report *report, bool is_json)
{
    static const char *const labels[] = {"alone", "limited, told to wait", "limited, does not wait", "without a limit"};

    if (is_json) {
        print_json(output, report);
        return;
    }
    fprintf(output,
        "RouteLead at %" PRId64 " calls a second, beside a tenant with %" PRId64
        " calls in flight and a limit of %" PRId64 " a second; medians of %" PRId64
        " alternating rounds; other work on the machine: %.0f %%\n\n",
        report->rate, report->in_flight, report->limit, report->rounds, report->other_work_percent);
    fprintf(output, "%-24s %10s %10s %8s %14s %14s %16s\n", "beside", "p50 ms", "p99 ms", "", "its leads/s",
        "refused/s", "its client's CPU");
    for (int kind = 0; kind < TENANTS_NOISES; kind++)
        fprintf(output, "%-24s %10.1f %10.1f %6.1f x %14.0f %14.0f %14.0f %%\n", labels[kind], report->p50_ms[kind],
            report->p99_ms[kind], report->to_alone[kind], report->noisy_per_second[kind],
            report->refused_per_second[kind], report->noisy_cpu_percent[kind]);
}
