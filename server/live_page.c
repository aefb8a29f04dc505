#include "live_page.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "admin_pages.h"
#include "base/clock.h"
#include "base/memory.h"
#include "levels/levels.h"
#include "live_history.h"
#include "recent_errors.h"

static const int64_t us_per_ms = 1000;

/* Trusted types besides: text that would become markup is an error in the browser, whatever the script did wrong. */
static const char page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/* --- Files -------------------------------------------------------------------------------------------------------- */

static void serve_file(const struct live_page_file *file, struct admin_answer *answer)
{
    answer->content_type = file->content_type;
    answer->policy = page_policy;
    answer->tag = file->tag;
    buffer_append(&answer->body, file->text, file->size);
}

void live_page_serve_html(void *user, bool is_known, struct admin_answer *answer)
{
    (void)user;
    (void)is_known;
    serve_file(&live_page_html, answer);
}

void live_page_serve_css(void *user, bool is_known, struct admin_answer *answer)
{
    (void)user;
    (void)is_known;
    serve_file(&live_page_css, answer);
}

void live_page_serve_js(void *user, bool is_known, struct admin_answer *answer)
{
    (void)user;
    (void)is_known;
    serve_file(&live_page_js, answer);
}

/* --- /api/live ---------------------------------------------------------------------------------------------------- */

/* What can be said of each step, as a column. */
static const struct column {
    const char *name;
    enum { COLUMN_DECISIONS, COLUMN_LOCKS, COLUMN_WAITS, COLUMN_GAUGES } kind;
    size_t place;
} columns[] = {
    {"routed", COLUMN_DECISIONS, METRICS_OUTCOME_ROUTED},
    {"duplicate", COLUMN_DECISIONS, METRICS_OUTCOME_DUPLICATE},
    {"queuedForRetry", COLUMN_DECISIONS, METRICS_OUTCOME_QUEUED_FOR_RETRY},
    {"failed", COLUMN_DECISIONS, METRICS_OUTCOME_FAILED},
    {"expired", COLUMN_DECISIONS, METRICS_OUTCOME_EXPIRED},
    {"lockAcquired", COLUMN_LOCKS, METRICS_LOCK_ACQUIRED},
    {"lockPassedOver", COLUMN_LOCKS, METRICS_LOCK_PASSED_OVER},
    {"p50Ms", COLUMN_WAITS, LIVE_QUANTILE_P50},
    {"p95Ms", COLUMN_WAITS, LIVE_QUANTILE_P95},
    {"p99Ms", COLUMN_WAITS, LIVE_QUANTILE_P99},
    {"due", COLUMN_GAUGES, LIVE_GAUGE_DUE},
    {"depth", COLUMN_GAUGES, LIVE_GAUGE_DEPTH},
    {"stale", COLUMN_GAUGES, LIVE_GAUGE_STALE},
    {"pending", COLUMN_GAUGES, LIVE_GAUGE_PENDING},
};

/* null where nothing is known. */
static json_t *cell(const struct live_point *point, const struct column *column)
{
    switch (column->kind) {
    case COLUMN_DECISIONS:
        return json_integer((json_int_t)point->decisions[column->place]);
    case COLUMN_LOCKS:
        return json_integer((json_int_t)point->locks[column->place]);
    case COLUMN_WAITS:
        return point->waits == 0 ? json_null() : json_real((double)point->waits_us[column->place] / (double)us_per_ms);
    case COLUMN_GAUGES:
        break;
    }
    return point->gauges[column->place] < 0 ? json_null() : json_integer((json_int_t)point->gauges[column->place]);
}

static json_t *history_object(struct live_history *history, enum live_span span)
{
    struct live_view *view = memory_new(sizeof(*view));
    json_t *object = NULL;

    live_history_read(history, span, view);
    object = json_pack("{s:i, s:I, s:I}", "stepSeconds", view->step_s, "endUnixMs", (json_int_t)view->end_unix_ms,
        "count", (json_int_t)view->count);
    for (size_t i = 0; i < COUNT_OF(columns); i++) {
        json_t *array = json_array();
        for (size_t point = 0; point < view->count; point++)
            json_array_append_new(array, cell(&view->points[point], &columns[i]));
        json_object_set_new(object, columns[i].name, array);
    }
    free(view);
    return object;
}

/* What this server has decided since its start. */
static json_t *totals_object(struct metrics *metrics)
{
    json_t *object = json_object();

    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (columns[i].kind == COLUMN_DECISIONS || columns[i].kind == COLUMN_LOCKS)
            json_object_set_new(object, columns[i].name,
                json_integer(metrics_sum(metrics, columns[i].kind == COLUMN_LOCKS ? METRIC_LOCKS : METRIC_DECISIONS,
                    (int)columns[i].place, METRICS_ALL)));
    return object;
}

static json_t *workspaces_array(struct metrics *metrics, enum metric metric)
{
    struct metrics_item items[METRICS_LIST_MAX];
    size_t count = metrics_list(metrics, metric, items);
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_pack("{s:s, s:s, s:I}", "id", items[i].labels[0], "name", items[i].labels[1],
                                         "count", (json_int_t)items[i].value));
    return array;
}

static json_t *errors_array(void)
{
    struct recent_error errors[RECENT_ERRORS_MAX];
    size_t count = recent_errors_read(errors);
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "level",
                       errors[i].level == LOG_LEVEL_ERROR ? "error" : "warning", "event", errors[i].event, "message",
                       errors[i].message, "count", (json_int_t)errors[i].count, "firstUnixMs",
                       (json_int_t)(errors[i].first_us / us_per_ms), "lastUnixMs",
                       (json_int_t)(errors[i].last_us / us_per_ms)));
    return array;
}

static json_t *bounds_of(enum band band, double unit)
{
    const struct level_band *row = &bands_table[band];

    return json_pack("[f, f]", row->degraded * unit, row->critical * unit);
}

/* From where on a number is not well, and from where on it is bad. */
static json_t *bounds_object(void)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:f}", "successPercent", bounds_of(BAND_SUCCESS, 100), "lockPercent",
        bounds_of(BAND_LOCKS, 100), "p95Ms", bounds_of(BAND_P95, 1000), "due", bounds_of(BAND_RETRIES_DUE_SHOWN, 1),
        "stale", bounds_of(BAND_STALE_LOCKS, 1), "jobLateSeconds", bands_table[BAND_JOB_LATE].degraded);
}

/* Always 200: the page shows what is wrong, and /readyz is for those who act on a code. */
void live_page_serve_data(void *user, bool is_known, struct admin_answer *answer)
{
    const struct admin_pages *pages = user;
    struct metrics *metrics = pages->service->metrics;
    struct sampler_view *view = memory_new(sizeof(*view));

    (void)is_known;
    sampler_look(pages->sampler, view);
    bool is_serving = view->is_up && !atomic_load(&pages->service->is_draining);
    json_t *health = admin_health_object(pages, view, is_serving);
    json_t *object = json_pack("{s:I, s:I, s:b, s:b, s:o, s:o, s:o, s:{s:o, s:o}, s:o, s:{s:o, s:o}}", "nowUnixMs",
        (json_int_t)(clock_unix_us() / us_per_ms), "startedUnixMs", (json_int_t)pages->started_s * 1000, "counting",
        pages->is_counting, "sampled", view->has_facts, "health", health, "bounds", bounds_object(), "totals",
        totals_object(metrics), "workspaces", "due", workspaces_array(metrics, METRIC_RETRIES_DUE_TOP), "duplicates",
        workspaces_array(metrics, METRIC_DUPLICATES_TOP), "errors", errors_array(), "history", "recent",
        history_object(pages->history, LIVE_SPAN_RECENT), "day", history_object(pages->history, LIVE_SPAN_DAY));
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
    answer->content_type = "application/json";
    buffer_append_string(&answer->body, text);
    buffer_append_string(&answer->body, "\n");
    free(text);
    json_decref(object);
    free(view);
}
