#include <assert.h>
#include <math.h>

#include "levels/levels.h"
#include "settings.h"

static const double nothing = 1e-9; /* smaller differences are the arithmetic's */

/* Where a band begins beyond a service level, the level says where. */
const struct level_band bands_table[BANDS] = {
    [BAND_SUCCESS] = {LEVEL_AT_LEAST, SETTING_SUCCESS_SHARE_LEVEL, 1 - SETTING_FAILURE_SHARE, SETTING_DECISIONS_MIN},
    [BAND_LOCKS] = {LEVEL_AT_LEAST, SETTING_LOCK_SHARE_LEVEL, SETTING_LOCK_SHARE_CRITICAL, SETTING_LOCKS_MIN},
    [BAND_P95] = {LEVEL_AT_MOST, SETTING_P95_SECONDS, SETTING_P95_CRITICAL_SECONDS, SETTING_CALLS_MIN},
    [BAND_RETRIES_DUE] = {LEVEL_AT_MOST, SETTING_RETRIES_DUE_LEVEL, SETTING_RETRIES_DUE_PAGE, 0},
    [BAND_RETRIES_DUE_OF_ONE] = {LEVEL_AT_MOST, SETTING_WORKSPACE_RETRIES_DUE, SETTING_RETRIES_DUE_PAGE, 0},
    [BAND_RETRIES_DUE_SHOWN] = {LEVEL_AT_MOST, SETTING_RETRIES_DUE_SHOWN, SETTING_RETRIES_DUE_LEVEL, 0},
    [BAND_DUE_AGE] = {LEVEL_AT_MOST, SETTING_DUE_AGE_SECONDS, SETTING_DUE_AGE_PAGE_SECONDS, 0},
    [BAND_STALE_LOCKS] = {LEVEL_AT_MOST, SETTING_STALE_LOCKS_LEVEL, SETTING_STALE_LOCKS, 0},
    [BAND_PENDING_AGE] = {LEVEL_AT_MOST, SETTING_PENDING_AGE_SECONDS, INFINITY, 0},
    [BAND_JOB_LATE] = {LEVEL_AT_MOST, SETTING_JOB_LATE_SECONDS, INFINITY, 0},
    [BAND_DAYS_AHEAD] = {LEVEL_AT_LEAST, SETTING_PARTITION_DAYS, SETTING_PARTITION_DAYS, 0},
    [BAND_UNSEALED_AGE] = {LEVEL_AT_MOST, SETTING_UNSEALED_AGE_SECONDS, INFINITY, 0},
    [BAND_DESCRIPTORS] = {LEVEL_AT_MOST, SETTING_DESCRIPTOR_SHARE, SETTING_DESCRIPTOR_SHARE, 0},
};

static bool is_beyond(enum level_bound bound, double value, double edge)
{
    double slack = nothing * (fabs(edge) > 1 ? fabs(edge) : 1);

    if (isinf(edge))
        return false;
    return bound == LEVEL_AT_LEAST ? value < edge - slack : value > edge + slack;
}

enum band_word band_judge(enum band band, double value)
{
    const struct level_band *row = &bands_table[band];

    assert(row->bound != LEVEL_BELOW);
    if (is_beyond(row->bound, value, row->critical))
        return BAND_CRITICAL;
    return is_beyond(row->bound, value, row->degraded) ? BAND_DEGRADED : BAND_WELL;
}
