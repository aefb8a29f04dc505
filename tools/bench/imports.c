#include "imports.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "children.h"
#include "run.h"
#include "stage.h"
#include "unary.h"

enum {
    ROUNDS_MAX = 9,
    SAMPLE_MS = 100, /* between two looks at memory */
    READ_MS = 120000,
    CHUNK_SIZE = 64 * 1024,
    PATH_SIZE = STAGE_PATH_SIZE + 32,
    REPEAT_EVERY = 20, /* 5 % of the rows repeat an earlier one, 1 % are no leads */
    BAD_EVERY = 100,
    BACK_MAX = 1000, /* how far back the earlier one is */
};

static const char *const way_names[IMPORTS_WAYS] = {"unary", "routed", "inserted", "copied"};

struct bench {
    const struct bench_options *options;
    struct stage stage;
    char workspace_id[UUID_TEXT_SIZE];
    char csv_path[PATH_SIZE];
    char copy_path[PATH_SIZE];
    int64_t leads;
    struct imports_report *report;
};

/* --- The file ----------------------------------------------------------------------------------------------------- */

/* Fourteen fields of the lead with this number, as CSV. */
static void write_lead(FILE *file, int64_t n, const char *email)
{
    static const char *const first[] = {"Ann", "Bob", "Cem", "Dana", "Eve", "Finn", "Gus", "Hal"};
    static const char *const last[] = {"Smith", "Jones", "Garcia", "Miller", "Davis", "Lopez", "Wilson"};
    static const char *const industries[] = {"Software", "Banking", "Retail", "Insurance", "Logistics", "Education"};
    static const char *const sizes[] = {"1-10", "11-50", "51-200", "201-500", "501-1000"};
    static const char *const states[] = {"CA", "TX", "NY", "FL", "IL", "PA", "OH"};

    fprintf(file,
        "x%" PRId64 ",%s,+1%010" PRId64 ",%s,%s,Company %" PRId64 ",%s,%s,$1M-$10M,US,%s,Springfield,%05" PRId64
        ",bench",
        n, email, 2000000000 + n, first[n % 8], last[n % 7], n % 5000, industries[n % 6], sizes[n % 5], states[n % 7],
        10000 + n % 80000);
}

/* The file to import, and, as COPY wants them, the rows of it that become leads. */
static bool write_files(struct bench *bench, struct error *reterr_error)
{
    FILE *csv = fopen(bench->csv_path, "we");
    FILE *copy = fopen(bench->copy_path, "we");
    char email[64];

    if (csv != NULL && copy != NULL)
        fputs("external_id,email,phone,first_name,last_name,company_name,company_industry,company_size,"
              "company_revenue,country,state,city,postal_code,source,title\n",
            csv);
    for (int64_t row = 0; csv != NULL && copy != NULL && row < bench->options->rows; row++) {
        bool is_bad = row % BAD_EVERY == BAD_EVERY / 2;
        bool is_repeated = !is_bad && row % REPEAT_EVERY == REPEAT_EVERY - 1 && row > BACK_MAX;
        /* an earlier row that is neither: its number ends in 1 */
        int64_t n =
            is_repeated ? row - (row * 7919 % BACK_MAX) / REPEAT_EVERY * REPEAT_EVERY - (REPEAT_EVERY - 2) : row;
        snprintf(email, sizeof(email), is_bad ? "nobody" : "p%" PRId64 "@company%" PRId64 ".example", n, n % 5000);
        write_lead(csv, n, email);
        fputs(",Director\n", csv);
        if (is_bad || is_repeated)
            continue;
        fprintf(copy, "%s,%s,", bench->workspace_id, bench->workspace_id);
        write_lead(copy, n, email);
        fputs(",\"{\"\"title\"\": \"\"Director\"\"}\"\n", copy);
        bench->leads++;
    }
    bool ok = csv != NULL && copy != NULL && ferror(csv) == 0 && ferror(copy) == 0;
    if (csv != NULL)
        ok = fclose(csv) == 0 && ok;
    if (copy != NULL)
        ok = fclose(copy) == 0 && ok;
    return ok || error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", bench->csv_path, strerror(errno));
}

/* --- Ways --------------------------------------------------------------------------------------------------------- */

static bool measure_unary(struct bench *bench, double *ret_per_second, struct error *reterr_error)
{
    struct unary_options unary = {.in_flight = 64};
    struct run *run = memory_new(sizeof(*run));
    struct run_summary summary = {0};
    struct server server = {0};
    bool ok = stage_start_server(&bench->stage, false, &server, reterr_error);

    if (ok) {
        unary.target = server.target;
        run_init(run, &bench->stage.workload, bench->options->duration_s * 1000);
        ok = unary_run(run, &unary, reterr_error);
        run_finish(run, &summary);
        *ret_per_second = summary.leads_per_second;
        if (ok && (summary.errors > 0 || run_ran_dry(run)))
            ok = error_set(reterr_error, ERROR_INTERNAL, "unary: %s",
                summary.errors > 0 ? summary.error_text : "no leads are left; --leads");
    }
    stage_stop_server(&bench->stage, &server);
    free(run);
    return ok;
}

/* What was seen of a process while the file was imported. */
struct seen {
    int64_t max_kib;
    int64_t *samples;
    size_t count;
};

static void look(struct seen *seen, pid_t pid)
{
    struct child_memory memory = {0};

    if (!child_memory_read(pid, &memory))
        return;
    if (memory.resident_max_kib > seen->max_kib)
        seen->max_kib = memory.resident_max_kib;
    seen->samples = memory_resize(seen->samples, seen->count + 1, sizeof(*seen->samples));
    seen->samples[seen->count++] = memory.resident_kib;
}

/* From the highest of the second quarter to the highest of the last: what comes before is warming up. */
static int64_t growth(const struct seen *seen)
{
    int64_t early = 0;
    int64_t late = 0;

    for (size_t i = 0; i < seen->count; i++) {
        if (i >= seen->count / 4 && i < seen->count / 2 && seen->samples[i] > early)
            early = seen->samples[i];
        if (i >= seen->count - seen->count / 4 && seen->samples[i] > late)
            late = seen->samples[i];
    }
    return late > early && early > 0 ? late - early : 0;
}

static void note(struct bench *bench, const struct seen *server, const struct seen *client)
{
    struct imports_report *report = bench->report;
    const int64_t grown[] = {growth(server), growth(client)};

    report->server_max_kib = server->max_kib > report->server_max_kib ? server->max_kib : report->server_max_kib;
    report->client_max_kib = client->max_kib > report->client_max_kib ? client->max_kib : report->client_max_kib;
    report->server_growth_kib = grown[0] > report->server_growth_kib ? grown[0] : report->server_growth_kib;
    report->client_growth_kib = grown[1] > report->client_growth_kib ? grown[1] : report->client_growth_kib;
}

/* Rows and decided leads in the copy of the database must be those of the file. */
static bool check(struct bench *bench, bool is_routed, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .sql =
            "select count(*), count(*) filter (where decided_outcome is not null) from public.leads where import_id is "
            "not null"};
    struct pg_conn *conn = NULL;
    struct pg_result *result = NULL;
    bool ok = stage_connect(&bench->stage, &conn, reterr_error) &&
              pg_execute(conn, &statement, NULL, clock_after_ms(READ_MS), &result, reterr_error);

    if (ok && (pg_result_int8(result, 0, 0) != bench->leads ||
                  pg_result_int8(result, 0, 1) != (is_routed ? bench->leads : 0)))
        ok = error_set(reterr_error, ERROR_INTERNAL,
            "%" PRId64 " leads are there and %" PRId64 " decided, of %" PRId64 " in the file",
            pg_result_int8(result, 0, 0), pg_result_int8(result, 0, 1), bench->leads);
    pg_result_free(result);
    pg_conn_free(conn);
    return ok;
}

/* Runs leadctl to its end, with an eye on memory. */
static bool run_leadctl(
    struct bench *bench, const struct server *server, bool is_routed, double *ret_seconds, struct error *reterr_error)
{
    char *leadctl = children_find_leadctl();
    const char *const arguments[] = {leadctl, "import", bench->csv_path, "--workspace", bench->workspace_id, "--target",
        server->target, "--map", "attributes.title=title", "--quiet", is_routed ? "--route" : NULL, NULL};
    char log_path[PATH_SIZE];
    struct child child = {0};
    struct seen server_seen = {0};
    struct seen client_seen = {0};
    int status = 0;
    int64_t begun_ns = clock_now_ns();

    snprintf(log_path, sizeof(log_path), "%s/leadctl.log", bench->stage.directory);
    bool ok = tool_start(arguments, log_path, &child, reterr_error);
    while (ok && waitpid(child.pid, &status, WNOHANG) == 0) {
        look(&server_seen, server->child.pid);
        look(&client_seen, child.pid);
        poll(NULL, 0, SAMPLE_MS);
        if (atomic_load(&run_interrupted))
            kill(child.pid, SIGTERM);
    }
    *ret_seconds = (double)(clock_now_ns() - begun_ns) / 1e9;
    if (ok && (!WIFEXITED(status) || WEXITSTATUS(status) > 1)) /* 1: there are rejected rows */
        ok = error_set(reterr_error, ERROR_INTERNAL, "leadctl import did not end well");
    tool_end(&child);
    note(bench, &server_seen, &client_seen);
    free(server_seen.samples);
    free(client_seen.samples);
    free(leadctl);
    return ok;
}

static bool measure_import(struct bench *bench, bool is_routed, double *ret_per_second, struct error *reterr_error)
{
    struct server server = {0};
    double seconds = 0;
    bool ok = stage_start_server(&bench->stage, false, &server, reterr_error) &&
              run_leadctl(bench, &server, is_routed, &seconds, reterr_error) && check(bench, is_routed, reterr_error);

    *ret_per_second = seconds > 0 ? (double)bench->leads / seconds : 0;
    stage_stop_server(&bench->stage, &server);
    return ok;
}

static bool send_file(PGconn *conn, const char *path, struct error *reterr_error)
{
    FILE *file = fopen(path, "re");
    char *chunk = memory_new(CHUNK_SIZE);
    size_t size = 0;
    bool ok = file != NULL;

    while (ok && (size = fread(chunk, 1, CHUNK_SIZE, file)) > 0)
        ok = PQputCopyData(conn, chunk, (int)size) == 1;
    ok = ok && PQputCopyEnd(conn, NULL) == 1;
    if (file != NULL)
        fclose(file);
    free(chunk);
    return ok || error_set(reterr_error, ERROR_DATABASE, "COPY: %s", PQerrorMessage(conn));
}

/* One COPY, one transaction: into the same table, with its indexes and triggers. */
static bool measure_copy(struct bench *bench, double *ret_per_second, struct error *reterr_error)
{
    char *url = NULL;

    if (!stage_admin_url(&bench->stage, &url, reterr_error))
        return false;
    PGconn *conn = PQconnectdb(url);
    int64_t begun_ns = clock_now_ns();
    PGresult *result = PQexec(conn,
        "copy public.leads (workspace_id, source_workspace_id, external_id, email, phone, first_name, last_name,"
        " company_name, company_industry, company_size, company_revenue, country, state, city, postal_code, source,"
        " attributes) from stdin (format csv)");
    bool ok = PQresultStatus(result) == PGRES_COPY_IN;
    PQclear(result);
    ok = ok && send_file(conn, bench->copy_path, reterr_error);
    result = PQgetResult(conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        ok = error_set(reterr_error, ERROR_DATABASE, "COPY: %s", PQerrorMessage(conn));
    *ret_per_second = (double)bench->leads / ((double)(clock_now_ns() - begun_ns) / 1e9);
    PQclear(result);
    PQfinish(conn);
    free(url);
    return ok;
}

/* --- Rounds ------------------------------------------------------------------------------------------------------- */

static bool measure(struct bench *bench, enum imports_way way, double *ret_per_second, struct error *reterr_error)
{
    if (!stage_copy(&bench->stage, reterr_error))
        return false;
    if (way == IMPORTS_UNARY)
        return measure_unary(bench, ret_per_second, reterr_error);
    if (way == IMPORTS_COPIED)
        return measure_copy(bench, ret_per_second, reterr_error);
    return measure_import(bench, way == IMPORTS_ROUTED, ret_per_second, reterr_error);
}

static bool measure_rounds(struct bench *bench, struct error *reterr_error)
{
    struct imports_report *report = bench->report;
    double speeds[IMPORTS_WAYS][ROUNDS_MAX] = {0};
    double routed[ROUNDS_MAX], inserted[ROUNDS_MAX];
    const size_t rounds = (size_t)report->rounds;

    for (size_t round = 0; round < rounds; round++) {
        for (size_t way = 0; way < IMPORTS_WAYS; way++) {
            if (atomic_load(&run_interrupted))
                return error_set(reterr_error, ERROR_CANCELLED, "interrupted");
            if (!measure(bench, (enum imports_way)way, &speeds[way][round], reterr_error))
                return error_add_context(reterr_error, "%s", way_names[way]);
            fprintf(stderr, "round %zu  %-8s %7.0f leads/s\n", round + 1, way_names[way], speeds[way][round]);
        }
        routed[round] = speeds[IMPORTS_ROUTED][round] / speeds[IMPORTS_UNARY][round];
        inserted[round] = speeds[IMPORTS_INSERTED][round] / speeds[IMPORTS_COPIED][round];
    }
    for (size_t way = 0; way < IMPORTS_WAYS; way++)
        report->per_second[way] = run_median(speeds[way], rounds);
    report->routed_to_unary = run_median(routed, rounds);
    report->inserted_to_copied = run_median(inserted, rounds);
    return true;
}

bool imports_run(const struct bench_options *options, struct imports_report *ret_report, struct error *reterr_error)
{
    struct imports_report report = {.rounds = options->rounds, .rows = options->rows};
    struct bench bench = {.options = options, .report = &report};
    bool ok = stage_open(&bench.stage, options, NULL, reterr_error);

    if (ok) {
        uuid_format(bench.stage.workload.source_workspace_ids, bench.workspace_id);
        snprintf(bench.csv_path, sizeof(bench.csv_path), "%s/leads.csv", bench.stage.directory);
        snprintf(bench.copy_path, sizeof(bench.copy_path), "%s/leads.copy", bench.stage.directory);
        ok = write_files(&bench, reterr_error) && measure_rounds(&bench, reterr_error);
    }
    report.leads = bench.leads;
    report.other_work_percent = bench.stage.other_work_percent;
    stage_close(&bench.stage);
    *ret_report = report;
    return ok;
}

/* --- Printing ----------------------------------------------------------------------------------------------------- */

static void print_json(FILE *output, const struct imports_report *report)
{
    json_t *json = json_pack("{s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:f}", "rounds", (json_int_t)report->rounds,
        "rows", (json_int_t)report->rows, "leads", (json_int_t)report->leads, "routed_to_unary",
        report->routed_to_unary, "inserted_to_copied", report->inserted_to_copied, "server_max_kib",
        (json_int_t)report->server_max_kib, "client_max_kib", (json_int_t)report->client_max_kib, "server_growth_kib",
        (json_int_t)report->server_growth_kib, "client_growth_kib", (json_int_t)report->client_growth_kib,
        "other_work_percent", report->other_work_percent);

    for (int way = 0; way < IMPORTS_WAYS; way++)
        json_object_set_new(json, way_names[way], json_real(report->per_second[way]));
    json_dumpf(json, output, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', output);
    json_decref(json);
}

void imports_print(FILE *output, const struct imports_report *report, bool is_json)
{
    static const char *const labels[IMPORTS_WAYS] = {
        "RouteLead, 64 in flight", "imported and routed", "imported", "bare COPY"};

    if (is_json) {
        print_json(output, report);
        return;
    }
    fprintf(output,
        "%" PRId64 " rows, of which %" PRId64 " become leads; medians of %" PRId64
        " rounds; other work on the machine: %.0f %%\n\n",
        report->rows, report->leads, report->rounds, report->other_work_percent);
    for (int way = 0; way < IMPORTS_WAYS; way++)
        fprintf(output, "%-26s %8.0f leads/s\n", labels[way], report->per_second[way]);
    fprintf(output, "\nimported and routed to RouteLead %.2f, imported to COPY %.2f\n", report->routed_to_unary,
        report->inserted_to_copied);
    fprintf(output, "memory, highest: server %.1f MiB (growing by %.1f), leadctl %.1f MiB (growing by %.1f)\n",
        (double)report->server_max_kib / 1024, (double)report->server_growth_kib / 1024,
        (double)report->client_max_kib / 1024, (double)report->client_growth_kib / 1024);
}
