/* One call with chosen retries: prints its status and message; test_client_library.py counts what the server sees.
 *
 *     probe HOST:PORT route|create|rule|workspace DEADLINE-MS [no_retries|creates_are_repeatable] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <leadrouter.h>

int main(int argc, char **argv)
{
    const char *mode = argc > 4 ? argv[4] : "";
    const struct leadrouter_options options = {
        .no_retries = strcmp(mode, "no_retries") == 0,
        .creates_are_repeatable = strcmp(mode, "creates_are_repeatable") == 0,
    };
    struct grpc_c_call_options call_options = {0};
    struct grpc_c_channel *channel = NULL;
    struct leadrouter_error error = {0};
    struct grpc_c_outcome outcome = {0};
    enum grpc_c_status status = GRPC_C_OK;

    if (argc < 4)
        return 2;
    call_options.deadline_ms = strtoll(argv[3], NULL, 10);
    if (!leadrouter_connect(argv[1], &options, &channel, &error)) {
        printf("%s: %s\n", leadrouter_status_name(error.status), error.text);
        return EXIT_FAILURE;
    }
    if (strcmp(argv[2], "route") == 0) {
        Leadrouter__V1__RouteLeadRequest request = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
        Leadrouter__V1__RouteLeadResponse *response = NULL;
        status = leadrouter__v1__routing_service__route_lead(channel, &request, &call_options, &response, &outcome);
        if (response != NULL)
            leadrouter__v1__route_lead_response__free_unpacked(response, NULL);
    } else if (strcmp(argv[2], "rule") == 0) {
        Leadrouter__V1__CreateRuleRequest request = LEADROUTER__V1__CREATE_RULE_REQUEST__INIT;
        Leadrouter__V1__CreateRuleResponse *response = NULL;
        status = leadrouter__v1__rule_service__create_rule(channel, &request, &call_options, &response, &outcome);
        if (response != NULL)
            leadrouter__v1__create_rule_response__free_unpacked(response, NULL);
    } else if (strcmp(argv[2], "workspace") == 0) {
        Leadrouter__V1__CreateWorkspaceRequest request = LEADROUTER__V1__CREATE_WORKSPACE_REQUEST__INIT;
        Leadrouter__V1__CreateWorkspaceResponse *response = NULL;
        status =
            leadrouter__v1__workspace_service__create_workspace(channel, &request, &call_options, &response, &outcome);
        if (response != NULL)
            leadrouter__v1__create_workspace_response__free_unpacked(response, NULL);
    } else {
        Leadrouter__V1__CreateLeadsRequest request = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;
        Leadrouter__V1__CreateLeadsResponse *response = NULL;
        status = leadrouter__v1__lead_service__create_leads(channel, &request, &call_options, &response, &outcome);
        if (response != NULL)
            leadrouter__v1__create_leads_response__free_unpacked(response, NULL);
    }
    printf("%s: %s\n", leadrouter_status_name(status), outcome.message);
    leadrouter_outcome_release(&outcome);
    leadrouter_close(channel);
    return EXIT_SUCCESS;
}
