#include "rules/conditions.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "rules/json_object.h"
#include "rules/rules.h"

enum { PATH_SIZE_MAX = 512, KM_MAX = 20100, US_PER_MINUTE = 60 * 1000000, MINUTES_MAX = 5256000 };

/* Which values an operator takes. */
enum value_shape {
    SHAPE_NONE,
    SHAPE_SCALAR, /* text, number, boolean, field */
    SHAPE_LIST,   /* texts (booleans among them) or numbers */
    SHAPE_TEXTS,
    SHAPE_ORDERED, /* number, text, field */
    SHAPE_RANGE,   /* two numbers or two texts */
    SHAPE_TEXT,    /* or field */
    SHAPE_WILDCARD,
    SHAPE_REGEX,
    SHAPE_CIRCLE,
    SHAPE_MOMENT, /* or field */
    SHAPE_SPAN,
    SHAPE_SET,
};

static const struct op_info {
    const char *name;
    enum value_shape shape;
    bool knows_places; /* compares places as places */
    bool knows_case;
} ops[RULE_OP_COUNT] = {
    [RULE_OP_EQ] = {"eq", SHAPE_SCALAR, true, true},
    [RULE_OP_NE] = {"ne", SHAPE_SCALAR, true, true},
    [RULE_OP_IN] = {"in", SHAPE_LIST, true, true},
    [RULE_OP_NOT_IN] = {"not_in", SHAPE_LIST, true, true},
    [RULE_OP_GT] = {"gt", SHAPE_ORDERED, false, true},
    [RULE_OP_GTE] = {"gte", SHAPE_ORDERED, false, true},
    [RULE_OP_LT] = {"lt", SHAPE_ORDERED, false, true},
    [RULE_OP_LTE] = {"lte", SHAPE_ORDERED, false, true},
    [RULE_OP_BETWEEN] = {"between", SHAPE_RANGE, false, true},
    [RULE_OP_NOT_BETWEEN] = {"not_between", SHAPE_RANGE, false, true},
    [RULE_OP_CONTAINS] = {"contains", SHAPE_TEXT, false, true},
    [RULE_OP_NOT_CONTAINS] = {"not_contains", SHAPE_TEXT, false, true},
    [RULE_OP_STARTS_WITH] = {"starts_with", SHAPE_TEXT, false, true},
    [RULE_OP_ENDS_WITH] = {"ends_with", SHAPE_TEXT, false, true},
    [RULE_OP_WILDCARD] = {"wildcard", SHAPE_WILDCARD, false, true},
    [RULE_OP_REGEX] = {"regex", SHAPE_REGEX, false, true},
    [RULE_OP_PRESENT] = {"present", SHAPE_NONE, false, false},
    [RULE_OP_BLANK] = {"blank", SHAPE_NONE, false, false},
    [RULE_OP_VALID] = {"valid", SHAPE_NONE, false, false},
    [RULE_OP_EMAIL_DOMAIN_IN] = {"email_domain_in", SHAPE_TEXTS, false, false},
    [RULE_OP_POSTAL_PREFIX_IN] = {"postal_prefix_in", SHAPE_TEXTS, false, false},
    [RULE_OP_WITHIN_RADIUS] = {"within_radius", SHAPE_CIRCLE, false, false},
    [RULE_OP_BEFORE] = {"before", SHAPE_MOMENT, false, false},
    [RULE_OP_AFTER] = {"after", SHAPE_MOMENT, false, false},
    [RULE_OP_WITHIN_LAST] = {"within_last", SHAPE_SPAN, false, false},
    [RULE_OP_IN_SET] = {"in_set", SHAPE_SET, true, true},
    [RULE_OP_NOT_IN_SET] = {"not_in_set", SHAPE_SET, true, true},
};

/* The lists of the simple form. */
static const struct list {
    const char *key;
    enum rule_field field;
} lists[] = {
    {"industries", RULE_FIELD_COMPANY_INDUSTRY},
    {"company_sizes", RULE_FIELD_COMPANY_SIZE},
    {"revenue_ranges", RULE_FIELD_COMPANY_REVENUE},
    {"countries", RULE_FIELD_COUNTRY},
    {"us_states", RULE_FIELD_US_STATE},
    {"regions", RULE_FIELD_REGION},
};

const char *rule_op_name(enum rule_op op)
{
    assert(op < RULE_OP_COUNT);
    return ops[op].name;
}

/* What is read into, for one rule. */
struct parse {
    struct rule_reader *reader;
    struct error *error; /* may be NULL */
    size_t test_count;
    size_t value_count;
};

/* Where a node stands: a linked list towards the root, written out only for errors and explanations. */
struct place {
    const struct place *parent;
    const char *key; /* NULL: an index */
    size_t index;
};

static void append_place(struct buffer *buffer, const struct place *place)
{
    if (place == NULL) {
        buffer_append_string(buffer, "$");
        return;
    }
    append_place(buffer, place->parent);
    if (place->key == NULL) {
        buffer_append_format(buffer, "[%zu]", place->index);
    } else if (text_is_name(place->key)) {
        buffer_append_format(buffer, ".%s", place->key);
    } else {
        buffer_append_string(buffer, "[?]"); /* a key that is none of ours may be anything */
    }
}

static const char *place_text(struct parse *parse, const struct place *place)
{
    struct buffer buffer = {0};
    const char *text = NULL;

    buffer_init(&buffer, PATH_SIZE_MAX);
    append_place(&buffer, place);
    text = arena_copy_string(parse->reader->arena, buffer_text(&buffer));
    buffer_release(&buffer);
    return text;
}

/* "<path>: <what is wrong>"; always NULL, for functions that return what they read. */
__attribute__((format(printf, 3, 4))) static void *refuse(
    struct parse *parse, const struct place *place, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    error_set(parse->error, ERROR_INVALID, "%s: %s", place_text(parse, place), text);
    return NULL;
}

/* " \"name\"" for an error, or "" for a text that is no name: errors are logged, and a rule may hold what belongs in no log. */
static const char *quote(struct parse *parse, const char *text)
{
    return text_is_name(text) ? arena_format(parse->reader->arena, " \"%s\"", text) : "";
}

/* --- Fields and values ------------------------------------------------------------------------------------------- */

static struct rule_field_ref field_ref(struct rule_reader *reader, enum rule_field field, const char *attribute)
{
    struct rule_fields *fields = &reader->fields;

    for (size_t i = 0; i < fields->count; i++) {
        const struct rule_field_ref *known = &fields->items[i];
        if (known->field == field && (attribute == NULL || strcmp(known->attribute, attribute) == 0))
            return *known;
    }
    if (fields->count == fields->capacity) {
        fields->capacity = 2 * fields->capacity + 8;
        fields->items = memory_resize(fields->items, fields->capacity, sizeof(*fields->items));
    }
    fields->items[fields->count] = (struct rule_field_ref){
        .field = field,
        .attribute = attribute == NULL ? NULL : arena_copy_string(reader->arena, attribute),
        .number = (uint32_t)fields->count,
    };
    return fields->items[fields->count++];
}

static bool read_field(
    struct parse *parse, const struct place *place, const json_t *value, struct rule_field_ref *ret_ref)
{
    const char *name = json_string_value(value);
    const char *attribute = NULL;
    enum rule_field field = 0;

    if (name == NULL)
        return refuse(parse, place, "must be the name of a field");
    if (!rule_field_find(name, &field, &attribute))
        return refuse(parse, place, "unknown field%s", quote(parse, name));
    if (attribute != NULL && strlen(attribute) > RULE_NAME_SIZE_MAX)
        return refuse(parse, place, "longer than %d bytes", RULE_NAME_SIZE_MAX);
    *ret_ref = field_ref(parse->reader, field, attribute);
    if (parse->reader->fields.count > RULE_FIELDS_MAX)
        return refuse(parse, place, "more than %d different fields in the rules of one workspace", RULE_FIELDS_MAX);
    return true;
}

/* The text of a JSON text or boolean; NULL for anything else. */
static const char *text_of(const json_t *value)
{
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    return json_string_value(value);
}

/* One text, in the form of the test. */
static bool read_text(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value,
    struct rule_value *ret_value)
{
    char made[RULE_VALUE_CAPACITY(RULE_VALUE_SIZE_MAX)];
    const char *text = text_of(value);
    size_t made_size = 0;
    enum rule_field_kind kind = rule_field_info(test->field.field)->kind;

    if (text == NULL)
        return refuse(parse, place, "must be a text");
    if (strlen(text) > RULE_VALUE_SIZE_MAX)
        return refuse(parse, place, "longer than %d bytes", RULE_VALUE_SIZE_MAX);
    if (!rule_value_make(test->form, test->field.field, text, strlen(text), made, sizeof(made), &made_size))
        return refuse(parse, place, "must not be blank");
    if (test->form == RULE_FORM_PLACE && (kind == RULE_KIND_US_STATE || kind == RULE_KIND_REGION) &&
        (made[0] < 'A' || made[0] > 'Z')) /* known places are written in capitals */
        return refuse(parse, place, "unknown %s", kind == RULE_KIND_REGION ? "region" : "state");
    *ret_value = (struct rule_value){arena_copy(parse->reader->arena, made, made_size), made_size};
    return true;
}

static bool read_one_text(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    struct rule_value *made = arena_alloc(parse->reader->arena, sizeof(*made));

    if (!read_text(parse, place, test, value, made))
        return false;
    test->operand = RULE_OPERAND_TEXTS;
    test->values = made;
    test->count = 1;
    return true;
}

static bool read_number(struct parse *parse, const struct place *place, const json_t *value, double *ret_number)
{
    double number = json_number_value(value);

    if (!json_is_number(value))
        return refuse(parse, place, "must be a number");
    if (!isfinite(number))
        return refuse(parse, place, "is too large a number");
    *ret_number = number;
    return true;
}

static bool read_one_number(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    double *number = arena_alloc(parse->reader->arena, sizeof(*number));

    if (!read_number(parse, place, value, number))
        return false;
    test->operand = RULE_OPERAND_NUMBERS;
    test->numbers = number;
    test->count = 1;
    return true;
}

/* {"field": name} */
static bool read_other_field(
    struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    const struct place at = {.parent = place, .key = "field"};
    const json_t *name = json_object_get(value, "field");
    enum rule_field_kind kind = 0;

    if (name == NULL || json_object_size(value) != 1)
        return refuse(parse, place, "must be {\"field\": name}");
    test->operand = RULE_OPERAND_FIELD;
    if (!read_field(parse, &at, name, &test->other))
        return false;
    kind = rule_field_info(test->other.field)->kind;
    if (kind == RULE_KIND_LOCATION || (kind == RULE_KIND_MOMENT && ops[test->op].shape != SHAPE_MOMENT))
        return refuse(parse, &at, "\"%s\" cannot be compared by \"%s\"", rule_field_info(test->other.field)->name,
            ops[test->op].name);
    return true;
}

/* Sorts, and drops what is there twice; how many are left. */
static size_t sort_unique(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    char *bytes = items;
    size_t kept = 0;

    if (count > 0)
        qsort(items, count, size, compare);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare(bytes + (kept - 1) * size, bytes + i * size) != 0)
            memmove(bytes + kept++ * size, bytes + i * size, size);
    }
    return kept;
}

/* A list of texts, or of numbers when `numbers_too` and its first is one. */
static bool read_list(
    struct parse *parse, const struct place *place, struct rule_test *test, const json_t *array, bool numbers_too)
{
    size_t count = json_array_size(array);
    bool is_numbers = numbers_too && json_is_number(json_array_get(array, 0));
    struct rule_value *values = NULL;
    double *numbers = NULL;

    if (!json_is_array(array))
        return refuse(parse, place, numbers_too ? "must be a list of texts or of numbers" : "must be a list of texts");
    if (count == 0)
        return refuse(parse, place, "must not be empty");
    parse->value_count += count;
    parse->reader->value_count += count;
    if (parse->value_count > RULE_VALUES_MAX)
        return refuse(parse, place, "more than %d values in one rule", RULE_VALUES_MAX);
    if (is_numbers)
        numbers = arena_alloc_array(parse->reader->arena, count, sizeof(*numbers));
    else
        values = arena_alloc_array(parse->reader->arena, count, sizeof(*values));
    for (size_t i = 0; i < count; i++) {
        const struct place at = {.parent = place, .index = i};
        const json_t *item = json_array_get(array, i);
        if (is_numbers ? !read_number(parse, &at, item, &numbers[i]) : !read_text(parse, &at, test, item, &values[i]))
            return false;
    }
    if (is_numbers) {
        test->operand = RULE_OPERAND_NUMBERS;
        test->count = sort_unique(numbers, count, sizeof(*numbers), rule_number_order);
        test->numbers = numbers;
    } else {
        test->operand = RULE_OPERAND_TEXTS;
        test->count = sort_unique(values, count, sizeof(*values), rule_value_order);
        test->values = values;
    }
    return true;
}

static bool read_range(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *array)
{
    const json_t *low = json_array_get(array, 0);
    const json_t *high = json_array_get(array, 1);
    const struct place low_at = {.parent = place, .index = 0};
    const struct place high_at = {.parent = place, .index = 1};
    bool is_ordered = false;

    if (json_array_size(array) != 2 || json_is_number(low) != json_is_number(high))
        return refuse(parse, place, "must be two numbers or two texts, [low, high]");
    test->count = 2;
    if (json_is_number(low)) {
        double *numbers = arena_alloc_array(parse->reader->arena, 2, sizeof(*numbers));
        if (!read_number(parse, &low_at, low, &numbers[0]) || !read_number(parse, &high_at, high, &numbers[1]))
            return false;
        test->operand = RULE_OPERAND_NUMBERS;
        test->numbers = numbers;
        is_ordered = numbers[0] <= numbers[1];
    } else {
        struct rule_value *values = arena_alloc_array(parse->reader->arena, 2, sizeof(*values));
        if (!read_text(parse, &low_at, test, low, &values[0]) || !read_text(parse, &high_at, test, high, &values[1]))
            return false;
        test->operand = RULE_OPERAND_TEXTS;
        test->values = values;
        is_ordered = rule_value_compare(&values[0], &values[1]) <= 0;
    }
    if (!is_ordered)
        return refuse(parse, place, "the low end is above the high one");
    return true;
}

static bool read_pattern(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    struct rule_reader *reader = parse->reader;
    const char *text = json_string_value(value);
    struct error error = {0};

    if (text == NULL || *text == '\0')
        return refuse(parse, place, "must be a regular expression");
    if (strlen(text) > RULE_VALUE_SIZE_MAX)
        return refuse(parse, place, "longer than %d bytes", RULE_VALUE_SIZE_MAX);
    if (reader->pattern_count == reader->pattern_capacity) {
        reader->pattern_capacity = 2 * reader->pattern_capacity + 8;
        reader->patterns = memory_resize(reader->patterns, reader->pattern_capacity, sizeof(struct rule_pattern *));
    }
    if (!rule_pattern_new(text, test->form == RULE_FORM_EXACT, &test->pattern, &error))
        return refuse(parse, place, "%s", error.text);
    reader->patterns[reader->pattern_count++] = test->pattern;
    if (reader->checks_cost && !rule_pattern_is_bounded(test->pattern, text))
        return refuse(parse, place, "takes too many steps on some texts: repeat nothing that can match in two ways");
    test->operand = RULE_OPERAND_PATTERN;
    return true;
}

static bool read_circle(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    struct rule_circle *circle = &test->circle;
    const struct {
        const char *key;
        double low;
        double high;
        double *ret_number;
    } parts[] = {
        {"latitude", -90, 90, &circle->latitude},
        {"longitude", -180, 180, &circle->longitude},
        {"km", 0, KM_MAX, &circle->km},
    };

    test->operand = RULE_OPERAND_CIRCLE;
    if (!json_is_object(value) || json_object_size(value) != COUNT_OF(parts))
        return refuse(parse, place, "must be {\"latitude\": n, \"longitude\": n, \"km\": n}");
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const struct place at = {.parent = place, .key = parts[i].key};
        if (!read_number(parse, &at, json_object_get(value, parts[i].key), parts[i].ret_number))
            return false;
        if (*parts[i].ret_number < parts[i].low || *parts[i].ret_number > parts[i].high)
            return refuse(parse, &at, "must be from %g to %g", parts[i].low, parts[i].high);
    }
    return true;
}

static bool read_moment(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    const char *text = json_string_value(value);

    test->operand = RULE_OPERAND_MOMENT;
    if (text == NULL || !rule_moment_parse(text, strlen(text), &test->moment_us))
        return refuse(parse, place, "must be a date or a time, as in \"2026-01-31\" or \"2026-01-31T10:00:00Z\"");
    return true;
}

static bool read_span(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    static const struct {
        const char *key;
        int minutes;
    } units[] = {{"days", 24 * 60}, {"hours", 60}, {"minutes", 1}};

    test->operand = RULE_OPERAND_SPAN;
    for (size_t i = 0; i < COUNT_OF(units) && json_object_size(value) == 1; i++) {
        const struct place at = {.parent = place, .key = units[i].key};
        const json_t *number = json_object_get(value, units[i].key);
        if (number == NULL)
            continue;
        if (!json_is_integer(number) || json_integer_value(number) < 1 ||
            json_integer_value(number) > MINUTES_MAX / units[i].minutes)
            return refuse(parse, &at, "must be a whole number from 1 to %d", MINUTES_MAX / units[i].minutes);
        test->span_us = json_integer_value(number) * units[i].minutes * (int64_t)US_PER_MINUTE;
        return true;
    }
    return refuse(parse, place, "must be {\"days\": n}, {\"hours\": n} or {\"minutes\": n}");
}

static uint32_t set_number(struct rule_reader *reader, const char *name, const struct rule_test *test)
{
    enum rule_field field = test->form == RULE_FORM_PLACE ? test->field.field : RULE_FIELD_COUNT;

    for (size_t i = 0; i < reader->set_count; i++) {
        const struct rule_set_ref *known = &reader->sets[i];
        if (known->form == test->form && known->field == field && strcmp(known->name, name) == 0)
            return (uint32_t)i;
    }
    if (reader->set_count == reader->set_capacity) {
        reader->set_capacity = 2 * reader->set_capacity + 8;
        reader->sets = memory_resize(reader->sets, reader->set_capacity, sizeof(*reader->sets));
    }
    reader->sets[reader->set_count] =
        (struct rule_set_ref){.name = arena_copy_string(reader->arena, name), .form = test->form, .field = field};
    return (uint32_t)reader->set_count++;
}

static bool read_set_name(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    const char *text = json_string_value(value);

    if (text == NULL || text_is_blank(text) || strlen(text) > RULE_NAME_SIZE_MAX)
        return refuse(parse, place, "must be the name of a set, of 1 to %d bytes", RULE_NAME_SIZE_MAX);
    test->operand = RULE_OPERAND_SET;
    test->set_number = set_number(parse->reader, text, test);
    if (parse->reader->set_count > RULE_FIELDS_MAX)
        return refuse(parse, place, "more than %d different sets in the rules of one workspace", RULE_FIELDS_MAX);
    return true;
}

/* The value of a test, in the shape that its operator takes. */
static bool read_operand(struct parse *parse, const struct place *place, struct rule_test *test, const json_t *value)
{
    enum value_shape shape = ops[test->op].shape;
    bool takes_field = shape == SHAPE_SCALAR || shape == SHAPE_ORDERED || shape == SHAPE_TEXT || shape == SHAPE_MOMENT;

    if (takes_field && json_is_object(value))
        return read_other_field(parse, place, test, value);
    switch (shape) {
    case SHAPE_NONE:
        return true;
    case SHAPE_SCALAR:
    case SHAPE_ORDERED:
        if (json_is_number(value))
            return read_one_number(parse, place, test, value);
        if (text_of(value) == NULL || (shape == SHAPE_ORDERED && json_is_boolean(value)))
            return refuse(parse, place, "must be a text, a number or a field");
        return read_one_text(parse, place, test, value);
    case SHAPE_TEXT:
    case SHAPE_WILDCARD:
        if (!json_is_string(value))
            return refuse(parse, place, "must be a text");
        return read_one_text(parse, place, test, value);
    case SHAPE_LIST:
    case SHAPE_TEXTS:
        return read_list(parse, place, test, value, shape == SHAPE_LIST);
    case SHAPE_RANGE:
        return read_range(parse, place, test, value);
    case SHAPE_REGEX:
        return read_pattern(parse, place, test, value);
    case SHAPE_CIRCLE:
        return read_circle(parse, place, test, value);
    case SHAPE_MOMENT:
        return read_moment(parse, place, test, value);
    case SHAPE_SPAN:
        return read_span(parse, place, test, value);
    case SHAPE_SET:
        return read_set_name(parse, place, test, value);
    }
    return false;
}

/* --- Tests and trees --------------------------------------------------------------------------------------------- */

/* Whether an operator makes sense for a field. */
static bool op_fits(enum rule_op op, enum rule_field field)
{
    const struct rule_field_info *info = rule_field_info(field);

    if (op == RULE_OP_PRESENT || op == RULE_OP_BLANK)
        return true;
    if (op == RULE_OP_VALID)
        return info->can_be_valid;
    if (info->kind == RULE_KIND_LOCATION || op == RULE_OP_WITHIN_RADIUS)
        return info->kind == RULE_KIND_LOCATION && op == RULE_OP_WITHIN_RADIUS;
    if (info->kind == RULE_KIND_MOMENT)
        return op == RULE_OP_BEFORE || op == RULE_OP_AFTER || op == RULE_OP_WITHIN_LAST;
    if (op == RULE_OP_EMAIL_DOMAIN_IN)
        return field == RULE_FIELD_EMAIL || field == RULE_FIELD_ATTRIBUTE;
    if (op == RULE_OP_POSTAL_PREFIX_IN)
        return field == RULE_FIELD_POSTAL_CODE || field == RULE_FIELD_ATTRIBUTE;
    return true;
}

static enum rule_form form_of(enum rule_op op, enum rule_field field, bool is_case)
{
    if (op == RULE_OP_POSTAL_PREFIX_IN)
        return RULE_FORM_POSTAL;
    if (ops[op].knows_places && rule_field_is_place(field))
        return RULE_FORM_PLACE;
    return is_case ? RULE_FORM_EXACT : RULE_FORM_FOLD;
}

static bool read_op(struct parse *parse, const struct place *place, const json_t *value, enum rule_op *ret_op)
{
    const char *name = json_string_value(value);

    if (name == NULL)
        return refuse(parse, place, "must be the name of an operator");
    for (enum rule_op op = 0; op < RULE_OP_COUNT; op++) {
        if (strcmp(ops[op].name, name) == 0) {
            *ret_op = op;
            return true;
        }
    }
    return refuse(parse, place, "unknown operator%s", quote(parse, name));
}

static struct rule_condition *new_condition(
    struct parse *parse, const struct place *place, enum rule_condition_kind kind)
{
    struct rule_condition *condition = arena_alloc(parse->reader->arena, sizeof(*condition));

    condition->kind = kind;
    if (parse->reader->keeps_texts)
        condition->path = place_text(parse, place);
    return condition;
}

/* A new test in its node, counted; NULL when there are too many. */
static struct rule_condition *new_test(
    struct parse *parse, const struct place *place, const json_t *value, struct rule_test **ret_test)
{
    struct rule_condition *condition = new_condition(parse, place, RULE_CONDITION_TEST);

    if (++parse->test_count > RULE_TESTS_MAX)
        return refuse(parse, place, "more than %d tests in one rule", RULE_TESTS_MAX);
    if (parse->reader->keeps_texts && value != NULL) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        condition->expected = arena_copy_string(parse->reader->arena, text);
        free(text);
    }
    *ret_test = arena_alloc(parse->reader->arena, sizeof(**ret_test));
    condition->test = *ret_test;
    return condition;
}

/* The keys of a test, and no others. */
static bool check_test_keys(struct parse *parse, const struct place *place, json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach(object, key, value)
    {
        const struct place at = {.parent = place, .key = key};
        if (strcmp(key, "field") != 0 && strcmp(key, "op") != 0 && strcmp(key, "value") != 0 &&
            strcmp(key, "case") != 0)
            return refuse(parse, &at, "unknown key of a test");
    }
    if (json_object_get(object, "field") == NULL || json_object_get(object, "op") == NULL)
        return refuse(parse, place, "must have \"field\" and \"op\"");
    return true;
}

static const struct rule_condition *read_test(struct parse *parse, const struct place *place, json_t *object)
{
    const struct place field_at = {.parent = place, .key = "field"};
    const struct place op_at = {.parent = place, .key = "op"};
    const struct place value_at = {.parent = place, .key = "value"};
    const struct place case_at = {.parent = place, .key = "case"};
    const json_t *value = json_object_get(object, "value");
    const json_t *is_case = json_object_get(object, "case");
    struct rule_test *test = NULL;
    struct rule_condition *condition = new_test(parse, place, value, &test);

    if (condition == NULL || !check_test_keys(parse, place, object) ||
        !read_field(parse, &field_at, json_object_get(object, "field"), &test->field) ||
        !read_op(parse, &op_at, json_object_get(object, "op"), &test->op))
        return NULL;
    if (!op_fits(test->op, test->field.field))
        return refuse(parse, &op_at, "\"%s\" is not for the field \"%s\"", ops[test->op].name,
            json_string_value(json_object_get(object, "field")));
    if (is_case != NULL && !json_is_boolean(is_case))
        return refuse(parse, &case_at, "must be true or false");
    test->form = form_of(test->op, test->field.field, json_is_true(is_case));
    if (json_is_true(is_case) && (!ops[test->op].knows_case || test->form == RULE_FORM_PLACE))
        return refuse(parse, &case_at, "has no meaning here");
    if ((value == NULL) != (ops[test->op].shape == SHAPE_NONE))
        return value == NULL ? refuse(parse, place, "must have a \"value\"")
                             : refuse(parse, &value_at, "must not be there");
    if (!read_operand(parse, &value_at, test, value))
        return NULL;
    if (json_is_true(is_case) && test->operand == RULE_OPERAND_NUMBERS)
        return refuse(parse, &case_at, "has no meaning here");
    return condition;
}

static const struct rule_condition *read_condition(
    struct parse *parse, const struct place *place, json_t *value, size_t depth);

/* `all` and `any`: a list of conditions. */
static const struct rule_condition *read_items(
    struct parse *parse, const struct place *place, enum rule_condition_kind kind, const json_t *array, size_t depth)
{
    struct rule_condition *condition = new_condition(parse, place, kind);
    const struct place list_at = {.parent = place, .key = kind == RULE_CONDITION_ALL ? "all" : "any"};
    const struct rule_condition **items = NULL;

    if (!json_is_array(array))
        return refuse(parse, &list_at, "must be a list of conditions");
    if (json_array_size(array) > RULE_TESTS_MAX)
        return refuse(parse, &list_at, "more than %d conditions", RULE_TESTS_MAX);
    condition->count = json_array_size(array);
    items = arena_alloc_array(parse->reader->arena, condition->count, sizeof(struct rule_condition *));
    for (size_t i = 0; i < condition->count; i++) {
        const struct place at = {.parent = &list_at, .index = i};
        items[i] = read_condition(parse, &at, json_array_get(array, i), depth + 1);
        if (items[i] == NULL)
            return NULL;
    }
    condition->items = items;
    return condition;
}

static const struct rule_condition *read_not(
    struct parse *parse, const struct place *place, json_t *value, size_t depth)
{
    const struct place at = {.parent = place, .key = "not"};
    struct rule_condition *condition = new_condition(parse, place, RULE_CONDITION_NOT);
    const struct rule_condition **items = arena_alloc(parse->reader->arena, sizeof(struct rule_condition *));

    items[0] = read_condition(parse, &at, value, depth + 1);
    condition->items = items;
    condition->count = 1;
    return items[0] == NULL ? NULL : condition;
}

static const struct list *find_list(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (strcmp(lists[i].key, key) == 0)
            return &lists[i];
    }
    return NULL;
}

/* The simple form: one test for each list that is not empty. */
static const struct rule_condition *read_lists(struct parse *parse, const struct place *place, json_t *object)
{
    struct rule_condition *condition = new_condition(parse, place, RULE_CONDITION_ALL);
    const struct rule_condition **items =
        arena_alloc_array(parse->reader->arena, json_object_size(object), sizeof(struct rule_condition *));
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach(object, key, value)
    {
        const struct place at = {.parent = place, .key = key};
        const struct list *list = find_list(key);
        struct rule_test *test = NULL;
        if (list == NULL)
            return refuse(parse, &at, "unknown condition");
        if (!json_is_array(value))
            return refuse(parse, &at, "must be a list of texts");
        if (json_array_size(value) == 0)
            continue;
        items[condition->count] = new_test(parse, &at, value, &test);
        if (items[condition->count] == NULL)
            return NULL;
        condition->count++;
        test->op = RULE_OP_IN;
        test->field = field_ref(parse->reader, list->field, NULL);
        test->form = form_of(test->op, list->field, false);
        if (!read_list(parse, &at, test, value, false))
            return NULL;
    }
    condition->items = items;
    return condition;
}

static const struct rule_condition *read_condition(
    struct parse *parse, const struct place *place, json_t *value, size_t depth)
{
    static const char *const trees[] = {
        [RULE_CONDITION_ALL] = "all", [RULE_CONDITION_ANY] = "any", [RULE_CONDITION_NOT] = "not"};

    if (!json_is_object(value))
        return refuse(parse, place, "must be an object");
    if (depth > RULE_CONDITIONS_DEPTH_MAX)
        return refuse(parse, place, "deeper than %d levels", RULE_CONDITIONS_DEPTH_MAX);
    for (size_t i = 0; i < COUNT_OF(trees); i++) {
        json_t *items = json_object_get(value, trees[i]);
        if (items == NULL)
            continue;
        if (json_object_size(value) != 1)
            return refuse(parse, place, "\"%s\" stands alone in its object", trees[i]);
        return i == RULE_CONDITION_NOT ? read_not(parse, place, items, depth)
                                       : read_items(parse, place, (enum rule_condition_kind)i, items, depth);
    }
    if (json_object_get(value, "field") != NULL || json_object_get(value, "op") != NULL)
        return read_test(parse, place, value);
    return read_lists(parse, place, value);
}

bool rule_conditions_parse(struct rule_reader *reader, const char *json, const struct rule_condition **ret_condition,
    struct error *reterr_error)
{
    struct parse parse = {.reader = reader, .error = reterr_error};
    json_t *root = json_object_read(json, RULE_CONDITIONS_SIZE_MAX, reterr_error);
    const struct rule_condition *condition = NULL;

    if (root == NULL)
        return false;
    condition = read_condition(&parse, NULL, root, 1);
    json_decref(root);
    if (condition == NULL)
        return false;
    *ret_condition = condition;
    return true;
}

void rule_reader_release(struct rule_reader *reader)
{
    for (size_t i = 0; i < reader->pattern_count; i++)
        rule_pattern_free(reader->patterns[i]);
    free(reader->patterns);
    free(reader->sets);
    free(reader->fields.items);
}

bool rule_conditions_check(const char *conditions_json, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct rule_reader reader = {.arena = arena, .checks_cost = true};
    const struct rule_condition *condition = NULL;
    bool ok = rule_conditions_parse(&reader, conditions_json, &condition, reterr_error);

    rule_reader_release(&reader);
    arena_free(arena);
    return ok;
}
