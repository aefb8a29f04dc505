#include "routing/verdict.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum { FACTS_SIZE_MAX = 8 * 1024 };

static void copy_text(char *ret_text, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strlen(text);

    if (length >= size)
        length = utf8_cut(text, size - 1);
    if (length > 0)
        memcpy(ret_text, text, length);
    ret_text[length] = '\0';
}

static enum routing_outcome outcome_of(enum store_result result)
{
    switch (result) {
    case STORE_RESULT_SUCCESS:
        return ROUTING_OUTCOME_ROUTED;
    case STORE_RESULT_DUPLICATE:
        return ROUTING_OUTCOME_DUPLICATE;
    case STORE_RESULT_RETRY:
        return ROUTING_OUTCOME_QUEUED_FOR_RETRY;
    case STORE_RESULT_FAILED:
        return ROUTING_OUTCOME_FAILED;
    case STORE_RESULT_EXPIRED:
        return ROUTING_OUTCOME_EXPIRED;
    case STORE_RESULT_NONE:
        break;
    }
    return ROUTING_OUTCOME_NONE;
}

void verdict_answer_outcome(const struct store_outcome *outcome, const char *rule_name, const struct uuid *lead_id,
    struct routing_answer *ret_answer)
{
    ret_answer->outcome = outcome_of(outcome->result);
    ret_answer->lead_id = *lead_id;
    ret_answer->destination_workspace_id = outcome->destination_workspace_id;
    ret_answer->matched_rule_id = outcome->matched_rule_id;
    ret_answer->duplicate_lead_id = outcome->duplicate_lead_id;
    ret_answer->decision_id = outcome->decision_id;
    ret_answer->attempt = outcome->attempt;
    ret_answer->next_retry_at_us = outcome->next_retry_us;
    if (!uuid_is_nil(&outcome->matched_rule_id))
        copy_text(ret_answer->matched_rule_name, sizeof(ret_answer->matched_rule_name),
            outcome->matched_rule_name != NULL ? outcome->matched_rule_name : rule_name);
    copy_text(ret_answer->reason, sizeof(ret_answer->reason), outcome->reason);
}

/* A decided lead: as recorded. Leads that were decided before leadrouter came have no recorded outcome and count as
 * routed. */
static void answer_decided(const struct store_lead *lead, bool was_held, struct routing_answer *ret_answer)
{
    enum routing_outcome decided = outcome_of(lead->decided_outcome);

    if (decided == ROUTING_OUTCOME_NONE)
        decided = ROUTING_OUTCOME_ROUTED;
    ret_answer->outcome = was_held ? decided : ROUTING_OUTCOME_ALREADY_ROUTED;
    ret_answer->decided_outcome = was_held ? ROUTING_OUTCOME_NONE : decided;
    ret_answer->destination_workspace_id = lead->workspace_id;
    ret_answer->matched_rule_id = lead->matched_rule_id;
    ret_answer->duplicate_lead_id = lead->duplicate_lead_id;
    ret_answer->decision_id = lead->decision_id;
    ret_answer->attempt = lead->routing_attempts;
    copy_text(ret_answer->matched_rule_name, sizeof(ret_answer->matched_rule_name), lead->matched_rule_name);
    copy_text(ret_answer->reason, sizeof(ret_answer->reason), lead->reason);
}

/* An undecided lead whose time has not come: as recorded. */
static void answer_not_due(const struct store_lead *lead, struct routing_answer *ret_answer)
{
    bool failed = lead->status == STORE_STATUS_FAILED;

    ret_answer->outcome = failed ? ROUTING_OUTCOME_FAILED : ROUTING_OUTCOME_QUEUED_FOR_RETRY;
    ret_answer->attempt = lead->routing_attempts;
    ret_answer->next_retry_at_us = failed ? 0 : lead->next_retry_us;
    copy_text(ret_answer->reason, sizeof(ret_answer->reason),
        failed ? "out of attempts; a change of the workspace's rules makes it due again" : "its retry is not yet due");
}

/* True when the lead waits for a time or for a change of rules, and nobody insists. */
static bool is_not_due(const struct store_lead *lead, const struct routing_request *request)
{
    if (request->force)
        return false;
    return lead->has_queue_row ? !lead->queue_is_due : lead->status == STORE_STATUS_FAILED;
}

static bool is_attempted(const struct store_lead *lead, const struct routing_request *request)
{
    return lead->is_found && lead->is_locked && !lead->is_expired && !is_not_due(lead, request);
}

bool verdict_needs_rules(const struct store_lead *lead, const struct routing_request *request)
{
    return is_attempted(lead, request) && lead->source_is_active;
}

/* A lead that nothing takes: what the workspace's policy says. */
static void choose_unmatched(const struct rule_policy *policy, struct store_decision *decision)
{
    switch (policy->unmatched) {
    case RULE_UNMATCHED_KEEP:
        decision->verdict = VERDICT_GIVE;
        decision->destination_workspace_id = decision->source_workspace_id;
        decision->reason = "no rule matched; kept in its source workspace";
        break;
    case RULE_UNMATCHED_FALLBACK:
        if (!policy->fallback_is_active) {
            decision->verdict = VERDICT_FAIL;
            decision->error_class = STORE_ERROR_FALLBACK_INACTIVE;
            decision->reason = "no rule matched and the fallback workspace is inactive";
            break;
        }
        decision->verdict = VERDICT_GIVE;
        decision->destination_workspace_id = policy->fallback_workspace_id;
        decision->reason = "no rule matched; given to the fallback workspace";
        break;
    case RULE_UNMATCHED_RETRY:
        decision->verdict = VERDICT_FAIL;
        decision->error_class = STORE_ERROR_UNMATCHED;
        decision->reason = "no rule matched";
        break;
    }
}

/* Another lead holds the identity in a way that no destination can help: a duplicate before any rule is looked at. */
static bool is_duplicate_anyway(const struct store_lead *lead, const struct rule_policy *policy)
{
    if (!lead->has_claim)
        return false;
    return policy->dedupe_scope == RULE_DEDUPE_GLOBAL ||
           !uuid_equal(&lead->claim_workspace_id, &lead->source_workspace_id);
}

/* What the rules looked at, for the log; NULL when they asked nothing that may be kept. */
static const char *record_facts(const struct rule_set *set, const struct store_lead *lead, struct arena *arena)
{
    struct buffer json = {0};
    const char *copy = NULL;

    buffer_init(&json, FACTS_SIZE_MAX);
    if (rule_set_facts(set, &lead->facts, &json))
        copy = arena_copy(arena, buffer_text(&json), json.size);
    buffer_release(&json);
    return copy;
}

static void choose_by_rules(
    const struct store_lead *lead, const struct rule_set *set, struct arena *arena, struct store_decision *decision)
{
    const struct rule_policy *policy = rule_set_policy(set);
    struct rule_match match = {0};

    decision->global_scope = policy->dedupe_scope == RULE_DEDUPE_GLOBAL;
    decision->dedupe_days = policy->dedupe_days;
    decision->facts_json = record_facts(set, lead, arena);
    if (is_duplicate_anyway(lead, policy)) {
        char text[UUID_TEXT_SIZE];
        decision->verdict = VERDICT_DUPLICATE;
        decision->duplicate_lead_id = lead->claim_lead_id;
        decision->duplicate_workspace_id = lead->claim_workspace_id;
        decision->reason = arena_format(arena, "the same person is lead %s", uuid_format(&lead->claim_lead_id, text));
    } else if (rule_set_match(set, &lead->facts, &match)) {
        decision->verdict = VERDICT_GIVE;
        decision->destination_workspace_id = match.destination_workspace_id;
        decision->matched_rule_id = match.rule_id;
        decision->matched_rule_name = match.rule_name;
        decision->reason = arena_format(arena, "rule \"%s\" matched", match.rule_name);
    } else {
        choose_unmatched(policy, decision);
    }
}

/* The lead is ours and to be attempted. */
static void choose_attempted(const struct store_lead *lead, const struct routing_request *request,
    const struct rule_set *set, const struct error *rules_error, struct arena *arena, struct store_decision *decision)
{
    decision->lead_id = lead->lead_id;
    decision->place = lead->place;
    decision->queue_place = lead->queue_place;
    decision->source_workspace_id = lead->source_workspace_id;
    /* Rules that had to be loaded may be newer than what was read under the lock. */
    decision->rules_version = set != NULL ? rule_set_version(set) : lead->rules_version;
    decision->max_attempts = request->max_attempts;
    decision->actor_id = request->actor_id;
    decision->dedupe_hash = lead->dedupe_hash;
    decision->lead_expires_us = lead->lead_expires_us;
    decision->dedupe_days = 90;
    if (lead->is_expired) {
        decision->verdict = VERDICT_EXPIRE;
        decision->reason = "its time to live has passed";
    } else if (!lead->source_is_active) {
        decision->verdict = VERDICT_HOLD;
        decision->reason = "the source workspace is inactive";
    } else if (set == NULL) {
        decision->verdict = VERDICT_FAIL;
        decision->error_class = STORE_ERROR_RULES_UNUSABLE;
        decision->reason = arena_format(arena, "the workspace's rules cannot be used: %s", rules_error->text);
    } else if (request->is_unasked && !rule_set_policy(set)->auto_route) {
        decision->verdict = VERDICT_HOLD;
        decision->reason = "the source workspace routes only when it is asked to";
    } else {
        choose_by_rules(lead, set, arena, decision);
    }
}

/* A lead that somebody asked for who may not; or of whom that cannot be said now. */
static enum verdict_step answer_member(const struct store_lead *lead, struct routing_answer *ret_answer)
{
    if (lead->membership == STORE_MEMBERSHIP_CHANGING)
        return VERDICT_STEP_HELD;
    error_set(&ret_answer->error, ERROR_FORBIDDEN, "%s",
        lead->membership == STORE_MEMBERSHIP_NO_ADMIN ? ROUTING_NO_ADMIN_TEXT : ROUTING_NO_MEMBER_TEXT);
    return VERDICT_STEP_ANSWER;
}

enum verdict_step verdict_choose(const struct store_lead *lead, const struct routing_request *request,
    const struct rule_set *set, const struct error *rules_error, bool was_held, struct arena *arena,
    struct store_decision *ret_decision, struct routing_answer *ret_answer)
{
    ret_answer->lead_id = lead->lead_id;
    if (lead->membership != STORE_MEMBERSHIP_OK)
        return answer_member(lead, ret_answer);
    if (!lead->is_found) {
        error_set(&ret_answer->error, ERROR_NOT_FOUND, "no such lead in that workspace");
        return VERDICT_STEP_ANSWER;
    }
    if (lead->is_locked) {
        if (!lead->is_expired && is_not_due(lead, request)) {
            answer_not_due(lead, ret_answer);
            return VERDICT_STEP_ANSWER;
        }
        choose_attempted(lead, request, set, rules_error, arena, ret_decision);
        return VERDICT_STEP_WRITE;
    }
    if (lead->status == STORE_STATUS_ROUTED) {
        answer_decided(lead, was_held, ret_answer);
        return VERDICT_STEP_ANSWER;
    }
    if (lead->is_expired && lead->status != STORE_STATUS_ROUTING) {
        ret_answer->outcome = ROUTING_OUTCOME_EXPIRED;
        ret_answer->attempt = lead->routing_attempts;
        copy_text(ret_answer->reason, sizeof(ret_answer->reason), "its time to live has passed");
        return VERDICT_STEP_ANSWER;
    }
    return VERDICT_STEP_HELD;
}
