/* RuleService: reading and changing rules. TestRules, LintRules and GetRoutingHistory are in service_explain.c. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "rule_state.h"
#include "service.h"

enum { WRITE_TRIES_MAX = 1000, VERSIONS_DEFAULT = 50, VERSIONS_MAX = 1000 };

struct rules_call;

/* Edits the rules that were read into what they shall be; `state` starts as a copy. */
typedef bool edit_function(
    struct rules_call *call, const struct rule_state *read, struct rule_state *state, struct error *reterr_error);

/* Answers a change; `state` is what the rules are now. */
typedef void answer_function(struct rules_call *call, const struct rule_state *state);

/* One call; in its arena. */
struct rules_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const void *request; /* the message, valid until the call is answered */

    /* of a change */
    edit_function *edit;
    answer_function *answer;
    int64_t expected_version; /* 0: any */
    struct rule_state_author author;
    bool is_dry;
    struct uuid rule_id;

    /* what came of it */
    struct rule_state_change *changes;
    size_t change_count;
    int64_t version;
};

static struct arena *arena_of(const struct rules_call *call)
{
    return grpc_c_call_arena(call->base.call);
}

static int64_t deadline_of(const struct rules_call *call)
{
    return grpc_c_call_deadline_ns(call->base.call);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static Leadrouter__V1__Rule *rule_message(struct arena *arena, const struct rule_item *item)
{
    Leadrouter__V1__Rule *rule = arena_alloc(arena, sizeof(*rule));

    leadrouter__v1__rule__init(rule);
    rule->id = service_id(arena, &item->source.id);
    rule->name = arena_copy_string(arena, item->source.name);
    rule->priority = item->source.priority;
    rule->conditions_json = arena_copy_string(arena, item->source.conditions_json);
    rule->destination_workspace_id = service_id(arena, &item->source.destination_workspace_id);
    rule->is_active = item->is_active;
    rule->destination_is_active = item->source.destination_is_active;
    rule->created_at = service_time(arena, item->source.created_at_us);
    return rule;
}

static Leadrouter__V1__NamedSet *set_message(struct arena *arena, const struct rule_named_set *set)
{
    Leadrouter__V1__NamedSet *message = arena_alloc(arena, sizeof(*message));

    leadrouter__v1__named_set__init(message);
    message->name = arena_copy_string(arena, set->name);
    message->n_values = set->count;
    message->values = arena_alloc_array(arena, set->count, sizeof(*message->values));
    for (size_t i = 0; i < set->count; i++)
        message->values[i] = arena_copy_string(arena, set->values[i]);
    return message;
}

static Leadrouter__V1__RuleChange **change_messages(const struct rules_call *call)
{
    struct arena *arena = arena_of(call);
    Leadrouter__V1__RuleChange **messages = arena_alloc_array(arena, call->change_count, sizeof(*messages));

    for (size_t i = 0; i < call->change_count; i++) {
        const struct rule_state_change *change = &call->changes[i];
        messages[i] = arena_alloc(arena, sizeof(*messages[i]));
        leadrouter__v1__rule_change__init(messages[i]);
        messages[i]->kind = change->kind;
        messages[i]->name = arena_copy_string(arena, change->name);
        messages[i]->is_set = change->is_set;
        messages[i]->parts = arena_alloc_array(arena, COUNT_OF(change->parts), sizeof(*messages[i]->parts));
        for (size_t k = 0; k < COUNT_OF(change->parts) && change->parts[k] != NULL; k++)
            messages[i]->parts[messages[i]->n_parts++] = arena_copy_string(arena, change->parts[k]);
    }
    return messages;
}

/* What is wrong with the rules that were changed. */
static Leadrouter__V1__LintFinding **findings_of(
    const struct rules_call *call, const struct rule_state *state, size_t *ret_count)
{
    return service_lint_changes(
        state, &call->base.workspace_id, call->changes, call->change_count, arena_of(call), ret_count);
}

/* --- Input -------------------------------------------------------------------------------------------------------- */

static bool read_set(
    const Leadrouter__V1__NamedSet *message, size_t index, struct rule_named_set *ret_set, struct error *reterr_error)
{
    if (text_is_blank(message->name) || strlen(message->name) > RULE_STATE_NAME_SIZE_MAX)
        return error_set(
            reterr_error, ERROR_INVALID, "sets[%zu].name: must have 1 to %d bytes", index, RULE_STATE_NAME_SIZE_MAX);
    if (message->n_values > RULE_STATE_SET_VALUES_MAX)
        return error_set(
            reterr_error, ERROR_INVALID, "sets[%zu].values: more than %d", index, RULE_STATE_SET_VALUES_MAX);
    *ret_set = (struct rule_named_set){
        .name = message->name, .values = (const char *const *)message->values, .count = message->n_values};
    return true;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The index of a name that is told twice, where it is told first; `count` when there is none. */
static size_t repeated_name(struct arena *arena, const char *const *names, size_t count)
{
    const char **sorted = arena_alloc_array(arena, count, sizeof(*sorted));
    size_t index = count;

    if (count > 0) {
        memcpy(sorted, names, count * sizeof(*sorted));
        qsort(sorted, count, sizeof(*sorted), compare_names);
    }
    for (size_t i = 1; i < count && index == count; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            for (index = 0; strcmp(names[index], sorted[i]) != 0; index++)
                ;
    }
    return index;
}

/* --- Changes ------------------------------------------------------------------------------------------------------ */

/* A copy whose rules may be changed, with room for one more. */
static struct rule_state copy_state(const struct rule_state *state, struct arena *arena)
{
    struct rule_state copy = *state;

    copy.items = arena_alloc_array(arena, state->item_count + 1, sizeof(*copy.items));
    if (state->item_count > 0)
        memcpy(copy.items, state->items, state->item_count * sizeof(*copy.items));
    return copy;
}

/* Reads, edits, checks, writes. ERROR_BUSY with `*ret_is_stale`: somebody was quicker. */
static bool try_change(
    struct rules_call *call, struct rule_state *ret_state, bool *ret_is_stale, struct error *reterr_error)
{
    struct arena *arena = arena_of(call);
    const struct uuid *workspace_id = &call->base.workspace_id;
    const char *json = NULL;
    struct rule_state read;

    *ret_is_stale = false;
    if (!rule_state_load(&call->base, arena, workspace_id, 0, deadline_of(call), &read, reterr_error))
        return false;
    if (call->expected_version != 0 && call->expected_version != read.version)
        return error_set(reterr_error, ERROR_BUSY, "the rules are at version %lld by now", (long long)read.version);
    *ret_state = copy_state(&read, arena);
    if (!call->edit(call, &read, ret_state, reterr_error))
        return false;
    if (ret_state->item_count > RULE_STATE_RULES_MAX || ret_state->set_count > RULE_STATE_SETS_MAX)
        return error_set(reterr_error, ERROR_INVALID, "more than %d rules or %d sets in one workspace",
            RULE_STATE_RULES_MAX, RULE_STATE_SETS_MAX);
    if (!rule_state_check(ret_state, workspace_id, arena, reterr_error))
        return false;
    rule_state_diff(&read, ret_state, arena, &call->changes, &call->change_count, &json);
    call->version = read.version;
    if (call->change_count == 0 || call->is_dry)
        return true;
    *ret_is_stale = !rule_state_write(&call->base, arena, workspace_id, read.version, &call->author, json,
        deadline_of(call), &call->version, reterr_error);
    return !*ret_is_stale;
}

static void run_change(struct work *work)
{
    struct rules_call *call = (struct rules_call *)(void *)work;
    struct rule_state state = {0};
    struct error error = {0};
    bool is_stale = false;
    bool ok = false;

    /* Somebody else's change came in between: again, on top of it. Some writer succeeds in every round, so this ends. */
    for (int i = 0; i < WRITE_TRIES_MAX; i++) {
        ok = try_change(call, &state, &is_stale, &error);
        if (ok || !is_stale || error.code != ERROR_BUSY || call->expected_version != 0)
            break;
        service_pause();
    }
    if (ok)
        call->answer(call, &state);
    else
        service_fail(&call->base, &error);
}

static bool no_such_rule(struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_NOT_FOUND, "no such rule in that workspace");
}

/* Begins a call about rules; false when it has ended with a failure. */
static bool begin(struct rules_call *rules, struct grpc_c_call *call, void *user, const void *request,
    const char *workspace_id, struct error *reterr_error)
{
    service_begin(&rules->base, call, user);
    rules->request = request;
    return service_parse_id("workspace_id", workspace_id, false, &rules->base.workspace_id, reterr_error);
}

static bool begin_change(struct rules_call *rules, int64_t expected_version, const char *user_id, const char *note,
    struct error *reterr_error)
{
    rules->work.run = run_change;
    rules->expected_version = expected_version;
    rules->author.note = note;
    if (expected_version < 0)
        return error_set(reterr_error, ERROR_INVALID, "expected_version: must not be negative");
    if (strlen(note) > RULE_STATE_NOTE_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "note: longer than %d bytes", RULE_STATE_NOTE_SIZE_MAX);
    return service_parse_id("user_id", user_id, true, &rules->author.user_id, reterr_error);
}

/* Hands the call to a worker, if all was well. */
static void submit(struct rules_call *rules, bool ok, struct error *error)
{
    if (!ok || !worker_pool_submit(rules->base.service->workers, &rules->work, error))
        service_fail(&rules->base, error);
}

/* --- CreateRule, UpdateRule, DeleteRule --------------------------------------------------------------------------- */

static bool edit_create(
    struct rules_call *call, const struct rule_state *read, struct rule_state *state, struct error *reterr_error)
{
    const Leadrouter__V1__CreateRuleRequest *request = call->request;
    struct rule_item item;

    (void)read;
    if (!rule_state_read_rule(request->rule, "rule", &item, reterr_error))
        return false;
    item.source.id = call->rule_id;
    state->items[state->item_count++] = item;
    return true;
}

/* The rule as the database has it, for answers: times and the destination's activity are not known before. */
static bool reload_rule(struct rules_call *call, Leadrouter__V1__Rule **ret_rule)
{
    struct rule_state now;
    struct error error = {0};
    const struct rule_item *item = NULL;

    if (!rule_state_load_written(call->base.service, arena_of(call), &call->base.workspace_id, call->version,
            deadline_of(call), &now, &error)) {
        service_fail(&call->base, &error);
        return false;
    }
    item = rule_state_find(&now, &call->rule_id);
    if (item == NULL) {
        no_such_rule(&error);
        service_fail(&call->base, &error);
        return false;
    }
    *ret_rule = rule_message(arena_of(call), item);
    return true;
}

static void answer_create(struct rules_call *call, const struct rule_state *state)
{
    Leadrouter__V1__CreateRuleResponse response = LEADROUTER__V1__CREATE_RULE_RESPONSE__INIT;

    response.version = call->version;
    response.findings = findings_of(call, state, &response.n_findings);
    if (reload_rule(call, &response.rule))
        leadrouter__v1__rule_service__create_rule__reply(call->base.call, &response);
}

static void handle_create_rule(struct grpc_c_call *call, const Leadrouter__V1__CreateRuleRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error) &&
              begin_change(rules, request->expected_version, request->user_id, request->note, &error);

    rules->rule_id = uuid_random();
    rules->edit = edit_create;
    rules->answer = answer_create;
    submit(rules, ok, &error);
}

static bool edit_update(
    struct rules_call *call, const struct rule_state *read, struct rule_state *state, struct error *reterr_error)
{
    const Leadrouter__V1__UpdateRuleRequest *request = call->request;
    struct rule_item item;

    (void)read;
    if (!rule_state_read_rule(request->rule, "rule", &item, reterr_error))
        return false;
    item.source.id = call->rule_id;
    for (size_t i = 0; i < state->item_count; i++) {
        if (uuid_equal(&state->items[i].source.id, &call->rule_id)) {
            item.source.created_at_us = state->items[i].source.created_at_us;
            state->items[i] = item;
            return true;
        }
    }
    return no_such_rule(reterr_error);
}

static void answer_update(struct rules_call *call, const struct rule_state *state)
{
    Leadrouter__V1__UpdateRuleResponse response = LEADROUTER__V1__UPDATE_RULE_RESPONSE__INIT;

    response.version = call->version;
    response.findings = findings_of(call, state, &response.n_findings);
    if (reload_rule(call, &response.rule))
        leadrouter__v1__rule_service__update_rule__reply(call->base.call, &response);
}

static void handle_update_rule(struct grpc_c_call *call, const Leadrouter__V1__UpdateRuleRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok =
        begin(rules, call, user, request, request->workspace_id, &error) &&
        begin_change(rules, request->expected_version, request->user_id, request->note, &error) &&
        service_parse_id("rule.id", request->rule == NULL ? "" : request->rule->id, false, &rules->rule_id, &error);

    rules->edit = edit_update;
    rules->answer = answer_update;
    submit(rules, ok, &error);
}

static bool edit_delete(
    struct rules_call *call, const struct rule_state *read, struct rule_state *state, struct error *reterr_error)
{
    size_t count = 0;

    for (size_t i = 0; i < read->item_count; i++) {
        if (!uuid_equal(&read->items[i].source.id, &call->rule_id))
            state->items[count++] = read->items[i];
    }
    state->item_count = count;
    return count < read->item_count || no_such_rule(reterr_error);
}

static void answer_delete(struct rules_call *call, const struct rule_state *state)
{
    Leadrouter__V1__DeleteRuleResponse response = LEADROUTER__V1__DELETE_RULE_RESPONSE__INIT;

    (void)state;
    response.version = call->version;
    leadrouter__v1__rule_service__delete_rule__reply(call->base.call, &response);
}

static void handle_delete_rule(struct grpc_c_call *call, const Leadrouter__V1__DeleteRuleRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error) &&
              begin_change(rules, request->expected_version, request->user_id, request->note, &error) &&
              service_parse_id("rule_id", request->rule_id, false, &rules->rule_id, &error);

    rules->edit = edit_delete;
    rules->answer = answer_delete;
    submit(rules, ok, &error);
}

/* --- ApplyRules, RevertRules -------------------------------------------------------------------------------------- */

/* The id of a rule of that name which is not taken yet, so that a rule keeps its identity when its content changes. */
static struct uuid id_by_name(const struct rule_state *read, const char *name, bool *taken)
{
    for (size_t i = 0; i < read->item_count; i++) {
        if (!taken[i] && strcmp(read->items[i].source.name, name) == 0) {
            taken[i] = true;
            return read->items[i].source.id;
        }
    }
    return uuid_nil;
}

static bool apply_rules(const Leadrouter__V1__ApplyRulesRequest *request, struct arena *arena,
    const struct rule_state *read, struct rule_state *state, struct error *reterr_error)
{
    const char **names = arena_alloc_array(arena, request->n_rules, sizeof(*names));
    bool *taken = arena_alloc_array(arena, read->item_count, sizeof(*taken));
    size_t repeated = 0;

    state->items = arena_alloc_array(arena, request->n_rules, sizeof(*state->items));
    state->item_count = request->n_rules;
    for (size_t i = 0; i < request->n_rules; i++) {
        const char *field = arena_format(arena, "rules[%zu]", i);
        if (!rule_state_read_rule(request->rules[i], field, &state->items[i], reterr_error))
            return false;
        names[i] = request->rules[i]->name;
        state->items[i].source.id = id_by_name(read, names[i], taken);
        state->items[i].source.created_at_us = (int64_t)i; /* not used before they are written */
    }
    repeated = repeated_name(arena, names, request->n_rules);
    if (repeated < request->n_rules)
        return error_set(reterr_error, ERROR_INVALID, "rules[%zu].name: another one has it too", repeated);
    return true;
}

static bool edit_apply(
    struct rules_call *call, const struct rule_state *read, struct rule_state *state, struct error *reterr_error)
{
    const Leadrouter__V1__ApplyRulesRequest *request = call->request;
    struct arena *arena = arena_of(call);
    const char **names = arena_alloc_array(arena, request->n_sets, sizeof(*names));
    size_t repeated = 0;

    if (request->n_rules > RULE_STATE_RULES_MAX || request->n_sets > RULE_STATE_SETS_MAX)
        return error_set(
            reterr_error, ERROR_INVALID, "more than %d rules or %d sets", RULE_STATE_RULES_MAX, RULE_STATE_SETS_MAX);
    if (!apply_rules(request, arena, read, state, reterr_error))
        return false;
    state->sets = arena_alloc_array(arena, request->n_sets, sizeof(*state->sets));
    state->set_count = request->n_sets;
    for (size_t i = 0; i < request->n_sets; i++) {
        if (!read_set(request->sets[i], i, &state->sets[i], reterr_error))
            return false;
        names[i] = request->sets[i]->name;
    }
    repeated = repeated_name(arena, names, request->n_sets);
    if (repeated < request->n_sets)
        return error_set(reterr_error, ERROR_INVALID, "sets[%zu].name: another one has it too", repeated);
    return true;
}

static void answer_apply(struct rules_call *call, const struct rule_state *state)
{
    Leadrouter__V1__ApplyRulesResponse response = LEADROUTER__V1__APPLY_RULES_RESPONSE__INIT;

    response.version = call->version;
    response.n_changes = call->change_count;
    response.changes = change_messages(call);
    response.findings = findings_of(call, state, &response.n_findings);
    leadrouter__v1__rule_service__apply_rules__reply(call->base.call, &response);
}

static void handle_apply_rules(struct grpc_c_call *call, const Leadrouter__V1__ApplyRulesRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error) &&
              begin_change(rules, request->expected_version, request->user_id, request->note, &error);

    rules->is_dry = request->dry_run != 0;
    rules->edit = edit_apply;
    rules->answer = answer_apply;
    submit(rules, ok, &error);
}

static bool edit_revert(
    struct rules_call *call, const struct rule_state *read, struct rule_state *state, struct error *reterr_error)
{
    const Leadrouter__V1__RevertRulesRequest *request = call->request;
    struct rule_state old;

    if (!rule_state_load(&call->base, arena_of(call), &call->base.workspace_id, request->version, deadline_of(call),
            &old, reterr_error))
        return false;
    (void)read;
    state->items = old.items;
    state->item_count = old.item_count;
    state->sets = old.sets;
    state->set_count = old.set_count;
    return true;
}

static void answer_revert(struct rules_call *call, const struct rule_state *state)
{
    Leadrouter__V1__RevertRulesResponse response = LEADROUTER__V1__REVERT_RULES_RESPONSE__INIT;

    (void)state;
    response.version = call->version;
    response.n_changes = call->change_count;
    response.changes = change_messages(call);
    leadrouter__v1__rule_service__revert_rules__reply(call->base.call, &response);
}

static void handle_revert_rules(struct grpc_c_call *call, const Leadrouter__V1__RevertRulesRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error) &&
              begin_change(rules, request->expected_version, request->user_id, request->note, &error);

    if (ok && request->version < 1)
        ok = error_set(&error, ERROR_INVALID, "version: must be 1 or more");
    rules->edit = edit_revert;
    rules->answer = answer_revert;
    submit(rules, ok, &error);
}

/* --- DiffRuleVersions --------------------------------------------------------------------------------------------- */

static void run_diff(struct work *work)
{
    struct rules_call *call = (struct rules_call *)(void *)work;
    const Leadrouter__V1__DiffRuleVersionsRequest *request = call->request;
    const struct uuid *workspace_id = &call->base.workspace_id;
    Leadrouter__V1__DiffRuleVersionsResponse response = LEADROUTER__V1__DIFF_RULE_VERSIONS_RESPONSE__INIT;
    struct rule_state from;
    struct rule_state to;
    const char *json = NULL;
    struct error error = {0};

    if (!rule_state_load(
            &call->base, arena_of(call), workspace_id, request->from_version, deadline_of(call), &from, &error) ||
        !rule_state_load(
            &call->base, arena_of(call), workspace_id, request->to_version, deadline_of(call), &to, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    rule_state_diff(&from, &to, arena_of(call), &call->changes, &call->change_count, &json);
    response.to_version = to.version;
    response.n_changes = call->change_count;
    response.changes = change_messages(call);
    leadrouter__v1__rule_service__diff_rule_versions__reply(call->base.call, &response);
}

static void handle_diff(struct grpc_c_call *call, const Leadrouter__V1__DiffRuleVersionsRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error);

    if (ok && (request->from_version < 1 || request->to_version < 0))
        ok = error_set(&error, ERROR_INVALID, "from_version: must be 1 or more, and to_version not negative");
    rules->work.run = run_diff;
    submit(rules, ok, &error);
}

/* --- GetRule, ListRules, ListRuleVersions ------------------------------------------------------------------------- */

static void run_get_rule(struct work *work)
{
    struct rules_call *call = (struct rules_call *)(void *)work;
    Leadrouter__V1__GetRuleResponse response = LEADROUTER__V1__GET_RULE_RESPONSE__INIT;
    const struct rule_item *item = NULL;
    struct rule_state state;
    struct error error = {0};
    bool ok =
        rule_state_load(&call->base, arena_of(call), &call->base.workspace_id, 0, deadline_of(call), &state, &error);

    if (ok) {
        item = rule_state_find(&state, &call->rule_id);
        ok = item != NULL || no_such_rule(&error);
    }
    if (!ok) {
        service_fail(&call->base, &error);
        return;
    }
    response.rule = rule_message(arena_of(call), item);
    response.version = state.version;
    leadrouter__v1__rule_service__get_rule__reply(call->base.call, &response);
}

static void handle_get_rule(struct grpc_c_call *call, const Leadrouter__V1__GetRuleRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error) &&
              service_parse_id("rule_id", request->rule_id, false, &rules->rule_id, &error);

    rules->work.run = run_get_rule;
    submit(rules, ok, &error);
}

static void run_list_rules(struct work *work)
{
    struct rules_call *call = (struct rules_call *)(void *)work;
    struct arena *arena = arena_of(call);
    Leadrouter__V1__ListRulesResponse response = LEADROUTER__V1__LIST_RULES_RESPONSE__INIT;
    struct rule_state state;
    struct error error = {0};

    if (!rule_state_load(
            &call->base, arena, &call->base.workspace_id, call->version, deadline_of(call), &state, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    response.version = state.version;
    response.n_rules = state.item_count;
    response.rules = arena_alloc_array(arena, state.item_count, sizeof(*response.rules));
    for (size_t i = 0; i < state.item_count; i++)
        response.rules[i] = rule_message(arena, &state.items[i]);
    response.n_sets = state.set_count;
    response.sets = arena_alloc_array(arena, state.set_count, sizeof(*response.sets));
    for (size_t i = 0; i < state.set_count; i++)
        response.sets[i] = set_message(arena, &state.sets[i]);
    leadrouter__v1__rule_service__list_rules__reply(call->base.call, &response);
}

static void handle_list_rules(struct grpc_c_call *call, const Leadrouter__V1__ListRulesRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error);

    if (ok && request->version < 0)
        ok = error_set(&error, ERROR_INVALID, "version: must not be negative");
    rules->version = request->version;
    rules->work.run = run_list_rules;
    submit(rules, ok, &error);
}

static void run_list_versions(struct work *work)
{
    static const struct service_reading reading =
        SERVICE_READING("version, created_us, actor_id, note, rules_changed, sets_changed", "list_rule_versions",
            "($1, nullif($2, 0), $3)", 3, PG_UUID, PG_INT8, PG_INT4);
    struct rules_call *call = (struct rules_call *)(void *)work;
    const Leadrouter__V1__ListRuleVersionsRequest *request = call->request;
    struct arena *arena = arena_of(call);
    Leadrouter__V1__ListRuleVersionsResponse response = LEADROUTER__V1__LIST_RULE_VERSIONS_RESPONSE__INIT;
    struct pg_params params;
    struct pg_result *rows = NULL;
    struct error error = {0};

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &call->base.workspace_id);
    pg_params_add_int8(&params, request->before_version);
    pg_params_add_int4(&params, request->limit == 0 ? VERSIONS_DEFAULT : request->limit);
    if (!service_read(&call->base, &reading, &params, deadline_of(call), &rows, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    response.n_versions = (size_t)pg_result_row_count(rows);
    response.versions = arena_alloc_array(arena, response.n_versions, sizeof(*response.versions));
    for (size_t i = 0; i < response.n_versions; i++) {
        int row = (int)i;
        struct uuid actor_id = pg_result_uuid(rows, row, 2);
        Leadrouter__V1__RuleVersion *version = arena_alloc(arena, sizeof(*version));
        leadrouter__v1__rule_version__init(version);
        version->version = pg_result_int8(rows, row, 0);
        version->created_at = service_time(arena, pg_result_int8(rows, row, 1));
        version->user_id = service_id(arena, &actor_id);
        version->note = arena_copy_string(arena, pg_result_text(rows, row, 3));
        version->rules_changed = pg_result_int4(rows, row, 4);
        version->sets_changed = pg_result_int4(rows, row, 5);
        response.versions[i] = version;
    }
    pg_result_free(rows);
    leadrouter__v1__rule_service__list_rule_versions__reply(call->base.call, &response);
}

static void handle_list_versions(
    struct grpc_c_call *call, const Leadrouter__V1__ListRuleVersionsRequest *request, void *user)
{
    struct rules_call *rules = arena_alloc(grpc_c_call_arena(call), sizeof(*rules));
    struct error error = {0};
    bool ok = begin(rules, call, user, request, request->workspace_id, &error);

    if (ok && (request->limit < 0 || request->limit > VERSIONS_MAX))
        ok = error_set(
            &error, ERROR_INVALID, "limit: must be from 1 to %d, or 0 for %d", VERSIONS_MAX, VERSIONS_DEFAULT);
    if (ok && request->before_version < 0)
        ok = error_set(&error, ERROR_INVALID, "before_version: must not be negative");
    rules->work.run = run_list_versions;
    submit(rules, ok, &error);
}

const struct leadrouter__v1__rule_service__handlers service_rule_handlers = {
    .create_rule = handle_create_rule,
    .get_rule = handle_get_rule,
    .list_rules = handle_list_rules,
    .update_rule = handle_update_rule,
    .delete_rule = handle_delete_rule,
    .apply_rules = handle_apply_rules,
    .revert_rules = handle_revert_rules,
    .diff_rule_versions = handle_diff,
    .list_rule_versions = handle_list_versions,
    .test_rules = service_handle_test_rules,
    .lint_rules = service_handle_lint_rules,
    .get_routing_history = service_handle_get_routing_history,
};
