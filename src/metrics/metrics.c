#include "metrics/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "metrics/internal.h"

static const char *const no_value[] = {""};

/* --- Layout ------------------------------------------------------------------------------------------------------- */

static bool is_sharded(enum metrics_type type)
{
    return type == METRICS_COUNTER || type == METRICS_LEVEL || type == METRICS_HISTOGRAM;
}

static const struct metrics_values *given(const struct metrics_values *values, size_t count, enum metrics_label label)
{
    for (size_t i = 0; i < count; i++)
        if (values[i].label == label)
            return &values[i];
    return NULL;
}

static void set_labels(struct metrics *metrics, const struct metrics_values *values, size_t count)
{
    for (int label = 0; label < METRICS_LABELS; label++) {
        const struct metrics_label_family *family = &metrics_labels[label];
        const struct metrics_values *own = given(values, count, (enum metrics_label)label);
        struct metrics_label_values *kept = &metrics->labels[label];
        assert(own == NULL || family->values == NULL);
        kept->count = own != NULL ? own->count : family->values != NULL ? family->count : 1;
        kept->values = memory_new_array(kept->count, sizeof(*kept->values));
        memcpy(kept->values,
            own != NULL              ? own->values
            : family->values != NULL ? family->values
                                     : no_value,
            kept->count * sizeof(*kept->values));
    }
}

/* Where each family's cells are: in every shard, or among the gauges. A histogram's series has a cell for each bucket, one for what is
 * above all edges, and one for the sum. */
static void lay_out(struct metrics *metrics)
{
    for (int i = 0; i < METRICS_COUNT; i++) {
        const struct metrics_family *family = &metrics_table[i];
        struct metrics_layout *layout = &metrics->layouts[i];
        layout->second_count = metrics->labels[family->labels[1]].count;
        layout->series_count = metrics->labels[family->labels[0]].count * layout->second_count;
        layout->stride = family->type == METRICS_HISTOGRAM ? family->edges->count + 2 : 1;
        size_t *next = is_sharded(family->type) ? &metrics->cell_count : &metrics->gauge_count;
        layout->offset = *next;
        if (family->type == METRICS_LIST)
            metrics->lists[i] = memory_new(sizeof(*metrics->lists[i]));
        else
            *next += layout->series_count * layout->stride;
    }
}

/* --- Shards ------------------------------------------------------------------------------------------------------- */

/* What one thread has added. Only that thread writes, so that a load and a store do what would otherwise need a locked instruction;
 * whoever reads sees each cell as it was a moment ago. */
struct shard {
    struct metrics *metrics;
    struct shard *next;     /* under the metrics' lock; so is the next */
    struct shard **pointer; /* to this one */
    char gap[64];           /* between what is written all the time and what others read */
    atomic_uint_fast64_t cells[];
};

/* A thread ends: what it has added is kept. */
static void retire(void *value)
{
    struct shard *shard = value;
    struct metrics *metrics = shard->metrics;

    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->cell_count; i++)
        metrics->retired[i] += atomic_load_explicit(&shard->cells[i], memory_order_relaxed);
    *shard->pointer = shard->next;
    if (shard->next != NULL)
        shard->next->pointer = shard->pointer;
    pthread_mutex_unlock(&metrics->lock);
    free(shard);
}

static struct shard *make_shard(struct metrics *metrics)
{
    struct shard *shard =
        memory_new(sizeof(*shard) + metrics->cell_count * sizeof(shard->cells[0]) + sizeof(shard->gap));

    shard->metrics = metrics;
    pthread_mutex_lock(&metrics->lock);
    shard->next = metrics->shards;
    shard->pointer = &metrics->shards;
    if (shard->next != NULL)
        shard->next->pointer = &shard->next;
    metrics->shards = shard;
    pthread_mutex_unlock(&metrics->lock);
    pthread_setspecific(metrics->key, shard);
    return shard;
}

static atomic_uint_fast64_t *own_cells(struct metrics *metrics)
{
    struct shard *shard = pthread_getspecific(metrics->key);

    return (shard != NULL ? shard : make_shard(metrics))->cells;
}

static void add_to(atomic_uint_fast64_t *cell, uint64_t amount)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + amount, memory_order_relaxed);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

struct metrics *metrics_new(const struct metrics_values *values, size_t count)
{
    struct metrics *metrics = memory_new(sizeof(*metrics));
    int failure = 0;

    pthread_mutex_init(&metrics->lock, NULL);
    set_labels(metrics, values, count);
    lay_out(metrics);
    metrics->retired = memory_new_array(metrics->cell_count, sizeof(*metrics->retired));
    metrics->gauges = memory_new_array(metrics->gauge_count, sizeof(*metrics->gauges));
    failure = pthread_key_create(&metrics->key, retire);
    assert(failure == 0); /* a process has 1,024 of them */
    (void)failure;
    return metrics;
}

void metrics_turn_off(struct metrics *metrics)
{
    if (metrics != NULL)
        metrics->is_off = true;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    pthread_key_delete(metrics->key);
    while (metrics->shards != NULL) {
        struct shard *shard = metrics->shards;
        metrics->shards = shard->next;
        free(shard);
    }
    for (size_t i = 0; i < METRICS_LABELS; i++)
        free(metrics->labels[i].values);
    for (size_t i = 0; i < METRICS_COUNT; i++)
        free(metrics->lists[i]);
    free(metrics->retired);
    free(metrics->gauges);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* --- Adding ------------------------------------------------------------------------------------------------------- */

static size_t cell_of(const struct metrics *metrics, enum metric metric, size_t first, size_t second)
{
    const struct metrics_layout *layout = &metrics->layouts[metric];
    size_t series = first * layout->second_count + second;

    assert(second < layout->second_count && series < layout->series_count);
    return layout->offset + series * layout->stride;
}

void metrics_add(struct metrics *metrics, enum metric metric, size_t first, size_t second, int64_t amount)
{
    if (metrics == NULL || metrics->is_off)
        return;
    assert(
        metrics_table[metric].type == METRICS_LEVEL || (metrics_table[metric].type == METRICS_COUNTER && amount >= 0));
    add_to(&own_cells(metrics)[cell_of(metrics, metric, first, second)], (uint64_t)amount);
}

void metrics_observe(struct metrics *metrics, enum metric metric, size_t first, size_t second, int64_t value)
{
    if (metrics == NULL || metrics->is_off)
        return;
    const struct metrics_edges *edges = metrics_table[metric].edges;
    atomic_uint_fast64_t *cells = NULL;
    uint64_t counted = value < 0 ? 0 : (uint64_t)value; /* a clock's jitter */
    size_t bucket = 0;

    assert(edges != NULL);
    while (bucket < edges->count && counted > edges->edges[bucket])
        bucket++;
    cells = &own_cells(metrics)[cell_of(metrics, metric, first, second)];
    add_to(&cells[bucket], 1);
    add_to(&cells[edges->count + 1], counted);
}

void metrics_set(struct metrics *metrics, enum metric metric, size_t first, size_t second, double value)
{
    uint64_t bits = 0;

    if (metrics == NULL)
        return;
    assert(metrics_table[metric].type == METRICS_GAUGE || metrics_table[metric].type == METRICS_TOTAL);
    memcpy(&bits, &value, sizeof(bits));
    atomic_store_explicit(&metrics->gauges[cell_of(metrics, metric, first, second)], bits, memory_order_relaxed);
}

static void copy_text(const char *text, char ret_text[METRICS_TEXT_SIZE])
{
    char *repaired = utf8_copy_repaired(text, strlen(text));
    size_t size = strlen(repaired);

    if (size >= METRICS_TEXT_SIZE)
        size = utf8_cut(repaired, METRICS_TEXT_SIZE - 1);
    memcpy(ret_text, repaired, size);
    ret_text[size] = '\0';
    free(repaired);
}

void metrics_set_list(struct metrics *metrics, enum metric metric, const struct metrics_entry *entries, size_t count)
{
    if (metrics == NULL)
        return;
    struct metrics_list *list = metrics->lists[metric];

    assert(metrics_table[metric].type == METRICS_LIST);
    pthread_mutex_lock(&metrics->lock);
    list->count = count < METRICS_LIST_MAX ? count : METRICS_LIST_MAX;
    for (size_t i = 0; i < list->count; i++) {
        copy_text(entries[i].labels[0], list->items[i].labels[0]);
        copy_text(entries[i].labels[1], list->items[i].labels[1]);
        list->items[i].value = entries[i].value;
    }
    pthread_mutex_unlock(&metrics->lock);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

void metrics_read_cells(struct metrics *metrics, uint64_t *ret_cells)
{
    memcpy(ret_cells, metrics->retired, metrics->cell_count * sizeof(*ret_cells));
    for (const struct shard *shard = metrics->shards; shard != NULL; shard = shard->next)
        for (size_t i = 0; i < metrics->cell_count; i++)
            ret_cells[i] += atomic_load_explicit(&shard->cells[i], memory_order_relaxed);
}

static int64_t read_cell(const struct metrics *metrics, size_t index)
{
    uint64_t sum = metrics->retired[index];

    for (const struct shard *shard = metrics->shards; shard != NULL; shard = shard->next)
        sum += atomic_load_explicit(&shard->cells[index], memory_order_relaxed);
    return (int64_t)sum;
}

/* Adds up, of every series that was asked for, the cells from..to of its stride. */
static int64_t sum_cells(struct metrics *metrics, enum metric metric, const int wanted[2], size_t from, size_t to)
{
    if (metrics == NULL)
        return 0;
    const struct metrics_layout *layout = &metrics->layouts[metric];
    int64_t sum = 0;

    assert(is_sharded(metrics_table[metric].type));
    pthread_mutex_lock(&metrics->lock);
    for (size_t series = 0; series < layout->series_count; series++) {
        if ((wanted[0] != METRICS_ALL && (size_t)wanted[0] != series / layout->second_count) ||
            (wanted[1] != METRICS_ALL && (size_t)wanted[1] != series % layout->second_count))
            continue;
        for (size_t i = from; i <= to; i++)
            sum += read_cell(metrics, layout->offset + series * layout->stride + i);
    }
    pthread_mutex_unlock(&metrics->lock);
    return sum;
}

int64_t metrics_sum(struct metrics *metrics, enum metric metric, int first, int second)
{
    const struct metrics_edges *edges = metrics_table[metric].edges;
    size_t place = edges == NULL ? 0 : edges->count + 1;

    return sum_cells(metrics, metric, (const int[]){first, second}, place, place);
}

int64_t metrics_observations(struct metrics *metrics, enum metric metric, int first, int second)
{
    const struct metrics_edges *edges = metrics_table[metric].edges;

    assert(edges != NULL);
    return sum_cells(metrics, metric, (const int[]){first, second}, 0, edges->count);
}

void metrics_buckets(struct metrics *metrics, enum metric metric, size_t first, size_t second,
    uint64_t ret_counts[METRICS_EDGES_MAX + 1])
{
    const struct metrics_edges *edges = metrics_table[metric].edges;

    assert(edges != NULL);
    memset(ret_counts, 0, (METRICS_EDGES_MAX + 1) * sizeof(*ret_counts));
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i <= edges->count; i++)
        ret_counts[i] = (uint64_t)read_cell(metrics, cell_of(metrics, metric, first, second) + i);
    pthread_mutex_unlock(&metrics->lock);
}

double metrics_quantile(const struct metrics_edges *edges, const uint64_t counts[METRICS_EDGES_MAX + 1], double share)
{
    double before = 0;
    double all = 0;

    for (size_t i = 0; i <= edges->count; i++)
        all += (double)counts[i];
    for (size_t i = 0; i < edges->count && all > 0; i++) {
        double lower = i == 0 ? 0 : (double)edges->edges[i - 1];
        if (counts[i] > 0 && before + (double)counts[i] >= share * all)
            return lower + ((double)edges->edges[i] - lower) * (share * all - before) / (double)counts[i];
        before += (double)counts[i];
    }
    return all > 0 ? (double)edges->edges[edges->count - 1] : 0;
}

size_t metrics_list(struct metrics *metrics, enum metric metric, struct metrics_item ret_items[METRICS_LIST_MAX])
{
    if (metrics == NULL)
        return 0;
    assert(metrics_table[metric].type == METRICS_LIST);
    pthread_mutex_lock(&metrics->lock);
    size_t count = metrics->lists[metric]->count;
    memcpy(ret_items, metrics->lists[metric]->items, count * sizeof(*ret_items));
    pthread_mutex_unlock(&metrics->lock);
    return count;
}

double metrics_read_gauge(const struct metrics *metrics, size_t index)
{
    uint64_t bits = atomic_load_explicit(&metrics->gauges[index], memory_order_relaxed);
    double value = 0;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

double metrics_value(struct metrics *metrics, enum metric metric, size_t first, size_t second)
{
    if (metrics == NULL)
        return 0;
    assert(metrics_table[metric].type == METRICS_GAUGE || metrics_table[metric].type == METRICS_TOTAL);
    return metrics_read_gauge(metrics, cell_of(metrics, metric, first, second));
}
