/* Goal: the next run is the first time of the schedule behind the moment asked about, at any moment of any day, and the schedule's
 * words are those of a person. Times are given, so nothing here waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "base/memory.h"
#include "jobs/schedule.h"

/* Microseconds since 1970 of a time in UTC. */
static int64_t at(int year, int month, int day, int hour, int minute, int second)
{
    struct tm parts = {.tm_year = year - 1900,
        .tm_mon = month - 1,
        .tm_mday = day,
        .tm_hour = hour,
        .tm_min = minute,
        .tm_sec = second};

    return (int64_t)timegm(&parts) * 1000000;
}

static const struct job_schedule nightly = {JOB_DAILY, 2 * 3600};
static const struct job_schedule every_ten_minutes = {JOB_EVERY, 600};
static const struct job_schedule hourly = {JOB_EVERY, 3600};
static const struct job_schedule half_minutes = {JOB_EVERY, 30};

static void test_daily(void **state)
{
    (void)state;
    assert_int_equal(job_schedule_next(&nightly, at(2026, 11, 24, 1, 59, 59)), at(2026, 11, 24, 2, 0, 0));
    assert_int_equal(job_schedule_next(&nightly, at(2026, 11, 24, 2, 0, 0)), at(2026, 11, 25, 2, 0, 0));
    assert_int_equal(job_schedule_next(&nightly, at(2026, 11, 24, 2, 0, 0) - 1), at(2026, 11, 24, 2, 0, 0));
    assert_int_equal(job_schedule_next(&nightly, at(2026, 11, 24, 23, 0, 0)), at(2026, 11, 25, 2, 0, 0));
}

static void test_ends_of_months_and_years(void **state)
{
    (void)state;
    assert_int_equal(job_schedule_next(&nightly, at(2026, 12, 31, 12, 0, 0)), at(2027, 1, 1, 2, 0, 0));
    assert_int_equal(job_schedule_next(&nightly, at(2028, 2, 28, 12, 0, 0)), at(2028, 2, 29, 2, 0, 0));
    assert_int_equal(job_schedule_next(&nightly, at(2100, 2, 28, 12, 0, 0)), at(2100, 3, 1, 2, 0, 0));
    /* The clocks change in some places on this day; not in UTC. */
    assert_int_equal(job_schedule_next(&nightly, at(2026, 3, 29, 1, 30, 0)), at(2026, 3, 29, 2, 0, 0));
    assert_int_equal(job_schedule_next(&nightly, at(1969, 12, 31, 1, 0, 0)), at(1969, 12, 31, 2, 0, 0));
}

static void test_every_so_often_counts_from_midnight(void **state)
{
    (void)state;
    assert_int_equal(job_schedule_next(&every_ten_minutes, at(2026, 11, 24, 4, 37, 12)), at(2026, 11, 24, 4, 40, 0));
    assert_int_equal(job_schedule_next(&every_ten_minutes, at(2026, 11, 24, 4, 40, 0)), at(2026, 11, 24, 4, 50, 0));
    assert_int_equal(job_schedule_next(&every_ten_minutes, at(2026, 11, 24, 23, 55, 0)), at(2026, 11, 25, 0, 0, 0));
    assert_int_equal(job_schedule_next(&hourly, at(2026, 11, 24, 4, 0, 1)), at(2026, 11, 24, 5, 0, 0));
    assert_int_equal(job_schedule_next(&half_minutes, at(1969, 12, 31, 23, 59, 45)), at(1970, 1, 1, 0, 0, 0));
}

/* Whatever the moment: later than it, not later than a period, and on the schedule. */
static void test_every_moment_of_two_days(void **state)
{
    static const struct job_schedule *const schedules[] = {&nightly, &every_ten_minutes, &hourly, &half_minutes};
    static const int64_t periods_s[] = {86400, 600, 3600, 30};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(schedules); i++)
        for (int64_t now_us = at(2028, 2, 28, 0, 0, 0); now_us < at(2028, 3, 1, 0, 0, 0); now_us += 7777777) {
            int64_t next_us = job_schedule_next(schedules[i], now_us);
            assert_true(next_us > now_us && next_us - now_us <= periods_s[i] * 1000000);
            assert_int_equal(job_schedule_next(schedules[i], next_us), next_us + periods_s[i] * 1000000);
        }
}

static void test_when_due_has_no_time(void **state)
{
    static const struct job_schedule when_due = {JOB_WHEN_DUE, 0};

    (void)state;
    assert_true(job_schedule_next(&when_due, at(2026, 11, 24, 0, 0, 0)) == INT64_MAX);
}

static void test_words(void **state)
{
    static const struct {
        struct job_schedule schedule;
        const char *text;
    } cases[] = {
        {{JOB_WHEN_DUE, 0}, "when due"},
        {{JOB_DAILY, 2 * 3600}, "daily at 02:00 UTC"},
        {{JOB_DAILY, 23 * 3600 + 59 * 60}, "daily at 23:59 UTC"},
        {{JOB_EVERY, 3600}, "hourly"},
        {{JOB_EVERY, 6 * 3600}, "every 6 h"},
        {{JOB_EVERY, 600}, "every 10 min"},
        {{JOB_EVERY, 30}, "every 30 s"},
    };
    char text[JOB_SCHEDULE_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(job_schedule_text(&cases[i].schedule, text), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_daily),
        cmocka_unit_test(test_ends_of_months_and_years),
        cmocka_unit_test(test_every_so_often_counts_from_midnight),
        cmocka_unit_test(test_every_moment_of_two_days),
        cmocka_unit_test(test_when_due_has_no_time),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
