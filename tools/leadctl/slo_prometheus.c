/* Service levels from what a Prometheus has recorded (deploy/prometheus/rules.yml). */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/display.h"
#include "base/memory.h"
#include "progress.h"
#include "prometheus.h"
#include "slo.h"

enum { QUERY_SIZE_MAX = 8192, STEPS = 20000, STEP_LEAST_S = 1 };

static const double us_per_s = 1e6;

/* What every query needs. */
struct asking {
    struct prometheus *prometheus;
    const char *window;
    int64_t step_s;   /* of subqueries */
    char *matchers;   /* "job=\"a\"", or "" */
    double covered_s; /* for how long there is data */
};

/* --- Labels ------------------------------------------------------------------------------------------------------- */

static bool is_label_name(const char *text, size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";

    return size > 0 && strspn(text, letters) == size && (text[0] < '0' || text[0] > '9');
}

/* --select LABEL=VALUE, as often as there are, as matchers. */
static bool make_matchers(const struct option_list *list, char **ret_matchers, struct error *reterr_error)
{
    struct buffer text = {0};
    bool ok = true;

    buffer_init(&text, QUERY_SIZE_MAX / 2);
    for (size_t i = 0; ok && i < list->count; i++) {
        const char *equals = strchr(list->values[i], '=');
        if (equals == NULL || !is_label_name(list->values[i], (size_t)(equals - list->values[i]))) {
            ok = error_set(reterr_error, ERROR_INVALID, "--select: \"%.100s\" is not LABEL=VALUE", list->values[i]);
            break;
        }
        ok =
            buffer_append_format(&text, "%s%.*s=", i == 0 ? "" : ",", (int)(equals - list->values[i]), list->values[i]);
        ok = ok &&
             buffer_append_json_string(&text, equals + 1, strlen(equals + 1)); /* PromQL's strings have its escapes */
        if (!ok)
            error_set(reterr_error, ERROR_INVALID, "--select: too long");
    }
    if (ok)
        *ret_matchers = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    return ok;
}

/* "name{within="2s",job="a"}"; `start` has the brace and what stands in it already, or is a name alone. The caller's. */
static char *selector(const struct asking *asking, const char *start)
{
    struct buffer text = {0};
    const char *brace = strchr(start, '{');

    buffer_init(&text, QUERY_SIZE_MAX);
    buffer_append_format(&text, "%s%s%s%s}", start, brace == NULL ? "{" : "",
        brace != NULL && brace[1] != '\0' && asking->matchers[0] != '\0' ? "," : "", asking->matchers);
    char *copy = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    return copy;
}

/* --- Queries ------------------------------------------------------------------------------------------------------ */

/* Asks; NAN when there is no such series. The query is kept for people, if there is a place. */
static bool ask(struct asking *asking, char **ret_query, double *ret_value, struct error *reterr_error,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* That there are several deployments: which. */
static bool several(const struct prometheus_answer *answer, struct error *reterr_error)
{
    char *one = display_safe(answer->series[0].labels);
    char *other = display_safe(answer->series[1].labels);

    error_set(reterr_error, ERROR_INVALID,
        "Prometheus watches %zu deployments, %.120s and %.120s among them: --select LABEL=VALUE says which is meant",
        answer->count, one, other);
    free(one);
    free(other);
    return false;
}

static bool ask(
    struct asking *asking, char **ret_query, double *ret_value, struct error *reterr_error, const char *format, ...)
{
    struct prometheus_answer answer = {0};
    va_list arguments;

    va_start(arguments, format);
    char *query = memory_format_list(format, arguments);
    va_end(arguments);
    bool ok = prometheus_query(asking->prometheus, query, &answer, reterr_error);
    if (ok && answer.count > 1)
        ok = several(&answer, reterr_error);
    if (ok)
        *ret_value = answer.count == 0 || !isfinite(answer.series[0].value) ? NAN : answer.series[0].value;
    if (ok && ret_query != NULL)
        *ret_query = query;
    else
        free(query);
    prometheus_answer_release(&answer);
    return ok;
}

/* Which share of the events was not well, and about how many there were: a mean rate, for as long as there is data. */
static bool ask_share(
    struct asking *asking, const struct level_family *family, struct slo_measure *measure, struct error *reterr_error)
{
    char *bad_series = selector(asking, family->bad);
    char *all_series = selector(asking, family->all);
    double bad = NAN;
    double all = NAN;
    bool ok =
        ask(asking, &measure->queries[0], &bad, reterr_error, "avg_over_time(%s[%s])", bad_series, asking->window) &&
        ask(asking, &measure->queries[1], &all, reterr_error, "avg_over_time(%s[%s])", all_series, asking->window);

    free(bad_series);
    free(all_series);
    if (!ok)
        return false;
    measure->bad_share = level_bad_share(bad, all);
    measure->value = 1 - measure->bad_share;
    measure->events = all * asking->covered_s;
    return true;
}

static bool ask_quantile(
    struct asking *asking, enum level level, struct slo_measure *measure, struct error *reterr_error)
{
    const struct level_family *family = &levels_table[level];
    char *series = selector(asking, family->buckets);
    double seconds = NAN;
    bool ok = ask_share(asking, family, measure, reterr_error) &&
              ask(asking, &measure->queries[2], &seconds, reterr_error, "histogram_quantile(%g, avg_over_time(%s[%s]))",
                  family->share, series, asking->window);

    free(series);
    measure->value = level_quantile(level, seconds, measure->bad_share);
    return ok;
}

/* The most that there was; what is there now; and for which share of the time it was as it should be. */
static bool ask_gauge(
    struct asking *asking, const struct level_family *family, struct slo_measure *measure, struct error *reterr_error)
{
    char *series = selector(asking, family->all);
    bool ok = ask(asking, &measure->queries[0], &measure->value, reterr_error, "max_over_time(%s[%s])", series,
                  asking->window) &&
              ask(asking, &measure->queries[1], &measure->now, reterr_error, "%s", series) &&
              ask(asking, &measure->queries[2], &measure->kept_share, reterr_error,
                  "avg_over_time((%s %s bool %g)[%s:%" PRId64 "s])", series,
                  family->bound == LEVEL_BELOW ? "<" : "<=", family->target, asking->window, asking->step_s);

    free(series);
    return ok;
}

static bool ask_level(struct asking *asking, enum level level, struct slo_measure *measure, struct error *reterr_error)
{
    const struct level_family *family = &levels_table[level];

    switch (family->kind) {
    case LEVEL_SHARE:
        return ask_share(asking, family, measure, reterr_error);
    case LEVEL_QUANTILE:
        return ask_quantile(asking, level, measure, reterr_error);
    case LEVEL_GAUGE:
        break;
    }
    return ask_gauge(asking, family, measure, reterr_error);
}

/* For how long, within the time that is asked about, there was anything: by the steps at which a query finds it. */
static bool ask_coverage(struct asking *asking, struct slo_report *report, struct error *reterr_error)
{
    char *series = selector(asking, levels_table[LEVEL_AVAILABILITY].all);
    double steps = NAN;
    bool ok = ask(asking, NULL, &steps, reterr_error, "count_over_time(%s[%s:%" PRId64 "s])", series, asking->window,
        asking->step_s);

    free(series);
    if (ok && !isnan(steps))
        report->covered_s = (int64_t)steps * asking->step_s;
    if (report->covered_s > report->window_s)
        report->covered_s = report->window_s;
    asking->covered_s = (double)report->covered_s;
    return ok;
}

bool slo_measure_prometheus(const struct arguments *arguments, struct slo_report *report, struct error *reterr_error)
{
    const struct prometheus_options options = {.url = arguments->prometheus,
        .ca_file = arguments->prometheus_ca,
        .certificate_file = arguments->prometheus_certificate,
        .key_file = arguments->prometheus_key,
        .token_file = arguments->prometheus_token_file,
        .user = arguments->prometheus_user,
        .timeout_s = arguments->timeout};
    struct asking asking = {.window = arguments->window};
    struct progress *progress = NULL;
    bool ok = make_matchers(&arguments->selected, &asking.matchers, reterr_error) &&
              prometheus_new(&options, &asking.prometheus, reterr_error);

    report->source = "prometheus";
    report->address = arguments->prometheus;
    asking.step_s = report->window_s / STEPS < STEP_LEAST_S ? STEP_LEAST_S : report->window_s / STEPS;
    if (ok) {
        progress = progress_new();
        progress_set(progress, "asking Prometheus");
        ok = ask_coverage(&asking, report, reterr_error);
    }
    for (int i = 0; ok && i < LEVELS; i++) {
        progress_set(progress, "asking Prometheus: %s", levels_table[i].title);
        ok = ask_level(&asking, (enum level)i, &report->measures[i], reterr_error);
    }
    progress_free(progress);
    if (ok)
        report->until_us = (int64_t)(prometheus_time(asking.prometheus) * us_per_s);
    if (ok && prometheus_warning(asking.prometheus)[0] != '\0') {
        char *warning = display_safe(prometheus_warning(asking.prometheus));
        fprintf(stderr, "leadctl: Prometheus warns: %s\n", warning);
        free(warning);
    }
    prometheus_free(asking.prometheus);
    free(asking.matchers);
    return ok;
}
