/* RoutingService: RouteLead. RouteLeads, ProcessRetries and Health are in files of their own. */
#include "decision_log.h"
#include "service.h"

/* One call; in its arena. */
struct route_call {
    struct service_call base;
    struct routing_ticket ticket;
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
    struct grpc_c_call *call = route->base.call;

    if (decision_log_tells(&answer->error))
        service_fail_unlogged(&route->base, &answer->error);
    else if (answer->error.code != ERROR_NONE)
        service_fail(&route->base, &answer->error);
    else
        leadrouter__v1__routing_service__route_lead__reply(
            call, service_route_response(grpc_c_call_arena(call), answer));
}

static void route_cancelled(void *user)
{
    struct route_call *route = user;

    atomic_store(&route->ticket.abandoned, true);
}

bool service_route_request(
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

static void handle_route_lead(struct grpc_c_call *call, const Leadrouter__V1__RouteLeadRequest *message, void *user)
{
    struct route_call *route = arena_alloc(grpc_c_call_arena(call), sizeof(*route));
    struct routing_request *request = &route->ticket.request;
    struct error error = {0};
    bool ok = false;

    service_begin(&route->base, call, user);
    route->ticket.callback = route_answered;
    route->ticket.user = route;
    route->ticket.context = &route->base;
    request->deadline_ns = grpc_c_call_deadline_ns(call);
    ok = service_route_request(message, request, &error);
    route->base.lead_id = request->lead_id;
    route->base.workspace_id = request->source_workspace_id;
    if (ok) {
        service_ask_as_caller(&route->base, request);
        grpc_c_call_on_cancel(call, route_cancelled, route);
        ok = routing_engine_submit(route->base.service->engine, &route->ticket, &error);
    }
    if (!ok)
        service_fail(&route->base, &error);
}

const struct leadrouter__v1__routing_service__handlers service_routing_handlers = {
    .route_lead = handle_route_lead,
    .route_leads = service_handle_route_leads,
    .process_retries = service_handle_process_retries,
    .health = service_handle_health,
};
