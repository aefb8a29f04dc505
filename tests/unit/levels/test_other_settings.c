/* Goal: whatever the settings are, a band begins where the service level of the same number ends, and what is true of one
 * workspace is no measure for all: numbers that are alike in deploy/monitoring/settings.yml are not taken for each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "levels/levels.h"
#include "settings.h"

static void a_band_begins_beyond_its_level(void **state)
{
    static const struct {
        enum band band;
        enum level level;
    } pairs[] = {{BAND_SUCCESS, LEVEL_SUCCESS}, {BAND_LOCKS, LEVEL_LOCKS}, {BAND_P95, LEVEL_P95},
        {BAND_RETRIES_DUE, LEVEL_RETRIES_DUE}, {BAND_STALE_LOCKS, LEVEL_STALE_LOCKS}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        assert_true(bands_table[pairs[i].band].degraded == levels_table[pairs[i].level].target);
}

/* A number of all is red on the page when Health is degraded by it, and warned of before that. */
static void retries_due(void **state)
{
    (void)state;
    assert_true(bands_table[BAND_RETRIES_DUE_SHOWN].degraded == SETTING_RETRIES_DUE_SHOWN);
    assert_true(bands_table[BAND_RETRIES_DUE_SHOWN].critical == bands_table[BAND_RETRIES_DUE].degraded);
    assert_true(bands_table[BAND_RETRIES_DUE].critical == SETTING_RETRIES_DUE_PAGE);
    assert_true(bands_table[BAND_RETRIES_DUE_OF_ONE].degraded == SETTING_WORKSPACE_RETRIES_DUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_band_begins_beyond_its_level),
        cmocka_unit_test(retries_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
