/* Goal: whatever a peer sends, one clear answer that names the thing; the server stays well and its observer is
 * told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "fixture.h"
#include "raw_call.h"

#define ECHO_PATH "/test.v1.EchoService/Echo"
#define BYTES(literal) .bytes = (literal), .size = sizeof(literal) - 1

static int setup(void **state)
{
    const struct grpc_c_server_options options = {
        .threads = 1, .message_size_max = 100000, .metadata_size_max = 1000, .depth_max = 3};

    *state = fixture_new(&options);
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

/* Makes the call and expects this refusal, from the runtime itself. */
static void assert_refused(
    struct fixture *fixture, const struct raw_call *call, enum grpc_c_status status, const char *message)
{
    size_t before = fixture_refusal_count(fixture);
    struct raw_result result = raw_call(fixture->port, call);

    assert_string_equal(result.message, message);
    assert_int_equal(result.status, status);
    assert_string_equal(result.pushback, status == GRPC_C_RESOURCE_EXHAUSTED ? "-1" : "");
    fixture_wait_refused(fixture, before + 1);
    assert_string_equal(fixture->refused_path, call->path);
    assert_string_equal(fixture->refused_message, message);
    assert_int_equal(fixture->refused_status, status);
    fixture_assert_well(fixture);
}

static void test_bad_messages(void **state)
{
    static const struct {
        const char *text;
        struct raw_call call;
    } cases[] = {
        {"text: contains a NUL byte", {.path = ECHO_PATH, BYTES("\x0a\x03z\x00z")}},
        {"text: is not valid UTF-8", {.path = ECHO_PATH, BYTES("\x0a\x02z\xff")}},
        {"text: ends in the middle", {.path = ECHO_PATH, BYTES("\x0a\x09z")}},
        {"leaves[1].name: is not valid UTF-8", {.path = ECHO_PATH, BYTES("\x1a\x00\x1a\x03\x0a\x01\xff")}},
        {"tree.child.child: is nested too deep", {.path = ECHO_PATH, BYTES("\x22\x04\x0a\x02\x0a\x00")}},
        {"the call carries no whole request message", {.path = ECHO_PATH}},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_refused(*state, &cases[i].call, GRPC_C_INVALID_ARGUMENT, cases[i].text);
}

/* Goal: a message over the bound never reaches a handler; the answer names both sizes. */
static void test_oversize_message(void **state)
{
    struct fixture *fixture = *state;
    char *bytes = memory_new(100001);

    struct raw_call call = {.path = ECHO_PATH, .bytes = bytes, .size = 100001, .deadline_ms = 25000};
    struct raw_result result = raw_call(fixture->port, &call);
    assert_int_equal(result.status, GRPC_C_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(result.message, "100001"));
    assert_non_null(strstr(result.message, "100000"));
    fixture_assert_well(fixture);
    free(bytes);
}

/* Goal: the bound itself is allowed. */
static void test_largest_message(void **state)
{
    struct fixture *fixture = *state;
    char *bytes = memory_new(100000);

    memcpy(bytes, "\x12\x9c\x8d\x06", 4); /* payload, 99,996 bytes long */
    struct raw_call call = {.path = ECHO_PATH, .bytes = bytes, .size = 100000, .deadline_ms = 25000};
    struct raw_result result = raw_call(fixture->port, &call);
    assert_string_equal(result.message, "");
    assert_int_equal(result.status, GRPC_C_OK);
    free(bytes);
}

/* Goal: a small message that would be large in memory is refused before it is. */
static void test_memory(void **state)
{
    char *bytes = memory_new(100000);

    for (size_t i = 0; i < 100000; i += 2)
        bytes[i] = 0x1a; /* an empty leaf */
    struct raw_call call = {.path = ECHO_PATH, .bytes = bytes, .size = 100000};
    size_t before = fixture_refusal_count(*state);
    struct raw_result result = raw_call(((struct fixture *)*state)->port, &call);
    assert_int_equal(result.status, GRPC_C_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(result.message, "takes too much memory once unpacked"));
    fixture_wait_refused(*state, before + 1);
    free(bytes);
}

/* Goal: our own check of metadata: the core's is not reliable. */
static void test_oversize_metadata(void **state)
{
    struct fixture *fixture = *state;
    char value[2000];

    memset(value, 'v', sizeof(value));
    const struct grpc_c_metadata metadata = {.key = "x-large", .value = value, .size = sizeof(value)};
    struct raw_call call = {.path = ECHO_PATH, BYTES(""), .metadata = &metadata, .metadata_count = 1};
    struct raw_result result = raw_call(fixture->port, &call);
    assert_int_equal(result.status, GRPC_C_RESOURCE_EXHAUSTED);
    assert_memory_equal(result.message, "the request's metadata has 2", 28);
    assert_non_null(strstr(result.message, " bytes, the bound is 1000"));
    assert_string_equal(result.pushback, "-1");
    fixture_wait_refused(fixture, 1);
    fixture_assert_well(fixture);
}

static void test_unknown_methods(void **state)
{
    static const char *const paths[] = {"/test.v1.EchoService/Nothing", "/test.v1.Nothing/Echo", "/", "/x"};

    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct raw_call call = {.path = paths[i], BYTES("")};
        assert_refused(*state, &call, GRPC_C_UNIMPLEMENTED, "unknown method");
    }
}

static void untyped_told(const ProtobufCMessage *response, const struct grpc_c_outcome *outcome, void *user)
{
    waiter_told((const Test__V1__EchoResponse *)response, outcome, user);
}

/* Goal: more unknown methods at once than are armed, none left unanswered. */
static void test_flood_of_unknown_methods(void **state)
{
    enum { CALLS = 200 };
    const struct grpc_c_method unknown = {.name = "Nothing",
        .path = "/test.v1.EchoService/Nothing",
        .request = &test__v1__echo_request__descriptor,
        .response = &test__v1__echo_response__descriptor};
    struct fixture *fixture = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    struct waiter waiter = WAITER_INIT;

    for (size_t i = 0; i < CALLS; i++)
        grpc_c_channel_call_async(fixture->channel, &unknown, &request.base, &patient, untyped_told, &waiter, NULL);
    waiter_wait(&waiter, CALLS);
    assert_int_equal(waiter.ok_count, 0);
    assert_int_equal(waiter.status, GRPC_C_UNIMPLEMENTED);
    fixture_wait_refused(fixture, CALLS);
    assert_int_equal(fixture_refusal_count(fixture), CALLS);
}

static void test_absent_handler(void **state)
{
    struct raw_call call = {.path = "/test.v1.EchoService/Absent", BYTES("")};

    assert_refused(*state, &call, GRPC_C_UNIMPLEMENTED, "not implemented: /test.v1.EchoService/Absent");
}

/* Goal: a compressed request is taken, one that would inflate beyond the bound is refused before it has. */
static void test_compressed_message(void **state)
{
    enum { SIZE = 50000, BOMB_SIZE = 20000000 };
    struct fixture *fixture = *state;
    char *bytes = memory_new(BOMB_SIZE);

    memcpy(bytes, "\x12\xcc\x86\x03", 4); /* payload, 49,996 bytes long: worth compressing */
    struct raw_call call = {
        .path = ECHO_PATH, .bytes = bytes, .size = SIZE, .deadline_ms = 25000, .is_compressed = true};
    struct raw_result result = raw_call(fixture->port, &call);
    assert_int_equal(result.status, GRPC_C_OK);
    call.size = BOMB_SIZE; /* 20 KiB on the wire */
    assert_refused(fixture, &call, GRPC_C_RESOURCE_EXHAUSTED, "the request has more than 100000 bytes, the bound");
    fixture_assert_well(fixture);
    free(bytes);
}

/* Goal: a peer that does not speak HTTP/2, or stops in the middle of it, harms nobody. */
static void test_other_protocols(void **state)
{
    static const char *const greetings[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x01\x01\xff",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "PRI * HT", ""};
    struct fixture *fixture = *state;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)fixture->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    for (size_t i = 0; i < COUNT_OF(greetings); i++) {
        int descriptor = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(descriptor, (const struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(send(descriptor, greetings[i], strlen(greetings[i]), 0), strlen(greetings[i]));
        fixture_assert_well(fixture);
        close(descriptor);
    }
    fixture_assert_well(fixture);
}

/* --- What the client is given ------------------------------------------------------------------------------------- */

/* Goal: a response over the client's bound. */
static void test_oversize_response(void **state)
{
    const struct grpc_c_channel_options options = {.message_size_max = 100};
    struct fixture *fixture = *state;
    struct grpc_c_channel *channel = NULL;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    uint8_t payload[500] = {0};

    request.payload = (ProtobufCBinaryData){.len = sizeof(payload), .data = payload};
    assert_true(grpc_c_channel_new(fixture->target, &options, &channel, NULL));
    assert_int_equal(
        test__v1__echo_service__echo(channel, &request, &patient, &response, NULL), GRPC_C_RESOURCE_EXHAUSTED);
    assert_null(response);
    grpc_c_channel_free(channel);
}

/* Goal: a response is looked at as closely as a request; protobuf-c would hand the text on as it is. */
static void test_bad_response(void **state)
{
    struct fixture *fixture = *state;
    char bad[] = "\xff";
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse answer = TEST__V1__ECHO_RESPONSE__INIT;
    struct waiter waiter = WAITER_INIT;

    answer.text = bad;
    test__v1__echo_service__hold__async(fixture->channel, &request, &patient, waiter_told, &waiter, NULL);
    fixture_wait_held(fixture, 1);
    test__v1__echo_service__hold__reply(fixture->held[0].call, &answer);
    waiter_wait(&waiter, 1);
    assert_int_equal(waiter.status, GRPC_C_INTERNAL);
    assert_string_equal(waiter.text, "the server's response: text: is not valid UTF-8");
}

/* Goal: metadata that HTTP/2 cannot carry fails the call, in either style, and is never sent. */
static void test_illegal_metadata(void **state)
{
    static const struct grpc_c_metadata cases[] = {{"X-Upper", "v", 1}, {"x-newline", "a\nb", 3},
        {"x-latin", "\xe4", 1}, {"", "v", 1}, {"x y", "v", 1},
        {"x-long", "long enough to have memory of its own\n", 38}};
    struct fixture *fixture = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    struct waiter waiter = WAITER_INIT;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct grpc_c_call_options options = {.compress = i % 2 == 1, .metadata = &cases[i], .metadata_count = 1};
        struct grpc_c_outcome outcome = {0};
        assert_int_equal(test__v1__echo_service__echo(fixture->channel, &request, &options, &response, &outcome),
            GRPC_C_INVALID_ARGUMENT);
        assert_string_equal(outcome.message, "the request's metadata has a key or a value that cannot be sent");
        grpc_c_outcome_release(&outcome);
        test__v1__echo_service__echo__async(fixture->channel, &request, &options, waiter_told, &waiter, NULL);
        waiter_wait(&waiter, i + 1);
        assert_int_equal(waiter.status, GRPC_C_INVALID_ARGUMENT);
    }
    fixture_assert_well(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize_metadata, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_unknown_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent_handler, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressed_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_protocols, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize_response, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_response, setup, teardown),
        cmocka_unit_test_setup_teardown(test_illegal_metadata, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
