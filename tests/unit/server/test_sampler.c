/* Goal: counting duplicates takes a hundredth of the time at most, however many there are. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pauses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
