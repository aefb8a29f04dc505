/* What handlers ask the database, for whom, and with whose rights. */
#include <assert.h>
#include <poll.h>
#include <string.h>

#include "authentication.h"
#include "authorization.h"
#include "base/clock.h"
#include "base/random.h"
#include "service.h"

enum { REPEATS_MAX = 10, REPEAT_PAUSE_MS = 10 };

/* One transaction. */
struct query {
    struct pg_pool *pool;
    const struct authorization_need *need; /* NULL: nobody is asked about */
    const char *claims;                    /* whose rights and claims the statement has; NULL: the server's own */
    struct arena *arena;
    const struct pg_statement *statement;
    const struct pg_params *params;
    int64_t deadline_ns;
};

void service_know_denied(struct error *error)
{
    if (strcmp(error->sqlstate, "LR401") == 0)
        error_set(error, ERROR_FORBIDDEN, "%s", authorization_refusal(RIGHT_MEMBER));
    else if (strcmp(error->sqlstate, "LR430") == 0)
        error_set(error, ERROR_FORBIDDEN, "%s", authorization_refusal(RIGHT_ADMIN));
}

void service_ask_as_caller(const struct service_call *call, struct routing_request *request)
{
    const struct authorization_need *need = authorization_need(call->call);

    if (need == NULL)
        return;
    request->member_id = need->user_id;
    request->member_is_admin = need->is_admin;
}

static const struct pg_statement requirement = {
    .name = "require_member",
    .sql = "select leadrouter.require_member($1, $2, $3, $4)",
    .param_count = 4,
    .param_types = {PG_UUID, PG_UUID, PG_BOOL, PG_BOOL},
};

static void fill_requirement(
    struct pg_params *params, struct arena *arena, const struct authorization_need *need, bool is_held)
{
    pg_params_init(params, arena);
    pg_params_add_uuid(params, &need->user_id);
    pg_params_add_uuid(params, &need->workspace_id);
    pg_params_add_bool(params, need->is_admin);
    pg_params_add_bool(params, is_held);
}

/* Whether the person may: an error of this statement ends the transaction. What is read needs no lock, for every statement of the
 * reading asks the policies again. */
static void add_requirement(struct pg_conn *conn, const struct query *query)
{
    struct pg_params params;

    fill_requirement(&params, query->arena, query->need, query->claims == NULL);
    pg_pipeline_add(conn, &requirement, &params);
}

/* SET LOCAL ROLE, and the claims, until the transaction ends; as functions, so that they need no BEGIN. */
static void add_claims(struct pg_conn *conn, const struct query *query)
{
    static const struct pg_statement statement = {
        .name = "become_person",
        .sql = "select set_config('transaction_read_only', 'on', true), set_config('role', 'authenticated', true),"
               " set_config('request.jwt.claims', $1, true)",
        .param_count = 1,
        .param_types = {PG_TEXT},
    };
    struct pg_params params;

    pg_params_init(&params, query->arena);
    pg_params_add_text(&params, query->claims);
    pg_pipeline_add(conn, &statement, &params);
}

/* One round trip, which is one transaction: it commits at its end, or not at all. */
static bool run(
    struct pg_conn *conn, const struct query *query, struct pg_result **ret_result, struct error *reterr_error)
{
    int64_t deadline_ns = query->deadline_ns;
    struct pg_result *result = NULL;
    bool has_requirement = query->need != NULL && !uuid_is_nil(&query->need->workspace_id);
    bool ok = false;

    if (query->need == NULL)
        return pg_execute(conn, query->statement, query->params, deadline_ns, ret_result, reterr_error);
    assert(has_requirement || query->claims != NULL); /* a person writes only where something is asked first */
    if (has_requirement)
        add_requirement(conn, query);
    if (query->claims != NULL)
        add_claims(conn, query);
    pg_pipeline_add(conn, query->statement, query->params);
    if (!pg_pipeline_flush(conn, deadline_ns, reterr_error))
        return false;
    ok = (!has_requirement || pg_pipeline_next(conn, deadline_ns, NULL, reterr_error)) &&
         (query->claims == NULL || pg_pipeline_next(conn, deadline_ns, NULL, reterr_error)) &&
         pg_pipeline_next(conn, deadline_ns, ret_result == NULL ? NULL : &result, reterr_error);
    if (pg_conn_is_open(conn) && !pg_pipeline_end(conn, deadline_ns, ok ? reterr_error : NULL))
        ok = false;
    if (ok && ret_result != NULL)
        *ret_result = result;
    else
        pg_result_free(result);
    return ok;
}

static bool run_once(const struct query *query, struct pg_result **ret_result, struct error *reterr_error)
{
    struct pg_conn *conn = NULL;

    if (!pg_pool_acquire(query->pool, query->deadline_ns, &conn, reterr_error))
        return false;
    bool ok = run(conn, query, ret_result, reterr_error);
    pg_pool_put(query->pool, conn);
    return ok;
}

void service_pause(void)
{
    uint8_t jitter = 0;

    random_bytes(&jitter, 1);
    poll(NULL, 0, jitter % REPEAT_PAUSE_MS + 1);
}

static bool repeat(const struct query *query, struct pg_result **ret_result, struct error *reterr_error)
{
    struct error error = {0};

    for (unsigned repeats = 0;; repeats++) {
        if (clock_now_ns() >= query->deadline_ns)
            return error_set(reterr_error, ERROR_DEADLINE, "time was up before the database was asked");
        if (run_once(query, ret_result, &error))
            return true;
        if (!error_is_transaction_retryable(&error) || repeats == REPEATS_MAX)
            break;
        service_pause();
    }
    service_know_denied(&error);
    if (reterr_error != NULL)
        *reterr_error = error;
    return false;
}

bool service_query(const struct service_call *call, const struct pg_statement *statement,
    const struct pg_params *params, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    const struct query query = {
        .pool = call->service->pool,
        .need = authorization_need(call->call),
        .arena = grpc_c_call_arena(call->call),
        .statement = statement,
        .params = params,
        .deadline_ns = deadline_ns,
    };

    return repeat(&query, ret_result, reterr_error);
}

bool service_read(const struct service_call *call, const struct service_reading *reading,
    const struct pg_params *params, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    const struct authorization_need *need = authorization_need(call->call);
    const struct query query = {
        .pool = need == NULL ? call->service->pool : call->service->read_pool,
        .need = need,
        .claims = need == NULL ? NULL : authentication_claims(call->call),
        .arena = grpc_c_call_arena(call->call),
        .statement = need == NULL ? &reading->for_services : &reading->for_people,
        .params = params,
        .deadline_ns = deadline_ns,
    };

    return repeat(&query, ret_result, reterr_error);
}

bool service_query_unasked(struct service *service, const struct pg_statement *statement,
    const struct pg_params *params, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    const struct query query = {
        .pool = service->pool,
        .statement = statement,
        .params = params,
        .deadline_ns = deadline_ns,
    };

    return repeat(&query, ret_result, reterr_error);
}

bool service_ask_need(const struct service_call *call, int64_t deadline_ns, struct error *reterr_error)
{
    const struct authorization_need *need = authorization_need(call->call);
    struct pg_params params;

    if (need == NULL)
        return true;
    fill_requirement(&params, grpc_c_call_arena(call->call), need, false);
    return service_query_unasked(call->service, &requirement, &params, deadline_ns, NULL, reterr_error);
}
