#include "rules/evaluate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "rules/places.h"
#include "rules/values.h"

enum { PHONE_DIGITS_MIN = 7, PHONE_DIGITS_MAX = 15 };

static enum rule_test_result result_of(bool holds)
{
    return holds ? RULE_TEST_HOLDS : RULE_TEST_FAILS;
}

/* Whether the order of two values (below, at, above zero) is what the operator asks for. */
static bool order_holds(enum rule_op op, int order)
{
    switch (op) {
    case RULE_OP_EQ:
        return order == 0;
    case RULE_OP_NE:
        return order != 0;
    case RULE_OP_GT:
    case RULE_OP_AFTER:
        return order > 0;
    case RULE_OP_GTE:
        return order >= 0;
    case RULE_OP_LT:
    case RULE_OP_BEFORE:
        return order < 0;
    case RULE_OP_LTE:
        return order <= 0;
    default:
        assert(false);
        return false;
    }
}

static bool is_among(const struct rule_value *value, const struct rule_value *values, size_t count)
{
    return count > 0 && bsearch(value, values, count, sizeof(*values), rule_value_order) != NULL;
}

static bool has_domain(const struct rule_value *email, const struct rule_test *test)
{
    struct rule_value domain = {0};

    return rule_email_domain(email->text, email->size, &domain) && is_among(&domain, test->values, test->count);
}

static bool has_prefix(const struct rule_value *code, const struct rule_test *test)
{
    for (size_t i = 0; i < test->count; i++) {
        if (rule_value_starts_with(code, &test->values[i]))
            return true;
    }
    return false;
}

static bool text_holds(const struct rule_test *test, const struct rule_value *value)
{
    const struct rule_value *first = test->values;

    switch (test->op) {
    case RULE_OP_IN:
        return is_among(value, test->values, test->count);
    case RULE_OP_NOT_IN:
        return !is_among(value, test->values, test->count);
    case RULE_OP_BETWEEN:
        return rule_value_compare(value, &first[0]) >= 0 && rule_value_compare(value, &first[1]) <= 0;
    case RULE_OP_NOT_BETWEEN:
        return rule_value_compare(value, &first[0]) < 0 || rule_value_compare(value, &first[1]) > 0;
    case RULE_OP_CONTAINS:
        return rule_value_contains(value, first);
    case RULE_OP_NOT_CONTAINS:
        return !rule_value_contains(value, first);
    case RULE_OP_STARTS_WITH:
        return rule_value_starts_with(value, first);
    case RULE_OP_ENDS_WITH:
        return rule_value_ends_with(value, first);
    case RULE_OP_WILDCARD:
        return rule_value_is_like(value, first);
    case RULE_OP_EMAIL_DOMAIN_IN:
        return has_domain(value, test);
    case RULE_OP_POSTAL_PREFIX_IN:
        return has_prefix(value, test);
    default:
        return order_holds(test->op, rule_value_compare(value, first));
    }
}

static enum rule_test_result evaluate_texts(const struct rule_test *test, struct rule_facts *facts)
{
    struct rule_value value = {0};

    if (!rule_facts_text(facts, &test->field, test->form, &value))
        return RULE_TEST_MISSING;
    return result_of(text_holds(test, &value));
}

static bool number_holds(const struct rule_test *test, double number)
{
    const double *first = test->numbers;
    bool is_among_them = false;

    switch (test->op) {
    case RULE_OP_IN:
    case RULE_OP_NOT_IN:
        is_among_them = bsearch(&number, first, test->count, sizeof(*first), rule_number_order) != NULL;
        return is_among_them == (test->op == RULE_OP_IN);
    case RULE_OP_BETWEEN:
        return number >= first[0] && number <= first[1];
    case RULE_OP_NOT_BETWEEN:
        return number < first[0] || number > first[1];
    default:
        return order_holds(test->op, rule_number_order(&number, first));
    }
}

static enum rule_test_result evaluate_numbers(const struct rule_test *test, struct rule_facts *facts)
{
    double number = 0;

    if (!rule_facts_is_present(facts, &test->field))
        return RULE_TEST_MISSING;
    if (!rule_facts_number(facts, &test->field, &number))
        return RULE_TEST_NOT_A_NUMBER;
    return result_of(number_holds(test, number));
}

static enum rule_test_result compare_moments(enum rule_op op, int64_t left, int64_t right)
{
    return result_of(order_holds(op, (left > right) - (left < right)));
}

/* Two fields of the lead; both are there. */
static enum rule_test_result compare_fields(const struct rule_test *test, struct rule_facts *facts)
{
    bool are_places = rule_field_is_place(test->field.field) || rule_field_is_place(test->other.field);
    bool is_equality = test->op == RULE_OP_EQ || test->op == RULE_OP_NE;
    struct rule_test texts = *test;
    struct rule_value left = {0};
    struct rule_value right = {0};
    double numbers[2] = {0};
    int64_t moments[2] = {0};

    switch (test->op) {
    case RULE_OP_BEFORE:
    case RULE_OP_AFTER:
        if (!rule_facts_moment(facts, &test->field, &moments[0]) ||
            !rule_facts_moment(facts, &test->other, &moments[1]))
            return RULE_TEST_NOT_A_MOMENT;
        return compare_moments(test->op, moments[0], moments[1]);
    case RULE_OP_GT:
    case RULE_OP_GTE:
    case RULE_OP_LT:
    case RULE_OP_LTE:
        if (!rule_facts_number(facts, &test->field, &numbers[0]) ||
            !rule_facts_number(facts, &test->other, &numbers[1]))
            return RULE_TEST_NOT_A_NUMBER;
        return result_of(order_holds(test->op, rule_number_order(&numbers[0], &numbers[1])));
    default:
        break;
    }
    /* A field that is no place is made one by the table of the other: attributes.shipping_state against state. */
    if (are_places && is_equality)
        return result_of(rule_facts_are_same_place(facts, &test->field, &test->other) == (test->op == RULE_OP_EQ));
    rule_facts_text(facts, &test->field, test->form, &left);
    rule_facts_text(facts, &test->other, test->form, &right);
    texts.values = &right;
    texts.count = 1;
    return result_of(text_holds(&texts, &left));
}

static enum rule_test_result evaluate_field(const struct rule_test *test, struct rule_facts *facts)
{
    if (!rule_facts_is_present(facts, &test->field))
        return RULE_TEST_MISSING;
    if (!rule_facts_is_present(facts, &test->other))
        return RULE_TEST_OTHER_MISSING;
    return compare_fields(test, facts);
}

static enum rule_test_result evaluate_moment(const struct rule_test *test, struct rule_facts *facts)
{
    int64_t moment = 0;

    if (!rule_facts_is_present(facts, &test->field))
        return RULE_TEST_MISSING;
    if (!rule_facts_moment(facts, &test->field, &moment))
        return RULE_TEST_NOT_A_MOMENT;
    if (test->operand == RULE_OPERAND_SPAN)
        return result_of(moment <= facts->lead->now_us && moment >= facts->lead->now_us - test->span_us);
    return compare_moments(test->op, moment, test->moment_us);
}

static enum rule_test_result evaluate_circle(const struct rule_test *test, struct rule_facts *facts)
{
    double latitude = 0;
    double longitude = 0;

    if (!rule_facts_location(facts, &latitude, &longitude))
        return RULE_TEST_MISSING;
    return result_of(
        rule_distance_km(test->circle.latitude, test->circle.longitude, latitude, longitude) <= test->circle.km);
}

static enum rule_test_result evaluate_set(const struct rule_test *test, struct rule_facts *facts)
{
    struct rule_value value = {0};

    if (!rule_facts_text(facts, &test->field, test->form, &value))
        return RULE_TEST_MISSING;
    return result_of(rule_facts_is_in_set(facts, test->set_number, &value) == (test->op == RULE_OP_IN_SET));
}

static enum rule_test_result evaluate_pattern(const struct rule_test *test, struct rule_facts *facts)
{
    struct rule_value value = {0};

    if (!rule_facts_text(facts, &test->field, RULE_FORM_EXACT, &value))
        return RULE_TEST_MISSING;
    switch (rule_pattern_search(test->pattern, value.text, value.size)) {
    case RULE_PATTERN_MATCHES:
        return RULE_TEST_HOLDS;
    case RULE_PATTERN_DIFFERS:
        return RULE_TEST_FAILS;
    case RULE_PATTERN_GAVE_UP:
        break;
    }
    return RULE_TEST_TOO_MANY_STEPS;
}

/* present, blank, valid */
static enum rule_test_result evaluate_alone(const struct rule_test *test, struct rule_facts *facts)
{
    bool is_present = rule_facts_is_present(facts, &test->field);
    struct rule_value value = {0};
    double latitude = 0;
    double longitude = 0;
    size_t digits = 0;

    if (test->op == RULE_OP_BLANK)
        return result_of(!is_present);
    if (!is_present)
        return RULE_TEST_MISSING;
    if (test->op == RULE_OP_PRESENT)
        return RULE_TEST_HOLDS;
    switch (test->field.field) {
    case RULE_FIELD_EMAIL:
        return result_of(rule_facts_text(facts, &test->field, RULE_FORM_EXACT, &value) && rule_email_is_valid(&value));
    case RULE_FIELD_PHONE:
        digits = rule_facts_phone_digits(facts);
        return result_of(digits >= PHONE_DIGITS_MIN && digits <= PHONE_DIGITS_MAX);
    case RULE_FIELD_LOCATION:
        return result_of(rule_facts_location(facts, &latitude, &longitude));
    default: /* a place: known ones are written in capitals */
        return result_of(rule_facts_text(facts, &test->field, RULE_FORM_PLACE, &value) && value.text[0] >= 'A' &&
                         value.text[0] <= 'Z');
    }
}

enum rule_test_result rule_test_evaluate(const struct rule_test *test, struct rule_facts *facts)
{
    switch (test->operand) {
    case RULE_OPERAND_NONE:
        return evaluate_alone(test, facts);
    case RULE_OPERAND_TEXTS:
        return evaluate_texts(test, facts);
    case RULE_OPERAND_NUMBERS:
        return evaluate_numbers(test, facts);
    case RULE_OPERAND_FIELD:
        return evaluate_field(test, facts);
    case RULE_OPERAND_MOMENT:
    case RULE_OPERAND_SPAN:
        return evaluate_moment(test, facts);
    case RULE_OPERAND_CIRCLE:
        return evaluate_circle(test, facts);
    case RULE_OPERAND_SET:
        return evaluate_set(test, facts);
    case RULE_OPERAND_PATTERN:
        return evaluate_pattern(test, facts);
    }
    assert(false);
    return RULE_TEST_FAILS;
}

bool rule_condition_holds(const struct rule_condition *condition, struct rule_facts *facts)
{
    switch (condition->kind) {
    case RULE_CONDITION_TEST:
        return rule_test_evaluate(condition->test, facts) == RULE_TEST_HOLDS;
    case RULE_CONDITION_NOT:
        return !rule_condition_holds(condition->items[0], facts);
    case RULE_CONDITION_ALL:
        for (size_t i = 0; i < condition->count; i++) {
            if (!rule_condition_holds(condition->items[i], facts))
                return false;
        }
        return true;
    case RULE_CONDITION_ANY:
        for (size_t i = 0; i < condition->count; i++) {
            if (rule_condition_holds(condition->items[i], facts))
                return true;
        }
        return false;
    }
    assert(false);
    return false;
}
