#include <stdio.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/routing.grpc.h"

static void print_table(const Leadrouter__V1__RouteLeadResponse *response)
{
    char time[32];
    char attempt[16];

    snprintf(attempt, sizeof(attempt), "%d", response->attempt);
    print_row("outcome", outcome_name(response->outcome));
    if (response->decided_outcome != 0)
        print_row("decided as", outcome_name(response->decided_outcome));
    print_row("destination", response->destination_workspace_id);
    print_row("rule", response->matched_rule_name);
    print_row("rule id", response->matched_rule_id);
    print_row("reason", response->reason);
    print_row("duplicate of", response->duplicate_lead_id);
    print_row("attempt", attempt);
    print_row("next retry", time_text(response->next_retry_at, time));
    print_row("decision", response->decision_id);
}

static int run(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__RouteLeadRequest request = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    Leadrouter__V1__RouteLeadResponse *response = NULL;

    request.lead_id = borrowed(arguments->operand);
    request.source_workspace_id = borrowed(arguments->workspace);
    request.user_id = borrowed(arguments->user);
    request.force = arguments->is_forced;
    request.max_attempts = arguments->max_attempts;
    if (leadrouter__v1__routing_service__route_lead(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(route_json(response));
    else
        print_table(response);
    leadrouter__v1__route_lead_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec flags[] = {
    FLAG_WORKSPACE("the workspace the lead came in through"),
    FLAG_USER,
    {.name = "force",
        .help = "attempt it although its retry is not due, or it failed",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_forced)},
    {.name = "max-attempts",
        .placeholder = "N",
        .help = "attempts before it counts as failed; default 3, or what the workspace's policy says",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, max_attempts),
        .least = 1,
        .most = 20},
};

const struct command command_route = {
    .name = "route",
    .summary = "route one lead and say why it went where it went",
    .text =
        "Routes one lead of workspace W by its rules. Asking twice is safe: a decided lead answers as it was decided.",
    .example = "leadctl route 6f1c… --workspace 0b9e…",
    .operand = OPERAND_LEAD,
    COMMAND_FLAGS(flags),
    .run = run,
};
