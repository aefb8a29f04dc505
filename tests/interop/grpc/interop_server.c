/* The server of gRPC's interoperability test (github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md, "Server"), over generated
 * code. Prints its port and serves until it is told to stop.
 *
 *   interop_server [PORT] */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "grpc/testing/test.grpc.h"

typedef Grpc__Testing__SimpleRequest simple_request;
typedef Grpc__Testing__StreamingInputCallRequest input_request;
typedef Grpc__Testing__StreamingOutputCallRequest output_request;

enum { PAYLOAD_MAX = 3 * 1024 * 1024, GRACE_MS = 1000 };

static uint8_t zeros[PAYLOAD_MAX];

/* What custom_metadata and compression ask of every method. */
static void echo_metadata(struct grpc_c_call *call)
{
    size_t size = 0;
    const char *value = grpc_c_call_metadata(call, "x-grpc-test-echo-initial", &size);

    if (value != NULL)
        grpc_c_call_add_initial_metadata(call, "x-grpc-test-echo-initial", value, size);
    value = grpc_c_call_metadata(call, "x-grpc-test-echo-trailing-bin", &size);
    if (value != NULL)
        grpc_c_call_add_trailing_metadata(call, "x-grpc-test-echo-trailing-bin", value, size);
}

/* Ends the call when the request was not compressed as it says. */
static bool check_compression(struct grpc_c_call *call, const Grpc__Testing__BoolValue *expected)
{
    if (expected == NULL || (expected->value != 0) == grpc_c_call_was_compressed(call))
        return true;
    grpc_c_call_fail(call, GRPC_C_INVALID_ARGUMENT, "the request is not compressed as it says");
    return false;
}

/* Ends the call with the status that was asked for; false when none was. */
static bool fail_as_asked(struct grpc_c_call *call, const Grpc__Testing__EchoStatus *wanted)
{
    if (wanted == NULL || wanted->code == 0)
        return false;
    grpc_c_call_fail(call, (enum grpc_c_status)wanted->code, wanted->message);
    return true;
}

static bool is_fit(int32_t size)
{
    return size >= 0 && size <= PAYLOAD_MAX;
}

/* --- Unary -------------------------------------------------------------------------------------------------------- */

static void empty_call(struct grpc_c_call *call, const Grpc__Testing__Empty *request, void *user)
{
    (void)user;
    grpc__testing__test_service__empty_call__reply(call, request);
}

static void unary_call(struct grpc_c_call *call, const simple_request *request, void *user)
{
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    (void)user;
    echo_metadata(call);
    if (!check_compression(call, request->expect_compressed) || fail_as_asked(call, request->response_status))
        return;
    if (!is_fit(request->response_size)) {
        grpc_c_call_fail(call, GRPC_C_INVALID_ARGUMENT, "response_size: out of bounds");
        return;
    }
    if (request->response_compressed != NULL && request->response_compressed->value)
        grpc_c_call_set_compression(call, true);
    payload.body.data = zeros;
    payload.body.len = (size_t)request->response_size;
    response.payload = &payload;
    grpc__testing__test_service__unary_call__reply(call, &response);
}

/* --- Streams: a thread for each call, blocking -------------------------------------------------------------------- */

struct task {
    struct grpc_c_call *call;
    const output_request *request;
};

static void start(void *(*main)(void *task), struct grpc_c_call *call, const output_request *request)
{
    struct task *task = arena_alloc(grpc_c_call_arena(call), sizeof(*task));
    pthread_t thread;

    *task = (struct task){.call = call, .request = request};
    int failure = pthread_create(&thread, NULL, main, task);
    assert(failure == 0);
    (void)failure;
    pthread_detach(thread);
}

/* The responses that one request asks for. False when the call is over, or was ended here. */
static bool send_responses(struct grpc_c_call *call, const output_request *request)
{
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *wanted = request->response_parameters[i];
        Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        struct timespec pause = {
            .tv_sec = wanted->interval_us / 1000000, .tv_nsec = wanted->interval_us % 1000000 * 1000L};

        if (!is_fit(wanted->size)) {
            grpc_c_call_fail(call, GRPC_C_INVALID_ARGUMENT, "size: out of bounds");
            return false;
        }
        if (wanted->interval_us > 0)
            nanosleep(&pause, NULL);
        if (wanted->compressed != NULL)
            grpc_c_call_set_compression(call, wanted->compressed->value);
        payload.body.data = zeros;
        payload.body.len = (size_t)wanted->size;
        response.payload = &payload;
        if (!grpc__testing__test_service__full_duplex_call__write_wait(call, &response)) {
            grpc_c_call_fail(call, GRPC_C_CANCELLED, "nobody reads");
            return false;
        }
    }
    return !fail_as_asked(call, request->response_status);
}

static void *output_main(void *argument)
{
    const struct task *task = argument;
    struct grpc_c_call *call = task->call;

    if (task->request->n_response_parameters > 0 && task->request->response_parameters[0]->compressed != NULL)
        grpc_c_call_set_compression(call, true); /* switched off again for those that are not to be */
    if (send_responses(call, task->request))
        grpc_c_call_finish(call);
    return NULL;
}

static void streaming_output_call(struct grpc_c_call *call, const output_request *request, void *user)
{
    (void)user;
    start(output_main, call, request);
}

static void *input_main(void *argument)
{
    struct grpc_c_call *call = ((const struct task *)argument)->call;
    Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    const input_request *request = NULL;
    enum grpc_c_read result = GRPC_C_READ_MESSAGE;

    while ((result = grpc__testing__test_service__streaming_input_call__read_wait(call, &request)) ==
           GRPC_C_READ_MESSAGE) {
        if (!check_compression(call, request->expect_compressed))
            return NULL;
        if (request->payload != NULL)
            response.aggregated_payload_size += (int32_t)request->payload->body.len;
    }
    if (result == GRPC_C_READ_END)
        grpc__testing__test_service__streaming_input_call__reply(call, &response);
    else
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "broken off");
    return NULL;
}

static void streaming_input_call(struct grpc_c_call *call, void *user)
{
    (void)user;
    start(input_main, call, NULL);
}

static void *duplex_main(void *argument)
{
    struct grpc_c_call *call = ((const struct task *)argument)->call;
    const output_request *request = NULL;
    enum grpc_c_read result = GRPC_C_READ_MESSAGE;

    echo_metadata(call);
    while ((result = grpc__testing__test_service__full_duplex_call__read_wait(call, &request)) == GRPC_C_READ_MESSAGE)
        if (!send_responses(call, request))
            return NULL;
    if (result == GRPC_C_READ_END)
        grpc_c_call_finish(call);
    else
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "broken off");
    return NULL;
}

static void full_duplex_call(struct grpc_c_call *call, void *user)
{
    (void)user;
    start(duplex_main, call, NULL);
}

int main(int argc, char **argv)
{
    static const struct grpc__testing__test_service__handlers handlers = {
        .empty_call = empty_call,
        .unary_call = unary_call,
        .streaming_output_call = streaming_output_call,
        .streaming_input_call = streaming_input_call,
        .full_duplex_call = full_duplex_call,
    };
    struct grpc_c_server *server = NULL;
    struct error error = {0};
    char address[64] = "";
    sigset_t stopping;
    int number = 0;
    int port = 0;

    sigemptyset(&stopping);
    sigaddset(&stopping, SIGTERM);
    sigaddset(&stopping, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stopping, NULL);
    snprintf(address, sizeof(address), "127.0.0.1:%s", argc > 1 ? argv[1] : "0");
    server = grpc_c_server_new(NULL);
    grpc__testing__test_service__add(server, &handlers, NULL);
    if (!grpc_c_server_listen(server, address, &port, &error) || !grpc_c_server_start(server, &error)) {
        fprintf(stderr, "interop_server: %s\n", error.text);
        grpc_c_server_free(server);
        return 1;
    }
    printf("%d\n", port);
    fflush(stdout);
    sigwait(&stopping, &number);
    grpc_c_server_stop(server, GRACE_MS);
    grpc_c_server_free(server);
    return 0;
}
