/* Whether conditions hold for a lead, by walking the tree: the meaning of the language, which the index only speeds up. Any thread. */
#ifndef RULES_EVALUATE_H
#define RULES_EVALUATE_H

#include <stdbool.h>

#include "rules/conditions.h"
#include "rules/facts.h"

/* How a test came out; everything but the first is false. */
enum rule_test_result {
    RULE_TEST_HOLDS,
    RULE_TEST_FAILS,
    RULE_TEST_MISSING,        /* the field is */
    RULE_TEST_OTHER_MISSING,  /* the field that it is compared with is */
    RULE_TEST_NOT_A_NUMBER,   /* one of the two is none */
    RULE_TEST_NOT_A_MOMENT,   /* one of the two is none */
    RULE_TEST_TOO_MANY_STEPS, /* a regular expression's */
};

/* One test. */
enum rule_test_result rule_test_evaluate(const struct rule_test *test, struct rule_facts *facts);

/* A tree; what does not matter any more is not looked at. */
bool rule_condition_holds(const struct rule_condition *condition, struct rule_facts *facts);

#endif
