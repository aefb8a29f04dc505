/* When jobs run: functions of time and nothing else. All times are UTC. Any thread. */
#ifndef JOBS_SCHEDULE_H
#define JOBS_SCHEDULE_H

#include <stdint.h>

enum job_schedule_kind {
    JOB_WHEN_DUE, /* by what there is to do, not by the clock */
    JOB_EVERY,    /* every `seconds`, counted from midnight */
    JOB_DAILY,    /* `seconds` after midnight */
};

struct job_schedule {
    enum job_schedule_kind kind;
    int32_t seconds; /* EVERY: a divisor of a day; DAILY: below a day */
};

enum { JOB_SCHEDULE_TEXT_SIZE = 32 };

/* The first time of the schedule that is later than `after_us` (microseconds since 1970); INT64_MAX for JOB_WHEN_DUE. */
int64_t job_schedule_next(const struct job_schedule *schedule, int64_t after_us);

/* The schedule in words: "every 10 min", "daily at 02:00 UTC", "when due". Returns `ret_text`. */
const char *job_schedule_text(const struct job_schedule *schedule, char ret_text[JOB_SCHEDULE_TEXT_SIZE]);

#endif
