/* Goal: what is counted stands in the step under way at once, counted from the history's beginning; the most of a gauge is kept; and while
 * the database is away gauges say nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "live_history.h"

static void test_a_step(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);
    struct live_history *history = NULL;
    struct live_view *view = memory_new(sizeof(*view));
    struct error error = {0};

    (void)state;
    metrics_add(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ORIGIN_CALL, 7);
    assert_true(live_history_new(metrics, &history, &error));
    live_history_read(history, LIVE_SPAN_RECENT, view);
    assert_int_equal(view->step_s, LIVE_STEP_RECENT_S);
    assert_int_equal(view->count, 0);
    live_history_read(history, LIVE_SPAN_DAY, view);
    assert_int_equal(view->count, 1);
    assert_int_equal(view->points[0].decisions[METRICS_OUTCOME_ROUTED], 0);
    assert_int_equal(view->points[0].gauges[LIVE_GAUGE_DUE], -1);
    metrics_add(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ORIGIN_CALL, 2);
    metrics_add(metrics, METRIC_DECISIONS, METRICS_OUTCOME_ROUTED, METRICS_ORIGIN_RETRY, 3);
    metrics_add(metrics, METRIC_LOCKS, METRICS_LOCK_PASSED_OVER, 0, 4);
    metrics_observe(metrics, METRIC_ROUTING_DURATION, 0, 0, 1000000);
    metrics_set(metrics, METRIC_DATABASE_UP, 0, 0, 1);
    metrics_set(metrics, METRIC_RETRIES_DUE, 0, 0, 9);
    live_history_read(history, LIVE_SPAN_DAY, view);
    metrics_set(metrics, METRIC_RETRIES_DUE, 0, 0, 5);
    live_history_read(history, LIVE_SPAN_DAY, view);
    assert_int_equal(view->points[0].decisions[METRICS_OUTCOME_ROUTED], 5);
    assert_int_equal(view->points[0].locks[METRICS_LOCK_PASSED_OVER], 4);
    assert_int_equal(view->points[0].waits, 1);
    assert_in_range(view->points[0].waits_us[LIVE_QUANTILE_P99], 1, 1000);
    assert_int_equal(view->points[0].gauges[LIVE_GAUGE_DUE], 9);
    live_history_free(history);
    live_history_free(NULL);
    metrics_free(metrics);
    free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_step)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
