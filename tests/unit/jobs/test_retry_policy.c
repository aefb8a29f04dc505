/* Goal: the retry lanes work harder while there is more to do, give way while callers are here, never stop altogether, and begin anew
 * when the queue was empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "jobs/retry_policy.h"

static const struct retry_policy_limits limits = {.batch_max = 256, .lanes_max = 3};

static const struct retry_observation full = {.was_full = true, .duration_ns = 40000000};
static const struct retry_observation full_with_callers = {
    .was_full = true, .duration_ns = 40000000, .callers_are_here = true};
static const struct retry_observation empty = {.was_full = false, .duration_ns = 1000000};

static struct retry_pace after(const struct retry_observation *seen, unsigned times)
{
    struct retry_pace pace = retry_pace_first(&limits);

    for (unsigned i = 0; i < times; i++)
        pace = retry_pace_next(&limits, pace, seen);
    return pace;
}

static void test_batches_grow_first_then_lanes(void **state)
{
    struct retry_pace pace = retry_pace_first(&limits);
    unsigned grown = 0;

    (void)state;
    assert_int_equal(pace.lanes, 1);
    for (; pace.lanes == 1; grown++) {
        unsigned before = pace.batch;
        assert_true(grown < 20);
        pace = retry_pace_next(&limits, pace, &full);
        assert_true(pace.batch > before || pace.batch == limits.batch_max);
    }
    assert_int_equal(pace.batch, limits.batch_max);
    assert_int_equal(pace.lanes, limits.lanes_max);
    assert_int_equal(after(&full, 1000).batch, limits.batch_max);
}

static void test_callers_get_room(void **state)
{
    struct retry_pace pace = after(&full, 20);

    (void)state;
    pace = retry_pace_next(&limits, pace, &full_with_callers);
    assert_int_equal(pace.lanes, 1);
    assert_true(pace.batch < limits.batch_max);
    /* And again when they have gone. */
    for (unsigned i = 0; i < 20; i++)
        pace = retry_pace_next(&limits, pace, &full);
    assert_int_equal(pace.lanes, limits.lanes_max);
}

/* A batch that took twice as long is halved, whatever the machine; one that was quick is doubled at most. */
static void test_batches_follow_the_time_they_take(void **state)
{
    struct retry_pace pace = {.batch = 128, .lanes = 1};
    struct retry_observation slow = full_with_callers;
    struct retry_observation quick = full_with_callers;

    (void)state;
    slow.duration_ns = 8000000;
    assert_int_equal(retry_pace_next(&limits, pace, &slow).batch, 96);
    slow.duration_ns = 12000000;
    assert_int_equal(retry_pace_next(&limits, pace, &slow).batch, 64);
    quick.duration_ns = 100000;
    assert_int_equal(retry_pace_next(&limits, pace, &quick).batch, 256);
    quick.duration_ns = 0;
    assert_true(retry_pace_next(&limits, pace, &quick).batch >= 64);
}

static void test_never_stops(void **state)
{
    struct retry_pace pace = {.batch = 256, .lanes = 3};
    struct retry_observation endless = full_with_callers;

    (void)state;
    endless.duration_ns = INT64_C(60000000000);
    for (unsigned i = 0; i < 50; i++)
        pace = retry_pace_next(&limits, pace, &endless);
    assert_int_equal(pace.batch, 64); /* smaller ones would cost too much a lead */
    assert_int_equal(pace.lanes, 1);
}

static void test_an_empty_queue_begins_anew(void **state)
{
    struct retry_pace first = retry_pace_first(&limits);
    struct retry_pace pace = retry_pace_next(&limits, after(&full, 20), &empty);

    (void)state;
    assert_int_equal(pace.batch, first.batch);
    assert_int_equal(pace.lanes, first.lanes);
}

static void test_small_limits_hold(void **state)
{
    const struct retry_policy_limits small = {.batch_max = 8, .lanes_max = 1};
    struct retry_pace pace = retry_pace_first(&small);

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        assert_true(pace.batch <= small.batch_max && pace.batch >= 1);
        assert_int_equal(pace.lanes, 1);
        pace = retry_pace_next(&small, pace, i % 3 == 0 ? &full_with_callers : &full);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_grow_first_then_lanes),
        cmocka_unit_test(test_callers_get_room),
        cmocka_unit_test(test_batches_follow_the_time_they_take),
        cmocka_unit_test(test_never_stops),
        cmocka_unit_test(test_an_empty_queue_begins_anew),
        cmocka_unit_test(test_small_limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
