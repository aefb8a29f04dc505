/* Goal: what happened within the last hour is counted, what is older is not, whenever the hour is looked at and however many threads
 * count. Time is told, so that hours pass at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "routing/statistics.h"

#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define START (INT64_C(123456789) * 1000)

enum { THREADS = 4, ROUNDS = 20000 };

static struct routing_rates rates_at(struct statistics *statistics, int64_t now_ns)
{
    struct routing_rates rates;

    statistics_read(statistics, now_ns, &rates);
    return rates;
}

static int setup(void **state)
{
    *state = statistics_new(START);
    return 0;
}

static int teardown(void **state)
{
    statistics_free(*state);
    return 0;
}

/* Nothing happened: zeros, and no division by them. */
static void nothing(void **state)
{
    struct routing_rates rates = rates_at(*state, START + 7 * SECOND + 1);

    assert_int_equal(rates.period_seconds, 7);
    assert_int_equal(rates.attempts, 0);
    assert_int_equal(rates.finals, 0);
    assert_true(rates.success_share == 0 && rates.duplicate_share == 0 && rates.expired_share == 0);
    assert_true(rates.lock_share == 0);
    assert_int_equal(rates.p50_us, 0);
    assert_int_equal(rates.p99_us, 0);
    statistics_free(NULL);
}

/* Each share has the denominator that the contract names. */
static void shares(void **state)
{
    static const struct {
        enum routing_outcome outcome;
        int count;
    } attempts[] = {{ROUTING_OUTCOME_ROUTED, 60}, {ROUTING_OUTCOME_DUPLICATE, 15}, {ROUTING_OUTCOME_FAILED, 25},
        {ROUTING_OUTCOME_QUEUED_FOR_RETRY, 50}, {ROUTING_OUTCOME_EXPIRED, 50}};
    struct routing_rates rates;

    for (size_t i = 0; i < COUNT_OF(attempts); i++)
        for (int k = 0; k < attempts[i].count; k++)
            statistics_add_attempt(*state, START + SECOND, attempts[i].outcome);
    for (int i = 0; i < 100; i++)
        statistics_add_lock(*state, START + SECOND, i < 90);
    rates = rates_at(*state, START + 2 * SECOND);
    assert_int_equal(rates.attempts, 200);
    assert_int_equal(rates.finals, 100);
    assert_int_equal(rates.locks, 100);
    assert_true(rates.success_share == 0.75);
    assert_true(rates.duplicate_share == 0.15);
    assert_true(rates.expired_share == 0.25);
    assert_true(rates.lock_share == 0.9);
}

/* Waits from 1 to 1,000 ms: percentiles are not below the true ones and at most 3.2 % above. */
static void percentiles(void **state)
{
    struct routing_rates rates;

    for (int64_t ms = 1; ms <= 1000; ms++)
        statistics_add_wait(*state, START + MINUTE, START + MINUTE - ms * 1000000);
    statistics_add_wait(*state, START, START + 1); /* submitted a moment after the time was taken: no wait */
    rates = rates_at(*state, START + MINUTE);
    assert_int_equal(rates.waits, 1001);
    assert_in_range(rates.p50_us, 500000, 516000);
    assert_in_range(rates.p95_us, 950000, 981000);
    assert_in_range(rates.p99_us, 990000, 1000000);
}

/* A wait is late from the service level on: 2 s for p95, 5 s for p99; and calls are those that were told. */
static void lateness_and_calls(void **state)
{
    static const int64_t waits_ms[] = {10, 1999, 2000, 4999, 5000, 9000};
    struct routing_rates rates;

    for (size_t i = 0; i < COUNT_OF(waits_ms); i++)
        statistics_add_wait(*state, START + MINUTE, START + MINUTE - waits_ms[i] * 1000000);
    for (int i = 0; i < 7; i++)
        statistics_add_call(*state, START + MINUTE, i < 2);
    rates = rates_at(*state, START + MINUTE);
    assert_int_equal(rates.waits_late_p95, 4);
    assert_int_equal(rates.waits_late_p99, 2);
    assert_int_equal(rates.calls, 7);
    assert_int_equal(rates.calls_failed, 2);
    statistics_add_call(*state, START + 61 * MINUTE, false); /* the same place, an hour later */
    statistics_add_wait(*state, START + 61 * MINUTE, START + 61 * MINUTE);
    rates = rates_at(*state, START + 61 * MINUTE);
    assert_int_equal(rates.waits_late_p95, 0);
    assert_int_equal(rates.waits_late_p99, 0);
    assert_int_equal(rates.calls, 1);
    assert_int_equal(rates.calls_failed, 0);
}

/* One attempt in each minute of three hours: at any time those of the last 60 minutes count, the one under way included. */
static void the_hour_moves(void **state)
{
    for (int64_t minute = 0; minute < 180; minute++) {
        int64_t now_ns = START + minute * MINUTE + (minute % 60) * SECOND;
        struct routing_rates rates;
        statistics_add_attempt(*state, now_ns, ROUTING_OUTCOME_ROUTED);
        rates = rates_at(*state, now_ns);
        assert_int_equal(rates.attempts, minute < 60 ? minute + 1 : 60);
        assert_int_equal(rates.period_seconds, minute < 60 ? minute * 60 + minute % 60 : 59 * 60 + minute % 60);
    }
}

/* An idle hour forgets everything, though nobody counted meanwhile; what lies in the places of old minutes does not come back. */
static void silence_forgets(void **state)
{
    statistics_add_attempt(*state, START + 5 * MINUTE, ROUTING_OUTCOME_FAILED);
    statistics_add_wait(*state, START + 5 * MINUTE, START);
    assert_int_equal(rates_at(*state, START + HOUR + 5 * MINUTE - 1).attempts, 1);
    assert_int_equal(rates_at(*state, START + HOUR + 5 * MINUTE).attempts, 0);
    assert_int_equal(rates_at(*state, START + HOUR + 5 * MINUTE).p99_us, 0);
    statistics_add_attempt(*state, START + 65 * MINUTE, ROUTING_OUTCOME_ROUTED); /* the same place */
    assert_int_equal(rates_at(*state, START + 65 * MINUTE).attempts, 1);
    assert_true(rates_at(*state, START + 65 * MINUTE).success_share == 1);
    assert_int_equal(rates_at(*state, START + 1000 * HOUR).attempts, 0);
}

struct adder {
    pthread_t thread;
    struct statistics *statistics;
};

/* Goes through 30 minutes, with all the others: the first in each makes room for it. */
static void *add(void *argument)
{
    struct adder *adder = argument;

    for (int64_t i = 0; i < ROUNDS; i++) {
        int64_t now_ns = START + HOUR + i * 30 * MINUTE / ROUNDS;
        statistics_add_attempt(adder->statistics, now_ns, ROUTING_OUTCOME_ROUTED);
        statistics_add_lock(adder->statistics, now_ns, true);
        statistics_add_wait(adder->statistics, now_ns, now_ns - 1000);
        if (i % 1000 == 0)
            rates_at(adder->statistics, now_ns);
    }
    return NULL;
}

/* Nothing is lost, though minutes begin while threads count and others read. */
static void threads_lose_nothing(void **state)
{
    struct adder adders[THREADS];
    struct routing_rates rates;

    for (int64_t minute = 0; minute < 60; minute++) /* every place has been used */
        statistics_add_attempt(*state, START + minute * MINUTE, ROUTING_OUTCOME_FAILED);
    for (size_t i = 0; i < THREADS; i++) {
        adders[i].statistics = *state;
        assert_int_equal(pthread_create(&adders[i].thread, NULL, add, &adders[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(adders[i].thread, NULL);
    rates = rates_at(*state, START + HOUR + 59 * MINUTE);
    assert_int_equal(rates.attempts, THREADS * ROUNDS);
    assert_int_equal(rates.locks, THREADS * ROUNDS);
    assert_true(rates.success_share == 1);
    assert_int_equal(rates.p50_us, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(shares, setup, teardown),
        cmocka_unit_test_setup_teardown(percentiles, setup, teardown),
        cmocka_unit_test_setup_teardown(lateness_and_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(the_hour_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_lose_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
