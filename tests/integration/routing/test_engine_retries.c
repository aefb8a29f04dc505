/* Goal: retries are claimed once, whoever asks at the same time, decided like any other lead, and never lost: not when a lead breaks its
 * batch, not when the answer to a COMMIT is lost, not when the lead has gone or been decided by others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine_fixture.h"
#include "routing/retries.h"

enum { LEADS = 300, THREADS = 4, RACE_BATCH = 16 };

static const struct routing_retries_order due_now = {.kind = ROUTING_RETRIES_DUE};

static struct routing_retries_order order_of(enum routing_retries_kind kind)
{
    return (struct routing_retries_order){
        .kind = kind, .is_thorough = true, .deadline_ns = clock_after_ms(PATIENCE_MS)};
}

/* One transaction; fails the test when it fails. */
static struct routing_retries_report run(struct routing_retries *retries, struct routing_retries_order order)
{
    struct routing_retries_report report = {0};
    struct error error = {0};

    order.deadline_ns = clock_after_ms(PATIENCE_MS);
    if (!routing_retries_run(retries, &order, &report, NULL, NULL, &error))
        fail_msg("%s", error.text);
    return report;
}

/* Leads of workspace 1, and a row that is due for each that has none; the first one's id. */
static struct uuid due_leads(struct world *world, unsigned count)
{
    struct uuid first = {{0}};

    for (unsigned i = 0; i < count; i++) {
        char email[64];
        snprintf(email, sizeof(email), "person%u@example.com", i);
        struct uuid lead = world_lead(world, 1, email, "x");
        if (i == 0)
            first = lead;
    }
    world_run(world,
        "insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, "
        "rules_version)"
        " select l.id, l.source_workspace_id, 0, 3, now() - interval '1 second', v.version from leads l"
        " join leadrouter.rule_versions v on v.workspace_id = l.source_workspace_id"
        " where not exists (select from lead_routing_queue q where q.lead_id = l.id and q.processed_at is null)");
    return first;
}

static int64_t open_rows(struct world *world)
{
    return world_number(world, "select count(*) from lead_routing_queue where processed_at is null");
}

static void test_due_leads_are_decided(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);

    world_one_to_two(world);
    due_leads(world, 10);
    struct routing_retries_report report = run(retries, due_now);
    assert_int_equal(report.processed, 10);
    assert_int_equal(report.routed, 10);
    assert_true(report.is_short);
    assert_int_equal(report.next_due_in_us, -1);
    assert_int_equal(open_rows(world), 0);
    world_check_each_decided_once(world, 10);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_limits_and_what_comes_next(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 100);
    struct routing_retries *retries = routing_retries_new(engine);
    struct routing_retries_order order = due_now;

    world_one_to_two(world);
    due_leads(world, 250);
    order.limit = 30;
    struct routing_retries_report report = run(retries, order);
    assert_int_equal(report.processed, 30);
    assert_false(report.is_short);
    order.limit = 1000; /* the engine's batches are smaller */
    assert_int_equal(run(retries, order).processed, 100);
    assert_int_equal(run(retries, order).processed, 100);
    world_run(world, "update lead_routing_queue set next_retry_at = now() + interval '90 seconds' where id ="
                     " (select id from lead_routing_queue where processed_at is null limit 1)");
    report = run(retries, order);
    assert_int_equal(report.processed, 19);
    assert_true(report.is_short);
    assert_true(report.next_due_in_us > 60000000 && report.next_due_in_us <= 90000000);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_only_one_workspace(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);
    struct routing_retries_order order = due_now;

    world_one_to_two(world);
    world_workspace(world, 3, "{\"unmatched\": \"keep\"}");
    world_lead(world, 3, NULL, "x");
    due_leads(world, 5);
    order.workspace_id = workspace_id(3);
    assert_int_equal(run(retries, order).processed, 1);
    assert_int_equal(run(retries, order).processed, 0);
    assert_int_equal(run(retries, due_now).processed, 5);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

/* What fails is due at the time of its class, and failed for good when its attempts are used up. */
static void test_what_fails_again(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);

    world_workspace(world, 1, "{}");
    world_run(world, "update leadrouter.error_classes set delays = '{0}', jitter = 0 where class = 'unmatched'");
    due_leads(world, 3);
    for (unsigned attempt = 1; attempt < 3; attempt++) {
        struct routing_retries_report report = run(retries, due_now);
        assert_int_equal(report.requeued, 3);
        assert_int_equal(world_number(world,
                             "select count(*) from leads where routing_attempts = %u"
                             " and routing_status = 'pending'",
                             attempt),
            3);
        assert_int_equal(open_rows(world), 3);
    }
    assert_int_equal(run(retries, due_now).failed, 3);
    assert_int_equal(run(retries, due_now).processed, 0);
    assert_int_equal(
        world_number(
            world, "select count(*) from lead_routing_queue where processed_at is null and next_retry_at = 'infinity'"),
        3);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

/* A rule that arrives is felt by those that wait and those that had failed, and these count from one again. */
static void test_a_change_of_rules(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);

    world_workspace(world, 1, "{}");
    world_workspace(world, 2, "{}");
    struct uuid waiting = world_lead(world, 1, "a@example.com", "x");
    struct uuid failed = world_lead(world, 1, "b@example.com", "y");
    assert_int_equal(route_one(engine, waiting, workspace_id(1), false).outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    for (unsigned i = 0; i < 3; i++)
        route_one(engine, failed, workspace_id(1), true);
    assert_int_equal(world_number(world, "select count(*) from leads where routing_status = 'failed'"), 1);
    assert_int_equal(run(retries, order_of(ROUTING_RETRIES_OUTDATED)).processed, 0);
    world_rule(world, 1, "x only", 0, "{\"industries\": [\"x\"]}", 2);
    assert_int_equal(run(retries, due_now).processed, 0);
    struct routing_retries_report report = run(retries, order_of(ROUTING_RETRIES_OUTDATED));
    assert_int_equal(report.processed, 2);
    assert_int_equal(report.routed, 1);
    assert_int_equal(report.requeued, 1);
    assert_int_equal(world_number(world, "select routing_attempts::bigint from leads where company_industry = 'y'"), 1);
    assert_int_equal(run(retries, order_of(ROUTING_RETRIES_OUTDATED)).processed, 0);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

/* Changes of long ago are found by a thorough look only; in batches, over several workspaces. */
static void test_a_thorough_look(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 4);
    struct routing_retries *retries = routing_retries_new(engine);
    struct routing_retries_order quick = {.kind = ROUTING_RETRIES_OUTDATED};
    unsigned processed = 0;

    for (unsigned n = 1; n <= 3; n++)
        world_workspace(world, n, "{\"unmatched\": \"keep\"}");
    for (unsigned i = 0; i < 10; i++)
        world_lead(world, 1 + i % 3, NULL, "x");
    world_run(world, "insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, "
                     "next_retry_at, rules_version)"
                     " select id, source_workspace_id, 0, 3, 'infinity', 0 from leads");
    world_run(world, "update leadrouter.rule_versions set changed_at = now() - interval '1 hour'");
    assert_int_equal(run(retries, quick).processed, 0);
    for (unsigned i = 0; i < 4; i++)
        processed += run(retries, order_of(ROUTING_RETRIES_OUTDATED)).processed;
    assert_int_equal(processed, 10);
    assert_int_equal(open_rows(world), 0);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_workspace_that_wants_to_be_asked(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);

    world_workspace(world, 1, "{\"auto_route\": false}");
    world_workspace(world, 2, "{}");
    world_rule(world, 1, "all", 0, "{}", 2);
    struct uuid lead = due_leads(world, 2);
    assert_int_equal(run(retries, due_now).held, 2);
    assert_int_equal(run(retries, due_now).processed, 0);
    assert_int_equal(world_number(world,
                         "select count(*) from lead_routing_queue where processed_at is null and error_class = 'held'"),
        2);
    assert_int_equal(world_number(world, "select max(routing_attempts)::bigint from leads"), 0);
    assert_int_equal(route_one(engine, lead, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    world_run(world, "update workspaces set routing_config = '{}'");
    assert_int_equal(run(retries, order_of(ROUTING_RETRIES_OUTDATED)).routed, 1);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_while_retries_are_paused(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);
    struct routing_retries_order by_hand = due_now;

    world_one_to_two(world);
    due_leads(world, 3);
    world_run(world,
        "insert into leadrouter.scheduled_jobs (name, next_run_at, is_paused) values ('retries', 'infinity', true)");
    struct routing_retries_report report = run(retries, due_now);
    assert_int_equal(report.processed, 0);
    assert_true(report.is_paused);
    by_hand.by_hand = true;
    assert_int_equal(run(retries, by_hand).routed, 3);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

/* Rows whose leads have gone, or were ended by others, are closed, and do not stand in the way. */
static void test_leads_that_are_no_longer_there_to_be_tried(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);
    char id[UUID_TEXT_SIZE];

    world_one_to_two(world);
    struct uuid lead = due_leads(world, 4);
    world_run(world, "delete from leads where id = '%s'", uuid_format(&lead, id));
    world_run(world, "update leads set lead_expires_at = now() where email = 'person1@example.com'");
    world_run(world, "set session_replication_role = replica");
    world_run(world, "update leads set routing_status = 'routed' where email = 'person2@example.com'");
    world_run(world, "set session_replication_role = origin");
    struct routing_retries_report report = run(retries, due_now);
    assert_int_equal(report.processed, 2);
    assert_int_equal(report.routed, 1);
    assert_int_equal(report.expired, 1);
    assert_int_equal(open_rows(world), 0);
    assert_int_equal(
        world_number(world, "select count(*) from lead_routing_queue where last_error like 'the lead has gone%%'"), 2);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

/* A row with more attempts behind it than it may have gets the one that it is due for, and then no other. */
static void test_attempts_beyond_the_maximum(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);

    world_workspace(world, 1, "{}");
    due_leads(world, 1);
    world_run(world, "set session_replication_role = replica");
    world_run(world, "update leads set routing_attempts = 9");
    world_run(world, "update lead_routing_queue set attempt_number = 9");
    world_run(world, "set session_replication_role = origin");
    assert_int_equal(run(retries, due_now).failed, 1);
    assert_int_equal(world_number(world, "select routing_attempts::bigint from leads"), 10);
    assert_int_equal(run(retries, due_now).processed, 0);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_rules_that_vanished(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);

    world_one_to_two(world);
    due_leads(world, 1);
    world_run(world, "delete from lead_routing_rules");
    assert_int_equal(run(retries, order_of(ROUTING_RETRIES_OUTDATED)).requeued, 1);
    world_rule(world, 1, "again", 0, "{}", 2);
    world_run(world, "delete from workspaces where id = '00000000-0000-0000-0000-000000000002'");
    assert_int_equal(run(retries, order_of(ROUTING_RETRIES_OUTDATED)).requeued, 1);
    world_workspace(world, 2, "{}");
    assert_int_equal(run(retries, order_of(ROUTING_RETRIES_OUTDATED)).routed, 1);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void count_error(void *user, const struct uuid *lead_id, const struct error *error)
{
    (void)lead_id;
    assert_int_not_equal(error->code, ERROR_NONE);
    (*(unsigned *)user)++;
}

/* One that breaks for good fails, one that may pass waits, and the others of the batch are routed. */
static void test_a_broken_lead_does_not_stop_its_batch(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);
    struct routing_retries_order order = order_of(ROUTING_RETRIES_DUE);
    struct routing_retries_report report = {0};
    unsigned errors = 0;

    world_one_to_two(world);
    world_break_leads_of(world, "hopeless", "22003");
    world_break_leads_of(world, "unlucky", "53100");
    due_leads(world, LEADS / 2);
    world_run(world, "update leads set city = 'hopeless' where email = 'person13@example.com'");
    world_run(world, "update leads set city = 'unlucky' where email = 'person57@example.com'");
    assert_true(routing_retries_run(retries, &order, &report, count_error, &errors, NULL));
    assert_int_equal(report.processed, LEADS / 2);
    assert_int_equal(report.routed, LEADS / 2 - 2);
    assert_int_equal(report.failed, 1);
    assert_int_equal(report.requeued, 1);
    assert_int_equal(errors, 0);
    assert_int_equal(
        world_number(world, "select count(*) from lead_routing_logs where routing_metadata ->> 'error_class' in"
                            " ('invalid_data', 'database')"),
        2);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_lost_answer_to_commit(void **state)
{
    struct world *world = *state;
    struct proxied proxied;
    struct routing_retries *retries = NULL;

    world_one_to_two(world);
    proxied_init(&proxied, world, 1);
    retries = routing_retries_new(proxied.engine);
    due_leads(world, 20);
    wire_proxy_lose_commits(proxied.proxy, 1);
    struct routing_retries_report report = run(retries, due_now);
    assert_int_equal(wire_proxy_lost(proxied.proxy), 1);
    assert_int_equal(report.routed, 20);
    world_check_each_decided_once(world, 20);
    routing_retries_free(retries);
    proxied_release(&proxied);
}

static void test_a_database_that_is_away(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct routing_retries *retries = routing_retries_new(engine);
    struct routing_retries_order order = order_of(ROUTING_RETRIES_DUE);
    struct routing_retries_report report = {0};
    struct error error = {0};

    world_one_to_two(world);
    due_leads(world, 3);
    assert_int_equal(run(retries, due_now).routed, 3);
    due_leads(world, 3);
    world_run(world, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                     " and datname = current_database()");
    /* The first attempt finds the connection gone, or makes another at once. */
    if (!routing_retries_run(retries, &order, &report, NULL, NULL, &error)) {
        assert_int_equal(error.code, ERROR_UNAVAILABLE);
        assert_int_equal(report.processed, 0);
        while (!routing_retries_run(retries, &order, &report, NULL, NULL, &error))
            assert_true(clock_now_ns() < order.deadline_ns);
    }
    assert_int_equal(world_number(world, "select count(*) from leads where routing_status = 'routed'"), 6);
    order.deadline_ns = clock_now_ns();
    assert_false(routing_retries_run(retries, &order, &report, NULL, NULL, &error));
    assert_int_equal(error.code, ERROR_DEADLINE);
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

struct racer {
    pthread_t thread;
    struct routing_engine *engine;
    unsigned processed;
};

/* Works on until the queue is empty for everybody: what others hold at this moment does not count as empty. */
static void *race(void *argument)
{
    struct racer *racer = argument;
    struct routing_retries *retries = routing_retries_new(racer->engine);

    for (unsigned idle = 0; idle < 3;) {
        struct routing_retries_order order = order_of(ROUTING_RETRIES_DUE);
        struct routing_retries_report report = {0};
        order.limit = RACE_BATCH;
        if (!routing_retries_run(retries, &order, &report, NULL, NULL, NULL))
            break;
        racer->processed += report.processed;
        idle = report.processed == 0 ? idle + 1 : 0;
    }
    routing_retries_free(retries);
    return NULL;
}

/* Four of them in two engines, and callers that ask for every lead: each is decided once, and each row done once. */
static void test_no_row_is_done_twice(void **state)
{
    struct world *world = *state;
    struct routing_engine *engines[] = {world_engine(world, 1, 0), world_engine(world, 1, 0)};
    struct racer racers[THREADS] = {0};
    struct crowd *crowd = crowd_new(LEADS);
    unsigned processed = 0;
    size_t by_call = 0;

    world_one_to_two(world);
    for (unsigned i = 0; i < LEADS; i++)
        crowd_ticket(crowd, i, world_lead(world, 1, NULL, "x"), workspace_id(1));
    world_run(world, "insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, "
                     "next_retry_at, rules_version)"
                     " select id, source_workspace_id, 0, 3, now(), 1 from leads");
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i].engine = engines[i % 2];
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    crowd_ask_all(crowd, engines[0]);
    crowd_wait(crowd, LEADS);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(racers[i].thread, NULL);
        processed += racers[i].processed;
    }
    for (unsigned i = 0; i < LEADS; i++) {
        const struct routing_answer *answer = crowd_answer(crowd, i);
        if (answer->error.code != ERROR_NONE)
            assert_int_equal(answer->error.code, ERROR_BUSY);
        else if (answer->outcome == ROUTING_OUTCOME_ROUTED)
            by_call++;
        else
            assert_int_equal(answer->outcome, ROUTING_OUTCOME_ALREADY_ROUTED);
    }
    assert_true(processed <= LEADS && processed + by_call >= LEADS);
    assert_int_equal(open_rows(world), 0);
    world_check_each_decided_once(world, LEADS);
    crowd_free(crowd);
    routing_engine_free(engines[0], PATIENCE_MS);
    routing_engine_free(engines[1], PATIENCE_MS);
}

/* Waits until so many requests were put back because somebody held their leads. */
static void wait_until_held(struct routing_engine *engine, uint64_t least)
{
    int64_t deadline_ns = clock_after_ms(PATIENCE_MS);
    struct routing_statistics statistics = {0};

    for (routing_engine_statistics(engine, &statistics); statistics.held_again < least;
         routing_engine_statistics(engine, &statistics)) {
        assert_true(clock_now_ns() < deadline_ns);
        poll(NULL, 0, 1);
    }
}

/* A batch of retries stands still between its two round trips. Whoever asks for its leads meanwhile, and again if he was told to, is given
 * what it decides. */
static void test_callers_get_what_a_batch_of_retries_decides(void **state)
{
    enum { HELD = RACE_BATCH };
    struct world *world = *state;
    struct routing_engine *engine = world_engine(world, 1, 0);
    struct crowd *crowd = crowd_new(HELD);
    struct racer racer = {.engine = engine};
    struct uuid leads[HELD];

    world_one_to_two(world);
    for (unsigned i = 0; i < HELD; i++) {
        leads[i] = world_lead(world, 1, NULL, "x");
        crowd_ticket(crowd, i, leads[i], workspace_id(1));
    }
    due_leads(world, 0);
    world_run(world, "create function stand() returns trigger language plpgsql set lock_timeout = 0 as"
                     " $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;"
                     "create trigger stand before update on leads for each row execute function stand();"
                     "select pg_advisory_lock(7)");
    assert_int_equal(pthread_create(&racer.thread, NULL, race, &racer), 0);
    world_wait_for(world, 1, "select count(*) from pg_locks where locktype = 'advisory' and not granted");
    crowd_ask_all(crowd, engine);
    wait_until_held(engine, HELD);
    world_run(world, "select pg_advisory_unlock(7)");
    crowd_wait(crowd, HELD);
    pthread_join(racer.thread, NULL);
    for (unsigned i = 0; i < HELD; i++) {
        char id[UUID_TEXT_SIZE];
        struct routing_answer answer = *crowd_answer(crowd, i);
        if (answer.error.code == ERROR_BUSY) /* it stood still for longer than 100 ms */
            answer = route_one(engine, leads[i], workspace_id(1), false);
        else
            assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
        assert_int_equal(world_number(world, "select count(*) from leads where decision_id = '%s'",
                             uuid_format(&answer.decision_id, id)),
            1);
    }
    assert_int_equal(racer.processed, HELD);
    world_check_each_decided_once(world, HELD);
    crowd_free(crowd);
    routing_engine_free(engine, PATIENCE_MS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_due_leads_are_decided),
        TEST(test_limits_and_what_comes_next),
        TEST(test_only_one_workspace),
        TEST(test_what_fails_again),
        TEST(test_a_change_of_rules),
        TEST(test_a_thorough_look),
        TEST(test_a_workspace_that_wants_to_be_asked),
        TEST(test_while_retries_are_paused),
        TEST(test_leads_that_are_no_longer_there_to_be_tried),
        TEST(test_attempts_beyond_the_maximum),
        TEST(test_rules_that_vanished),
        TEST(test_a_broken_lead_does_not_stop_its_batch),
        TEST(test_a_lost_answer_to_commit),
        TEST(test_a_database_that_is_away),
        TEST(test_no_row_is_done_twice),
        TEST(test_callers_get_what_a_batch_of_retries_decides),
    };

    return cmocka_run_group_tests_name("routing/retries", tests, world_group_setup, world_group_teardown);
}
