/* Goal: calls of all kinds, with random cancellations and deadlines, in any number, leave nothing behind: none is left
 * unanswered, and what the process holds at the end it held after the first tenth.
 *
 *   soak CALLS [SEED]
 *
 * The short form runs with the unit tests; tools/check --long runs 200,000 calls under AddressSanitizer and in the
 * release build. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "echo.grpc.h"

enum { THREADS = 4, MESSAGES_MAX = 8, PAYLOAD_MAX = 20000, GROWTH_PERCENT = 10, SLACK_KIB = 2048, PATIENCE_S = 60 };

enum { UNARY, COLLECT, LIST, CHAT, KINDS };

static const struct grpc_c_method methods[KINDS] = {
    [UNARY] = {.name = "Unary", .path = "/test.v1.Soak/Unary"},
    [COLLECT] = {.name = "Collect", .path = "/test.v1.Soak/Collect", .client_streams = true},
    [LIST] = {.name = "List", .path = "/test.v1.Soak/List", .server_streams = true},
    [CHAT] = {.name = "Chat", .path = "/test.v1.Soak/Chat", .client_streams = true, .server_streams = true},
};

/* --- Server: answers are as many messages as came, or as the request's text says ---------------------------------- */

struct work {
    int64_t count;
    int64_t left;
};

static void list_on(struct grpc_c_call *call, bool is_sent, void *user)
{
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;
    struct work *work = user;

    if (!is_sent)
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "nobody reads");
    else if (work->left-- == 0)
        grpc_c_call_finish(call);
    else
        grpc_c_call_write(call, &response.base, list_on, work);
}

static void list(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    struct work *work = arena_alloc(grpc_c_call_arena(call), sizeof(*work));

    (void)handlers;
    (void)user;
    work->left = strtoll(((const Test__V1__EchoRequest *)request)->text, NULL, 10);
    list_on(call, true, work);
}

static void take(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user);

static void chat_on(struct grpc_c_call *call, bool is_sent, void *user)
{
    if (is_sent)
        grpc_c_call_read(call, take, user);
    else
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "nobody reads");
}

static void take(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user)
{
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;
    bool is_chat = strcmp(grpc_c_call_method(call), methods[CHAT].path) == 0;
    struct work *work = user;

    if (result == GRPC_C_READ_MESSAGE) {
        work->count++;
        response.payload = ((const Test__V1__EchoRequest *)message)->payload;
        if (is_chat)
            grpc_c_call_write(call, &response.base, chat_on, work);
        else
            grpc_c_call_read(call, take, work);
    } else if (result != GRPC_C_READ_END) {
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "broken off");
    } else if (is_chat) {
        grpc_c_call_finish(call);
    } else {
        response.deadline_ms = work->count;
        grpc_c_call_reply(call, &response.base);
    }
}

static void collect(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    (void)request;
    (void)handlers;
    (void)user;
    grpc_c_call_read(call, take, arena_alloc(grpc_c_call_arena(call), sizeof(struct work)));
}

static void unary(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;

    (void)handlers;
    (void)user;
    response.payload = ((const Test__V1__EchoRequest *)request)->payload;
    grpc_c_call_reply(call, &response.base);
}

/* --- Client ------------------------------------------------------------------------------------------------------- */

struct soak {
    struct grpc_c_channel *channel;
    struct grpc_c_method methods[KINDS];
    uint64_t seed;
    long calls;
    atomic_long next;
    atomic_long endings[GRPC_C_UNAUTHENTICATED + 1];
    uint8_t payload[PAYLOAD_MAX];
};

/* Only what was asked for: OK, or the ends that the test brings about itself. */
static void note(struct soak *soak, enum grpc_c_status status, const struct grpc_c_outcome *outcome)
{
    if (status != GRPC_C_OK && status != GRPC_C_CANCELLED && status != GRPC_C_DEADLINE_EXCEEDED) {
        fprintf(stderr, "soak: a call ended with %s: %s\n", grpc_c_status_name(status), outcome->message);
        exit(1);
    }
    atomic_fetch_add(&soak->endings[status], 1);
}

static void soak_unary(struct soak *soak, const Test__V1__EchoRequest *request,
    const struct grpc_c_call_options *options, struct grpc_c_outcome *outcome)
{
    ProtobufCMessage *response = NULL;

    note(soak, grpc_c_channel_call(soak->channel, &soak->methods[UNARY], &request->base, options, &response, outcome),
        outcome);
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
}

static void soak_stream(struct soak *soak, struct random_sequence *random, int kind,
    const Test__V1__EchoRequest *request, const struct grpc_c_call_options *options, struct grpc_c_outcome *outcome)
{
    const struct grpc_c_method *method = &soak->methods[kind];
    struct grpc_c_stream *stream =
        grpc_c_channel_open(soak->channel, method, method->client_streams ? NULL : &request->base, options);
    uint64_t messages = random_below(random, MESSAGES_MAX);
    uint64_t cancel_at = random_below(random, 4) == 0 ? random_below(random, MESSAGES_MAX) : UINT64_MAX;
    ProtobufCMessage *response = NULL;
    bool is_open = true;

    for (uint64_t i = 0; i < messages && is_open; i++) {
        if (i == cancel_at)
            grpc_c_stream_cancel(stream);
        if (method->client_streams)
            is_open = grpc_c_stream_write(stream, &request->base);
        if (method->server_streams && is_open && grpc_c_stream_read(stream, &response))
            protobuf_c_message_free_unpacked(response, NULL);
    }
    if (random_below(random, 20) == 0)
        atomic_fetch_add(&soak->endings[GRPC_C_CANCELLED], 1); /* let go without a look at the end */
    else
        note(soak, grpc_c_stream_finish(stream, outcome), outcome);
    grpc_c_stream_free(stream);
}

static void *soak_main(void *argument)
{
    struct soak *soak = argument;
    long index = 0;

    while ((index = atomic_fetch_add(&soak->next, 1)) < soak->calls) {
        struct random_sequence random = random_sequence_from(soak->seed + (uint64_t)index);
        Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
        struct grpc_c_call_options options = {.deadline_ms = PATIENCE_S * 1000, .wait_for_ready = true};
        struct grpc_c_outcome outcome = {0};
        char text[8] = "";

        snprintf(text, sizeof(text), "%d", (int)random_below(&random, MESSAGES_MAX));
        request.text = text;
        request.payload.data = soak->payload;
        request.payload.len = random_below(&random, 8) == 0 ? random_below(&random, PAYLOAD_MAX) : 10;
        options.compress = random_below(&random, 8) == 0;
        if (random_below(&random, 10) == 0)
            options.deadline_ms = 1 + (int64_t)random_below(&random, 5);
        int kind = (int)random_below(&random, KINDS);
        if (kind == UNARY)
            soak_unary(soak, &request, &options, &outcome);
        else
            soak_stream(soak, &random, kind, &request, &options, &outcome);
        grpc_c_outcome_release(&outcome);
    }
    return NULL;
}

/* Runs calls up to number `until`, on all threads. */
static void run_until(struct soak *soak, long until)
{
    pthread_t threads[THREADS];

    soak->calls = until;
    for (int i = 0; i < THREADS; i++) {
        int failure = pthread_create(&threads[i], NULL, soak_main, soak);
        assert(failure == 0);
        (void)failure;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&soak->next, until);
}

/* proc(5): the second number of statm is the resident pages. */
static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0;
    long resident = 0;
    bool ok = file != NULL && fscanf(file, "%ld %ld", &size, &resident) == 2;

    assert(ok);
    (void)ok;
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv)
{
    static grpc_c_adapter *const adapters[KINDS] = {
        [UNARY] = unary, [COLLECT] = collect, [LIST] = list, [CHAT] = collect};
    struct soak *soak = memory_new(sizeof(*soak));
    const struct grpc_c_service service = {.name = "test.v1.Soak", .methods = soak->methods, .method_count = KINDS};
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    long calls = argc > 1 ? strtol(argv[1], NULL, 10) : 2000;
    char target[64] = "";
    struct error error = {0};
    int port = 0;

    soak->seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (int i = 0; i < KINDS; i++) {
        soak->methods[i] = methods[i];
        soak->methods[i].request = &test__v1__echo_request__descriptor;
        soak->methods[i].response = &test__v1__echo_response__descriptor;
    }
    grpc_c_server_add_service(server, &service, adapters, NULL, NULL);
    bool ok = grpc_c_server_listen(server, "127.0.0.1:0", &port, &error) && grpc_c_server_start(server, &error);
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    ok = ok && grpc_c_channel_new(target, NULL, &soak->channel, &error);
    if (!ok) {
        fprintf(stderr, "soak: %s\n", error.text);
        return 1;
    }
    run_until(soak, calls / 10);
    long before = resident_kib();
    run_until(soak, calls);
    int64_t deadline_ns = clock_after_ms(PATIENCE_S * 1000);
    while (grpc_c_server_call_count(server) > 0 && clock_now_ns() < deadline_ns)
        sched_yield();
    size_t left = grpc_c_server_call_count(server);
    long after = resident_kib();
    printf("%ld calls: %ld OK, %ld cancelled, %ld too late; resident %ld KiB after a tenth, %ld KiB at the end\n",
        calls, atomic_load(&soak->endings[GRPC_C_OK]), atomic_load(&soak->endings[GRPC_C_CANCELLED]),
        atomic_load(&soak->endings[GRPC_C_DEADLINE_EXCEEDED]), before, after);
    grpc_c_channel_free(soak->channel);
    grpc_c_server_free(server);
    free(soak);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)before; /* the sanitizers keep memory of their own, so that only leaks and races count */
    return left == 0 ? 0 : 1;
#else
    return left == 0 && after <= before + before * GROWTH_PERCENT / 100 + SLACK_KIB ? 0 : 1;
#endif
}
