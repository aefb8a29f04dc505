/* The client of gRPC's interoperability test (github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md), over generated code.
 *
 *   interop_client PORT CASE
 *
 * Ends with 0 when the case went as described; otherwise with 1 and one line that says what did not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "grpc/testing/test.grpc.h"

typedef Grpc__Testing__SimpleRequest simple_request;
typedef Grpc__Testing__SimpleResponse simple_response;
typedef Grpc__Testing__StreamingOutputCallRequest output_request;
typedef Grpc__Testing__StreamingOutputCallResponse output_response;

enum { LARGE_REQUEST = 271828, LARGE_RESPONSE = 314159, DEADLINE_MS = 30000, SIZES = 4 };

/* Sizes that the description gives for streams. */
static const int32_t request_sizes[SIZES] = {27182, 8, 1828, 45904};
static const int32_t response_sizes[SIZES] = {31415, 9, 2653, 58979};

static uint8_t zeros[LARGE_REQUEST];

/* What must be true; the case ends here otherwise. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static const struct grpc_c_call_options patient = {.deadline_ms = DEADLINE_MS, .wait_for_ready = true};

static const char *metadata_value(
    const struct grpc_c_metadata *metadata, size_t count, const char *key, size_t *ret_size)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(metadata[i].key, key) == 0) {
            *ret_size = metadata[i].size;
            return metadata[i].value;
        }
    return NULL;
}

/* --- Unary -------------------------------------------------------------------------------------------------------- */

static void empty_unary(struct grpc_c_channel *channel)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    Grpc__Testing__Empty *response = NULL;

    EXPECT(grpc__testing__test_service__empty_call(channel, &request, &patient, &response, NULL) == GRPC_C_OK);
    grpc__testing__empty__free_unpacked(response, NULL);
}

/* A large request; what is to be compressed is said in it, and the response held against it. */
static enum grpc_c_status call_large(struct grpc_c_channel *channel, const struct grpc_c_call_options *options,
    const Grpc__Testing__BoolValue *expect, const Grpc__Testing__BoolValue *wanted, struct grpc_c_outcome *outcome)
{
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    simple_response *response = NULL;

    payload.body = (ProtobufCBinaryData){.data = zeros, .len = LARGE_REQUEST};
    request.response_size = LARGE_RESPONSE;
    request.payload = &payload;
    request.expect_compressed = (Grpc__Testing__BoolValue *)(uintptr_t)expect;
    request.response_compressed = (Grpc__Testing__BoolValue *)(uintptr_t)wanted;
    enum grpc_c_status status = grpc__testing__test_service__unary_call(channel, &request, options, &response, outcome);
    if (status == GRPC_C_OK) {
        EXPECT(response->payload->body.len == LARGE_RESPONSE);
        for (size_t i = 0; i < LARGE_RESPONSE; i++)
            EXPECT(response->payload->body.data[i] == 0);
        grpc__testing__simple_response__free_unpacked(response, NULL);
    }
    return status;
}

static void large_unary(struct grpc_c_channel *channel)
{
    EXPECT(call_large(channel, &patient, NULL, NULL, NULL) == GRPC_C_OK);
}

static void client_compressed_unary(struct grpc_c_channel *channel)
{
    Grpc__Testing__BoolValue yes = GRPC__TESTING__BOOL_VALUE__INIT;
    Grpc__Testing__BoolValue no = GRPC__TESTING__BOOL_VALUE__INIT;
    struct grpc_c_call_options compressed = patient;

    yes.value = 1;
    compressed.compress = true;
    EXPECT(call_large(channel, &patient, &yes, NULL, NULL) == GRPC_C_INVALID_ARGUMENT); /* the probe */
    EXPECT(call_large(channel, &compressed, &yes, NULL, NULL) == GRPC_C_OK);
    EXPECT(call_large(channel, &patient, &no, NULL, NULL) == GRPC_C_OK);
}

static void server_compressed_unary(struct grpc_c_channel *channel)
{
    Grpc__Testing__BoolValue wanted = GRPC__TESTING__BOOL_VALUE__INIT;

    for (wanted.value = 0; wanted.value <= 1; wanted.value++) {
        struct grpc_c_outcome outcome;
        EXPECT(call_large(channel, &patient, NULL, &wanted, &outcome) == GRPC_C_OK);
        EXPECT(outcome.was_compressed == (wanted.value != 0));
        grpc_c_outcome_release(&outcome);
    }
}

/* --- Streams ------------------------------------------------------------------------------------------------------ */

static bool send_input(struct grpc_c_stream *stream, int32_t size, const Grpc__Testing__BoolValue *expect)
{
    Grpc__Testing__StreamingInputCallRequest request = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body = (ProtobufCBinaryData){.data = zeros, .len = (size_t)size};
    request.payload = &payload;
    request.expect_compressed = (Grpc__Testing__BoolValue *)(uintptr_t)expect;
    return grpc__testing__test_service__streaming_input_call__send(stream, &request);
}

static void expect_sum(struct grpc_c_stream *stream, int32_t sum)
{
    Grpc__Testing__StreamingInputCallResponse *response = NULL;

    EXPECT(grpc__testing__test_service__streaming_input_call__finish(stream, &response, NULL) == GRPC_C_OK);
    EXPECT(response->aggregated_payload_size == sum);
    grpc__testing__streaming_input_call_response__free_unpacked(response, NULL);
    grpc_c_stream_free(stream);
}

static void client_streaming(struct grpc_c_channel *channel)
{
    struct grpc_c_stream *stream = grpc__testing__test_service__streaming_input_call__open(channel, &patient);

    for (size_t i = 0; i < SIZES; i++)
        EXPECT(send_input(stream, request_sizes[i], NULL));
    expect_sum(stream, 74922);
}

static void client_compressed_streaming(struct grpc_c_channel *channel)
{
    Grpc__Testing__BoolValue yes = GRPC__TESTING__BOOL_VALUE__INIT;
    Grpc__Testing__BoolValue no = GRPC__TESTING__BOOL_VALUE__INIT;
    struct grpc_c_call_options compressed = patient;
    Grpc__Testing__StreamingInputCallResponse *response = NULL;

    yes.value = 1;
    compressed.compress = true;
    struct grpc_c_stream *stream = grpc__testing__test_service__streaming_input_call__open(channel, &patient);
    send_input(stream, request_sizes[0], &yes); /* the probe */
    EXPECT(
        grpc__testing__test_service__streaming_input_call__finish(stream, &response, NULL) == GRPC_C_INVALID_ARGUMENT);
    grpc_c_stream_free(stream);
    stream = grpc__testing__test_service__streaming_input_call__open(channel, &compressed);
    EXPECT(send_input(stream, request_sizes[0], &yes));
    grpc_c_stream_set_compression(stream, false);
    EXPECT(send_input(stream, request_sizes[3], &no));
    expect_sum(stream, request_sizes[0] + request_sizes[3]);
}

/* Fills a request that asks for `count` responses. */
struct output {
    output_request request;
    Grpc__Testing__Payload payload;
    Grpc__Testing__ResponseParameters parameters[SIZES];
    Grpc__Testing__ResponseParameters *pointers[SIZES];
};

static void output_init(struct output *output, const int32_t *sizes, size_t count)
{
    *output = (struct output){
        .request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT, .payload = GRPC__TESTING__PAYLOAD__INIT};
    for (size_t i = 0; i < count; i++) {
        grpc__testing__response_parameters__init(&output->parameters[i]);
        output->parameters[i].size = sizes[i];
        output->pointers[i] = &output->parameters[i];
    }
    output->request.n_response_parameters = count;
    output->request.response_parameters = output->pointers;
}

static void expect_output(struct grpc_c_stream *stream, int32_t size)
{
    output_response *response = NULL;

    EXPECT(grpc__testing__test_service__streaming_output_call__next(stream, &response));
    EXPECT(response->payload->body.len == (size_t)size);
    grpc__testing__streaming_output_call_response__free_unpacked(response, NULL);
}

static void expect_end(struct grpc_c_stream *stream, enum grpc_c_status status)
{
    output_response *response = NULL;

    EXPECT(!grpc__testing__test_service__streaming_output_call__next(stream, &response));
    EXPECT(grpc_c_stream_finish(stream, NULL) == status);
    grpc_c_stream_free(stream);
}

static void server_streaming(struct grpc_c_channel *channel)
{
    struct output output;

    output_init(&output, response_sizes, SIZES);
    struct grpc_c_stream *stream =
        grpc__testing__test_service__streaming_output_call__open(channel, &output.request, &patient);
    for (size_t i = 0; i < SIZES; i++)
        expect_output(stream, response_sizes[i]);
    expect_end(stream, GRPC_C_OK);
}

static void server_compressed_streaming(struct grpc_c_channel *channel)
{
    Grpc__Testing__BoolValue yes = GRPC__TESTING__BOOL_VALUE__INIT;
    Grpc__Testing__BoolValue no = GRPC__TESTING__BOOL_VALUE__INIT;
    const int32_t sizes[] = {31415, 92653};
    struct grpc_c_outcome outcome;
    struct output output;

    yes.value = 1;
    output_init(&output, sizes, COUNT_OF(sizes));
    output.parameters[0].compressed = &no; /* the other way round than described: the outcome tells of the last one */
    output.parameters[1].compressed = &yes;
    struct grpc_c_stream *stream =
        grpc__testing__test_service__streaming_output_call__open(channel, &output.request, &patient);
    expect_output(stream, sizes[0]);
    expect_output(stream, sizes[1]);
    EXPECT(grpc_c_stream_finish(stream, &outcome) == GRPC_C_OK);
    EXPECT(outcome.was_compressed);
    grpc_c_outcome_release(&outcome);
    grpc_c_stream_free(stream);
}

static bool send_duplex(struct grpc_c_stream *stream, int32_t request_size, int32_t response_size)
{
    struct output output;

    output_init(&output, &response_size, 1);
    output.payload.body = (ProtobufCBinaryData){.data = zeros, .len = (size_t)request_size};
    output.request.payload = &output.payload;
    return grpc__testing__test_service__full_duplex_call__send(stream, &output.request);
}

static void ping_pong(struct grpc_c_channel *channel)
{
    struct grpc_c_stream *stream = grpc__testing__test_service__full_duplex_call__open(channel, &patient);

    for (size_t i = 0; i < SIZES; i++) {
        EXPECT(send_duplex(stream, request_sizes[i], response_sizes[i]));
        expect_output(stream, response_sizes[i]);
    }
    grpc_c_stream_close_sending(stream);
    expect_end(stream, GRPC_C_OK);
}

static void empty_stream(struct grpc_c_channel *channel)
{
    struct grpc_c_stream *stream = grpc__testing__test_service__full_duplex_call__open(channel, &patient);

    grpc_c_stream_close_sending(stream);
    expect_end(stream, GRPC_C_OK);
}

/* --- Metadata and status ------------------------------------------------------------------------------------------ */

static void expect_echoed(struct grpc_c_outcome *outcome)
{
    size_t size = 0;
    const char *value =
        metadata_value(outcome->initial_metadata, outcome->initial_metadata_count, "x-grpc-test-echo-initial", &size);

    EXPECT(value != NULL && strcmp(value, "test_initial_metadata_value") == 0);
    value = metadata_value(
        outcome->trailing_metadata, outcome->trailing_metadata_count, "x-grpc-test-echo-trailing-bin", &size);
    EXPECT(value != NULL && size == 3 && memcmp(value, "\xab\xab\xab", 3) == 0);
    grpc_c_outcome_release(outcome);
}

static void custom_metadata(struct grpc_c_channel *channel)
{
    static const struct grpc_c_metadata metadata[] = {
        {.key = "x-grpc-test-echo-initial", .value = "test_initial_metadata_value", .size = 27},
        {.key = "x-grpc-test-echo-trailing-bin", .value = "\xab\xab\xab", .size = 3}};
    struct grpc_c_call_options options = patient;
    struct grpc_c_outcome outcome;

    options.metadata = metadata;
    options.metadata_count = COUNT_OF(metadata);
    EXPECT(call_large(channel, &options, NULL, NULL, &outcome) == GRPC_C_OK);
    expect_echoed(&outcome);
    struct grpc_c_stream *stream = grpc__testing__test_service__full_duplex_call__open(channel, &options);
    EXPECT(send_duplex(stream, LARGE_REQUEST, LARGE_RESPONSE));
    expect_output(stream, LARGE_RESPONSE);
    EXPECT(grpc_c_stream_finish(stream, &outcome) == GRPC_C_OK);
    expect_echoed(&outcome);
    grpc_c_stream_free(stream);
}

static void expect_status(struct grpc_c_channel *channel, char *message, bool on_stream)
{
    Grpc__Testing__EchoStatus wanted = GRPC__TESTING__ECHO_STATUS__INIT;
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    simple_response *response = NULL;
    struct grpc_c_outcome outcome;

    wanted.code = GRPC_C_UNKNOWN;
    wanted.message = message;
    request.response_status = &wanted;
    EXPECT(grpc__testing__test_service__unary_call(channel, &request, &patient, &response, &outcome) == GRPC_C_UNKNOWN);
    EXPECT(strcmp(outcome.message, message) == 0);
    grpc_c_outcome_release(&outcome);
    if (!on_stream)
        return;
    output_request output = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    output.response_status = &wanted;
    struct grpc_c_stream *stream = grpc__testing__test_service__full_duplex_call__open(channel, &patient);
    EXPECT(grpc__testing__test_service__full_duplex_call__send(stream, &output));
    EXPECT(grpc_c_stream_finish(stream, &outcome) == GRPC_C_UNKNOWN);
    EXPECT(strcmp(outcome.message, message) == 0);
    grpc_c_outcome_release(&outcome);
    grpc_c_stream_free(stream);
}

static void status_code_and_message(struct grpc_c_channel *channel)
{
    char message[] = "test status message";

    expect_status(channel, message, true);
}

static void special_status_message(struct grpc_c_channel *channel)
{
    char message[] = "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n";

    expect_status(channel, message, false);
}

static void unimplemented_method(struct grpc_c_channel *channel)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    Grpc__Testing__Empty *response = NULL;

    EXPECT(grpc__testing__test_service__unimplemented_call(channel, &request, &patient, &response, NULL) ==
           GRPC_C_UNIMPLEMENTED);
}

static void unimplemented_service(struct grpc_c_channel *channel)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    Grpc__Testing__Empty *response = NULL;

    EXPECT(grpc__testing__unimplemented_service__unimplemented_call(channel, &request, &patient, &response, NULL) ==
           GRPC_C_UNIMPLEMENTED);
}

/* --- Ends before the end ------------------------------------------------------------------------------------------ */

static void cancel_after_begin(struct grpc_c_channel *channel)
{
    struct grpc_c_stream *stream = grpc__testing__test_service__streaming_input_call__open(channel, &patient);

    grpc_c_stream_cancel(stream);
    EXPECT(grpc_c_stream_finish(stream, NULL) == GRPC_C_CANCELLED);
    grpc_c_stream_free(stream);
}

static void cancel_after_first_response(struct grpc_c_channel *channel)
{
    struct grpc_c_stream *stream = grpc__testing__test_service__full_duplex_call__open(channel, &patient);

    EXPECT(send_duplex(stream, request_sizes[0], response_sizes[0]));
    expect_output(stream, response_sizes[0]);
    grpc_c_stream_cancel(stream);
    EXPECT(grpc_c_stream_finish(stream, NULL) == GRPC_C_CANCELLED);
    grpc_c_stream_free(stream);
}

static void timeout_on_sleeping_server(struct grpc_c_channel *channel)
{
    const struct grpc_c_call_options hasty = {.deadline_ms = 1};
    struct grpc_c_stream *stream = grpc__testing__test_service__full_duplex_call__open(channel, &hasty);
    output_response *response = NULL;

    send_duplex(stream, request_sizes[0], response_sizes[0]);
    /* Not half-closed: the server waits for more, until the time is up. */
    while (grpc__testing__test_service__full_duplex_call__next(stream, &response))
        grpc__testing__streaming_output_call_response__free_unpacked(response, NULL);
    EXPECT(grpc_c_stream_finish(stream, NULL) == GRPC_C_DEADLINE_EXCEEDED);
    grpc_c_stream_free(stream);
}

#define CASE(name)                                                                                                     \
    {                                                                                                                  \
#name, name                                                                                                    \
    }

static const struct {
    const char *name;
    void (*run)(struct grpc_c_channel *channel);
} cases[] = {CASE(empty_unary), CASE(large_unary), CASE(client_streaming), CASE(server_streaming), CASE(ping_pong),
    CASE(empty_stream), CASE(client_compressed_unary), CASE(server_compressed_unary), CASE(client_compressed_streaming),
    CASE(server_compressed_streaming), CASE(custom_metadata), CASE(status_code_and_message),
    CASE(special_status_message), CASE(unimplemented_method), CASE(unimplemented_service), CASE(cancel_after_begin),
    CASE(cancel_after_first_response), CASE(timeout_on_sleeping_server)};

int main(int argc, char **argv)
{
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};
    char target[64] = "";
    bool is_known = false;

    if (argc != 3) {
        fprintf(stderr, "usage: interop_client PORT CASE\n");
        return 2;
    }
    snprintf(target, sizeof(target), "127.0.0.1:%s", argv[1]);
    if (!grpc_c_channel_new(target, NULL, &channel, &error)) {
        fprintf(stderr, "interop_client: %s\n", error.text);
        return 1;
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (strcmp(cases[i].name, argv[2]) == 0) {
            cases[i].run(channel);
            is_known = true;
        }
    grpc_c_channel_free(channel);
    if (!is_known)
        fprintf(stderr, "interop_client: no case \"%s\"\n", argv[2]);
    return is_known ? 0 : 2;
}
