#include "routing/measure.h"

#include <assert.h>

static void observe_phase(struct metrics *metrics, enum metrics_phase phase, int64_t from_ns, int64_t to_ns)
{
    if (from_ns != 0 && to_ns != 0)
        metrics_observe(metrics, METRIC_PHASE_TIME, phase, 0, to_ns - from_ns);
}

void measure_transaction(
    struct metrics *metrics, const struct batch_transaction *transaction, enum batch_result result, int64_t now_ns)
{
    const struct routing_phases *phases = &transaction->phases;
    size_t origin = transaction->items[0]->entry->request.is_unasked ? METRICS_ORIGIN_RETRY : METRICS_ORIGIN_CALL;

    metrics_observe(metrics, METRIC_BATCH_LEADS, origin, 0, (int64_t)transaction->item_count);
    metrics_observe(metrics, METRIC_TRANSACTION_TIME, origin, 0, now_ns - phases->began_ns);
    observe_phase(metrics, METRICS_PHASE_LOCK, phases->began_ns, phases->locked_ns);
    observe_phase(metrics, METRICS_PHASE_LOAD, phases->locked_ns, phases->loaded_ns);
    observe_phase(metrics, METRICS_PHASE_MATCH, phases->loaded_ns, phases->matched_ns);
    observe_phase(metrics, METRICS_PHASE_DECIDE, phases->matched_ns, phases->written_ns);
    if (result == BATCH_REPEAT)
        metrics_add(metrics, METRIC_TRANSACTION_REPEATS, 0, 0, 1);
    if (result == BATCH_UNKNOWN)
        metrics_add(metrics, METRIC_COMMITS_UNKNOWN, 0, 0, 1);
    if (result == BATCH_DONE)
        measure_decisions(metrics, transaction);
}

/* --- Decisions ---------------------------------------------------------------------------------------------------- */

struct counts {
    int64_t evaluations[METRICS_EVALUATION_UNUSABLE + 1];
    int64_t claims[METRICS_CLAIM_SEEN + 1];
};

/* A lead with a blank identity has nothing to claim. */
static void count_given(
    const struct store_decision *decision, const struct routing_answer *answer, struct counts *counts)
{
    counts->evaluations[uuid_is_nil(&decision->matched_rule_id) ? METRICS_EVALUATION_UNMATCHED
                                                                : METRICS_EVALUATION_MATCHED]++;
    if (decision->dedupe_hash != NULL)
        counts->claims[answer->outcome == ROUTING_OUTCOME_DUPLICATE ? METRICS_CLAIM_LOST : METRICS_CLAIM_WON]++;
}

static void count_failed(const struct store_decision *decision, struct counts *counts)
{
    switch (decision->error_class) {
    case STORE_ERROR_UNMATCHED:
    case STORE_ERROR_FALLBACK_INACTIVE:
        counts->evaluations[METRICS_EVALUATION_UNMATCHED]++;
        break;
    case STORE_ERROR_RULES_UNUSABLE:
        counts->evaluations[METRICS_EVALUATION_UNUSABLE]++;
        break;
    case STORE_ERROR_NONE:
    case STORE_ERROR_DATABASE:
    case STORE_ERROR_INVALID_DATA:
        break;
    }
}

static void count_decision(
    const struct store_decision *decision, const struct routing_answer *answer, struct counts *counts)
{
    switch (decision->verdict) {
    case VERDICT_GIVE:
        count_given(decision, answer, counts);
        break;
    case VERDICT_DUPLICATE:
        counts->claims[METRICS_CLAIM_SEEN]++;
        break;
    case VERDICT_FAIL:
        count_failed(decision, counts);
        break;
    case VERDICT_NONE:
    case VERDICT_EXPIRE:
    case VERDICT_HOLD:
        break;
    }
}

void measure_decisions(struct metrics *metrics, const struct batch_transaction *transaction)
{
    struct counts counts = {0};

    for (size_t i = 0; i < transaction->decision_count; i++) {
        const struct batch_item *item = transaction->decided[i];
        if (!item->is_held && item->answer.error.code == ERROR_NONE)
            count_decision(&transaction->decisions[i], &item->answer, &counts);
    }
    for (size_t i = 0; i <= METRICS_EVALUATION_UNUSABLE; i++)
        if (counts.evaluations[i] > 0)
            metrics_add(metrics, METRIC_RULES_MATCHED, i, 0, counts.evaluations[i]);
    for (size_t i = 0; i <= METRICS_CLAIM_SEEN; i++)
        if (counts.claims[i] > 0)
            metrics_add(metrics, METRIC_CLAIMS, i, 0, counts.claims[i]);
}

void measure_attempt(struct metrics *metrics, enum metrics_origin origin, enum routing_outcome outcome)
{
    static const enum metrics_outcome outcomes[] = {
        [ROUTING_OUTCOME_ROUTED] = METRICS_OUTCOME_ROUTED,
        [ROUTING_OUTCOME_DUPLICATE] = METRICS_OUTCOME_DUPLICATE,
        [ROUTING_OUTCOME_QUEUED_FOR_RETRY] = METRICS_OUTCOME_QUEUED_FOR_RETRY,
        [ROUTING_OUTCOME_FAILED] = METRICS_OUTCOME_FAILED,
        [ROUTING_OUTCOME_EXPIRED] = METRICS_OUTCOME_EXPIRED,
    };

    assert(outcome > ROUTING_OUTCOME_NONE && outcome <= ROUTING_OUTCOME_EXPIRED);
    assert(outcome != ROUTING_OUTCOME_ALREADY_ROUTED);
    metrics_add(metrics, METRIC_DECISIONS, outcomes[outcome], origin, 1);
    if (outcome == ROUTING_OUTCOME_QUEUED_FOR_RETRY)
        metrics_add(metrics, METRIC_RETRIES_OPENED, METRICS_OPENING_ATTEMPT, 0, 1);
    if (outcome == ROUTING_OUTCOME_EXPIRED)
        metrics_add(metrics, METRIC_EXPIRED, 0, 0, 1);
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static enum metrics_answer kind_of(const struct routing_answer *answer)
{
    switch (answer->error.code) {
    case ERROR_NONE:
        return answer->outcome == ROUTING_OUTCOME_ALREADY_ROUTED ? METRICS_ANSWER_ALREADY_DECIDED
                                                                 : METRICS_ANSWER_DECIDED;
    case ERROR_NOT_FOUND:
        return METRICS_ANSWER_NOT_FOUND;
    case ERROR_FORBIDDEN:
        return METRICS_ANSWER_FORBIDDEN;
    case ERROR_INVALID:
        return METRICS_ANSWER_INVALID;
    case ERROR_BUSY:
        return METRICS_ANSWER_BUSY;
    case ERROR_UNAVAILABLE:
        return METRICS_ANSWER_UNAVAILABLE;
    case ERROR_RESULT_UNKNOWN:
        return METRICS_ANSWER_RESULT_UNKNOWN;
    case ERROR_DEADLINE:
        return METRICS_ANSWER_DEADLINE;
    case ERROR_CANCELLED:
        return METRICS_ANSWER_CANCELLED;
    default:
        return METRICS_ANSWER_INTERNAL;
    }
}

void measure_answer(struct metrics *metrics, const struct routing_answer *answer, int64_t submitted_ns, int64_t now_ns)
{
    int64_t taken_ns = answer->phases.taken_ns;

    metrics_add(metrics, METRIC_ANSWERS, kind_of(answer), 0, 1);
    if (answer->error.code == ERROR_NONE)
        metrics_observe(metrics, METRIC_ROUTING_DURATION, 0, 0, now_ns - submitted_ns);
    if (answer->error.code == ERROR_BUSY)
        metrics_add(metrics, METRIC_LOCKS, METRICS_LOCK_TIMED_OUT, 0, 1);
    if (taken_ns != 0)
        metrics_observe(metrics, METRIC_QUEUE_WAIT, 0, 0, taken_ns - submitted_ns);
}
