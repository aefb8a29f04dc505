#include "admin_pages.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "descriptors.h"
#include "health_reading.h"
#include "levels/levels.h"
#include "live_page.h"
#include "migrate.h"
#include "version.h"

enum { NOT_OK = 503, SAMPLE_OLD_MS = 60000 };

static const double ns_per_s = 1e9;
static const double us_per_ms = 1e3;

static double seconds_since(int64_t then_ns)
{
    return (double)(clock_now_ns() - then_ns) / ns_per_s;
}

/* --- /metrics ----------------------------------------------------------------------------------------------------- */

/* Fields 20 and 24 of /proc/self/stat, counted from 1: threads, and pages in memory (proc(5)). The second field is a name in brackets. */
static void collect_process(struct metrics *metrics)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t size = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);
    long threads = 0;
    long pages = 0;

    if (file != NULL)
        fclose(file);
    text[size] = '\0';
    const char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest + 1, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld %*s %*s %*s %ld",
            &threads, &pages) != 2)
        return;
    metrics_set(metrics, METRIC_THREADS, 0, 0, (double)threads);
    metrics_set(metrics, METRIC_RESIDENT, 0, 0, (double)pages * (double)sysconf(_SC_PAGESIZE));
}

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void collect_probe(const struct admin_pages *pages, struct metrics *metrics)
{
    struct self_probe_status status;

    if (pages->probe == NULL)
        return;
    self_probe_read(pages->probe, &status);
    double age_s = seconds_since(status.answered_ns);
    metrics_set(metrics, METRIC_PROBE_AGE, 0, 0, age_s);
    metrics_set(metrics, METRIC_PROBE_SUCCESS, 0, 0, status.answered ? (double)time(NULL) - age_s : 0);
    metrics_set(metrics, METRIC_PROBE_FAILURES, 0, 0, (double)status.failures);
}

static void collect_telemetry(const struct admin_pages *pages, struct metrics *metrics)
{
    struct tracer_statistics spans;

    metrics_set(metrics, METRIC_LOG_LINES_LOST, 0, 0, (double)log_lost());
    if (pages->tracer == NULL)
        return;
    tracer_statistics(pages->tracer, &spans);
    metrics_set(metrics, METRIC_SPANS_EXPORTED, 0, 0, (double)spans.exported);
    metrics_set(metrics, METRIC_SPANS_DROPPED, 0, 0, (double)spans.dropped);
}

static void collect(const struct admin_pages *pages)
{
    struct service *service = pages->service;
    struct metrics *metrics = service->metrics;
    struct sampler_view *view = memory_new(sizeof(*view));
    struct rusage usage;
    size_t waiting = 0;
    uint64_t late = 0;

    call_refusals_count(pages->refusals, &waiting, &late);
    sampler_look(pages->sampler, view);
    metrics_set(metrics, METRIC_SAMPLE_AGE, METRICS_SAMPLE_ROUTING, 0, seconds_since(view->read_ns));
    metrics_set(metrics, METRIC_SAMPLE_AGE, METRICS_SAMPLE_TABLES, 0, seconds_since(view->tables_ns));
    metrics_set(metrics, METRIC_SAMPLE_AGE, METRICS_SAMPLE_DUPLICATES, 0, seconds_since(view->duplicates_ns));
    metrics_set(metrics, METRIC_WAITING, 0, 0, (double)routing_engine_load(service->engine));
    metrics_set(metrics, METRIC_RPC_OVER_LIMIT, 0, 0, (double)limits_refused(service->limits));
    metrics_set(metrics, METRIC_RPC_REFUSALS_WAITING, 0, 0, (double)waiting);
    metrics_set(metrics, METRIC_RPC_REFUSED_LATE, 0, 0, (double)late);
    metrics_set(metrics, METRIC_DRAINING, 0, 0, atomic_load(&service->is_draining) ? 1 : 0);
    metrics_set(metrics, METRIC_FDS, 0, 0, (double)descriptors_used(&service->descriptors));
    metrics_set(metrics, METRIC_FDS_MAX, 0, 0, (double)descriptors_limit());
    metrics_set(metrics, METRIC_START, 0, 0, (double)pages->started_s);
    metrics_set(metrics, METRIC_CERTIFICATE_EXPIRY, 0, 0, (double)transport_security_expires_s(pages->security));
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metrics_set(metrics, METRIC_CPU, 0, 0, seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime));
    collect_probe(pages, metrics);
    collect_telemetry(pages, metrics);
    collect_process(metrics);
    free(view);
}

static void serve_metrics(void *user, bool is_known, struct admin_answer *answer)
{
    const struct admin_pages *pages = user;

    (void)is_known;
    collect(pages);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_write(pages->service->metrics, &answer->body);
}

/* --- /livez ------------------------------------------------------------------------------------------------------- */

static void serve_livez(void *user, bool is_known, struct admin_answer *answer)
{
    struct admin_pages *pages = user;
    struct self_probe_options options = pages->own_listener;

    options.patience_ms = ADMIN_PROBE_MS;
    if (pages->probed_ns == 0 || clock_now_ns() - pages->probed_ns > ADMIN_PROBE_KEPT_MS * INT64_C(1000000)) {
        /* While the server drains its listener is closed on purpose, and the process does what it should. */
        pages->is_alive = atomic_load(&pages->service->is_draining) || self_probe_once(&options, &pages->probe_error);
        pages->probed_ns = clock_now_ns();
    }
    answer->status = pages->is_alive ? 200 : NOT_OK;
    if (!is_known)
        buffer_append_string(&answer->body, pages->is_alive ? "ok\n" : "not ok\n");
    else if (pages->is_alive)
        buffer_append_string(&answer->body, "ok\nprocess: ok\nlistener: ok\n");
    else
        buffer_append_format(&answer->body, "not ok\nprocess: ok\nlistener: not ok: %s\n", pages->probe_error.text);
}

/* --- /readyz ------------------------------------------------------------------------------------------------------ */

/* One line of the body. */
static void add_check(struct buffer *lines, bool *is_ready, const char *name, bool is_ok, const char *text)
{
    buffer_append_format(
        lines, "%s: %s%s%s\n", name, is_ok ? "ok" : "not ok", text == NULL ? "" : ": ", text == NULL ? "" : text);
    *is_ready = *is_ready && is_ok;
}

/* What the database says is left out of a failure's text: it may be long, and is in the log. */
static void check_database(
    const struct admin_pages *pages, const struct sampler_view *view, struct buffer *lines, bool *is_ready)
{
    bool is_old = clock_now_ns() - view->read_ns > SAMPLE_OLD_MS * INT64_C(1000000);
    char text[80];

    if (!view->has_facts && view->error.code == ERROR_NONE)
        add_check(lines, is_ready, "database", false, "not looked at yet");
    else if (!view->is_up)
        add_check(lines, is_ready, "database", false,
            view->error.code == ERROR_DATABASE ? "it answers with an error" : view->error.text);
    else if (is_old)
        add_check(lines, is_ready, "database", false, "looked at too long ago");
    else if (!routing_engine_is_connected(pages->service->engine))
        add_check(lines, is_ready, "database", false, "no lane is connected");
    else
        add_check(lines, is_ready, "database", true, NULL);
    if (!view->has_facts)
        return;
    snprintf(text, sizeof(text), "version %d, needed is %d", view->schema_version, migrate_schema_version);
    add_check(lines, is_ready, "schema", view->schema_version == migrate_schema_version, text);
    int days = view->facts.counts.log_days_ahead;
    snprintf(text, sizeof(text), "the audit log has room for today and %d more %s", days, days == 1 ? "day" : "days");
    add_check(lines, is_ready, "partitions", band_judge(BAND_DAYS_AHEAD, days) == BAND_WELL, text);
}

static void serve_readyz(void *user, bool is_known, struct admin_answer *answer)
{
    struct admin_pages *pages = user;
    struct sampler_view *view = memory_new(sizeof(*view));
    int64_t used = descriptors_used(&pages->service->descriptors);
    int64_t limit = descriptors_limit();
    struct buffer lines = {.size_max = ADMIN_BODY_SIZE_MAX};
    bool is_ready = true;
    char text[64];

    sampler_look(pages->sampler, view);
    check_database(pages, view, &lines, &is_ready);
    snprintf(text, sizeof(text), "%" PRId64 " of %" PRId64 " in use", used, limit);
    add_check(&lines, &is_ready, "descriptors", !descriptors_are_short(used, limit), text);
    add_check(&lines, &is_ready, "draining", !atomic_load(&pages->service->is_draining),
        atomic_load(&pages->service->is_draining) ? "the server is stopping" : "no");
    answer->status = is_ready ? 200 : NOT_OK;
    buffer_append_string(&answer->body, is_ready ? "ready\n" : "not ready\n");
    if (is_known)
        buffer_append_string(&answer->body, buffer_text(&lines));
    buffer_release(&lines);
    free(view);
}

/* --- /api/health -------------------------------------------------------------------------------------------------- */

static const char *status_name(enum health_status status)
{
    return status == HEALTH_HEALTHY ? "healthy" : status == HEALTH_DEGRADED ? "degraded" : "critical";
}

static json_t *routing_object(const struct health_counts *counts, enum health_status status)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:i}", "status", status_name(status),
        "pendingCount", (json_int_t)counts->pending, "routingCount", (json_int_t)counts->routing, "failedCount",
        (json_int_t)counts->failed, "retryQueueCount", (json_int_t)counts->retry_queue_depth, "retriesDueCount",
        (json_int_t)counts->retries_due, "staleLockCount", (json_int_t)counts->stale_locks, "heldCount",
        (json_int_t)counts->held, "oldestPendingAgeSeconds", (json_int_t)counts->oldest_pending_age_seconds,
        "oldestDueAgeSeconds", (json_int_t)counts->oldest_due_age_seconds, "staleLockAgeSeconds",
        counts->stale_mean_seconds, "retriesDueAttemptMean", counts->due_attempt_mean, "retriesDueAttemptMax",
        counts->due_attempt_max);
}

/* Of nothing there is no share and no quantile: 0 % would be an alarm, and 0 ms praise. */
static json_t *of_some(uint64_t count, double value)
{
    return count > 0 ? json_real(value) : json_null();
}

static json_t *rates_object(const struct routing_rates *rates)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
        "periodSeconds", (json_int_t)rates->period_seconds, "decisions", (json_int_t)rates->attempts, "finals",
        (json_int_t)rates->finals, "lockAttempts", (json_int_t)rates->locks, "successShare",
        of_some(rates->finals, rates->success_share), "duplicateShare", of_some(rates->finals, rates->duplicate_share),
        "expiredShare", of_some(rates->attempts, rates->expired_share), "lockShare",
        of_some(rates->locks, rates->lock_share), "p50Ms", of_some(rates->waits, (double)rates->p50_us / us_per_ms),
        "p95Ms", of_some(rates->waits, (double)rates->p95_us / us_per_ms), "p99Ms",
        of_some(rates->waits, (double)rates->p99_us / us_per_ms), "maxMs",
        of_some(rates->waits, (double)rates->max_us / us_per_ms), "routed", (json_int_t)rates->routed, "duplicates",
        (json_int_t)rates->duplicates, "requeued", (json_int_t)rates->requeued, "failed", (json_int_t)rates->failed,
        "expired", (json_int_t)rates->expired, "calls", (json_int_t)rates->calls, "callsFailed",
        (json_int_t)rates->calls_failed);
}

static json_t *jobs_array(const struct health_facts *facts)
{
    json_t *array = json_array();

    for (size_t i = 0; i < facts->job_count; i++) {
        const struct health_job *job = &facts->jobs[i];
        json_array_append_new(
            array, json_pack("{s:s, s:b, s:b, s:i, s:I, s:I, s:I}", "name", job->name, "running", job->is_running,
                       "paused", job->is_paused, "failures", job->failures, "lastSuccessUnixMs",
                       (json_int_t)job->last_done_us / 1000, "lastDurationMs", (json_int_t)job->last_duration_ms,
                       "nextRunUnixMs", (json_int_t)(job->has_schedule ? job->next_run_us / 1000 : 0)));
    }
    return array;
}

/* What is wrong, with what only this listener sees in front. */
static json_t *problems_array(const struct health_verdict *verdict, const char *first)
{
    json_t *array = json_array();

    if (first != NULL)
        json_array_append_new(array, json_string(first));
    for (size_t i = 0; i < verdict->problem_count; i++)
        json_array_append_new(array, json_string(verdict->problems[i]));
    return array;
}

json_t *admin_health_object(const struct admin_pages *pages, const struct sampler_view *view, bool is_serving)
{
    struct arena *arena = arena_new(0);
    struct health_verdict *verdict = arena_alloc(arena, sizeof(*verdict));
    const char *first = NULL;

    if (view->has_facts)
        health_judge_now(pages->service, &view->facts, arena, verdict);
    if (!view->is_up)
        first = "the database is away; what is said about routing is from before";
    else if (!is_serving)
        first = "the server is stopping";
    json_t *object = json_pack("{s:s, s:o, s:o, s:{s:s, s:f}, s:o, s:o, s:s, s:i, s:b}", "status",
        first != NULL ? "critical" : status_name(verdict->status), "problems", problems_array(verdict, first),
        "routing", routing_object(&view->facts.counts, view->has_facts ? verdict->status : HEALTH_CRITICAL), "database",
        "status", view->is_up ? "up" : "down", "sampleAgeSeconds", seconds_since(view->read_ns), "rates",
        rates_object(&view->facts.rates), "jobs", jobs_array(&view->facts), "version", SERVER_VERSION, "schemaVersion",
        view->schema_version, "draining", atomic_load(&pages->service->is_draining));
    arena_free(arena);
    return object;
}

/* 503 says that another server should be asked. A backlog is no better there, so that it is for people to read in "status". */
static void serve_health(void *user, bool is_known, struct admin_answer *answer)
{
    const struct admin_pages *pages = user;
    struct sampler_view *view = memory_new(sizeof(*view));

    (void)is_known;
    sampler_look(pages->sampler, view);
    bool is_serving = view->is_up && !atomic_load(&pages->service->is_draining);
    json_t *object = admin_health_object(pages, view, is_serving);
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
    answer->status = is_serving ? 200 : NOT_OK;
    answer->content_type = "application/json";
    buffer_append_string(&answer->body, text);
    buffer_append_string(&answer->body, "\n");
    free(text);
    json_decref(object);
    free(view);
}

/* --- Paths -------------------------------------------------------------------------------------------------------- */

const struct admin_route admin_routes[] = {
    {"/", live_page_serve_html, true}, /* these three know nothing of this server */
    {"/page.css", live_page_serve_css, true},
    {"/page.js", live_page_serve_js, true},
    {"/api/live", live_page_serve_data, false},
    {"/metrics", serve_metrics, false},
    {"/livez", serve_livez, true},
    {"/readyz", serve_readyz, true},
    {"/api/health", serve_health, false},
};
const size_t admin_route_count = COUNT_OF(admin_routes);
