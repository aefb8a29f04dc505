#define _XOPEN_SOURCE 700 /* nftw */
#include "stage.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "machine.h"
#include "unary.h"

enum { CONNECT_MS = 30000, ADMINISTRATION_MS = 120000, PREPARE_MS = 600000, FLAGS_MAX = 6 };
enum { IDLE_PERCENT = 10 }; /* a machine that works less than that for others is idle */

/* Name of the copy that a run works on. */
static const char copy_name[] = "bench_copy";

/* --- The database and its copies ---------------------------------------------------------------------------------- */

bool stage_service_url(const struct stage *stage, char **ret_url, struct error *reterr_error)
{
    return children_url_with_database(stage->cluster.service_url, copy_name, ret_url, reterr_error);
}

bool stage_admin_url(const struct stage *stage, char **ret_url, struct error *reterr_error)
{
    return children_url_with_database(stage->cluster.admin_url, copy_name, ret_url, reterr_error);
}

static bool connect_to(const char *url, struct pg_conn **ret_conn, struct error *reterr_error)
{
    const struct pg_config config = {.url = url, .application_name = "leadrouter-bench"};
    struct pg_conn *conn = pg_conn_new(&config);

    if (!pg_conn_open(conn, clock_after_ms(CONNECT_MS), reterr_error)) {
        pg_conn_free(conn);
        return false;
    }
    *ret_conn = conn;
    return true;
}

/* A connection outlives the URL that it was made with only as long as it need not be made again. */
bool stage_connect(const struct stage *stage, struct pg_conn **ret_conn, struct error *reterr_error)
{
    char *url = NULL;
    bool ok = stage_admin_url(stage, &url, reterr_error) && connect_to(url, ret_conn, reterr_error);

    free(url);
    return ok;
}

/* One statement that gives nothing, on the administration's connection. */
static bool administer(struct stage *stage, const char *format, const char *name, struct error *reterr_error)
{
    struct buffer sql;
    bool ok = false;

    buffer_init(&sql, 1024);
    buffer_append_string(&sql, format);
    if (name != NULL)
        buffer_append_format(&sql, " \"%s\"", name);
    ok = pg_execute_script(stage->admin, buffer_text(&sql), clock_after_ms(ADMINISTRATION_MS), reterr_error);
    buffer_release(&sql);
    return ok;
}

bool stage_copy(struct stage *stage, struct error *reterr_error)
{
    char *database = children_url_database(stage->cluster.admin_url);
    bool ok = administer(stage, "drop database if exists bench_copy with (force)", NULL, reterr_error) &&
              administer(stage, "create database bench_copy strategy file_copy template", database, reterr_error) &&
              administer(stage, "checkpoint", NULL, reterr_error);
    double other_work = ok ? machine_wait_idle(IDLE_PERCENT, (int)stage->idle_wait_ms) : 0;

    if (other_work > stage->other_work_percent)
        stage->other_work_percent = other_work;
    free(database);
    return ok;
}

/* Data in the cluster's main database, which nobody may be connected to afterwards: it is copied as a template. */
static bool prepare(
    struct stage *stage, const struct workload_options *options, const char *prepare_sql, struct error *reterr_error)
{
    struct pg_conn *conn = NULL;
    bool ok = connect_to(stage->cluster.admin_url, &conn, reterr_error) &&
              workload_prepare(conn, options, &stage->workload, reterr_error) &&
              (prepare_sql == NULL || pg_execute_script(conn, prepare_sql, clock_after_ms(PREPARE_MS), reterr_error));

    pg_conn_free(conn);
    return ok;
}

/* --- Servers ------------------------------------------------------------------------------------------------------ */

bool stage_start_server(struct stage *stage, bool has_jobs, struct server *ret_server, struct error *reterr_error)
{
    const char *flags[FLAGS_MAX + 2] = {NULL};
    char log_path[STAGE_PATH_SIZE + 16];
    char *url = NULL;
    size_t count = 0;
    bool ok = false;

    if (!has_jobs)
        flags[count++] = "--no-jobs";
    for (size_t i = 0; stage->flags != NULL && stage->flags[i] != NULL; i++) {
        assert(i < FLAGS_MAX);
        flags[count++] = stage->flags[i];
    }
    snprintf(log_path, sizeof(log_path), "%s/server.log", stage->directory);
    ok = stage_service_url(stage, &url, reterr_error) &&
         server_start(stage->leadrouterd, url, flags, log_path, ret_server, reterr_error) &&
         unary_wait_ready(ret_server->target, stage->token, reterr_error);
    free(url);
    return ok;
}

void stage_stop_server(struct stage *stage, struct server *server)
{
    struct child_memory memory = {0};

    if (server->child.pid != 0 && child_memory_read(server->child.pid, &memory)) {
        if (memory.resident_kib > stage->memory.resident_kib)
            stage->memory.resident_kib = memory.resident_kib;
        if (memory.resident_max_kib > stage->memory.resident_max_kib)
            stage->memory.resident_max_kib = memory.resident_max_kib;
    }
    server_stop(server);
}

/* --- Opening and closing ------------------------------------------------------------------------------------------ */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status;
    (void)type;
    (void)position;
    return remove(path);
}

static bool make_directory(struct stage *stage, const char *parent, struct error *reterr_error)
{
    int size = snprintf(stage->directory, sizeof(stage->directory), "%s/leadrouter-bench-XXXXXX", parent);

    if (size < 0 || (size_t)size >= sizeof(stage->directory) || mkdtemp(stage->directory) == NULL ||
        chmod(stage->directory, 0755) != 0) { /* PostgreSQL's user must be able to enter it */
        error_set(reterr_error, ERROR_SYSTEM, "could not make a directory in %s: %s", parent, strerror(errno));
        stage->directory[0] = '\0';
        return false;
    }
    return true;
}

/* Starts the cluster and connects to it. */
static bool open_cluster(struct stage *stage, struct error *reterr_error)
{
    char directory[STAGE_PATH_SIZE + 16];
    char *url = NULL;
    bool ok = false;

    snprintf(directory, sizeof(directory), "%s/cluster", stage->directory);
    ok = cluster_start(stage->leadrouterd, directory, &stage->cluster, reterr_error) &&
         children_url_with_database(stage->cluster.admin_url, "template1", &url, reterr_error) &&
         connect_to(url, &stage->admin, reterr_error);
    free(url);
    return ok;
}

/* A setting that needs a new start. */
static bool keep_commit_times(struct stage *stage, struct error *reterr_error)
{
    if (!administer(stage, "alter system set track_commit_timestamp = on", NULL, reterr_error))
        return false;
    pg_conn_free(stage->admin);
    stage->admin = NULL;
    cluster_stop(&stage->cluster);
    return open_cluster(stage, reterr_error);
}

bool stage_open(
    struct stage *stage, const struct bench_options *options, const char *prepare_sql, struct error *reterr_error)
{
    stage->idle_wait_ms = options->idle_wait_s * 1000;
    stage->leadrouterd =
        options->leadrouterd == NULL ? children_find_leadrouterd() : memory_copy_string(options->leadrouterd);
    if (!make_directory(stage, options->directory, reterr_error))
        return false;
    fprintf(stderr, "making a private cluster in %s\n", stage->directory);
    if (!open_cluster(stage, reterr_error) || (stage->keeps_commit_times && !keep_commit_times(stage, reterr_error)))
        return false;
    fprintf(stderr, "preparing %d leads\n", options->workload.leads);
    return prepare(stage, &options->workload, prepare_sql, reterr_error);
}

void stage_close(struct stage *stage)
{
    pg_conn_free(stage->admin);
    cluster_stop(&stage->cluster);
    workload_release(&stage->workload);
    if (stage->directory[0] != '\0')
        nftw(stage->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(stage->leadrouterd);
}
