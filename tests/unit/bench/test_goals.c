/* Goal: a verdict says whether a bound was kept, on the right side of it, and how many times over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "goals.h"
#include "levels/levels.h"

static void assert_verdict(struct goal goal, double measured, double times, bool is_met, double margin)
{
    struct verdict verdict = verdict_of(goal, measured, times);

    assert_int_equal(verdict.is_met, is_met);
    assert_true(verdict.goal.measure == goal.measure && verdict.measured == measured);
    if (isinf(margin))
        assert_true(isinf(verdict.margin));
    else
        assert_true(fabs(verdict.margin - margin) < 1e-6 * fmax(1, margin));
}

/* Latencies and queues must stay below their bound: at it they are missed. */
static void below(void **state)
{
    const struct goal p95 = {GOAL_P95_MS, 2000};

    (void)state;
    assert_verdict(p95, 1999.9, 1, true, 2000 / 1999.9);
    assert_verdict(p95, 2000, 1, false, 1);
    assert_verdict(p95, 199.9, 10, true, 2000 / 199.9);
    assert_verdict(p95, 200, 10, false, 10);
    assert_verdict(p95, 4000, 1, false, 0.5);
    assert_verdict((struct goal){GOAL_DUE, 100}, 0, 10, true, INFINITY);
}

/* Of shares the failures count: 99.9 % allow one in a thousand. */
static void shares(void **state)
{
    const struct goal availability = {GOAL_AVAILABILITY, 0.999};
    const struct goal all = {GOAL_SUCCESS, 1};

    (void)state;
    assert_verdict(availability, 999.0 / 1000, 1, true, 1);
    assert_verdict(availability, 998.0 / 1000, 1, false, 0.5);
    assert_verdict(availability, 9999.0 / 10000, 10, true, 10);
    assert_verdict(availability, 9998.0 / 10000, 10, false, 5);
    assert_verdict(availability, 1, 10, true, INFINITY);
    assert_verdict(availability, 0, 1, false, 0.001);
    assert_verdict(all, 1, 10, true, INFINITY);
    assert_verdict(all, 0.999999, 1, false, 0);
}

/* Speeds must reach their bound, counts of what must not be must be 0, and pools are as large as they are set. */
static void others(void **state)
{
    (void)state;
    assert_verdict((struct goal){GOAL_LEADS_PER_SECOND, 50}, 500, 10, true, 10);
    assert_verdict((struct goal){GOAL_LEADS_PER_SECOND, 50}, 499, 10, false, 9.98);
    assert_verdict((struct goal){GOAL_LEADS_PER_SECOND, 50}, 49, 1, false, 0.98);
    assert_verdict((struct goal){GOAL_STALE, 0}, 0, 10, true, INFINITY);
    assert_verdict((struct goal){GOAL_WRONG, 0}, 1, 1, false, 0);
    assert_verdict((struct goal){GOAL_SESSIONS, 0.8}, 0.5, 10, true, 1.6);
    assert_verdict((struct goal){GOAL_SESSIONS, 0.8}, 0.8, 1, false, 1);
}

/* Of two goals of one measure the stricter one stays, whichever comes first; others are beside it. */
static void the_stricter_one_stays(void **state)
{
    struct goals goals = {0};

    (void)state;
    goals_add(&goals, (struct goal){GOAL_P95_MS, 2000});
    goals_add(&goals, (struct goal){GOAL_SUCCESS, 0.95});
    goals_add(&goals, (struct goal){GOAL_P95_MS, 500});
    goals_add(&goals, (struct goal){GOAL_SUCCESS, 0.99});
    assert_int_equal(goals.count, 2);
    assert_true(goals.items[0].bound == 500 && goals.items[1].bound == 0.99);
    goals_add(&goals, (struct goal){GOAL_P95_MS, 5000});
    goals_add(&goals, (struct goal){GOAL_SUCCESS, 0.90});
    goals_add(&goals, (struct goal){GOAL_WRONG, 0});
    assert_int_equal(goals.count, 3);
    assert_true(goals.items[0].bound == 500 && goals.items[1].bound == 0.99);
}

/* Every service level of the product is a goal, with its own number, name and direction: both judge its target alike, and what lies a
 * little on either side of it. */
static void service_levels(void **state)
{
    size_t found = 0;

    (void)state;
    for (enum goal_measure measure = 0; measure < GOAL_MEASURES; measure++) {
        if (!goal_is_level(measure))
            continue;
        size_t level = 0;
        while (level < LEVELS && strcmp(levels_table[level].name, goal_name(measure)) != 0)
            level++;
        assert_true(level < LEVELS);
        assert_string_equal(goal_title(measure), levels_table[level].title);
        struct goal goal = goal_of_level(measure);
        double scale = levels_table[level].kind == LEVEL_QUANTILE ? 1000 : 1;
        const double values[] = {0, goal.bound * 0.999, goal.bound, goal.bound * 1.0001 + 1e-6, goal.bound + 1};
        assert_true(goal.bound == levels_table[level].target * scale);
        for (size_t i = 0; i < COUNT_OF(values); i++)
            assert_int_equal(
                verdict_of(goal, values[i], 1).is_met, level_judge((enum level)level, values[i] / scale) == LEVEL_MET);
        found++;
    }
    assert_int_equal(found, LEVELS);
}

static void assert_texts(struct goal goal, double measured, const char *bound, const char *value)
{
    char text[GOAL_TEXT_SIZE];

    assert_string_equal(goal_format_bound(goal, text), bound);
    assert_string_equal(goal_format(goal.measure, measured, text), value);
}

static void texts(void **state)
{
    (void)state;
    assert_texts((struct goal){GOAL_P95_MS, 2000}, 1.414, "< 2000 ms", "1.41 ms");
    assert_texts((struct goal){GOAL_AVAILABILITY, 0.999}, 1, ">= 99.90 %", "100.00 %");
    assert_texts((struct goal){GOAL_LEADS_PER_SECOND, 50}, 81.25, ">= 50/s", "81.25/s");
    assert_texts((struct goal){GOAL_STALE, 0}, 3, "0", "3");
    assert_texts((struct goal){GOAL_SESSIONS, 0.8}, 0.07, "< 80.00 %", "7.00 %");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below),
        cmocka_unit_test(shares),
        cmocka_unit_test(others),
        cmocka_unit_test(the_stricter_one_stays),
        cmocka_unit_test(service_levels),
        cmocka_unit_test(texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
