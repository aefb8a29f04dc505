/* Goal: scenarios are chosen by their names, held to what they should be held to, and what is printed says what was measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "scenarios.h"

static const struct scenario *find(const char *name)
{
    for (size_t i = 0; i < scenarios_count; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    fail_msg("there is no %s", name);
    return NULL;
}

static size_t count_chosen(const char *only)
{
    bool wanted[SCENARIOS_MAX] = {0};
    struct error error = {0};
    size_t count = 0;

    assert_true(scenarios_choose(only, wanted, &error));
    for (size_t i = 0; i < SCENARIOS_MAX; i++)
        count += wanted[i];
    return count;
}

/* All, one, some by the beginning of their name up to a hyphen. */
static void choosing(void **state)
{
    bool wanted[SCENARIOS_MAX] = {0};
    struct error error = {0};

    (void)state;
    assert_int_equal(count_chosen(NULL), 10);
    assert_int_equal(count_chosen("sequential,retries"), 2);
    assert_int_equal(count_chosen("rate"), 5);
    assert_int_equal(count_chosen("burst,rate"), 6);
    assert_true(scenarios_choose("rate-10", wanted, &error));
    for (size_t i = 0; i < scenarios_count; i++)
        assert_int_equal(wanted[i], strcmp(scenarios[i].name, "rate-10") == 0);
}

/* What there is not is named. */
static void wrong_names(void **state)
{
    static const char *const wrong[] = {"nothing", "rat", "rate-", "sequential,", "", "rate-10,rate-11"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        bool wanted[SCENARIOS_MAX] = {0};
        struct error error = {0};
        assert_false(scenarios_choose(wrong[i], wanted, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.text, "--only: there is no "));
    }
}

/* Each of the loads is there that was promised. */
static void loads(void **state)
{
    static const struct {
        const char *name;
        int64_t in_ten_seconds;
    } promised[] = {{"rate-10", 100}, {"rate-50", 500}, {"rate-100", 1000}, {"burst-500", 1800}, {"rate-1000", 10000},
        {"rate-5000", 50000}, {"retries", 20000}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(promised); i++)
        assert_int_equal(arrivals_count(&find(promised[i].name)->arrivals, 10), promised[i].in_ten_seconds);
    assert_int_equal(find("sequential")->callers, 1);
    assert_int_equal(find("concurrent")->callers, 10);
    assert_int_equal(find("duplicates")->callers, 10);
}

/* A row of a run in which all went well: 1,000 leads, 100 of them duplicates. */
static struct scenario_row good_row(const char *name)
{
    struct scenario_row row = {.scenario = find(name), .asked = 1000};

    row.summary.answered = 1000;
    row.summary.outcomes[ROUTING_OUTCOME_ROUTED] = 900;
    row.summary.outcomes[ROUTING_OUTCOME_DUPLICATE] = 100;
    row.summary.leads_per_second = 2000;
    row.summary.p95_ms = 10;
    row.summary.p99_ms = 20;
    row.watch.locks = 1000;
    row.watch.lock_share = 1;
    row.watch.sessions = 0.08;
    row.phases = (struct phases){.transactions = 300, .acquire_ms = 2, .match_ms = 0.1, .complete_ms = 5};
    return row;
}

static const struct verdict *verdict_on(const struct scenario_row *row, enum goal_measure measure)
{
    for (size_t i = 0; i < row->verdict_count; i++)
        if (row->verdicts[i].goal.measure == measure)
            return &row->verdicts[i];
    return NULL;
}

static size_t count_missed(struct scenario_row row, double margin)
{
    size_t missed = 0;

    scenarios_judge(&row, margin);
    for (size_t i = 0; i < row.verdict_count; i++)
        missed += !row.verdicts[i].is_met;
    return missed;
}

/* All goals met ten times over; each figure that is bad by itself misses one. */
static void judging(void **state)
{
    struct scenario_row row = good_row("rate-10");

    (void)state;
    assert_int_equal(count_missed(row, 10), 0);
    row.summary.p95_ms = 60; /* of 500: 8 times over */
    assert_int_equal(count_missed(row, 10), 1);
    assert_int_equal(count_missed(row, 1), 0);
    row = good_row("rate-10");
    row.summary.answered = 998; /* and the two are not among the leads that were decided */
    assert_int_equal(count_missed(row, 1), 1);
    row = good_row("rate-10");
    row.summary.outcomes[ROUTING_OUTCOME_ROUTED] = 880;
    row.summary.outcomes[ROUTING_OUTCOME_FAILED] = 20;
    assert_int_equal(count_missed(row, 1), 1);
    row = good_row("rate-10");
    row.wrong = 1;
    assert_int_equal(count_missed(row, 1), 1);
    row = good_row("rate-10");
    row.watch.lock_share = 0.999; /* one lock was waited for, which the lowest rate allows nobody */
    assert_int_equal(count_missed(row, 1), 1);
    row.scenario = find("rate-1000");
    assert_int_equal(count_missed(row, 1), 0);
    row = good_row("rate-100");
    row.watch.queue = 100;
    row.watch.due = 100;
    assert_int_equal(count_missed(row, 1), 1); /* the level is below 100 due; 200 in the queue are allowed */
    row = good_row("sequential");
    row.summary.leads_per_second = 49;
    assert_int_equal(count_missed(row, 1), 1);
    row = (struct scenario_row){.scenario = find("rate-10"), .asked = 10}; /* nobody was answered, which took no time */
    assert_true(count_missed(row, 1) >= 2);
}

/* Each part of a transaction has a bound of its own in every scenario, and none where there was no transaction. */
static void judging_phases(void **state)
{
    (void)state;
    for (size_t i = 0; i < scenarios_count; i++) {
        struct scenario_row row = good_row(scenarios[i].name);
        row.phases = (struct phases){.transactions = 1, .acquire_ms = 49.9, .match_ms = 99.9, .complete_ms = 199.9};
        assert_int_equal(count_missed(row, 1), 0);
        assert_int_equal(count_missed(row, 2), 3);
        row.phases.acquire_ms = 50;
        assert_int_equal(count_missed(row, 1), 1);
        row.phases.match_ms = 100;
        assert_int_equal(count_missed(row, 1), 2);
        row.phases.complete_ms = 200;
        assert_int_equal(count_missed(row, 1), 3);
        row.phases.transactions = 0;
        assert_int_equal(count_missed(row, 1), 0);
        scenarios_judge(&row, 1);
        assert_null(verdict_on(&row, GOAL_ACQUIRE_MS));
    }
}

/* The stricter of the service level and the scenario's own bound counts. */
static void stricter_bounds(void **state)
{
    struct scenario_row row = good_row("burst-500");

    (void)state;
    scenarios_judge(&row, 1);
    assert_true(verdict_on(&row, GOAL_P95_MS)->goal.bound == 2000);
    assert_true(verdict_on(&row, GOAL_SUCCESS)->goal.bound == 0.95);
    row = good_row("duplicates");
    scenarios_judge(&row, 1);
    assert_true(verdict_on(&row, GOAL_P95_MS)->goal.bound == 300);
    assert_true(verdict_on(&row, GOAL_SUCCESS)->goal.bound == 1);
}

/* Nobody calls for retries: no calls and no locks to judge; and what was not decided has not succeeded. */
static void judging_retries(void **state)
{
    struct scenario_row row = good_row("retries");

    (void)state;
    row.watch = (struct watch_figures){.queue = 1000, .due = 500, .lock_share = 1};
    assert_int_equal(count_missed(row, 10), 0);
    scenarios_judge(&row, 1);
    assert_null(verdict_on(&row, GOAL_AVAILABILITY));
    assert_null(verdict_on(&row, GOAL_LOCKS));
    assert_null(verdict_on(&row, GOAL_DUE));
    row.asked = 1100;
    assert_int_equal(count_missed(row, 1), 1);
}

static char *print(const struct scenarios_report *report, bool is_json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(file);
    scenarios_print(file, report, is_json);
    fclose(file);
    return text;
}

static struct scenarios_report *report_of_two(void)
{
    struct scenarios_report *report = memory_new(sizeof(*report));

    report->row_count = 2;
    report->margin = 10;
    report->rows[0] = good_row("sequential");
    report->rows[1] = good_row("rate-10");
    report->rows[1].summary.p95_ms = 600;
    report->rows[1].wrong = 2;
    snprintf(report->rows[1].wrong_text, sizeof(report->rows[1].wrong_text), "two identities sold twice");
    for (size_t i = 0; i < 2; i++)
        scenarios_judge(&report->rows[i], 10);
    report->missed = 2;
    return report;
}

/* Programs find each figure and each verdict; what nothing was used of has no margin. */
static void json(void **state)
{
    struct scenarios_report *report = report_of_two();
    char *text = print(report, true);
    json_t *whole = json_loads(text, 0, NULL);
    json_t *row = json_array_get(json_object_get(whole, "scenarios"), 1);
    json_t *levels = json_object_get(row, "levels");
    json_t *level = NULL;
    size_t i = 0;
    size_t missed = 0;

    (void)state;
    assert_non_null(whole);
    assert_false(json_is_true(json_object_get(whole, "met")));
    assert_int_equal(json_integer_value(json_object_get(row, "total")), 1000);
    assert_int_equal(json_integer_value(json_object_get(row, "success")), 900);
    assert_int_equal(json_integer_value(json_object_get(row, "duplicates")), 100);
    assert_int_equal(json_integer_value(json_object_get(row, "wrong")), 2);
    json_array_foreach(levels, i, level)
    {
        const char *name = json_string_value(json_object_get(level, "level"));
        missed += !json_is_true(json_object_get(level, "met"));
        if (strcmp(name, "availability") == 0)
            assert_true(json_is_null(json_object_get(level, "margin")));
        if (strcmp(name, "latency_p95") == 0)
            assert_true(json_number_value(json_object_get(level, "margin")) < 1);
    }
    assert_int_equal(missed, 2);
    json_decref(whole);
    free(text);
    free(report);
}

/* People see what was missed, by how much, and what is wrong. */
static void table(void **state)
{
    struct scenarios_report *report = report_of_two();
    char *text = print(report, false);

    (void)state;
    assert_non_null(strstr(text, "MISSED  rate-10: p95 latency: 600 ms, wanted is < 500 ms, 10 times over\n"));
    assert_non_null(
        strstr(text, "MISSED  rate-10: wrong decisions: 2, wanted is 0, 10 times over: two identities sold twice\n"));
    assert_null(strstr(text, "all levels were met"));
    free(text);
    report->row_count = 1;
    report->missed = 0;
    text = print(report, false);
    assert_null(strstr(text, "MISSED"));
    assert_non_null(strstr(text, "all levels were met"));
    free(text);
    free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choosing),
        cmocka_unit_test(wrong_names),
        cmocka_unit_test(loads),
        cmocka_unit_test(judging),
        cmocka_unit_test(judging_phases),
        cmocka_unit_test(stricter_bounds),
        cmocka_unit_test(judging_retries),
        cmocka_unit_test(json),
        cmocka_unit_test(table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
