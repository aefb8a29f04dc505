/* Goal: counting duplicates takes a hundredth of the time at most, however many there are; a database that goes is told of once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sampler.h"

static const int64_t ns_per_ms = 1000000;

static void test_pauses(void **state)
{
    (void)state;
    assert_int_equal(sampler_duplicates_pause_ns(0), 30000 * ns_per_ms);
    assert_int_equal(sampler_duplicates_pause_ns(303 * ns_per_ms), 30000 * ns_per_ms);
    assert_int_equal(sampler_duplicates_pause_ns(400 * ns_per_ms), 39600 * ns_per_ms);
    assert_int_equal(sampler_duplicates_pause_ns(10000 * ns_per_ms), 990000 * ns_per_ms);
}

static void test_what_is_told(void **state)
{
    const struct error gone = {.code = ERROR_UNAVAILABLE};
    const struct error late = {.code = ERROR_DEADLINE};
    const struct error said = {.code = ERROR_DATABASE};

    (void)state;
    assert_false(sampler_is_told(METRICS_SAMPLE_DUPLICATES, &gone));
    assert_false(sampler_is_told(METRICS_SAMPLE_TABLES, &gone));
    assert_true(sampler_is_told(METRICS_SAMPLE_DUPLICATES, &late));
    assert_false(sampler_is_told(METRICS_SAMPLE_TABLES, &late));
    assert_true(sampler_is_told(METRICS_SAMPLE_DUPLICATES, &said));
    assert_true(sampler_is_told(METRICS_SAMPLE_TABLES, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pauses), cmocka_unit_test(test_what_is_told)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
