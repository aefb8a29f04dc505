#include "routing/batch.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "routing/verdict.h"

/* --- Rules ------------------------------------------------------------------------------------------------------- */

/* The rule set an item is decided by. */
struct item_rules {
    bool needed;
    bool known;           /* `set` and `error` are final */
    struct rule_set *set; /* a reference, or NULL */
    struct error error;
};

/* Takes from the cache what has the version that was read under the lock; gives the workspaces that have to be
 * loaded, each once. */
static size_t rules_from_cache(struct batch_transaction *transaction, const struct store_lead *leads,
    struct item_rules *rules, struct uuid *ret_missing)
{
    size_t missing_count = 0;

    for (size_t i = 0; i < transaction->item_count; i++) {
        const struct store_lead *lead = &leads[i];
        size_t seen = 0;
        rules[i].needed = verdict_needs_rules(lead, &transaction->items[i]->entry->request);
        if (!rules[i].needed)
            continue;
        rules[i].known = rule_cache_get(
            transaction->rules, &lead->source_workspace_id, lead->rules_version, &rules[i].set, &rules[i].error);
        if (rules[i].known)
            continue;
        while (seen < missing_count && !uuid_equal(&ret_missing[seen], &lead->source_workspace_id))
            seen++;
        if (seen == missing_count)
            ret_missing[missing_count++] = lead->source_workspace_id;
    }
    return missing_count;
}

/* Loads and compiles what was missing: rules and version by one statement, so they belong together. They may be
 * newer than what was read under the lock; never older. */
static bool rules_load(struct batch_transaction *transaction, const struct store_lead *leads, struct item_rules *rules,
    const struct uuid *missing, size_t missing_count)
{
    struct store_rules *loaded = arena_alloc_array(transaction->arena, missing_count, sizeof(*loaded));

    if (!store_load_rules(transaction->conn, transaction->arena, missing, missing_count, transaction->deadline_ns,
            loaded, &transaction->error))
        return false;
    for (size_t m = 0; m < missing_count; m++) {
        struct item_rules fresh = {0};
        int64_t began_ns = clock_now_ns();
        rule_cache_put(transaction->rules, &loaded[m], &fresh.set, &fresh.error);
        metrics_observe(transaction->metrics, METRIC_RULES_COMPILATION, 0, 0, clock_now_ns() - began_ns);
        for (size_t i = 0; i < transaction->item_count; i++) {
            if (!rules[i].needed || rules[i].known || !uuid_equal(&leads[i].source_workspace_id, &missing[m]))
                continue;
            rules[i].known = true;
            rules[i].error = fresh.error;
            rules[i].set = fresh.set == NULL ? NULL : rule_set_ref(fresh.set);
        }
        rule_set_unref(fresh.set);
    }
    return true;
}

static bool rules_get(struct batch_transaction *transaction, const struct store_lead *leads, struct item_rules *rules)
{
    struct uuid *missing = arena_alloc_array(transaction->arena, transaction->item_count, sizeof(*missing));
    size_t missing_count = rules_from_cache(transaction, leads, rules, missing);

    return missing_count == 0 || rules_load(transaction, leads, rules, missing, missing_count);
}

/* Reads what the rules of some leads ask for beyond what came with the lock: another round trip, for those that need it. */
static bool facts_read(struct batch_transaction *transaction, struct store_lead *leads, const struct item_rules *rules)
{
    struct store_lead **wanted = arena_alloc_array(transaction->arena, transaction->item_count, sizeof(*wanted));
    size_t count = 0;

    for (size_t i = 0; i < transaction->item_count; i++) {
        struct rule_needs needs = {0};
        if (rules[i].set != NULL)
            needs = rule_set_needs(rules[i].set);
        if (needs.columns || needs.attributes)
            wanted[count++] = &leads[i];
    }
    return count == 0 || store_read_facts(transaction->conn, transaction->arena, wanted, count,
                             transaction->deadline_ns, &transaction->error);
}

static void rules_release(struct item_rules *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rule_set_unref(rules[i].set);
}

/* --- The transaction
 * ------------------------------------------------------------------------------------------------- */

/* What a failed statement means for the transaction; rolls back where there is something to roll back. */
static enum batch_result failed(struct batch_transaction *transaction, bool commit_was_sent)
{
    if (!pg_conn_is_open(transaction->conn))
        return commit_was_sent ? BATCH_UNKNOWN : BATCH_LOST;
    store_rollback(transaction->conn, transaction->deadline_ns);
    return error_is_transaction_retryable(&transaction->error) ? BATCH_REPEAT : BATCH_BROKEN;
}

static void settle_with_answer(struct batch_item *item, const struct routing_answer *answer)
{
    item->answer = *answer;
    item->is_settled = true;
}

static void settle_as_held(struct batch_item *item)
{
    item->is_held = true;
    item->is_settled = true;
}

/* Round trip 1. `*ret_leads` gets one row per item. */
static bool lock_and_read(struct batch_transaction *transaction, struct store_lead **ret_leads)
{
    struct store_lead *leads = arena_alloc_array(transaction->arena, transaction->item_count, sizeof(*leads));

    for (size_t i = 0; i < transaction->item_count; i++) {
        leads[i].lead_id = transaction->items[i]->entry->request.lead_id;
        leads[i].source_workspace_id = transaction->items[i]->entry->request.source_workspace_id;
        leads[i].member_id = transaction->items[i]->entry->request.member_id;
        leads[i].member_is_admin = transaction->items[i]->entry->request.member_is_admin;
    }
    *ret_leads = leads;
    transaction->phases.began_ns = clock_now_ns();
    if (!store_lock(transaction->conn, transaction->arena, leads, transaction->item_count, transaction->deadline_ns,
            &transaction->transaction_id, &transaction->error))
        return false;
    transaction->phases.locked_ns = clock_now_ns();
    return true;
}

/* Settles what needs no writing and collects the decisions of the rest. */
static void choose(
    struct batch_transaction *transaction, const struct store_lead *leads, const struct item_rules *rules)
{
    struct arena *arena = transaction->arena;

    transaction->decision_count = 0;
    transaction->decisions = arena_alloc_array(arena, transaction->item_count, sizeof(*transaction->decisions));
    transaction->decided = arena_alloc_array(arena, transaction->item_count, sizeof(*transaction->decided));
    for (size_t i = 0; i < transaction->item_count; i++) {
        struct batch_item *item = transaction->items[i];
        struct store_decision *decision = &transaction->decisions[transaction->decision_count];
        struct routing_answer *answer = &item->answer;
        item->verdict = VERDICT_NONE;
        *answer = (struct routing_answer){0};
        *decision = (struct store_decision){0};
        switch (verdict_choose(&leads[i], &item->entry->request, rules[i].set, &rules[i].error,
            item->entry->held_count > 0, arena, decision, answer)) {
        case VERDICT_STEP_ANSWER:
            item->is_settled = true;
            break;
        case VERDICT_STEP_HELD:
            settle_as_held(item);
            break;
        case VERDICT_STEP_WRITE:
            decision->lock_owner = uuid_random();
            item->verdict = decision->verdict;
            transaction->decided[transaction->decision_count++] = item;
            break;
        }
    }
}

/* Gives the items what is known about the transaction that settled them. */
static void stamp_items(struct batch_transaction *transaction)
{
    transaction->phases.leads = transaction->item_count;
    for (size_t i = 0; i < transaction->item_count; i++)
        if (transaction->items[i]->is_settled)
            transaction->items[i]->answer.phases = transaction->phases;
}

static void settle_outcomes(struct batch_transaction *transaction, const struct store_outcome *outcomes)
{
    for (size_t i = 0; i < transaction->decision_count; i++) {
        struct batch_item *item = transaction->decided[i];
        const struct store_decision *decision = &transaction->decisions[i];
        struct routing_answer answer = {0};
        if (outcomes[i].result == STORE_RESULT_NONE) {
            settle_as_held(item); /* it changed under somebody's hands: look again */
            continue;
        }
        verdict_answer_outcome(&outcomes[i], decision->matched_rule_name, &decision->lead_id, &answer);
        answer.duplicate_workspace_id = uuid_is_nil(&outcomes[i].holder_workspace_id) ? decision->duplicate_workspace_id
                                                                                      : outcomes[i].holder_workspace_id;
        answer.error_class = store_error_class_name(decision->error_class);
        settle_with_answer(item, &answer);
    }
}

bool batch_item_is_attempt(const struct batch_item *item)
{
    return item->answer.error.code == ERROR_NONE && item->verdict != VERDICT_NONE && item->verdict != VERDICT_HOLD;
}

/* Round trip 2. */
static enum batch_result decide(struct batch_transaction *transaction)
{
    struct store_outcome *outcomes =
        arena_alloc_array(transaction->arena, transaction->decision_count, sizeof(*outcomes));
    bool sent = false;

    if (transaction->decision_count == 0) {
        store_rollback(transaction->conn, transaction->deadline_ns);
        return BATCH_DONE;
    }
    if (!store_decide(transaction->conn, transaction->arena, transaction->decisions, transaction->decision_count,
            transaction->deadline_ns, outcomes, &sent, &transaction->error))
        return failed(transaction, sent);
    transaction->phases.written_ns = clock_now_ns();
    settle_outcomes(transaction, outcomes);
    return BATCH_DONE;
}

/* From leads that were locked and read to the COMMIT. */
static enum batch_result choose_and_decide(struct batch_transaction *transaction, struct store_lead *leads)
{
    struct item_rules *rules = arena_alloc_array(transaction->arena, transaction->item_count, sizeof(*rules));
    enum batch_result result = BATCH_DONE;

    if (!rules_get(transaction, leads, rules) || !facts_read(transaction, leads, rules)) {
        result = failed(transaction, false);
        goto cleanup;
    }
    transaction->phases.loaded_ns = clock_now_ns();
    choose(transaction, leads, rules);
    transaction->phases.matched_ns = clock_now_ns();
    result = decide(transaction);
    stamp_items(transaction);
cleanup:
    rules_release(rules, transaction->item_count);
    return result;
}

enum batch_result batch_run(struct batch_transaction *transaction)
{
    struct store_lead *leads = NULL;

    assert(transaction->item_count > 0);
    return lock_and_read(transaction, &leads) ? choose_and_decide(transaction, leads) : failed(transaction, false);
}

/* Items for leads that nobody has asked for. */
static void make_items(struct batch_transaction *transaction, const struct store_due *due,
    const struct store_lead *leads, size_t count, int64_t items_deadline_ns)
{
    struct batch_item *items = arena_alloc_array(transaction->arena, count, sizeof(*items));
    struct request_entry *entries = arena_alloc_array(transaction->arena, count, sizeof(*entries));

    transaction->items = arena_alloc_array(transaction->arena, count, sizeof(struct batch_item *));
    transaction->item_count = count;
    for (size_t i = 0; i < count; i++) {
        int32_t max_attempts = leads[i].max_attempts;
        entries[i].request = (struct routing_request){
            .lead_id = leads[i].lead_id,
            .source_workspace_id = leads[i].source_workspace_id,
            .member_id = due->member_id,
            .member_is_admin = due->member_is_admin,
            .max_attempts = max_attempts,
            .is_unasked = true,
            .deadline_ns = items_deadline_ns,
        };
        atomic_init(&entries[i].deadline_ns, items_deadline_ns);
        items[i].entry = &entries[i];
        transaction->items[i] = &items[i];
    }
}

enum batch_result batch_run_due(struct batch_transaction *transaction, struct store_due *due, int64_t items_deadline_ns)
{
    struct store_lead *leads = NULL;
    size_t count = 0;

    transaction->item_count = 0;
    transaction->phases.began_ns = clock_now_ns();
    if (!store_lock_due(transaction->conn, transaction->arena, due, transaction->deadline_ns, &leads, &count,
            &transaction->transaction_id, &transaction->error))
        return failed(transaction, false);
    transaction->phases.locked_ns = clock_now_ns();
    transaction->claim_ns = transaction->phases.locked_ns - transaction->phases.began_ns;
    make_items(transaction, due, leads, count, items_deadline_ns);
    if (count == 0)
        store_rollback(transaction->conn, transaction->deadline_ns);
    return count == 0 ? BATCH_DONE : choose_and_decide(transaction, leads);
}

/* Invalid data stays invalid: SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation),
 * PostgreSQL manual, appendix A. */
static bool is_hopeless(const struct error *cause)
{
    return strncmp(cause->sqlstate, "22", 2) == 0 || strncmp(cause->sqlstate, "23", 2) == 0;
}

enum batch_result batch_record_failure(struct batch_transaction *transaction, const struct error *cause)
{
    struct batch_item *item = transaction->items[0];
    struct item_rules no_rules = {.error = *cause};
    struct store_lead *leads = NULL;
    enum batch_result result = BATCH_DONE;

    assert(transaction->item_count == 1);
    transaction->phases = (struct routing_phases){0};
    if (!lock_and_read(transaction, &leads))
        return failed(transaction, false);
    choose(transaction, leads, &no_rules);
    if (transaction->decision_count == 1) {
        struct store_decision *decision = &transaction->decisions[0];
        if (decision->verdict == VERDICT_FAIL) {
            decision->error_class = is_hopeless(cause) ? STORE_ERROR_INVALID_DATA : STORE_ERROR_DATABASE;
            decision->reason = arena_format(transaction->arena, "could not be routed (SQLSTATE %s)", cause->sqlstate);
        }
        assert(transaction->decided[0] == item);
    }
    result = decide(transaction);
    stamp_items(transaction);
    if (item->is_settled && batch_item_is_attempt(item))
        memcpy(item->answer.sqlstate, cause->sqlstate, sizeof(item->answer.sqlstate));
    return result;
}

/* --- After a COMMIT whose answer did not come
 * -------------------------------------------------------------------------- */

static bool find_attempts(struct batch_transaction *transaction, struct store_outcome *outcomes, size_t *ret_found)
{
    return store_find_attempts(transaction->conn, transaction->arena, transaction->decisions,
        transaction->decision_count, transaction->deadline_ns, outcomes, ret_found, &transaction->error);
}

/* Every outcome writes a log row, so a row proves the COMMIT. No row proves nothing until the transaction is known
 * to have ended. */
enum batch_result batch_look_up(struct batch_transaction *transaction)
{
    struct store_outcome *outcomes =
        arena_alloc_array(transaction->arena, transaction->decision_count, sizeof(*outcomes));
    enum pg_transaction_status status = PG_TRANSACTION_IN_PROGRESS;
    size_t found = 0;

    assert(transaction->decision_count > 0 && transaction->transaction_id != 0);
    if (!pg_transaction_status(
            transaction->conn, transaction->transaction_id, transaction->deadline_ns, &status, &transaction->error)) {
        /* After a crash the server may not have got that far again: the id "is in the future", so it never
         * committed. */
        if (strcmp(transaction->error.sqlstate, "22023") != 0)
            return BATCH_UNKNOWN;
        status = PG_TRANSACTION_FORGOTTEN;
    }
    if (!find_attempts(transaction, outcomes, &found))
        return BATCH_UNKNOWN;
    if (found > 0) {
        settle_outcomes(transaction, outcomes);
        stamp_items(transaction);
        return BATCH_DONE;
    }
    if (status == PG_TRANSACTION_ABORTED || status == PG_TRANSACTION_FORGOTTEN)
        return BATCH_LOST;
    error_set(&transaction->error, ERROR_RESULT_UNKNOWN, "the transaction is still %s",
        status == PG_TRANSACTION_COMMITTED ? "said to be committed without a row in the log" : "in progress");
    return BATCH_UNKNOWN;
}
