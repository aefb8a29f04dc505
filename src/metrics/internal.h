/* What the module's files share. Not for users of src/metrics. */
#ifndef METRICS_INTERNAL_H
#define METRICS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "metrics/metrics.h"

struct shard;

/* Values of a label. */
struct metrics_label_values {
    const char **values;
    size_t count; /* 1 at least */
};

/* Where a family's numbers are. */
struct metrics_layout {
    size_t offset; /* of the first cell */
    size_t stride; /* cells of a series */
    size_t series_count;
    size_t second_count; /* values of the second label */
};

struct metrics_list {
    struct metrics_item items[METRICS_LIST_MAX];
    size_t count;
};

struct metrics {
    /* never changed once made */
    struct metrics_label_values labels[METRICS_LABELS];
    struct metrics_layout layouts[METRICS_COUNT];
    size_t cell_count;
    size_t gauge_count;
    pthread_key_t key; /* a thread's shard */
    bool is_off;

    atomic_uint_fast64_t *gauges; /* bits of doubles; any thread */

    pthread_mutex_t lock;
    /* under the lock */
    struct shard *shards;                      /* of threads that live */
    uint64_t *retired;                         /* what threads had added that have ended */
    struct metrics_list *lists[METRICS_COUNT]; /* NULL for what is no list */
};

/* All cells, shards and what is retired added up. Under the lock. */
void metrics_read_cells(struct metrics *metrics, uint64_t *ret_cells);

/* The number of a gauge's cell. */
double metrics_read_gauge(const struct metrics *metrics, size_t index);

#endif
