/* RuleService: TestRules, LintRules and GetRoutingHistory: what rules do with a lead, would do with any, and did. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rule_state.h"
#include "rules/explain.h"
#include "rules/lint.h"
#include "rules/record.h"
#include "service.h"

enum { TEST_LEADS_MAX = 100, LINT_RULES_MAX = 20000, LINT_IN_PASSING_MAX = 2000 };

/* One call; in its arena. */
struct explain_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const void *request;
    struct uuid *lead_ids;
};

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static Leadrouter__V1__FailedTest *test_message(struct arena *arena, const struct rule_failed_test *test)
{
    Leadrouter__V1__FailedTest *message = arena_alloc(arena, sizeof(*message));

    leadrouter__v1__failed_test__init(message);
    message->path = arena_copy_string(arena, test->path);
    message->field = arena_copy_string(arena, test->field);
    message->op = arena_copy_string(arena, test->op);
    message->expected_json = arena_copy_string(arena, test->expected);
    message->actual = arena_copy_string(arena, test->actual);
    message->reason = (Leadrouter__V1__TestReason)test->reason; /* the same numbers */
    return message;
}

/* A rule and what is known of it; `explanation` is NULL for one that is switched off. */
static Leadrouter__V1__RuleExplanation *rule_message(
    struct arena *arena, const struct rule_item *item, const struct rule_explanation *explanation)
{
    Leadrouter__V1__RuleExplanation *message = arena_alloc(arena, sizeof(*message));

    leadrouter__v1__rule_explanation__init(message);
    message->rule_id = service_id(arena, &item->source.id);
    message->rule_name = arena_copy_string(arena, item->source.name);
    message->destination_workspace_id = service_id(arena, &item->source.destination_workspace_id);
    message->result = LEADROUTER__V1__RULE_RESULT__RULE_RESULT_INACTIVE;
    if (explanation == NULL)
        return message;
    switch (explanation->verdict) {
    case RULE_VERDICT_MATCHED:
        message->result = LEADROUTER__V1__RULE_RESULT__RULE_RESULT_MATCHED;
        break;
    case RULE_VERDICT_NOT_MATCHED:
        message->result = LEADROUTER__V1__RULE_RESULT__RULE_RESULT_NOT_MATCHED;
        break;
    case RULE_VERDICT_DESTINATION_INACTIVE:
        message->result = LEADROUTER__V1__RULE_RESULT__RULE_RESULT_DESTINATION_INACTIVE;
        break;
    case RULE_VERDICT_INACTIVE:
        break;
    case RULE_VERDICT_NOT_KEPT:
        message->result = LEADROUTER__V1__RULE_RESULT__RULE_RESULT_NOT_KEPT;
        break;
    }
    message->is_reached = explanation->is_reached;
    message->n_failed_tests = explanation->test_count;
    message->failed_tests = arena_alloc_array(arena, explanation->test_count, sizeof(*message->failed_tests));
    for (size_t i = 0; i < explanation->test_count; i++)
        message->failed_tests[i] = test_message(arena, &explanation->tests[i]);
    return message;
}

/* Who gets the lead, in words and by id. */
static void summarize(struct arena *arena, const struct rule_state *state, const struct uuid *workspace_id,
    const struct rule_explanation *taker, Leadrouter__V1__LeadExplanation *message)
{
    if (taker != NULL) {
        message->matched_rule_id = service_id(arena, &taker->rule->id);
        message->matched_rule_name = arena_copy_string(arena, taker->rule->name);
        message->destination_workspace_id = service_id(arena, &taker->rule->destination_workspace_id);
        message->summary = arena_format(arena, "rule \"%s\" takes it", taker->rule->name);
        return;
    }
    switch (state->policy.unmatched) {
    case RULE_UNMATCHED_KEEP:
        message->destination_workspace_id = service_id(arena, workspace_id);
        message->summary = arena_copy_string(arena, "no rule takes it; it stays in its source workspace");
        break;
    case RULE_UNMATCHED_FALLBACK:
        if (state->policy.fallback_is_active)
            message->destination_workspace_id = service_id(arena, &state->policy.fallback_workspace_id);
        message->summary = arena_copy_string(arena, state->policy.fallback_is_active
                                                        ? "no rule takes it; it goes to the fallback workspace"
                                                        : "no rule takes it, and the fallback workspace is inactive");
        break;
    case RULE_UNMATCHED_RETRY:
        message->summary = arena_copy_string(arena, "no rule takes it; it is tried again later");
        break;
    }
}

static int compare_items(const void *left, const void *right)
{
    return rule_source_compare(&((const struct rule_item *)left)->source, &((const struct rule_item *)right)->source);
}

/* Explains one lead by a state whose items are in match order. */
static bool explain(const struct rule_state *state, const struct uuid *workspace_id, const struct rule_lead *lead,
    bool is_record, struct arena *arena, Leadrouter__V1__LeadExplanation **ret_message, struct error *reterr_error)
{
    const struct rule_set_source source = rule_state_source(state, workspace_id, arena);
    Leadrouter__V1__LeadExplanation *message = arena_alloc(arena, sizeof(*message));
    const struct rule_explanation *taker = NULL;
    struct rule_explanation *explanations = NULL;
    size_t next = 0;

    if (!rule_explain(&source, lead, is_record, arena, &explanations, reterr_error))
        return false;
    leadrouter__v1__lead_explanation__init(message);
    message->n_rules = state->item_count;
    message->rules = arena_alloc_array(arena, state->item_count, sizeof(*message->rules));
    for (size_t i = 0; i < state->item_count; i++) {
        const struct rule_explanation *explanation = state->items[i].is_active ? &explanations[next++] : NULL;
        message->rules[i] = rule_message(arena, &state->items[i], explanation);
        if (explanation != NULL && explanation->is_reached && explanation->verdict == RULE_VERDICT_MATCHED)
            taker = explanation;
    }
    summarize(arena, state, workspace_id, taker, message);
    *ret_message = message;
    return true;
}

/* --- TestRules ---------------------------------------------------------------------------------------------------- */

static struct arena *arena_of(const struct explain_call *call)
{
    return grpc_c_call_arena(call->base.call);
}

static struct rule_lead lead_of_message(const Leadrouter__V1__NewLead *lead, int64_t now_us)
{
    return (struct rule_lead){
        .company_industry = lead->company_industry,
        .company_size = lead->company_size,
        .company_revenue = lead->company_revenue,
        .country = lead->country,
        .state = lead->state,
        .city = lead->city,
        .postal_code = lead->postal_code,
        .source = lead->source,
        .email = lead->email,
        .phone = lead->phone,
        .first_name = lead->first_name,
        .last_name = lead->last_name,
        .company_name = lead->company_name,
        .external_id = lead->external_id,
        .attributes_json = lead->attributes_json,
        .created_at_us = now_us,
        .now_us = now_us,
    };
}

/* Rules and sets of a request that are not stored. */
struct draft {
    Leadrouter__V1__Rule *const *rules;
    size_t rule_count;
    Leadrouter__V1__NamedSet *const *sets;
    size_t set_count;
};

/* Takes a draft into the state that was read. */
static bool take_draft(
    const struct draft *draft, struct arena *arena, struct rule_state *state, struct error *reterr_error)
{
    struct rule_named_set *sets = arena_alloc_array(arena, state->set_count + draft->set_count, sizeof(*sets));
    size_t set_count = 0;

    for (size_t i = 0; i < draft->set_count; i++) /* found before the workspace's of the same name */
        sets[set_count++] = (struct rule_named_set){.name = draft->sets[i]->name,
            .values = (const char *const *)draft->sets[i]->values,
            .count = draft->sets[i]->n_values};
    for (size_t i = 0; i < state->set_count; i++)
        sets[set_count++] = state->sets[i];
    state->sets = sets;
    state->set_count = set_count;
    if (draft->rule_count == 0)
        return true;
    state->items = arena_alloc_array(arena, draft->rule_count, sizeof(*state->items));
    state->item_count = draft->rule_count;
    for (size_t i = 0; i < draft->rule_count; i++) {
        if (!rule_state_read_rule(
                draft->rules[i], arena_format(arena, "draft_rules[%zu]", i), &state->items[i], reterr_error))
            return false;
        state->items[i].source.id = uuid_random();
        state->items[i].source.created_at_us = (int64_t)i;
    }
    qsort(state->items, state->item_count, sizeof(*state->items), compare_items);
    return true;
}

static const struct service_reading leads_reading = SERVICE_READING(
    "ord, email, phone, first_name, last_name, company_name, company_industry, company_size, company_revenue,"
    " country, state, city, postal_code, source, external_id, attributes, created_us, now_us, routing_status,"
    " duplicate_lead_id, is_held",
    "leads_for_test", "($1, $2)", 2, PG_UUID_ARRAY, PG_UUID);

static struct rule_lead lead_of_row(const struct pg_result *rows, int row)
{
    return (struct rule_lead){
        .email = pg_result_text(rows, row, 1),
        .phone = pg_result_text(rows, row, 2),
        .first_name = pg_result_text(rows, row, 3),
        .last_name = pg_result_text(rows, row, 4),
        .company_name = pg_result_text(rows, row, 5),
        .company_industry = pg_result_text(rows, row, 6),
        .company_size = pg_result_text(rows, row, 7),
        .company_revenue = pg_result_text(rows, row, 8),
        .country = pg_result_text(rows, row, 9),
        .state = pg_result_text(rows, row, 10),
        .city = pg_result_text(rows, row, 11),
        .postal_code = pg_result_text(rows, row, 12),
        .source = pg_result_text(rows, row, 13),
        .external_id = pg_result_text(rows, row, 14),
        .attributes_json = pg_result_text(rows, row, 15),
        .created_at_us = pg_result_int8(rows, row, 16),
        .now_us = pg_result_int8(rows, row, 17),
    };
}

/* Explains the stored leads; ERROR_NOT_FOUND names the first that is not there. */
static bool test_stored(struct explain_call *call, const struct rule_state *state,
    Leadrouter__V1__TestRulesResponse *response, struct error *reterr_error)
{
    const Leadrouter__V1__TestRulesRequest *request = call->request;
    struct arena *arena = arena_of(call);
    struct pg_params params;
    struct pg_result *rows = NULL;
    bool ok = true;

    if (request->n_lead_ids == 0)
        return true;
    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, call->lead_ids, NULL, request->n_lead_ids);
    pg_params_add_uuid(&params, &call->base.workspace_id);
    if (!service_read(
            &call->base, &leads_reading, &params, grpc_c_call_deadline_ns(call->base.call), &rows, reterr_error))
        return false;
    for (size_t i = 0; i < request->n_lead_ids && ok; i++) {
        Leadrouter__V1__LeadExplanation *message = NULL;
        struct rule_lead lead;
        struct uuid duplicate;
        if ((size_t)pg_result_row_count(rows) <= i || pg_result_int4(rows, (int)i, 0) != (int32_t)i + 1) {
            ok = error_set(reterr_error, ERROR_NOT_FOUND, "lead_ids[%zu]: no such lead in that workspace", i);
            break;
        }
        lead = lead_of_row(rows, (int)i);
        ok = explain(state, &call->base.workspace_id, &lead, false, arena, &message, reterr_error);
        if (!ok)
            break;
        duplicate = pg_result_uuid(rows, (int)i, 19);
        message->lead_id = service_id(arena, &call->lead_ids[i]);
        message->duplicate_lead_id = service_id(arena, &duplicate);
        message->is_held = pg_result_bool(rows, (int)i, 20);
        message->status = service_lead_status(pg_result_text(rows, (int)i, 18));
        response->leads[response->n_leads++] = message;
    }
    pg_result_free(rows);
    return ok;
}

static void run_test(struct work *work)
{
    struct explain_call *call = (struct explain_call *)(void *)work;
    const Leadrouter__V1__TestRulesRequest *request = call->request;
    struct arena *arena = arena_of(call);
    Leadrouter__V1__TestRulesResponse response = LEADROUTER__V1__TEST_RULES_RESPONSE__INIT;
    const struct draft draft = {
        request->draft_rules, request->n_draft_rules, request->draft_sets, request->n_draft_sets};
    struct rule_state state;
    struct error error = {0};
    bool ok = rule_state_load(&call->base, arena, &call->base.workspace_id, request->version,
                  grpc_c_call_deadline_ns(call->base.call), &state, &error) &&
              take_draft(&draft, arena, &state, &error);

    response.leads = arena_alloc_array(arena, request->n_lead_ids + request->n_leads, sizeof(*response.leads));
    ok = ok && test_stored(call, &state, &response, &error);
    for (size_t i = 0; i < request->n_leads && ok; i++) {
        const struct rule_lead lead = lead_of_message(request->leads[i], state.read_at_us);
        ok = explain(&state, &call->base.workspace_id, &lead, false, arena, &response.leads[response.n_leads], &error);
        response.n_leads++;
    }
    if (!ok) {
        service_fail(&call->base, &error);
        return;
    }
    response.version = request->n_draft_rules > 0 ? 0 : state.version;
    leadrouter__v1__rule_service__test_rules__reply(call->base.call, &response);
}

static bool read_test_request(struct explain_call *call, struct error *reterr_error)
{
    const Leadrouter__V1__TestRulesRequest *request = call->request;
    struct arena *arena = arena_of(call);
    size_t count = request->n_lead_ids + request->n_leads;

    if (!service_parse_id("workspace_id", request->workspace_id, false, &call->base.workspace_id, reterr_error))
        return false;
    if (count == 0 || count > TEST_LEADS_MAX)
        return error_set(reterr_error, ERROR_INVALID, "leads: 1 to %d, by id or not", TEST_LEADS_MAX);
    if (request->version < 0)
        return error_set(reterr_error, ERROR_INVALID, "version: must not be negative");
    call->lead_ids = arena_alloc_array(arena, request->n_lead_ids, sizeof(*call->lead_ids));
    for (size_t i = 0; i < request->n_lead_ids; i++) {
        if (!service_parse_id(
                arena_format(arena, "lead_ids[%zu]", i), request->lead_ids[i], false, &call->lead_ids[i], reterr_error))
            return false;
    }
    return true;
}

void service_handle_test_rules(struct grpc_c_call *call, const Leadrouter__V1__TestRulesRequest *request, void *user)
{
    struct explain_call *test = arena_alloc(grpc_c_call_arena(call), sizeof(*test));
    struct error error = {0};

    service_begin(&test->base, call, user);
    test->request = request;
    test->work.run = run_test;
    if (!read_test_request(test, &error) || !worker_pool_submit(test->base.service->workers, &test->work, &error))
        service_fail(&test->base, &error);
}

/* --- LintRules ---------------------------------------------------------------------------------------------------- */

static Leadrouter__V1__LintFinding *finding_message(struct arena *arena, const struct rule_finding *finding)
{
    Leadrouter__V1__LintFinding *message = arena_alloc(arena, sizeof(*message));

    leadrouter__v1__lint_finding__init(message);
    message->kind = (Leadrouter__V1__LintFindingKind)finding->kind; /* the same numbers */
    message->is_error = finding->kind == RULE_FINDING_CONTRADICTION || finding->kind == RULE_FINDING_SHADOWED;
    message->rule_id = service_id(arena, &finding->rule->id);
    message->rule_name = arena_copy_string(arena, finding->rule->name);
    if (finding->other != NULL) {
        message->other_rule_id = service_id(arena, &finding->other->id);
        message->other_rule_name = arena_copy_string(arena, finding->other->name);
    }
    message->witness_json = arena_copy_string(arena, finding->witness);
    return message;
}

/* True for a finding about a rule that one of the changes is about, and for all when a set has changed. */
static bool is_about(const struct rule_finding *finding, const struct rule_state_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].is_set || strcmp(changes[i].name, finding->rule->name) == 0 ||
            (finding->other != NULL && strcmp(changes[i].name, finding->other->name) == 0))
            return true;
    }
    return false;
}

Leadrouter__V1__LintFinding **service_lint_changes(const struct rule_state *state, const struct uuid *workspace_id,
    const struct rule_state_change *changes, size_t change_count, struct arena *arena, size_t *ret_count)
{
    const struct rule_set_source source = rule_state_source(state, workspace_id, arena);
    Leadrouter__V1__LintFinding **messages = NULL;
    struct rule_finding *findings = NULL;
    size_t count = 0;

    *ret_count = 0;
    if (source.rule_count > LINT_IN_PASSING_MAX || !rule_lint(&source, arena, &findings, &count, NULL))
        return NULL;
    messages = arena_alloc_array(arena, count, sizeof(*messages));
    for (size_t i = 0; i < count; i++) {
        if (is_about(&findings[i], changes, change_count))
            messages[(*ret_count)++] = finding_message(arena, &findings[i]);
    }
    return messages;
}

enum { WAY_RULES_MAX = 3 }; /* of rule_ways_back() */

/* The circle that a rule begins, when the rows have a way back from its destination and some lead goes round; otherwise NULL. */
static Leadrouter__V1__LintFinding *cycle_of(const struct rule_source *rule, const struct rule_set_source *source,
    const struct pg_result *rows, struct arena *arena)
{
    const char *conditions[1 + WAY_RULES_MAX] = {rule->conditions_json};
    Leadrouter__V1__LintFinding *message = NULL;
    const char *witness = NULL;
    size_t count = 1;
    int first = -1;

    for (int row = 0; row < pg_result_row_count(rows) && count < COUNT_OF(conditions); row++) {
        struct uuid from = pg_result_uuid(rows, row, 0);
        if (!uuid_equal(&from, &rule->destination_workspace_id))
            continue;
        first = first < 0 ? row : first;
        conditions[count++] = pg_result_text(rows, row, 4);
    }
    if (first < 0 || !rule->destination_is_active)
        return NULL;
    witness = rule_witness(source, conditions, count, arena);
    if (witness == NULL)
        return NULL;
    struct uuid other_id = pg_result_uuid(rows, first, 2);
    message = arena_alloc(arena, sizeof(*message));
    leadrouter__v1__lint_finding__init(message);
    message->kind = LEADROUTER__V1__LINT_FINDING_KIND__LINT_FINDING_KIND_CYCLE;
    message->rule_id = service_id(arena, &rule->id);
    message->rule_name = arena_copy_string(arena, rule->name);
    message->other_rule_id = service_id(arena, &other_id);
    message->other_rule_name = arena_copy_string(arena, pg_result_text(rows, first, 3));
    message->witness_json = arena_copy_string(arena, witness);
    return message;
}

/* Circles of workspaces that rules of the state are part of: a way from a rule's destination back to the workspace, and a
 * lead that meets the rule and all rules of that way. */
static bool add_cycles(struct explain_call *call, const struct rule_set_source *source,
    Leadrouter__V1__LintRulesResponse *response, struct error *reterr_error)
{
    static const struct service_reading reading =
        SERVICE_READING("from_workspace_id, step, rule_id, rule_name, conditions", "rule_ways_back", "($1, $2)", 2,
            PG_UUID, PG_UUID_ARRAY);
    struct arena *arena = arena_of(call);
    struct uuid *destinations = arena_alloc_array(arena, source->rule_count, sizeof(*destinations));
    struct pg_params params;
    struct pg_result *rows = NULL;

    for (size_t i = 0; i < source->rule_count; i++)
        destinations[i] = source->rules[i].destination_workspace_id;
    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &call->base.workspace_id);
    pg_params_add_uuid_array(&params, destinations, NULL, source->rule_count);
    if (!service_read(&call->base, &reading, &params, grpc_c_call_deadline_ns(call->base.call), &rows, reterr_error))
        return false;
    for (size_t i = 0; i < source->rule_count; i++) {
        Leadrouter__V1__LintFinding *finding = cycle_of(&source->rules[i], source, rows, arena);
        if (finding != NULL)
            response->findings[response->n_findings++] = finding;
    }
    pg_result_free(rows);
    return true;
}

static void run_lint(struct work *work)
{
    struct explain_call *call = (struct explain_call *)(void *)work;
    const Leadrouter__V1__LintRulesRequest *request = call->request;
    const struct draft draft = {
        request->draft_rules, request->n_draft_rules, request->draft_sets, request->n_draft_sets};
    struct arena *arena = arena_of(call);
    Leadrouter__V1__LintRulesResponse response = LEADROUTER__V1__LINT_RULES_RESPONSE__INIT;
    struct rule_finding *findings = NULL;
    struct rule_set_source source;
    struct rule_state state;
    struct error error = {0};
    bool ok = rule_state_load(&call->base, arena, &call->base.workspace_id, request->version,
                  grpc_c_call_deadline_ns(call->base.call), &state, &error) &&
              take_draft(&draft, arena, &state, &error);

    if (ok) {
        source = rule_state_source(&state, &call->base.workspace_id, arena);
        ok = source.rule_count <= LINT_RULES_MAX ||
             error_set(&error, ERROR_INVALID, "more than %d rules: examining them would take too long", LINT_RULES_MAX);
    }
    if (ok)
        ok = rule_lint(&source, arena, &findings, &response.n_findings, &error);
    if (!ok) {
        service_fail(&call->base, &error);
        return;
    }
    response.version = request->n_draft_rules > 0 ? 0 : state.version;
    response.findings = arena_alloc_array(arena, response.n_findings + source.rule_count, sizeof(*response.findings));
    for (size_t i = 0; i < response.n_findings; i++)
        response.findings[i] = finding_message(arena, &findings[i]);
    if (!add_cycles(call, &source, &response, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    leadrouter__v1__rule_service__lint_rules__reply(call->base.call, &response);
}

void service_handle_lint_rules(struct grpc_c_call *call, const Leadrouter__V1__LintRulesRequest *request, void *user)
{
    struct explain_call *lint = arena_alloc(grpc_c_call_arena(call), sizeof(*lint));
    struct service_call *base = &lint->base;
    struct error error = {0};
    bool ok = false;

    service_begin(base, call, user);
    lint->request = request;
    lint->work.run = run_lint;
    ok = service_parse_id("workspace_id", request->workspace_id, false, &base->workspace_id, &error);
    if (ok && request->version < 0)
        ok = error_set(&error, ERROR_INVALID, "version: must not be negative");
    if (ok && request->n_draft_rules > LINT_RULES_MAX)
        ok = error_set(&error, ERROR_INVALID, "draft_rules: more than %d", LINT_RULES_MAX);
    if (!ok || !worker_pool_submit(base->service->workers, &lint->work, &error))
        service_fail(base, &error);
}

/* --- GetRoutingHistory -------------------------------------------------------------------------------------------- */

/* The rules of one version after the other, as attempts need them. */
struct versions {
    bool is_loaded;
    bool is_gone; /* the version is not kept any more */
    struct rule_state state;
};

static bool load_version(struct explain_call *call, const struct uuid *source_id, int64_t version,
    struct versions *versions, struct error *reterr_error)
{
    struct error error = {0};

    if (versions->is_loaded && versions->state.version == version)
        return true;
    versions->is_loaded = true;
    versions->is_gone = false;
    if (rule_state_load(&call->base, arena_of(call), source_id, version, grpc_c_call_deadline_ns(call->base.call),
            &versions->state, &error))
        return true;
    versions->state.version = version;
    versions->is_gone = true;
    if (error.code == ERROR_NOT_FOUND)
        return true;
    *reterr_error = error;
    return false;
}

/* Results that rules had a part in. */
static bool is_of_rules(const char *result)
{
    return strcmp(result, "success") == 0 || strcmp(result, "duplicate") == 0 || strcmp(result, "retry") == 0 ||
           strcmp(result, "failed") == 0;
}

/* What rules say of a lead that was found to be a copy: nobody got it, whatever they say. */
static void explain_copy(struct arena *arena, Leadrouter__V1__RoutingAttempt *attempt)
{
    Leadrouter__V1__LeadExplanation *explanation = attempt->explanation;

    explanation->summary =
        explanation->matched_rule_id[0] == '\0'
            ? arena_copy_string(arena, "it is a copy and stays in its source workspace; no rule would take it")
            : arena_format(arena, "it is a copy and stays in its source workspace; otherwise rule \"%s\" would take it",
                  explanation->matched_rule_name);
    explanation->matched_rule_id = arena_copy_string(arena, "");
    explanation->matched_rule_name = explanation->matched_rule_id;
    explanation->destination_workspace_id = attempt->destination_workspace_id;
}

static bool explain_attempt(struct explain_call *call, const struct pg_result *rows, int row, struct versions *versions,
    Leadrouter__V1__RoutingAttempt *attempt, struct error *reterr_error)
{
    struct arena *arena = arena_of(call);
    struct uuid source_id = pg_result_uuid(rows, row, 1);
    struct error ignored = {0};
    struct rule_lead lead;

    if (attempt->rules_version == 0 || !is_of_rules(attempt->result))
        return true;
    if (attempt->reason[0] == '\0') /* erased, and the facts with it */
        return true;
    if (!load_version(call, &source_id, attempt->rules_version, versions, reterr_error))
        return false;
    if (versions->is_gone || !rule_record_read(pg_result_text(rows, row, 11), arena, &lead))
        return true;
    lead.now_us = pg_result_int8(rows, row, 12);
    /* Rules that could not be used then cannot be explained now: the attempt's own reason says so. */
    if (explain(&versions->state, &source_id, &lead, true, arena, &attempt->explanation, &ignored) &&
        strcmp(attempt->result, "duplicate") == 0)
        explain_copy(arena, attempt);
    return true;
}

static Leadrouter__V1__RoutingAttempt *attempt_message(struct arena *arena, const struct pg_result *rows, int row)
{
    Leadrouter__V1__RoutingAttempt *attempt = arena_alloc(arena, sizeof(*attempt));
    struct uuid id = pg_result_uuid(rows, row, 0);
    struct uuid destination = pg_result_uuid(rows, row, 2);
    struct uuid duplicate = pg_result_uuid(rows, row, 7);
    struct uuid actor = pg_result_uuid(rows, row, 9);

    leadrouter__v1__routing_attempt__init(attempt);
    attempt->id = service_id(arena, &id);
    attempt->created_at = service_time(arena, pg_result_int8(rows, row, 12));
    attempt->result = arena_copy_string(arena, pg_result_text(rows, row, 5));
    attempt->destination_workspace_id = service_id(arena, &destination);
    attempt->reason = arena_copy_string(arena, pg_result_text(rows, row, 6));
    attempt->attempt = pg_result_int4(rows, row, 8);
    attempt->user_id = service_id(arena, &actor);
    attempt->rules_version = pg_result_is_null(rows, row, 10) ? 0 : pg_result_int8(rows, row, 10);
    attempt->duplicate_lead_id = service_id(arena, &duplicate);
    attempt->next_retry_at =
        pg_result_is_null(rows, row, 13) ? NULL : service_time(arena, pg_result_int8(rows, row, 13));
    return attempt;
}

static const struct service_reading history_reading = SERVICE_READING(
    "id, source_workspace_id, destination_workspace_id, matched_rule_id, rule_name, routing_result, reason,"
    " duplicate_lead_id, attempt_number, actor_id, rules_version, facts, created_us, next_retry_us",
    "lead_history", "($1, $2)", 2, PG_UUID, PG_UUID);

static void run_history(struct work *work)
{
    struct explain_call *call = (struct explain_call *)(void *)work;
    struct arena *arena = arena_of(call);
    Leadrouter__V1__GetRoutingHistoryResponse response = LEADROUTER__V1__GET_ROUTING_HISTORY_RESPONSE__INIT;
    struct versions versions = {0};
    struct pg_params params;
    struct pg_result *rows = NULL;
    struct error error = {0};
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &call->base.lead_id);
    pg_params_add_uuid(&params, &call->base.workspace_id);
    ok = service_read(&call->base, &history_reading, &params, grpc_c_call_deadline_ns(call->base.call), &rows, &error);
    if (!ok && strcmp(error.sqlstate, "LR404") == 0)
        error.code = ERROR_NOT_FOUND;
    if (ok)
        response.attempts = arena_alloc_array(arena, (size_t)pg_result_row_count(rows), sizeof(*response.attempts));
    for (int row = 0; ok && row < pg_result_row_count(rows); row++) {
        Leadrouter__V1__RoutingAttempt *attempt = attempt_message(arena, rows, row);
        ok = explain_attempt(call, rows, row, &versions, attempt, &error);
        response.attempts[response.n_attempts++] = attempt;
    }
    if (ok)
        leadrouter__v1__rule_service__get_routing_history__reply(call->base.call, &response);
    else
        service_fail(&call->base, &error);
    pg_result_free(rows);
}

void service_handle_get_routing_history(
    struct grpc_c_call *call, const Leadrouter__V1__GetRoutingHistoryRequest *request, void *user)
{
    struct explain_call *history = arena_alloc(grpc_c_call_arena(call), sizeof(*history));
    struct service_call *base = &history->base;
    struct error error = {0};

    service_begin(base, call, user);
    history->request = request;
    history->work.run = run_history;
    if (!service_parse_id("lead_id", request->lead_id, false, &base->lead_id, &error) ||
        !service_parse_id("workspace_id", request->workspace_id, false, &base->workspace_id, &error) ||
        !worker_pool_submit(base->service->workers, &history->work, &error))
        service_fail(base, &error);
}
