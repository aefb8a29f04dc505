#include "tenants.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
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

/* What the clients of this project do (client/leadrouter.c). */
static const char patience[] = "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":5,"
                               "\"initialBackoff\":\"0.1s\",\"maxBackoff\":\"2s\","
                               "\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"RESOURCE_EXHAUSTED\"]}}]}";

static const char *const noise_names[] = {"alone", "patient", "impatient", "unlimited"};

struct bench {
    const struct bench_options *options;
    struct stage stage;
    struct workload quiet; /* lists of its own, of leads of one workspace */
    struct workload noisy; /* and of another */
};

/* The noisy tenant, on a thread of its own. */
struct noise {
    struct run run;
    struct unary_options unary;
    atomic_uint_least64_t refused;
    pthread_t thread;
    bool ok;
    struct error error;
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

static void *noise_main(void *argument)
{
    struct noise *noise = argument;

    noise->ok = unary_run(&noise->run, &noise->unary, &noise->error);
    return NULL;
}

/* NULL: none was wanted, or none could be had. */
static struct noise *noise_start(struct bench *bench, enum tenants_noise kind, const char *target)
{
    struct noise *noise = NULL;

    if (kind == TENANTS_NONE)
        return NULL;
    noise = memory_new(sizeof(*noise));
    noise->unary = (struct unary_options){.target = target,
        .in_flight = (unsigned)bench->options->in_flight,
        .refused = &noise->refused,
        .service_config_json = kind == TENANTS_PATIENT ? patience : NULL};
    run_init(&noise->run, &bench->noisy, bench->options->duration_s * 1000 + INT64_C(2) * AHEAD_MS);
    if (pthread_create(&noise->thread, NULL, noise_main, noise) != 0) {
        free(noise);
        return NULL;
    }
    poll(NULL, 0, AHEAD_MS);
    return noise;
}

static bool noise_end(struct noise *noise, double *ret_per_second, double *ret_refused, struct error *reterr_error)
{
    struct run_summary summary = {0};
    bool ok = true;

    if (noise == NULL)
        return true;
    pthread_join(noise->thread, NULL);
    run_finish(&noise->run, &summary);
    *ret_per_second = summary.leads_per_second;
    *ret_refused = summary.seconds > 0 ? (double)atomic_load(&noise->refused) / summary.seconds : 0;
    if (!noise->ok)
        *reterr_error = noise->error;
    else if (summary.errors > 0)
        error_set(reterr_error, ERROR_INTERNAL, "a call of the noisy tenant failed: %s", summary.error_text);
    else if (run_ran_dry(&noise->run))
        error_set(reterr_error, ERROR_INVALID, "--leads: too few: the noisy tenant had none left");
    ok = reterr_error->code == ERROR_NONE;
    free(noise);
    return ok;
}

/* One figure of each kind. */
struct figures {
    double p99_ms;
    double p50_ms;
    double noisy_per_second;
    double refused_per_second;
};

static bool measure(
    struct bench *bench, enum tenants_noise kind, struct figures *ret_figures, struct error *reterr_error)
{
    struct unary_options unary = {.in_flight = QUIET_IN_FLIGHT, .calls_per_second = (unsigned)bench->options->rate};
    struct run *run = memory_new(sizeof(*run));
    struct run_summary summary = {0};
    struct server server = {0};
    struct noise *noise = NULL;
    bool has_limit = kind == TENANTS_PATIENT || kind == TENANTS_IMPATIENT;
    bool ok = false;

    run_init(run, &bench->quiet, bench->options->duration_s * 1000);
    ok = stage_copy(&bench->stage, reterr_error) && (!has_limit || set_limit(bench, reterr_error)) &&
         stage_start_server(&bench->stage, false, &server, reterr_error);
    if (ok) {
        unary.target = server.target;
        noise = noise_start(bench, kind, server.target);
        ok = unary_run(run, &unary, reterr_error);
        ok = noise_end(noise, &ret_figures->noisy_per_second, &ret_figures->refused_per_second, reterr_error) && ok;
    }
    if (ok) {
        run_finish(run, &summary);
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

static double median(const struct figures figures[ROUNDS_MAX], size_t offset, size_t count)
{
    double numbers[ROUNDS_MAX];

    for (size_t i = 0; i < count; i++)
        memcpy(&numbers[i], (const char *)&figures[i] + offset, sizeof(double));
    return run_median(numbers, count);
}

static double median_ratio(const struct figures of[ROUNDS_MAX], const struct figures to[ROUNDS_MAX], size_t count)
{
    struct figures ratios[ROUNDS_MAX];

    for (size_t i = 0; i < count; i++)
        ratios[i].p99_ms = of[i].p99_ms / to[i].p99_ms;
    return median(ratios, offsetof(struct figures, p99_ms), count);
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
            fprintf(stderr, "round %zu  %-10s p50 %5.1f ms  p99 %5.1f ms   noise %7.0f/s  refused %7.0f/s\n", round + 1,
                noise_names[kind], figure->p50_ms, figure->p99_ms, figure->noisy_per_second,
                figure->refused_per_second);
        }
    for (int kind = 0; kind < TENANTS_NOISES; kind++) {
        report->p99_ms[kind] = median(figures[kind], offsetof(struct figures, p99_ms), rounds);
        report->p50_ms[kind] = median(figures[kind], offsetof(struct figures, p50_ms), rounds);
        report->noisy_per_second[kind] = median(figures[kind], offsetof(struct figures, noisy_per_second), rounds);
        report->refused_per_second[kind] = median(figures[kind], offsetof(struct figures, refused_per_second), rounds);
        report->to_alone[kind] = median_ratio(figures[kind], figures[TENANTS_NONE], rounds);
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
         measure_rounds(&bench, &report, reterr_error);
    report.other_work_percent = bench.stage.other_work_percent;
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
            json_pack("{s:f, s:f, s:f, s:f, s:f}", "p50_ms", report->p50_ms[kind], "p99_ms", report->p99_ms[kind],
                "to_alone", report->to_alone[kind], "noisy_per_second", report->noisy_per_second[kind],
                "refused_per_second", report->refused_per_second[kind]));
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
    fprintf(output, "%-24s %10s %10s %8s %14s %14s\n", "beside", "p50 ms", "p99 ms", "", "its leads/s", "refused/s");
    for (int kind = 0; kind < TENANTS_NOISES; kind++)
        fprintf(output, "%-24s %10.1f %10.1f %6.1f x %14.0f %14.0f\n", labels[kind], report->p50_ms[kind],
            report->p99_ms[kind], report->to_alone[kind], report->noisy_per_second[kind],
            report->refused_per_second[kind]);
}
