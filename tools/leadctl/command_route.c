#include <stdio.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/routing.grpc.h"

static const char usage[] = "Usage: leadctl route LEAD --workspace W [--force] [--max-attempts N]\n\n"
                            "Routes one lead of workspace W by its rules. Asking twice is safe: a decided lead\n"
                            "answers as it was decided.\n\n"
                            "Example: leadctl route 6f1c… --workspace 0b9e…";

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

static int route(const struct common_options *common, const Leadrouter__V1__RouteLeadRequest *request)
{
    struct grpc_c_channel *channel = connect_to(common);
    Leadrouter__V1__RouteLeadResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    int code = EXIT_DONE;

    if (channel == NULL)
        return EXIT_USAGE;
    if (leadrouter__v1__routing_service__route_lead(channel, request, NULL, &response, &outcome) != GRPC_C_OK)
        code = call_failed(common->target, &outcome);
    else if (common->json)
        print_json(route_json(response));
    else
        print_table(response);
    if (response != NULL)
        leadrouter__v1__route_lead_response__free_unpacked(response, NULL);
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

int command_route(int argc, char **argv)
{
    Leadrouter__V1__RouteLeadRequest request = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    const char *workspace = NULL;
    const char *user = "";
    const char *lead = NULL;
    bool force = false;
    int max_attempts = 0;
    const struct option_spec specs[] = {
        {"workspace", "W", "the workspace the lead came in through (needed)", OPTION_TEXT, &workspace, 0, 0},
        {"user", "U", "who asks, for the audit log", OPTION_TEXT, &user, 0, 0},
        {"force", NULL, "attempt it although its retry is not due, or it failed", OPTION_SWITCH, &force, 0, 0},
        {"max-attempts", "N", "attempts before it counts as failed (default 3)", OPTION_NUMBER, &max_attempts, 1, 20},
    };
    struct common_options common;
    size_t operand_count = 0;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, &lead, 1, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    if (operand_count == 0 || workspace == NULL) {
        fprintf(stderr, "leadctl: route needs a lead and --workspace; see --help\n");
        return EXIT_USAGE;
    }
    request.lead_id = (char *)(uintptr_t)lead;
    request.source_workspace_id = (char *)(uintptr_t)workspace;
    request.user_id = (char *)(uintptr_t)user;
    request.force = force;
    request.max_attempts = max_attempts;
    return route(&common, &request);
}
