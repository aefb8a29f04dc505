/* Goal: held leads, leads that break their batch, deadlocks, lost connections and lost answers: nothing is lost,
 * nothing is done twice, and the caller is told the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine_fixture.h"
#include "wire_proxy.h"

enum { LEADS = 100 };

static struct crowd *ask_many(struct world *world, struct routing_engine *engine, size_t count)
{
    struct crowd *crowd = crowd_new(count);

    for (size_t i = 0; i < count; i++) {
        char email[64];
        snprintf(email, sizeof(email), "person%zu@example.com", i);
        crowd_ticket(crowd, i, world_lead(world, 1, email, "x"), workspace_id(1));
    }
    crowd_ask_all(crowd, engine);
    return crowd;
}

static void test_a_held_lead_is_busy_after_a_while(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    int64_t start_ns = 0;
    char id[UUID_TEXT_SIZE];

    world_one_to_two(world);
    struct uuid lead = world_lead(world, 1, NULL, "x");
    world_run(world, "begin; select 1 from leads where id = '%s' for update", uuid_format(&lead, id));
    start_ns = clock_now_ns();
    struct routing_answer answer = route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(answer.error.code, ERROR_BUSY);
    assert_true(clock_now_ns() - start_ns >= 100 * 1000000);
    world_run(world, "rollback");
    assert_int_equal(route_one(engine, lead, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_free(engine, PATIENCE_MS);
}

#define LEAD "current_setting('test.lead')::uuid"

/* Holds a new lead, LEAD in the statements, by `hold`, asks for it, and lets it go by `release` once the engine has found it held. Nobody
 * waits for a held lead for longer than 100 ms: when this thread stood still for so long, that was the answer, and another is taken. */
static struct uuid ask_while_held(struct world *world, struct routing_engine *engine, const char *hold,
    const char *release, struct routing_answer *ret_answer)
{
    const int64_t until_ns = clock_after_ms(PATIENCE_MS);
    struct uuid lead = {{0}};
    char id[UUID_TEXT_SIZE];

    do {
        struct routing_statistics statistics = {0};
        struct crowd *crowd = crowd_new(1);
        lead = world_lead(world, 1, NULL, "x");
        world_run(world, "set test.lead = '%s'", uuid_format(&lead, id));
        world_run(world, "%s", hold);
        routing_engine_statistics(engine, &statistics);
        const uint64_t before = statistics.held_again;
        crowd_ticket(crowd, 0, lead, workspace_id(1));
        crowd_ask(crowd, engine, 0);
        while (statistics.held_again == before) {
            assert_true(clock_left_ms(until_ns) > 0);
            poll(NULL, 0, 1);
            routing_engine_statistics(engine, &statistics);
        }
        world_run(world, "%s", release);
        crowd_wait(crowd, 1);
        *ret_answer = *crowd_answer(crowd, 0);
        crowd_free(crowd);
    } while (ret_answer->error.code == ERROR_BUSY);
    return lead;
}

static void test_a_lead_that_is_let_go_in_time_is_decided(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_answer answer;

    world_one_to_two(world);
    ask_while_held(world, engine, "begin; select 1 from leads where id = " LEAD " for update", "rollback", &answer);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_who_waits_for_another_worker_gets_its_decision(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_answer answer;
    char id[UUID_TEXT_SIZE];

    world_one_to_two(world);
    struct uuid lead = ask_while_held(world, engine,
        "do $$ begin assert acquire_routing_lock(" LEAD ", " LEAD "); end $$",
        "do $$ begin assert complete_routing(" LEAD ", '00000000-0000-0000-0000-000000000002', null, " LEAD "); end $$",
        &answer);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
    assert_int_equal(
        world_number(world, "select count(*) from lead_routing_logs where lead_id = '%s'", uuid_format(&lead, id)), 1);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_broken_lead_does_not_stop_its_batch(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = NULL;
    struct routing_statistics statistics;
    struct crowd *crowd = NULL;

    world_one_to_two(world);
    world_break_leads_of(world, "hopeless", "22003");
    world_break_leads_of(world, "unlucky", "53100");
    engine = world_engine(world, 1, 0);
    crowd = crowd_new(LEADS);
    for (size_t i = 0; i < LEADS; i++) {
        char id[UUID_TEXT_SIZE];
        struct uuid lead = world_lead(world, 1, NULL, "x");
        if (i == 13 || i == 57)
            world_run(world, "update leads set city = '%s' where id = '%s'", i == 13 ? "hopeless" : "unlucky",
                uuid_format(&lead, id));
        crowd_ticket(crowd, i, lead, workspace_id(1));
    }
    crowd_ask_all(crowd, engine);
    crowd_wait(crowd, LEADS);
    assert_int_equal(crowd_count(crowd, ROUTING_OUTCOME_ROUTED), LEADS - 2);
    assert_int_equal(crowd_answer(crowd, 13)->outcome, ROUTING_OUTCOME_FAILED);
    assert_non_null(strstr(crowd_answer(crowd, 13)->reason, "22003"));
    assert_int_equal(crowd_answer(crowd, 57)->outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_non_null(strstr(crowd_answer(crowd, 57)->reason, "53100"));
    routing_engine_statistics(engine, &statistics);
    assert_true(statistics.batches_split >= 1);
    assert_int_equal(world_number(world, "select count(*) from leads where routing_status = 'routed'"), LEADS - 2);
    assert_int_equal(
        world_number(world, "select count(*) from lead_routing_logs where routing_result = 'success'"), LEADS - 2);
    crowd_free(crowd);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_deadlock_is_tried_again(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = NULL;
    struct routing_statistics statistics;

    world_one_to_two(world);
    world_run(world,
        "create sequence bad_luck; grant usage on sequence bad_luck to public;"
        "create function deadlock_twice() returns trigger language plpgsql as $$ begin"
        " if nextval('public.bad_luck') <= 2 then raise exception 'deadlock for a test' using errcode = '40P01'; "
        "end if; return new; end $$;"
        "create trigger deadlock_twice before update of routing_status on leads for each row execute "
        "function deadlock_twice()");
    engine = world_engine(world, 1, 0);
    assert_int_equal(
        route_one(engine, world_lead(world, 1, NULL, "x"), workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_statistics(engine, &statistics);
    assert_int_equal(statistics.transaction_retries, 2);
    world_check_each_decided_once(world, 1);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_lost_answer_to_commit_is_looked_up(void **state)
{
    struct world *world = *state;
    struct proxied proxied;
    struct routing_statistics statistics;

    world_one_to_two(world);
    proxied_init(&proxied, world, 2);
    for (unsigned round = 0; round < 5; round++) {
        wire_proxy_lose_commits(proxied.proxy, 1);
        struct uuid lead = world_lead(world, 1, NULL, "x");
        struct routing_answer answer = route_one(proxied.engine, lead, workspace_id(1), false);
        assert_int_equal(answer.error.code, ERROR_NONE);
        assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
        assert_int_equal(answer.attempt, 1);
        assert_string_equal(answer.matched_rule_name, "all");
        struct routing_answer again = route_one(proxied.engine, lead, workspace_id(1), false);
        assert_int_equal(again.outcome, ROUTING_OUTCOME_ALREADY_ROUTED);
        assert_true(uuid_equal(&again.decision_id, &answer.decision_id));
    }
    assert_int_equal(wire_proxy_lost(proxied.proxy), 5);
    routing_engine_statistics(proxied.engine, &statistics);
    assert_int_equal(statistics.unknown_commits, 5);
    assert_int_equal(statistics.unknown_committed, 5);
    world_check_each_decided_once(world, 5);
    proxied_release(&proxied);
}

static void test_lost_answers_under_load(void **state)
{
    struct world *world = *state;
    struct proxied proxied;

    world_one_to_two(world);
    proxied_init(&proxied, world, 2);
    wire_proxy_lose_commits(proxied.proxy, 3);
    struct crowd *crowd = ask_many(world, proxied.engine, LEADS);
    crowd_wait(crowd, LEADS);
    assert_int_equal(crowd_count(crowd, ROUTING_OUTCOME_ROUTED), LEADS);
    world_check_each_decided_once(world, LEADS);
    crowd_free(crowd);
    proxied_release(&proxied);
}

/* A deferred trigger makes COMMIT wait for an advisory lock of the test, for as long as it takes; the backend is then killed inside
 * its COMMIT, which never happens. */
static void test_a_commit_that_did_not_happen_is_done_again(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = NULL;
    struct routing_statistics statistics;
    struct crowd *crowd = crowd_new(1);

    world_one_to_two(world);
    world_run(world, "create function wait_at_commit() returns trigger language plpgsql set lock_timeout = 0 as"
                     " $$ begin perform pg_advisory_xact_lock_shared(7); return null; end $$;"
                     "create constraint trigger wait_at_commit after update on leads deferrable initially deferred"
                     " for each row execute function wait_at_commit(); select pg_advisory_lock(7)");
    engine = world_engine(world, 1, 0);
    crowd_ticket(crowd, 0, world_lead(world, 1, NULL, "x"), workspace_id(1));
    crowd_ask(crowd, engine, 0);
    world_wait_for(world, 1, "select count(*) from pg_locks where locktype = 'advisory' and not granted");
    world_run(world, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted;"
                     "select pg_advisory_unlock(7)");
    crowd_wait(crowd, 1);
    assert_int_equal(crowd_answer(crowd, 0)->outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_statistics(engine, &statistics);
    assert_int_equal(statistics.unknown_commits, 1);
    assert_int_equal(statistics.unknown_committed, 0);
    assert_int_equal(statistics.unknown_not_committed, 1);
    world_check_each_decided_once(world, 1);
    crowd_free(crowd);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_connections_killed_under_load(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 2, 4);

    world_one_to_two(world);
    struct crowd *crowd = ask_many(world, engine, LEADS);
    world_run(world, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'engine'");
    crowd_wait(crowd, LEADS);
    for (size_t i = 0; i < LEADS; i++) /* whoever was told to ask again does */
        if (crowd_answer(crowd, i)->error.code != ERROR_NONE) {
            const struct routing_ticket *ticket =
                crowd_ticket(crowd, i, crowd_answer(crowd, i)->lead_id, workspace_id(1));
            assert_int_equal(crowd_answer(crowd, i)->error.code, ERROR_UNAVAILABLE);
            assert_int_equal(route_one(engine, ticket->request.lead_id, workspace_id(1), false).error.code, ERROR_NONE);
        }
    world_check_each_decided_once(world, LEADS);
    crowd_free(crowd);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_database_that_goes_and_comes_back(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 2, 0);
    struct uuid lead;
    struct routing_answer answer;
    int64_t deadline_ns = 0;

    world_one_to_two(world);
    lead = world_lead(world, 1, NULL, "x");
    assert_int_equal(
        route_one(engine, world_lead(world, 1, NULL, "x"), workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    test_cluster_kill(world->cluster);
    answer = route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(answer.error.code, ERROR_UNAVAILABLE);
    test_cluster_restart(world->cluster);
    deadline_ns = clock_after_ms(PATIENCE_MS);
    do {
        answer = route_one(engine, lead, workspace_id(1), false);
        assert_true(answer.error.code == ERROR_NONE || answer.error.code == ERROR_UNAVAILABLE);
        poll(NULL, 0, 5);
    } while (answer.error.code != ERROR_NONE && clock_now_ns() < deadline_ns);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
    pg_conn_close(world->conn);
    world_check_each_decided_once(world, 2);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_stopping_answers_everybody(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 8);
    struct crowd *crowd = NULL;
    size_t decided = 0;

    world_one_to_two(world);
    crowd = ask_many(world, engine, LEADS);
    routing_engine_free(engine, 0);
    crowd_wait(crowd, LEADS);
    decided = crowd_count(crowd, ROUTING_OUTCOME_ROUTED);
    for (size_t i = 0; i < LEADS; i++)
        assert_true(crowd_answer(crowd, i)->error.code == ERROR_NONE ||
                    crowd_answer(crowd, i)->error.code == ERROR_UNAVAILABLE);
    world_check_each_decided_once(world, (int64_t)decided);
    crowd_free(crowd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_held_lead_is_busy_after_a_while),
        TEST(test_a_lead_that_is_let_go_in_time_is_decided),
        TEST(test_who_waits_for_another_worker_gets_its_decision),
        TEST(test_a_broken_lead_does_not_stop_its_batch),
        TEST(test_a_deadlock_is_tried_again),
        TEST(test_a_lost_answer_to_commit_is_looked_up),
        TEST(test_lost_answers_under_load),
        TEST(test_a_commit_that_did_not_happen_is_done_again),
        TEST(test_connections_killed_under_load),
        TEST(test_a_database_that_goes_and_comes_back),
        TEST(test_stopping_answers_everybody),
    };

    return cmocka_run_group_tests_name("routing/faults", tests, world_group_setup, world_group_teardown);
}
