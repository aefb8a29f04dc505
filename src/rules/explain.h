/* What each rule of a workspace does with a lead, and why: by the same trees that decide (src/rules/README.md). Nothing is compiled; takes
 * as long as asking every rule does. Any thread. */
#ifndef RULES_EXPLAIN_H
#define RULES_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "rules/rules.h"

/* Why a test keeps its rule from matching. */
enum rule_reason {
    RULE_REASON_DIFFERS = 1,
    RULE_REASON_MISSING,
    RULE_REASON_OTHER_MISSING,
    RULE_REASON_NOT_A_NUMBER,
    RULE_REASON_NOT_A_MOMENT,
    RULE_REASON_TOO_MANY_STEPS,
    RULE_REASON_HOLDS,    /* under a `not` */
    RULE_REASON_NOT_KEPT, /* of a lead that was made of a record */
};

struct rule_failed_test {
    const char *path;     /* "$.all[1]" */
    const char *field;    /* "attributes.score" */
    const char *op;       /* "gte" */
    const char *expected; /* JSON; "" for operators without a value */
    const char *actual;   /* UTF-8; "" when it is missing or not kept */
    enum rule_reason reason;
};

enum rule_verdict {
    RULE_VERDICT_MATCHED = 1,
    RULE_VERDICT_NOT_MATCHED,
    RULE_VERDICT_DESTINATION_INACTIVE, /* matched, but passed over */
    RULE_VERDICT_INACTIVE,             /* switched off; the caller's to say (struct rule_source has no such rules) */
    RULE_VERDICT_NOT_KEPT,             /* depends on what is not kept */
};

struct rule_explanation {
    const struct rule_source *rule; /* of the source */
    enum rule_verdict verdict;
    bool is_reached; /* no rule before it takes the lead */
    const struct rule_failed_test *tests;
    size_t test_count;
};

/* Explains every rule, in match order; `*ret_explanations` are as many as the source has rules, in `arena`, and borrow from the source.
 * `is_record`: the lead was made by rule_record_read(), so fields that say who it is are not known. Errors: ERROR_INVALID that names
 * the rule whose conditions are bad, or the set that is not there. */
bool rule_explain(const struct rule_set_source *source, const struct rule_lead *lead, bool is_record,
    struct arena *arena, struct rule_explanation **ret_explanations, struct error *reterr_error);

#endif
