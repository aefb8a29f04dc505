/* The service levels: what was promised, what it is measured by, and whether a measurement keeps it. One table (levels.c), for
 * whoever measures. Pure functions; any thread. */
#ifndef LEVELS_LEVELS_H
#define LEVELS_LEVELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum level {
    LEVEL_AVAILABILITY,
    LEVEL_SUCCESS,
    LEVEL_P95,
    LEVEL_P99,
    LEVEL_RETRIES_DUE,
    LEVEL_LOCKS,
    LEVEL_STALE_LOCKS,
    LEVELS
};

/* What kind of number it is, and so how it is measured. */
enum level_kind {
    LEVEL_SHARE,    /* of events, from 0 to 1: those that are well */
    LEVEL_QUANTILE, /* seconds that a share of events does not exceed */
    LEVEL_GAUGE,    /* a count of what is there: over a time, the most that there was */
};

enum level_bound { LEVEL_AT_LEAST, LEVEL_BELOW, LEVEL_AT_MOST };

/* One row of the table. */
struct level_family {
    const char *name;  /* for programs: "retries_due" */
    const char *title; /* for people: "retries due" */
    const char *definition;
    const char *events; /* what a share or quantile is of: "calls" */
    enum level_kind kind;
    enum level_bound bound;
    double target;
    double share; /* of LEVEL_QUANTILE: of the events; otherwise 0 */
    /* Series that deploy/prometheus/rules.yml records. Of shares and quantiles, rates of 5 minutes: of the events that are not well,
     * and of all of them. Of a quantile, also the buckets' rates. Of a gauge `all` alone: itself. */
    const char *bad; /* with its matchers within braces left open: "{within=\"2s\"", or "{" */
    const char *all;
    const char *buckets;
};
extern const struct level_family levels_table[LEVELS];

enum level_verdict { LEVEL_MET, LEVEL_MISSED, LEVEL_NO_DATA };

enum { LEVEL_TEXT_SIZE = 32 };

/* Whether a value keeps a level. What is no number (NAN) is no data. A difference of a billionth is none: shares are sums of
 * rates. */
enum level_verdict level_judge(enum level level, double value);

/* Shares of events that are not well, out of two counts or rates; NAN if `all` is not above 0, or either is no number. */
double level_bad_share(double bad, double all);

/* Of the events that may be bad, the share that is left: 1 when none was, 0 when all are used up, negative beyond that. NAN for a
 * gauge, and for what is no number. */
double level_budget_left(enum level level, double bad_share);

/* A quantile that agrees with the share of events that are bad: estimates lie a little above the truth, and while no more events
 * than may be are as late as the target, the true one is below it. NAN stays NAN. */
double level_quantile(enum level level, double value, double bad_share);

/* "99.95 %", "12 ms", "3": as many digits as are needed to lie on the same side of the target; "-" for what is no number. */
const char *level_format(enum level level, double value, char ret_text[LEVEL_TEXT_SIZE]);

/* "≥ 99.9 %", "< 2 s", "0". */
const char *level_format_target(enum level level, char ret_text[LEVEL_TEXT_SIZE]);

/* "met" */
const char *level_verdict_name(enum level_verdict verdict);

/* How things are at this moment, for Health and the live page: numbers that may go some way beyond what is well, and no further. */
enum band {
    BAND_SUCCESS,            /* share of final decisions */
    BAND_LOCKS,              /* share of the leads that callers asked for that nobody held */
    BAND_P95,                /* seconds */
    BAND_RETRIES_DUE,        /* rows */
    BAND_RETRIES_DUE_OF_ONE, /* rows of one workspace */
    BAND_RETRIES_DUE_SHOWN,  /* rows: who looks at a page is told earlier */
    BAND_DUE_AGE,            /* seconds, of the oldest due row */
    BAND_STALE_LOCKS,        /* leads */
    BAND_PENDING_AGE,        /* seconds, of the oldest pending lead */
    BAND_JOB_LATE,           /* seconds */
    BAND_DAYS_AHEAD,         /* days after today that the audit log has partitions for */
    BAND_UNSEALED_AGE,       /* seconds, of the oldest row of the audit log without a seal */
    BAND_DESCRIPTORS,        /* share of those that there may be */
    BANDS
};

/* One row of the table (bands.c). */
struct level_band {
    enum level_bound bound;    /* LEVEL_AT_LEAST: less is worse; LEVEL_AT_MOST: more is */
    double degraded, critical; /* beyond it; infinite where nothing is so bad */
    uint64_t events_min; /* of a share or quantile: of fewer it says little, and is not to be judged; otherwise 0 */
};
extern const struct level_band bands_table[BANDS];

enum band_word { BAND_WELL, BAND_DEGRADED, BAND_CRITICAL };

/* Which word a number deserves. At a bound it is still on the better side, but for a billionth; NAN is well. */
enum band_word band_judge(enum band band, double value);

#endif
