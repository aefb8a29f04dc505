/* Goal: each threshold of Health is where docs/operations.md says, on both sides of it; the verdict is the worst of what is found, and
 * each finding is one sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "health_verdict.h"

#define NOW_US (INT64_C(1800000000) * 1000000)

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* A server and a database that have nothing to complain about. */
static struct health_facts healthy(void)
{
    return (struct health_facts){
        .counts = {.counted_us = NOW_US, .log_days_ahead = 30},
        .rates = {.success_share = 1, .lock_share = 1},
        .descriptors_used = 20,
        .descriptors_limit = 1024,
    };
}

static struct health_job *add_job(struct health_facts *facts, const char *name)
{
    struct health_job *job = &facts->jobs[facts->job_count++];

    *job = (struct health_job){.has_schedule = true, .next_run_us = NOW_US + 1};
    strncpy(job->name, name, sizeof(job->name) - 1);
    return job;
}

/* Exactly this is wrong, so badly; NULL: nothing. */
static void expect(const struct health_facts *facts, enum health_status status, const char *problem)
{
    struct health_verdict verdict;

    health_judge(facts, arena, &verdict);
    assert_int_equal(verdict.problem_count, problem == NULL ? 0 : 1);
    if (problem != NULL)
        assert_string_equal(verdict.problems[0], problem);
    assert_int_equal(verdict.status, status);
}

static void nothing_is_wrong(void **state)
{
    struct health_facts facts = healthy();

    (void)state;
    facts.counts.pending = 1000000; /* much work is no fault */
    facts.counts.failed = 1000000;
    facts.counts.held = 5;
    add_job(&facts, "expiry");
    expect(&facts, HEALTH_HEALTHY, NULL);
}

/* Counts and ages: below and at the threshold nothing, above it a sentence. */
static void counts(void **state)
{
    static const struct {
        size_t offset; /* in struct health_counts */
        int64_t value;
        bool is_one;
        enum health_status status;
        const char *problem;
    } cases[] = {
        /* tidy: table */
        {offsetof(struct health_counts, retries_due), 100, false, HEALTH_HEALTHY, NULL},
        {offsetof(struct health_counts, retries_due), 101, false, HEALTH_DEGRADED,
            "101 retries are due, more than 100"},
        {offsetof(struct health_counts, retries_due), 500, false, HEALTH_DEGRADED,
            "500 retries are due, more than 100"},
        {offsetof(struct health_counts, retries_due), 501, false, HEALTH_CRITICAL,
            "501 retries are due, more than 500"},
        {offsetof(struct health_counts, retries_due), 50, true, HEALTH_HEALTHY, NULL},
        {offsetof(struct health_counts, retries_due), 51, true, HEALTH_DEGRADED, "51 retries are due, more than 50"},
        {offsetof(struct health_counts, retries_due), 501, true, HEALTH_CRITICAL, "501 retries are due, more than 500"},
        {offsetof(struct health_counts, oldest_due_age_seconds), 300, false, HEALTH_HEALTHY, NULL},
        {offsetof(struct health_counts, oldest_due_age_seconds), 301, false, HEALTH_DEGRADED,
            "a retry has been due for 5 min"},
        {offsetof(struct health_counts, oldest_due_age_seconds), 3600, false, HEALTH_DEGRADED,
            "a retry has been due for 60 min"},
        {offsetof(struct health_counts, oldest_due_age_seconds), 7300, false, HEALTH_CRITICAL,
            "a retry has been due for 2 h"},
        {offsetof(struct health_counts, oldest_due_age_seconds), 400000, true, HEALTH_CRITICAL,
            "a retry has been due for 4 days"},
        {offsetof(struct health_counts, stale_locks), 1, false, HEALTH_DEGRADED,
            "1 lead is held for more than five minutes"},
        {offsetof(struct health_counts, stale_locks), 10, false, HEALTH_DEGRADED,
            "10 leads are held for more than five minutes"},
        {offsetof(struct health_counts, stale_locks), 11, true, HEALTH_CRITICAL,
            "11 leads are held for more than five minutes"},
        {offsetof(struct health_counts, oldest_pending_age_seconds), 86400, false, HEALTH_HEALTHY, NULL},
        {offsetof(struct health_counts, oldest_pending_age_seconds), 93600, false, HEALTH_DEGRADED,
            "the oldest pending lead has been there for 26 h"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct health_facts facts = healthy();
        facts.is_one_workspace = cases[i].is_one;
        memcpy((char *)&facts.counts + cases[i].offset, &cases[i].value, sizeof(cases[i].value));
        expect(&facts, cases[i].status, cases[i].problem);
    }
}

/* Leads that are held by a policy may be as old as they like. */
static void held_leads_may_be_old(void **state)
{
    struct health_facts facts = healthy();

    (void)state;
    facts.counts.oldest_pending_age_seconds = INT64_C(86400) * 80;
    facts.counts.held = 1;
    expect(&facts, HEALTH_HEALTHY, NULL);
}

static void jobs(void **state)
{
    struct health_facts facts = healthy();
    struct health_job *job = add_job(&facts, "retention");

    (void)state;
    job->failures = 1;
    expect(&facts, HEALTH_DEGRADED, "job retention has failed");
    job->failures = 3;
    expect(&facts, HEALTH_DEGRADED, "job retention has failed 3 times in a row");
    job->failures = 0;
    job->is_paused = true;
    job->next_run_us = 0; /* late, which is what a pause means */
    expect(&facts, HEALTH_DEGRADED, "job retention is paused");
    job->is_paused = false;
    job->next_run_us = NOW_US - INT64_C(300) * 1000000;
    expect(&facts, HEALTH_HEALTHY, NULL);
    job->next_run_us -= INT64_C(120) * 1000000;
    expect(&facts, HEALTH_DEGRADED, "job retention should have begun 7 min ago");
    job->is_running = true;
    expect(&facts, HEALTH_HEALTHY, NULL);
    job->is_running = false;
    job->has_schedule = false;
    expect(&facts, HEALTH_HEALTHY, NULL);
    facts.is_one_workspace = true; /* jobs are for all of them */
    job->failures = 3;
    expect(&facts, HEALTH_HEALTHY, NULL);
}

/* Shares count once there is enough to share. */
static void rates(void **state)
{
    struct health_facts facts = healthy();
    struct routing_rates *rates = &facts.rates;

    (void)state;
    rates->finals = 19;
    rates->success_share = 0;
    expect(&facts, HEALTH_HEALTHY, NULL);
    rates->finals = 20;
    expect(&facts, HEALTH_CRITICAL,
        "100.0 % of this server's decisions within the last hour were failures, more than 10 %");
    rates->success_share = 0.875;
    expect(&facts, HEALTH_CRITICAL,
        "12.5 % of this server's decisions within the last hour were failures, more than 10 %");
    rates->success_share = 0.9;
    expect(
        &facts, HEALTH_DEGRADED, "10.0 % of this server's decisions within the last hour were failures, more than 5 %");
    rates->success_share = 0.95;
    expect(&facts, HEALTH_HEALTHY, NULL);
    rates->locks = 99;
    rates->lock_share = 0.5;
    expect(&facts, HEALTH_HEALTHY, NULL);
    rates->locks = 100;
    expect(&facts, HEALTH_CRITICAL, "50.0 % of the leads that this server was asked for were held by somebody else");
    rates->lock_share = 0.85;
    expect(&facts, HEALTH_DEGRADED, "15.0 % of the leads that this server was asked for were held by somebody else");
    rates->lock_share = 0.95;
    rates->p95_us = 5000001;
    rates->waits = 99;
    expect(&facts, HEALTH_HEALTHY, NULL);
    rates->waits = 100;
    expect(&facts, HEALTH_CRITICAL, "of this server's calls 5 % waited for more than 5.0 s");
    rates->p95_us = 5000000;
    expect(&facts, HEALTH_DEGRADED, "of this server's calls 5 % waited for more than 5.0 s");
    rates->p95_us = 2500000;
    expect(&facts, HEALTH_DEGRADED, "of this server's calls 5 % waited for more than 2.5 s");
    rates->p95_us = 2000000;
    expect(&facts, HEALTH_HEALTHY, NULL);
}

static void server(void **state)
{
    struct health_facts facts = healthy();

    (void)state;
    facts.counts.log_days_ahead = 1;
    expect(&facts, HEALTH_CRITICAL, "the audit log has room for today and 1 more day only");
    facts.counts.log_days_ahead = 2;
    facts.descriptors_used = 900;
    facts.is_one_workspace = true;
    expect(&facts, HEALTH_CRITICAL, "900 of 1024 file descriptors are in use, more than 80 %");
}

static void seals(void **state)
{
    struct health_facts facts = healthy();

    (void)state;
    facts.counts.unsealed_age_seconds = 300;
    expect(&facts, HEALTH_HEALTHY, NULL);
    facts.counts.unsealed_age_seconds = 301;
    expect(&facts, HEALTH_DEGRADED, "the audit log has not been sealed for 5 min");
    facts.counts.is_sealing_held = true;
    expect(&facts, HEALTH_DEGRADED,
        "the audit log has not been sealed for 5 min: a transaction has been under way for as long");
    facts.is_one_workspace = true;
    expect(&facts, HEALTH_HEALTHY, NULL);
}

/* Everything at once: all sentences, the worst word; and there is room for them. */
static void everything(void **state)
{
    struct health_facts facts = healthy();
    struct health_verdict verdict;

    (void)state;
    facts.counts = (struct health_counts){.retries_due = 501,
        .oldest_due_age_seconds = 301,
        .stale_locks = 1,
        .oldest_pending_age_seconds = 100000,
        .counted_us = NOW_US,
        .log_days_ahead = 0,
        .unsealed_age_seconds = 301};
    for (int i = 0; i < HEALTH_JOBS_MAX; i++) {
        struct health_job *job = add_job(&facts, "a job");
        job->failures = 1;
        job->is_paused = true;
    }
    facts.rates = (struct routing_rates){.finals = 1000, .locks = 1000, .waits = 1000, .p95_us = 9000000};
    facts.descriptors_used = 1024;
    health_judge(&facts, arena, &verdict);
    assert_int_equal(verdict.status, HEALTH_CRITICAL);
    assert_int_equal(verdict.problem_count, 4 + 1 + 2 * HEALTH_JOBS_MAX + 3 + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(counts, setup, teardown),
        cmocka_unit_test_setup_teardown(held_leads_may_be_old, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs, setup, teardown),
        cmocka_unit_test_setup_teardown(rates, setup, teardown),
        cmocka_unit_test_setup_teardown(seals, setup, teardown),
        cmocka_unit_test_setup_teardown(server, setup, teardown),
        cmocka_unit_test_setup_teardown(everything, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
