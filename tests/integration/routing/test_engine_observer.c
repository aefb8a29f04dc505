/* Goal: the observer is told of each request once, before its callback, with when what happened; of leads that several asked for, once as
 * the first; and of each retry. What broke an attempt is told by class and SQLSTATE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "engine_fixture.h"
#include "routing/retries.h"

enum { LEADS = 40, TOLD_MAX = 200 };

/* What was told, in order; written by the one lane, read when all answers are there. */
static struct told {
    struct uuid lead_id;
    const void *context;
    bool is_retry, is_joined;
    int64_t submitted_ns;
    struct routing_answer answer;
} told[TOLD_MAX];
static atomic_size_t told_count;

static void observe(void *user, const struct routing_finished *finished)
{
    size_t i = atomic_load(&told_count);

    (void)user;
    if (i == TOLD_MAX)
        return;
    told[i] = (struct told){.lead_id = finished->request->lead_id,
        .is_retry = finished->ticket == NULL,
        .is_joined = finished->is_joined,
        .answer = *finished->answer};
    if (finished->ticket != NULL) {
        told[i].context = finished->ticket->context;
        told[i].submitted_ns = finished->ticket->submitted_ns;
    }
    atomic_store(&told_count, i + 1);
}

static struct routing_engine *observed_engine(struct world *world)
{
    struct routing_engine_options options = {.database = &world->service, .lanes = 1, .observer = observe};
    struct routing_engine *engine = NULL;

    atomic_store(&told_count, 0);
    world_one_to_two(world);
    assert_true(routing_engine_new(&options, &engine, NULL));
    return engine;
}

/* Each phase ends after the one before it. */
static void assert_in_order(const struct told *one)
{
    const struct routing_phases *phases = &one->answer.phases;

    assert_true(one->is_retry || (one->submitted_ns > 0 && one->submitted_ns <= phases->taken_ns));
    assert_true(phases->taken_ns <= phases->began_ns && phases->began_ns > 0);
    assert_true(phases->began_ns < phases->locked_ns);
    assert_true(phases->locked_ns <= phases->loaded_ns && phases->loaded_ns <= phases->matched_ns);
    assert_true(phases->matched_ns < phases->written_ns && phases->written_ns <= clock_now_ns());
}

static void test_each_request_is_told_once_with_its_times(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = observed_engine(world);
    struct crowd *crowd = crowd_new(LEADS);

    for (size_t i = 0; i < LEADS; i++)
        crowd_ticket(crowd, i, world_lead(world, 1, NULL, "x"), workspace_id(1))->context = &told[i];
    crowd_ask_all(crowd, engine);
    crowd_wait(crowd, LEADS);
    assert_int_equal(atomic_load(&told_count), LEADS);
    for (size_t i = 0; i < LEADS; i++) {
        size_t found = 0;
        for (size_t k = 0; k < LEADS; k++)
            found += told[k].context == &told[i];
        assert_int_equal(found, 1);
        assert_false(told[i].is_joined || told[i].is_retry);
        assert_int_equal(told[i].answer.outcome, ROUTING_OUTCOME_ROUTED);
        assert_null(told[i].answer.error_class);
        assert_in_range(told[i].answer.phases.leads, 1, LEADS);
        assert_in_order(&told[i]);
    }
    routing_engine_free(engine, PATIENCE_MS);
    crowd_free(crowd);
}

static void test_who_joins_is_told_as_such(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = observed_engine(world);
    struct crowd *crowd = crowd_new(3);
    struct uuid lead = world_lead(world, 1, NULL, "x");

    for (size_t i = 0; i < 3; i++)
        crowd_ticket(crowd, i, lead, workspace_id(1));
    crowd_ask_all(crowd, engine);
    crowd_wait(crowd, 3);
    assert_int_equal(atomic_load(&told_count), 3);
    assert_false(told[0].is_joined);
    assert_true(told[1].is_joined && told[2].is_joined);
    assert_true(uuid_equal(&told[0].answer.decision_id, &told[2].answer.decision_id));
    routing_engine_free(engine, PATIENCE_MS);
    crowd_free(crowd);
}

static void test_why_an_attempt_failed(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = observed_engine(world);
    char id[UUID_TEXT_SIZE];
    const struct {
        const char *city, *sqlstate, *class;
        enum routing_outcome outcome;
    } cases[] = {{"hopeless", "22003", "invalid_data", ROUTING_OUTCOME_FAILED},
        {"unlucky", "53100", "database", ROUTING_OUTCOME_QUEUED_FOR_RETRY}};

    for (size_t i = 0; i < 2; i++) {
        world_break_leads_of(world, cases[i].city, cases[i].sqlstate);
        struct uuid lead = world_lead(world, 1, NULL, "x");
        world_run(world, "update leads set city = '%s' where id = '%s'", cases[i].city, uuid_format(&lead, id));
        route_one(engine, lead, workspace_id(1), false);
        assert_int_equal(told[i].answer.outcome, cases[i].outcome);
        assert_string_equal(told[i].answer.sqlstate, cases[i].sqlstate);
        assert_string_equal(told[i].answer.error_class, cases[i].class);
    }
    world_run(world, "delete from lead_routing_rules");
    route_one(engine, world_lead(world, 1, NULL, "x"), workspace_id(1), false);
    assert_string_equal(told[2].answer.error_class, "unmatched");
    assert_string_equal(told[2].answer.sqlstate, "");
    routing_engine_free(engine, PATIENCE_MS);
}

/* One that was looked at and has no transaction behind it, and one that was dropped before any. */
static void test_what_did_not_happen_has_no_time(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = observed_engine(world);
    struct crowd *crowd = crowd_new(1);
    struct uuid lead = world_lead(world, 1, NULL, "x");

    route_one(engine, lead, workspace_id(1), false);
    route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(told[1].answer.outcome, ROUTING_OUTCOME_ALREADY_ROUTED);
    assert_true(told[1].answer.phases.locked_ns > 0 && told[1].answer.phases.written_ns == 0);
    atomic_store(&crowd_ticket(crowd, 0, lead, workspace_id(1))->abandoned, true);
    crowd_ask(crowd, engine, 0);
    crowd_wait(crowd, 1);
    assert_int_equal(told[2].answer.error.code, ERROR_CANCELLED);
    assert_true(told[2].answer.phases.began_ns == 0);
    routing_engine_free(engine, PATIENCE_MS);
    crowd_free(crowd);
}

static void test_retries_are_told(void **state)
{
    struct world *world = *state;
    struct routing_engine *engine = observed_engine(world);
    struct routing_retries *retries = routing_retries_new(engine);
    const struct routing_retries_order order = {
        .kind = ROUTING_RETRIES_DUE, .deadline_ns = clock_after_ms(PATIENCE_MS)};
    struct routing_retries_report report = {0};

    for (size_t i = 0; i < LEADS; i++)
        world_lead(world, 1, NULL, "x");
    world_run(world, "insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, "
                     "next_retry_at, rules_version)"
                     " select l.id, l.source_workspace_id, 0, 3, now() - interval '1 second', v.version from leads l"
                     " join leadrouter.rule_versions v on v.workspace_id = l.source_workspace_id");
    assert_true(routing_retries_run(retries, &order, &report, NULL, NULL, NULL));
    assert_int_equal(report.routed, LEADS);
    assert_int_equal(atomic_load(&told_count), LEADS);
    for (size_t i = 0; i < LEADS; i++) {
        assert_true(told[i].is_retry && told[i].answer.outcome == ROUTING_OUTCOME_ROUTED);
        assert_in_order(&told[i]);
    }
    routing_retries_free(retries);
    routing_engine_free(engine, PATIENCE_MS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_request_is_told_once_with_its_times),
        TEST(test_who_joins_is_told_as_such),
        TEST(test_why_an_attempt_failed),
        TEST(test_what_did_not_happen_has_no_time),
        TEST(test_retries_are_told),
    };

    return cmocka_run_group_tests_name("routing/observer", tests, world_group_setup, world_group_teardown);
}
