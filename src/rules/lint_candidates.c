#include "rules/lint_candidates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rules/evaluate.h"
#include "rules/values.h"

enum {
    LITERALS_MAX = 2 * RULE_TESTS_MAX,
    CANDIDATES_MAX = 4096, /* of one part of a lead; more are not tried, and then nothing is proven */
    SET_VALUES_MAX = 1024, /* of a set that are tried */
    TEXT_SIZE = 64,
    NOW_S = 1767225600, /* 2026-01-01: witnesses have a time of their own */
};
#define US_PER_S INT64_C(1000000)

/* Parts of a lead that tests know of together: e-mail and its domain, country and state. Each attribute is a part of its own. */
enum part {
    PART_EMAIL,
    PART_PHONE,
    PART_PLACE,
    PART_LOCATION,
    PART_CREATED,
    PART_COLUMN, /* another column */
    PART_ATTRIBUTE,
};

static enum part part_of(enum rule_field field)
{
    switch (field) {
    case RULE_FIELD_EMAIL:
    case RULE_FIELD_EMAIL_DOMAIN:
        return PART_EMAIL;
    case RULE_FIELD_PHONE:
    case RULE_FIELD_PHONE_AREA_CODE:
        return PART_PHONE;
    case RULE_FIELD_COUNTRY:
    case RULE_FIELD_STATE:
    case RULE_FIELD_US_STATE:
    case RULE_FIELD_REGION:
        return PART_PLACE;
    case RULE_FIELD_LOCATION:
        return PART_LOCATION;
    case RULE_FIELD_CREATED_AT:
        return PART_CREATED;
    case RULE_FIELD_ATTRIBUTE:
        return PART_ATTRIBUTE;
    default:
        return PART_COLUMN;
    }
}

static bool is_same_part(const struct rule_test *left, const struct rule_test *right)
{
    enum part part = part_of(left->field.field);

    if (part != part_of(right->field.field))
        return false;
    return (part != PART_COLUMN && part != PART_ATTRIBUTE) || left->field.number == right->field.number;
}

/* The tests of both conjunctions; those of one part at a time are solved. */
struct search {
    const struct lint_context *context;
    struct arena *arena;
    const struct rule_literal *literals[LITERALS_MAX];
    size_t literal_count;
    bool is_solved[LITERALS_MAX];
    const struct rule_literal *group[LITERALS_MAX];
    size_t group_count;
    const char *candidates[CANDIDATES_MAX];
    size_t candidate_count;
    bool is_complete; /* the candidates are all cases there are */
    json_t *attributes;
    struct rule_lead lead; /* what is solved so far */
};

static void add(struct search *search, const char *text)
{
    if (search->candidate_count == CANDIDATES_MAX)
        search->is_complete = false;
    else
        search->candidates[search->candidate_count++] = text;
}

/* A number in a spelling that a rule's text is not likely to have, and in its usual one. */
static void add_number(struct search *search, double number)
{
    if (!isfinite(number))
        return;
    add(search, arena_format(search->arena, "%.17g", number));
    add(search, arena_format(search->arena, "%s00000%.17g", number < 0 ? "-" : "+", fabs(number)));
}

/* The numbers that tests name, one between each two, one below and one above. */
static void add_numbers(struct search *search)
{
    size_t count = 0;
    double *numbers = NULL;

    for (size_t i = 0; i < search->group_count; i++) {
        if (search->group[i]->test->operand == RULE_OPERAND_NUMBERS)
            count += search->group[i]->test->count;
    }
    if (count == 0)
        return;
    numbers = arena_alloc_array(search->arena, count, sizeof(*numbers));
    count = 0;
    for (size_t i = 0; i < search->group_count; i++) {
        const struct rule_test *test = search->group[i]->test;
        for (size_t k = 0; test->operand == RULE_OPERAND_NUMBERS && k < test->count; k++)
            numbers[count++] = test->numbers[k];
    }
    qsort(numbers, count, sizeof(*numbers), rule_number_order);
    add_number(search, numbers[0] - 1 - fabs(numbers[0]));
    for (size_t i = 0; i < count; i++) {
        add_number(search, numbers[i]);
        if (i + 1 < count && numbers[i] < numbers[i + 1])
            add_number(search, numbers[i] + (numbers[i + 1] - numbers[i]) / 2);
    }
    add_number(search, numbers[count - 1] + 1 + fabs(numbers[count - 1]));
}

/* The text of a pattern of stars with nothing for each star. */
static const char *without_stars(struct search *search, const struct rule_value *pattern)
{
    char *text = arena_copy(search->arena, pattern->text, pattern->size);
    size_t size = 0;

    for (size_t i = 0; i < pattern->size; i++) {
        if (text[i] != '*')
            text[size++] = text[i] == '?' ? 'a' : text[i];
    }
    text[size] = '\0';
    return text;
}

/* What a test of texts names, so as to be met and not to be met. */
static void add_texts(struct search *search, const struct rule_test *test)
{
    for (size_t i = 0; i < test->count; i++) {
        const char *text =
            test->op == RULE_OP_WILDCARD ? without_stars(search, &test->values[i]) : test->values[i].text;
        if (test->op == RULE_OP_EMAIL_DOMAIN_IN)
            text = arena_format(search->arena, "someone@%s", text);
        add(search, text);
        if (test->op > RULE_OP_NOT_IN) { /* in order, or parts: next to it */
            add(search, arena_format(search->arena, "%s0", text));
            add(search, arena_format(search->arena, "0%s", text));
        }
    }
}

/* True when what add_test() gives stands for every case of a test. */
static bool is_complete(const struct rule_literal *literal, const struct lint_context *context)
{
    const struct rule_test *test = literal->test;

    switch (test->operand) {
    case RULE_OPERAND_TEXTS:
        return test->op <= RULE_OP_NOT_IN;
    case RULE_OPERAND_NUMBERS:
        return true;
    case RULE_OPERAND_NONE:
        return test->op != RULE_OP_VALID;
    case RULE_OPERAND_SET:
        return context->sets[test->set_number].count <= SET_VALUES_MAX;
    default:
        return false;
    }
}

/* The values that one test brings up. */
static void add_test(struct search *search, const struct rule_literal *literal)
{
    const struct rule_test *test = literal->test;
    const struct rule_value_set *set = NULL;
    char time[CLOCK_RFC3339_SIZE];

    search->is_complete = search->is_complete && is_complete(literal, search->context);
    switch (test->operand) {
    case RULE_OPERAND_TEXTS:
        add_texts(search, test);
        break;
    case RULE_OPERAND_SET:
        set = &search->context->sets[test->set_number];
        for (size_t i = 0; i < set->count && i < SET_VALUES_MAX; i++)
            add(search, set->values[i].text);
        break;
    case RULE_OPERAND_MOMENT:
        for (int64_t shift = -1; shift <= 1; shift++)
            add(search, arena_copy_string(search->arena, clock_format_us(test->moment_us + shift * US_PER_S, time)));
        break;
    case RULE_OPERAND_SPAN:
        add(search, arena_copy_string(search->arena, clock_format_us(NOW_S * US_PER_S, time)));
        add(search,
            arena_copy_string(search->arena, clock_format_us(NOW_S * US_PER_S - test->span_us - US_PER_S, time)));
        break;
    default:
        break;
    }
}

static bool group_holds(const struct search *search, const struct rule_lead *lead)
{
    struct rule_facts facts;
    bool ok = true;

    rule_facts_init(&facts, search->context->fields, search->context->sets, lead, search->context->policy);
    for (size_t i = 0; i < search->group_count && ok; i++)
        ok = (rule_test_evaluate(search->group[i]->test, &facts) == RULE_TEST_HOLDS) != search->group[i]->is_negated;
    rule_facts_release(&facts);
    return ok;
}

/* A lead with nothing but one text where the part has it. */
static struct rule_lead lead_with(struct search *search, const struct rule_field_ref *field, const char *text)
{
    struct rule_lead lead = {.now_us = NOW_S * US_PER_S};
    const char **column = NULL;
    json_t *attributes = NULL;
    char *json = NULL;

    switch (field->field) {
    case RULE_FIELD_EMAIL_DOMAIN:
        lead.email = text == NULL                ? NULL
                     : strchr(text, '@') != NULL ? text
                                                 : arena_format(search->arena, "someone@%s", text);
        return lead;
    case RULE_FIELD_PHONE_AREA_CODE:
        lead.phone = text == NULL ? NULL : strlen(text) == 3 ? arena_format(search->arena, "%s5550100", text) : text;
        return lead;
    case RULE_FIELD_CREATED_AT:
        if (text != NULL)
            rule_moment_parse(text, strlen(text), &lead.created_at_us);
        return lead;
    case RULE_FIELD_ATTRIBUTE:
        attributes = json_object();
        if (text != NULL)
            json_object_set_new(attributes, field->attribute, json_string(text));
        json = json_dumps(attributes, JSON_COMPACT);
        lead.attributes_json = arena_copy_string(search->arena, json);
        free(json);
        json_decref(attributes);
        return lead;
    default:
        column = rule_lead_column(&lead, field->field);
        if (column != NULL)
            *column = text;
        return lead;
    }
}

/* Takes what is solved over into the lead. */
static void take(
    struct search *search, const struct rule_lead *part, const struct rule_field_ref *field, const char *text)
{
    for (enum rule_field column = 0; column < RULE_FIELD_ATTRIBUTE; column++) {
        struct rule_lead copy = *part;
        const char **from = rule_lead_column(&copy, column);
        if (from != NULL && *from != NULL)
            *rule_lead_column(&search->lead, column) = *from;
    }
    if (part->created_at_us != 0)
        search->lead.created_at_us = part->created_at_us;
    if (field->field == RULE_FIELD_ATTRIBUTE && text != NULL)
        json_object_set_new(search->attributes, field->attribute, json_string(text));
}

static enum lint_answer solve_texts(struct search *search)
{
    const struct rule_field_ref *field = &search->group[0]->test->field;

    for (size_t i = 0; i < search->candidate_count; i++) {
        struct rule_lead lead = lead_with(search, field, search->candidates[i]);
        if (group_holds(search, &lead)) {
            take(search, &lead, field, search->candidates[i]);
            return LINT_FOUND;
        }
    }
    return search->is_complete ? LINT_EMPTY : LINT_UNKNOWN;
}

/* Country and state: every pair of the candidates, which are few; all states that rules could mean are among them. */
static enum lint_answer solve_place(struct search *search)
{
    static const char *const states[] = {"CA", "NY", "TX", "FL", "IL", "AZ", "PR", "Nowhere"};
    size_t named = search->candidate_count;

    for (size_t i = 0; i < COUNT_OF(states); i++)
        add(search, states[i]);
    add(search, "US");
    add(search, "DE");
    for (size_t country = 0; country < search->candidate_count; country++) {
        for (size_t state = 0; state < search->candidate_count; state++) {
            struct rule_lead lead = {.country = search->candidates[country], .state = search->candidates[state]};
            if (group_holds(search, &lead)) {
                take(search, &lead, &search->group[0]->test->field, NULL);
                return LINT_FOUND;
            }
        }
        if (named > 256 && country > 256)
            break;
    }
    return search->is_complete && named <= 256 ? LINT_EMPTY : LINT_UNKNOWN;
}

/* The centres of circles, and nowhere. */
static enum lint_answer solve_location(struct search *search)
{
    for (size_t i = 0; i <= search->group_count; i++) {
        struct rule_lead lead = {0};
        const struct rule_test *test = i < search->group_count ? search->group[i]->test : NULL;
        bool is_circle = test != NULL && test->operand == RULE_OPERAND_CIRCLE;
        if (is_circle)
            lead.attributes_json = arena_format(
                search->arena, "{\"latitude\":%.9g,\"longitude\":%.9g}", test->circle.latitude, test->circle.longitude);
        if (!group_holds(search, &lead))
            continue;
        if (is_circle) {
            json_object_set_new(search->attributes, "latitude", json_real(test->circle.latitude));
            json_object_set_new(search->attributes, "longitude", json_real(test->circle.longitude));
        }
        return LINT_FOUND;
    }
    return LINT_UNKNOWN;
}

/* A test that takes some values of a field only. */
static bool is_choice(const struct rule_literal *literal)
{
    const struct rule_test *test = literal->test;

    return !literal->is_negated && test->operand == RULE_OPERAND_TEXTS &&
           (test->op == RULE_OP_EQ || test->op == RULE_OP_IN);
}

/* Values for one part of the lead that meet all its tests. */
static enum lint_answer solve_group(struct search *search)
{
    enum part part = part_of(search->group[0]->test->field.field);
    enum rule_form form = RULE_FORM_FOLD;
    bool has_form = false;
    bool knows_others = false;

    search->candidate_count = 0;
    search->is_complete = true;
    add(search, NULL);
    for (size_t i = 0; i < search->group_count; i++) {
        add_test(search, search->group[i]);
        knows_others = knows_others || search->group[i]->test->operand == RULE_OPERAND_FIELD;
        /* Derived fields have values that no text stands for by itself, and a text has more spellings than are tried. */
        if (search->group[i]->test->field.field != search->group[0]->test->field.field ||
            (has_form && search->group[i]->test->operand == RULE_OPERAND_TEXTS && search->group[i]->test->form != form))
            search->is_complete = false;
        if (search->group[i]->test->operand == RULE_OPERAND_TEXTS) {
            has_form = true;
            form = search->group[i]->test->form;
        }
        if (search->group[i]->test->field.field == RULE_FIELD_US_STATE && !is_choice(search->group[i]))
            search->is_complete = false; /* there are more states than are tried */
    }
    add_numbers(search);
    add(search, "a text that no rule names");
    if (part == PART_EMAIL)
        add(search, "someone@somewhere.example");
    if (part == PART_PHONE)
        add(search, "2125550100");
    search->is_complete = search->is_complete && !knows_others && part != PART_CREATED &&
                          search->group[0]->test->field.field != RULE_FIELD_EMAIL_DOMAIN &&
                          search->group[0]->test->field.field != RULE_FIELD_PHONE_AREA_CODE;
    if (part == PART_PLACE)
        return solve_place(search);
    if (part == PART_LOCATION)
        return solve_location(search);
    return solve_texts(search);
}

static void collect(struct search *search, const struct rule_conjunction *conjunction)
{
    for (size_t i = 0; i < conjunction->count && search->literal_count < LITERALS_MAX; i++)
        search->literals[search->literal_count++] = &conjunction->literals[i];
}

/* The tests of the part that the first unsolved one is about. */
static void take_group(struct search *search, size_t first)
{
    search->group_count = 0;
    for (size_t i = first; i < search->literal_count; i++) {
        if (search->is_solved[i] || !is_same_part(search->literals[first]->test, search->literals[i]->test))
            continue;
        search->group[search->group_count++] = search->literals[i];
        search->is_solved[i] = true;
    }
}

enum lint_answer lint_search(const struct lint_context *context, const struct rule_conjunction *left,
    const struct rule_conjunction *right, struct arena *arena, struct lint_witness *ret_witness)
{
    struct search *search = memory_new(sizeof(*search));
    enum lint_answer answer = LINT_FOUND;
    char *text = NULL;

    search->context = context;
    search->arena = arena;
    search->attributes = json_object();
    search->lead.now_us = NOW_S * US_PER_S;
    collect(search, left);
    collect(search, right);
    for (size_t i = 0; i < search->literal_count && answer != LINT_EMPTY; i++) {
        enum lint_answer part = LINT_FOUND;
        if (search->is_solved[i])
            continue;
        take_group(search, i);
        part = solve_group(search);
        if (part != LINT_FOUND)
            answer = part; /* an empty part makes the whole empty, whatever the others are */
    }
    if (answer == LINT_FOUND) {
        text = json_dumps(search->attributes, JSON_COMPACT | JSON_SORT_KEYS);
        search->lead.attributes_json = arena_copy_string(arena, text);
        free(text);
        ret_witness->lead = search->lead;
    }
    json_decref(search->attributes);
    free(search);
    return answer;
}

static bool have_common_value(const struct rule_test *left, const struct rule_test *right)
{
    size_t i = 0;
    size_t k = 0;

    while (i < left->count && k < right->count) { /* both are sorted */
        int order = rule_value_compare(&left->values[i], &right->values[k]);
        if (order == 0)
            return true;
        i += order < 0 ? 1 : 0;
        k += order > 0 ? 1 : 0;
    }
    return false;
}

bool lint_are_apart(const struct rule_conjunction *left, const struct rule_conjunction *right)
{
    for (size_t i = 0; i < left->count; i++) {
        for (size_t k = 0; k < right->count; k++) {
            const struct rule_test *a = left->literals[i].test;
            const struct rule_test *b = right->literals[k].test;
            if (a->field.number == b->field.number && a->form == b->form && is_choice(&left->literals[i]) &&
                is_choice(&right->literals[k]) && !have_common_value(a, b))
                return true;
        }
    }
    return false;
}

const char *lint_witness_json(const struct lint_witness *witness, struct arena *arena)
{
    struct rule_lead lead = witness->lead;
    json_t *object = json_object();
    json_t *attributes = json_loads(lead.attributes_json, 0, NULL);
    char time[CLOCK_RFC3339_SIZE];
    const char *copy = NULL;
    char *text = NULL;

    for (enum rule_field field = 0; field < RULE_FIELD_ATTRIBUTE; field++) {
        const char **column = rule_lead_column(&lead, field);
        if (column != NULL && *column != NULL)
            json_object_set_new(object, rule_field_info(field)->name, json_string(*column));
    }
    if (lead.created_at_us != 0)
        json_object_set_new(object, "created_at", json_string(clock_format_us(lead.created_at_us, time)));
    if (json_object_size(attributes) > 0)
        json_object_set(object, "attributes", attributes);
    text = json_dumps(object, JSON_COMPACT);
    copy = arena_copy_string(arena, text);
    free(text);
    json_decref(attributes);
    json_decref(object);
    return copy;
}
