/* Goal: a server starts where it may, and stops without losing an answer that comes in time. */
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

static char text[] = "text";

static int setup(void **state)
{
    const struct grpc_c_server_options options = {.threads = 2};

    *state = fixture_new(&options);
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

/* --- Stopping ----------------------------------------------------------------------------------------------------- */

struct stopper {
    pthread_t thread;
    struct fixture *fixture;
    int64_t grace_ms;
    size_t is_done; /* under the fixture's lock */
};

static void *stop(void *argument)
{
    struct stopper *stopper = argument;
    struct fixture *fixture = stopper->fixture;

    grpc_c_server_stop(fixture->server, stopper->grace_ms);
    pthread_mutex_lock(&fixture->lock);
    stopper->is_done = 1;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
    return NULL;
}

static void start_stopping(struct stopper *stopper)
{
    assert_int_equal(pthread_create(&stopper->thread, NULL, stop, stopper), 0);
}

static void wait_stopped(struct stopper *stopper)
{
    wait_for(&stopper->fixture->lock, &stopper->fixture->changed, &stopper->is_done, 1);
    pthread_join(stopper->thread, NULL);
}

/* Returns once the server takes no new calls. */
static void wait_until_refusing(struct fixture *fixture)
{
    const struct grpc_c_call_options options = {.deadline_ms = 25000};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    int64_t deadline_ns = clock_after_ms(WAIT_S * 1000);
    enum grpc_c_status status = GRPC_C_OK;

    while (status == GRPC_C_OK) {
        Test__V1__EchoResponse *response = NULL;
        assert_true(clock_now_ns() < deadline_ns);
        status = test__v1__echo_service__echo(fixture->channel, &request, &options, &response, NULL);
        if (status == GRPC_C_OK)
            test__v1__echo_response__free_unpacked(response, NULL);
    }
    assert_int_equal(status, GRPC_C_UNAVAILABLE);
}

/* Goal: calls in flight when the server stops are answered within the grace, new ones refused; stop waits for the
 * answers. */
static void test_answered_within_grace(void **state)
{
    enum { CALLS = 10 };
    struct fixture *fixture = *state;
    struct stopper stopper = {.fixture = fixture, .grace_ms = 1000 * WAIT_S};
    struct waiter waiter = WAITER_INIT;

    for (size_t i = 0; i < CALLS; i++)
        fixture_hold(fixture, text, 25000, &waiter, NULL);
    fixture_wait_held(fixture, CALLS);
    start_stopping(&stopper);
    wait_until_refusing(fixture);
    fixture_wait_refused(fixture, 1);
    assert_string_equal(fixture->refused_message, "the server is stopping");
    assert_int_equal(stopper.is_done, 0);
    for (size_t i = 0; i < CALLS; i++)
        fixture_answer(fixture, i);
    waiter_wait(&waiter, CALLS);
    wait_stopped(&stopper);
    assert_int_equal(waiter.ok_count, CALLS);
    assert_int_equal(fixture->cancel_count, 0);
    assert_int_equal(grpc_c_server_call_count(fixture->server), 0);
}

/* Goal: what is not answered within the grace is cancelled; stop still waits until the handlers have let go of it. */
static void test_cancelled_after_grace(void **state)
{
    struct fixture *fixture = *state;
    struct stopper stopper = {.fixture = fixture, .grace_ms = 10};
    struct waiter waiter = WAITER_INIT;

    fixture_hold(fixture, text, 25000, &waiter, NULL);
    fixture_hold(fixture, text, 25000, &waiter, NULL);
    fixture_wait_held(fixture, 2);
    start_stopping(&stopper);
    waiter_wait(&waiter, 2);
    assert_int_equal(waiter.ok_count, 0);
    fixture_wait_cancelled(fixture, 2);
    assert_int_equal(stopper.is_done, 0);
    fixture_answer(fixture, 1);
    assert_int_equal(stopper.is_done, 0);
    fixture_answer(fixture, 0);
    wait_stopped(&stopper);
    assert_int_equal(fixture->cancel_count, 2);
}

/* Goal: an idle server with clients that stay connected stops at once, whatever the grace. */
static void test_idle(void **state)
{
    struct fixture *fixture = *state;
    int64_t start_ns = clock_now_ns();

    fixture_assert_well(fixture);
    grpc_c_server_stop(fixture->server, 1000 * WAIT_S);
    assert_true(clock_now_ns() - start_ns < INT64_C(20000000000));
}

/* Goal: stopping under load loses nothing: each call that a handler took is answered, the others are refused. */
static void test_under_load(void **state)
{
    enum { CALLS = 400 };
    struct fixture *fixture = *state;
    struct stopper stopper = {.fixture = fixture, .grace_ms = 1000 * WAIT_S};
    const struct grpc_c_call_options options = {.deadline_ms = 25000};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    struct waiter waiter = WAITER_INIT;

    fixture_assert_well(fixture);
    for (size_t i = 0; i < CALLS; i++) {
        if (i == CALLS / 2)
            start_stopping(&stopper);
        test__v1__echo_service__echo__async(fixture->channel, &request, &options, waiter_told, &waiter, NULL);
    }
    waiter_wait(&waiter, CALLS);
    wait_stopped(&stopper);
    assert_int_equal(waiter.count, CALLS);
    assert_int_equal(waiter.ok_count + waiter.refused_count, CALLS);
    pthread_mutex_lock(&fixture->lock);
    size_t echo_count = fixture->echo_count;
    pthread_mutex_unlock(&fixture->lock);
    assert_int_equal(waiter.ok_count + 1, echo_count);
}

/* --- Bounds ------------------------------------------------------------------------------------------------------- */

/* Goal: more calls than the server will hold are refused at once, with push-back, and taken again when there is
 * room. */
static void test_calls_max(void **state)
{
    const struct grpc_c_server_options options = {.threads = 2, .calls_max = 5};
    struct fixture *fixture = fixture_new(&options);
    const struct raw_call call = {.path = "/test.v1.EchoService/Echo", .bytes = "", .size = 0};
    struct waiter waiter = WAITER_INIT;

    (void)state;
    for (size_t i = 0; i < 5; i++)
        fixture_hold(fixture, text, 25000, &waiter, NULL);
    fixture_wait_held(fixture, 5);
    struct raw_result result = raw_call(fixture->port, &call);
    assert_int_equal(result.status, GRPC_C_RESOURCE_EXHAUSTED);
    assert_string_equal(result.message, "the server has 5 calls in flight, the bound");
    assert_string_equal(result.pushback, "100");
    for (size_t i = 0; i < 5; i++)
        fixture_answer(fixture, i);
    waiter_wait(&waiter, 5);
    assert_int_equal(waiter.ok_count, 5);
    fixture_wait_idle(fixture);
    fixture_assert_well(fixture);
    fixture_free(fixture);
}

/* --- Listening ---------------------------------------------------------------------------------------------------- */

/* Goal: a port that another server has is refused by name, not shared; it is free again afterwards. */
static void test_port_taken(void **state)
{
    struct fixture *fixture = *state;
    struct grpc_c_server *second = grpc_c_server_new(NULL);
    struct error error = {0};
    char message[128] = "";
    int port = -1;

    snprintf(message, sizeof(message), "%s is in use", fixture->target);
    assert_false(grpc_c_server_listen(second, fixture->target, &port, &error));
    assert_int_equal(error.code, ERROR_EXISTS);
    assert_string_equal(error.text, message);
    assert_int_equal(port, -1);
    grpc_c_server_free(second);
    grpc_c_server_stop(fixture->server, 0);
    grpc_c_server_free(fixture->server);
    fixture_serve(fixture, NULL, fixture->target);
    fixture_assert_well(fixture);
}

/* Goal: plain text stays on this machine. */
static void test_addresses_refused(void **state)
{
    static const struct {
        const char *address;
        const char *text;
    } cases[] = {
        {"0.0.0.0:1", "is not a loopback address"},
        {"[::]:1", "is not a loopback address"},
        {"192.168.1.1:1", "is not a loopback address"},
        {"128.0.0.1:1", "is not a loopback address"},
        {"[::ffff:10.0.0.1]:1", "is not a loopback address"},
        {"example.com:1", "is not a loopback address"},
        {"localhost.example.com:1", "is not a loopback address"},
        {"127.0.0.1.example.com:1", "is not a loopback address"},
        {"127.1:1", "is not a loopback address"},
        {"unix:/tmp/x:1", "is not a loopback address"},
        {"::1:1", "is not a loopback address"},
        {"ipv4:127.0.0.1:1", "is not a loopback address"},
        {"127.0.0.1", "is not an address of the form host:port"},
        {"", "is not an address of the form host:port"},
        {":1", "is not an address of the form host:port"},
        {"127.0.0.1:", "has no port between 0 and 65535"},
        {"127.0.0.1:65536", "has no port between 0 and 65535"},
        {"127.0.0.1:-1", "has no port between 0 and 65535"},
        {"127.0.0.1: 1", "has no port between 0 and 65535"},
        {"127.0.0.1:1x", "has no port between 0 and 65535"},
        {"127.0.0.1:99999999999999999999", "has no port between 0 and 65535"},
    };
    struct grpc_c_server *server = grpc_c_server_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct grpc_c_channel *channel = NULL;
        struct error error = {0};
        assert_false(grpc_c_server_listen(server, cases[i].address, NULL, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.text, cases[i].text));
        assert_non_null(strstr(error.text, cases[i].address));
        error = (struct error){0};
        assert_false(grpc_c_channel_new(cases[i].address, NULL, &channel, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_null(channel);
    }
    grpc_c_server_free(server);
}

/* Goal: the addresses that are allowed, several for one server. */
static void test_addresses_taken(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:0", "127.1.2.3:0", "localhost:0"};
    struct fixture *fixture = memory_new(sizeof(*fixture));
    struct error error = {0};
    int ports[COUNT_OF(addresses)] = {0};

    (void)state;
    fixture->server = grpc_c_server_new(NULL);
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        assert_true(grpc_c_server_listen(fixture->server, addresses[i], &ports[i], &error));
        assert_in_range(ports[i], 1, 65535);
    }
    assert_true(grpc_c_server_start(fixture->server, &error));
    const struct raw_call call = {.path = "/x", .bytes = "", .size = 0, .deadline_ms = 25000};
    assert_int_equal(raw_call(ports[0], &call).status, GRPC_C_UNIMPLEMENTED);
    assert_int_equal(raw_call(ports[2], &call).status, GRPC_C_UNIMPLEMENTED);
    grpc_c_server_free(fixture->server);
    free(fixture);
}

/* Goal: a server is freed at every stage of its life. */
static void test_freed_early(void **state)
{
    struct error error = {0};
    int port = 0;

    (void)state;
    grpc_c_server_free(NULL);
    grpc_c_server_free(grpc_c_server_new(NULL));
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    assert_true(grpc_c_server_listen(server, "127.0.0.1:0", &port, &error));
    grpc_c_server_free(server);
    server = grpc_c_server_new(NULL);
    assert_true(grpc_c_server_start(server, &error));
    grpc_c_server_free(server);
    grpc_c_channel_free(NULL);
    grpc_c_pending_unref(NULL);
    grpc_c_outcome_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answered_within_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_after_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_under_load, setup, teardown),
        cmocka_unit_test(test_calls_max),
        cmocka_unit_test_setup_teardown(test_port_taken, setup, teardown),
        cmocka_unit_test(test_addresses_refused),
        cmocka_unit_test(test_addresses_taken),
        cmocka_unit_test(test_freed_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
