/* Goal: a band begins where deploy/monitoring/settings.yml says, on the worse side of its bound; where a service level speaks of the
 * same number, the band begins where the level is missed; what is no number is no alarm. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "levels/levels.h"

/* What people are told. A change of the settings that changes it is to be seen here, and in docs/operations.md. */
static void where_bands_begin(void **state)
{
    static const struct level_band expected[BANDS] = {
        [BAND_SUCCESS] = {LEVEL_AT_LEAST, 0.95, 0.90, 20},
        [BAND_LOCKS] = {LEVEL_AT_LEAST, 0.95, 0.85, 100},
        [BAND_P95] = {LEVEL_AT_MOST, 2, 5, 100},
        [BAND_RETRIES_DUE] = {LEVEL_AT_MOST, 100, 500, 0},
        [BAND_RETRIES_DUE_OF_ONE] = {LEVEL_AT_MOST, 50, 500, 0},
        [BAND_RETRIES_DUE_SHOWN] = {LEVEL_AT_MOST, 50, 100, 0},
        [BAND_DUE_AGE] = {LEVEL_AT_MOST, 300, 3600, 0},
        [BAND_STALE_LOCKS] = {LEVEL_AT_MOST, 0, 10, 0},
        [BAND_PENDING_AGE] = {LEVEL_AT_MOST, 24 * 3600, INFINITY, 0},
        [BAND_JOB_LATE] = {LEVEL_AT_MOST, 300, INFINITY, 0},
        [BAND_DAYS_AHEAD] = {LEVEL_AT_LEAST, 2, 2, 0},
        [BAND_UNSEALED_AGE] = {LEVEL_AT_MOST, 300, INFINITY, 0},
        [BAND_DESCRIPTORS] = {LEVEL_AT_MOST, 0.80, 0.80, 0},
    };

    (void)state;
    for (int i = 0; i < BANDS; i++) {
        assert_int_equal(bands_table[i].bound, expected[i].bound);
        assert_true(fabs(bands_table[i].degraded - expected[i].degraded) < 1e-12);
        assert_true(bands_table[i].critical == expected[i].critical ||
                    fabs(bands_table[i].critical - expected[i].critical) < 1e-12);
        assert_int_equal(bands_table[i].events_min, expected[i].events_min);
    }
}

/* At each bound a number is still on its better side, a step beyond it is not; and worse never reads as better. */
static void edges(void **state)
{
    (void)state;
    for (int i = 0; i < BANDS; i++) {
        const struct level_band *row = &bands_table[i];
        double worse = (row->bound == LEVEL_AT_LEAST ? -1e-6 : 1e-6) * fmax(1, row->degraded);
        bool is_one = row->degraded == row->critical;
        assert_int_equal(band_judge((enum band)i, row->degraded), BAND_WELL);
        assert_int_equal(band_judge((enum band)i, row->degraded - worse), BAND_WELL);
        assert_int_equal(band_judge((enum band)i, row->degraded + worse), is_one ? BAND_CRITICAL : BAND_DEGRADED);
        if (isinf(row->critical)) {
            assert_int_equal(band_judge((enum band)i, 1e18), BAND_DEGRADED);
            continue;
        }
        assert_int_equal(band_judge((enum band)i, row->critical), is_one ? BAND_WELL : BAND_DEGRADED);
        assert_int_equal(band_judge((enum band)i, row->critical + 100 * worse), BAND_CRITICAL);
    }
}

/* Shares out of counts differ in their last bits from what is written down. */
static void the_last_bit(void **state)
{
    (void)state;
    assert_int_equal(band_judge(BAND_SUCCESS, 1 - 0.05), BAND_WELL);
    assert_int_equal(band_judge(BAND_SUCCESS, 1 - 2 / 20.0), BAND_DEGRADED);
    assert_int_equal(band_judge(BAND_LOCKS, 85 / 100.0), BAND_DEGRADED);
    assert_int_equal(band_judge(BAND_DESCRIPTORS, 80 / 100.0), BAND_WELL);
    assert_int_equal(band_judge(BAND_DESCRIPTORS, 8 * 0.1), BAND_WELL);
}

/* Health and `leadctl slo` do not contradict each other: what degrades Health is a level that is missed. */
static void levels_and_bands(void **state)
{
    static const struct {
        enum band band;
        enum level level;
        double met, missed;
    } cases[] = {
        {BAND_SUCCESS, LEVEL_SUCCESS, 0.95, 0.949},
        {BAND_LOCKS, LEVEL_LOCKS, 0.95, 0.949},
        {BAND_P95, LEVEL_P95, 1.999, 2.001},
        {BAND_RETRIES_DUE, LEVEL_RETRIES_DUE, 99, 101},
        {BAND_STALE_LOCKS, LEVEL_STALE_LOCKS, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(level_judge(cases[i].level, cases[i].met), LEVEL_MET);
        assert_int_equal(band_judge(cases[i].band, cases[i].met), BAND_WELL);
        assert_int_equal(level_judge(cases[i].level, cases[i].missed), LEVEL_MISSED);
        assert_int_equal(band_judge(cases[i].band, cases[i].missed), BAND_DEGRADED);
    }
}

static void no_number(void **state)
{
    (void)state;
    for (int i = 0; i < BANDS; i++)
        assert_int_equal(band_judge((enum band)i, NAN), BAND_WELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_bands_begin),
        cmocka_unit_test(edges),
        cmocka_unit_test(the_last_bit),
        cmocka_unit_test(levels_and_bands),
        cmocka_unit_test(no_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
