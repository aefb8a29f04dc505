/* Goal: quantiles are never below the true one and at most 1/32 above it, over the whole range of 64 bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static struct histogram histogram;

static int setup(void **state)
{
    (void)state;
    histogram_clear(&histogram);
    return 0;
}

/* Nothing added: everything is 0. */
static void empty(void **state)
{
    (void)state;
    assert_int_equal(histogram_count(&histogram), 0);
    assert_int_equal(histogram_max(&histogram), 0);
    assert_int_equal(histogram_quantile(&histogram, 500), 0);
    assert_int_equal(histogram_quantile(&histogram, 1000), 0);
}

/* Small values have a bucket each: quantiles are exact, by rank. */
static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 30; i++)
        histogram_add(&histogram, i);
    assert_int_equal(histogram_count(&histogram), 30);
    assert_int_equal(histogram_quantile(&histogram, 1), 1);
    assert_int_equal(histogram_quantile(&histogram, 500), 15);
    assert_int_equal(histogram_quantile(&histogram, 950), 29); /* rank ceil(28.5) */
    assert_int_equal(histogram_quantile(&histogram, 990), 30);
    assert_int_equal(histogram_quantile(&histogram, 1000), 30);
}

/* One value and a far larger one: the lower quantile shows the bound of the bucket's width, on every power of two
 * and its neighbours. */
static void error_is_bounded_everywhere(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 63; bit++)
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)(int64_t)delta;
            histogram_clear(&histogram);
            histogram_add(&histogram, value);
            histogram_add(&histogram, UINT64_MAX);
            uint64_t found = histogram_quantile(&histogram, 500);
            assert_true(found >= value);
            assert_true(found - value <= value / 32);
            assert_int_equal(histogram_quantile(&histogram, 1000), UINT64_MAX);
        }
}

/* The edge of a bucket is not reported when no value was that large. */
static void never_above_the_maximum(void **state)
{
    (void)state;
    histogram_add(&histogram, 1000001);
    assert_int_equal(histogram_quantile(&histogram, 500), 1000001);
    assert_int_equal(histogram_max(&histogram), 1000001);
}

/* Two halves merged say what the whole says. */
static void merged_halves_are_the_whole(void **state)
{
    static struct histogram halves[2];
    static struct histogram merged;

    (void)state;
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t value = i * i;
        histogram_add(&histogram, value);
        histogram_add(&halves[i % 2], value);
    }
    histogram_merge(&merged, &halves[0]);
    histogram_merge(&merged, &halves[1]);
    assert_int_equal(histogram_count(&merged), 10000);
    assert_int_equal(histogram_max(&merged), 9999 * 9999);
    for (unsigned per_mille = 1; per_mille <= 1000; per_mille++)
        assert_int_equal(histogram_quantile(&merged, per_mille), histogram_quantile(&histogram, per_mille));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(empty, setup),
        cmocka_unit_test_setup(small_values_are_exact, setup),
        cmocka_unit_test_setup(error_is_bounded_everywhere, setup),
        cmocka_unit_test_setup(merged_halves_are_the_whole, setup),
        cmocka_unit_test_setup(never_above_the_maximum, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
