/* Numbers that say how a server is doing, for Prometheus: counters and histograms that any thread adds to without a lock, and
 * gauges. What there is stands in one table (table.inc); src/metrics/README.md has the design.
 *
 * Each function accepts NULL for the metrics: nothing is kept then. */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* --- What there is ------------------------------------------------------------------------------------------------ */

enum metric {
#define METRIC(id, type, name, unit, first, second, edges, help) METRIC_##id,
#include "metrics/table.inc"
#undef METRIC
    METRICS_COUNT
};

enum metrics_type {
    METRICS_COUNTER,   /* only grows: metrics_add() */
    METRICS_LEVEL,     /* a gauge that is raised and lowered: metrics_add() */
    METRICS_HISTOGRAM, /* metrics_observe() */
    METRICS_GAUGE,     /* metrics_set() */
    METRICS_TOTAL,     /* a counter that somebody else keeps: metrics_set() */
    METRICS_LIST,      /* gauges of things that come and go: metrics_set_list() */
};

enum metrics_unit { METRICS_ONE, METRICS_SECONDS, METRICS_BYTES };

enum metrics_label {
    METRICS_LABEL_NONE,
    METRICS_LABEL_OUTCOME,
    METRICS_LABEL_ORIGIN,
    METRICS_LABEL_ANSWER,
    METRICS_LABEL_LOCK,
    METRICS_LABEL_CLAIM,
    METRICS_LABEL_EVALUATION,
    METRICS_LABEL_PHASE,
    METRICS_LABEL_RESOLUTION,
    METRICS_LABEL_SQLSTATE,
    METRICS_LABEL_RESULT,
    METRICS_LABEL_POOL,
    METRICS_LABEL_STATUS,
    METRICS_LABEL_AGGREGATE,
    METRICS_LABEL_RETRY,
    METRICS_LABEL_OPENING,
    METRICS_LABEL_FENCED,
    METRICS_LABEL_SAMPLE,
    METRICS_LABEL_TABLE,
    METRICS_LABEL_HTTP_STATUS,
    METRICS_LABEL_CODE, /* values of this and the next are given to metrics_new() */
    METRICS_LABEL_METHOD,
    METRICS_LABEL_JOB,
    METRICS_LABEL_VERSION,
    METRICS_LABEL_SCHEMA_VERSION,
    METRICS_LABEL_WORKSPACE_ID, /* of lists: whatever the list says */
    METRICS_LABEL_WORKSPACE,
    METRICS_LABELS
};

/* Values of labels, as the table's order has them. */
enum metrics_outcome {
    METRICS_OUTCOME_ROUTED,
    METRICS_OUTCOME_DUPLICATE,
    METRICS_OUTCOME_QUEUED_FOR_RETRY,
    METRICS_OUTCOME_FAILED,
    METRICS_OUTCOME_EXPIRED
};
enum metrics_origin { METRICS_ORIGIN_CALL, METRICS_ORIGIN_RETRY };
enum metrics_answer {
    METRICS_ANSWER_DECIDED,
    METRICS_ANSWER_ALREADY_DECIDED,
    METRICS_ANSWER_NOT_FOUND,
    METRICS_ANSWER_FORBIDDEN,
    METRICS_ANSWER_INVALID,
    METRICS_ANSWER_BUSY,
    METRICS_ANSWER_UNAVAILABLE,
    METRICS_ANSWER_RESULT_UNKNOWN,
    METRICS_ANSWER_DEADLINE,
    METRICS_ANSWER_CANCELLED,
    METRICS_ANSWER_INTERNAL
};
enum metrics_lock { METRICS_LOCK_ACQUIRED, METRICS_LOCK_PASSED_OVER, METRICS_LOCK_TIMED_OUT };
enum metrics_claim { METRICS_CLAIM_WON, METRICS_CLAIM_LOST, METRICS_CLAIM_SEEN };
enum metrics_evaluation { METRICS_EVALUATION_MATCHED, METRICS_EVALUATION_UNMATCHED, METRICS_EVALUATION_UNUSABLE };
enum metrics_phase { METRICS_PHASE_LOCK, METRICS_PHASE_LOAD, METRICS_PHASE_MATCH, METRICS_PHASE_DECIDE };
enum metrics_resolution {
    METRICS_RESOLUTION_COMMITTED,
    METRICS_RESOLUTION_NOT_COMMITTED,
    METRICS_RESOLUTION_UNRESOLVED
};
enum metrics_result { METRICS_RESULT_OK, METRICS_RESULT_FAILED };
enum metrics_pool { METRICS_POOL_SERVICE, METRICS_POOL_PEOPLE };
enum metrics_status { METRICS_STATUS_PENDING, METRICS_STATUS_ROUTING, METRICS_STATUS_FAILED };
enum metrics_aggregate { METRICS_AGGREGATE_MEAN, METRICS_AGGREGATE_MAX };
enum metrics_retry {
    METRICS_RETRY_ROUTED,
    METRICS_RETRY_DUPLICATE,
    METRICS_RETRY_REQUEUED,
    METRICS_RETRY_FAILED,
    METRICS_RETRY_EXPIRED,
    METRICS_RETRY_HELD,
    METRICS_RETRY_ERROR
};
enum metrics_opening { METRICS_OPENING_ATTEMPT, METRICS_OPENING_LOST_LEAD, METRICS_OPENING_STALE_LOCK };
enum metrics_fenced { METRICS_FENCED_IMPORT, METRICS_FENCED_JOB };
enum metrics_sample { METRICS_SAMPLE_ROUTING, METRICS_SAMPLE_TABLES, METRICS_SAMPLE_DUPLICATES };
enum metrics_table {
    METRICS_TABLE_LEADS,
    METRICS_TABLE_QUEUE,
    METRICS_TABLE_LOGS,
    METRICS_TABLE_CLAIMS,
    METRICS_TABLES
};
enum metrics_http_status {
    METRICS_HTTP_200,
    METRICS_HTTP_304,
    METRICS_HTTP_400,
    METRICS_HTTP_401,
    METRICS_HTTP_403,
    METRICS_HTTP_404,
    METRICS_HTTP_405,
    METRICS_HTTP_503
};

enum { METRICS_EDGES_MAX = 20, METRICS_LIST_MAX = 10, METRICS_TEXT_SIZE = 128 };

/* Upper edges of a histogram's buckets, in units that are added: nanoseconds for seconds. */
struct metrics_edges {
    uint64_t edges[METRICS_EDGES_MAX]; /* rising */
    size_t count;
};

/* One row of the table. */
struct metrics_family {
    const char *name;
    const char *help;
    enum metrics_type type;
    enum metrics_unit unit;
    enum metrics_label labels[2];
    const struct metrics_edges *edges; /* of a histogram */
};
extern const struct metrics_family metrics_table[METRICS_COUNT];

/* A label: its name, its values where they are fixed, and what it means. */
struct metrics_label_family {
    const char *name;
    const char *help;
    const char *const *values; /* NULL: known at the start, or only later */
    size_t count;
};
extern const struct metrics_label_family metrics_labels[METRICS_LABELS];

/* Which value of METRICS_LABEL_SQLSTATE counts an SQLSTATE: the state itself, its class, or "other". Accepts "". */
size_t metrics_sqlstate(const char *sqlstate);

/* --- Keeping them ------------------------------------------------------------------------------------------------- */

struct metrics;

/* Values of a label that only the program knows. */
struct metrics_values {
    enum metrics_label label;
    const char *const *values;
    size_t count;
};

/* Makes metrics, all 0. Labels of which no values are given have one, "". `values` is borrowed for the call, its texts for the
 * lifetime of the metrics. */
struct metrics *metrics_new(const struct metrics_values *values, size_t count);

/* From now on nothing is added; what is set is kept. Before any thread adds. NULL is fine. */
void metrics_turn_off(struct metrics *metrics);

/* Releases them, once no thread adds to them any more. NULL is fine. */
void metrics_free(struct metrics *metrics);

/* Adds to a counter, or to a level, which may fall. `first` and `second` are the places of the labels' values, 0 for a label
 * that there is not. Any thread; takes no lock but at a thread's first call. */
void metrics_add(struct metrics *metrics, enum metric metric, size_t first, size_t second, int64_t amount);

/* Counts one value: nanoseconds where the unit is seconds. Otherwise as metrics_add(). */
void metrics_observe(struct metrics *metrics, enum metric metric, size_t first, size_t second, int64_t value);

/* Sets a gauge, or a counter that somebody else keeps. Any thread. */
void metrics_set(struct metrics *metrics, enum metric metric, size_t first, size_t second, double value);

/* One thing of a list. Texts are borrowed for the call, and of any bytes. */
struct metrics_entry {
    const char *labels[2];
    double value;
};

/* The same as it is kept: valid UTF-8, cut to fit. */
struct metrics_item {
    char labels[2][METRICS_TEXT_SIZE];
    double value;
};

/* Replaces a list: the first METRICS_LIST_MAX of the entries. Any thread. */
void metrics_set_list(struct metrics *metrics, enum metric metric, const struct metrics_entry *entries, size_t count);

/* --- Reading them ------------------------------------------------------------------------------------------------- */

/* What was added to a counter, level or histogram (the values' sum) with these labels; METRICS_ALL adds up. It costs
 * a lock, and time for every thread that adds. */
enum { METRICS_ALL = -1 };
int64_t metrics_sum(struct metrics *metrics, enum metric metric, int first, int second);

/* How many values a histogram has counted; otherwise as metrics_sum(). */
int64_t metrics_observations(struct metrics *metrics, enum metric metric, int first, int second);

/* Reads how many values are in each of a histogram's buckets: as many as it has edges, and one more for what is above them all. */
void metrics_buckets(struct metrics *metrics, enum metric metric, size_t first, size_t second,
    uint64_t ret_counts[METRICS_EDGES_MAX + 1]);

/* The value that a share of what was counted does not exceed, taken to lie evenly within each bucket; above all edges, the last edge.
 * 0 when nothing was counted. In units that are added. */
double metrics_quantile(const struct metrics_edges *edges, const uint64_t counts[METRICS_EDGES_MAX + 1], double share);

/* Copies a list: how many things it has. */
size_t metrics_list(struct metrics *metrics, enum metric metric, struct metrics_item ret_items[METRICS_LIST_MAX]);

/* What was set last. */
double metrics_value(struct metrics *metrics, enum metric metric, size_t first, size_t second);

/* Appends everything in Prometheus' text format 0.0.4. False when the buffer is full. */
bool metrics_write(struct metrics *metrics, struct buffer *buffer);

/* Appends docs/metrics.md: the table for people. False when the buffer is full. */
bool metrics_describe(struct buffer *buffer);

#endif
