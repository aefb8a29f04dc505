#include "rules/explain.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "rules/conditions.h"
#include "rules/evaluate.h"
#include "rules/facts.h"
#include "rules/value_sets.h"

enum { ACTUAL_SIZE_MAX = 512 };

/* What is known of a condition. */
enum truth { TRUTH_NO, TRUTH_YES, TRUTH_UNKNOWN };

struct explainer {
    struct arena *arena;
    struct rule_facts *facts;
    bool is_record;
    struct rule_failed_test *tests; /* of the rule at hand; room for RULE_TESTS_MAX */
    size_t test_count;
};

static bool is_unknown(const struct explainer *explainer, const struct rule_test *test)
{
    return explainer->is_record &&
           (rule_field_info(test->field.field)->is_contact ||
               (test->operand == RULE_OPERAND_FIELD && rule_field_info(test->other.field)->is_contact));
}

static enum truth truth_of(const struct explainer *explainer, const struct rule_condition *condition)
{
    bool is_all = condition->kind == RULE_CONDITION_ALL;
    enum truth truth = TRUTH_NO;

    switch (condition->kind) {
    case RULE_CONDITION_TEST:
        if (is_unknown(explainer, condition->test))
            return TRUTH_UNKNOWN;
        return rule_test_evaluate(condition->test, explainer->facts) == RULE_TEST_HOLDS ? TRUTH_YES : TRUTH_NO;
    case RULE_CONDITION_NOT:
        truth = truth_of(explainer, condition->items[0]);
        return truth == TRUTH_UNKNOWN ? truth : truth == TRUTH_YES ? TRUTH_NO : TRUTH_YES;
    case RULE_CONDITION_ALL:
    case RULE_CONDITION_ANY:
        break;
    }
    /* `all` is settled by one that does not hold, `any` by one that does; otherwise by whether all are known. */
    truth = is_all ? TRUTH_YES : TRUTH_NO;
    for (size_t i = 0; i < condition->count; i++) {
        enum truth item = truth_of(explainer, condition->items[i]);
        if (item == (is_all ? TRUTH_NO : TRUTH_YES))
            return item;
        if (item == TRUTH_UNKNOWN)
            truth = TRUTH_UNKNOWN;
    }
    return truth;
}

static enum rule_reason reason_of(enum rule_test_result result)
{
    switch (result) {
    case RULE_TEST_HOLDS:
        return RULE_REASON_HOLDS;
    case RULE_TEST_FAILS:
        return RULE_REASON_DIFFERS;
    case RULE_TEST_MISSING:
        return RULE_REASON_MISSING;
    case RULE_TEST_OTHER_MISSING:
        return RULE_REASON_OTHER_MISSING;
    case RULE_TEST_NOT_A_NUMBER:
        return RULE_REASON_NOT_A_NUMBER;
    case RULE_TEST_NOT_A_MOMENT:
        return RULE_REASON_NOT_A_MOMENT;
    case RULE_TEST_TOO_MANY_STEPS:
        return RULE_REASON_TOO_MANY_STEPS;
    }
    assert(false);
    return RULE_REASON_DIFFERS;
}

static void add_test(struct explainer *explainer, const struct rule_condition *condition)
{
    const struct rule_test *test = condition->test;
    struct rule_failed_test *failed = &explainer->tests[explainer->test_count++];
    struct rule_value actual = {"", 0};
    bool is_kept = !is_unknown(explainer, test);

    if (is_kept)
        (void)rule_facts_raw(explainer->facts, &test->field, &actual);
    *failed = (struct rule_failed_test){
        .path = condition->path,
        .field = test->field.attribute == NULL ? rule_field_info(test->field.field)->name
                                               : arena_format(explainer->arena, "attributes.%s", test->field.attribute),
        .op = rule_op_name(test->op),
        .expected = condition->expected != NULL ? condition->expected : "",
        .actual = arena_copy(explainer->arena, actual.text,
            actual.size <= ACTUAL_SIZE_MAX ? actual.size : utf8_cut(actual.text, ACTUAL_SIZE_MAX)),
        .reason = is_kept ? reason_of(rule_test_evaluate(test, explainer->facts)) : RULE_REASON_NOT_KEPT,
    };
}

/* The tests because of which a condition does not come out as `wanted`. */
static void blame(struct explainer *explainer, const struct rule_condition *condition, enum truth wanted)
{
    if (truth_of(explainer, condition) == wanted)
        return;
    switch (condition->kind) {
    case RULE_CONDITION_TEST:
        add_test(explainer, condition);
        return;
    case RULE_CONDITION_NOT:
        blame(explainer, condition->items[0], wanted == TRUTH_YES ? TRUTH_NO : TRUTH_YES);
        return;
    case RULE_CONDITION_ALL:
    case RULE_CONDITION_ANY:
        for (size_t i = 0; i < condition->count; i++)
            blame(explainer, condition->items[i], wanted);
    }
}

static void explain_rule(
    struct explainer *explainer, const struct rule_condition *condition, struct rule_explanation *explanation)
{
    struct rule_failed_test *tests = NULL;

    explainer->test_count = 0;
    switch (truth_of(explainer, condition)) {
    case TRUTH_YES:
        explanation->verdict =
            explanation->rule->destination_is_active ? RULE_VERDICT_MATCHED : RULE_VERDICT_DESTINATION_INACTIVE;
        return;
    case TRUTH_NO:
        explanation->verdict = RULE_VERDICT_NOT_MATCHED;
        break;
    case TRUTH_UNKNOWN:
        explanation->verdict = RULE_VERDICT_NOT_KEPT;
        break;
    }
    blame(explainer, condition, TRUTH_YES);
    tests = arena_alloc_array(explainer->arena, explainer->test_count, sizeof(*tests));
    if (explainer->test_count > 0)
        memcpy(tests, explainer->tests, explainer->test_count * sizeof(*tests));
    explanation->tests = tests;
    explanation->test_count = explainer->test_count;
}

static int compare_explanations(const void *left, const void *right)
{
    return rule_source_compare(
        ((const struct rule_explanation *)left)->rule, ((const struct rule_explanation *)right)->rule);
}

/* Reads the rules in match order, with their texts. */
static bool read_rules(const struct rule_set_source *source, struct rule_reader *reader,
    struct rule_explanation *explanations, const struct rule_condition **conditions, struct error *reterr_error)
{
    char id[UUID_TEXT_SIZE];

    for (size_t i = 0; i < source->rule_count; i++)
        explanations[i].rule = &source->rules[i];
    if (source->rule_count > 0)
        qsort(explanations, source->rule_count, sizeof(*explanations), compare_explanations);
    for (size_t i = 0; i < source->rule_count; i++) {
        const struct rule_source *rule = explanations[i].rule;
        if (!rule_conditions_parse(reader, rule->conditions_json, &conditions[i], reterr_error))
            return error_add_context(reterr_error, "rule %s", uuid_format(&rule->id, id));
    }
    return true;
}

bool rule_explain(const struct rule_set_source *source, const struct rule_lead *lead, bool is_record,
    struct arena *arena, struct rule_explanation **ret_explanations, struct error *reterr_error)
{
    struct rule_explanation *explanations = arena_alloc_array(arena, source->rule_count, sizeof(*explanations));
    const struct rule_condition **conditions = arena_alloc_array(arena, source->rule_count, sizeof(*conditions));
    struct rule_reader reader = {.arena = arena, .keeps_texts = true};
    struct explainer explainer = {.arena = arena, .is_record = is_record};
    struct rule_value_set *sets = NULL;
    struct rule_facts *facts = NULL;
    bool is_reached = true;
    bool ok = false;

    if (!read_rules(source, &reader, explanations, conditions, reterr_error) ||
        !rule_value_sets_make(arena, &reader, source->sets, source->set_count, &sets, reterr_error))
        goto cleanup;
    facts = arena_alloc(arena, sizeof(*facts));
    rule_facts_init(facts, &reader.fields, sets, lead, source->policy);
    explainer.facts = facts;
    explainer.tests = memory_new_array(RULE_TESTS_MAX, sizeof(*explainer.tests));
    for (size_t i = 0; i < source->rule_count; i++) {
        explain_rule(&explainer, conditions[i], &explanations[i]);
        explanations[i].is_reached = is_reached;
        is_reached = is_reached && explanations[i].verdict != RULE_VERDICT_MATCHED;
    }
    rule_facts_release(facts);
    free(explainer.tests);
    *ret_explanations = explanations;
    ok = true;
cleanup:
    rule_reader_release(&reader);
    return ok;
}
