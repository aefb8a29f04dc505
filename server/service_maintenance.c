/* MaintenanceService: what operators do by hand about leads and retries. Its part about jobs is in service_jobs.c. */
#include <string.h>

#include "base/clock.h"
#include "page.h"
#include "service.h"

enum {
    STALE_LOCK_S = 300,
    STEP_LEADS = 200, /* in one transaction: nobody waits long for what it holds */
    CANCELS_MAX = 1000,
    REASON_SIZE_MAX = 500,
};

/* One call; in its arena. */
struct maintenance_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const void *request; /* the message, valid until the call is answered */
    struct uuid user_id;
    bool due_only;
    struct page page;
    struct uuid *lead_ids;
    struct uuid *workspace_ids;
};

static struct maintenance_call *begin(
    struct grpc_c_call *call, const void *request, void *user, void (*run)(struct work *work))
{
    struct maintenance_call *maintenance = arena_alloc(grpc_c_call_arena(call), sizeof(*maintenance));

    service_begin(&maintenance->base, call, user);
    maintenance->request = request;
    maintenance->work.run = run;
    return maintenance;
}

/* Hands the call to a worker, if all was well. */
static void submit(struct maintenance_call *call, struct worker_pool *workers, bool ok, struct error *error)
{
    if (!ok || !worker_pool_submit(workers, &call->work, error))
        service_fail(&call->base, error);
}

/* --- ReleaseStaleLocks, ExpireLeads ------------------------------------------------------------------------------- */

/* Repeats a step, a transaction each, until it finds nothing more; `*ret_more`: there was no time for another like the longest so far. A
 * step returns one integer, how many leads it handled, and handles STEP_LEADS at most. Each is counted as `metric` (at `place`) when it is
 * done: it stays so, whatever becomes of the next. */
static bool repeat(struct maintenance_call *call, const struct pg_statement *statement, const struct pg_params *params,
    enum metric metric, size_t place, int64_t *ret_count, bool *ret_more, struct error *reterr_error)
{
    int64_t deadline_ns = service_work_deadline_ns(&call->base);
    int64_t total = 0;
    int64_t longest_ns = 0;
    int32_t step = STEP_LEADS;

    while (
        step == STEP_LEADS && clock_now_ns() + longest_ns < deadline_ns && !grpc_c_call_is_cancelled(call->base.call)) {
        struct pg_result *result = NULL;
        int64_t began_ns = clock_now_ns();
        if (!service_query(
                &call->base, statement, params, grpc_c_call_deadline_ns(call->base.call), &result, reterr_error))
            return false;
        step = pg_result_int4(result, 0, 0);
        total += step;
        metrics_add(call->base.service->metrics, metric, place, 0, step);
        pg_result_free(result);
        if (clock_now_ns() - began_ns > longest_ns)
            longest_ns = clock_now_ns() - began_ns;
    }
    *ret_count = total;
    *ret_more = step == STEP_LEADS;
    return true;
}

static void run_release(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "release_stale_locks",
        .sql = "select leadrouter.release_stale_locks($1, $2)",
        .param_count = 2,
        .param_types = {PG_INT4, PG_INT4},
    };
    struct maintenance_call *call = (struct maintenance_call *)(void *)work;
    Leadrouter__V1__ReleaseStaleLocksResponse response = LEADROUTER__V1__RELEASE_STALE_LOCKS_RESPONSE__INIT;
    struct pg_params params;
    struct error error = {0};
    bool more = false;

    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_int4(&params, STALE_LOCK_S);
    pg_params_add_int4(&params, STEP_LEADS);
    if (repeat(call, &statement, &params, METRIC_RETRIES_OPENED, METRICS_OPENING_STALE_LOCK, &response.released, &more,
            &error)) {
        response.more = more;
        leadrouter__v1__maintenance_service__release_stale_locks__reply(call->base.call, &response);
    } else {
        service_fail(&call->base, &error);
    }
}

static void handle_release_stale_locks(
    struct grpc_c_call *call, const Leadrouter__V1__ReleaseStaleLocksRequest *request, void *user)
{
    struct maintenance_call *maintenance = begin(call, request, user, run_release);
    struct error error = {0};

    submit(maintenance, maintenance->base.service->long_workers, true, &error);
}

static void run_expire(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "expire_leads",
        .sql = "select leadrouter.expire_leads($1, $2)",
        .param_count = 2,
        .param_types = {PG_UUID, PG_INT4},
    };
    struct maintenance_call *call = (struct maintenance_call *)(void *)work;
    const struct uuid *workspace_id = &call->base.workspace_id;
    Leadrouter__V1__ExpireLeadsResponse response = LEADROUTER__V1__EXPIRE_LEADS_RESPONSE__INIT;
    struct pg_params params;
    struct error error = {0};
    bool more = false;

    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_uuid(&params, uuid_is_nil(workspace_id) ? NULL : workspace_id);
    pg_params_add_int4(&params, STEP_LEADS);
    if (repeat(call, &statement, &params, METRIC_EXPIRED, 0, &response.expired, &more, &error)) {
        response.more = more;
        leadrouter__v1__maintenance_service__expire_leads__reply(call->base.call, &response);
    } else {
        service_fail(&call->base, &error);
    }
}

static void handle_expire_leads(struct grpc_c_call *call, const Leadrouter__V1__ExpireLeadsRequest *request, void *user)
{
    struct maintenance_call *maintenance = begin(call, request, user, run_expire);
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, true, &maintenance->base.workspace_id, &error);

    submit(maintenance, maintenance->base.service->long_workers, ok, &error);
}

/* --- ListRetries -------------------------------------------------------------------------------------------------- */

static Leadrouter__V1__Retry *retry_message(struct arena *arena, const struct pg_result *result, int row)
{
    Leadrouter__V1__Retry *retry = arena_alloc(arena, sizeof(*retry));
    struct uuid lead_id = pg_result_uuid(result, row, 1);
    struct uuid workspace_id = pg_result_uuid(result, row, 2);

    leadrouter__v1__retry__init(retry);
    retry->lead_id = service_id(arena, &lead_id);
    retry->source_workspace_id = service_id(arena, &workspace_id);
    retry->attempt = pg_result_int4(result, row, 3);
    retry->max_attempts = pg_result_int4(result, row, 4);
    if (!pg_result_is_null(result, row, 5))
        retry->next_retry_at = service_time(arena, pg_result_int8(result, row, 5));
    retry->is_due = pg_result_bool(result, row, 6);
    retry->error_class = arena_copy_string(arena, pg_result_text(result, row, 7));
    retry->last_error = arena_copy_string(arena, pg_result_text(result, row, 8));
    retry->created_at = service_time(arena, pg_result_int8(result, row, 9));
    return retry;
}

/* A page, and one row more when there is another page. */
static bool read_page(struct maintenance_call *call, struct pg_result **ret_result, struct error *reterr_error)
{
    static const struct service_reading reading =
        SERVICE_READING("queue_id, lead_id, workspace_id, attempt_number, max_attempts, next_retry_us, is_due, "
                        "error_class, last_error, created_us, (extract(epoch from now()) * 1000000)::int8",
            "list_retries", "($1, $2, $3, $4, $5)", 5, PG_UUID, PG_BOOL, PG_INT8, PG_UUID, PG_INT4);
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_uuid(&params, uuid_is_nil(&call->base.workspace_id) ? NULL : &call->base.workspace_id);
    pg_params_add_bool(&params, call->due_only);
    page_add_params(&call->page, &params);
    return service_read(
        &call->base, &reading, &params, grpc_c_call_deadline_ns(call->base.call), ret_result, reterr_error);
}

static void run_list_retries(struct work *work)
{
    struct maintenance_call *call = (struct maintenance_call *)(void *)work;
    struct arena *arena = grpc_c_call_arena(call->base.call);
    Leadrouter__V1__ListRetriesResponse response = LEADROUTER__V1__LIST_RETRIES_RESPONSE__INIT;
    const int size = call->page.size;
    struct pg_result *result = NULL;
    struct error error = {0};
    int rows = 0;

    if (!read_page(call, &result, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    rows = pg_result_row_count(result);
    response.retries = arena_alloc_array(arena, (size_t)size, sizeof(*response.retries));
    for (int row = 0; row < rows && row < size; row++)
        response.retries[response.n_retries++] = retry_message(arena, result, row);
    if (rows > 0)
        response.now = service_time(arena, pg_result_int8(result, 0, 10));
    if (rows > size) {
        const struct page_place last = {
            .time_us = pg_result_is_null(result, size - 1, 5) ? INT64_MAX : pg_result_int8(result, size - 1, 5),
            .id = pg_result_uuid(result, size - 1, 0),
        };
        response.next_page_token = page_next(&call->page, &last, arena);
    }
    pg_result_free(result);
    leadrouter__v1__maintenance_service__list_retries__reply(call->base.call, &response);
}

/* The list that a page of this call belongs to. */
static const char *list_of(const struct maintenance_call *call)
{
    char workspace[UUID_TEXT_SIZE];

    return arena_format(grpc_c_call_arena(call->base.call), "ListRetries %s %d",
        uuid_format(&call->base.workspace_id, workspace), call->due_only);
}

static void handle_list_retries(struct grpc_c_call *call, const Leadrouter__V1__ListRetriesRequest *request, void *user)
{
    struct maintenance_call *maintenance = begin(call, request, user, run_list_retries);
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, true, &maintenance->base.workspace_id, &error);

    maintenance->due_only = request->due_only != 0;
    ok = ok && page_read(&maintenance->page, request->page_size, request->page_token, list_of(maintenance), &error);
    submit(maintenance, maintenance->base.service->workers, ok, &error);
}

/* --- CancelRetries ------------------------------------------------------------------------------------------------ */

static Leadrouter__V1__CancelResult cancel_result(const char *name)
{
    if (strcmp(name, "cancelled") == 0)
        return LEADROUTER__V1__CANCEL_RESULT__CANCEL_RESULT_CANCELLED;
    if (strcmp(name, "busy") == 0)
        return LEADROUTER__V1__CANCEL_RESULT__CANCEL_RESULT_BUSY;
    return LEADROUTER__V1__CANCEL_RESULT__CANCEL_RESULT_NOT_FOUND;
}

static void run_cancel(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "cancel_retries",
        .sql = "select ord, result from leadrouter.cancel_retries($1, $2, $3, $4)",
        .param_count = 4,
        .param_types = {PG_UUID_ARRAY, PG_UUID_ARRAY, PG_UUID, PG_TEXT},
    };
    struct maintenance_call *call = (struct maintenance_call *)(void *)work;
    const Leadrouter__V1__CancelRetriesRequest *request = call->request;
    struct arena *arena = grpc_c_call_arena(call->base.call);
    Leadrouter__V1__CancelRetriesResponse response = LEADROUTER__V1__CANCEL_RETRIES_RESPONSE__INIT;
    struct pg_result *result = NULL;
    struct pg_params params;
    struct error error = {0};

    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, call->lead_ids, NULL, request->n_leads);
    pg_params_add_uuid_array(&params, call->workspace_ids, NULL, request->n_leads);
    pg_params_add_uuid(&params, uuid_is_nil(&call->user_id) ? NULL : &call->user_id);
    pg_params_add_text(&params, request->reason);
    if (!service_query(&call->base, &statement, &params, grpc_c_call_deadline_ns(call->base.call), &result, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    response.n_results = request->n_leads;
    response.results = arena_alloc_array(arena, request->n_leads, sizeof(*response.results));
    for (int row = 0; row < pg_result_row_count(result); row++)
        response.results[pg_result_int4(result, row, 0) - 1] = cancel_result(pg_result_text(result, row, 1));
    pg_result_free(result);
    leadrouter__v1__maintenance_service__cancel_retries__reply(call->base.call, &response);
}

static bool read_lead_keys(struct maintenance_call *call, struct error *reterr_error)
{
    const Leadrouter__V1__CancelRetriesRequest *request = call->request;
    struct arena *arena = grpc_c_call_arena(call->base.call);

    if (request->n_leads < 1 || request->n_leads > CANCELS_MAX)
        return error_set(reterr_error, ERROR_INVALID, "leads: must be from 1 to %d", CANCELS_MAX);
    call->lead_ids = arena_alloc_array(arena, request->n_leads, sizeof(*call->lead_ids));
    call->workspace_ids = arena_alloc_array(arena, request->n_leads, sizeof(*call->workspace_ids));
    for (size_t i = 0; i < request->n_leads; i++) {
        const Leadrouter__V1__LeadKey *key = request->leads[i];
        if (!service_parse_id("lead_id", key->lead_id, false, &call->lead_ids[i], reterr_error) ||
            !service_parse_id(
                "source_workspace_id", key->source_workspace_id, false, &call->workspace_ids[i], reterr_error)) {
            struct error reason = *reterr_error;
            return error_set(reterr_error, ERROR_INVALID, "leads[%zu].%s", i, reason.text);
        }
    }
    return true;
}

static void handle_cancel_retries(
    struct grpc_c_call *call, const Leadrouter__V1__CancelRetriesRequest *request, void *user)
{
    struct maintenance_call *maintenance = begin(call, request, user, run_cancel);
    struct error error = {0};
    bool ok = read_lead_keys(maintenance, &error) &&
              service_parse_id("user_id", request->user_id, true, &maintenance->user_id, &error);

    if (ok && strlen(request->reason) > REASON_SIZE_MAX)
        ok = error_set(&error, ERROR_INVALID, "reason: longer than %d bytes", REASON_SIZE_MAX);
    submit(maintenance, maintenance->base.service->workers, ok, &error);
}

const struct leadrouter__v1__maintenance_service__handlers service_maintenance_handlers = {
    .release_stale_locks = handle_release_stale_locks,
    .expire_leads = handle_expire_leads,
    .list_jobs = service_handle_list_jobs,
    .run_job = service_handle_run_job,
    .pause_job = service_handle_pause_job,
    .resume_job = service_handle_resume_job,
    .list_retries = handle_list_retries,
    .cancel_retries = handle_cancel_retries,
    .verify_audit = service_handle_verify_audit,
};
