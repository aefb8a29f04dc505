/* The conditions of one rule, read from JSON and checked: shared by rule_conditions_check() and rule_set_compile(). */
#ifndef RULES_CONDITIONS_H
#define RULES_CONDITIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"
#include "rules/places.h"

enum {
    RULE_CONDITIONS_SIZE_MAX = 256 * 1024, /* bytes of JSON in one rule */
    RULE_VALUES_MAX = 10000,               /* values in all lists of one rule */
    RULE_VALUE_SIZE_MAX = 512,             /* bytes of one value */
};

/* Fields of a lead that are compared with a list of values. */
enum rule_field {
    RULE_FIELD_INDUSTRY,
    RULE_FIELD_SIZE,
    RULE_FIELD_REVENUE,
    RULE_FIELD_COUNTRY,
    RULE_FIELD_COUNT,
};

/* A value as it is compared: folded text, or for a country that the table knows its code in capitals (so that the two
 * cannot be confused). */
struct rule_value {
    const char *text;
    size_t size;
};

/* What a lead must satisfy. A list without values restricts nothing. */
struct rule_conditions {
    struct rule_value *values[RULE_FIELD_COUNT];
    size_t value_counts[RULE_FIELD_COUNT];
    bool restricts_states; /* by us_states or regions */
    place_states states;   /* the states both allow; may be none */
};

/* Reads conditions; the values lie in `arena`. Errors: ERROR_INVALID with the JSON path to the fault. */
bool rule_conditions_parse(
    const char *json, struct arena *arena, struct rule_conditions *ret_conditions, struct error *reterr_error);

/* Capacity that rule_value_make() needs for `size` bytes. */
#define RULE_VALUE_CAPACITY(size) TEXT_CAPACITY(size)

/* Writes `size` bytes of a rule's or a lead's text as they are compared in `field`. Returns false when it is not
 * valid UTF-8, or blank. One function for both sides: that is what makes them comparable. */
bool rule_value_make(
    enum rule_field field, const char *text, size_t size, char *ret_text, size_t capacity, size_t *ret_size);

#endif
