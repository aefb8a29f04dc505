/* Goal: through the engine and a real database, each kind of lead gets the outcome the product promises, with the
 * rows that prove it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine_fixture.h"

static struct world *world_of(void **state)
{
    return *state;
}

static int64_t log_rows(struct world *world, struct uuid lead_id, const char *result)
{
    char id[UUID_TEXT_SIZE];

    return world_number(world, "select count(*) from lead_routing_logs where lead_id = '%s' and routing_result = '%s'",
        uuid_format(&lead_id, id), result);
}

static int64_t status_is(struct world *world, struct uuid lead_id, const char *status)
{
    char id[UUID_TEXT_SIZE];

    return world_number(world, "select count(*) from leads where id = '%s' and routing_status = '%s'",
        uuid_format(&lead_id, id), status);
}

/* Workspace 1 gives software to 2 and mining to itself; 3 gives everything to 4. */
static struct routing_engine *usual(struct world *world)
{
    for (unsigned n = 1; n <= 4; n++)
        world_workspace(world, n, "{}");
    world_rule(world, 1, "software to two", 10, "{\"industries\": [\"Software\"]}", 2);
    world_rule(world, 1, "mining stays", 5, "{\"industries\": [\"Mining\"]}", 1);
    world_rule(world, 3, "all to four", 0, "{}", 4);
    return world_engine(world, 1, 0);
}

static void test_a_matching_lead_is_routed_once(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid lead = world_lead(world, 1, "a@example.com", "software");
    struct uuid two = workspace_id(2);
    char id[UUID_TEXT_SIZE];

    struct routing_answer first = route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(first.error.code, ERROR_NONE);
    assert_int_equal(first.outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_equal(&first.destination_workspace_id, &two));
    assert_string_equal(first.matched_rule_name, "software to two");
    assert_int_equal(first.attempt, 1);
    struct routing_answer second = route_one(engine, lead, workspace_id(1), true);
    assert_int_equal(second.outcome, ROUTING_OUTCOME_ALREADY_ROUTED);
    assert_int_equal(second.decided_outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_equal(&second.decision_id, &first.decision_id));
    assert_true(uuid_equal(&second.matched_rule_id, &first.matched_rule_id));
    assert_string_equal(second.matched_rule_name, first.matched_rule_name);
    assert_string_equal(second.reason, first.reason);
    assert_int_equal(log_rows(world, lead, "success"), 1);
    assert_int_equal(
        world_number(world,
            "select count(*) from leads l join lead_routing_logs g on g.id = l.decision_id"
            " where l.id = '%s' and l.workspace_id = g.destination_workspace_id and l.routing_status = 'routed'",
            uuid_format(&lead, id)),
        1);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_unknown_and_foreign_leads_look_the_same(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid lead = world_lead(world, 1, "a@example.com", "software");

    struct routing_answer unknown = route_one(engine, uuid_random(), workspace_id(1), false);
    struct routing_answer foreign = route_one(engine, lead, workspace_id(2), false);
    assert_int_equal(unknown.error.code, ERROR_NOT_FOUND);
    assert_int_equal(foreign.error.code, ERROR_NOT_FOUND);
    assert_string_equal(unknown.error.text, foreign.error.text);
    assert_true(status_is(world, lead, "pending"));
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_the_second_copy_is_a_duplicate(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid first = world_lead(world, 1, "Same@Example.com", "software");
    struct uuid second = world_lead(world, 3, " same@example.COM ", "anything");
    struct uuid three = workspace_id(3);

    assert_int_equal(route_one(engine, first, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    struct routing_answer answer = route_one(engine, second, workspace_id(3), false);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_DUPLICATE);
    assert_true(uuid_equal(&answer.duplicate_lead_id, &first));
    assert_true(uuid_equal(&answer.destination_workspace_id, &three));
    assert_int_equal(log_rows(world, second, "duplicate"), 1);
    assert_int_equal(route_one(engine, second, workspace_id(3), false).decided_outcome, ROUTING_OUTCOME_DUPLICATE);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_copy_in_the_own_workspace_may_stay(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid first = world_lead(world, 1, "a@example.com", "mining");
    struct uuid stays = world_lead(world, 1, "a@example.com", "mining");
    struct uuid given = world_lead(world, 1, "a@example.com", "software");

    assert_int_equal(route_one(engine, first, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    assert_int_equal(route_one(engine, stays, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    assert_int_equal(route_one(engine, given, workspace_id(1), false).outcome, ROUTING_OUTCOME_DUPLICATE);
    assert_int_equal(world_number(world, "select count(*) from lead_dedupe_claims"), 1);
    world_run(world, "update workspaces set routing_config = '{\"dedupe_scope\": \"global\"}'");
    struct uuid strict = world_lead(world, 1, "a@example.com", "mining");
    assert_int_equal(route_one(engine, strict, workspace_id(1), false).outcome, ROUTING_OUTCOME_DUPLICATE);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_blank_identities_never_match(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);

    for (unsigned i = 0; i < 3; i++) {
        struct uuid lead = world_lead(world, 3, NULL, "anything");
        assert_int_equal(route_one(engine, lead, workspace_id(3), false).outcome, ROUTING_OUTCOME_ROUTED);
    }
    assert_int_equal(world_number(world, "select count(*) from lead_dedupe_claims"), 0);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_an_expired_claim_is_taken_over(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid first = world_lead(world, 1, "a@example.com", "software");
    struct uuid second = world_lead(world, 3, "a@example.com", "x");

    assert_int_equal(route_one(engine, first, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    world_run(world, "update lead_dedupe_claims set expires_at = now() - interval '1 second'");
    assert_int_equal(route_one(engine, second, workspace_id(3), false).outcome, ROUTING_OUTCOME_ROUTED);
    assert_int_equal(world_number(world, "select count(*) from lead_dedupe_claims where workspace_id = '%s'",
                         "00000000-0000-0000-0000-000000000004"),
        1);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_unmatched_is_queued_then_fails_and_repeats_burn_nothing(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid lead = world_lead(world, 1, "a@example.com", "fishing");
    struct routing_answer answer = route_one(engine, lead, workspace_id(1), false);

    assert_int_equal(answer.outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_int_equal(answer.attempt, 1);
    assert_true(answer.next_retry_at_us > 0);
    assert_string_equal(answer.reason, "no rule matched");
    struct routing_answer again = route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(again.outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_int_equal(again.attempt, 1);
    assert_int_equal(again.next_retry_at_us, answer.next_retry_at_us);
    assert_int_equal(log_rows(world, lead, "retry"), 1);
    assert_int_equal(route_one(engine, lead, workspace_id(1), true).attempt, 2);
    answer = route_one(engine, lead, workspace_id(1), true);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_FAILED);
    assert_int_equal(answer.attempt, 3);
    assert_true(status_is(world, lead, "failed"));
    assert_int_equal(route_one(engine, lead, workspace_id(1), false).outcome, ROUTING_OUTCOME_FAILED);
    assert_int_equal(log_rows(world, lead, "failed"), 1);
    assert_int_equal(world_number(world, "select count(*) from lead_routing_queue where processed_at is null"), 1);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_a_rule_change_is_felt_by_the_very_next_lock(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid queued = world_lead(world, 1, "a@example.com", "fishing");

    assert_int_equal(route_one(engine, queued, workspace_id(1), false).outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    for (unsigned i = 0; i < 10; i++) {
        char conditions[64];
        struct uuid to = workspace_id(2 + i % 3);
        struct uuid lead = world_lead(world, 1, NULL, "fishing");
        snprintf(conditions, sizeof(conditions), "{\"industries\": [\"fishing\", \"%u\"]}", i);
        world_run(world, "delete from lead_routing_rules where rule_name = 'fishing'");
        world_rule(world, 1, "fishing", 1, conditions, 2 + i % 3);
        struct routing_answer answer = route_one(engine, lead, workspace_id(1), false);
        assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
        assert_true(uuid_equal(&answer.destination_workspace_id, &to));
    }
    assert_int_equal(route_one(engine, queued, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_policies_for_unmatched_leads(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid one = workspace_id(1);
    struct uuid four = workspace_id(4);

    world_run(world, "update workspaces set routing_config = '{\"unmatched\": \"keep\"}' where name = 'workspace 1'");
    struct routing_answer kept = route_one(engine, world_lead(world, 1, "k@example.com", "fishing"), one, false);
    assert_int_equal(kept.outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_equal(&kept.destination_workspace_id, &one));
    assert_true(uuid_is_nil(&kept.matched_rule_id));
    world_run(world, "update workspaces set routing_config = '{\"unmatched\": \"fallback\", \"fallback_workspace_id\":"
                     " \"00000000-0000-0000-0000-000000000004\"}' where name = 'workspace 1'");
    struct routing_answer fallen = route_one(engine, world_lead(world, 1, "f@example.com", "fishing"), one, false);
    assert_int_equal(fallen.outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_equal(&fallen.destination_workspace_id, &four));
    assert_int_equal(world_number(world, "select count(*) from lead_dedupe_claims"), 2);
    world_run(world, "update workspaces set is_active = false where name = 'workspace 4'");
    struct routing_answer nowhere = route_one(engine, world_lead(world, 1, "n@example.com", "fishing"), one, false);
    assert_int_equal(nowhere.outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_non_null(strstr(nowhere.reason, "fallback"));
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_an_inactive_destination_is_passed_over(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid four = workspace_id(4);

    world_rule(world, 1, "software to four", 1, "{\"industries\": [\"Software\"]}", 4);
    world_run(world, "update workspaces set is_active = false where name = 'workspace 2'");
    struct routing_answer answer = route_one(engine, world_lead(world, 1, NULL, "software"), workspace_id(1), false);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_equal(&answer.destination_workspace_id, &four));
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_an_inactive_source_holds_its_leads_until_it_is_active(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid lead = world_lead(world, 1, NULL, "software");

    world_run(world, "update workspaces set is_active = false where name = 'workspace 1'");
    struct routing_answer held = route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(held.outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_true(status_is(world, lead, "pending"));
    assert_int_equal(world_number(world, "select routing_attempts::bigint from leads"), 0);
    world_run(world, "update workspaces set is_active = true where name = 'workspace 1'");
    assert_int_equal(route_one(engine, lead, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_an_old_lead_expires_when_it_is_looked_at(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    char id[UUID_TEXT_SIZE];
    struct uuid lead = world_lead(world, 1, NULL, "software");

    world_run(world, "update leads set lead_expires_at = now() - interval '1 second' where id = '%s'",
        uuid_format(&lead, id));
    assert_int_equal(route_one(engine, lead, workspace_id(1), false).outcome, ROUTING_OUTCOME_EXPIRED);
    assert_true(status_is(world, lead, "expired"));
    assert_int_equal(log_rows(world, lead, "expired"), 1);
    assert_int_equal(route_one(engine, lead, workspace_id(1), true).outcome, ROUTING_OUTCOME_EXPIRED);
    assert_int_equal(log_rows(world, lead, "expired"), 1);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_rules_that_cannot_be_used_are_a_visible_failure(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct uuid lead = world_lead(world, 1, NULL, "software");

    world_rule(world, 1, "broken", 99, "{\"colours\": [\"red\"]}", 2);
    struct routing_answer answer = route_one(engine, lead, workspace_id(1), false);
    assert_int_equal(answer.outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_non_null(strstr(answer.reason, "colours"));
    world_run(world, "delete from lead_routing_rules where rule_name = 'broken'");
    assert_int_equal(route_one(engine, lead, workspace_id(1), false).outcome, ROUTING_OUTCOME_ROUTED);
    routing_engine_free(engine, PATIENCE_MS);
}

static void test_late_and_abandoned_requests_do_nothing(void **state)
{
    struct world *world = world_of(state);
    struct routing_engine *engine = usual(world);
    struct crowd *crowd = crowd_new(2);
    struct uuid lead = world_lead(world, 1, NULL, "software");

    crowd_ticket(crowd, 0, lead, workspace_id(1))->request.deadline_ns = clock_now_ns() - 1;
    atomic_store(&crowd_ticket(crowd, 1, lead, workspace_id(1))->abandoned, true);
    crowd_ask_all(crowd, engine);
    crowd_wait(crowd, 2);
    assert_int_equal(crowd_answer(crowd, 0)->error.code, ERROR_DEADLINE);
    assert_int_equal(crowd_answer(crowd, 1)->error.code, ERROR_CANCELLED);
    assert_true(status_is(world, lead, "pending"));
    assert_int_equal(world_number(world, "select count(*) from lead_routing_logs"), 0);
    crowd_free(crowd);
    routing_engine_free(engine, PATIENCE_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_matching_lead_is_routed_once),
        TEST(test_unknown_and_foreign_leads_look_the_same),
        TEST(test_the_second_copy_is_a_duplicate),
        TEST(test_a_copy_in_the_own_workspace_may_stay),
        TEST(test_blank_identities_never_match),
        TEST(test_an_expired_claim_is_taken_over),
        TEST(test_unmatched_is_queued_then_fails_and_repeats_burn_nothing),
        TEST(test_a_rule_change_is_felt_by_the_very_next_lock),
        TEST(test_policies_for_unmatched_leads),
        TEST(test_an_inactive_destination_is_passed_over),
        TEST(test_an_inactive_source_holds_its_leads_until_it_is_active),
        TEST(test_an_old_lead_expires_when_it_is_looked_at),
        TEST(test_rules_that_cannot_be_used_are_a_visible_failure),
        TEST(test_late_and_abandoned_requests_do_nothing),
    };

    return cmocka_run_group_tests_name("routing/decisions", tests, world_group_setup, world_group_teardown);
}
