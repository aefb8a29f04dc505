/* Streams of all kinds between a server and a client in one process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "fixture.h"
#include "grpc_c/details.h"

enum { COLLECT, LIST, CHAT, METHODS };

enum { IDLE_MS = 600, NEVER_IDLE_MS = 3600000 }; /* of streams whose peer neither sends nor reads */

static const struct grpc_c_method methods[METHODS] = {
    [COLLECT] = {.name = "Collect",
        .path = "/test.v1.StreamService/Collect",
        .request = &test__v1__echo_request__descriptor,
        .response = &test__v1__echo_response__descriptor,
        .client_streams = true},
    [LIST] = {.name = "List",
        .path = "/test.v1.StreamService/List",
        .request = &test__v1__echo_request__descriptor,
        .response = &test__v1__echo_response__descriptor,
        .server_streams = true},
    [CHAT] = {.name = "Chat",
        .path = "/test.v1.StreamService/Chat",
        .request = &test__v1__echo_request__descriptor,
        .response = &test__v1__echo_response__descriptor,
        .client_streams = true,
        .server_streams = true},
};

static const struct grpc_c_service service = {
    .name = "test.v1.StreamService", .methods = methods, .method_count = METHODS};

/* What the handlers did, for tests to wait for. */
struct log {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    size_t gone_count;    /* streams that ended early for the server */
    size_t written_count; /* writes of List and Chat that were done */
    size_t end_count;     /* half-closes */
    bool refuses;         /* Chat fails the call at the first message, with details */
    bool is_unwelcome;    /* the gate no longer lets callers in who are there */
};

struct streams {
    struct grpc_c_server *server;
    struct grpc_c_channel *channel;
    int port;
    struct log log;
};

static void note(struct log *log, size_t *count)
{
    pthread_mutex_lock(&log->lock);
    (*count)++;
    pthread_cond_broadcast(&log->changed);
    pthread_mutex_unlock(&log->lock);
}

/* --- Handlers ----------------------------------------------------------------------------------------------------- */

/* Collect: counts messages and answers with their number. */
struct collected {
    struct log *log;
    size_t count;
};

static void collect_one(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user)
{
    struct collected *collected = user;
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;

    switch (result) {
    case GRPC_C_READ_MESSAGE:
        assert_non_null(message);
        collected->count++;
        grpc_c_call_read(call, collect_one, user);
        return;
    case GRPC_C_READ_END:
        response.deadline_ms = (int64_t)collected->count;
        grpc_c_call_reply(call, &response.base);
        return;
    case GRPC_C_READ_BAD:
    case GRPC_C_READ_GONE:
        note(collected->log, &collected->log->gone_count);
        grpc_c_call_fail(call, GRPC_C_ABORTED, "ended early");
        return;
    }
}

static void collect(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    struct collected *collected = grpc_c_call_slot(call, sizeof(*collected));

    (void)handlers;
    assert_null(request);
    collected->log = user;
    grpc_c_call_read(call, collect_one, collected);
}

/* List: as many messages as the text says, each with its number and the payload of the request. */
struct listed {
    struct log *log;
    const Test__V1__EchoRequest *request;
    int64_t next;
    int64_t count;
};

static void list_next(struct grpc_c_call *call, bool is_sent, void *user)
{
    struct listed *listed = user;
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;

    if (!is_sent) {
        note(listed->log, &listed->log->gone_count);
        grpc_c_call_fail(call, GRPC_C_ABORTED, "nobody reads");
        return;
    }
    note(listed->log, &listed->log->written_count);
    if (listed->next == listed->count) {
        grpc_c_call_add_trailing_metadata(call, "x-count", "all", 3);
        grpc_c_call_finish(call);
        return;
    }
    response.deadline_ms = listed->next++;
    response.payload = listed->request->payload;
    grpc_c_call_write(call, &response.base, list_next, listed);
}

static void list(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    struct listed *listed = grpc_c_call_slot(call, sizeof(*listed));

    (void)handlers;
    *listed = (struct listed){.log = user, .request = (const Test__V1__EchoRequest *)request};
    listed->count = strtoll(listed->request->text, NULL, 10);
    if (strncmp(listed->request->text, "gzip", 4) == 0) {
        listed->count = 3;
        grpc_c_call_set_compression(call, true);
    }
    grpc_c_call_add_initial_metadata(call, "x-begun", "yes", 3);
    list_next(call, true, listed);
}

/* Chat: sends back what it reads, on a thread of its own, blocking. */
static void *chat_main(void *argument)
{
    struct grpc_c_call *call = argument;
    struct log *log = *(struct log **)grpc_c_call_slot(call, sizeof(struct log *));
    const ProtobufCMessage *message = NULL;
    enum grpc_c_read result = GRPC_C_READ_MESSAGE;

    while ((result = grpc_c_call_read_wait(call, &message)) == GRPC_C_READ_MESSAGE) {
        Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;
        response.text = ((const Test__V1__EchoRequest *)message)->text;
        response.payload = ((const Test__V1__EchoRequest *)message)->payload;
        if (log->refuses || !grpc_c_call_write_wait(call, &response.base))
            break;
    }
    if (result == GRPC_C_READ_END) {
        note(log, &log->end_count);
        grpc_c_call_finish(call);
    } else {
        const struct grpc_c_detail details[] = {
            {.type_url = "type.googleapis.com/test.v1.Leaf", .bytes = "\x0a\x01x", .size = 3},
            {.type_url = "type.googleapis.com/test.v1.Empty", .bytes = "", .size = 0},
        };
        note(log, &log->gone_count);
        grpc_c_call_fail_with_details(
            call, GRPC_C_FAILED_PRECONDITION, "no more of this: \xc3\xbc", details, COUNT_OF(details));
    }
    return NULL;
}

static void chat(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    pthread_t thread;

    (void)request;
    (void)handlers;
    *(struct log **)grpc_c_call_slot(call, sizeof(struct log *)) = user;
    assert_int_equal(pthread_create(&thread, NULL, chat_main, call), 0);
    pthread_detach(thread);
}

static bool stays(struct grpc_c_call *call, struct error *reterr_error, void *user)
{
    struct log *log = user;

    assert_non_null(grpc_c_call_method(call));
    pthread_mutex_lock(&log->lock);
    bool ok = !log->is_unwelcome;
    pthread_mutex_unlock(&log->lock);
    return ok || error_set(reterr_error, ERROR_UNAUTHENTICATED, "no longer");
}

/* --- Fixture ------------------------------------------------------------------------------------------------------ */

static int setup_with_idle(void **state, int64_t idle_ms)
{
    static grpc_c_adapter *const adapters[METHODS] = {[COLLECT] = collect, [LIST] = list, [CHAT] = chat};
    const struct grpc_c_server_options options = {
        .threads = 2, .message_size_max = 1000000, .depth_max = 4, .stream_idle_ms = idle_ms};
    struct streams *streams = memory_new(sizeof(*streams));
    const struct grpc_c_gate gate = {.stays = stays, .user = &streams->log};
    struct error error = {0};
    char target[64] = "";

    pthread_mutex_init(&streams->log.lock, NULL);
    pthread_cond_init(&streams->log.changed, NULL);
    streams->server = grpc_c_server_new(&options);
    grpc_c_server_add_service(streams->server, &service, adapters, NULL, &streams->log);
    grpc_c_server_set_gate(streams->server, &gate);
    assert_true(grpc_c_server_listen(streams->server, "127.0.0.1:0", &streams->port, &error));
    assert_true(grpc_c_server_start(streams->server, &error));
    snprintf(target, sizeof(target), "127.0.0.1:%d", streams->port);
    assert_true(grpc_c_channel_new(target, NULL, &streams->channel, &error));
    *state = streams;
    return 0;
}

static int setup(void **state)
{
    return setup_with_idle(state, NEVER_IDLE_MS);
}

/* Streams whose peer is idle end soon, and their callers are asked for sooner. */
static int setup_impatient(void **state)
{
    return setup_with_idle(state, IDLE_MS);
}

static int teardown(void **state)
{
    struct streams *streams = *state;

    grpc_c_channel_free(streams->channel);
    grpc_c_server_stop(streams->server, 10000);
    grpc_c_server_free(streams->server);
    pthread_cond_destroy(&streams->log.changed);
    pthread_mutex_destroy(&streams->log.lock);
    free(streams);
    return 0;
}

static struct grpc_c_stream *open_stream(struct streams *streams, int method, const Test__V1__EchoRequest *request)
{
    return grpc_c_channel_open(streams->channel, &methods[method], request == NULL ? NULL : &request->base, &patient);
}

static void wait_idle(struct streams *streams)
{
    int64_t deadline_ns = clock_after_ms(WAIT_S * 1000);

    while (grpc_c_server_call_count(streams->server) > 0)
        assert_true(clock_now_ns() < deadline_ns);
}

/* --- Tests -------------------------------------------------------------------------------------------------------- */

static void test_client_stream(void **state)
{
    static const size_t counts[] = {0, 1, 1000};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        struct grpc_c_stream *stream = open_stream(*state, COLLECT, NULL);
        ProtobufCMessage *response = NULL;
        for (size_t i = 0; i < counts[c]; i++)
            assert_true(grpc_c_stream_write(stream, &request.base));
        assert_int_equal(grpc_c_stream_finish_reply(stream, &response, NULL), GRPC_C_OK);
        assert_int_equal(((Test__V1__EchoResponse *)response)->deadline_ms, counts[c]);
        protobuf_c_message_free_unpacked(response, NULL);
        grpc_c_stream_free(stream);
    }
}

/* Goal: every message, in order, and the metadata of both ends of the call. */
static void test_server_stream(void **state)
{
    char texts[][4] = {"0", "1", "500"};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    for (size_t c = 0; c < COUNT_OF(texts); c++) {
        request.text = texts[c];
        struct grpc_c_stream *stream = open_stream(*state, LIST, &request);
        ProtobufCMessage *response = NULL;
        struct grpc_c_outcome outcome;
        int64_t count = 0;
        while (grpc_c_stream_read(stream, &response)) {
            assert_int_equal(((Test__V1__EchoResponse *)response)->deadline_ms, count++);
            protobuf_c_message_free_unpacked(response, NULL);
        }
        assert_int_equal(count, strtoll(texts[c], NULL, 10));
        assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_OK);
        assert_int_equal(outcome.initial_metadata_count, 1);
        assert_string_equal(outcome.initial_metadata[0].key, "x-begun");
        assert_int_equal(outcome.trailing_metadata_count, 1);
        assert_string_equal(outcome.trailing_metadata[0].value, "all");
        grpc_c_outcome_release(&outcome);
        grpc_c_stream_free(stream);
    }
}

static void test_both_stream(void **state)
{
    struct streams *streams = *state;
    struct grpc_c_stream *stream = open_stream(streams, CHAT, NULL);
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    char text[32] = "";

    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "turn %d", i);
        request.text = text;
        assert_true(grpc_c_stream_write(stream, &request.base));
        assert_true(grpc_c_stream_read(stream, &response));
        assert_string_equal(((Test__V1__EchoResponse *)response)->text, text);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    grpc_c_stream_close_sending(stream);
    assert_false(grpc_c_stream_read(stream, &response));
    assert_int_equal(grpc_c_stream_finish(stream, NULL), GRPC_C_OK);
    grpc_c_stream_free(stream);
    wait_for(&streams->log.lock, &streams->log.changed, &streams->log.end_count, 1);
}

/* Goal: a reader that does not read stops the writer after a window's worth (the core lets it grow to 16 MiB when the
 * connection is fast) and what the kernel's sockets hold (up to 10 MiB more), not after 100 MB; and what was held back is
 * lost to nobody. */
static void test_push_back(void **state)
{
    enum { MESSAGES = 5000, SIZE = 20000 };
    struct streams *streams = *state;
    uint8_t *bytes = memory_new(SIZE);
    char text[] = "5000";
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    size_t stopped_at = 0;
    size_t count = 0;

    request.text = text;
    request.payload = (ProtobufCBinaryData){.data = bytes, .len = SIZE};
    struct grpc_c_stream *stream = open_stream(streams, LIST, &request);
    assert_true(grpc_c_stream_read(stream, &response));
    protobuf_c_message_free_unpacked(response, NULL);
    for (int64_t quiet_ns = clock_after_ms(200); clock_now_ns() < quiet_ns;) { /* until it stands still */
        pthread_mutex_lock(&streams->log.lock);
        if (streams->log.written_count != stopped_at)
            quiet_ns = clock_after_ms(200);
        stopped_at = streams->log.written_count;
        pthread_mutex_unlock(&streams->log.lock);
    }
    assert_in_range(stopped_at, 1, MESSAGES / 2);
    for (count = 1; grpc_c_stream_read(stream, &response); count++)
        protobuf_c_message_free_unpacked(response, NULL);
    assert_int_equal(count, MESSAGES);
    assert_int_equal(grpc_c_stream_finish(stream, NULL), GRPC_C_OK);
    grpc_c_stream_free(stream);
    free(bytes);
}

/* Goal: the server learns that the client has cancelled or let go, in the middle of each kind. */
static void test_client_cancels(void **state)
{
    struct streams *streams = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    char text[] = "1000000";
    struct grpc_c_outcome outcome;

    request.text = text;
    for (int method = 0; method < METHODS; method++) {
        struct grpc_c_stream *stream = open_stream(streams, method, methods[method].client_streams ? NULL : &request);
        if (methods[method].client_streams)
            assert_true(grpc_c_stream_write(stream, &request.base));
        grpc_c_stream_cancel(stream);
        assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_CANCELLED);
        grpc_c_outcome_release(&outcome);
        grpc_c_stream_free(stream);
    }
    wait_idle(streams);
}

/* Goal: a cancelled stream is not taken for one that was half-closed. */
static void test_cancel_is_no_end(void **state)
{
    enum { CALLS = 200 };
    struct streams *streams = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;

    for (size_t i = 0; i < CALLS; i++) {
        struct grpc_c_stream *stream = open_stream(streams, CHAT, NULL);
        assert_true(grpc_c_stream_write(stream, &request.base)); /* the call has come, and waits for the next */
        assert_true(grpc_c_stream_read(stream, &response));
        protobuf_c_message_free_unpacked(response, NULL);
        grpc_c_stream_cancel(stream);
        grpc_c_stream_free(stream);
    }
    wait_idle(streams);
    assert_int_equal(streams->log.gone_count, CALLS);
    assert_int_equal(streams->log.end_count, 0);
}

/* Goal: the client learns that the server has ended the call while it still writes, and why, in words and details. */
static void test_server_ends(void **state)
{
    struct streams *streams = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    struct grpc_c_outcome outcome;
    struct arena *arena = arena_new(0);
    const struct grpc_c_detail *details = NULL;
    size_t detail_count = 0;
    struct error error = {0};

    streams->log.refuses = true;
    struct grpc_c_stream *stream = open_stream(streams, CHAT, NULL);
    while (grpc_c_stream_write(stream, &request.base)) {
    }
    assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_FAILED_PRECONDITION);
    assert_string_equal(outcome.message, "no more of this: \xc3\xbc");
    assert_true(grpc_c_outcome_details(&outcome, arena, &details, &detail_count, &error));
    assert_int_equal(detail_count, 2);
    assert_string_equal(details[0].type_url, "type.googleapis.com/test.v1.Leaf");
    assert_int_equal(details[0].size, 3);
    assert_memory_equal(details[0].bytes, "\x0a\x01x", 3);
    assert_int_equal(details[1].size, 0);
    outcome.status = GRPC_C_ABORTED; /* a server that contradicts itself */
    assert_false(grpc_c_outcome_details(&outcome, arena, &details, &detail_count, &error));
    assert_string_equal(error.text, "grpc-status-details-bin: speaks of code 9, and the call ended with 10");
    outcome.trailing_metadata[0].size = 2; /* cut off */
    assert_false(grpc_c_outcome_details(&outcome, arena, &details, &detail_count, &error));
    grpc_c_outcome_release(&outcome);
    arena_free(arena);
    grpc_c_stream_free(stream);
}

static void test_deadline(void **state)
{
    const struct grpc_c_call_options options = {.deadline_ms = 100, .wait_for_ready = true};
    struct streams *streams = *state;
    struct grpc_c_stream *stream = grpc_c_channel_open(streams->channel, &methods[COLLECT], NULL, &options);

    assert_int_equal(grpc_c_stream_read(stream, &(ProtobufCMessage *){NULL}), false);
    assert_int_equal(grpc_c_stream_finish(stream, NULL), GRPC_C_DEADLINE_EXCEEDED);
    grpc_c_stream_free(stream);
}

/* Goal: a peer that neither sends nor reads for stream_idle_ms loses its stream. */
static void test_idle_peer(void **state)
{
    struct streams *streams = *state;
    struct grpc_c_stream *stream = open_stream(streams, COLLECT, NULL);
    struct grpc_c_outcome outcome;
    ProtobufCMessage *none = NULL;

    assert_false(grpc_c_stream_read(stream, &none));
    assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_DEADLINE_EXCEEDED);
    assert_string_equal(outcome.message, "the peer neither sent nor read for too long");
    grpc_c_outcome_release(&outcome);
    grpc_c_stream_free(stream);
    wait_for(&streams->log.lock, &streams->log.changed, &streams->log.gone_count, 1);
}

/* Goal: the gate is asked about callers of streams that are under way; a stream whose caller it no longer knows ends with its
 * reason, long before it would as an idle one. */
static void test_unwelcome_caller(void **state)
{
    struct streams *streams = *state;
    struct grpc_c_stream *stream = NULL;
    struct grpc_c_outcome outcome;
    ProtobufCMessage *none = NULL;

    pthread_mutex_lock(&streams->log.lock);
    streams->log.is_unwelcome = true;
    pthread_mutex_unlock(&streams->log.lock);
    stream = open_stream(streams, COLLECT, NULL);
    assert_false(grpc_c_stream_read(stream, &none));
    assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_UNAUTHENTICATED);
    assert_string_equal(outcome.message, "no longer");
    grpc_c_outcome_release(&outcome);
    grpc_c_stream_free(stream);
    wait_for(&streams->log.lock, &streams->log.changed, &streams->log.gone_count, 1);
}

/* Goal: a message in the middle of a stream that cannot be taken ends the call with the reason, whatever the handler
 * says. */
static void test_bad_message(void **state)
{
    struct streams *streams = *state;
    struct grpc_c_outcome outcome;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    char bad[] = "\xff";
    struct grpc_c_stream *stream = open_stream(streams, COLLECT, NULL);

    assert_true(grpc_c_stream_write(stream, &request.base));
    request.text = bad;
    grpc_c_stream_write(stream, &request.base);
    assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_INVALID_ARGUMENT);
    assert_string_equal(outcome.message, "text: is not valid UTF-8");
    grpc_c_outcome_release(&outcome);
    grpc_c_stream_free(stream);
}

/* Goal: compression is asked for by either end, and the other end sees that it was used. */
static void test_compression(void **state)
{
    struct streams *streams = *state;
    uint8_t zeros[2000] = {0};
    char text[] = "gzip";
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    struct grpc_c_outcome outcome;
    ProtobufCMessage *response = NULL;
    const struct grpc_c_call_options options = {.compress = true, .deadline_ms = 25000, .wait_for_ready = true};

    request.text = text;
    request.payload = (ProtobufCBinaryData){.data = zeros, .len = sizeof(zeros)};
    struct grpc_c_stream *stream = grpc_c_channel_open(streams->channel, &methods[LIST], &request.base, &options);
    for (int i = 0; i < 3; i++) {
        assert_true(grpc_c_stream_read(stream, &response));
        assert_int_equal(((Test__V1__EchoResponse *)response)->payload.len, sizeof(zeros));
        protobuf_c_message_free_unpacked(response, NULL);
    }
    assert_int_equal(grpc_c_stream_finish(stream, &outcome), GRPC_C_OK);
    assert_true(outcome.was_compressed);
    grpc_c_outcome_release(&outcome);
    grpc_c_stream_free(stream);
}

/* Goal: the callback forms alone carry a call from its beginning to its end. */
struct exchange {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t sent;
    size_t received;
    size_t ended;
    enum grpc_c_status status;
};

enum { EXCHANGED = 300 };

static void exchange_received(struct grpc_c_stream *stream, const ProtobufCMessage *message, void *user)
{
    struct exchange *exchange = user;

    if (message == NULL)
        return;
    exchange->received++;
    grpc_c_stream_read_async(stream, exchange_received, user);
}

static void exchange_sent(struct grpc_c_stream *stream, bool is_sent, void *user)
{
    struct exchange *exchange = user;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    assert_true(is_sent);
    if (++exchange->sent < EXCHANGED)
        grpc_c_stream_write_async(stream, &request.base, exchange_sent, user);
    else
        grpc_c_stream_close_sending(stream);
}

static void exchange_ended(struct grpc_c_stream *stream, const struct grpc_c_outcome *outcome, void *user)
{
    struct exchange *exchange = user;

    grpc_c_stream_free(stream);
    pthread_mutex_lock(&exchange->lock);
    exchange->status = outcome->status;
    exchange->ended++;
    pthread_cond_broadcast(&exchange->changed);
    pthread_mutex_unlock(&exchange->lock);
}

static void test_callbacks(void **state)
{
    struct exchange exchange = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct grpc_c_stream *stream = open_stream(*state, CHAT, NULL);
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    grpc_c_stream_read_async(stream, exchange_received, &exchange);
    grpc_c_stream_on_end(stream, exchange_ended, &exchange);
    grpc_c_stream_write_async(stream, &request.base, exchange_sent, &exchange);
    wait_for(&exchange.lock, &exchange.changed, &exchange.ended, 1);
    assert_int_equal(exchange.status, GRPC_C_OK);
    assert_int_equal(exchange.sent, EXCHANGED);
    assert_int_equal(exchange.received, EXCHANGED);
}

/* Goal: a server that is not there is an outcome, not a hang. */
static void test_no_server(void **state)
{
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    (void)state;
    assert_true(grpc_c_channel_new("127.0.0.1:1", NULL, &channel, &error));
    struct grpc_c_stream *stream = grpc_c_channel_open(channel, &methods[CHAT], NULL, NULL);
    assert_false(grpc_c_stream_write(stream, &request.base));
    assert_int_equal(grpc_c_stream_finish(stream, NULL), GRPC_C_UNAVAILABLE);
    grpc_c_stream_free(stream);
    grpc_c_channel_free(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_client_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_push_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_is_no_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_peer, setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(test_unwelcome_caller, setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(test_bad_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compression, setup, teardown),
        cmocka_unit_test_setup_teardown(test_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_server, setup, teardown),
    };

    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
