/* Goal: descriptors are counted as they are, the limit is raised as far as it goes, and 80 % is where it gets short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "descriptors.h"

enum { MORE = 7, LIMIT = 64 };

static void open_ones_are_counted(void **state)
{
    struct descriptors before = {0};
    struct descriptors after = {0};
    int opened[MORE];

    (void)state;
    int64_t used = descriptors_used(&before);
    for (size_t i = 0; i < COUNT_OF(opened); i++)
        assert_true((opened[i] = dup(STDERR_FILENO)) >= 0);
    assert_int_equal(descriptors_used(&after), used + MORE);
    assert_int_equal(descriptors_used(&before), used); /* kept for a second */
    for (size_t i = 0; i < COUNT_OF(opened); i++)
        close(opened[i]);
}

static void limit_is_raised_and_reached(void **state)
{
    struct rlimit limit;
    struct descriptors full = {0};
    int opened[LIMIT];
    size_t count = 0;

    (void)state;
    limit = (struct rlimit){.rlim_cur = LIMIT / 2, .rlim_max = LIMIT};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(descriptors_limit(), LIMIT / 2);
    assert_int_equal(descriptors_raise(), LIMIT);
    while ((opened[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    assert_int_equal(descriptors_used(&full), LIMIT);
    while (count > 0)
        close(opened[--count]);
}

static void eighty_percent(void **state)
{
    (void)state;
    assert_false(descriptors_are_short(80, 100));
    assert_true(descriptors_are_short(81, 100));
    assert_true(descriptors_are_short(1024, 1024));
    assert_false(descriptors_are_short(INT32_MAX / 2, INT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_ones_are_counted), cmocka_unit_test(eighty_percent),
        cmocka_unit_test(limit_is_raised_and_reached), /* last: the limit stays */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
