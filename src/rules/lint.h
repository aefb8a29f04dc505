/* What can be said of rules before any lead comes: which can never take one, and which contradict each other (src/rules/README.md).
 * Sound: each finding is proven, or shown by a lead on which it was tried. What cannot be decided is said to be. Any thread. */
#ifndef RULES_LINT_H
#define RULES_LINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "rules/rules.h"

enum rule_finding_kind {
    RULE_FINDING_CONTRADICTION = 1, /* no lead meets its conditions */
    RULE_FINDING_SHADOWED,          /* every lead that meets them meets those of `other`, which is asked before */
    RULE_FINDING_OVERLAP, /* `witness` meets its conditions and those of `other`: one priority, another destination */
    RULE_FINDING_DESTINATION_INACTIVE, /* it is passed over */
    RULE_FINDING_UNDECIDED, /* no lead was found that meets its conditions, and no proof that there is none */
};

struct rule_finding {
    enum rule_finding_kind kind;
    const struct rule_source *rule;  /* of the source */
    const struct rule_source *other; /* of SHADOWED and OVERLAP */
    const char *witness; /* a lead that shows it, as a JSON object of columns; NULL for CONTRADICTION and UNDECIDED */
};

/* Examines the rules of a source; `*ret_findings` lie in `arena`, in match order of their rules, and borrow from the
 * source. Takes time with the square of the number of rules, most of it a few nanoseconds a pair. Errors: those of
 * rule_explain(). */
bool rule_lint(const struct rule_set_source *source, struct arena *arena, struct rule_finding **ret_findings,
    size_t *ret_count, struct error *reterr_error);

/* Looks for a lead that meets all of some conditions, by the policy of a source and its sets: NULL when none was found. As
 * a JSON object of columns, in `arena`. */
const char *rule_witness(
    const struct rule_set_source *source, const char *const *conditions_json, size_t count, struct arena *arena);

#endif
