/* Goal: whatever is wrong with the decisions of a run is counted, each kind by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "workload.h"

static const struct workload_check good = {.sold = 90, .duplicates = 10, .deciding = 100};

static void assert_wrong(const struct workload_check *check, int64_t answered, int64_t count, const char *part)
{
    char text[WORKLOAD_TEXT_SIZE];

    assert_int_equal(workload_count_wrong(check, answered, text), count);
    assert_non_null(strstr(text, part));
}

static void each_kind(void **state)
{
    struct workload_check check = good;

    (void)state;
    assert_wrong(&check, 100, 0, "100 deciding log rows for 100 decided leads");
    check.sold_twice = 3;
    assert_wrong(&check, 100, 3, "3 identities sold twice");
    check = good;
    check.unsold = 2;
    assert_wrong(&check, 100, 2, "2 never");
    check = good;
    check.wrong_rules = 4;
    assert_wrong(&check, 100, 4, "4 leads by a wrong rule");
    check = good;
    check.lost = 5;
    assert_wrong(&check, 100, 5, "5 lost");
    check = good;
    check.deciding = 99; /* a lead without a row, and one with two */
    assert_wrong(&check, 100, 1, "99 deciding log rows");
    check.deciding = 101;
    assert_wrong(&check, 100, 1, "101 deciding log rows");
}

/* Answers and decisions are as many; when answers were lost, nobody knows how many leads were decided. */
static void answers(void **state)
{
    (void)state;
    assert_wrong(&good, 101, 1, "1 are not what was answered");
    assert_wrong(&good, 98, 2, "2 are not what was answered");
    assert_wrong(&good, -1, 0, "0 are not what was answered");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind),
        cmocka_unit_test(answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
