#include "jobs/schedule.h"

#include <assert.h>
#include <stdio.h>

enum { DAY_S = 86400, HOUR_S = 3600, MINUTE_S = 60 };

static const int64_t second_us = 1000000;

/* The largest multiple of `step` that is not above `value`, also below zero. */
static int64_t round_down(int64_t value, int64_t step)
{
    int64_t rest = value % step;

    return value - (rest < 0 ? rest + step : rest);
}

int64_t job_schedule_next(const struct job_schedule *schedule, int64_t after_us)
{
    int64_t step_us = 0;
    int64_t offset_us = 0;

    switch (schedule->kind) {
    case JOB_WHEN_DUE:
        return INT64_MAX;
    case JOB_EVERY:
        assert(schedule->seconds > 0 && DAY_S % schedule->seconds == 0);
        step_us = schedule->seconds * second_us;
        break;
    case JOB_DAILY:
        assert(schedule->seconds >= 0 && schedule->seconds < DAY_S);
        step_us = DAY_S * second_us;
        offset_us = schedule->seconds * second_us;
        break;
    }
    return round_down(after_us - offset_us, step_us) + offset_us + step_us;
}

const char *job_schedule_text(const struct job_schedule *schedule, char ret_text[JOB_SCHEDULE_TEXT_SIZE])
{
    int seconds = schedule->seconds;

    if (schedule->kind == JOB_WHEN_DUE)
        snprintf(ret_text, JOB_SCHEDULE_TEXT_SIZE, "when due");
    else if (schedule->kind == JOB_DAILY)
        snprintf(ret_text, JOB_SCHEDULE_TEXT_SIZE, "daily at %02d:%02d UTC", seconds / HOUR_S, seconds / MINUTE_S % 60);
    else if (seconds == HOUR_S)
        snprintf(ret_text, JOB_SCHEDULE_TEXT_SIZE, "hourly");
    else if (seconds % HOUR_S == 0)
        snprintf(ret_text, JOB_SCHEDULE_TEXT_SIZE, "every %d h", seconds / HOUR_S);
    else if (seconds % MINUTE_S == 0)
        snprintf(ret_text, JOB_SCHEDULE_TEXT_SIZE, "every %d min", seconds / MINUTE_S);
    else
        snprintf(ret_text, JOB_SCHEDULE_TEXT_SIZE, "every %d s", seconds);
    return ret_text;
}
