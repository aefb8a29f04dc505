/* Takes two leads in, in a call that can be repeated, and prints their ids.
 *
 *     create_leads HOST:PORT WORKSPACE */
#include <stdio.h>
#include <stdlib.h>

#include <leadrouter.h>

static int create(struct grpc_c_channel *channel, char *workspace)
{
    char request_id[LEADROUTER_REQUEST_ID_SIZE];
    Leadrouter__V1__NewLead ada = LEADROUTER__V1__NEW_LEAD__INIT;
    Leadrouter__V1__NewLead bob = LEADROUTER__V1__NEW_LEAD__INIT;
    Leadrouter__V1__NewLead *leads[] = {&ada, &bob};
    Leadrouter__V1__CreateLeadsRequest request = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;
    Leadrouter__V1__CreateLeadsResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    enum grpc_c_status status = GRPC_C_OK;

    leadrouter_new_request_id(request_id);
    ada.email = "ada@example.com";
    ada.country = "DE";
    bob.phone = "+1 555 0100";
    bob.attributes_json = "{\"campaign\": \"spring\"}";
    request.workspace_id = workspace;
    request.request_id = request_id;
    request.n_leads = sizeof(leads) / sizeof(leads[0]);
    request.leads = leads;
    status = leadrouter__v1__lead_service__create_leads(channel, &request, NULL, &response, &outcome);
    if (status == GRPC_C_OK) {
        for (size_t i = 0; i < response->n_results; i++)
            printf("%s\n", response->results[i]->lead_id);
        leadrouter__v1__create_leads_response__free_unpacked(response, NULL);
    } else {
        fprintf(stderr, "create_leads: %s: %s\n", leadrouter_status_name(status), outcome.message);
    }
    leadrouter_outcome_release(&outcome);
    return status == GRPC_C_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    /* Every call here has a request_id: it may be made again whatever it ended with. */
    const struct leadrouter_options options = {.creates_are_repeatable = true};
    struct leadrouter_error error = {0};
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_FAILURE;

    if (argc != 3) {
        fprintf(stderr, "usage: create_leads HOST:PORT WORKSPACE\n");
        return 2;
    }
    if (!leadrouter_connect(argv[1], &options, &channel, &error)) {
        fprintf(stderr, "create_leads: %s\n", error.text);
        return EXIT_FAILURE;
    }
    code = create(channel, argv[2]);
    leadrouter_close(channel);
    return code;
}
