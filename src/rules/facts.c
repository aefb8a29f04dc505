#include "rules/facts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/phone.h"
#include "base/text.h"
#include "rules/attributes.h"
#include "rules/places.h"
#include "rules/values.h"

enum {
    BIT_RAW = 1 << RULE_FORM_COUNT, /* below it: one bit for each form */
    BIT_NUMBER = BIT_RAW << 1,
    BIT_MOMENT = BIT_RAW << 2,
    NUMBER_TEXT_SIZE = 40,
    MOMENT_TEXT_SIZE = 40,
    AREA_CODE_SIZE = 3,
    NORTH_AMERICAN_DIGITS = 11,
    US_PER_SECOND = 1000000,
};

void rule_facts_init(struct rule_facts *facts, const struct rule_fields *fields, const struct rule_value_set *sets,
    const struct rule_lead *lead, const struct rule_policy *policy)
{
    facts->fields = fields;
    facts->sets = sets;
    facts->lead = lead;
    facts->policy = policy;
    facts->attributes = NULL;
    facts->arena = NULL;
    facts->scratch_size = 0;
    facts->items = facts->stack_items;
    if (fields->count > COUNT_OF(facts->stack_items))
        facts->items = memory_new_array(fields->count, sizeof(*facts->items));
    for (size_t i = 0; i < fields->count; i++)
        facts->items[i].known = facts->items[i].valid = 0;
}

void rule_facts_release(struct rule_facts *facts)
{
    if (facts->items != facts->stack_items)
        free(facts->items);
    json_decref(facts->attributes);
    arena_free(facts->arena);
}

/* Room for a text until the release. */
static char *take(struct rule_facts *facts, size_t size)
{
    char *taken = facts->scratch + facts->scratch_size;

    if (size <= sizeof(facts->scratch) - facts->scratch_size) {
        facts->scratch_size += size;
        return taken;
    }
    if (facts->arena == NULL)
        facts->arena = arena_new(0);
    return arena_alloc(facts->arena, size);
}

/* Gives back what was taken last but for `size` bytes, so that texts lie side by side. */
static void keep(struct rule_facts *facts, const char *taken, size_t size)
{
    if (taken >= facts->scratch && taken < facts->scratch + sizeof(facts->scratch))
        facts->scratch_size = (size_t)(taken - facts->scratch) + size;
}

static struct rule_value value_of(const char *text)
{
    return (struct rule_value){text, text == NULL ? 0 : strlen(text)};
}

/* --- Attributes -------------------------------------------------------------------------------------------------- */

static const json_t *attributes(struct rule_facts *facts)
{
    if (facts->attributes == NULL)
        facts->attributes = rule_attributes_read(facts->lead->attributes_json);
    return facts->attributes;
}

/* The shortest text that is this number. */
static void print_real(double number, char ret_text[NUMBER_TEXT_SIZE])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(ret_text, NUMBER_TEXT_SIZE, "%.*g", digits, number);
        if (strtod(ret_text, NULL) == number)
            break;
    }
}

struct rule_value rule_facts_attribute(struct rule_facts *facts, const char *name)
{
    const json_t *value = json_object_get(attributes(facts), name);
    char text[NUMBER_TEXT_SIZE] = "";
    char *copy = NULL;

    if (json_is_string(value))
        return (struct rule_value){json_string_value(value), json_string_length(value)};
    if (json_is_boolean(value))
        return value_of(json_is_true(value) ? "true" : "false");
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        print_real(json_real_value(value), text);
    else
        return (struct rule_value){0};
    copy = take(facts, sizeof(text));
    memcpy(copy, text, sizeof(text));
    return value_of(copy);
}

static bool coordinate(struct rule_facts *facts, const char *name, double limit, double *ret_number)
{
    struct rule_value text = rule_facts_attribute(facts, name);
    char stack[RULE_VALUE_CAPACITY(NUMBER_TEXT_SIZE)];
    size_t size = 0;
    double number = 0;

    if (text.text == NULL || text.size > NUMBER_TEXT_SIZE ||
        !rule_value_make(RULE_FORM_FOLD, RULE_FIELD_ATTRIBUTE, text.text, text.size, stack, sizeof(stack), &size) ||
        !rule_number_parse(stack, size, &number) || number < -limit || number > limit)
        return false;
    *ret_number = number;
    return true;
}

bool rule_facts_location(struct rule_facts *facts, double *ret_latitude, double *ret_longitude)
{
    return coordinate(facts, "latitude", 90, ret_latitude) && coordinate(facts, "longitude", 180, ret_longitude);
}

/* --- Fields ------------------------------------------------------------------------------------------------------ */

static const char *country(const struct rule_facts *facts)
{
    const char *own = facts->lead->country;

    return text_is_blank(own) && facts->policy->default_country[0] != '\0' ? facts->policy->default_country : own;
}

/* The text folded, in scratch memory; NULL when it is blank. */
static const char *folded(struct rule_facts *facts, const char *text)
{
    size_t size = text == NULL ? 0 : strlen(text);
    size_t capacity = RULE_VALUE_CAPACITY(size);
    char *made = take(facts, capacity);
    size_t made_size = 0;

    return rule_value_make(
               RULE_FORM_FOLD, RULE_FIELD_ATTRIBUTE, text == NULL ? "" : text, size, made, capacity, &made_size)
               ? made
               : NULL;
}

/* The state's folded text, of leads whose country is the US or missing; otherwise NULL. */
static const char *state_in_us(struct rule_facts *facts)
{
    const char *where = country(facts);
    const char *code = NULL;

    if (!text_is_blank(where)) {
        const char *made = folded(facts, where);
        code = made == NULL ? NULL : place_country_code(made);
        if (code == NULL || strcmp(code, "US") != 0)
            return NULL;
    }
    return folded(facts, facts->lead->state);
}

static const char *area_code(struct rule_facts *facts)
{
    struct rule_value phone = value_of(facts->lead->phone);
    char *digits = take(facts, PHONE_CAPACITY(phone.size));

    if (phone.size == 0 ||
        phone_digits(phone.text, phone.size, digits, PHONE_CAPACITY(phone.size)) != NORTH_AMERICAN_DIGITS ||
        digits[0] != '1')
        return NULL;
    digits[1 + AREA_CODE_SIZE] = '\0';
    return digits + 1;
}

/* "2026-01-31T10:00:00.000000Z" */
static const char *moment_text(struct rule_facts *facts, int64_t us)
{
    time_t seconds = (time_t)(us / US_PER_SECOND - (us % US_PER_SECOND < 0 ? 1 : 0));
    char *text = take(facts, MOMENT_TEXT_SIZE);
    struct tm parts = {0};
    size_t size = 0;

    if (gmtime_r(&seconds, &parts) == NULL)
        return NULL;
    size = strftime(text, MOMENT_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + size, MOMENT_TEXT_SIZE - size, ".%06dZ", (int)(us - (int64_t)seconds * US_PER_SECOND));
    return text;
}

static struct rule_value derived(struct rule_facts *facts, enum rule_field field)
{
    struct rule_value domain = {0};
    const char *state = NULL;

    switch (field) {
    case RULE_FIELD_EMAIL_DOMAIN:
        if (facts->lead->email != NULL)
            rule_email_domain(facts->lead->email, strlen(facts->lead->email), &domain);
        return domain;
    case RULE_FIELD_PHONE_AREA_CODE:
        return value_of(area_code(facts));
    case RULE_FIELD_US_STATE:
        state = state_in_us(facts);
        return value_of(state == NULL ? NULL : place_state_code(state));
    case RULE_FIELD_REGION:
        state = state_in_us(facts);
        return value_of(state == NULL ? NULL : place_state_region(state));
    case RULE_FIELD_CREATED_AT:
        return value_of(facts->lead->created_at_us == 0 ? NULL : moment_text(facts, facts->lead->created_at_us));
    default:
        return domain;
    }
}

/* The coordinates as a text, for explanations. */
static struct rule_value location_text(struct rule_facts *facts)
{
    double latitude = 0;
    double longitude = 0;
    char *text = NULL;

    if (!rule_facts_location(facts, &latitude, &longitude))
        return (struct rule_value){0};
    text = take(facts, 2 * NUMBER_TEXT_SIZE);
    snprintf(text, 2 * NUMBER_TEXT_SIZE, "%.6f, %.6f", latitude, longitude);
    return value_of(text);
}

const char **rule_lead_column(struct rule_lead *lead, enum rule_field field)
{
    switch (field) {
    case RULE_FIELD_EMAIL:
        return &lead->email;
    case RULE_FIELD_PHONE:
        return &lead->phone;
    case RULE_FIELD_FIRST_NAME:
        return &lead->first_name;
    case RULE_FIELD_LAST_NAME:
        return &lead->last_name;
    case RULE_FIELD_COMPANY_NAME:
        return &lead->company_name;
    case RULE_FIELD_COMPANY_INDUSTRY:
        return &lead->company_industry;
    case RULE_FIELD_COMPANY_SIZE:
        return &lead->company_size;
    case RULE_FIELD_COMPANY_REVENUE:
        return &lead->company_revenue;
    case RULE_FIELD_CITY:
        return &lead->city;
    case RULE_FIELD_POSTAL_CODE:
        return &lead->postal_code;
    case RULE_FIELD_SOURCE:
        return &lead->source;
    case RULE_FIELD_EXTERNAL_ID:
        return &lead->external_id;
    case RULE_FIELD_COUNTRY:
        return &lead->country;
    case RULE_FIELD_STATE:
        return &lead->state;
    default:
        return NULL;
    }
}

static struct rule_value read_field(struct rule_facts *facts, const struct rule_field_ref *ref)
{
    struct rule_lead lead = {0};
    const char **column = rule_lead_column(&lead, ref->field);

    if (ref->field == RULE_FIELD_ATTRIBUTE)
        return rule_facts_attribute(facts, ref->attribute);
    if (ref->field == RULE_FIELD_LOCATION)
        return location_text(facts);
    if (ref->field == RULE_FIELD_COUNTRY)
        return value_of(country(facts));
    if (column == NULL)
        return derived(facts, ref->field);
    lead = *facts->lead;
    return value_of(*column);
}

bool rule_facts_make_text(struct rule_facts *facts, const struct rule_field_ref *field, enum rule_form form)
{
    struct rule_fact *fact = &facts->items[field->number];
    uint16_t bit = (uint16_t)(1U << form);
    char *made = NULL;
    size_t capacity = 0;
    size_t size = 0;

    assert(field->number < facts->fields->count);
    if ((fact->known & BIT_RAW) == 0) {
        fact->raw = read_field(facts, field);
        fact->known |= BIT_RAW;
    }
    fact->known |= bit;
    fact->forms[form] = (struct rule_value){0};
    if (fact->raw.text == NULL)
        return false;
    capacity = RULE_VALUE_CAPACITY(fact->raw.size);
    made = take(facts, capacity);
    if (!rule_value_make(form, field->field, fact->raw.text, fact->raw.size, made, capacity, &size)) {
        keep(facts, made, 0);
        return false;
    }
    keep(facts, made, size + 1);
    fact->forms[form] = (struct rule_value){made, size};
    fact->valid |= bit;
    return true;
}

bool rule_facts_is_present(struct rule_facts *facts, const struct rule_field_ref *field)
{
    struct rule_value value = {0};

    return rule_facts_text(facts, field, RULE_FORM_FOLD, &value);
}

bool rule_facts_raw(struct rule_facts *facts, const struct rule_field_ref *field, struct rule_value *ret_value)
{
    if (!rule_facts_is_present(facts, field))
        return false;
    *ret_value = facts->items[field->number].raw;
    return true;
}

bool rule_facts_number(struct rule_facts *facts, const struct rule_field_ref *field, double *ret_number)
{
    struct rule_fact *fact = &facts->items[field->number];
    struct rule_value value = {0};

    if ((fact->known & BIT_NUMBER) == 0) {
        fact->known |= BIT_NUMBER;
        if (rule_facts_text(facts, field, RULE_FORM_FOLD, &value) &&
            rule_number_parse(value.text, value.size, &fact->number))
            fact->valid |= BIT_NUMBER;
    }
    *ret_number = fact->number;
    return (fact->valid & BIT_NUMBER) != 0;
}

bool rule_facts_moment(struct rule_facts *facts, const struct rule_field_ref *field, int64_t *ret_us)
{
    struct rule_fact *fact = &facts->items[field->number];
    struct rule_value value = {0};

    if ((fact->known & BIT_MOMENT) == 0) {
        fact->known |= BIT_MOMENT;
        fact->moment_us = 0;
        if (rule_facts_text(facts, field, RULE_FORM_FOLD, &value) &&
            rule_moment_parse(value.text, value.size, &fact->moment_us))
            fact->valid |= BIT_MOMENT;
    }
    *ret_us = fact->moment_us;
    return (fact->valid & BIT_MOMENT) != 0;
}

/* A field's text as a place of another field's table. */
static struct rule_value place_of(struct rule_facts *facts, const struct rule_field_ref *field, enum rule_field table)
{
    struct rule_value raw = {0};
    struct rule_value place = {0};
    char *made = NULL;

    rule_facts_raw(facts, field, &raw);
    made = take(facts, RULE_VALUE_CAPACITY(raw.size));
    rule_value_make(RULE_FORM_PLACE, table, raw.text, raw.size, made, RULE_VALUE_CAPACITY(raw.size), &place.size);
    place.text = made;
    return place;
}

bool rule_facts_are_same_place(
    struct rule_facts *facts, const struct rule_field_ref *left, const struct rule_field_ref *right)
{
    enum rule_field table = rule_field_is_place(left->field) ? left->field : right->field;
    struct rule_value first = place_of(facts, left, table);
    struct rule_value second = place_of(facts, right, table);

    return rule_value_compare(&first, &second) == 0;
}

size_t rule_facts_phone_digits(struct rule_facts *facts)
{
    struct rule_value phone = value_of(facts->lead->phone);

    if (phone.size == 0)
        return 0;
    return phone_digits(phone.text, phone.size, take(facts, PHONE_CAPACITY(phone.size)), PHONE_CAPACITY(phone.size));
}

bool rule_facts_is_in_set(const struct rule_facts *facts, uint32_t set_number, const struct rule_value *value)
{
    const struct rule_value_set *set = &facts->sets[set_number];

    return set->count > 0 && bsearch(value, set->values, set->count, sizeof(*value), rule_value_order) != NULL;
}
