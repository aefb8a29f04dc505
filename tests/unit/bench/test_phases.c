/* Goal: the phases of a server's transactions are read out of what it tells, each by itself, and what is no page of metrics is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "metrics/metrics.h"
#include "phases.h"

enum { MS = 1000000 };

/* The page of a server that has observed these, in milliseconds: 99 times the first of each phase and once the second. */
static char *page_of(const double first[4], const double second[4])
{
    struct metrics *metrics = metrics_new(NULL, 0);
    struct buffer page;

    for (size_t phase = 0; phase < 4; phase++)
        for (int i = 0; i < 100; i++)
            metrics_observe(
                metrics, METRIC_PHASE_TIME, phase, 0, (int64_t)((i < 99 ? first : second)[phase] * (double)MS));
    buffer_init(&page, 8 << 20);
    assert_true(metrics_write(metrics, &page));
    char *text = memory_copy_string(buffer_text(&page));
    buffer_release(&page);
    metrics_free(metrics);
    return text;
}

/* Phases are not mistaken for one another, and one slow transaction of a hundred is no p95. Buckets are as fine as their edges. */
static void each_by_itself(void **state)
{
    char *page = page_of((const double[]){0.8, 400, 0.08, 3}, (const double[]){4000, 4000, 4000, 4000});
    struct phases phases = {0};
    struct error error = {0};

    (void)state;
    assert_true(phases_parse(page, &phases, &error));
    assert_int_equal(phases.transactions, 100);
    assert_true(phases.acquire_ms > 0.5 && phases.acquire_ms < 1);
    assert_true(phases.match_ms > 0 && phases.match_ms < 0.1);
    assert_true(phases.complete_ms > 2.5 && phases.complete_ms < 5);
    free(page);
}

/* The targets are edges of buckets: what lies on either side of one is told apart exactly. */
static void targets(void **state)
{
    char *below = page_of((const double[]){49.9, 0, 99.9, 199.9}, (const double[]){60, 0, 200, 300});
    char *above = page_of((const double[]){50.1, 0, 100.1, 200.1}, (const double[]){60, 0, 200, 300});
    struct phases phases = {0};
    struct error error = {0};

    (void)state;
    assert_true(phases_parse(below, &phases, &error));
    assert_true(phases.acquire_ms < 50 && phases.match_ms < 100 && phases.complete_ms < 200);
    assert_true(phases_parse(above, &phases, &error));
    assert_true(phases.acquire_ms > 50 && phases.match_ms > 100 && phases.complete_ms > 200);
    free(below);
    free(above);
}

/* A server that has done nothing yet has the series, all 0. */
static void nothing_yet(void **state)
{
    struct metrics *metrics = metrics_new(NULL, 0);
    struct phases phases = {.transactions = 1};
    struct error error = {0};
    struct buffer page;

    (void)state;
    buffer_init(&page, 8 << 20);
    assert_true(metrics_write(metrics, &page));
    assert_true(phases_parse(buffer_text(&page), &phases, &error));
    assert_true(phases.transactions == 0 && phases.acquire_ms == 0);
    buffer_release(&page);
    metrics_free(metrics);
}

static void no_metrics(void **state)
{
    char *cut = page_of((const double[]){1, 1, 1, 1}, (const double[]){1, 1, 1, 1});
    const char *const wrong[] = {"", "404 not found\n", cut};
    struct phases phases = {0};
    struct error error = {0};

    (void)state;
    *strstr(cut, "phase=\"decide\",le=\"0.1\"") = '\0';
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(phases_parse(wrong[i], &phases, &error));
        assert_int_equal(error.code, ERROR_INVALID);
    }
    assert_false(phases_ask("127.0.0.1:1", &phases, &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    free(cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_by_itself),
        cmocka_unit_test(targets),
        cmocka_unit_test(nothing_yet),
        cmocka_unit_test(no_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
