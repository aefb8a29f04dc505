/* The yardstick of `rpc`: empty unary calls written by hand on the core, as little as will do: the same deadline, but no
 * limits, no checks, nothing that looks at messages, which have no bytes. */
#include <assert.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rpc.h"

enum { ARMED = 64, DEADLINE_S = 10 };

#define PATH "/bench.Empty/Call"

/* A tag: what to do with an event. */
struct event {
    void (*done)(struct event *event, bool ok);
};

struct bench {
    grpc_server *server;
    grpc_completion_queue *server_queue;
    grpc_completion_queue *client_queue;
    grpc_channel *channel;
    void *method;
    int64_t end_ns;
    uint64_t answered; /* the client thread's, until it is joined */
    unsigned under_way;
    struct event shutdown;
};

static void start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct event *event)
{
    grpc_call_error failure = grpc_call_start_batch(call, ops, count, event, NULL);

    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

static void *serve_queue(void *argument)
{
    grpc_completion_queue *queue = argument;

    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        ((struct event *)event.tag)->done(event.tag, event.success != 0);
    }
}

/* --- Server ------------------------------------------------------------------------------------------------------- */

struct served {
    struct event event; /* first */
    struct bench *bench;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    grpc_byte_buffer *response;
    int cancelled;
};

static void called(struct event *event, bool ok);

static void arm(struct bench *bench, struct served *served)
{
    *served = (struct served){.event = {.done = called}, .bench = bench};
    grpc_metadata_array_init(&served->metadata);
    grpc_call_error failure =
        grpc_server_request_registered_call(bench->server, bench->method, &served->call, &served->deadline,
            &served->metadata, &served->payload, bench->server_queue, bench->server_queue, &served->event);
    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

static void release(struct served *served)
{
    grpc_metadata_array_destroy(&served->metadata);
    if (served->payload != NULL)
        grpc_byte_buffer_destroy(served->payload);
    if (served->response != NULL)
        grpc_byte_buffer_destroy(served->response);
    if (served->call != NULL)
        grpc_call_unref(served->call);
}

static void replied(struct event *event, bool ok)
{
    struct served *served = (struct served *)(void *)event;

    (void)ok;
    release(served);
    free(served);
}

static void called(struct event *event, bool ok)
{
    struct served *served = (struct served *)(void *)event;
    grpc_slice empty = grpc_empty_slice();
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}, {.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};

    if (!ok) { /* the server is being shut down */
        release(served);
        free(served);
        return;
    }
    arm(served->bench, memory_new(sizeof(*served)));
    served->event.done = replied;
    served->response = grpc_raw_byte_buffer_create(&empty, 1);
    ops[1].data.send_message.send_message = served->response;
    ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
    ops[3].data.recv_close_on_server.cancelled = &served->cancelled;
    start_batch(served->call, ops, 4, &served->event);
}

/* --- Client ------------------------------------------------------------------------------------------------------- */

struct called {
    struct event event; /* first */
    struct bench *bench;
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice details;
};

static void answered(struct event *event, bool ok);

static void begin(struct bench *bench, struct called *called)
{
    grpc_slice empty = grpc_empty_slice();
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};

    *called = (struct called){.event = {.done = answered}, .bench = bench};
    grpc_metadata_array_init(&called->initial);
    grpc_metadata_array_init(&called->trailing);
    called->request = grpc_raw_byte_buffer_create(&empty, 1);
    called->call = grpc_channel_create_call(bench->channel, NULL, GRPC_PROPAGATE_DEFAULTS, bench->client_queue,
        grpc_slice_from_static_string(PATH), NULL,
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(DEADLINE_S, GPR_TIMESPAN)), NULL);
    ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    ops[1].data.send_message.send_message = called->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &called->initial;
    ops[4].data.recv_message.recv_message = &called->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &called->trailing;
    ops[5].data.recv_status_on_client.status = &called->status;
    ops[5].data.recv_status_on_client.status_details = &called->details;
    start_batch(called->call, ops, 6, &called->event);
}

static void answered(struct event *event, bool ok)
{
    struct called *called = (struct called *)(void *)event;
    struct bench *bench = called->bench;

    (void)ok;
    bench->answered += called->status == GRPC_STATUS_OK && called->response != NULL;
    grpc_metadata_array_destroy(&called->initial);
    grpc_metadata_array_destroy(&called->trailing);
    grpc_byte_buffer_destroy(called->request);
    if (called->response != NULL)
        grpc_byte_buffer_destroy(called->response);
    grpc_slice_unref(called->details);
    grpc_call_unref(called->call);
    if (clock_now_ns() < bench->end_ns) {
        begin(bench, called);
        return;
    }
    free(called);
    if (--bench->under_way == 0)
        grpc_completion_queue_shutdown(bench->client_queue);
}

/* --- The run ------------------------------------------------------------------------------------------------------ */

static void was_shut_down(struct event *event, bool ok)
{
    struct bench *bench = (struct bench *)(void *)((char *)event - offsetof(struct bench, shutdown));

    (void)ok;
    grpc_completion_queue_shutdown(bench->server_queue);
}

static bool listen_and_connect(struct bench *bench, struct error *reterr_error)
{
    grpc_server_credentials *server_credentials = grpc_insecure_server_credentials_create();
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    char target[64] = "";

    bench->server = grpc_server_create(NULL, NULL);
    bench->server_queue = grpc_completion_queue_create_for_next(NULL);
    bench->client_queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(bench->server, bench->server_queue, NULL);
    bench->method =
        grpc_server_register_method(bench->server, PATH, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    int port = grpc_server_add_http2_port(bench->server, "127.0.0.1:0", server_credentials);
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    bench->channel = grpc_channel_create(target, credentials, NULL);
    grpc_server_start(bench->server);
    grpc_server_credentials_release(server_credentials);
    grpc_channel_credentials_release(credentials);
    return port > 0 || error_set(reterr_error, ERROR_SYSTEM, "could not listen on 127.0.0.1");
}

bool rpc_measure_by_hand(unsigned in_flight, int64_t duration_ms, double *ret_per_second, struct error *reterr_error)
{
    struct bench bench = {.under_way = in_flight, .shutdown = {.done = was_shut_down}};
    pthread_t server_thread;
    pthread_t client_thread;

    grpc_init();
    bool ok = listen_and_connect(&bench, reterr_error);
    for (unsigned i = 0; i < ARMED; i++)
        arm(&bench, memory_new(sizeof(struct served)));
    int64_t start_ns = clock_now_ns();
    bench.end_ns = ok ? clock_after_ms(duration_ms) : start_ns;
    for (unsigned i = 0; i < in_flight; i++)
        begin(&bench, memory_new(sizeof(struct called)));
    int failure = pthread_create(&server_thread, NULL, serve_queue, bench.server_queue);
    assert(failure == 0);
    failure = pthread_create(&client_thread, NULL, serve_queue, bench.client_queue);
    assert(failure == 0);
    (void)failure;
    pthread_join(client_thread, NULL);
    *ret_per_second = (double)bench.answered * 1e9 / (double)(clock_now_ns() - start_ns);
    grpc_server_shutdown_and_notify(bench.server, bench.server_queue, &bench.shutdown);
    grpc_server_cancel_all_calls(bench.server);
    pthread_join(server_thread, NULL);
    grpc_channel_destroy(bench.channel);
    grpc_server_destroy(bench.server);
    grpc_completion_queue_destroy(bench.client_queue);
    grpc_completion_queue_destroy(bench.server_queue);
    grpc_shutdown();
    return ok;
}
