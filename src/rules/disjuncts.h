/* Conditions as a choice of conjunctions of tests: what an index can take in. */
#ifndef RULES_DISJUNCTS_H
#define RULES_DISJUNCTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "rules/conditions.h"

enum { RULE_DISJUNCTS_MAX = 64 };

/* A test, or its opposite. */
struct rule_literal {
    const struct rule_test *test;
    bool is_negated;
};

/* Tests that hold together. */
struct rule_conjunction {
    const struct rule_literal *literals;
    size_t count;
    bool is_wider; /* something was left out: it holds for more leads than the conditions do */
};

/* At most RULE_DISJUNCTS_MAX of them; the conditions hold when one does (or, for one that is wider, may hold). None: never. */
struct rule_disjuncts {
    const struct rule_conjunction *items;
    size_t count;
};

/* Multiplies out `all` over `any`; where that gives too many, a part is left out. In the arena. */
struct rule_disjuncts rule_disjuncts_make(struct arena *arena, const struct rule_condition *condition);

#endif
