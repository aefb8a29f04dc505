/* Goal: unary calls, blocking and with a callback, carry messages, metadata, status and deadlines both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "fixture.h"
#include "raw_call.h"

enum { DEADLINE_DEFAULT_MS = 20000, DEADLINE_MAX_MS = 40000 };

static int setup(void **state)
{
    const struct grpc_c_server_options options = {
        .threads = 2, .deadline_default_ms = DEADLINE_DEFAULT_MS, .deadline_max_ms = DEADLINE_MAX_MS};

    *state = fixture_new(&options);
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

static void test_echo(void **state)
{
    struct fixture *fixture = *state;
    char text[] = "gr\xc3\xbc\xc3\x9f dich";
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};

    request.text = text;
    assert_int_equal(
        test__v1__echo_service__echo(fixture->channel, &request, &patient, &response, &outcome), GRPC_C_OK);
    assert_string_equal(response->text, text);
    assert_int_equal(outcome.status, GRPC_C_OK);
    assert_string_equal(outcome.message, "");
    grpc_c_outcome_release(&outcome);
    test__v1__echo_response__free_unpacked(response, NULL);
}

/* Goal: without options and without interest in the outcome. */
static void test_echo_with_defaults(void **state)
{
    struct fixture *fixture = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;

    assert_int_equal(test__v1__echo_service__echo(fixture->channel, &request, NULL, &response, NULL), GRPC_C_OK);
    assert_in_range(response->deadline_ms, 1, 5100); /* the core rounds up */
    test__v1__echo_response__free_unpacked(response, NULL);
}

/* Goal: megabytes, which come in many frames and slices, arrive whole. */
static void test_large_message(void **state)
{
    enum { SIZE = 4 * 1024 * 1024 - 64 };
    struct fixture *fixture = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    uint8_t *payload = memory_new(SIZE);

    for (size_t i = 0; i < SIZE; i++)
        payload[i] = (uint8_t)(i * 2654435761U >> 24);
    request.payload = (ProtobufCBinaryData){.len = SIZE, .data = payload};
    assert_int_equal(test__v1__echo_service__echo(fixture->channel, &request, &patient, &response, NULL), GRPC_C_OK);
    assert_int_equal(response->payload.len, SIZE);
    assert_memory_equal(response->payload.data, payload, SIZE);
    test__v1__echo_response__free_unpacked(response, NULL);
    free(payload);
}

/* Goal: 64 calls at once, ten times, each with its own answer. */
static void test_many_at_once(void **state)
{
    enum { CALLS = 64, ROUNDS = 10 };
    struct fixture *fixture = *state;
    struct waiter waiters[CALLS];
    char texts[CALLS][16];

    for (size_t i = 0; i < CALLS; i++) {
        waiters[i] = (struct waiter)WAITER_INIT;
        snprintf(texts[i], sizeof(texts[i]), "call %zu", i);
    }
    for (size_t round = 1; round <= ROUNDS; round++) {
        for (size_t i = 0; i < CALLS; i++) {
            Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
            request.text = texts[i];
            test__v1__echo_service__echo__async(fixture->channel, &request, &patient, waiter_told, &waiters[i], NULL);
        }
        for (size_t i = 0; i < CALLS; i++) {
            waiter_wait(&waiters[i], round);
            assert_int_equal(waiters[i].status, GRPC_C_OK);
            assert_string_equal(waiters[i].text, texts[i]);
        }
    }
}

struct caller {
    pthread_t thread;
    struct fixture *fixture;
    size_t ok_count;
};

static void *call_again_and_again(void *argument)
{
    enum { CALLS = 50 };
    struct caller *caller = argument;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    for (size_t i = 0; i < CALLS; i++) {
        Test__V1__EchoResponse *response = NULL;
        if (test__v1__echo_service__echo(caller->fixture->channel, &request, &patient, &response, NULL) == GRPC_C_OK) {
            caller->ok_count++;
            test__v1__echo_response__free_unpacked(response, NULL);
        }
    }
    return NULL;
}

/* Goal: blocking calls of many threads over one channel. */
static void test_blocking_threads(void **state)
{
    struct caller callers[8];

    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        callers[i] = (struct caller){.fixture = *state};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_again_and_again, &callers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].ok_count, 50);
    }
}

/* Goal: handlers keep calls, more than are armed, and another thread answers them later, the last first. */
static void test_answer_later(void **state)
{
    enum { CALLS = 200 };
    struct fixture *fixture = *state;
    struct waiter waiter = WAITER_INIT;
    char text[] = "later";

    for (size_t i = 0; i < CALLS; i++)
        fixture_hold(fixture, text, 25000, &waiter, NULL);
    fixture_wait_held(fixture, CALLS);
    assert_int_equal(grpc_c_server_call_count(fixture->server), CALLS);
    pthread_mutex_lock(&waiter.lock);
    size_t told = waiter.count;
    pthread_mutex_unlock(&waiter.lock);
    assert_int_equal(told, 0);
    for (size_t i = CALLS; i > 0; i--)
        fixture_answer(fixture, i - 1);
    waiter_wait(&waiter, CALLS);
    assert_int_equal(waiter.ok_count, CALLS);
    assert_int_equal(fixture->cancel_count, 0);
}

/* Answers every fourth held call, from `first` on. */
struct answerer {
    pthread_t thread;
    struct fixture *fixture;
    size_t first;
    size_t count;
};

enum { ANSWERERS = 4 };

static void *answer_some(void *argument)
{
    struct answerer *answerer = argument;

    for (size_t i = answerer->first; i < answerer->count; i += ANSWERERS)
        fixture_answer(answerer->fixture, i);
    return NULL;
}

/* Goal: several threads answer at the same time, while the queue's thread is at work on other calls; every call gets its answer, and
 * none is left behind. */
static void test_answer_at_once(void **state)
{
    enum { CALLS = 256, TURNS = 20 };
    struct answerer answerers[ANSWERERS];
    char text[] = "at once";

    for (size_t turn = 0; turn < TURNS; turn++) {
        struct fixture *fixture = *state;
        struct waiter waiter = WAITER_INIT;
        for (size_t i = 0; i < CALLS; i++)
            fixture_hold(fixture, text, 25000, &waiter, NULL);
        fixture_wait_held(fixture, CALLS);
        for (size_t i = 0; i < ANSWERERS; i++) {
            answerers[i] = (struct answerer){.fixture = fixture, .first = i, .count = CALLS};
            assert_int_equal(pthread_create(&answerers[i].thread, NULL, answer_some, &answerers[i]), 0);
        }
        for (size_t i = 0; i < ANSWERERS; i++)
            pthread_join(answerers[i].thread, NULL);
        waiter_wait(&waiter, CALLS);
        assert_int_equal(waiter.ok_count, CALLS);
        assert_string_equal(waiter.text, text);
        fixture_wait_idle(fixture);
        pthread_mutex_lock(&fixture->lock);
        fixture->held_count = 0;
        pthread_mutex_unlock(&fixture->lock);
    }
}

/* --- Status and metadata ------------------------------------------------------------------------------------------ */

/* Goal: every status, and messages of any UTF-8: what HTTP/2 cannot carry as it is comes whole all the same. */
static void test_status_and_message(void **state)
{
    static const char *const messages[] = {"", "plain",
        "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and "
        "non-BMP \xf0\x9f\x98\x88\t\n",
        "100% \"quoted\" %20"};
    struct fixture *fixture = *state;

    for (int status = GRPC_C_CANCELLED; status <= GRPC_C_UNAUTHENTICATED; status++) {
        for (size_t i = 0; i < COUNT_OF(messages); i++) {
            char *message = memory_copy_string(messages[i]);
            Test__V1__FailRequest request = TEST__V1__FAIL_REQUEST__INIT;
            Test__V1__EchoResponse *response = NULL;
            struct grpc_c_outcome outcome = {0};

            request.status = status;
            request.message = message;
            assert_int_equal(
                test__v1__echo_service__fail(fixture->channel, &request, &patient, &response, &outcome), status);
            assert_int_equal(outcome.status, status);
            assert_string_equal(outcome.message, message);
            assert_null(response);
            grpc_c_outcome_release(&outcome);
            free(message);
        }
    }
}

static const struct grpc_c_metadata *find(const struct grpc_c_metadata *metadata, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(metadata[i].key, key) == 0)
            return &metadata[i];
    return NULL;
}

static void test_metadata(void **state)
{
    static const char data[] = {0, 1, '\n', (char)0xff, 0};
    const struct grpc_c_metadata sent[] = {{"x-text", "a b~", 4}, {"x-data-bin", data, sizeof(data)}};
    const struct grpc_c_call_options options = {
        .deadline_ms = 25000, .wait_for_ready = true, .metadata = sent, .metadata_count = COUNT_OF(sent)};
    struct fixture *fixture = *state;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};

    assert_int_equal(
        test__v1__echo_service__reflect(fixture->channel, &request, &options, &response, &outcome), GRPC_C_OK);
    const struct grpc_c_metadata *text = find(outcome.initial_metadata, outcome.initial_metadata_count, "x-text-back");
    const struct grpc_c_metadata *back =
        find(outcome.trailing_metadata, outcome.trailing_metadata_count, "x-data-back-bin");
    assert_non_null(text);
    assert_int_equal(text->size, 4);
    assert_string_equal(text->value, "a b~");
    assert_non_null(back);
    assert_int_equal(back->size, sizeof(data));
    assert_memory_equal(back->value, data, sizeof(data));
    assert_non_null(find(outcome.trailing_metadata, outcome.trailing_metadata_count, "x-absent"));
    assert_memory_equal(response->text, "/test.v1.EchoService/Reflect ipv4:127.0.0.1:", 44);
    grpc_c_outcome_release(&outcome);
    test__v1__echo_response__free_unpacked(response, NULL);
}

/* --- Deadlines and connections ------------------------------------------------------------------------------------ */

/* What the handler saw of this wish, in ms. */
static int64_t seen_deadline_ms(struct fixture *fixture, int64_t wished_ms)
{
    const struct grpc_c_call_options options = {.deadline_ms = wished_ms, .wait_for_ready = true};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;

    assert_int_equal(test__v1__echo_service__echo(fixture->channel, &request, &options, &response, NULL), GRPC_C_OK);
    int64_t seen_ms = response->deadline_ms;
    test__v1__echo_response__free_unpacked(response, NULL);
    return seen_ms;
}

/* Goal: the handler sees the caller's deadline, or the maximum; who wants to wait for ever sends none and gets the
 * default. */
static void test_deadline_of_caller(void **state)
{
    assert_in_range(seen_deadline_ms(*state, 30000), DEADLINE_DEFAULT_MS + 1, 31000); /* the core rounds up */
    assert_in_range(seen_deadline_ms(*state, 3600000), 30000, DEADLINE_MAX_MS);
    assert_in_range(seen_deadline_ms(*state, INT64_MAX), 1, DEADLINE_DEFAULT_MS);
}

/* Goal: a call that names no deadline has the default. */
static void test_deadline_default(void **state)
{
    struct fixture *fixture = *state;
    const struct raw_call call = {.path = "/test.v1.EchoService/Echo", .bytes = "", .size = 0};
    struct raw_result result = raw_call(fixture->port, &call);

    assert_int_equal(result.status, GRPC_C_OK);
    pthread_mutex_lock(&fixture->lock);
    int64_t deadline_ms = fixture->echo_deadline_ms;
    pthread_mutex_unlock(&fixture->lock);
    assert_in_range(deadline_ms, DEADLINE_DEFAULT_MS - 15000, DEADLINE_DEFAULT_MS);
}

/* Goal: a port where nobody listens: UNAVAILABLE at once, or at the deadline for those who wait. */
static void test_nobody_listens(void **state)
{
    const struct grpc_c_call_options at_once = {.deadline_ms = 25000};
    const struct grpc_c_call_options waiting = {.deadline_ms = 200, .wait_for_ready = true};
    struct grpc_c_channel *channel = NULL;
    struct grpc_c_outcome outcome = {0};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    int64_t start_ns = clock_now_ns();

    (void)state;
    assert_true(grpc_c_channel_new("127.0.0.1:1", NULL, &channel, NULL)); /* port of tcpmux */
    assert_int_equal(
        test__v1__echo_service__echo(channel, &request, &at_once, &response, &outcome), GRPC_C_UNAVAILABLE);
    assert_true(outcome.message[0] != '\0');
    grpc_c_outcome_release(&outcome);
    assert_true(clock_now_ns() - start_ns < INT64_C(20000000000));
    assert_int_equal(
        test__v1__echo_service__echo(channel, &request, &waiting, &response, NULL), GRPC_C_DEADLINE_EXCEEDED);
    assert_null(response);
    grpc_c_channel_free(channel);
}

/* Goal: a call that waits for the connection finds the server that comes later. */
static void test_server_comes_later(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter = WAITER_INIT;
    char text[] = "early";
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    grpc_c_server_stop(fixture->server, 0);
    grpc_c_server_free(fixture->server);
    request.text = text;
    test__v1__echo_service__echo__async(fixture->channel, &request, &patient, waiter_told, &waiter, NULL);
    fixture_serve(fixture, NULL, fixture->target);
    waiter_wait(&waiter, 1);
    assert_string_equal(waiter.text, "early");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_echo, setup, teardown),
        cmocka_unit_test_setup_teardown(test_echo_with_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocking_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_and_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metadata, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_of_caller, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_default, setup, teardown),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test_setup_teardown(test_server_comes_later, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
