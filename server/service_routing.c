/* RoutingService: RouteLead and Health. */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service.h"
#include "version.h"

/* --- RouteLead
 * ------------------------------------------------------------------------------------------------------------ */

/* One call; in its arena. */
struct route_call {
    struct routing_ticket ticket;
    struct grpc_c_call *call;
    int64_t started_ns;
};

Leadrouter__V1__RouteLeadResponse *service_route_response(struct arena *arena, const struct routing_answer *answer)
{
    Leadrouter__V1__RouteLeadResponse *response = arena_alloc(arena, sizeof(*response));

    leadrouter__v1__route_lead_response__init(response);
    response->outcome = (Leadrouter__V1__RoutingOutcome)answer->outcome;
    response->decided_outcome = (Leadrouter__V1__RoutingOutcome)answer->decided_outcome;
    response->lead_id = service_id(arena, &answer->lead_id);
    response->destination_workspace_id = service_id(arena, &answer->destination_workspace_id);
    response->matched_rule_id = service_id(arena, &answer->matched_rule_id);
    response->matched_rule_name = arena_copy_string(arena, answer->matched_rule_name);
    response->reason = arena_copy_string(arena, answer->reason);
    response->duplicate_lead_id = service_id(arena, &answer->duplicate_lead_id);
    response->attempt = answer->attempt;
    response->next_retry_at = service_time(arena, answer->next_retry_at_us);
    response->decision_id = service_id(arena, &answer->decision_id);
    return response;
}

static void route_answered(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    struct route_call *route = ticket->user;

    if (answer->error.code != ERROR_NONE)
        service_fail(route->call, &answer->error, route->started_ns);
    else
        leadrouter__v1__routing_service__route_lead__reply(
            route->call, service_route_response(grpc_c_call_arena(route->call), answer));
}

static void route_cancelled(void *user)
{
    struct route_call *route = user;

    atomic_store(&route->ticket.abandoned, true);
}

static bool route_request(
    const Leadrouter__V1__RouteLeadRequest *message, struct routing_request *ret_request, struct error *reterr_error)
{
    if (!service_parse_id("lead_id", message->lead_id, false, &ret_request->lead_id, reterr_error) ||
        !service_parse_id("source_workspace_id", message->source_workspace_id, false, &ret_request->source_workspace_id,
            reterr_error) ||
        !service_parse_id("user_id", message->user_id, true, &ret_request->actor_id, reterr_error))
        return false;
    if (message->max_attempts < 0 || message->max_attempts > ROUTING_MAX_ATTEMPTS_LIMIT)
        return error_set(reterr_error, ERROR_INVALID, "max_attempts: must be from 1 to %d, or 0 for %d",
            ROUTING_MAX_ATTEMPTS_LIMIT, ROUTING_MAX_ATTEMPTS_DEFAULT);
    ret_request->max_attempts = message->max_attempts == 0 ? ROUTING_MAX_ATTEMPTS_DEFAULT : message->max_attempts;
    ret_request->force = message->force != 0;
    return true;
}

static void handle_route_lead(struct grpc_c_call *call, const Leadrouter__V1__RouteLeadRequest *request, void *user)
{
    struct service *service = user;
    struct route_call *route = arena_alloc(grpc_c_call_arena(call), sizeof(*route));
    struct error error = {0};

    route->call = call;
    route->started_ns = clock_now_ns();
    route->ticket.callback = route_answered;
    route->ticket.user = route;
    route->ticket.request.deadline_ns = grpc_c_call_deadline_ns(call);
    if (!route_request(request, &route->ticket.request, &error)) {
        service_fail(call, &error, route->started_ns);
        return;
    }
    grpc_c_call_on_cancel(call, route_cancelled, route);
    if (!routing_engine_submit(service->engine, &route->ticket, &error))
        service_fail(call, &error, route->started_ns);
}

/* --- Health
 * ------------------------------------------------------------------------------------------------------------------ */

enum {
    COUNTS_AGE_MS_MAX = 1000,
    DUE_DEGRADED = 100,
    DUE_CRITICAL = 500,
    STALE_CRITICAL = 10,
    PROBLEMS_MAX = 8,
};

struct health_call {
    struct work work;
    struct service *service;
    struct grpc_c_call *call;
    struct uuid workspace_id;
    int64_t started_ns;
};

static bool query_counts(struct health_call *health, struct service_counts *ret_counts, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "health_counts",
        .sql = "select pending, routing, failed, retry_queue_depth, retries_due, stale_locks, "
               "oldest_pending_age_seconds, counted_us"
               " from leadrouter.health_counts($1)",
        .param_count = 1,
        .param_types = {PG_UUID},
    };
    int64_t deadline_ns = grpc_c_call_deadline_ns(health->call);
    struct pg_conn *conn = NULL;
    struct pg_result *result = NULL;
    struct pg_params params;

    if (!pg_pool_acquire(health->service->pool, deadline_ns, &conn, reterr_error))
        return false;
    pg_params_init(&params, grpc_c_call_arena(health->call));
    pg_params_add_uuid(&params, uuid_is_nil(&health->workspace_id) ? NULL : &health->workspace_id);
    bool ok = pg_execute(conn, &statement, &params, deadline_ns, &result, reterr_error);
    pg_pool_put(health->service->pool, conn);
    if (!ok)
        return false;
    *ret_counts = (struct service_counts){
        .pending = pg_result_int8(result, 0, 0),
        .routing = pg_result_int8(result, 0, 1),
        .failed = pg_result_int8(result, 0, 2),
        .retry_queue_depth = pg_result_int8(result, 0, 3),
        .retries_due = pg_result_int8(result, 0, 4),
        .stale_locks = pg_result_int8(result, 0, 5),
        .oldest_pending_age_seconds = pg_result_int8(result, 0, 6),
        .counted_us = pg_result_int8(result, 0, 7),
    };
    pg_result_free(result);
    return true;
}

/* The counts of all workspaces are kept for a second; whoever comes meanwhile, or while they are being counted,
 * shares them. */
static bool get_counts(struct health_call *health, struct service_counts *ret_counts, struct error *reterr_error)
{
    struct service *service = health->service;
    bool ok = true;

    if (!uuid_is_nil(&health->workspace_id))
        return query_counts(health, ret_counts, reterr_error);
    pthread_mutex_lock(&service->counts_lock);
    if (!service->has_counts || clock_now_ns() - service->counted_ns > (int64_t)COUNTS_AGE_MS_MAX * 1000000) {
        ok = query_counts(health, &service->counts, reterr_error);
        service->has_counts = ok;
        service->counted_ns = clock_now_ns();
    }
    *ret_counts = service->counts;
    pthread_mutex_unlock(&service->counts_lock);
    return ok;
}

static void add_problem(Leadrouter__V1__HealthResponse *response, Leadrouter__V1__HealthStatus status, char *text)
{
    if (status > response->status)
        response->status = status;
    if (response->n_problems < PROBLEMS_MAX)
        response->problems[response->n_problems++] = text;
}

static void judge(struct arena *arena, const struct service_counts *counts, Leadrouter__V1__HealthResponse *response)
{
    response->status = LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_HEALTHY;
    response->problems = arena_alloc_array(arena, PROBLEMS_MAX, sizeof(char *));
    if (counts->retries_due > DUE_DEGRADED)
        add_problem(response,
            counts->retries_due > DUE_CRITICAL ? LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_CRITICAL
                                               : LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_DEGRADED,
            arena_format(arena, "%lld retries are due", (long long)counts->retries_due));
    if (counts->stale_locks > 0)
        add_problem(response,
            counts->stale_locks > STALE_CRITICAL ? LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_CRITICAL
                                                 : LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_DEGRADED,
            arena_format(arena, "%lld leads are held for more than five minutes", (long long)counts->stale_locks));
}

static void run_health(struct work *work)
{
    struct health_call *health = (struct health_call *)(void *)work; /* its first member */
    struct arena *arena = grpc_c_call_arena(health->call);
    Leadrouter__V1__HealthResponse response = LEADROUTER__V1__HEALTH_RESPONSE__INIT;
    struct service_counts counts;
    struct error error = {0};

    if (!get_counts(health, &counts, &error)) {
        service_fail(health->call, &error, health->started_ns);
        return;
    }
    response.pending = counts.pending;
    response.routing = counts.routing;
    response.failed = counts.failed;
    response.retry_queue_depth = counts.retry_queue_depth;
    response.retries_due = counts.retries_due;
    response.stale_locks = counts.stale_locks;
    response.oldest_pending_age_seconds = counts.oldest_pending_age_seconds;
    response.counted_at = service_time(arena, counts.counted_us);
    response.server_version = arena_copy_string(arena, SERVER_VERSION);
    response.schema_version = health->service->schema_version;
    judge(arena, &counts, &response);
    leadrouter__v1__routing_service__health__reply(health->call, &response);
}

static void handle_health(struct grpc_c_call *call, const Leadrouter__V1__HealthRequest *request, void *user)
{
    struct service *service = user;
    struct health_call *health = arena_alloc(grpc_c_call_arena(call), sizeof(*health));
    struct error error = {0};

    *health =
        (struct health_call){.work.run = run_health, .service = service, .call = call, .started_ns = clock_now_ns()};
    if (!service_parse_id("workspace_id", request->workspace_id, true, &health->workspace_id, &error) ||
        !worker_pool_submit(service->workers, &health->work, &error))
        service_fail(call, &error, health->started_ns);
}

const struct leadrouter__v1__routing_service__handlers service_routing_handlers = {
    .route_lead = handle_route_lead,
    .health = handle_health,
};
