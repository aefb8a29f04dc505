#include "levels/levels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings.h"

enum { DIGITS_MAX = 9 };

static const double nothing = 1e-9; /* smaller differences are the arithmetic's */

#define TEXT_OF(number) #number
#define SECONDS(number) TEXT_OF(number) "s"

const struct level_family levels_table[LEVELS] = {
    [LEVEL_AVAILABILITY] = {.name = "availability",
        .title = "availability",
        .definition = "calls not answered UNAVAILABLE, INTERNAL, UNKNOWN or DEADLINE_EXCEEDED, whatever became of the "
                      "lead; health checks and reflection do not count",
        .events = "calls",
        .kind = LEVEL_SHARE,
        .bound = LEVEL_AT_LEAST,
        .target = SETTING_AVAILABILITY,
        .bad = "leadrouter:rpc_failed:rate5m{",
        .all = "leadrouter:rpc_handled:rate5m"},
    [LEVEL_SUCCESS] = {.name = "routing_success",
        .title = "routing success",
        .definition = "of final decisions (routed, duplicate, failed) those that were routed or duplicates; what will "
                      "be tried again is none",
        .events = "decisions",
        .kind = LEVEL_SHARE,
        .bound = LEVEL_AT_LEAST,
        .target = SETTING_SUCCESS_SHARE_LEVEL,
        .bad = "leadrouter:decisions_failed:rate5m{",
        .all = "leadrouter:decisions_final:rate5m"},
    [LEVEL_P95] = {.name = "latency_p95",
        .title = "p95 latency",
        .definition = "how long callers waited for an outcome, by the server's clock: 95 in 100 no longer than this",
        .events = "outcomes",
        .kind = LEVEL_QUANTILE,
        .bound = LEVEL_BELOW,
        .target = SETTING_P95_SECONDS,
        .share = SETTING_P95_SHARE,
        .bad = "leadrouter:decisions_late:rate5m{within=\"" SECONDS(SETTING_P95_SECONDS) "\"",
        .all = "leadrouter:decisions_waited_for:rate5m",
        .buckets = "leadrouter:routing_duration_seconds_bucket:rate5m"},
    [LEVEL_P99] = {.name = "latency_p99",
        .title = "p99 latency",
        .definition = "how long callers waited for an outcome, by the server's clock: 99 in 100 no longer than this",
        .events = "outcomes",
        .kind = LEVEL_QUANTILE,
        .bound = LEVEL_BELOW,
        .target = SETTING_P99_SECONDS,
        .share = SETTING_P99_SHARE,
        .bad = "leadrouter:decisions_late:rate5m{within=\"" SECONDS(SETTING_P99_SECONDS) "\"",
        .all = "leadrouter:decisions_waited_for:rate5m",
        .buckets = "leadrouter:routing_duration_seconds_bucket:rate5m"},
    [LEVEL_RETRIES_DUE] = {.name = "retries_due",
        .title = "retries due",
        .definition = "rows of the retry queue whose turn has come",
        .kind = LEVEL_GAUGE,
        .bound = LEVEL_BELOW,
        .target = SETTING_RETRIES_DUE_LEVEL,
        .all = "leadrouter:retries_due:max"},
    [LEVEL_LOCKS] = {.name = "lock_acquisition",
        .title = "lock acquisition",
        .definition = "of the leads that callers asked for and that could be decided, those that nobody held",
        .events = "leads",
        .kind = LEVEL_SHARE,
        .bound = LEVEL_AT_LEAST,
        .target = SETTING_LOCK_SHARE_LEVEL,
        .bad = "leadrouter:locks_passed_over:rate5m{",
        .all = "leadrouter:lock_attempts:rate5m"},
    [LEVEL_STALE_LOCKS] = {.name = "stale_locks",
        .title = "stale locks",
        .definition = "leads that a worker has held for more than five minutes",
        .kind = LEVEL_GAUGE,
        .bound = LEVEL_AT_MOST,
        .target = SETTING_STALE_LOCKS_LEVEL,
        .all = "leadrouter:stale_locks:max"},
};

enum level_verdict level_judge(enum level level, double value)
{
    const struct level_family *family = &levels_table[level];
    double slack = nothing * (family->target > 1 ? family->target : 1);
    bool is_met = family->bound == LEVEL_AT_LEAST ? value >= family->target - slack
                  : family->bound == LEVEL_BELOW  ? value < family->target - slack
                                                  : value <= family->target + slack;

    if (isnan(value))
        return LEVEL_NO_DATA;
    return is_met ? LEVEL_MET : LEVEL_MISSED;
}

double level_bad_share(double bad, double all)
{
    if (!isfinite(bad) || !isfinite(all) || all <= 0)
        return NAN;
    /* Two sums of rates: a bucket and the count of the same events may differ by what the arithmetic lost. */
    return bad < nothing * all ? 0 : bad > all ? 1 : bad / all;
}

double level_budget_left(enum level level, double bad_share)
{
    const struct level_family *family = &levels_table[level];
    double allowed = 1 - (family->kind == LEVEL_SHARE ? family->target : family->share);

    if (family->kind == LEVEL_GAUGE || isnan(bad_share))
        return NAN;
    double left = 1 - bad_share / allowed;
    return fabs(left) < nothing ? 0 : left;
}

double level_quantile(enum level level, double value, double bad_share)
{
    static const double least = 1e-6; /* what a wait is counted in */
    const struct level_family *family = &levels_table[level];
    bool is_below = bad_share <= 1 - family->share + nothing; /* not for NAN */

    return is_below && value >= family->target - least ? family->target - least : value;
}

/* --- Texts -------------------------------------------------------------------------------------------------------- */

/* A number without zeros at its end, in a unit that is as many times larger than the value's. */
static double put(double value, double times, int digits, const char *unit, char text[LEVEL_TEXT_SIZE])
{
    char number[LEVEL_TEXT_SIZE];

    snprintf(number, sizeof(number), "%.*f", digits, value * times);
    if (digits > 0) {
        size_t size = strlen(number);
        while (number[size - 1] == '0')
            number[--size] = '\0';
        if (number[size - 1] == '.')
            number[size - 1] = '\0';
    }
    snprintf(text, LEVEL_TEXT_SIZE, "%.20s%s", number, unit);
    return strtod(number, NULL) / times;
}

static double put_with(const struct level_family *family, double value, int digits, char text[LEVEL_TEXT_SIZE])
{
    switch (family->kind) {
    case LEVEL_SHARE:
        return put(value, 100, digits, " %", text);
    case LEVEL_QUANTILE:
        return value < 1 ? put(value, 1000, digits - 1, " ms", text) : put(value, 1, digits, " s", text);
    case LEVEL_GAUGE:
        break;
    }
    return put(value, 1, digits - 2, "", text);
}

const char *level_format(enum level level, double value, char ret_text[LEVEL_TEXT_SIZE])
{
    const struct level_family *family = &levels_table[level];
    int digits = 2;

    if (isnan(value)) {
        snprintf(ret_text, LEVEL_TEXT_SIZE, "-");
        return ret_text;
    }
    while (digits < DIGITS_MAX &&
           level_judge(level, put_with(family, value, digits, ret_text)) != level_judge(level, value))
        digits++;
    return ret_text;
}

const char *level_format_target(enum level level, char ret_text[LEVEL_TEXT_SIZE])
{
    static const char *const signs[] = {"≥ ", "< ", "≤ "};
    const struct level_family *family = &levels_table[level];
    char number[LEVEL_TEXT_SIZE];
    bool is_none = family->bound == LEVEL_AT_MOST && family->target == 0;

    put_with(family, family->target, DIGITS_MAX - 2, number);
    snprintf(ret_text, LEVEL_TEXT_SIZE, "%s%.20s", is_none ? "" : signs[family->bound], number);
    return ret_text;
}

const char *level_verdict_name(enum level_verdict verdict)
{
    static const char *const names[] = {"met", "missed", "no data"};

    return names[verdict];
}
