/* Goal: many streams at once, each with many messages: none is lost, each comes in its order, and memory stays flat.
 *
 *   crowd STREAMS MESSAGES
 *
 * The short form runs with the unit tests; tools/check --long runs 1,000 streams of 1,000 messages. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "echo.grpc.h"

enum { GROWTH_PERCENT = 10, SLACK_KIB = 4096 };

static const struct grpc_c_method chat_method = {.name = "Chat",
    .path = "/test.v1.Crowd/Chat",
    .request = &test__v1__echo_request__descriptor,
    .response = &test__v1__echo_response__descriptor,
    .client_streams = true,
    .server_streams = true};

static const struct grpc_c_service service = {.name = "test.v1.Crowd", .methods = &chat_method, .method_count = 1};

/* --- Server: sends back what it reads ----------------------------------------------------------------------------- */

static void was_read(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user);

static void was_written(struct grpc_c_call *call, bool is_sent, void *user)
{
    if (is_sent)
        grpc_c_call_read(call, was_read, user);
    else
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "nobody reads");
}

static void was_read(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user)
{
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;

    if (result == GRPC_C_READ_END) {
        grpc_c_call_finish(call);
    } else if (result != GRPC_C_READ_MESSAGE) {
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "broken off");
    } else {
        response.text = ((const Test__V1__EchoRequest *)message)->text;
        grpc_c_call_write(call, &response.base, was_written, user);
    }
}

static void chat(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    (void)request;
    (void)handlers;
    grpc_c_call_read(call, was_read, user);
}

/* --- Client: counts up on every stream ---------------------------------------------------------------------------- */

struct crowd {
    long messages;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    long begun; /* streams that have had a quarter of their messages */
    long ended;
    long faults; /* messages out of order, lost, or streams that ended badly */
};

struct member {
    struct crowd *crowd;
    long sent;
    long received;
};

static void count(struct crowd *crowd, long *counter)
{
    pthread_mutex_lock(&crowd->lock);
    (*counter)++;
    pthread_cond_broadcast(&crowd->changed);
    pthread_mutex_unlock(&crowd->lock);
}

static void sent(struct grpc_c_stream *stream, bool is_sent, void *user);

static void send_next(struct grpc_c_stream *stream, struct member *member)
{
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    char text[24] = "";

    if (member->sent == member->crowd->messages) {
        grpc_c_stream_close_sending(stream);
        return;
    }
    snprintf(text, sizeof(text), "%ld", member->sent++);
    request.text = text;
    grpc_c_stream_write_async(stream, &request.base, sent, member);
}

static void sent(struct grpc_c_stream *stream, bool is_sent, void *user)
{
    if (is_sent)
        send_next(stream, user);
}

static void received(struct grpc_c_stream *stream, const ProtobufCMessage *message, void *user)
{
    struct member *member = user;

    if (message == NULL)
        return;
    if (strtol(((const Test__V1__EchoResponse *)message)->text, NULL, 10) != member->received)
        count(member->crowd, &member->crowd->faults);
    if (++member->received == member->crowd->messages / 4)
        count(member->crowd, &member->crowd->begun);
    grpc_c_stream_read_async(stream, received, member);
}

static void ended(struct grpc_c_stream *stream, const struct grpc_c_outcome *outcome, void *user)
{
    struct member *member = user;

    if (outcome->status != GRPC_C_OK || member->received != member->crowd->messages) {
        fprintf(stderr, "crowd: a stream ended with %s: %s, after %ld messages\n", grpc_c_status_name(outcome->status),
            outcome->message, member->received);
        count(member->crowd, &member->crowd->faults);
    }
    grpc_c_stream_free(stream);
    count(member->crowd, &member->crowd->ended);
}

static void wait_for(struct crowd *crowd, const long *counter, long value)
{
    pthread_mutex_lock(&crowd->lock);
    while (*counter < value)
        pthread_cond_wait(&crowd->changed, &crowd->lock);
    pthread_mutex_unlock(&crowd->lock);
}

/* proc(5): the second number of statm is the resident pages. */
static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0;
    long resident = 0;

    if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2)
        abort();
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv)
{
    static grpc_c_adapter *const adapters[] = {chat};
    const struct grpc_c_call_options options = {.wait_for_ready = true};
    long streams = argc > 1 ? strtol(argv[1], NULL, 10) : 100;
    struct crowd crowd = {.messages = argc > 2 ? strtol(argv[2], NULL, 10) : 100,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER};
    struct member *members = memory_new_array((size_t)streams, sizeof(*members));
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};
    char target[64] = "";
    int port = 0;

    grpc_c_server_add_service(server, &service, adapters, NULL, NULL);
    bool ok = grpc_c_server_listen(server, "127.0.0.1:0", &port, &error) && grpc_c_server_start(server, &error);
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    if (!ok || !grpc_c_channel_new(target, NULL, &channel, &error)) {
        fprintf(stderr, "crowd: %s\n", error.text);
        return 1;
    }
    for (long i = 0; i < streams; i++) {
        members[i].crowd = &crowd;
        struct grpc_c_stream *stream = grpc_c_channel_open(channel, &chat_method, NULL, &options);
        grpc_c_stream_read_async(stream, received, &members[i]);
        grpc_c_stream_on_end(stream, ended, &members[i]);
        send_next(stream, &members[i]);
    }
    wait_for(&crowd, &crowd.begun, streams);
    long before = resident_kib();
    wait_for(&crowd, &crowd.ended, streams);
    long after = resident_kib();
    printf("%ld streams of %ld messages: %ld faults; resident %ld KiB after a quarter, %ld KiB at the end\n", streams,
        crowd.messages, crowd.faults, before, after);
    grpc_c_channel_free(channel);
    grpc_c_server_free(server);
    free(members);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return crowd.faults == 0 ? 0 : 1; /* the sanitizers keep memory of their own */
#else
    return crowd.faults == 0 && after <= before + before * GROWTH_PERCENT / 100 + SLACK_KIB ? 0 : 1;
#endif
}
