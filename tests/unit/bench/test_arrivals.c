/* Goal: calls are due as often as their rate says, at moments of their own, in order, and the same each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arrivals.h"

static const int64_t second_ns = 1000000000;
static const struct arrivals_shape steady = {.per_second = 100};
static const struct arrivals_shape bursts = {.per_second = 100, .burst_per_second = 500, .burst_every_s = 5};

/* The rate times the seconds; of bursts, those that begin within them. */
static void counts(void **state)
{
    (void)state;
    assert_int_equal(arrivals_count(&steady, 0), 0);
    assert_int_equal(arrivals_count(&steady, 1), 100);
    assert_int_equal(arrivals_count(&steady, 60), 6000);
    assert_int_equal(arrivals_count(&bursts, 1), 500);
    assert_int_equal(arrivals_count(&bursts, 5), 900);
    assert_int_equal(arrivals_count(&bursts, 6), 1400);
    assert_int_equal(arrivals_count(&bursts, 10), 1800);
}

/* Each second has as many as its rate says, none before the one before it. */
static void seconds(void **state)
{
    int64_t *due_ns = arrivals_make(&bursts, 6, 1);
    size_t in_second[6] = {0};

    (void)state;
    for (size_t i = 0; i < arrivals_count(&bursts, 6); i++) {
        assert_true(due_ns[i] >= 0 && due_ns[i] < 6 * second_ns);
        assert_true(i == 0 || due_ns[i - 1] <= due_ns[i]);
        in_second[due_ns[i] / second_ns]++;
    }
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(in_second[i], i % 5 == 0 ? 500 : 100);
    free(due_ns);
}

/* Not like clockwork: of a thousand some come within a tenth of the mean distance of the one before (an evenly spaced load has none, and
 * of random ones it is one in ten), and one at least after three times of it. */
static void they_bunch(void **state)
{
    const struct arrivals_shape thousand = {.per_second = 1000};
    int64_t *due_ns = arrivals_make(&thousand, 1, 7);
    size_t close = 0;
    size_t far = 0;

    (void)state;
    for (size_t i = 1; i < 1000; i++) {
        close += due_ns[i] - due_ns[i - 1] < 100000;
        far += due_ns[i] - due_ns[i - 1] > 3000000;
    }
    assert_in_range(close, 50, 200);
    assert_true(far > 0);
    free(due_ns);
}

/* The same seed gives the same times, so that runs can be compared; another one gives others. */
static void seeds(void **state)
{
    int64_t *one = arrivals_make(&steady, 2, 1);
    int64_t *again = arrivals_make(&steady, 2, 1);
    int64_t *other = arrivals_make(&steady, 2, 2);

    (void)state;
    assert_memory_equal(one, again, 200 * sizeof(*one));
    assert_memory_not_equal(one, other, 200 * sizeof(*one));
    free(one);
    free(again);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(seconds),
        cmocka_unit_test(they_bunch),
        cmocka_unit_test(seeds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
