#include "live_history.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "base/thread.h"

static const double ns_per_us = 1e3;
static const int64_t ns_per_s = 1000000000;
static const double quantiles[LIVE_QUANTILES] = {0.5, 0.95, 0.99};
static const enum metric gauge_metrics[LIVE_GAUGES] = {
    METRIC_RETRIES_DUE, METRIC_RETRIES_DEPTH, METRIC_STALE_LOCKS, METRIC_LEADS};

/* What was counted up to a moment. */
struct counted {
    uint64_t decisions[METRICS_OUTCOME_EXPIRED + 1];
    uint64_t locks[METRICS_LOCK_PASSED_OVER + 1];
    uint64_t waits[METRICS_EDGES_MAX + 1];
};

/* The steps of one span; the lock is the history's. */
struct ring {
    int step_s;
    size_t size;
    size_t count;
    size_t next; /* where the next step goes */
    struct live_point points[LIVE_STEPS_MAX];
    struct counted before;     /* when the step under way began */
    int64_t most[LIVE_GAUGES]; /* within that step */
    int64_t ends_ns;           /* monotonic */
};

struct live_history {
    struct metrics *metrics;

    struct thread thread;
    /* under its lock */
    struct ring rings[LIVE_SPANS];
};

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static void read_counted(struct metrics *metrics, struct counted *ret_counted)
{
    for (int i = 0; i <= METRICS_OUTCOME_EXPIRED; i++)
        ret_counted->decisions[i] = (uint64_t)metrics_sum(metrics, METRIC_DECISIONS, i, METRICS_ALL);
    for (int i = 0; i <= METRICS_LOCK_PASSED_OVER; i++)
        ret_counted->locks[i] = (uint64_t)metrics_sum(metrics, METRIC_LOCKS, i, METRICS_ALL);
    metrics_buckets(metrics, METRIC_ROUTING_DURATION, 0, 0, ret_counted->waits);
}

/* Raises the most that was seen; what is read while the database is away is old, and says nothing. */
static void look_at_gauges(struct metrics *metrics, int64_t most[LIVE_GAUGES])
{
    if (metrics_value(metrics, METRIC_DATABASE_UP, 0, 0) < 1)
        return;
    for (size_t i = 0; i < LIVE_GAUGES; i++) {
        int64_t value = (int64_t)metrics_value(metrics, gauge_metrics[i], 0, 0);
        if (value > most[i])
            most[i] = value;
    }
}

static void make_point(const struct ring *ring, const struct counted *now, struct live_point *ret_point)
{
    uint64_t waits[METRICS_EDGES_MAX + 1];

    *ret_point = (struct live_point){0};
    for (size_t i = 0; i < COUNT_OF(now->decisions); i++)
        ret_point->decisions[i] = now->decisions[i] - ring->before.decisions[i];
    for (size_t i = 0; i < COUNT_OF(now->locks); i++)
        ret_point->locks[i] = now->locks[i] - ring->before.locks[i];
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        waits[i] = now->waits[i] - ring->before.waits[i];
        ret_point->waits += waits[i];
    }
    for (size_t i = 0; i < LIVE_QUANTILES; i++)
        ret_point->waits_us[i] =
            (int64_t)(metrics_quantile(metrics_table[METRIC_ROUTING_DURATION].edges, waits, quantiles[i]) / ns_per_us);
    memcpy(ret_point->gauges, ring->most, sizeof(ret_point->gauges));
}

static void begin_step(struct ring *ring, const struct counted *now)
{
    ring->before = *now;
    for (size_t i = 0; i < LIVE_GAUGES; i++)
        ring->most[i] = -1;
    ring->ends_ns += ring->step_s * ns_per_s;
}

/* Under the lock. */
static void look(struct live_history *history)
{
    int64_t now_ns = clock_now_ns();
    struct counted now;

    read_counted(history->metrics, &now);
    for (size_t i = 0; i < LIVE_SPANS; i++) {
        struct ring *ring = &history->rings[i];
        look_at_gauges(history->metrics, ring->most);
        if (now_ns < ring->ends_ns)
            continue;
        make_point(ring, &now, &ring->points[ring->next]);
        ring->next = (ring->next + 1) % ring->size;
        if (ring->count < ring->size)
            ring->count++;
        begin_step(ring, &now);
    }
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

static void *run(void *argument)
{
    struct live_history *history = argument;

    pthread_mutex_lock(&history->thread.lock);
    while (!history->thread.is_stopping) {
        int64_t until_ns = history->rings[LIVE_SPAN_RECENT].ends_ns;
        if (clock_now_ns() >= until_ns)
            look(history);
        else
            (void)condition_wait(&history->thread.changed, &history->thread.lock, until_ns);
    }
    pthread_mutex_unlock(&history->thread.lock);
    return NULL;
}

static void begin(struct live_history *history)
{
    const int steps_s[LIVE_SPANS] = {LIVE_STEP_RECENT_S, LIVE_STEP_DAY_S};
    const size_t sizes[LIVE_SPANS] = {LIVE_STEPS_RECENT, LIVE_STEPS_DAY};
    struct counted now;

    read_counted(history->metrics, &now);
    for (size_t i = 0; i < LIVE_SPANS; i++) {
        history->rings[i].step_s = steps_s[i];
        history->rings[i].size = sizes[i];
        history->rings[i].ends_ns = clock_now_ns();
        begin_step(&history->rings[i], &now);
    }
}

bool live_history_new(struct metrics *metrics, struct live_history **ret_history, struct error *reterr_error)
{
    struct live_history *history = memory_new(sizeof(*history));

    history->metrics = metrics;
    begin(history);
    if (!thread_begin(&history->thread, run, history, "could not make a thread", reterr_error)) {
        free(history);
        return false;
    }
    *ret_history = history;
    return true;
}

void live_history_read(struct live_history *history, enum live_span span, struct live_view *ret_view)
{
    struct ring *ring = &history->rings[span];
    struct counted now;

    pthread_mutex_lock(&history->thread.lock);
    int64_t end_ns = ring->ends_ns - ring->step_s * ns_per_s;
    ret_view->step_s = ring->step_s;
    ret_view->count = ring->count;
    for (size_t i = 0; i < ring->count; i++)
        ret_view->points[i] = ring->points[(ring->next + ring->size - ring->count + i) % ring->size];
    if (span == LIVE_SPAN_DAY) { /* or there would be nothing to see for the first minutes */
        read_counted(history->metrics, &now);
        look_at_gauges(history->metrics, ring->most);
        make_point(ring, &now, &ret_view->points[ret_view->count++]);
        end_ns = ring->ends_ns;
    }
    pthread_mutex_unlock(&history->thread.lock);
    ret_view->end_unix_ms = clock_unix_us() / 1000 + (end_ns - clock_now_ns()) / 1000000;
}

void live_history_free(struct live_history *history)
{
    if (history == NULL)
        return;
    thread_end(&history->thread);
    free(history);
}
