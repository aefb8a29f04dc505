#include "routing/retries.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "routing/decider.h"
#include "routing/lane.h"
#include "routing/measure.h"

enum { BOUND_MS = 60000 /* how long a claim's lower bound is believed */ };

/* From where on the next claim of a kind looks. */
struct claim_bound {
    struct store_due due;
    int64_t until_ns;
};

struct routing_retries {
    struct lane_shared *shared;
    struct decider decider;
    struct claim_bound bounds[2]; /* by kind; only for claims of all workspaces */
};

struct routing_retries *routing_retries_new(struct routing_engine *engine)
{
    struct routing_retries *retries = memory_new(sizeof(*retries));

    retries->shared = routing_engine_shared(engine);
    decider_init(&retries->decider, retries->shared->database, retries->shared->rules, retries->shared->metrics, NULL);
    return retries;
}

void routing_retries_free(struct routing_retries *retries)
{
    if (retries == NULL)
        return;
    decider_release(&retries->decider);
    free(retries);
}

static void count_answer(struct routing_retries_report *report, const struct batch_item *item)
{
    report->processed++;
    switch (item->answer.outcome) {
    case ROUTING_OUTCOME_ROUTED:
        report->routed++;
        break;
    case ROUTING_OUTCOME_DUPLICATE:
        report->duplicates++;
        break;
    case ROUTING_OUTCOME_QUEUED_FOR_RETRY:
        if (item->verdict == VERDICT_HOLD)
            report->held++;
        else
            report->requeued++;
        break;
    case ROUTING_OUTCOME_FAILED:
        report->failed++;
        break;
    case ROUTING_OUTCOME_EXPIRED:
        report->expired++;
        break;
    case ROUTING_OUTCOME_ALREADY_ROUTED: /* by somebody else, between our transactions */
    case ROUTING_OUTCOME_NONE:
        report->processed--;
        break;
    }
}

static void tell(const struct lane_shared *shared, const struct batch_item *item)
{
    const struct routing_finished finished = {.request = &item->entry->request, .answer = &item->answer};

    if (shared->observer != NULL)
        shared->observer(shared->observer_user, &finished);
}

static void report_items(struct routing_retries *retries, const struct batch_transaction *transaction,
    struct routing_retries_report *report, routing_retries_observer *observer, void *user)
{
    int64_t now_ns = clock_now_ns();

    report->claim_ns += transaction->claim_ns;
    for (size_t i = 0; i < transaction->item_count; i++) {
        const struct batch_item *item = transaction->items[i];
        if (item->is_held)
            continue; /* somebody else has it by now */
        tell(retries->shared, item);
        if (batch_item_is_attempt(item)) {
            statistics_add_attempt(retries->shared->statistics, now_ns, item->answer.outcome);
            measure_attempt(retries->shared->metrics, METRICS_ORIGIN_RETRY, item->answer.outcome);
        }
        if (item->answer.error.code == ERROR_NONE) {
            count_answer(report, item);
        } else if (item->answer.error.code != ERROR_NOT_FOUND) { /* removed meanwhile */
            report->processed++;
            report->errors++;
            if (observer != NULL)
                observer(user, &item->entry->request.lead_id, &item->answer.error);
        }
    }
}

/* True when a lead was left as it was by an error that is its own, or the database's as a whole: not when nothing is known of it, nor when
 * there was no time for it. */
static bool is_unrecorded(const struct batch_item *item)
{
    return !item->is_held && item->answer.error.code == ERROR_UNAVAILABLE;
}

/* Leads that could not be looked at stay due, but do not come up again at once: they would be tried for ever, each in transactions of its
 * own. When even that cannot be written down, the caller waits longer. */
static void postpone_unrecorded(struct routing_retries *retries, const struct batch_transaction *transaction)
{
    struct decider *decider = &retries->decider;
    struct uuid *lead_ids = arena_alloc_array(decider->arena, transaction->item_count, sizeof(*lead_ids));
    const char **reasons = arena_alloc_array(decider->arena, transaction->item_count, sizeof(*reasons));
    size_t count = 0;

    for (size_t i = 0; i < transaction->item_count; i++) {
        const struct batch_item *item = transaction->items[i];
        if (!is_unrecorded(item))
            continue;
        lead_ids[count] = item->entry->request.lead_id;
        reasons[count++] = item->answer.error.text;
    }
    if (count > 0 && pg_conn_is_open(decider->conn))
        store_postpone(
            decider->conn, decider->arena, lead_ids, reasons, count, clock_after_ms(DECIDER_TRANSACTION_MS), NULL);
}

static void set_order(struct routing_retries *retries, const struct routing_retries_order *order, struct store_due *due)
{
    size_t most = retries->shared->batch_leads_max;

    due->limit = order->limit == 0 || order->limit > most ? most : order->limit;
    due->workspace_id = order->workspace_id;
    due->member_id = order->member_id;
    due->member_is_admin = order->member_is_admin;
    due->by_hand = order->by_hand;
    due->is_outdated = order->kind == ROUTING_RETRIES_OUTDATED;
    due->is_thorough = order->is_thorough;
}

/* The start of the queue, or where the last claim ended: what lies before that has been done with by us, and may be dead rows that
 * cost time to walk over. What others gave up there is found when the bound is dropped, a minute later at most. */
static struct store_due claim_from(struct routing_retries *retries, const struct routing_retries_order *order)
{
    struct claim_bound *bound = &retries->bounds[order->kind];
    struct store_due due = {0};

    if (uuid_is_nil(&order->workspace_id) && bound->until_ns > clock_now_ns())
        due = bound->due;
    set_order(retries, order, &due);
    return due;
}

static void keep_bound(struct routing_retries *retries, const struct routing_retries_order *order,
    const struct store_due *due, bool is_short)
{
    struct claim_bound *bound = &retries->bounds[order->kind];

    if (!uuid_is_nil(&order->workspace_id))
        return;
    if (is_short)
        bound->until_ns = 0;
    else if (bound->until_ns <= clock_now_ns())
        bound->until_ns = clock_after_ms(BOUND_MS);
    bound->due = *due;
}

/* Callers who found one of these leads held look at it again at once: most get what was decided. */
static void let_go(struct routing_retries *retries, const struct batch_transaction *transaction)
{
    const struct routing_request **requests =
        arena_alloc_array(retries->decider.arena, transaction->item_count, sizeof(*requests));

    for (size_t i = 0; i < transaction->item_count; i++)
        requests[i] = &transaction->items[i]->entry->request;
    request_queue_let_go(retries->shared->queue, requests, transaction->item_count);
}

/* One claim and what follows from it. */
static bool claim(struct routing_retries *retries, const struct routing_retries_order *order, struct store_due *due,
    struct batch_transaction *transaction, struct error *reterr_error)
{
    struct decider *decider = &retries->decider;
    enum batch_result result = BATCH_DONE;

    *transaction = (struct batch_transaction){.conn = decider->conn,
        .rules = decider->rules,
        .metrics = decider->metrics,
        .arena = decider->arena,
        .deadline_ns = clock_after_ms(DECIDER_TRANSACTION_MS)};
    result = batch_run_due(transaction, due, order->deadline_ns);
    if (result != BATCH_DONE && transaction->item_count == 0) {
        *reterr_error = transaction->error;
        return false;
    }
    if (transaction->item_count > 0)
        decider_go_on(decider, transaction, result);
    postpone_unrecorded(retries, transaction);
    if (transaction->item_count > 0)
        let_go(retries, transaction);
    return true;
}

/* What was added to a report, to the metrics. */
static void measure_report(
    struct metrics *metrics, const struct routing_retries_report *before, const struct routing_retries_report *after)
{
    const unsigned counts[] = {
        [METRICS_RETRY_ROUTED] = after->routed - before->routed,
        [METRICS_RETRY_DUPLICATE] = after->duplicates - before->duplicates,
        [METRICS_RETRY_REQUEUED] = after->requeued - before->requeued,
        [METRICS_RETRY_FAILED] = after->failed - before->failed,
        [METRICS_RETRY_EXPIRED] = after->expired - before->expired,
        [METRICS_RETRY_HELD] = after->held - before->held,
        [METRICS_RETRY_ERROR] = after->errors - before->errors,
    };

    for (size_t i = 0; i < COUNT_OF(counts); i++)
        if (counts[i] > 0)
            metrics_add(metrics, METRIC_RETRIES_PROCESSED, i, 0, counts[i]);
}

bool routing_retries_run(struct routing_retries *retries, const struct routing_retries_order *order,
    struct routing_retries_report *report, routing_retries_observer *observer, void *user, struct error *reterr_error)
{
    struct decider *decider = &retries->decider;
    struct store_due due = claim_from(retries, order);
    bool is_from_start = due.from_us == 0 && uuid_is_nil(&due.after_workspace_id);
    struct batch_transaction transaction = {0};
    const struct routing_retries_report before = *report;
    size_t behind = 0; /* the bound, claimed first */
    bool ok = false;

    if (order->deadline_ns <= clock_now_ns())
        return error_set(reterr_error, ERROR_DEADLINE, "no time is left");
    if (!decider_connect(decider))
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the database is away");
    if (!claim(retries, order, &due, &transaction, reterr_error))
        goto cleanup;
    if (transaction.item_count < due.limit && !is_from_start) {
        /* What lies behind the bound: rows that others gave up, or that came late. */
        report_items(retries, &transaction, report, observer, user);
        behind = transaction.item_count;
        due = (struct store_due){0};
        set_order(retries, order, &due);
        due.limit -= behind;
        if (!claim(retries, order, &due, &transaction, reterr_error))
            goto cleanup;
    }
    report_items(retries, &transaction, report, observer, user);
    report->is_short = transaction.item_count < due.limit;
    keep_bound(retries, order, &due, report->is_short);
    report->is_paused = false;
    report->next_due_in_us = -1;
    ok = !report->is_short ||
         store_next_due(decider->conn, decider->arena, &order->workspace_id, clock_after_ms(DECIDER_TRANSACTION_MS),
             &report->next_due_in_us, &report->is_paused, reterr_error);
cleanup:
    measure_report(retries->shared->metrics, &before, report);
    arena_clear(decider->arena);
    return ok;
}
