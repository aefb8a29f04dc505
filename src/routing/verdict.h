/* From what was read about a lead to what is to be done with it: the product's rules of decision, without a
 * database in sight. */
#ifndef ROUTING_VERDICT_H
#define ROUTING_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "routing/engine.h"
#include "routing/store.h"
#include "rules/rules.h"

/* How a request goes on. */
enum verdict_step {
    VERDICT_STEP_ANSWER, /* the answer is known; nothing is written */
    VERDICT_STEP_WRITE,  /* a decision is to be written */
    VERDICT_STEP_HELD,   /* somebody holds the lead: ask again */
};

/* True when the lead's rules are needed to decide: what verdict_choose() then wants as `set`. */
bool verdict_needs_rules(const struct store_lead *lead, const struct routing_request *request);

/* Chooses. `set` is NULL when rules are not needed or cannot be used; then `rules_error` says why. `was_held` is
 * true when the lead was found held before: its answer is then the outcome of the attempt that was waited for. With
 * VERDICT_STEP_ANSWER `*ret_answer` is written (the caller has zeroed it); with VERDICT_STEP_WRITE the verdict's
 * part of `*ret_decision`; texts come from `arena`. Any thread. */
enum verdict_step verdict_choose(const struct store_lead *lead, const struct routing_request *request,
    const struct rule_set *set, const struct error *rules_error, bool was_held, struct arena *arena,
    struct store_decision *ret_decision, struct routing_answer *ret_answer);

/* Turns what decide() or the log says of an attempt into the answer. `rule_name` may be NULL. */
void verdict_answer_outcome(const struct store_outcome *outcome, const char *rule_name, const struct uuid *lead_id,
    struct routing_answer *ret_answer);

#endif
