/* Goal: what threads add is neither lost nor counted twice, while they run, when they end, and while somebody reads; and a
 * value falls into the bucket of the first edge that is not below it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics/metrics.h"

enum { THREADS = 4, ROUNDS = 20000, GENERATIONS = 8 };

/* Quantiles lie between the edges of their bucket, and what is above all edges is said to be the last. */
static void quantiles(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);
    const struct metrics_edges *edges = metrics_table[METRIC_QUEUE_WAIT].edges;
    uint64_t counts[METRICS_EDGES_MAX + 1];

    (void)state;
    metrics_buckets(metrics, METRIC_QUEUE_WAIT, 0, 0, counts);
    assert_true(metrics_quantile(edges, counts, 0.5) == 0);
    for (int i = 0; i < 4; i++)
        metrics_observe(metrics, METRIC_QUEUE_WAIT, 0, 0, (int64_t)edges->edges[2]);
    metrics_buckets(metrics, METRIC_QUEUE_WAIT, 0, 0, counts);
    assert_int_equal(counts[2], 4);
    double width = (double)(edges->edges[2] - edges->edges[1]);
    assert_true(metrics_quantile(edges, counts, 0.5) == (double)edges->edges[1] + width / 2);
    assert_true(metrics_quantile(edges, counts, 1) == (double)edges->edges[2]);
    for (int i = 0; i < 96; i++)
        metrics_observe(metrics, METRIC_QUEUE_WAIT, 0, 0, (int64_t)edges->edges[edges->count - 1] + 1);
    metrics_buckets(metrics, METRIC_QUEUE_WAIT, 0, 0, counts);
    assert_int_equal(counts[edges->count], 96);
    assert_true(metrics_quantile(edges, counts, 0.5) == (double)edges->edges[edges->count - 1]);
    assert_true(metrics_quantile(edges, counts, 0.04) == (double)edges->edges[2]);
    metrics_free(metrics);
    metrics_buckets(NULL, METRIC_QUEUE_WAIT, 0, 0, counts);
    assert_int_equal(counts[2], 0);
}

/* A list is read as it was set: in order, valid, cut. */
static void lists(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);
    const struct metrics_entry entries[] = {{{"1", "a\xff"}, 3}, {{"2", "<b>"}, 2}};
    struct metrics_item items[METRICS_LIST_MAX];

    (void)state;
    assert_int_equal(metrics_list(metrics, METRIC_DUPLICATES_TOP, items), 0);
    metrics_set_list(metrics, METRIC_DUPLICATES_TOP, entries, 2);
    assert_int_equal(metrics_list(metrics, METRIC_DUPLICATES_TOP, items), 2);
    assert_string_equal(items[0].labels[1], "a\xef\xbf\xbd");
    assert_string_equal(items[1].labels[0], "2");
    assert_true(items[1].value == 2);
    assert_int_equal(metrics_list(NULL, METRIC_DUPLICATES_TOP, items), 0);
    metrics_free(metrics);
}

/* Everything is 0 at first, and NULL keeps nothing. */
static void empty_and_none(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);

    (void)state;
    for (int i = 0; i < METRICS_COUNT; i++)
        switch (metrics_table[i].type) {
        case METRICS_COUNTER:
        case METRICS_LEVEL:
        case METRICS_HISTOGRAM:
            assert_int_equal(metrics_sum(metrics, (enum metric)i, METRICS_ALL, METRICS_ALL), 0);
            break;
        case METRICS_GAUGE:
        case METRICS_TOTAL:
            assert_true(metrics_value(metrics, (enum metric)i, 0, 0) == 0);
            break;
        case METRICS_LIST:
            break;
        }
    metrics_free(metrics);
    metrics_add(NULL, METRIC_JOINED, 0, 0, 1);
    metrics_observe(NULL, METRIC_QUEUE_WAIT, 0, 0, 1);
    metrics_set(NULL, METRIC_DATABASE_UP, 0, 0, 1);
    metrics_set_list(NULL, METRIC_DUPLICATES_TOP, NULL, 0);
    assert_int_equal(metrics_sum(NULL, METRIC_JOINED, METRICS_ALL, METRICS_ALL), 0);
    metrics_free(NULL);
}

/* Series are apart, and add up. */
static void series(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);

    (void)state;
    metrics_add(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ORIGIN_CALL, 3);
    metrics_add(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ORIGIN_RETRY, 5);
    metrics_add(metrics, METRIC_DECISIONS, METRICS_OUTCOME_EXPIRED, METRICS_ORIGIN_RETRY, 7);
    assert_int_equal(metrics_sum(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ORIGIN_CALL), 3);
    assert_int_equal(metrics_sum(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ALL), 8);
    assert_int_equal(metrics_sum(metrics, METRIC_DECISIONS, METRICS_ALL, METRICS_ORIGIN_RETRY), 12);
    assert_int_equal(metrics_sum(metrics, METRIC_DECISIONS, METRICS_ALL, METRICS_ALL), 15);
    assert_int_equal(metrics_sum(metrics, METRIC_LOCKS, METRICS_ALL, METRICS_ALL), 0);
    metrics_set(metrics, METRIC_LEADS, METRICS_STATUS_FAILED, 0, 2.5);
    assert_true(metrics_value(metrics, METRIC_LEADS, METRICS_STATUS_FAILED, 0) == 2.5);
    assert_true(metrics_value(metrics, METRIC_LEADS, METRICS_STATUS_PENDING, 0) == 0);
    metrics_free(metrics);
}

/* Two sets of metrics in one process have nothing in common. */
static void two_sets(void **state)
{
    struct metrics *one = metrics_new(NULL, 0);
    struct metrics *other = metrics_new(NULL, 0);

    (void)state;
    metrics_add(one, METRIC_JOINED, 0, 0, 1);
    metrics_add(other, METRIC_JOINED, 0, 0, 10);
    metrics_add(one, METRIC_JOINED, 0, 0, 1);
    metrics_free(one);
    assert_int_equal(metrics_sum(other, METRIC_JOINED, 0, 0), 10);
    metrics_add(other, METRIC_JOINED, 0, 0, 1);
    assert_int_equal(metrics_sum(other, METRIC_JOINED, 0, 0), 11);
    metrics_free(other);
}

/* Turned off, nothing is added; what is set is. */
static void turned_off(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);

    (void)state;
    metrics_turn_off(metrics);
    metrics_add(metrics, METRIC_JOINED, 0, 0, 1);
    metrics_observe(metrics, METRIC_QUEUE_WAIT, 0, 0, 1);
    metrics_set(metrics, METRIC_DATABASE_UP, 0, 0, 1);
    assert_int_equal(metrics_sum(metrics, METRIC_JOINED, 0, 0), 0);
    assert_int_equal(metrics_observations(metrics, METRIC_QUEUE_WAIT, 0, 0), 0);
    assert_true(metrics_value(metrics, METRIC_DATABASE_UP, 0, 0) == 1);
    metrics_free(metrics);
}

/* An edge belongs to its bucket; what is above all of them, and what a clock made negative, are counted too. */
static void buckets(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);
    const struct metrics_edges *edges = metrics_table[METRIC_BATCH_LEADS].edges;
    struct buffer text = {.size_max = 1 << 22};

    (void)state;
    for (size_t i = 1; i < edges->count; i++)
        assert_true(edges->edges[i] > edges->edges[i - 1]);
    metrics_observe(metrics, METRIC_BATCH_LEADS, 0, 0, -5);
    metrics_observe(metrics, METRIC_BATCH_LEADS, 0, 0, 1);
    metrics_observe(metrics, METRIC_BATCH_LEADS, 0, 0, 256);
    metrics_observe(metrics, METRIC_BATCH_LEADS, 0, 0, 257);
    metrics_observe(metrics, METRIC_BATCH_LEADS, 0, 0, 1000000);
    assert_int_equal(metrics_observations(metrics, METRIC_BATCH_LEADS, 0, 0), 5);
    assert_int_equal(metrics_sum(metrics, METRIC_BATCH_LEADS, 0, 0), 1000514);
    assert_true(metrics_write(metrics, &text));
    assert_non_null(strstr(buffer_text(&text), "leadrouter_batch_leads_bucket{origin=\"call\",le=\"1\"} 2\n"));
    assert_non_null(strstr(buffer_text(&text), "leadrouter_batch_leads_bucket{origin=\"call\",le=\"128\"} 2\n"));
    assert_non_null(strstr(buffer_text(&text), "leadrouter_batch_leads_bucket{origin=\"call\",le=\"256\"} 3\n"));
    assert_non_null(strstr(buffer_text(&text), "leadrouter_batch_leads_bucket{origin=\"call\",le=\"512\"} 4\n"));
    assert_non_null(strstr(buffer_text(&text), "leadrouter_batch_leads_bucket{origin=\"call\",le=\"+Inf\"} 5\n"));
    assert_non_null(strstr(buffer_text(&text), "leadrouter_batch_leads_count{origin=\"call\"} 5\n"));
    buffer_release(&text);
    metrics_free(metrics);
}

/* Every service level (spec: lock, match, complete, whole, the scenarios) is an edge, so that a share within it can be read off. */
static void service_levels_are_edges(void **state)
{
    static const int64_t levels_ms[] = {50, 100, 200, 300, 500, 800, 1500, 2000, 3000, 5000};
    const struct metrics_edges *edges = metrics_table[METRIC_RPC_DURATION].edges;

    (void)state;
    for (size_t i = 0; i < sizeof(levels_ms) / sizeof(levels_ms[0]); i++) {
        bool is_there = false;
        for (size_t edge = 0; edge < edges->count; edge++)
            is_there = is_there || edges->edges[edge] == (uint64_t)levels_ms[i] * 1000000;
        assert_true(is_there);
    }
    assert_ptr_equal(edges, metrics_table[METRIC_ROUTING_DURATION].edges);
    assert_ptr_equal(edges, metrics_table[METRIC_PHASE_TIME].edges);
}

static void sqlstates(void **state)
{
    (void)state;
    const char *const *values = metrics_labels[METRICS_LABEL_SQLSTATE].values;

    assert_string_equal(values[metrics_sqlstate("55P03")], "55P03");
    assert_string_equal(values[metrics_sqlstate("55006")], "55");
    assert_string_equal(values[metrics_sqlstate("23505")], "23505");
    assert_string_equal(values[metrics_sqlstate("23514")], "23");
    assert_string_equal(values[metrics_sqlstate("LR429")], "LR");
    assert_string_equal(values[metrics_sqlstate("P0001")], "other");
    assert_string_equal(values[metrics_sqlstate("")], "other");
}

static struct metrics *shared;
static atomic_bool is_over;

static void *add_many(void *argument)
{
    size_t own = *(const size_t *)argument;

    for (int i = 0; i < ROUNDS; i++) {
        metrics_add(shared, METRIC_DECISIONS, own, METRICS_ORIGIN_CALL, 1);
        metrics_add(shared, METRIC_LANES_BUSY, 0, 0, i % 2 == 0 ? 1 : -1);
        metrics_observe(shared, METRIC_QUEUE_WAIT, 0, 0, i);
        metrics_set(shared, METRIC_DATABASE_UP, 0, 0, 1);
    }
    return NULL;
}

/* Reads all the time: a counter never falls, also while threads end and are folded in. */
static void *watch(void *argument)
{
    int64_t last = 0;
    struct buffer text = {.size_max = 1 << 22};

    (void)argument;
    while (!atomic_load(&is_over)) {
        int64_t now = metrics_sum(shared, METRIC_DECISIONS, METRICS_ALL, METRICS_ALL);
        assert_true(now >= last);
        last = now;
        buffer_clear(&text);
        assert_true(metrics_write(shared, &text));
    }
    buffer_release(&text);
    return NULL;
}

/* Generations of threads add while one reads; nothing is lost, and what they had is kept when they have ended. */
static void threads(void **state)
{
    static const size_t numbers[THREADS] = {0, 1, 2, 3};
    pthread_t adders[THREADS];
    pthread_t watcher;
    int64_t each = (int64_t)GENERATIONS * ROUNDS;

    (void)state;
    shared = metrics_new(NULL, 0);
    assert_int_equal(pthread_create(&watcher, NULL, watch, NULL), 0);
    for (int generation = 0; generation < GENERATIONS; generation++) {
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&adders[i], NULL, add_many, (void *)(uintptr_t)&numbers[i]), 0);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(adders[i], NULL);
    }
    atomic_store(&is_over, true);
    pthread_join(watcher, NULL);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(metrics_sum(shared, METRIC_DECISIONS, (int)i, METRICS_ORIGIN_CALL), each);
    assert_int_equal(metrics_sum(shared, METRIC_LANES_BUSY, 0, 0), 0);
    assert_int_equal(metrics_observations(shared, METRIC_QUEUE_WAIT, 0, 0), each * THREADS);
    assert_int_equal(metrics_sum(shared, METRIC_QUEUE_WAIT, 0, 0), each * THREADS * (ROUNDS - 1) / 2);
    metrics_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_and_none),
        cmocka_unit_test(series),
        cmocka_unit_test(two_sets),
        cmocka_unit_test(turned_off),
        cmocka_unit_test(buckets),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(lists),
        cmocka_unit_test(service_levels_are_edges),
        cmocka_unit_test(sqlstates),
        cmocka_unit_test(threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
