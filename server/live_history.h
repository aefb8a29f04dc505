/* What the last minutes and the last day were like on this server, for the live page: steps of a fixed length, as many as fit. Kept in
 * memory and gone with the process; whoever wants more asks Prometheus. */
#ifndef SERVER_LIVE_HISTORY_H
#define SERVER_LIVE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "metrics/metrics.h"

enum live_span { LIVE_SPAN_RECENT, LIVE_SPAN_DAY, LIVE_SPANS };

enum {
    LIVE_STEP_RECENT_S = 5,
    LIVE_STEPS_RECENT = 180, /* 15 minutes */
    LIVE_STEP_DAY_S = 300,
    LIVE_STEPS_DAY = 288, /* 24 hours */
    LIVE_STEPS_MAX = 288,
};

enum live_gauge { LIVE_GAUGE_DUE, LIVE_GAUGE_DEPTH, LIVE_GAUGE_STALE, LIVE_GAUGE_PENDING, LIVE_GAUGES };
enum live_quantile { LIVE_QUANTILE_P50, LIVE_QUANTILE_P95, LIVE_QUANTILE_P99, LIVE_QUANTILES };

/* One step. */
struct live_point {
    uint64_t decisions[METRICS_OUTCOME_EXPIRED + 1]; /* by outcome: for calls and for retries */
    uint64_t locks[METRICS_LOCK_PASSED_OVER + 1];
    uint64_t waits;                   /* calls that got an outcome, */
    int64_t waits_us[LIVE_QUANTILES]; /* and how long they waited, from the histogram's buckets; 0 without any */
    int64_t gauges[LIVE_GAUGES];      /* the most of what the sampler saw; -1: it saw nothing */
};

/* The steps of a span, the oldest first. The last of a day is the one under way. */
struct live_view {
    int step_s;
    int64_t end_unix_ms; /* of the last step */
    size_t count;
    struct live_point points[LIVE_STEPS_MAX + 1];
};

struct live_history;

/* Starts a thread that reads the metrics, which are borrowed. It never asks the database. ERROR_SYSTEM. */
bool live_history_new(struct metrics *metrics, struct live_history **ret_history, struct error *reterr_error);

/* Copies what there is. Any thread. */
void live_history_read(struct live_history *history, enum live_span span, struct live_view *ret_view);

/* Ends the thread. NULL is fine. */
void live_history_free(struct live_history *history);

#endif
