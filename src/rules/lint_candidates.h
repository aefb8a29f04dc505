/* Leads that meet two conjunctions of tests: looked for among all cases that matter. Part of lint.c. Any thread. */
#ifndef RULES_LINT_CANDIDATES_H
#define RULES_LINT_CANDIDATES_H

#include <stdbool.h>

#include "base/arena.h"
#include "rules/disjuncts.h"
#include "rules/facts.h"
#include "rules/rules.h"

/* What tests are evaluated with. Borrowed. */
struct lint_context {
    const struct rule_fields *fields;
    const struct rule_value_set *sets;
    const struct rule_policy *policy;
};

/* A lead; texts lie in the arena that it was found with. */
struct lint_witness {
    struct rule_lead lead;
};

enum lint_answer {
    LINT_FOUND,
    LINT_EMPTY,   /* proven: there is none */
    LINT_UNKNOWN, /* none was found */
};

/* Looks for a lead that meets all tests of both. The witness meets the tests; whether it meets the conditions that they were made of is the
 * caller's to try, for conjunctions that are wider. */
enum lint_answer lint_search(const struct lint_context *context, const struct rule_conjunction *left,
    const struct rule_conjunction *right, struct arena *arena, struct lint_witness *ret_witness);

/* True when two conjunctions ask for different values of one field: soon seen, and true of most pairs. */
bool lint_are_apart(const struct rule_conjunction *left, const struct rule_conjunction *right);

/* The columns that a witness has, as a JSON object, in the arena. */
const char *lint_witness_json(const struct lint_witness *witness, struct arena *arena);

#endif
