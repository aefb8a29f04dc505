/* Routes the leads whose ids stand on standard input, one a line, over one stream; prints each answer as it comes.
 *
 *     route_stream HOST:PORT WORKSPACE < ids
 *
 * One thread writes and one reads: the server stops reading from a stream whose answers nobody takes. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <leadrouter.h>

enum { LINE_SIZE = 256 };

struct sender {
    struct grpc_c_stream *stream;
    char *workspace;
};

/* Writes a request per line, numbered from 0, until there are no more or the call is over. */
static void *send_all(void *argument)
{
    const struct sender *sender = argument;
    char line[LINE_SIZE];

    for (uint64_t index = 0; fgets(line, sizeof(line), stdin) != NULL; index++) {
        Leadrouter__V1__RouteLeadRequest lead = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
        Leadrouter__V1__RouteLeadsRequest request = LEADROUTER__V1__ROUTE_LEADS_REQUEST__INIT;

        line[strcspn(line, "\r\n")] = '\0';
        lead.lead_id = line;
        lead.source_workspace_id = sender->workspace;
        request.index = index;
        request.lead = &lead;
        if (!leadrouter__v1__routing_service__route_leads__send(sender->stream, &request))
            break;
    }
    leadrouter_stream_close_sending(sender->stream);
    return NULL;
}

static int route(struct grpc_c_channel *channel, char *workspace)
{
    struct sender sender = {leadrouter__v1__routing_service__route_leads__open(channel, NULL), workspace};
    Leadrouter__V1__RouteLeadsResponse *answer = NULL;
    struct grpc_c_outcome outcome = {0};
    enum grpc_c_status status = GRPC_C_OK;
    pthread_t thread;

    if (pthread_create(&thread, NULL, send_all, &sender) != 0) {
        fprintf(stderr, "route_stream: no thread\n");
        leadrouter_stream_free(sender.stream);
        return EXIT_FAILURE;
    }
    while (leadrouter__v1__routing_service__route_leads__next(sender.stream, &answer)) {
        if (answer->code == 0)
            printf("%" PRIu64 " %s\n", answer->index, answer->result->reason);
        else
            printf("%" PRIu64 " %s: %s\n", answer->index, leadrouter_status_name((enum grpc_c_status)answer->code),
                answer->message);
        leadrouter__v1__route_leads_response__free_unpacked(answer, NULL);
    }
    pthread_join(thread, NULL);
    status = leadrouter_stream_finish(sender.stream, &outcome);
    if (status != GRPC_C_OK)
        fprintf(stderr, "route_stream: %s: %s\n", leadrouter_status_name(status), outcome.message);
    leadrouter_outcome_release(&outcome);
    leadrouter_stream_free(sender.stream);
    return status == GRPC_C_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct leadrouter_error error = {0};
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_FAILURE;

    if (argc != 3) {
        fprintf(stderr, "usage: route_stream HOST:PORT WORKSPACE < IDS\n");
        return 2;
    }
    if (!leadrouter_connect(argv[1], NULL, &channel, &error)) {
        fprintf(stderr, "route_stream: %s\n", error.text);
        return EXIT_FAILURE;
    }
    code = route(channel, argv[2]);
    leadrouter_close(channel);
    return code;
}
