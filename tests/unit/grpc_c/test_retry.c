/* Goal: a service config makes the core retry, as the server's push-back and the deadline allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "fixture.h"

#define RETRY_CONFIG(back_off)                                                                                         \
    "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":4,\"initialBackoff\":\"" back_off              \
    "\",\"maxBackoff\":\"" back_off                                                                                    \
    "\",\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\",\"RESOURCE_EXHAUSTED\"]}}]}"

enum { CALL_MS = 40000, SHORT_MS = 2000 };

/* A fixture whose channel has this service config. */
static struct fixture *fixture_new_config(const char *config)
{
    const struct grpc_c_server_options server_options = {.threads = 1};
    const struct grpc_c_channel_options options = {.service_config_json = config};
    struct fixture *fixture = fixture_new(&server_options);
    struct error error = {0};

    grpc_c_channel_free(fixture->channel);
    fixture->channel = NULL;
    assert_true(grpc_c_channel_new(fixture->target, &options, &fixture->channel, &error));
    return fixture;
}

/* Fails attempt `index` of a held call; `push_back` (NULL: none) goes with it. */
static void fail_attempt(
    struct fixture *fixture, size_t index, enum grpc_c_status status, const char *push_back, size_t size)
{
    struct grpc_c_call *call = NULL;

    fixture_wait_held(fixture, index + 1);
    pthread_mutex_lock(&fixture->lock);
    call = fixture->held[index].call;
    fixture->held[index].call = NULL;
    pthread_mutex_unlock(&fixture->lock);
    if (push_back != NULL)
        grpc_c_call_add_trailing_metadata(call, "grpc-retry-pushback-ms", push_back, size);
    grpc_c_call_fail(call, status, "not now");
}

static void test_retried(void **state)
{
    struct fixture *fixture = fixture_new_config(RETRY_CONFIG("0.01s"));
    struct waiter waiter = WAITER_INIT;
    char text[] = "again";

    (void)state;
    fixture_hold(fixture, text, CALL_MS, &waiter, NULL);
    fail_attempt(fixture, 0, GRPC_C_UNAVAILABLE, NULL, 0);
    fail_attempt(fixture, 1, GRPC_C_RESOURCE_EXHAUSTED, NULL, 0);
    fixture_wait_held(fixture, 3);
    fixture_answer(fixture, 2);
    waiter_wait(&waiter, 1);
    assert_int_equal(waiter.status, GRPC_C_OK);
    assert_string_equal(waiter.text, text);
    fixture_free(fixture);
}

/* Goal: a push-back of -1 ends the call at the first failure. */
static void test_push_back_stops(void **state)
{
    struct fixture *fixture = fixture_new_config(RETRY_CONFIG("0.01s"));
    struct waiter waiter = WAITER_INIT;
    char text[] = "once";

    (void)state;
    fixture_hold(fixture, text, CALL_MS, &waiter, NULL);
    fail_attempt(fixture, 0, GRPC_C_UNAVAILABLE, "-1", 2);
    waiter_wait(&waiter, 1);
    assert_int_equal(waiter.status, GRPC_C_UNAVAILABLE);
    assert_int_equal(fixture->held_count, 1);
    fixture_free(fixture);
}

/* Goal: the deadline ends a call that waits for its next attempt, an hour away. */
static void test_deadline_bounds(void **state)
{
    struct fixture *fixture = fixture_new_config(RETRY_CONFIG("0.01s"));
    struct waiter waiter = WAITER_INIT;
    char text[] = "late";

    (void)state;
    fixture_assert_well(fixture); /* the connection is there: the deadline is for the call alone */
    size_t passed = fixture_hold_briefly(fixture, text, SHORT_MS, &waiter);
    fail_attempt(fixture, 0, GRPC_C_UNAVAILABLE, "3600000", 7);
    waiter_wait(&waiter, passed + 1);
    assert_int_equal(waiter.status, GRPC_C_DEADLINE_EXCEEDED);
    assert_int_equal(fixture->held_count, 1);
    fixture_free(fixture);
}

/* Goal: a config that the core cannot use is refused with the reason when the channel is made, and not by each call. */
static void test_config_refused(void **state)
{
    static const struct {
        const char *config;
        const char *reason;
    } cases[] = {
        {"{", "JSON parsing failed"},
        {"", "JSON parsing failed"},
        {"{} x", "JSON parsing failed"},
        {"[]", "is not an object"},
        {"{\"methodConfig\":7}", "field:methodConfig error:is not an array"},
        {"{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":1}}]}",
            "maxAttempts error:must be at least 2"},
        {"{\"loadBalancingPolicy\":\"absent\"}", "unknown LB policy"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct grpc_c_channel_options options = {.service_config_json = cases[i].config};
        struct grpc_c_channel *channel = NULL;
        struct error error = {0};

        assert_false(grpc_c_channel_new("127.0.0.1:1", &options, &channel, &error));
        assert_null(channel);
        assert_int_equal(error.code, ERROR_INVALID);
        assert_memory_equal(error.text, "the service config is refused: ", 31);
        assert_non_null(strstr(error.text, cases[i].reason));
    }
}

/* Goal: a config that asks for nothing is fine. */
static void test_config_empty(void **state)
{
    struct fixture *fixture = fixture_new_config("{}");

    (void)state;
    fixture_assert_well(fixture);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retried),
        cmocka_unit_test(test_push_back_stops),
        cmocka_unit_test(test_deadline_bounds),
        cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_config_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
