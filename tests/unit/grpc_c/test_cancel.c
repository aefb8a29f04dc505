/* Goal: a call that ends early, from whichever end, ends for both, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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

/* Goal: the client cancels: its callback and the server's on_cancel come, each once; the late answer goes nowhere. */
static void test_client_cancels(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter = WAITER_INIT;
    struct grpc_c_pending *pending = NULL;

    fixture_hold(fixture, text, 25000, &waiter, &pending);
    fixture_wait_held(fixture, 1);
    assert_false(grpc_c_call_is_cancelled(fixture->held[0].call));
    grpc_c_pending_cancel(pending);
    waiter_wait(&waiter, 1);
    assert_int_equal(waiter.status, GRPC_C_CANCELLED);
    fixture_wait_cancelled(fixture, 1);
    assert_true(grpc_c_call_is_cancelled(fixture->held[0].call));
    grpc_c_pending_cancel(pending); /* again, and after the end: no harm */
    fixture_answer(fixture, 0);
    grpc_c_pending_unref(pending);
    fixture_assert_well(fixture);
    assert_int_equal(fixture->cancel_count, 1);
    assert_int_equal(waiter.count, 1);
}

/* Goal: the client's deadline passes: DEADLINE_EXCEEDED there, cancellation here. */
static void test_client_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter = WAITER_INIT;

    fixture_assert_well(fixture); /* the connection is there: the deadline is for the call alone */
    size_t passed = fixture_hold_briefly(fixture, text, 2000, &waiter);
    waiter_wait(&waiter, passed + 1);
    assert_int_equal(waiter.status, GRPC_C_DEADLINE_EXCEEDED);
    fixture_wait_cancelled(fixture, 1);
    fixture_answer(fixture, 0);
    fixture_assert_well(fixture);
    assert_int_equal(fixture->cancel_count, 1);
}

/* Goal: once answered, a call is never told of cancellation, although the client cancels at that very moment. */
static void test_cancel_races_with_answer(void **state)
{
    enum { CALLS = 200 };
    struct fixture *fixture = *state;
    struct waiter waiter = WAITER_INIT;
    struct grpc_c_pending *pending[CALLS];

    for (size_t i = 0; i < CALLS; i++) {
        fixture_hold(fixture, text, 25000, &waiter, &pending[i]);
        fixture_wait_held(fixture, i + 1);
        if (i % 2 == 0)
            grpc_c_pending_cancel(pending[i]);
        pthread_mutex_lock(&fixture->lock);
        size_t before = fixture->cancel_count;
        pthread_mutex_unlock(&fixture->lock);
        fixture_answer(fixture, i);
        pthread_mutex_lock(&fixture->lock);
        assert_in_range(fixture->cancel_count, before, before + 1);
        before = fixture->cancel_count;
        pthread_mutex_unlock(&fixture->lock);
        if (i % 2 == 1)
            grpc_c_pending_cancel(pending[i]);
        waiter_wait(&waiter, i + 1);
        fixture_wait_idle(fixture);
        pthread_mutex_lock(&fixture->lock);
        assert_int_equal(fixture->cancel_count, before);
        pthread_mutex_unlock(&fixture->lock);
        grpc_c_pending_unref(pending[i]);
    }
    fixture_assert_well(fixture);
}

/* --- The server's own deadlines ----------------------------------------------------------------------------------- */

/* Goal: a call without a deadline, or with one beyond the maximum, is ended by the server when no handler does. */
static void test_imposed_deadlines(void **state)
{
    static const int64_t wishes_ms[] = {0, 3600000};
    const struct grpc_c_server_options options = {.threads = 1, .deadline_default_ms = 500, .deadline_max_ms = 1000};
    struct fixture *fixture = fixture_new(&options);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wishes_ms); i++) {
        const struct raw_call call = {
            .path = "/test.v1.EchoService/Hold", .bytes = "", .size = 0, .deadline_ms = wishes_ms[i]};
        struct raw_result result = raw_call(fixture->port, &call);
        assert_int_equal(result.status, GRPC_C_DEADLINE_EXCEEDED);
        assert_string_equal(result.message, "the server's own deadline has passed");
        fixture_wait_cancelled(fixture, i + 1);
        assert_true(grpc_c_call_deadline_ns(fixture->held[i].call) <= clock_now_ns());
        fixture_answer(fixture, i);
    }
    fixture_free(fixture);
}

/* Goal: calls that the server would end, but which are answered in time, in any order, are answered; of both kinds
 * at once. */
static void test_imposed_deadlines_not_needed(void **state)
{
    enum { CALLS = 30 };
    const struct grpc_c_server_options options = {.threads = 1, .deadline_default_ms = 30000, .deadline_max_ms = 30000};
    struct fixture *fixture = fixture_new(&options);
    struct waiter waiter = WAITER_INIT;

    (void)state;
    for (size_t i = 0; i < CALLS; i++)
        fixture_hold(fixture, text, i % 2 == 0 ? 3600000 : INT64_MAX, &waiter, NULL);
    fixture_wait_held(fixture, CALLS);
    for (size_t i = 0; i < CALLS; i++)
        fixture_answer(fixture, (i * 7) % CALLS);
    waiter_wait(&waiter, CALLS);
    assert_int_equal(waiter.ok_count, CALLS);
    fixture_free(fixture);
}

/* --- Channels that go --------------------------------------------------------------------------------------------- */

/* Goal: a channel freed with calls under way: every callback has come when the function returns; tickets live on. */
static void test_channel_freed(void **state)
{
    enum { CALLS = 20 };
    struct fixture *fixture = *state;
    struct waiter waiter = WAITER_INIT;
    struct grpc_c_pending *pending[CALLS];

    for (size_t i = 0; i < CALLS; i++)
        fixture_hold(fixture, text, 25000, &waiter, &pending[i]);
    fixture_wait_held(fixture, CALLS);
    grpc_c_channel_free(fixture->channel);
    fixture->channel = NULL;
    assert_int_equal(waiter.count, CALLS);
    assert_int_equal(waiter.ok_count, 0);
    assert_int_equal(waiter.status, GRPC_C_CANCELLED);
    fixture_wait_cancelled(fixture, CALLS);
    for (size_t i = 0; i < CALLS; i++) {
        fixture_answer(fixture, i);
        grpc_c_pending_cancel(pending[i]);
        grpc_c_pending_unref(pending[i]);
    }
}

/* Goal: a ticket may be the last thing that is left of the library. */
static void test_ticket_outlives_all(void **state)
{
    struct fixture *fixture = fixture_new(NULL);
    struct waiter waiter = WAITER_INIT;
    struct grpc_c_pending *pending = NULL;

    (void)state;
    fixture_hold(fixture, text, 25000, &waiter, &pending);
    fixture_wait_held(fixture, 1);
    fixture_answer(fixture, 0);
    fixture_free(fixture);
    assert_int_equal(waiter.count, 1);
    grpc_c_pending_unref(pending);
}

static void *call_hold(void *argument)
{
    struct fixture *fixture = argument;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;

    return (void *)(uintptr_t)test__v1__echo_service__hold(fixture->channel, &request, &patient, &response, NULL);
}

/* Goal: the same for a blocking call of another thread. */
static void test_channel_freed_under_blocking_call(void **state)
{
    struct fixture *fixture = *state;
    struct grpc_c_channel *channel = fixture->channel;
    pthread_t thread;
    void *status = NULL;

    assert_int_equal(pthread_create(&thread, NULL, call_hold, fixture), 0);
    fixture_wait_held(fixture, 1);
    grpc_c_channel_free(channel);
    pthread_join(thread, &status);
    fixture->channel = NULL;
    assert_int_equal((uintptr_t)status, GRPC_C_CANCELLED);
    fixture_wait_cancelled(fixture, 1);
    fixture_answer(fixture, 0);
}

/* Goal: a channel without threads makes blocking calls; when it is cancelled, one that is under way ends, and later ones do at once. */
static void test_channel_cancelled(void **state)
{
    struct fixture *fixture = *state;
    const struct grpc_c_channel_options options = {.has_no_threads = true};
    pthread_t thread;
    void *status = NULL;

    grpc_c_channel_free(fixture->channel);
    assert_true(grpc_c_channel_new(fixture->target, &options, &fixture->channel, NULL));
    fixture_assert_well(fixture);
    assert_int_equal(pthread_create(&thread, NULL, call_hold, fixture), 0);
    fixture_wait_held(fixture, 1);
    grpc_c_channel_cancel(fixture->channel);
    pthread_join(thread, &status);
    assert_int_equal((uintptr_t)status, GRPC_C_CANCELLED);
    fixture_wait_cancelled(fixture, 1);
    fixture_answer(fixture, 0);
    assert_int_equal((uintptr_t)call_hold(fixture), GRPC_C_CANCELLED);
    assert_int_equal(fixture->held_count, 1);
}

struct chain {
    struct fixture *fixture;
    struct waiter waiter;
    bool is_second;
};

/* Starts another call when the first has ended. */
static void call_again(const Test__V1__EchoResponse *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct chain *chain = user;
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    if (!chain->is_second) {
        chain->is_second = true;
        test__v1__echo_service__hold__async(chain->fixture->channel, &request, &patient, call_again, chain, NULL);
    }
    waiter_told(response, outcome, &chain->waiter);
}

/* Goal: a call that a callback starts while the channel is being freed ends at once, and is waited for. */
static void test_callback_calls_again(void **state)
{
    struct fixture *fixture = *state;
    struct chain chain = {.fixture = fixture, .waiter = WAITER_INIT};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    test__v1__echo_service__hold__async(fixture->channel, &request, &patient, call_again, &chain, NULL);
    fixture_wait_held(fixture, 1);
    grpc_c_channel_free(fixture->channel);
    fixture->channel = NULL;
    assert_int_equal(chain.waiter.count, 2);
    assert_int_equal(chain.waiter.ok_count, 0);
    assert_int_equal(chain.waiter.status, GRPC_C_CANCELLED);
    assert_int_equal(fixture->held_count, 1);
    fixture_answer(fixture, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_client_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_races_with_answer, setup, teardown),
        cmocka_unit_test(test_imposed_deadlines),
        cmocka_unit_test(test_imposed_deadlines_not_needed),
        cmocka_unit_test_setup_teardown(test_channel_freed, setup, teardown),
        cmocka_unit_test(test_ticket_outlives_all),
        cmocka_unit_test_setup_teardown(test_channel_freed_under_blocking_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_channel_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_callback_calls_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
