/* Goal: each kind of warning and error is counted once per line, also of lines that are left out of the log; the latest stands first;
 * what is in their fields is not kept; and there is a bound. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "recent_errors.h"

static void test_counts(void **state)
{
    const struct log_field fields[] = {LOG_STRING("error", "somebody@example.com"), LOG_END};
    struct recent_error errors[RECENT_ERRORS_MAX];

    (void)state;
    assert_int_equal(recent_errors_read(errors), 0);
    log_write(LOG_LEVEL_INFO, "a.info", "no warning", NULL);
    log_write(LOG_LEVEL_ERROR, "a.error", "an error", fields);
    for (int i = 0; i < 5 * LOG_ALIKE_MAX; i++)
        log_write_limited(LOG_LEVEL_WARNING, "a.warning", "a warning", fields, 1);
    assert_int_equal(recent_errors_read(errors), 2);
    assert_string_equal(errors[0].event, "a.warning");
    assert_string_equal(errors[0].message, "a warning");
    assert_int_equal(errors[0].count, 5 * LOG_ALIKE_MAX);
    assert_true(errors[0].first_us > 0 && errors[0].first_us <= errors[0].last_us);
    assert_int_equal(errors[1].level, LOG_LEVEL_ERROR);
    log_write(LOG_LEVEL_ERROR, "a.error", "an error", fields);
    assert_int_equal(recent_errors_read(errors), 2);
    assert_string_equal(errors[0].event, "a.error");
    assert_int_equal(errors[0].count, 2);
}

/* Of more kinds than there is room for, those seen longest ago are forgotten. */
static void test_a_bound(void **state)
{
    static char events[RECENT_ERRORS_MAX + 4][16];
    struct recent_error errors[RECENT_ERRORS_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        snprintf(events[i], sizeof(events[i]), "kind.%zu", i);
        log_write(LOG_LEVEL_WARNING, events[i], "a warning", NULL);
    }
    assert_int_equal(recent_errors_read(errors), RECENT_ERRORS_MAX);
    assert_string_equal(errors[0].event, events[COUNT_OF(events) - 1]);
    assert_string_equal(errors[RECENT_ERRORS_MAX - 1].event, events[4]);
    assert_int_equal(errors[0].count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts), cmocka_unit_test(test_a_bound)};
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    log_setup(nowhere, LOG_LEVEL_INFO);
    recent_errors_watch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
