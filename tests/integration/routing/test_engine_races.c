/* Goal: whatever the concurrency, one decision per lead and one sale per identity; by volume, on a real database,
 * with several engines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine_fixture.h"

enum { CALLERS = 64, IDENTITIES = 1000, COPIES = 8 };

static const char SOLD[] = "select count(*) from lead_routing_logs where routing_result = 'success'"
                           " and destination_workspace_id <> source_workspace_id";

/* Threads that start at the same moment and ask for a share of a crowd each, at two engines in turn. */
struct caller {
    pthread_barrier_t *start;
    struct crowd *crowd;
    struct routing_engine *const *engines;
    size_t engine_count;
    size_t first;
    size_t step;
    size_t count;
};

static void *ask_share(void *argument)
{
    const struct caller *caller = argument;

    pthread_barrier_wait(caller->start);
    for (size_t i = caller->first; i < caller->count; i += caller->step)
        crowd_ask(caller->crowd, caller->engines[(i / caller->step + i) % caller->engine_count], i);
    return NULL;
}

/* Asks all `count` tickets from CALLERS threads at once and waits for every answer; who met others asks again. */
static void ask_at_once(struct crowd *crowd, size_t count, struct routing_engine *const *engines, size_t engine_count)
{
    pthread_barrier_t start;
    pthread_t threads[CALLERS];
    struct caller callers[CALLERS];

    pthread_barrier_init(&start, NULL, CALLERS);
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){&start, crowd, engines, engine_count, i, CALLERS, count};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_share, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    crowd_wait(crowd, count);
    for (int64_t until_ns = clock_after_ms(PATIENCE_MS); crowd_ask_again(crowd, engines[0]) > 0;)
        assert_true(clock_left_ms(until_ns) > 0);
}

static void test_sixty_four_callers_one_lead(void **state)
{
    struct world *world = *state;
    struct routing_engine *engines[2] = {world_engine(world, 2, 0), world_engine(world, 2, 0)};

    world_workspace(world, 1, "{}");
    world_workspace(world, 2, "{}");
    world_rule(world, 1, "all", 0, "{}", 2);
    for (unsigned round = 0; round < 20; round++) {
        struct crowd *crowd = crowd_new(CALLERS);
        struct uuid lead = world_lead(world, 1, NULL, "x");
        char id[UUID_TEXT_SIZE];
        for (size_t i = 0; i < CALLERS; i++)
            crowd_ticket(crowd, i, lead, workspace_id(1));
        ask_at_once(crowd, CALLERS, engines, 2);
        assert_int_equal(
            crowd_count(crowd, ROUTING_OUTCOME_ROUTED) + crowd_count(crowd, ROUTING_OUTCOME_ALREADY_ROUTED), CALLERS);
        assert_true(crowd_count(crowd, ROUTING_OUTCOME_ROUTED) >= 1);
        for (size_t i = 1; i < CALLERS; i++)
            assert_true(uuid_equal(&crowd_answer(crowd, i)->decision_id, &crowd_answer(crowd, 0)->decision_id));
        assert_int_equal(
            world_number(world, "select count(*) from lead_routing_logs where lead_id = '%s'", uuid_format(&lead, id)),
            1);
        crowd_free(crowd);
    }
    routing_engine_free(engines[0], PATIENCE_MS);
    routing_engine_free(engines[1], PATIENCE_MS);
}

/* IDENTITIES people, a copy of each in workspaces 1 … COPIES, all of which give everything to workspace 99. The
 * copies of a person come one after another, in an order that differs from person to person. */
static struct crowd *eight_copies(struct world *world)
{
    struct crowd *crowd = crowd_new((size_t)IDENTITIES * COPIES);

    world_workspace(world, 99, "{}");
    for (unsigned n = 1; n <= COPIES; n++) {
        world_workspace(world, n, "{}");
        world_rule(world, n, "all", 0, "{}", 99);
    }
    world_run(world,
        "insert into leads (id, workspace_id, email)"
        " select ('00000000-0000-0000-' || lpad(to_hex(w), 4, '0') || '-' || lpad(to_hex(i), 12, '0'))::uuid,"
        "        ('00000000-0000-0000-0000-' || lpad(to_hex(w), 12, '0'))::uuid, 'person' || i || '@example.com'"
        " from generate_series(0, %d) i, generate_series(1, %d) w",
        IDENTITIES - 1, COPIES);
    for (unsigned i = 0; i < IDENTITIES; i++)
        for (unsigned k = 0; k < COPIES; k++) {
            unsigned n = 1 + (i + k) % COPIES;
            struct uuid lead = {{0}};
            lead.bytes[9] = (uint8_t)n;
            lead.bytes[14] = (uint8_t)(i >> 8);
            lead.bytes[15] = (uint8_t)i;
            crowd_ticket(crowd, (size_t)i * COPIES + k, lead, workspace_id(n));
        }
    return crowd;
}

/* 1,000 sold, 7,000 duplicates, each duplicate pointing at the copy that was sold; nothing else anywhere. */
static void check_eight_copies(struct world *world, struct crowd *crowd)
{
    assert_int_equal(crowd_count(crowd, ROUTING_OUTCOME_ROUTED), IDENTITIES);
    assert_int_equal(crowd_count(crowd, ROUTING_OUTCOME_DUPLICATE), IDENTITIES * (COPIES - 1));
    assert_int_equal(world_number(world, SOLD), IDENTITIES);
    assert_int_equal(world_number(world, "select count(*) from lead_routing_logs"), IDENTITIES * COPIES);
    assert_int_equal(world_number(world, "select count(*) from lead_dedupe_claims"), IDENTITIES);
    assert_int_equal(
        world_number(world, "select count(*) from leads d join leads s on s.id = d.duplicate_lead_id"
                            " where d.decided_outcome = 'duplicate' and s.decided_outcome = 'success'"
                            " and s.dedupe_hash = d.dedupe_hash and d.workspace_id = d.source_workspace_id"),
        IDENTITIES * (COPIES - 1));
}

static void test_eight_copies_at_once(void **state)
{
    struct world *world = *state;
    struct crowd *crowd = eight_copies(world);
    struct routing_engine *engines[2] = {world_engine(world, 3, 64), world_engine(world, 3, 64)};

    ask_at_once(crowd, (size_t)IDENTITIES * COPIES, engines, 2);
    check_eight_copies(world, crowd);
    crowd_free(crowd);
    routing_engine_free(engines[0], PATIENCE_MS);
    routing_engine_free(engines[1], PATIENCE_MS);
}

static void test_eight_copies_in_one_batch(void **state)
{
    struct world *world = *state;
    struct crowd *crowd = eight_copies(world);
    struct routing_engine *engine = world_engine(world, 1, IDENTITIES * COPIES);
    struct routing_statistics statistics;

    crowd_ask_all(crowd, engine);
    crowd_wait(crowd, (size_t)IDENTITIES * COPIES);
    check_eight_copies(world, crowd);
    routing_engine_statistics(engine, &statistics);
    assert_int_equal(statistics.batches, 1);
    crowd_free(crowd);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_thousand_copies_in_fifty_workspaces_sell_once(void **state)
{
    enum { WORKSPACES = 50, LEADS = 1000 };
    struct world *world = *state;
    struct crowd *crowd = crowd_new(LEADS);
    struct routing_engine *engines[2] = {world_engine(world, 2, 32), world_engine(world, 2, 32)};

    world_workspace(world, 99, "{}");
    for (unsigned n = 1; n <= WORKSPACES; n++) {
        world_workspace(world, n, "{}");
        world_rule(world, n, "all", 0, "{}", 99);
    }
    for (unsigned i = 0; i < LEADS; i++) {
        unsigned n = 1 + i % WORKSPACES;
        crowd_ticket(crowd, i, world_lead(world, n, "one@example.com", "x"), workspace_id(n));
    }
    ask_at_once(crowd, LEADS, engines, 2);
    assert_int_equal(world_number(world, SOLD), 1);
    assert_int_equal(crowd_count(crowd, ROUTING_OUTCOME_ROUTED), 1);
    assert_int_equal(crowd_count(crowd, ROUTING_OUTCOME_DUPLICATE), LEADS - 1);
    crowd_free(crowd);
    routing_engine_free(engines[0], PATIENCE_MS);
    routing_engine_free(engines[1], PATIENCE_MS);
}

/* Workers that use the SQL functions one lead at a time, while two engines decide the same leads: nobody decides
 * twice. */
struct worker {
    struct world *world;
    unsigned first;
    unsigned step;
    unsigned decided;
};

static void *work_by_functions(void *argument)
{
    struct worker *worker = argument;
    struct pg_conn *conn = pg_conn_new(&worker->world->service);

    for (unsigned i = worker->first; i < IDENTITIES; i += worker->step) {
        char sql[400];
        struct pg_statement statement = {.sql = sql};
        struct pg_result *result = NULL;
        snprintf(sql, sizeof(sql),
            "select case when acquire_routing_lock(id, id) then complete_routing(id,"
            " '00000000-0000-0000-0000-000000000063', null, id) else false end"
            " from (select '00000000-0000-0000-0001-%012x'::uuid id) x",
            i);
        if (pg_conn_open(conn, clock_after_ms(PATIENCE_MS), NULL) &&
            pg_execute(conn, &statement, NULL, clock_after_ms(PATIENCE_MS), &result, NULL)) {
            worker->decided += pg_result_bool(result, 0, 0) ? 1 : 0;
            pg_result_free(result);
        }
    }
    pg_conn_free(conn);
    return NULL;
}

static void test_engine_and_functions_together(void **state)
{
    enum { WORKERS = 4 };
    struct world *world = *state;
    struct crowd *crowd = eight_copies(world);
    struct routing_engine *engines[2] = {world_engine(world, 2, 64), world_engine(world, 2, 64)};
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){world, i, WORKERS, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work_by_functions, &workers[i]), 0);
    }
    ask_at_once(crowd, (size_t)IDENTITIES * COPIES, engines, 2);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    routing_engine_free(engines[0], PATIENCE_MS);
    routing_engine_free(engines[1], PATIENCE_MS);
    assert_int_equal(world_number(world, "select count(*) from leads where routing_status <> 'routed'"), 0);
    assert_int_equal(world_number(world, SOLD), IDENTITIES);
    assert_int_equal(
        world_number(world, "select count(*) from (select lead_id from lead_routing_logs where routing_result in"
                            " ('success', 'duplicate') group by lead_id having count(*) <> 1) x"),
        0);
    crowd_free(crowd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sixty_four_callers_one_lead),
        TEST(test_eight_copies_at_once),
        TEST(test_eight_copies_in_one_batch),
        TEST(test_a_thousand_copies_in_fifty_workspaces_sell_once),
        TEST(test_engine_and_functions_together),
    };

    return cmocka_run_group_tests_name("routing/races", tests, world_group_setup, world_group_teardown);
}
