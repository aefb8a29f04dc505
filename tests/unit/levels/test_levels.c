/* Goal: a level is met exactly where its words say so, also at its edge; nothing is read out of what is no number; and no text
 * makes a level look met that is missed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "levels/levels.h"

/* The promises themselves. A change of deploy/monitoring/settings.yml that changes them is to be seen here. */
static void promises(void **state)
{
    static const char *const targets[LEVELS] = {"≥ 99.9 %", "≥ 95 %", "< 2 s", "< 5 s", "< 100", "≥ 95 %", "0"};
    char text[LEVEL_TEXT_SIZE];

    (void)state;
    for (int i = 0; i < LEVELS; i++) {
        const struct level_family *family = &levels_table[i];
        assert_string_equal(level_format_target((enum level)i, text), targets[i]);
        assert_non_null(family->name);
        assert_non_null(family->title);
        assert_non_null(family->definition);
        assert_non_null(family->all);
        assert_true((family->kind == LEVEL_GAUGE) == (family->bad == NULL));
        assert_true((family->kind == LEVEL_GAUGE) == (family->events == NULL));
        assert_true((family->kind == LEVEL_QUANTILE) == (family->buckets != NULL));
    }
    assert_true(levels_table[LEVEL_P95].share == 0.95 && levels_table[LEVEL_P99].share == 0.99);
}

/* At the target, and on both sides of it. */
static void edges(void **state)
{
    static const struct {
        enum level level;
        double value;
        enum level_verdict verdict;
    } cases[] = {
        {LEVEL_AVAILABILITY, 999 / 1000.0, LEVEL_MET},
        {LEVEL_AVAILABILITY, 1 - 0.001, LEVEL_MET}, /* 0.999 but for the last bit */
        {LEVEL_AVAILABILITY, 0.9989999, LEVEL_MISSED},
        {LEVEL_AVAILABILITY, 1, LEVEL_MET},
        {LEVEL_AVAILABILITY, 0, LEVEL_MISSED},
        {LEVEL_SUCCESS, 19 / 20.0, LEVEL_MET},
        {LEVEL_SUCCESS, 0.9499999, LEVEL_MISSED},
        {LEVEL_P95, 2, LEVEL_MISSED}, /* "under 2 s" */
        {LEVEL_P95, 2 - 1e-12, LEVEL_MISSED},
        {LEVEL_P95, 1.999999, LEVEL_MET},
        {LEVEL_P95, 0, LEVEL_MET},
        {LEVEL_P99, 5, LEVEL_MISSED},
        {LEVEL_P99, 4.999, LEVEL_MET},
        {LEVEL_RETRIES_DUE, 99, LEVEL_MET},
        {LEVEL_RETRIES_DUE, 100, LEVEL_MISSED},
        {LEVEL_LOCKS, 0.95, LEVEL_MET},
        {LEVEL_LOCKS, 0.94, LEVEL_MISSED},
        {LEVEL_STALE_LOCKS, 0, LEVEL_MET},
        {LEVEL_STALE_LOCKS, 1, LEVEL_MISSED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(level_judge(cases[i].level, cases[i].value), cases[i].verdict);
    for (int i = 0; i < LEVELS; i++)
        assert_int_equal(level_judge((enum level)i, NAN), LEVEL_NO_DATA);
    assert_int_equal(level_judge(LEVEL_P95, INFINITY), LEVEL_MISSED);
}

/* Of nothing, and of what is no number, there is no share; what two sums of rates differ by is none. */
static void shares(void **state)
{
    (void)state;
    assert_true(isnan(level_bad_share(0, 0)));
    assert_true(isnan(level_bad_share(1, 0)));
    assert_true(isnan(level_bad_share(1, -1)));
    assert_true(isnan(level_bad_share(NAN, 1)));
    assert_true(isnan(level_bad_share(0, NAN)));
    assert_true(isnan(level_bad_share(0, INFINITY)));
    assert_true(level_bad_share(0, 5) == 0);
    assert_true(level_bad_share(-1e-12, 5) == 0);
    assert_true(level_bad_share(5.0000001, 5) == 1);
    assert_true(level_bad_share(1, 4) == 0.25);
}

static void budgets(void **state)
{
    (void)state;
    assert_true(level_budget_left(LEVEL_AVAILABILITY, 0) == 1);
    assert_true(level_budget_left(LEVEL_AVAILABILITY, 0.001) == 0);
    assert_true(fabs(level_budget_left(LEVEL_AVAILABILITY, 0.0005) - 0.5) < 1e-9);
    assert_true(fabs(level_budget_left(LEVEL_AVAILABILITY, 0.003) + 2) < 1e-9);
    assert_true(level_budget_left(LEVEL_P95, 0.05) == 0); /* 5 in 100 may be late, */
    assert_true(level_budget_left(LEVEL_P99, 0.01) == 0); /* and 1 */
    assert_true(isnan(level_budget_left(LEVEL_SUCCESS, NAN)));
    assert_true(isnan(level_budget_left(LEVEL_STALE_LOCKS, 0)));
    assert_true(isnan(level_budget_left(LEVEL_RETRIES_DUE, 0.5)));
}

/* An estimate gives way to the exact share; without one it stands. */
static void quantiles(void **state)
{
    (void)state;
    assert_true(level_quantile(LEVEL_P95, 2.03, 0.05) < 2);
    assert_int_equal(level_judge(LEVEL_P95, level_quantile(LEVEL_P95, 2.03, 0.05)), LEVEL_MET);
    assert_true(level_quantile(LEVEL_P95, 2, 0.0500001) == 2);
    assert_true(level_quantile(LEVEL_P95, 2.03, NAN) == 2.03);
    assert_true(level_quantile(LEVEL_P95, 0.5, 0) == 0.5);
    assert_true(isnan(level_quantile(LEVEL_P99, NAN, 0)));
}

static void texts(void **state)
{
    static const struct {
        enum level level;
        double value;
        const char *text;
    } cases[] = {
        {LEVEL_AVAILABILITY, 1, "100 %"},
        {LEVEL_AVAILABILITY, 0.99957, "99.96 %"},
        {LEVEL_AVAILABILITY, 0.999, "99.9 %"},
        {LEVEL_AVAILABILITY, 0.998999, "99.8999 %"}, /* not 99.9 %, which would be met */
        {LEVEL_SUCCESS, 0, "0 %"},
        {LEVEL_SUCCESS, 0.94999, "94.999 %"},
        {LEVEL_P95, 0.0042, "4.2 ms"},
        {LEVEL_P95, 0.00009, "0.1 ms"},
        {LEVEL_P95, 1.99999, "1.99999 s"},
        {LEVEL_P95, 2, "2 s"},
        {LEVEL_P95, 12.345, "12.35 s"},
        {LEVEL_P99, 0.25, "250 ms"},
        {LEVEL_RETRIES_DUE, 99, "99"},
        {LEVEL_RETRIES_DUE, 100, "100"},
        {LEVEL_STALE_LOCKS, 0, "0"},
        {LEVEL_STALE_LOCKS, NAN, "-"},
    };
    char text[LEVEL_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(level_format(cases[i].level, cases[i].value, text), cases[i].text);
    assert_string_equal(level_verdict_name(LEVEL_MET), "met");
    assert_string_equal(level_verdict_name(LEVEL_MISSED), "missed");
    assert_string_equal(level_verdict_name(LEVEL_NO_DATA), "no data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises),
        cmocka_unit_test(edges),
        cmocka_unit_test(shares),
        cmocka_unit_test(budgets),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
