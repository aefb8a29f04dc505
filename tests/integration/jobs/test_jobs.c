/* Goal: background work starts and stops at any moment without losing or repeating anything, several of it share a database, and jobs run
 * by hand say what became of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine_fixture.h"
#include "jobs/jobs.h"

enum { ROUNDS = 10, LEADS = 200 };

/* One server's worth of background work. */
struct background {
    struct routing_engine *engine;
    struct jobs *jobs;
    atomic_uint events[JOBS_EVENT_DATABASE + 1];
};

static void observe(void *user, const struct jobs_event *event)
{
    struct background *background = user;

    assert_true(event->job != NULL && event->detail != NULL);
    assert_true((event->error != NULL) == (event->kind == JOBS_EVENT_FAILED || event->kind == JOBS_EVENT_DATABASE));
    atomic_fetch_add(&background->events[event->kind], 1);
}

static void start(struct background *background, struct world *world, bool listens)
{
    const struct jobs_options options = {
        .database = &world->service,
        .listen_database = listens ? &world->service : NULL,
        .engine = background->engine = world_engine(world, 1, 16),
        .retry_lanes_max = 3,
        .observer = observe,
        .user = background,
    };
    struct error error = {0};

    if (!jobs_new(&options, &background->jobs, &error))
        fail_msg("%s", error.text);
}

static void stop(struct background *background)
{
    jobs_free(background->jobs);
    routing_engine_free(background->engine, PATIENCE_MS);
}

/* Leads that are due, in the middle of whatever goes on. */
static void add_due_leads(struct world *world, unsigned count)
{
    world_run(world,
        "with l as (insert into leads (workspace_id, email) select '00000000-0000-0000-0000-000000000001',"
        " gen_random_uuid() || '@example.com' from generate_series(1, %u) returning id)"
        " insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, "
        "rules_version)"
        " select id, '00000000-0000-0000-0000-000000000001', 0, 3, now(), 1 from l",
        count);
}

static void test_started_and_stopped_at_any_moment(void **state)
{
    struct world *world = *state;

    world_one_to_two(world);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct background background = {0};
        add_due_leads(world, LEADS / ROUNDS);
        start(&background, world, i % 2 == 0);
        if (i % 3 == 0) /* otherwise as soon as it has begun */
            world_wait_for(world, 1, "select count(*) from leads where routing_status = 'routed'");
        stop(&background);
    }
    struct background last = {0};
    start(&last, world, true);
    world_wait_for(world, LEADS, "select count(*) from leads where routing_status = 'routed'");
    stop(&last);
    world_check_each_decided_once(world, LEADS);
}

static void test_several_share_a_database(void **state)
{
    struct world *world = *state;
    struct background backgrounds[3] = {0};

    world_one_to_two(world);
    for (unsigned i = 0; i < 3; i++)
        start(&backgrounds[i], world, i != 1);
    for (unsigned i = 0; i < ROUNDS; i++)
        add_due_leads(world, LEADS / ROUNDS);
    world_run(world, "update workspaces set routing_config = '{\"dedupe_days\": 30}'"); /* wakes those that listen */
    world_wait_for(world, LEADS, "select count(*) from leads where routing_status = 'routed'");
    for (unsigned i = 0; i < 3; i++)
        stop(&backgrounds[i]);
    world_check_each_decided_once(world, LEADS);
}

/* Only what the stop cuts short is left to others: a job that breaks meanwhile has failed, and that is recorded. */
static void test_a_failure_while_stopping_is_one(void **state)
{
    struct world *world = *state;
    struct background background = {0};

    world_one_to_two(world);
    world_run(world,
        "insert into leads (workspace_id, lead_expires_at) values ('00000000-0000-0000-0000-000000000001', now());"
        "create function break_when_let() returns trigger language plpgsql set lock_timeout = 0 as"
        " $$ begin perform pg_advisory_xact_lock_shared(7); raise exception 'broken' using errcode = '58000'; end $$;"
        "create trigger break_when_let before update on leads for each row execute function break_when_let();"
        "select pg_advisory_lock(7)");
    start(&background, world, false);
    world_wait_for(world, 1, "select count(*) from leadrouter.scheduled_jobs where name = 'expiry'");
    world_run(world, "update leadrouter.scheduled_jobs set next_run_at = now() where name = 'expiry'");
    world_wait_for(world, 1, "select count(*) from pg_locks where locktype = 'advisory' and not granted");
    jobs_stop(background.jobs);
    world_run(world, "select pg_advisory_unlock(7)");
    stop(&background);
    assert_int_equal(atomic_load(&background.events[JOBS_EVENT_FAILED]), 1);
    world_wait_for(world, 1,
        "select count(*) from leadrouter.scheduled_jobs where name = 'expiry'"
        " and last_result = 'failed' and failures = 1 and run_id is null");
}

static void *run_by_hand(void *argument)
{
    struct background *background = argument;
    struct error error = {0};

    for (unsigned i = 0; i < ROUNDS; i++)
        if (!jobs_run(background->jobs, i % 2 == 0 ? "lost_leads" : "retries", clock_after_ms(PATIENCE_MS), &error))
            assert_int_equal(error.code, ERROR_BUSY);
    return NULL;
}

/* By several at once, beside the scheduler. */
static void test_run_by_hand(void **state)
{
    struct world *world = *state;
    struct background background = {0};
    pthread_t threads[3];
    struct error error = {0};

    world_one_to_two(world);
    start(&background, world, true);
    assert_false(jobs_run(background.jobs, "nonsense", clock_after_ms(PATIENCE_MS), &error));
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    world_wait_for(world, 6, "select count(*) from leadrouter.scheduled_jobs");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_by_hand, &background), 0);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&background.events[JOBS_EVENT_DONE]) >= 2);
    assert_int_equal(atomic_load(&background.events[JOBS_EVENT_FAILED]), 0);

    /* Somebody else's run is left alone, and a job that fails says why. */
    world_run(world, "update leadrouter.scheduled_jobs set run_id = gen_random_uuid(), last_touched_at = now() where "
                     "name = 'expiry'");
    assert_false(jobs_run(background.jobs, "expiry", clock_after_ms(PATIENCE_MS), &error));
    assert_int_equal(error.code, ERROR_BUSY);
    world_run(world, "update leadrouter.scheduled_jobs set run_id = null where name = 'expiry'");
    world_run(world, "alter function leadrouter.expire_leads(uuid, integer) rename to hidden");
    assert_false(jobs_run(background.jobs, "expiry", clock_after_ms(PATIENCE_MS), &error));
    assert_string_equal(error.sqlstate, "42883");
    assert_int_equal(atomic_load(&background.events[JOBS_EVENT_FAILED]), 1);
    stop(&background);
}

/* A database that goes away is waited for, told once, and then everything goes on. */
static void test_the_database_goes_and_comes_back(void **state)
{
    struct world *world = *state;
    struct background background = {0};

    world_one_to_two(world);
    start(&background, world, true);
    world_wait_for(world, 6, "select count(*) from leadrouter.scheduled_jobs");
    for (unsigned i = 0; i < 3; i++) {
        world_run(world, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                         " and pid <> pg_backend_pid()");
        add_due_leads(world, 10);
        world_wait_for(world, 10 * (int64_t)(i + 1), "select count(*) from leads where routing_status = 'routed'");
    }
    stop(&background);
    world_check_each_decided_once(world, 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_started_and_stopped_at_any_moment),
        TEST(test_several_share_a_database),
        TEST(test_a_failure_while_stopping_is_one),
        TEST(test_run_by_hand),
        TEST(test_the_database_goes_and_comes_back),
    };

    return cmocka_run_group_tests_name("jobs/jobs", tests, world_group_setup, world_group_teardown);
}
