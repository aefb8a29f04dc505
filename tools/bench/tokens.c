#include "tokens.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "jwt/jwt.h"
#include "run.h"
#include "slices.h"
#include "stage.h"

enum { ROUNDS_MAX = 9, READ_MS = 120000, TOKEN_S = 3600, PREPARE_SIZE = 1024, PATH_SIZE = STAGE_PATH_SIZE + 16 };

static const char audience[] = "leadrouter-bench";

/* Caller number n has the id …n and is a member of every so-many-th workspace; each workspace has members, as many as come out even. */
static const char prepare_format[] =
    "insert into public.user_workspaces (user_id, workspace_id, role)"
    " select ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, w.id, 'member'"
    " from (select id, row_number() over (order by id) - 1 as k, count(*) over () as total from public.workspaces) w"
    " join generate_series(0, %1$" PRId64 " - 1) n on n %% least(w.total, %1$" PRId64 ") = w.k %% %1$" PRId64 ";"
    " analyze public.user_workspaces";

/* For each lead, in the order of the workload, one who belongs to its workspace. */
static const struct pg_statement statement_callers = {
    .sql = "select m.callers[1 + (l.n % cardinality(m.callers))::int4]"
           " from (select workspace_id, row_number() over (order by external_id) as n from public.leads) l"
           " join (select workspace_id, array_agg(right(user_id::text, 12)::int4 order by user_id) as callers"
           "  from public.user_workspaces group by workspace_id) m using (workspace_id)"
           " order by l.n"};

static const char *const kind_names[] = {"none", "services", "people"};

struct bench {
    const struct bench_options *options;
    struct stage stage;
    char key_path[PATH_SIZE];
    char public_path[PATH_SIZE];
    char **headers[TOKENS_KINDS];              /* by caller: "Bearer …" */
    const char **authorizations[TOKENS_KINDS]; /* by lead: one of these */
};

/* --- Tokens ------------------------------------------------------------------------------------------------------- */

static FILE *open_new(const char *path)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    return descriptor < 0 ? NULL : fdopen(descriptor, "w");
}

/* A key for ES256, in two files. */
static bool make_key(struct bench *bench, struct error *reterr_error)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *private_file = NULL;
    FILE *public_file = NULL;
    bool ok = false;

    snprintf(bench->key_path, sizeof(bench->key_path), "%s/key.pem", bench->stage.directory);
    snprintf(bench->public_path, sizeof(bench->public_path), "%s/public.pem", bench->stage.directory);
    private_file = open_new(bench->key_path);
    public_file = open_new(bench->public_path);
    if (private_file != NULL && public_file != NULL)
        ok = key != NULL && PEM_write_PrivateKey(private_file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
             PEM_write_PUBKEY(public_file, key) == 1;
    if (private_file != NULL && fclose(private_file) != 0)
        ok = false;
    if (public_file != NULL && fclose(public_file) != 0)
        ok = false;
    EVP_PKEY_free(key);
    return ok || error_set(reterr_error, ERROR_SYSTEM, "could not make a key in %s", bench->stage.directory);
}

/* "Bearer …"; the caller's. NULL with the reason. */
static char *make_header(const struct bench *bench, int64_t caller, bool is_service, struct error *reterr_error)
{
    char subject[UUID_TEXT_SIZE];
    char *payload = NULL;
    char *token = NULL;
    char *header = NULL;
    int64_t now_s = time(NULL);

    snprintf(subject, sizeof(subject), "00000000-0000-4000-9000-%012u", (unsigned)caller % 1000000);
    json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:I}", "sub", subject, "aud", audience, "role",
        is_service ? "service_role" : "authenticated", "iat", (json_int_t)now_s, "exp", (json_int_t)(now_s + TOKEN_S));
    payload = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    token = jwt_sign(bench->key_path, NULL, payload, reterr_error);
    if (token != NULL) {
        size_t size = strlen("Bearer ") + strlen(token) + 1;
        header = memory_new(size);
        snprintf(header, size, "Bearer %s", token);
    }
    free(token);
    free(payload);
    return header;
}

static bool make_headers(struct bench *bench, enum tokens_kind kind, struct error *reterr_error)
{
    bench->headers[kind] = memory_new_array((size_t)bench->options->callers, sizeof(char *));
    for (int64_t i = 0; i < bench->options->callers; i++) {
        bench->headers[kind][i] = make_header(bench, i, kind == TOKENS_SERVICES, reterr_error);
        if (bench->headers[kind][i] == NULL)
            return false;
    }
    return true;
}

/* Says who calls for which lead: the same callers in the same order, whatever they are. */
static bool assign(struct bench *bench, struct error *reterr_error)
{
    size_t count = bench->stage.workload.count;
    struct pg_conn *conn = NULL;
    struct pg_result *rows = NULL;
    bool ok = stage_copy(&bench->stage, reterr_error) && stage_connect(&bench->stage, &conn, reterr_error) &&
              pg_execute(conn, &statement_callers, NULL, clock_after_ms(READ_MS), &rows, reterr_error);

    if (ok && (size_t)pg_result_row_count(rows) != count)
        ok = error_set(reterr_error, ERROR_INTERNAL, "not every lead has a caller");
    for (int kind = TOKENS_SERVICES; ok && kind < TOKENS_KINDS; kind++) {
        bench->authorizations[kind] = memory_new_array(count, sizeof(char *));
        for (size_t i = 0; i < count; i++)
            bench->authorizations[kind][i] = bench->headers[kind][pg_result_int4(rows, (int)i, 0)];
    }
    pg_result_free(rows);
    pg_conn_free(conn);
    return ok;
}

/* --- Measuring ---------------------------------------------------------------------------------------------------- */

static bool start(struct bench *bench, enum tokens_kind kind, struct server *ret_server, struct error *reterr_error)
{
    const char *const flags[] = {"--token-keys", bench->public_path, "--token-audience", audience, NULL};
    bool ok = false;

    bench->stage.flags = kind == TOKENS_NONE ? NULL : flags;
    bench->stage.token = kind == TOKENS_NONE ? NULL : bench->headers[TOKENS_SERVICES][0] + strlen("Bearer ");
    ok = stage_start_server(&bench->stage, false, ret_server, reterr_error);
    bench->stage.flags = NULL;
    bench->stage.token = NULL;
    return ok;
}

static bool measure_round(struct bench *bench, struct slices_side *sides, struct error *reterr_error)
{
    bool ok = stage_copy(&bench->stage, reterr_error);

    for (int kind = 0; ok && kind < TOKENS_KINDS; kind++) {
        sides[kind].name = kind_names[kind];
        sides[kind].authorizations = bench->authorizations[kind];
        ok = start(bench, (enum tokens_kind)kind, &sides[kind].server, reterr_error);
    }
    /* Each kind takes turns: a machine that is slower for a second is slower for all of them. */
    ok = ok && slices_measure(sides, TOKENS_KINDS, &bench->stage.workload, bench->options->duration_s,
                   (unsigned)bench->options->in_flight, reterr_error);
    for (int kind = 0; kind < TOKENS_KINDS; kind++)
        stage_stop_server(&bench->stage, &sides[kind].server);
    return ok;
}

static bool measure_rounds(struct bench *bench, struct tokens_report *report, struct error *reterr_error)
{
    double speeds[TOKENS_KINDS][ROUNDS_MAX];
    double p99s[TOKENS_KINDS][ROUNDS_MAX];
    double ratios[TOKENS_KINDS][ROUNDS_MAX];
    struct slices_side *sides = memory_new_array(TOKENS_KINDS, sizeof(*sides));
    bool ok = true;

    for (int64_t round = 0; ok && round < report->rounds; round++) {
        memset(sides, 0, TOKENS_KINDS * sizeof(*sides));
        ok = measure_round(bench, sides, reterr_error);
        for (int kind = 0; ok && kind < TOKENS_KINDS; kind++) {
            speeds[kind][round] = (double)sides[kind].answered / sides[kind].seconds;
            p99s[kind][round] = (double)histogram_quantile(&sides[kind].latency, 990) * 1e-6;
            ratios[kind][round] = speeds[kind][round] / speeds[TOKENS_NONE][round];
            fprintf(stderr, "round %" PRId64 "  %-8s %7.0f leads/s  p99 %.1f ms  %.3f\n", round + 1, kind_names[kind],
                speeds[kind][round], p99s[kind][round], ratios[kind][round]);
        }
    }
    free(sides);
    for (int kind = 0; ok && kind < TOKENS_KINDS; kind++) {
        report->per_second[kind] = run_median(speeds[kind], (size_t)report->rounds);
        report->p99_ms[kind] = run_median(p99s[kind], (size_t)report->rounds);
        report->to_none[kind] = run_median(ratios[kind], (size_t)report->rounds);
    }
    return ok;
}

static void release(struct bench *bench)
{
    for (int kind = 0; kind < TOKENS_KINDS; kind++) {
        for (int64_t i = 0; bench->headers[kind] != NULL && i < bench->options->callers; i++)
            free(bench->headers[kind][i]);
        free(bench->headers[kind]);
        free(bench->authorizations[kind]);
    }
    stage_close(&bench->stage);
}

bool tokens_run(const struct bench_options *options, struct tokens_report *ret_report, struct error *reterr_error)
{
    struct tokens_report report = {
        .rounds = options->rounds, .callers = options->callers, .in_flight = options->in_flight};
    struct bench bench = {.options = options};
    char prepare_sql[PREPARE_SIZE];
    bool ok = false;

    assert(options->rounds >= 1 && options->rounds <= ROUNDS_MAX);
    snprintf(prepare_sql, sizeof(prepare_sql), prepare_format, options->callers);
    ok = stage_open(&bench.stage, options, prepare_sql, reterr_error) && make_key(&bench, reterr_error) &&
         make_headers(&bench, TOKENS_SERVICES, reterr_error) && make_headers(&bench, TOKENS_PEOPLE, reterr_error) &&
         assign(&bench, reterr_error) && measure_rounds(&bench, &report, reterr_error);
    report.other_work_percent = bench.stage.other_work_percent;
    release(&bench);
    *ret_report = report;
    return ok;
}

/* --- Printing ----------------------------------------------------------------------------------------------------- */

static void print_json(FILE *output, const struct tokens_report *report)
{
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:f}", "rounds", (json_int_t)report->rounds, "callers", (json_int_t)report->callers,
            "in_flight", (json_int_t)report->in_flight, "other_work_percent", report->other_work_percent);

    for (int kind = 0; kind < TOKENS_KINDS; kind++)
        json_object_set_new(json, kind_names[kind],
            json_pack("{s:f, s:f, s:f}", "leads_per_second", report->per_second[kind], "p99_ms", report->p99_ms[kind],
                "to_none", report->to_none[kind]));
    json_dumpf(json, output, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', output);
    json_decref(json);
}

void tokens_print(FILE *output, const struct tokens_report *report, bool is_json)
{
    static const char *const labels[] = {"no tokens", "services", "people"};

    if (is_json) {
        print_json(output, report);
        return;
    }
    fprintf(output,
        "RouteLead, %" PRId64 " in flight, %" PRId64 " callers (ES256); medians of %" PRId64
        " alternating rounds; other work on the machine: %.0f %%\n\n",
        report->in_flight, report->callers, report->rounds, report->other_work_percent);
    for (int kind = 0; kind < TOKENS_KINDS; kind++)
        fprintf(output, "%-12s %8.0f leads/s   p99 %6.1f ms   %.2f x\n", labels[kind], report->per_second[kind],
            report->p99_ms[kind], report->to_none[kind]);
}
