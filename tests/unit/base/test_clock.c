/* Goal: deadlines behave at their extremes and times are written in RFC 3339 form for any input. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"

static const int64_t ns_per_s = 1000000000;

static void test_now_does_not_go_back(void **state)
{
    int64_t before_ns = clock_now_ns();

    (void)state;
    assert_true(before_ns > 0);
    for (int i = 0; i < 1000; i++) {
        int64_t now_ns = clock_now_ns();
        assert_true(now_ns >= before_ns);
        before_ns = now_ns;
    }
}

static void test_left(void **state)
{
    (void)state;
    assert_int_equal(clock_left_ms(CLOCK_NEVER), INT_MAX);
    assert_int_equal(clock_left_ms(CLOCK_NEVER - 1), INT_MAX);
    assert_int_equal(clock_left_ms(0), 0);
    assert_int_equal(clock_left_ms(INT64_MIN), 0);
    assert_int_equal(clock_left_ms(clock_now_ns()), 0);
    int left_ms = clock_left_ms(clock_now_ns() + 3600 * ns_per_s);
    assert_in_range(left_ms, 3590 * 1000, 3600 * 1000);
}

/* poll() for 0 ms would spin through the last millisecond. */
static void test_left_is_rounded_up(void **state)
{
    int64_t deadline_ns = clock_now_ns() + ns_per_s / 20;
    int left_ms = 0;

    (void)state;
    do {
        left_ms = clock_left_ms(deadline_ns);
    } while (left_ms > 0);
    assert_true(clock_now_ns() >= deadline_ns);
}

static void test_after(void **state)
{
    int64_t before_ns = clock_now_ns();
    int64_t deadline_ns = clock_after_ms(1500);
    int64_t after_ns = clock_now_ns();

    (void)state;
    assert_true(deadline_ns >= before_ns + 1500 * (ns_per_s / 1000));
    assert_true(deadline_ns <= after_ns + 1500 * (ns_per_s / 1000));
    assert_int_equal(clock_after_ms(INT64_MAX), CLOCK_NEVER);
    assert_int_equal(clock_after_ms(INT64_MAX / 1000000), CLOCK_NEVER);
    assert_true(clock_after_ms(-1) <= clock_now_ns());
    assert_true(clock_after_ms(INT64_MIN) >= after_ns);
    assert_int_equal(clock_left_ms(clock_after_ms(0)), 0);
}

static void test_format(void **state)
{
    static const struct {
        int64_t unix_us;
        const char *expected;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000000, "1969-12-31T23:59:59.000Z"},
        {1769860800123999, "2026-01-31T12:00:00.123Z"},
        {951782400000000, "2000-02-29T00:00:00.000Z"},
        {253402300799999999, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "294247-01-10T04:00:54.775Z"},
        {INT64_MIN, "-290308-12-21T19:59:05.224Z"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[CLOCK_RFC3339_SIZE];
        assert_ptr_equal(clock_format_us(cases[i].unix_us, text), text);
        assert_string_equal(text, cases[i].expected);
    }
}

static void test_format_now(void **state)
{
    char text[CLOCK_RFC3339_SIZE];
    char before[CLOCK_RFC3339_SIZE];
    char after[CLOCK_RFC3339_SIZE];

    (void)state;
    clock_format_us((int64_t)time(NULL) * 1000000 - 1000000, before);
    assert_ptr_equal(clock_format_now(text), text);
    clock_format_us((int64_t)time(NULL) * 1000000 + 1000000, after);
    assert_true(strcmp(before, text) <= 0 && strcmp(text, after) <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now_does_not_go_back),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_left_is_rounded_up),
        cmocka_unit_test(test_after),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
