/* Goal: what a server says of itself becomes the measurements of the levels: also when nothing has happened, at the edges, when it is an
 * older server, and when it has just been started anew. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "slo.h"

struct given {
    Leadrouter__V1__HealthResponse response;
    Leadrouter__V1__ServerRates rates;
};

static void init(struct given *given)
{
    leadrouter__v1__health_response__init(&given->response);
    leadrouter__v1__server_rates__init(&given->rates);
    given->response.rates = &given->rates;
}

static struct slo_report read(const struct given *given)
{
    struct slo_report report;

    slo_report_init(&report);
    slo_read_health(&given->response, &report);
    return report;
}

static enum level_verdict verdict(const struct slo_report *report, enum level level)
{
    return level_judge(level, report->measures[level].value);
}

static void windows(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {{"5m", 300}, {"300s", 300}, {"1h", 3600}, {"30d", 30 * 86400}, {"1w", 7 * 86400},
        {"366d", 366 * 86400}, {"", 0}, {"4m", 0}, {"299s", 0}, {"367d", 0}, {"30", 0}, {"d", 0}, {"1y", 0}, {"-1h", 0},
        {" 1h", 0}, {"1h ", 0}, {"1.5h", 0}, {"1h30m", 0}, {"99999999w", 0}, {"999999999999999999999d", 0}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(slo_window_seconds(cases[i].text), cases[i].seconds);
}

/* A server that was started a moment ago: counts alone are there. */
static void nothing(void **state)
{
    struct given given;

    (void)state;
    init(&given);
    struct slo_report report = read(&given);
    for (int i = 0; i < LEVELS; i++)
        assert_int_equal(
            verdict(&report, (enum level)i), levels_table[i].kind == LEVEL_GAUGE ? LEVEL_MET : LEVEL_NO_DATA);
    assert_int_equal(report.window_s, 0);
    given.response.rates = NULL; /* it was asked about one workspace */
    report = read(&given);
    assert_int_equal(verdict(&report, LEVEL_AVAILABILITY), LEVEL_NO_DATA);
}

/* Each exactly at what was promised, and one event beyond. */
static void edges(void **state)
{
    struct given given;

    (void)state;
    init(&given);
    given.rates.period_seconds = 3555;
    given.rates.calls = 1000;
    given.rates.calls_failed = 1;
    given.rates.final_decisions = 100;
    given.rates.success_share = 0.95;
    given.rates.leads_asked_for = 20;
    given.rates.lock_share = 0.95;
    given.rates.waits = 100;
    given.rates.waits_late_p95 = 5;
    given.rates.waits_late_p99 = 1;
    given.rates.p95_us = 2031616; /* an estimate, from above: 5 in 100 took 2 s or longer, so that the 95th did not */
    given.rates.p99_us = 4980736;
    given.response.retries_due = 99;
    struct slo_report report = read(&given);
    for (int i = 0; i < LEVELS; i++) {
        assert_int_equal(verdict(&report, (enum level)i), LEVEL_MET);
        if (levels_table[i].kind != LEVEL_GAUGE)
            assert_true(level_budget_left((enum level)i, report.measures[i].bad_share) == 0);
    }
    assert_int_equal(report.window_s, 3555);
    assert_true(report.measures[LEVEL_P95].value < 2 && report.measures[LEVEL_P99].value == 4.980736);
    given.rates.calls_failed = 2;
    given.rates.success_share = 0.94;
    given.rates.lock_share = 0.9;
    given.rates.waits_late_p95 = 6;
    given.rates.waits_late_p99 = 2;
    given.rates.p99_us = 5000000;
    given.response.retries_due = 100;
    given.response.stale_locks = 1;
    report = read(&given);
    for (int i = 0; i < LEVELS; i++)
        assert_int_equal(verdict(&report, (enum level)i), LEVEL_MISSED);
}

/* It does not count calls, nor how many waited: there is no data of the one, and no budget of the other. */
static void an_older_server(void **state)
{
    struct given given;

    (void)state;
    init(&given);
    given.rates.p95_us = 1500000;
    given.rates.p99_us = 6000000;
    struct slo_report report = read(&given);
    assert_int_equal(verdict(&report, LEVEL_AVAILABILITY), LEVEL_NO_DATA);
    assert_int_equal(verdict(&report, LEVEL_P95), LEVEL_MET);
    assert_int_equal(verdict(&report, LEVEL_P99), LEVEL_MISSED);
    assert_true(isnan(level_budget_left(LEVEL_P95, report.measures[LEVEL_P95].bad_share)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows),
        cmocka_unit_test(nothing),
        cmocka_unit_test(edges),
        cmocka_unit_test(an_older_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
