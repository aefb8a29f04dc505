#include "compare.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "ceiling.h"
#include "machine.h"
#include "naive.h"
#include "stream.h"
#include "unary.h"

enum { CONNECT_MS = 30000, ADMINISTRATION_MS = 120000, ROUNDS_MAX = 9, PATH_SIZE = 4096 };
enum { IDLE_WAIT_MS = 20000, IDLE_PERCENT = 10 }; /* how long a run waits for a machine that works for others */

struct compare {
    const struct bench_options *options;
    char *leadrouterd;
    char directory[PATH_SIZE];
    struct cluster cluster;
    struct pg_conn *admin; /* on template1: creates and drops the copies */
    struct workload workload;
    struct child_memory memory; /* of the servers: highest so far */
    double other_work_percent;  /* what the machine did for others when a run began: highest so far */
};

typedef bool measure_function(struct compare *compare, struct run *run, unsigned parallel, struct error *reterr_error);
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

/* Name of the copy that a run works on. */
static const char copy_name[] = "bench_copy";

static bool url_of_copy(const char *url, char **ret_url, struct error *reterr_error)
{
    return children_url_with_database(url, copy_name, ret_url, reterr_error);
}

static void note_memory(struct compare *compare, pid_t pid)
{
    struct child_memory memory = {0};

    if (!child_memory_read(pid, &memory))
        return;
    if (memory.resident_kib > compare->memory.resident_kib)
        compare->memory.resident_kib = memory.resident_kib;
    if (memory.resident_max_kib > compare->memory.resident_max_kib)
        compare->memory.resident_max_kib = memory.resident_max_kib;
}

/* How a run's leads go to a server. */
typedef bool send_function(struct run *run, const char *target, unsigned parallel, struct error *reterr_error);

static bool send_unary(struct run *run, const char *target, unsigned parallel, struct error *reterr_error)
{
    const struct unary_options options = {.target = target, .in_flight = parallel};

    return unary_run(run, &options, reterr_error);
}

/* A server of its own for each run: it starts with cold caches, like what it is compared with. */
static bool measure_server(
    struct compare *compare, struct run *run, send_function *send, unsigned parallel, struct error *reterr_error)
{
    struct server server = {0};
    char log_path[PATH_SIZE + 16];
    char *url = NULL;
    bool ok = false;

    snprintf(log_path, sizeof(log_path), "%s/server.log", compare->directory);
    if (!url_of_copy(compare->cluster.service_url, &url, reterr_error) ||
        !server_start(compare->leadrouterd, url, log_path, &server, reterr_error) ||
        !unary_wait_ready(server.target, reterr_error))
        goto cleanup;
    ok = send(run, server.target, parallel, reterr_error);
    note_memory(compare, server.child.pid);
cleanup:
    server_stop(&server);
    free(url);
    return ok;
}

static bool measure_unary(struct compare *compare, struct run *run, unsigned parallel, struct error *reterr_error)
{
    return measure_server(compare, run, send_unary, parallel, reterr_error);
}

static bool measure_stream(struct compare *compare, struct run *run, unsigned parallel, struct error *reterr_error)
{
    return measure_server(compare, run, stream_run, parallel, reterr_error);
}

static bool measure_naive(struct compare *compare, struct run *run, unsigned parallel, struct error *reterr_error)
{
    char *url = NULL;
    bool ok = false;

    if (!url_of_copy(compare->cluster.admin_url, &url, reterr_error))
        return false;
    const struct pg_config config = {.url = url, .application_name = "naive"};
    ok = naive_run(run, &config, parallel, reterr_error);
    free(url);
    return ok;
}

static bool measure_ceiling(struct compare *compare, struct run *run, unsigned parallel, struct error *reterr_error)
{
    char *url = NULL;
    bool ok = false;

    assert(parallel == CEILING_WAITING);
    if (!url_of_copy(compare->cluster.service_url, &url, reterr_error))
        return false;
    const struct pg_config config = {.url = url, .application_name = "ceiling"};
    ok = ceiling_run(run, &config, reterr_error);
    free(url);
    return ok;
}

/* One statement that gives nothing, on the administration's connection. */
static bool administer(struct compare *compare, const char *format, const char *name, struct error *reterr_error)
{
    struct buffer sql;
    bool ok = false;

    buffer_init(&sql, 1024);
    buffer_append_string(&sql, format);
    if (name != NULL)
        buffer_append_format(&sql, " \"%s\"", name);
    ok = pg_execute_script(compare->admin, buffer_text(&sql), clock_after_ms(ADMINISTRATION_MS), reterr_error);
    buffer_release(&sql);
    return ok;
}

/* A fresh copy of the prepared database, and nothing left for the disk to do from before. */
static bool make_copy(struct compare *compare, struct error *reterr_error)
{
    char *database = children_url_database(compare->cluster.admin_url);
    bool ok = administer(compare, "create database bench_copy strategy file_copy template", database, reterr_error) &&
              administer(compare, "checkpoint", NULL, reterr_error);

    free(database);
    return ok;
}

static bool drop_copy(struct compare *compare, struct error *reterr_error)
{
    return administer(compare, "drop database if exists bench_copy with (force)", NULL, reterr_error);
}

/* Holds what was answered against what the database has. Answers that were lost may have been decided: then only
 * the invariants count. */
static bool verify(struct compare *compare, const struct run_summary *summary, struct error *reterr_error)
{
    struct workload_check check = {0};
    struct pg_conn *conn = NULL;
    char *url = NULL;
    bool ok = false;

    if (!url_of_copy(compare->cluster.admin_url, &url, reterr_error))
        return false;
    const struct pg_config config = {.url = url, .application_name = "leadrouter-bench"};
    conn = pg_conn_new(&config);
    ok = pg_conn_open(conn, clock_after_ms(CONNECT_MS), reterr_error) && workload_verify(conn, &check, reterr_error);
    pg_conn_free(conn);
    free(url);
    if (!ok)
        return false;
    if (check.sold_twice != 0 || check.wrong_rules != 0 || check.deciding != check.sold + check.duplicates)
        return error_set(reterr_error, ERROR_INTERNAL,
            "wrong decisions: %" PRId64 " identities sold twice, %" PRId64 " leads by a wrong rule, %" PRId64
            " deciding log rows for %" PRId64 " decided leads",
            check.sold_twice, check.wrong_rules, check.deciding, check.sold + check.duplicates);
    if (summary->errors == 0 && (uint64_t)(check.sold + check.duplicates) != summary->answered)
        return error_set(reterr_error, ERROR_INTERNAL,
            "%" PRIu64 " leads answered, %" PRId64 " decided in the database", summary->answered,
            check.sold + check.duplicates);
    return true;
}

static bool measure_once(struct compare *compare, const struct measurement *measurement,
    struct run_summary *ret_summary, struct error *reterr_error)
{
    struct run *run = memory_new(sizeof(*run));
    double other_work = 0;
    bool ok = false;

    if (atomic_load(&run_interrupted)) {
        error_set(reterr_error, ERROR_CANCELLED, "interrupted");
        goto cleanup;
    }
    run_init(run, &compare->workload, compare->options->duration_s * 1000);
    if (!make_copy(compare, reterr_error))
        goto cleanup;
    other_work = machine_wait_idle(IDLE_PERCENT, IDLE_WAIT_MS);
    if (other_work > compare->other_work_percent)
        compare->other_work_percent = other_work;
    if (!measurement->measure(compare, run, measurement->parallel, reterr_error))
        goto cleanup;
    run_finish(run, ret_summary);
    if (ret_summary->answered == 0 && ret_summary->errors > 0) {
        error_set(reterr_error, ERROR_INTERNAL, "no lead was decided: %s", ret_summary->error_text);
        goto cleanup;
    }
    ok = verify(compare, ret_summary, reterr_error) && drop_copy(compare, reterr_error);
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
static void sum_up(struct compare *compare, struct run_summary summaries[][ROUNDS_MAX], struct report *ret_report)
{
    struct report report = {.workload = compare->options->workload,
        .rounds = compare->options->rounds,
        .memory = compare->memory,
        .other_work_percent = compare->other_work_percent,
        .line_count = COUNT_OF(measurements)};
    double naive = 0;
    double ceiling = 0;
    double stream = 0;

    for (size_t i = 0; i < COUNT_OF(measurements); i++) {
        qsort(summaries[i], (size_t)report.rounds, sizeof(summaries[i][0]), compare_speed);
        report.lines[i].name = measurements[i].name;
        report.lines[i].variant = measurements[i].variant;
        report.lines[i].summary = summaries[i][report.rounds / 2];
        double speed = report.lines[i].summary.leads_per_second;
        if (measurements[i].measure == measure_naive && speed > naive)
            naive = speed;
        if (measurements[i].measure == measure_ceiling)
            ceiling = speed;
        if (measurements[i].measure == measure_stream)
            stream = speed;
    }
    if (naive > 0)
        report.unary_to_naive = report.lines[0].summary.leads_per_second / naive;
    if (ceiling > 0)
        report.unary_to_ceiling = report.lines[0].summary.leads_per_second / ceiling;
    if (report.lines[0].summary.leads_per_second > 0)
        report.stream_to_unary = stream / report.lines[0].summary.leads_per_second;
    *ret_report = report;
}

/* The rounds alternate: each measurement once per round, so that a machine that slows down slows all of them. */
static bool measure_all(struct compare *compare, struct report *ret_report, struct error *reterr_error)
{
    struct run_summary(*summaries)[ROUNDS_MAX] = memory_new_array(COUNT_OF(measurements), sizeof(*summaries));
    bool ok = true;

    for (int64_t round = 0; round < compare->options->rounds && ok; round++)
        for (size_t i = 0; i < COUNT_OF(measurements) && ok; i++) {
            struct run_summary *summary = &summaries[i][round];
            ok = measure_once(compare, &measurements[i], summary, reterr_error);
            if (ok)
                fprintf(stderr, "round %" PRId64 "  %-8s %-15s %7.0f leads/s  p99 %.1f ms%s%s\n", round + 1,
                    measurements[i].name, measurements[i].variant, summary->leads_per_second, summary->p99_ms,
                    summary->errors > 0 ? "  first error: " : "", summary->error_text);
        }
    if (ok)
        sum_up(compare, summaries, ret_report);
    free(summaries);
    return ok;
}

/* Data in the cluster's main database, which nobody may be connected to afterwards: it is copied as a template. */
static bool prepare(struct compare *compare, struct error *reterr_error)
{
    const struct pg_config config = {.url = compare->cluster.admin_url, .application_name = "leadrouter-bench"};
    struct pg_conn *conn = pg_conn_new(&config);
    bool ok = pg_conn_open(conn, clock_after_ms(CONNECT_MS), reterr_error) &&
              workload_prepare(conn, &compare->options->workload, &compare->workload, reterr_error);

    pg_conn_free(conn);
    return ok;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status;
    (void)type;
    (void)position;
    return remove(path);
}

static bool make_directory(struct compare *compare, struct error *reterr_error)
{
    int size = snprintf(
        compare->directory, sizeof(compare->directory), "%s/leadrouter-bench-XXXXXX", compare->options->directory);

    if (size < 0 || (size_t)size >= sizeof(compare->directory) || mkdtemp(compare->directory) == NULL ||
        chmod(compare->directory, 0755) != 0) { /* PostgreSQL's user must be able to enter it */
        error_set(reterr_error, ERROR_SYSTEM, "could not make a directory in %s: %s", compare->options->directory,
            strerror(errno));
        compare->directory[0] = '\0';
        return false;
    }
    return true;
}

bool compare_run(const struct bench_options *options, struct report *ret_report, struct error *reterr_error)
{
    struct compare compare = {.options = options};
    struct pg_config admin = {.application_name = "leadrouter-bench"};
    char cluster_directory[PATH_SIZE + 16];
    char *admin_url = NULL;
    bool ok = false;

    assert(options->rounds >= 1 && options->rounds <= ROUNDS_MAX);
    compare.leadrouterd =
        options->leadrouterd == NULL ? children_find_leadrouterd() : memory_copy_string(options->leadrouterd);
    if (!make_directory(&compare, reterr_error))
        goto cleanup;
    snprintf(cluster_directory, sizeof(cluster_directory), "%s/cluster", compare.directory);
    fprintf(stderr, "making a private cluster in %s\n", cluster_directory);
    if (!cluster_start(compare.leadrouterd, cluster_directory, &compare.cluster, reterr_error) ||
        !children_url_with_database(compare.cluster.admin_url, "template1", &admin_url, reterr_error))
        goto cleanup;
    admin.url = admin_url;
    compare.admin = pg_conn_new(&admin);
    if (!pg_conn_open(compare.admin, clock_after_ms(CONNECT_MS), reterr_error))
        goto cleanup;
    fprintf(stderr, "preparing %d leads\n", options->workload.leads);
    ok = prepare(&compare, reterr_error) && measure_all(&compare, ret_report, reterr_error);
cleanup:
    pg_conn_free(compare.admin);
    cluster_stop(&compare.cluster);
    workload_release(&compare.workload);
    if (compare.directory[0] != '\0')
        nftw(compare.directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(admin_url);
    free(compare.leadrouterd);
    return ok;
}
