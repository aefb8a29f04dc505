/* Routes one lead and says where it went.
 *
 *     route_lead HOST:PORT LEAD WORKSPACE [CA.pem CERTIFICATE.pem KEY.pem] */
#include <stdio.h>
#include <stdlib.h>

#include <leadrouter.h>

static const char *outcome_name(Leadrouter__V1__RoutingOutcome outcome)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&leadrouter__v1__routing_outcome__descriptor, (int)outcome);

    return value != NULL ? value->name : "an outcome that this program does not know";
}

static int route(struct grpc_c_channel *channel, char *lead, char *workspace)
{
    const struct grpc_c_call_options options = {.deadline_ms = 2000};
    Leadrouter__V1__RouteLeadRequest request = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    Leadrouter__V1__RouteLeadResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    enum grpc_c_status status = GRPC_C_OK;

    request.lead_id = lead;
    request.source_workspace_id = workspace;
    status = leadrouter__v1__routing_service__route_lead(channel, &request, &options, &response, &outcome);
    if (status == GRPC_C_OK) {
        printf("%s: %s\n", outcome_name(response->outcome), response->reason);
        if (*response->destination_workspace_id != '\0')
            printf("destination %s\n", response->destination_workspace_id);
        leadrouter__v1__route_lead_response__free_unpacked(response, NULL);
    } else {
        fprintf(stderr, "route_lead: %s: %s\n", leadrouter_status_name(status), outcome.message);
    }
    leadrouter_outcome_release(&outcome);
    return status == GRPC_C_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct leadrouter_options options = {0};
    struct leadrouter_error error = {0};
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_FAILURE;

    if (argc != 4 && argc != 7) {
        fprintf(stderr, "usage: route_lead HOST:PORT LEAD WORKSPACE [CA.pem CERTIFICATE.pem KEY.pem]\n");
        return 2;
    }
    if (argc == 7) {
        options.ca_file = argv[4];
        options.certificate_file = argv[5];
        options.key_file = argv[6];
    }
    if (!leadrouter_connect(argv[1], &options, &channel, &error)) {
        fprintf(stderr, "route_lead: %s\n", error.text);
        return EXIT_FAILURE;
    }
    code = route(channel, argv[2], argv[3]);
    leadrouter_close(channel);
    return code;
}
