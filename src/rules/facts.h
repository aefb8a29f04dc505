/* A lead as conditions see it: each field read at most once, in the forms that are asked for. Belongs to one thread. */
#ifndef RULES_FACTS_H
#define RULES_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/arena.h"
#include "rules/conditions.h"
#include "rules/rules.h"

enum { RULE_FACTS_FIELDS = 24, RULE_FACTS_SCRATCH_SIZE = 2048 };

/* The values of a set in one form, sorted. */
struct rule_value_set {
    const struct rule_value *values;
    size_t count;
};

/* One field of the lead; what of it is known already. */
struct rule_fact {
    uint16_t known; /* bits of facts.c */
    uint16_t valid;
    struct rule_value forms[RULE_FORM_COUNT];
    double number;
    int64_t moment_us;
    struct rule_value raw; /* as it was written */
};

struct rule_facts {
    const struct rule_fields *fields;
    const struct rule_value_set *sets; /* parallel to the reader's */
    const struct rule_lead *lead;
    const struct rule_policy *policy;
    struct rule_fact *items; /* parallel to `fields`; `stack_items` or on the heap */
    json_t *attributes;      /* NULL until asked for */
    struct arena *arena;     /* NULL until `scratch` is full */
    size_t scratch_size;
    struct rule_fact stack_items[RULE_FACTS_FIELDS];
    char scratch[RULE_FACTS_SCRATCH_SIZE];
};

/* Everything is borrowed until rule_facts_release(). No heap for leads of ordinary size whose attributes nobody asks for. */
void rule_facts_init(struct rule_facts *facts, const struct rule_fields *fields, const struct rule_value_set *sets,
    const struct rule_lead *lead, const struct rule_policy *policy);
void rule_facts_release(struct rule_facts *facts);

/* Where a lead has a column, or NULL for fields that are none (created_at among them). */
const char **rule_lead_column(struct rule_lead *lead, enum rule_field field);

/* False when the field is missing. */
bool rule_facts_is_present(struct rule_facts *facts, const struct rule_field_ref *field);

/* Makes the field's text in a form; false when it is missing. */
bool rule_facts_make_text(struct rule_facts *facts, const struct rule_field_ref *field, enum rule_form form);

/* The field's text in a form; false when it is missing. Valid until the release. */
static inline bool rule_facts_text(
    struct rule_facts *facts, const struct rule_field_ref *field, enum rule_form form, struct rule_value *ret_value)
{
    const struct rule_fact *fact = &facts->items[field->number];
    bool is_there =
        (fact->known >> form & 1) != 0 ? (fact->valid >> form & 1) != 0 : rule_facts_make_text(facts, field, form);

    *ret_value = fact->forms[form];
    return is_there;
}

/* The field's text as it was written; false when it is missing. */
bool rule_facts_raw(struct rule_facts *facts, const struct rule_field_ref *field, struct rule_value *ret_value);

/* False when the field is missing, or is none. */
bool rule_facts_number(struct rule_facts *facts, const struct rule_field_ref *field, double *ret_number);
bool rule_facts_moment(struct rule_facts *facts, const struct rule_field_ref *field, int64_t *ret_us);

/* Whether two fields that are there are the same place, by the table of the first that is a place's. */
bool rule_facts_are_same_place(
    struct rule_facts *facts, const struct rule_field_ref *left, const struct rule_field_ref *right);

/* Whether a value, in the form that the set was asked for, is in it. */
bool rule_facts_is_in_set(const struct rule_facts *facts, uint32_t set_number, const struct rule_value *value);

/* An attribute by its name, as a text; NULL for what is no text, number, true or false. Valid until the release. */
struct rule_value rule_facts_attribute(struct rule_facts *facts, const char *name);

/* Digits of the lead's phone number, without an extension. */
size_t rule_facts_phone_digits(struct rule_facts *facts);

/* The lead's coordinates, in degrees; false when they are missing or out of range. */
bool rule_facts_location(struct rule_facts *facts, double *ret_latitude, double *ret_longitude);

#endif
