/* Goal: each row of the product's decision rules (what was read about a lead -> what is done with it) holds, without a database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "routing/verdict.h"

static const struct uuid source = {{1}};
static const struct uuid partner = {{2}};
static const struct uuid elsewhere = {{3}};
static const struct uuid rule = {{4}};
static const struct uuid other_lead = {{5}};
static const struct uuid decision_id = {{6}};

struct fixture {
    struct arena *arena;
    struct store_lead lead;
    struct routing_request request;
    struct store_decision decision;
    struct routing_answer answer;
};

/* A pending lead, locked by us, of an active workspace, with an identity nobody holds. */
static int setup(void **state)
{
    struct fixture *fixture = memory_new(sizeof(*fixture));

    fixture->arena = arena_new(0);
    fixture->lead = (struct store_lead){.source_workspace_id = source,
        .is_locked = true,
        .is_found = true,
        .source_is_active = true,
        .status = STORE_STATUS_PENDING,
        .dedupe_hash = "aa",
        .lead_expires_us = 77,
        .rules_version = 9,
        .matched_rule_name = "",
        .reason = ""};
    fixture->lead.lead_id.bytes[15] = 42;
    fixture->lead.facts.company_industry = "Software";
    fixture->request = (struct routing_request){
        .lead_id = fixture->lead.lead_id, .source_workspace_id = source, .actor_id = elsewhere, .max_attempts = 3};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    arena_free(fixture->arena);
    free(fixture);
    return 0;
}

/* One rule, Software to the partner, under this policy. */
static struct rule_set *rules_with(const char *policy_json)
{
    struct rule_policy policy;
    struct rule_source one = {.id = rule,
        .name = "software",
        .conditions_json = "{\"industries\": [\"software\"]}",
        .destination_workspace_id = partner,
        .destination_is_active = true};
    const struct rule_set_source set_source = {
        .workspace_id = source, .version = 9, .policy = &policy, .rules = &one, .rule_count = 1};
    struct rule_set *set = NULL;

    assert_true(rule_policy_parse(policy_json, &policy, NULL));
    policy.fallback_is_active = strstr(policy_json, "0300") != NULL;
    assert_true(rule_set_compile(&set_source, &set, NULL));
    return set;
}

static enum verdict_step choose_with(struct fixture *fixture, const char *policy_json, bool was_held)
{
    struct rule_set *set = policy_json == NULL ? NULL : rules_with(policy_json);
    struct error rules_error = {.code = ERROR_INVALID, .text = "rule x: $.industries: not a list"};
    enum verdict_step step = VERDICT_STEP_HELD;

    memset(&fixture->decision, 0, sizeof(fixture->decision));
    memset(&fixture->answer, 0, sizeof(fixture->answer));
    step = verdict_choose(&fixture->lead, &fixture->request, set, &rules_error, was_held, fixture->arena,
        &fixture->decision, &fixture->answer);
    fixture->decision.matched_rule_name = fixture->decision.matched_rule_name == NULL
                                              ? NULL
                                              : arena_copy_string(fixture->arena, fixture->decision.matched_rule_name);
    rule_set_unref(set);
    return step;
}

static void test_unknown_lead_is_not_found(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.is_found = false;
    fixture->lead.is_locked = false;
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.error.code, ERROR_NOT_FOUND);
    assert_false(verdict_needs_rules(&fixture->lead, &fixture->request));
}

/* Whatever else was read: nothing is, for those who may not. */
static void test_who_may_not_is_told_so(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.membership = STORE_MEMBERSHIP_NONE;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.error.code, ERROR_FORBIDDEN);
    assert_string_equal(fixture->answer.error.text, ROUTING_NO_MEMBER_TEXT);
    fixture->lead.membership = STORE_MEMBERSHIP_NO_ADMIN;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_ANSWER);
    assert_string_equal(fixture->answer.error.text, ROUTING_NO_ADMIN_TEXT);
    fixture->lead.membership = STORE_MEMBERSHIP_CHANGING;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_HELD);
}

static void test_a_matching_rule_gives_the_lead_away(void **state)
{
    struct fixture *fixture = *state;

    assert_true(verdict_needs_rules(&fixture->lead, &fixture->request));
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_GIVE);
    assert_true(uuid_equal(&fixture->decision.destination_workspace_id, &partner));
    assert_true(uuid_equal(&fixture->decision.matched_rule_id, &rule));
    assert_true(uuid_equal(&fixture->decision.actor_id, &elsewhere));
    assert_string_equal(fixture->decision.matched_rule_name, "software");
    assert_string_equal(fixture->decision.reason, "rule \"software\" matched");
    assert_string_equal(fixture->decision.dedupe_hash, "aa");
    assert_int_equal(fixture->decision.lead_expires_us, 77);
    assert_int_equal(fixture->decision.rules_version, 9);
    assert_int_equal(fixture->decision.max_attempts, 3);
    assert_int_equal(fixture->decision.dedupe_days, 90);
    assert_false(fixture->decision.global_scope);
}

static void test_policy_reaches_the_decision(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(
        choose_with(fixture, "{\"dedupe_scope\": \"global\", \"dedupe_days\": 7}", false), VERDICT_STEP_WRITE);
    assert_true(fixture->decision.global_scope);
    assert_int_equal(fixture->decision.dedupe_days, 7);
}

static void test_unmatched_follows_the_policy(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.facts.company_industry = "Mining";
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_FAIL);
    assert_int_equal(fixture->decision.error_class, STORE_ERROR_UNMATCHED);
    assert_int_equal(choose_with(fixture, "{\"unmatched\": \"keep\"}", false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_GIVE);
    assert_true(uuid_equal(&fixture->decision.destination_workspace_id, &source));
    assert_true(uuid_is_nil(&fixture->decision.matched_rule_id));
    assert_int_equal(
        choose_with(fixture,
            "{\"unmatched\": \"fallback\", \"fallback_workspace_id\": \"03000000-0000-0000-0000-000000000000\"}",
            false),
        VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_GIVE);
    assert_true(uuid_equal(&fixture->decision.destination_workspace_id, &elsewhere));
    assert_int_equal(
        choose_with(fixture,
            "{\"unmatched\": \"fallback\", \"fallback_workspace_id\": \"09000000-0000-0000-0000-000000000000\"}",
            false),
        VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_FAIL); /* inactive */
    assert_int_equal(fixture->decision.error_class, STORE_ERROR_FALLBACK_INACTIVE);
}

static void test_a_foreign_claim_makes_a_duplicate_before_rules(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.has_claim = true;
    fixture->lead.claim_lead_id = other_lead;
    fixture->lead.claim_workspace_id = partner;
    fixture->lead.facts.company_industry = "Mining";
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_DUPLICATE);
    assert_true(uuid_equal(&fixture->decision.duplicate_lead_id, &other_lead));
}

static void test_a_claim_of_the_own_workspace_leaves_it_to_the_destination(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.has_claim = true;
    fixture->lead.claim_lead_id = other_lead;
    fixture->lead.claim_workspace_id = source;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_GIVE);
    assert_int_equal(choose_with(fixture, "{\"dedupe_scope\": \"global\"}", false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_DUPLICATE);
}

static void test_a_retry_that_is_not_due_is_not_attempted(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.has_queue_row = true;
    fixture->lead.next_retry_us = 123;
    fixture->lead.routing_attempts = 2;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_QUEUED_FOR_RETRY);
    assert_int_equal(fixture->answer.next_retry_at_us, 123);
    assert_int_equal(fixture->answer.attempt, 2);
    fixture->request.force = true;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
    fixture->request.force = false;
    fixture->lead.queue_is_due = true;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
}

static void test_a_failed_lead_answers_as_recorded_unless_forced(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.status = STORE_STATUS_FAILED;
    fixture->lead.routing_attempts = 3;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_FAILED);
    assert_int_equal(fixture->answer.attempt, 3);
    fixture->request.force = true;
    assert_int_equal(choose_with(fixture, "{}", false), VERDICT_STEP_WRITE);
}

static void test_an_expired_lead_is_marked_by_whoever_locks_it(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.is_expired = true;
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_EXPIRE);
    assert_false(verdict_needs_rules(&fixture->lead, &fixture->request));
    fixture->lead.is_locked = false;
    fixture->lead.status = STORE_STATUS_EXPIRED;
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_EXPIRED);
}

static void test_an_inactive_source_holds_its_leads(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.source_is_active = false;
    assert_false(verdict_needs_rules(&fixture->lead, &fixture->request));
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_HOLD);
}

static void test_unusable_rules_are_a_failed_attempt_that_says_why(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_WRITE);
    assert_int_equal(fixture->decision.verdict, VERDICT_FAIL);
    assert_int_equal(fixture->decision.error_class, STORE_ERROR_RULES_UNUSABLE);
    assert_non_null(strstr(fixture->decision.reason, "$.industries: not a list"));
}

static void test_a_decided_lead_answers_as_recorded(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.is_locked = false;
    fixture->lead.status = STORE_STATUS_ROUTED;
    fixture->lead.workspace_id = partner;
    fixture->lead.matched_rule_id = rule;
    fixture->lead.matched_rule_name = "software";
    fixture->lead.decision_id = decision_id;
    fixture->lead.decided_outcome = STORE_RESULT_SUCCESS;
    fixture->lead.routing_attempts = 2;
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_ALREADY_ROUTED);
    assert_int_equal(fixture->answer.decided_outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_equal(&fixture->answer.destination_workspace_id, &partner));
    assert_true(uuid_equal(&fixture->answer.decision_id, &decision_id));
    assert_string_equal(fixture->answer.matched_rule_name, "software");
    assert_int_equal(fixture->answer.attempt, 2);
}

static void test_who_waited_for_the_decision_gets_its_own_outcome(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.is_locked = false;
    fixture->lead.status = STORE_STATUS_ROUTED;
    fixture->lead.decided_outcome = STORE_RESULT_DUPLICATE;
    fixture->lead.duplicate_lead_id = other_lead;
    assert_int_equal(choose_with(fixture, NULL, true), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_DUPLICATE);
    assert_int_equal(fixture->answer.decided_outcome, ROUTING_OUTCOME_NONE);
    assert_true(uuid_equal(&fixture->answer.duplicate_lead_id, &other_lead));
}

static void test_a_lead_decided_before_leadrouter_counts_as_routed(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.is_locked = false;
    fixture->lead.status = STORE_STATUS_ROUTED;
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_ANSWER);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_ALREADY_ROUTED);
    assert_int_equal(fixture->answer.decided_outcome, ROUTING_OUTCOME_ROUTED);
    assert_true(uuid_is_nil(&fixture->answer.decision_id));
}

static void test_what_could_not_be_locked_is_held(void **state)
{
    struct fixture *fixture = *state;

    fixture->lead.is_locked = false;
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_HELD);
    fixture->lead.status = STORE_STATUS_ROUTING;
    fixture->lead.is_expired = true; /* a lead that a worker holds does not expire */
    assert_int_equal(choose_with(fixture, NULL, false), VERDICT_STEP_HELD);
}

static void test_long_texts_are_cut_on_a_code_point(void **state)
{
    struct fixture *fixture = *state;
    struct store_outcome outcome = {.result = STORE_RESULT_SUCCESS, .matched_rule_id = rule};
    char *name = arena_alloc(fixture->arena, 2 * ROUTING_RULE_NAME_SIZE);

    for (size_t i = 0; i + 2 < 2 * ROUTING_RULE_NAME_SIZE; i += 2)
        memcpy(name + i, "\xc3\xa9", 2); /* é */
    outcome.reason = name;
    verdict_answer_outcome(&outcome, name, &fixture->lead.lead_id, &fixture->answer);
    assert_int_equal(fixture->answer.outcome, ROUTING_OUTCOME_ROUTED);
    assert_int_equal(strlen(fixture->answer.matched_rule_name), ROUTING_RULE_NAME_SIZE - 2);
    assert_int_equal(strlen(fixture->answer.reason), ROUTING_REASON_SIZE - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unknown_lead_is_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_may_not_is_told_so, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_matching_rule_gives_the_lead_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_policy_reaches_the_decision, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unmatched_follows_the_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_foreign_claim_makes_a_duplicate_before_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_claim_of_the_own_workspace_leaves_it_to_the_destination, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_retry_that_is_not_due_is_not_attempted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_lead_answers_as_recorded_unless_forced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_expired_lead_is_marked_by_whoever_locks_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_inactive_source_holds_its_leads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unusable_rules_are_a_failed_attempt_that_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_decided_lead_answers_as_recorded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_waited_for_the_decision_gets_its_own_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lead_decided_before_leadrouter_counts_as_routed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_could_not_be_locked_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_texts_are_cut_on_a_code_point, setup, teardown),
    };

    return cmocka_run_group_tests_name("routing/verdict", tests, NULL, NULL);
}
