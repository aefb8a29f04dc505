#include "routing/store.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"

/* Every statement of the engine. Functions only: the service role may not touch the tables. Plans are generic:
 * planning a call for its very arrays costs more than the call. */
static const struct pg_statement statement_begin = {
    .name = NULL, .sql = "begin isolation level read committed", .param_count = 0};

/* Sets the transaction's limits on its way: a statement of its own would be paid for by every batch. The last one frees
 * the leads of a server that stands still between its two round trips. */
#define LOCK_LIMITS                                                                                                    \
    "(select set_config('statement_timeout', '5s', true), set_config('lock_timeout', '2s', true),"                     \
    " set_config('idle_in_transaction_session_timeout', '5s', true),"                                                  \
    " set_config('plan_cache_mode', 'force_generic_plan', true)) limits, "
#define LOCK_COLUMNS                                                                                                   \
    "ord, is_locked, found, routing_status, is_expired, workspace_id, matched_rule_id, matched_rule_name, reason,"     \
    " decision_id, decided_outcome, duplicate_lead_id, routing_attempts, queue_attempt, queue_is_due, next_retry_us,"  \
    " claim_lead_id, claim_workspace_id, rules_version, source_is_active, company_industry, company_size,"             \
    " company_revenue, country, state, dedupe_hash, lead_expires_us, transaction_id, place, queue_place"
static const struct pg_statement statement_lock = {.name = "routing_lock",
    .sql = "select " LOCK_COLUMNS " from " LOCK_LIMITS "leadrouter.lock_leads($1, $2)",
    .param_count = 2,
    .param_types = {PG_UUID_ARRAY, PG_UUID_ARRAY}};

/* The same for batches with leads that people ask for: not looked at are those of workspaces that they are not members of. */
static const struct pg_statement statement_lock_for_members = {.name = "routing_lock_for_members",
    .sql = "select " LOCK_COLUMNS ", members.memberships[ord] from " LOCK_LIMITS
           "leadrouter.hold_members($3, $4, $2) members, leadrouter.lock_leads($1, members.workspace_ids)",
    .param_count = 4,
    .param_types = {PG_UUID_ARRAY, PG_UUID_ARRAY, PG_UUID_ARRAY, PG_BOOL_ARRAY}};

static const struct pg_statement statement_require = {.name = "routing_require",
    .sql = "select leadrouter.require_member($1, $2, $3, true)",
    .param_count = 3,
    .param_types = {PG_UUID, PG_UUID, PG_BOOL}};

static const struct pg_statement statement_lock_due = {.name = "routing_lock_due",
    .sql =
        "select " LOCK_COLUMNS ", lead_id, source_workspace_id, max_attempts, queue_id, queue_version from " LOCK_LIMITS
        "leadrouter.lock_due_leads($1, $2, $3, $4, $5, $6, $7, $8, $9) order by ord",
    .param_count = 9,
    .param_types = {PG_INT4, PG_UUID, PG_BOOL, PG_BOOL, PG_INT8, PG_UUID, PG_INT8, PG_UUID, PG_BOOL}};

static const struct pg_statement statement_next_due = {.name = "routing_next_due",
    .sql = "select next_due_in_us, is_paused from leadrouter.next_due($1)",
    .param_count = 1,
    .param_types = {PG_UUID}};

static const struct pg_statement statement_postpone = {.name = "routing_postpone",
    .sql = "select leadrouter.postpone_retries($1, $2)",
    .param_count = 2,
    .param_types = {PG_UUID_ARRAY, PG_TEXT_ARRAY}};

static const struct pg_statement statement_decide = {.name = "routing_decide",
    .sql = "select ord, result, destination_workspace_id, matched_rule_id, duplicate_lead_id, attempt_number,"
           " next_retry_us, decision_id, reason, holder_workspace_id from leadrouter.decide($1, $2, $3, $4, $5, $6, "
           "$7, $8, $9, $10, $11,"
           " $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    .param_count = 20,
    .param_types = {PG_UUID_ARRAY, PG_UUID_ARRAY, PG_UUID_ARRAY, PG_INT2_ARRAY, PG_UUID_ARRAY, PG_UUID_ARRAY,
        PG_TEXT_ARRAY, PG_INT8_ARRAY, PG_UUID_ARRAY, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_INT4_ARRAY, PG_UUID_ARRAY,
        PG_BOOL_ARRAY, PG_INT4_ARRAY, PG_TEXT_ARRAY, PG_INT8_ARRAY, PG_TEXT_ARRAY, PG_TID_ARRAY, PG_TID_ARRAY}};

static const struct pg_statement statement_facts = {.name = "routing_facts",
    .sql = "select ord, email, phone, first_name, last_name, company_name, city, postal_code, source, external_id,"
           " attributes, created_us, now_us from leadrouter.lead_facts($1)",
    .param_count = 1,
    .param_types = {PG_UUID_ARRAY}};

static const struct pg_statement statement_commit = {.name = NULL, .sql = "commit", .param_count = 0};
static const struct pg_statement statement_rollback = {.name = NULL, .sql = "rollback", .param_count = 0};

static const struct pg_statement statement_find = {.name = "routing_find",
    .sql = "select ord, result, destination_workspace_id, matched_rule_id, duplicate_lead_id, attempt_number,"
           " next_retry_us, decision_id, reason, matched_rule_name from leadrouter.find_attempts($1, $2)",
    .param_count = 2,
    .param_types = {PG_UUID_ARRAY, PG_UUID_ARRAY}};

static const struct pg_statement statement_rules = {.name = "routing_rules",
    .sql = "select workspace_id, rules_version, routing_config, fallback_is_active, rule_id, rule_name, priority, "
           "conditions,"
           " destination_workspace_id, destination_is_active, created_us, set_name, set_value"
           " from leadrouter.load_rule_sets($1)",
    .param_count = 1,
    .param_types = {PG_UUID_ARRAY}};

/* Row number -> position in our arrays; -1 when the database gave a position that was not asked for (our bug). */
static size_t row_position(const struct pg_result *result, int row, size_t count)
{
    int32_t ord = pg_result_int4(result, row, 0);

    assert(ord >= 1 && (size_t)ord <= count);
    return (size_t)(ord - 1);
}

static const char *text_or_null(const struct pg_result *result, struct arena *arena, int row, int column)
{
    const char *text = pg_result_text(result, row, column);

    return text == NULL ? NULL : arena_copy_string(arena, text);
}

static const char *text_or_empty(const struct pg_result *result, struct arena *arena, int row, int column)
{
    return arena_copy_string(arena, pg_result_text(result, row, column));
}

static int64_t int8_or(const struct pg_result *result, int row, int column, int64_t otherwise)
{
    return pg_result_is_null(result, row, column) ? otherwise : pg_result_int8(result, row, column);
}

static int32_t int4_or_zero(const struct pg_result *result, int row, int column)
{
    return pg_result_is_null(result, row, column) ? 0 : pg_result_int4(result, row, column);
}

static bool bool_or_false(const struct pg_result *result, int row, int column)
{
    return !pg_result_is_null(result, row, column) && pg_result_bool(result, row, column);
}

static const char *const result_names[] = {
    [STORE_RESULT_SUCCESS] = "success",
    [STORE_RESULT_DUPLICATE] = "duplicate",
    [STORE_RESULT_RETRY] = "retry",
    [STORE_RESULT_FAILED] = "failed",
    [STORE_RESULT_EXPIRED] = "expired",
};

static const char *const error_class_names[] = {
    [STORE_ERROR_NONE] = NULL,
    [STORE_ERROR_UNMATCHED] = "unmatched",
    [STORE_ERROR_FALLBACK_INACTIVE] = "fallback_inactive",
    [STORE_ERROR_RULES_UNUSABLE] = "rules_unusable",
    [STORE_ERROR_DATABASE] = "database",
    [STORE_ERROR_INVALID_DATA] = "invalid_data",
};

const char *store_error_class_name(enum store_error_class class)
{
    return error_class_names[class];
}

static const char *const status_names[] = {
    [STORE_STATUS_PENDING] = "pending",
    [STORE_STATUS_ROUTING] = "routing",
    [STORE_STATUS_ROUTED] = "routed",
    [STORE_STATUS_FAILED] = "failed",
    [STORE_STATUS_EXPIRED] = "expired",
};

static enum store_result result_parse(const char *name)
{
    if (name != NULL)
        for (size_t i = STORE_RESULT_SUCCESS; i < sizeof(result_names) / sizeof(result_names[0]); i++)
            if (strcmp(name, result_names[i]) == 0)
                return (enum store_result)i;
    return STORE_RESULT_NONE;
}

static enum store_status status_parse(const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < sizeof(status_names) / sizeof(status_names[0]); i++)
        if (strcmp(name, status_names[i]) == 0)
            return (enum store_status)i;
    assert(!"a routing status that this build does not know");
    return STORE_STATUS_EXPIRED;
}

/* What the rules look at, of a lead that was locked. */
static void facts_row(const struct pg_result *result, struct arena *arena, int row, struct store_lead *lead)
{
    lead->facts.company_industry = text_or_null(result, arena, row, 20);
    lead->facts.company_size = text_or_null(result, arena, row, 21);
    lead->facts.company_revenue = text_or_null(result, arena, row, 22);
    lead->facts.country = text_or_null(result, arena, row, 23);
    lead->facts.state = text_or_null(result, arena, row, 24);
    lead->dedupe_hash = text_or_null(result, arena, row, 25);
    lead->lead_expires_us = int8_or(result, row, 26, INT64_MAX);
    lead->place = pg_result_tid(result, row, 28);
    lead->queue_place = pg_result_tid(result, row, 29);
}

static void lock_row(const struct pg_result *result, struct arena *arena, int row, struct store_lead *lead)
{
    lead->is_locked = pg_result_bool(result, row, 1);
    lead->is_found = pg_result_bool(result, row, 2);
    if (!lead->is_found)
        return;
    lead->status = status_parse(pg_result_text(result, row, 3));
    lead->is_expired = bool_or_false(result, row, 4);
    lead->workspace_id = pg_result_uuid(result, row, 5);
    lead->matched_rule_id = pg_result_uuid(result, row, 6);
    lead->matched_rule_name = text_or_empty(result, arena, row, 7);
    lead->reason = text_or_empty(result, arena, row, 8);
    lead->decision_id = pg_result_uuid(result, row, 9);
    lead->decided_outcome = result_parse(pg_result_text(result, row, 10));
    lead->duplicate_lead_id = pg_result_uuid(result, row, 11);
    lead->routing_attempts = int4_or_zero(result, row, 12);
    lead->has_queue_row = !pg_result_is_null(result, row, 13);
    lead->queue_attempt = int4_or_zero(result, row, 13);
    lead->queue_is_due = bool_or_false(result, row, 14);
    lead->next_retry_us = int8_or(result, row, 15, 0);
    lead->has_claim = !pg_result_is_null(result, row, 16);
    lead->claim_lead_id = pg_result_uuid(result, row, 16);
    lead->claim_workspace_id = pg_result_uuid(result, row, 17);
    lead->rules_version = int8_or(result, row, 18, 0);
    lead->source_is_active = bool_or_false(result, row, 19);
    if (lead->is_locked)
        facts_row(result, arena, row, lead);
}

static void lock_rows(const struct pg_result *result, struct arena *arena, struct store_lead *leads, size_t count,
    uint64_t *ret_transaction_id)
{
    *ret_transaction_id = 0;
    for (int row = 0; row < pg_result_row_count(result); row++) {
        lock_row(result, arena, row, &leads[row_position(result, row, count)]);
        *ret_transaction_id = (uint64_t)int8_or(result, row, 27, 0);
    }
}

/* The pairs as two arrays of equal length, the first parameters of several statements. */
static void add_pairs(struct pg_params *params, struct arena *arena, const struct store_lead *leads, size_t count)
{
    struct uuid *lead_ids = arena_alloc_array(arena, count, sizeof(*lead_ids));
    struct uuid *workspace_ids = arena_alloc_array(arena, count, sizeof(*workspace_ids));

    for (size_t i = 0; i < count; i++) {
        lead_ids[i] = leads[i].lead_id;
        workspace_ids[i] = leads[i].source_workspace_id;
    }
    pg_params_init(params, arena);
    pg_params_add_uuid_array(params, lead_ids, NULL, count);
    pg_params_add_uuid_array(params, workspace_ids, NULL, count);
}

/* A statement and what it is told. */
struct store_call {
    const struct pg_statement *statement; /* NULL: none */
    struct pg_params params;
};

/* BEGIN and the statements, in one round trip; the rows of the second one. */
static bool begin_and(struct pg_conn *conn, const struct store_call *first, const struct store_call *second,
    int64_t deadline_ns, struct pg_result **ret_rows, struct error *reterr_error)
{
    bool ok = false;

    pg_pipeline_add(conn, &statement_begin, NULL);
    if (first->statement != NULL)
        pg_pipeline_add(conn, first->statement, &first->params);
    pg_pipeline_add(conn, second->statement, &second->params);
    ok =
        pg_pipeline_flush(conn, deadline_ns, reterr_error) && pg_pipeline_next(conn, deadline_ns, NULL, reterr_error) &&
        (first->statement == NULL || pg_pipeline_next(conn, deadline_ns, NULL, reterr_error)) &&
        pg_pipeline_next(conn, deadline_ns, ret_rows, reterr_error) && pg_pipeline_end(conn, deadline_ns, reterr_error);
    if (!ok && pg_conn_is_open(conn))
        pg_pipeline_end(conn, deadline_ns, NULL);
    return ok;
}

static bool has_members(const struct store_lead *leads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!uuid_is_nil(&leads[i].member_id))
            return true;
    return false;
}

static void add_members(struct pg_params *params, struct arena *arena, const struct store_lead *leads, size_t count)
{
    struct uuid *ids = arena_alloc_array(arena, count, sizeof(*ids));
    bool *are_none = arena_alloc_array(arena, count, sizeof(*are_none));
    bool *are_admins = arena_alloc_array(arena, count, sizeof(*are_admins));

    for (size_t i = 0; i < count; i++) {
        ids[i] = leads[i].member_id;
        are_none[i] = uuid_is_nil(&leads[i].member_id);
        are_admins[i] = leads[i].member_is_admin;
    }
    pg_params_add_uuid_array(params, ids, are_none, count);
    pg_params_add_bool_array(params, are_admins, NULL, count);
}

bool store_lock(struct pg_conn *conn, struct arena *arena, struct store_lead *leads, size_t count, int64_t deadline_ns,
    uint64_t *ret_transaction_id, struct error *reterr_error)
{
    bool for_members = has_members(leads, count);
    struct store_call nothing = {0};
    struct store_call lock = {.statement = for_members ? &statement_lock_for_members : &statement_lock};
    struct pg_result *rows = NULL;
    bool ok = false;

    add_pairs(&lock.params, arena, leads, count);
    if (for_members)
        add_members(&lock.params, arena, leads, count);
    ok = begin_and(conn, &nothing, &lock, deadline_ns, &rows, reterr_error);
    if (ok)
        lock_rows(rows, arena, leads, count, ret_transaction_id);
    for (int row = 0; ok && for_members && row < pg_result_row_count(rows); row++)
        leads[row_position(rows, row, count)].membership = (enum store_membership)pg_result_int2(rows, row, 30);
    pg_result_free(rows);
    return ok;
}

/* The membership that retries by hand stand on. */
static struct store_call requirement(const struct store_due *due, struct arena *arena)
{
    struct store_call call = {0};

    if (uuid_is_nil(&due->member_id))
        return call;
    call.statement = &statement_require;
    pg_params_init(&call.params, arena);
    pg_params_add_uuid(&call.params, &due->member_id);
    pg_params_add_uuid(&call.params, &due->workspace_id);
    pg_params_add_bool(&call.params, due->member_is_admin);
    return call;
}

static void add_due(struct pg_params *params, struct arena *arena, const struct store_due *due)
{
    bool is_bounded = !uuid_is_nil(&due->after_workspace_id);

    pg_params_init(params, arena);
    pg_params_add_int4(params, (int32_t)due->limit);
    pg_params_add_uuid(params, uuid_is_nil(&due->workspace_id) ? NULL : &due->workspace_id);
    pg_params_add_bool(params, due->by_hand);
    pg_params_add_bool(params, due->is_outdated);
    if (due->from_us == 0)
        pg_params_add_null(params);
    else
        pg_params_add_int8(params, due->from_us);
    pg_params_add_uuid(params, is_bounded ? &due->after_workspace_id : NULL);
    pg_params_add_int8(params, due->after_version);
    pg_params_add_uuid(params, is_bounded ? &due->after_id : NULL);
    pg_params_add_bool(params, due->is_thorough);
}

bool store_lock_due(struct pg_conn *conn, struct arena *arena, struct store_due *due, int64_t deadline_ns,
    struct store_lead **ret_leads, size_t *ret_count, uint64_t *ret_transaction_id, struct error *reterr_error)
{
    struct store_call require = requirement(due, arena);
    struct store_call lock = {.statement = &statement_lock_due};
    struct pg_result *rows = NULL;
    bool ok = false;

    add_due(&lock.params, arena, due);
    ok = begin_and(conn, &require, &lock, deadline_ns, &rows, reterr_error);
    if (ok) {
        size_t count = (size_t)pg_result_row_count(rows);
        struct store_lead *leads = arena_alloc_array(arena, count, sizeof(*leads));
        for (int row = 0; row < (int)count; row++) {
            leads[row].lead_id = pg_result_uuid(rows, row, 30);
            leads[row].source_workspace_id = pg_result_uuid(rows, row, 31);
            leads[row].max_attempts = pg_result_int4(rows, row, 32);
        }
        lock_rows(rows, arena, leads, count, ret_transaction_id);
        if (count > 0) {
            int last = (int)count - 1;
            due->from_us = int8_or(rows, last, 15, 0);
            due->after_workspace_id = leads[last].source_workspace_id;
            due->after_id = pg_result_uuid(rows, last, 33);
            due->after_version = pg_result_int8(rows, last, 34);
        }
        *ret_leads = leads;
        *ret_count = count;
    }
    pg_result_free(rows);
    return ok;
}

bool store_next_due(struct pg_conn *conn, struct arena *arena, const struct uuid *workspace_id, int64_t deadline_ns,
    int64_t *ret_next_due_in_us, bool *ret_is_paused, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *rows = NULL;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, uuid_is_nil(workspace_id) ? NULL : workspace_id);
    if (!pg_execute(conn, &statement_next_due, &params, deadline_ns, &rows, reterr_error))
        return false;
    *ret_next_due_in_us = int8_or(rows, 0, 0, -1);
    *ret_is_paused = pg_result_bool(rows, 0, 1);
    pg_result_free(rows);
    return true;
}

bool store_postpone(struct pg_conn *conn, struct arena *arena, const struct uuid *lead_ids, const char *const *reasons,
    size_t count, int64_t deadline_ns, struct error *reterr_error)
{
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, lead_ids, NULL, count);
    pg_params_add_text_array(&params, reasons, count);
    return pg_execute(conn, &statement_postpone, &params, deadline_ns, NULL, reterr_error);
}

/* decide()'s parameters: one array per column, in the order of its signature. */
static void add_decisions(
    struct pg_params *params, struct arena *arena, const struct store_decision *decisions, size_t count)
{
    enum { UUID_COLUMNS = 7 };
    struct uuid *uuids[UUID_COLUMNS];
    bool *nulls[UUID_COLUMNS];
    int16_t *verdicts = arena_alloc_array(arena, count, sizeof(*verdicts));
    const char **rule_names = arena_alloc_array(arena, count, sizeof(*rule_names));
    int64_t *versions = arena_alloc_array(arena, count, sizeof(*versions));
    const char **reasons = arena_alloc_array(arena, count, sizeof(*reasons));
    const char **error_classes = arena_alloc_array(arena, count, sizeof(*error_classes));
    int32_t *max_attempts = arena_alloc_array(arena, count, sizeof(*max_attempts));
    bool *global_scopes = arena_alloc_array(arena, count, sizeof(*global_scopes));
    int32_t *dedupe_days = arena_alloc_array(arena, count, sizeof(*dedupe_days));
    const char **hashes = arena_alloc_array(arena, count, sizeof(*hashes));
    int64_t *expires_us = arena_alloc_array(arena, count, sizeof(*expires_us));
    const char **facts = arena_alloc_array(arena, count, sizeof(*facts));
    struct pg_tid *places = arena_alloc_array(arena, count, sizeof(*places));
    struct pg_tid *queue_places = arena_alloc_array(arena, count, sizeof(*queue_places));

    for (size_t column = 0; column < UUID_COLUMNS; column++) {
        uuids[column] = arena_alloc_array(arena, count, sizeof(struct uuid));
        nulls[column] = arena_alloc_array(arena, count, sizeof(bool));
    }
    for (size_t i = 0; i < count; i++) {
        const struct store_decision *decision = &decisions[i];
        const struct uuid *ids[UUID_COLUMNS] = {&decision->lead_id, &decision->source_workspace_id,
            &decision->lock_owner, &decision->destination_workspace_id, &decision->matched_rule_id,
            &decision->duplicate_lead_id, &decision->actor_id};
        for (size_t column = 0; column < UUID_COLUMNS; column++) {
            uuids[column][i] = *ids[column];
            nulls[column][i] = uuid_is_nil(ids[column]);
        }
        verdicts[i] = (int16_t)decision->verdict;
        rule_names[i] = decision->matched_rule_name;
        versions[i] = decision->rules_version;
        reasons[i] = decision->reason;
        error_classes[i] = error_class_names[decision->error_class];
        max_attempts[i] = decision->max_attempts;
        global_scopes[i] = decision->global_scope;
        dedupe_days[i] = decision->dedupe_days;
        hashes[i] = decision->dedupe_hash;
        expires_us[i] = decision->lead_expires_us;
        facts[i] = decision->facts_json;
        places[i] = decision->place;
        queue_places[i] = decision->queue_place;
    }
    pg_params_init(params, arena);
    pg_params_add_uuid_array(params, uuids[0], NULL, count);
    pg_params_add_uuid_array(params, uuids[1], NULL, count);
    pg_params_add_uuid_array(params, uuids[2], NULL, count);
    pg_params_add_int2_array(params, verdicts, NULL, count);
    pg_params_add_uuid_array(params, uuids[3], nulls[3], count);
    pg_params_add_uuid_array(params, uuids[4], nulls[4], count);
    pg_params_add_text_array(params, rule_names, count);
    pg_params_add_int8_array(params, versions, NULL, count);
    pg_params_add_uuid_array(params, uuids[5], nulls[5], count);
    pg_params_add_text_array(params, reasons, count);
    pg_params_add_text_array(params, error_classes, count);
    pg_params_add_int4_array(params, max_attempts, NULL, count);
    pg_params_add_uuid_array(params, uuids[6], nulls[6], count);
    pg_params_add_bool_array(params, global_scopes, NULL, count);
    pg_params_add_int4_array(params, dedupe_days, NULL, count);
    pg_params_add_text_array(params, hashes, count);
    pg_params_add_int8_array(params, expires_us, NULL, count);
    pg_params_add_text_array(params, facts, count);
    pg_params_add_tid_array(params, places, count);
    pg_params_add_tid_array(params, queue_places, count);
}

/* Rows of decide() or find_attempts(); returns how many there were. */
static size_t outcome_rows(const struct pg_result *result, struct arena *arena, struct store_outcome *outcomes,
    size_t count, bool with_rule_name)
{
    int row_count = pg_result_row_count(result);

    for (int row = 0; row < row_count; row++) {
        struct store_outcome *outcome = &outcomes[row_position(result, row, count)];
        outcome->result = result_parse(pg_result_text(result, row, 1));
        outcome->destination_workspace_id = pg_result_uuid(result, row, 2);
        outcome->matched_rule_id = pg_result_uuid(result, row, 3);
        outcome->duplicate_lead_id = pg_result_uuid(result, row, 4);
        outcome->attempt = int4_or_zero(result, row, 5);
        outcome->next_retry_us = int8_or(result, row, 6, 0);
        outcome->decision_id = pg_result_uuid(result, row, 7);
        outcome->reason = text_or_empty(result, arena, row, 8);
        outcome->matched_rule_name = with_rule_name ? text_or_empty(result, arena, row, 9) : NULL;
        outcome->holder_workspace_id = with_rule_name ? uuid_nil : pg_result_uuid(result, row, 9);
    }
    return (size_t)row_count;
}

bool store_decide(struct pg_conn *conn, struct arena *arena, const struct store_decision *decisions, size_t count,
    int64_t deadline_ns, struct store_outcome *ret_outcomes, bool *ret_sent, struct error *reterr_error)
{
    struct pg_params none;
    struct pg_params params;
    struct pg_result *decided = NULL;
    bool ok = false;

    *ret_sent = false;
    pg_params_init(&none, arena);
    add_decisions(&params, arena, decisions, count);
    pg_pipeline_add(conn, &statement_decide, &params);
    pg_pipeline_add(conn, &statement_commit, &none);
    *ret_sent = true;
    if (!pg_pipeline_flush(conn, deadline_ns, reterr_error) ||
        !pg_pipeline_next(conn, deadline_ns, &decided, reterr_error) ||
        !pg_pipeline_next(conn, deadline_ns, NULL, reterr_error))
        goto cleanup;
    /* The COMMIT is confirmed: a connection that breaks before the sync point costs nothing. */
    pg_pipeline_end(conn, deadline_ns, NULL);
    outcome_rows(decided, arena, ret_outcomes, count, false);
    ok = true;
cleanup:
    if (!ok && pg_conn_is_open(conn))
        pg_pipeline_end(conn, deadline_ns, NULL);
    pg_result_free(decided);
    return ok;
}

void store_rollback(struct pg_conn *conn, int64_t deadline_ns)
{
    if (pg_conn_is_open(conn) && !pg_execute(conn, &statement_rollback, NULL, deadline_ns, NULL, NULL))
        pg_conn_close(conn);
}

bool store_find_attempts(struct pg_conn *conn, struct arena *arena, const struct store_decision *decisions,
    size_t count, int64_t deadline_ns, struct store_outcome *ret_outcomes, size_t *ret_found,
    struct error *reterr_error)
{
    struct uuid *lead_ids = arena_alloc_array(arena, count, sizeof(*lead_ids));
    struct uuid *owners = arena_alloc_array(arena, count, sizeof(*owners));
    struct pg_params params;
    struct pg_result *found = NULL;

    for (size_t i = 0; i < count; i++) {
        lead_ids[i] = decisions[i].lead_id;
        owners[i] = decisions[i].lock_owner;
    }
    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, lead_ids, NULL, count);
    pg_params_add_uuid_array(&params, owners, NULL, count);
    if (!pg_execute(conn, &statement_find, &params, deadline_ns, &found, reterr_error))
        return false;
    *ret_found = outcome_rows(found, arena, ret_outcomes, count, true);
    pg_result_free(found);
    return true;
}

static struct rule_source rule_row(const struct pg_result *result, struct arena *arena, int row)
{
    return (struct rule_source){
        .id = pg_result_uuid(result, row, 4),
        .name = text_or_empty(result, arena, row, 5),
        .priority = int4_or_zero(result, row, 6),
        .conditions_json = text_or_empty(result, arena, row, 7),
        .destination_workspace_id = pg_result_uuid(result, row, 8),
        .destination_is_active = bool_or_false(result, row, 9),
        .created_at_us = int8_or(result, row, 10, 0),
    };
}

/* The rows of one workspace, which stand together: its rules, then the values of its sets, set by set. */
static void rules_rows(const struct pg_result *rows, struct arena *arena, int first, int end, struct store_rules *set)
{
    size_t count = (size_t)(end - first);
    const char **values = arena_alloc_array(arena, count, sizeof(*values));
    size_t value_count = 0;

    set->rules = arena_alloc_array(arena, count, sizeof(*set->rules));
    set->sets = arena_alloc_array(arena, count, sizeof(*set->sets));
    set->rules_version = int8_or(rows, first, 1, 0);
    set->routing_config = text_or_null(rows, arena, first, 2);
    set->fallback_is_active = bool_or_false(rows, first, 3);
    for (int row = first; row < end; row++) {
        const char *name = pg_result_text(rows, row, 11);
        if (!pg_result_is_null(rows, row, 4))
            set->rules[set->rule_count++] = rule_row(rows, arena, row);
        if (name == NULL)
            continue;
        if (set->set_count == 0 || strcmp(set->sets[set->set_count - 1].name, name) != 0)
            set->sets[set->set_count++] =
                (struct rule_named_set){.name = arena_copy_string(arena, name), .values = values + value_count};
        if (!pg_result_is_null(rows, row, 12)) {
            values[value_count++] = text_or_empty(rows, arena, row, 12);
            set->sets[set->set_count - 1].count++;
        }
    }
}

bool store_load_rules(struct pg_conn *conn, struct arena *arena, const struct uuid *workspace_ids, size_t count,
    int64_t deadline_ns, struct store_rules *ret_rules, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *rows = NULL;

    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, workspace_ids, NULL, count);
    if (!pg_execute(conn, &statement_rules, &params, deadline_ns, &rows, reterr_error))
        return false;
    int row_count = pg_result_row_count(rows);
    for (size_t i = 0; i < count; i++)
        ret_rules[i] = (struct store_rules){.workspace_id = workspace_ids[i], .rules_version = -1};
    for (int first = 0, end = 0; first < row_count; first = end) {
        struct uuid workspace_id = pg_result_uuid(rows, first, 0);
        struct uuid next = workspace_id;
        while (end < row_count && uuid_equal(&next, &workspace_id)) {
            end++;
            if (end < row_count)
                next = pg_result_uuid(rows, end, 0);
        }
        for (size_t i = 0; i < count; i++) {
            if (uuid_equal(&workspace_ids[i], &workspace_id))
                rules_rows(rows, arena, first, end, &ret_rules[i]);
        }
    }
    pg_result_free(rows);
    return true;
}

bool store_read_facts(struct pg_conn *conn, struct arena *arena, struct store_lead *const *leads, size_t count,
    int64_t deadline_ns, struct error *reterr_error)
{
    struct uuid *ids = arena_alloc_array(arena, count, sizeof(*ids));
    struct pg_params params;
    struct pg_result *rows = NULL;

    for (size_t i = 0; i < count; i++)
        ids[i] = leads[i]->lead_id;
    pg_params_init(&params, arena);
    pg_params_add_uuid_array(&params, ids, NULL, count);
    if (!pg_execute(conn, &statement_facts, &params, deadline_ns, &rows, reterr_error))
        return false;
    for (int row = 0; row < pg_result_row_count(rows); row++) {
        struct rule_lead *facts = &leads[row_position(rows, row, count)]->facts;
        const char **const texts[] = {&facts->email, &facts->phone, &facts->first_name, &facts->last_name,
            &facts->company_name, &facts->city, &facts->postal_code, &facts->source, &facts->external_id,
            &facts->attributes_json};
        for (size_t i = 0; i < COUNT_OF(texts); i++)
            *texts[i] = text_or_null(rows, arena, row, (int)i + 1);
        facts->created_at_us = int8_or(rows, row, 11, 0);
        facts->now_us = int8_or(rows, row, 12, 0);
    }
    pg_result_free(rows);
    return true;
}
