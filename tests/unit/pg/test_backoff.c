/* Goal: the pause between attempts to connect doubles from 50 ms to 5 s, is spread by a fifth either way, and
 * starts anew after a success. */
#include "pg_fixture.h"

#include <limits.h>

#include "base/memory.h"

static void expect_around(int delay_ms, int middle_ms)
{
    assert_in_range(delay_ms, middle_ms * 4 / 5, middle_ms * 6 / 5);
}

static void test_doubles_up_to_the_bound(void **state)
{
    static const int middles_ms[] = {50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct pg_backoff backoff = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(middles_ms); i++)
        expect_around(pg_backoff_next_ms(&backoff), middles_ms[i]);
    pg_backoff_reset(&backoff);
    expect_around(pg_backoff_next_ms(&backoff), 50);
}

static void test_stays_at_the_bound_for_ever(void **state)
{
    struct pg_backoff backoff = {.failures = UINT_MAX - 1};

    (void)state;
    for (int i = 0; i < 4; i++)
        expect_around(pg_backoff_next_ms(&backoff), 5000);
}

/* Servers that lost the same database must not come back in step: both halves of the interval occur. */
static void test_is_spread(void **state)
{
    enum { TRIES = 200 };
    int below = 0;

    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct pg_backoff backoff = {.failures = 7};
        int delay_ms = pg_backoff_next_ms(&backoff);
        expect_around(delay_ms, 5000);
        below += delay_ms < 5000 ? 1 : 0;
    }
    assert_in_range(below, 1, TRIES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_bound),
        cmocka_unit_test(test_stays_at_the_bound_for_ever),
        cmocka_unit_test(test_is_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
