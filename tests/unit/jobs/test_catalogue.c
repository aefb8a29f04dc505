/* Goal: the table of jobs is whole: in order, each with a sentence, a schedule that can be computed, a grace, and either steps or a
 * function; and jobs are found by their names only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "jobs/internal.h"

static void test_entries_are_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < jobs_catalogue_count; i++) {
        const struct job_entry *entry = &jobs_catalogue[i];
        size_t length = strlen(entry->base.description);
        assert_true(i == 0 || strcmp(jobs_catalogue[i - 1].base.name, entry->base.name) < 0);
        assert_int_equal(entry->base.description[length - 1], '.');
        assert_true(job_schedule_next(&entry->base.schedule, 0) > 0);
        assert_true(entry->grace_ms >= 10000);
        assert_true((entry->run != NULL) != (entry->steps[0].label != NULL));
    }
}

static void test_found_by_name(void **state)
{
    (void)state;
    assert_string_equal(jobs_find("stale_locks")->name, "stale_locks");
    assert_null(jobs_find("stale"));
    assert_null(jobs_find(""));
    assert_string_equal(jobs_describe(0)->name, jobs_catalogue[0].base.name);
    assert_null(jobs_describe(jobs_catalogue_count));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_entries_are_whole), cmocka_unit_test(test_found_by_name)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
