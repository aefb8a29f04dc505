/* Goal: a run hands each lead out once, ends when it should, and counts what was reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "run.h"

static struct run run;
static const struct workload three = {.count = 3};

static int setup(void **state)
{
    (void)state;
    atomic_store(&run_interrupted, false);
    run_init(&run, &three, 60000);
    run_begin(&run);
    return 0;
}

/* Every lead once, in order, then no more. */
static void leads_run_out(void **state)
{
    size_t index = 99;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(run_take(&run, &index));
        assert_int_equal(index, i);
    }
    assert_false(run_ran_dry(&run));
    assert_false(run_take(&run, &index));
    assert_int_equal(index, 2);
    assert_true(run_ran_dry(&run));
}

/* No lead is begun once time is up, or once the program was told to stop. */
static void time_and_interruption_end_it(void **state)
{
    size_t index = 0;

    (void)state;
    run_init(&run, &three, 0);
    run_begin(&run);
    assert_false(run_take(&run, &index));
    assert_false(run_ran_dry(&run));
    run_init(&run, &three, 60000);
    run_begin(&run);
    assert_false(run_is_over(&run));
    atomic_store(&run_interrupted, true);
    assert_true(run_is_over(&run));
    assert_false(run_take(&run, &index));
    atomic_store(&run_interrupted, false);
}

/* Outcomes and errors are counted apart; the first error's text is kept; errors do not enter latencies or speed. */
static void counts(void **state)
{
    struct run_summary summary;
    int64_t now_ns = clock_now_ns();

    (void)state;
    run_report_outcome(&run, now_ns - 2000000, ROUTING_OUTCOME_ROUTED);
    run_report_outcome(&run, now_ns - 2000000, ROUTING_OUTCOME_ROUTED);
    run_report_outcome(&run, now_ns - 60000000000, ROUTING_OUTCOME_DUPLICATE);
    run_report_error(&run, "the first");
    run_report_error(&run, "the second");
    run_finish(&run, &summary);
    assert_int_equal(summary.answered, 3);
    assert_int_equal(summary.outcomes[ROUTING_OUTCOME_ROUTED], 2);
    assert_int_equal(summary.outcomes[ROUTING_OUTCOME_DUPLICATE], 1);
    assert_int_equal(summary.errors, 2);
    assert_string_equal(summary.error_text, "the first");
    assert_true(summary.mean_ms >= 20001.3 && summary.mean_ms < 60000.0);
    assert_true(summary.p50_ms >= 2.0 && summary.p50_ms < 30000.0);
    assert_true(summary.max_ms >= 60000.0);
    assert_true(summary.seconds > 0);
    assert_true(summary.leads_per_second > 0);
}

/* What somebody else measured: the mean is exact, and speed goes by the latest decision. */
static void latencies_from_elsewhere(void **state)
{
    struct run_summary summary;

    (void)state;
    run_report_latency(&run, run.start_ns + 2000000000, 3000000, ROUTING_OUTCOME_ROUTED);
    run_report_latency(&run, run.start_ns + 1000000000, 5000000, ROUTING_OUTCOME_DUPLICATE);
    run_report_latency(&run, run.start_ns, -7, ROUTING_OUTCOME_ROUTED); /* a clock that was set back: none */
    run_finish(&run, &summary);
    assert_true(summary.mean_ms > 2.6666 && summary.mean_ms < 2.6667);
    assert_true(summary.max_ms == 5.0);
    assert_true(summary.seconds == 2.0);
    assert_true(summary.leads_per_second == 1.5);
    run_init(&run, &three, 60000);
    run_begin(&run);
    run_finish(&run, &summary);
    assert_true(summary.mean_ms == 0 && summary.p99_ms == 0);
}

static void medians(void **state)
{
    static const struct {
        double a;
        char rest;
        double b;
    } figures[] = {{3, 'x', 10}, {1, 'y', 30}, {2, 'z', 20}};
    double one[] = {7}, odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};

    (void)state;
    assert_true(run_median(one, 1) == 7);
    assert_true(run_median(odd, 3) == 2);
    assert_true(run_median(even, 4) == 3); /* the upper one: a figure that was measured */
    assert_true(run_median_of(&figures->a, sizeof(*figures), 3) == 2);
    assert_true(run_median_of(&figures->b, sizeof(*figures), 3) == 20);
    assert_true(figures[0].a == 3 && figures[1].b == 30); /* they stay in their order */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(leads_run_out, setup),
        cmocka_unit_test_setup(time_and_interruption_end_it, setup),
        cmocka_unit_test_setup(counts, setup),
        cmocka_unit_test_setup(latencies_from_elsewhere, setup),
        cmocka_unit_test(medians),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
