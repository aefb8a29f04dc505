#include "call_limits_loader.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"

enum {
    ENTRIES_MAX = 16384, /* some 3 MiB */
    BATCH = 256,         /* workspaces in a query */
    QUERY_MS = 2000,
    AGAIN_MS = 500, /* after a query that failed */
};

struct limits_loader {
    struct limits *limits;
    struct pg_pool *pool;
    struct limits_values standard;
    bool is_failing; /* the thread's own */

    struct thread thread;
    /* under its lock */
    bool is_wanted;
};

static void on_wanted(void *user)
{
    struct limits_loader *loader = user;

    pthread_mutex_lock(&loader->thread.lock);
    loader->is_wanted = true;
    pthread_cond_signal(&loader->thread.changed);
    pthread_mutex_unlock(&loader->thread.lock);
}

static bool query(struct limits_loader *loader, const struct uuid *ids, size_t count, int64_t deadline_ns,
    struct arena *arena, struct pg_result **ret_rows, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "workspace_limits",
        .sql = "select workspace_id, calls_per_second, calls_burst, calls_in_flight, imports"
               " from leadrouter.workspace_limits($1)",
        .param_count = 1,
        .param_types = {PG_UUID_ARRAY},
    };
    struct pg_params params;
    struct pg_conn *conn = NULL;

    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, ids, NULL, count);
    if (!pg_pool_acquire(loader->pool, deadline_ns, &conn, reterr_error))
        return false;
    bool ok = pg_execute(conn, &statement, &params, deadline_ns, ret_rows, reterr_error);
    pg_pool_put(loader->pool, conn);
    return ok;
}

/* The limits of a workspace, with the server's where it has none. */
static struct limits_values read_row(const struct limits_values *standard, const struct pg_result *rows, int row)
{
    struct limits_values values = *standard;

    if (!pg_result_is_null(rows, row, 1)) {
        values.calls_per_second = pg_result_int4(rows, row, 1);
        values.calls_burst = pg_result_is_null(rows, row, 2) ? 0 : pg_result_int4(rows, row, 2);
    }
    if (!pg_result_is_null(rows, row, 3))
        values.calls_in_flight = pg_result_int4(rows, row, 3);
    if (!pg_result_is_null(rows, row, 4))
        values.imports = pg_result_int4(rows, row, 4);
    return values;
}

static void report(struct limits_loader *loader, const struct error *error)
{
    const struct log_field fields[] = {LOG_STRING("error", error->text), LOG_END};

    if (error->code != ERROR_NONE && !loader->is_failing)
        log_write(LOG_LEVEL_WARNING, "limits.failed",
            "the limits of workspaces could not be read; those that were read last hold", fields);
    loader->is_failing = error->code != ERROR_NONE;
}

/* Reads what is wanted, a batch; false when that failed. A change that is committed after the query began counts as unread. */
static bool load(struct limits_loader *loader, size_t *ret_count)
{
    struct uuid ids[BATCH];
    struct arena *arena = arena_new(0);
    struct pg_result *rows = NULL;
    struct error error = {0};
    int64_t begun_ns = clock_now_ns();
    size_t count = limits_wanted(loader->limits, ids, BATCH);

    *ret_count = count;
    if (count > 0 && query(loader, ids, count, clock_after_ms(QUERY_MS), arena, &rows, &error)) {
        for (int row = 0; row < pg_result_row_count(rows); row++) { /* one for each that was asked for */
            const struct uuid id = pg_result_uuid(rows, row, 0);
            const struct limits_values values = read_row(&loader->standard, rows, row);
            limits_set(loader->limits, &id, &values, begun_ns);
        }
    }
    report(loader, &error);
    pg_result_free(rows);
    arena_free(arena);
    return error.code == ERROR_NONE;
}

/* Waits until something is wanted; false when the thread is to end. */
static bool wait_until_wanted(struct limits_loader *loader, bool is_late)
{
    const int64_t until_ns = is_late ? clock_after_ms(AGAIN_MS) : CLOCK_NEVER;
    bool in_time = true;

    pthread_mutex_lock(&loader->thread.lock);
    while (!loader->thread.is_stopping && in_time && (is_late || !loader->is_wanted))
        in_time = condition_wait(&loader->thread.changed, &loader->thread.lock, until_ns);
    loader->is_wanted = false;
    bool goes_on = !loader->thread.is_stopping;
    pthread_mutex_unlock(&loader->thread.lock);
    return goes_on;
}

static void *load_main(void *argument)
{
    struct limits_loader *loader = argument;
    size_t count = 0;
    bool ok = true;

    while (wait_until_wanted(loader, !ok)) {
        do
            ok = load(loader, &count);
        while (ok && count == BATCH);
    }
    return NULL;
}

bool limits_loader_new(const struct limits_values *standard, struct pg_pool *pool, struct limits_loader **ret_loader,
    struct limits **ret_limits, struct error *reterr_error)
{
    struct limits_loader *loader = memory_new(sizeof(*loader));
    const struct limits_options options = {
        .standard = *standard, .entries_max = ENTRIES_MAX, .on_wanted = on_wanted, .user = loader};

    loader->pool = pool;
    loader->standard = *standard;
    loader->limits = limits_new(&options);
    if (!thread_begin(
            &loader->thread, load_main, loader, "could not start the thread that reads limits", reterr_error)) {
        limits_free(loader->limits);
        free(loader);
        return false;
    }
    *ret_loader = loader;
    *ret_limits = loader->limits;
    return true;
}

void limits_loader_free(struct limits_loader *loader)
{
    if (loader == NULL)
        return;
    thread_end(&loader->thread);
    limits_free(loader->limits);
    free(loader);
}
