#include "audit_watch.h"

#include <time.h>

enum { FINDINGS_MAX = 100 /* of one step */ };

/* Seals from the next one on, as many as a step should look at; -1: there are none. */
static bool find_last(struct audit_watch *watch, struct service *service, struct arena *arena, int64_t deadline_ns,
    int64_t *ret_last, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "watch_page",
        .sql = "select coalesce(last_number, -1), row_count from leadrouter.verify_page($1, $2)",
        .param_count = 2,
        .param_types = {PG_INT8, PG_INT4},
    };
    struct pg_result *rows = NULL;
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_int8(&params, watch->next_seal - 1);
    pg_params_add_int4(&params, AUDIT_WATCH_ROWS);
    if (!service_query_unasked(service, &statement, &params, deadline_ns, &rows, reterr_error))
        return false;
    *ret_last = pg_result_int8(rows, 0, 0);
    watch->is_small = pg_result_int8(rows, 0, 1) < AUDIT_WATCH_ROWS;
    pg_result_free(rows);
    return true;
}

/* How much is wrong with the seals up to `last` and with what they cover. */
static bool verify(const struct audit_watch *watch, int64_t last, struct service *service, struct arena *arena,
    int64_t deadline_ns, int64_t *ret_found, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "watch_log",
        .sql = "select count(*) from leadrouter.verify_log($1, $2, $3)",
        .param_count = 3,
        .param_types = {PG_INT8, PG_INT8, PG_INT4},
    };
    struct pg_result *rows = NULL;
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_int8(&params, watch->next_seal - 1);
    pg_params_add_int8(&params, last);
    pg_params_add_int4(&params, FINDINGS_MAX);
    if (!service_query_unasked(service, &statement, &params, deadline_ns, &rows, reterr_error))
        return false;
    *ret_found = pg_result_int8(rows, 0, 0);
    pg_result_free(rows);
    return true;
}

/* Days that are gone and were not dropped by retention: the end of a round. */
static bool verify_days(struct service *service, int64_t deadline_ns, int64_t *ret_found, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "watch_days", .sql = "select count(*) from leadrouter.verify_days()"};
    struct pg_result *rows = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &rows, reterr_error))
        return false;
    *ret_found = pg_result_int8(rows, 0, 0);
    pg_result_free(rows);
    return true;
}

bool audit_watch_step(
    struct audit_watch *watch, struct service *service, int64_t deadline_ns, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    int64_t last = 0;
    int64_t found = 0;
    bool ok = find_last(watch, service, arena, deadline_ns, &last, reterr_error);

    if (ok && last >= 0)
        ok = verify(watch, last, service, arena, deadline_ns, &found, reterr_error);
    else if (ok)
        ok = verify_days(service, deadline_ns, &found, reterr_error);
    arena_free(arena);
    if (!ok)
        return false;
    watch->found += found;
    watch->next_seal = last + 1; /* 0 at the end */
    if (last < 0) {
        if (watch->found == 0)
            metrics_set(service->metrics, METRIC_AUDIT_VERIFIED, 0, 0, (double)time(NULL));
        watch->found_before = watch->found;
        watch->found = 0;
    }
    metrics_set(service->metrics, METRIC_AUDIT_PROBLEMS, 0, 0,
        (double)(watch->found > watch->found_before ? watch->found : watch->found_before));
    return true;
}
