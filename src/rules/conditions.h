/* Conditions of one rule: from JSON to a checked tree (docs/rules.md). Shared by what compiles, explains and lints rules. */
#ifndef RULES_CONDITIONS_H
#define RULES_CONDITIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "rules/fields.h"
#include "rules/pattern.h"
#include "rules/values.h"

enum {
    RULE_CONDITIONS_SIZE_MAX = 256 * 1024, /* bytes of JSON in one rule */
    RULE_CONDITIONS_DEPTH_MAX = 16,        /* objects within objects */
    RULE_TESTS_MAX = 256,                  /* tests in one rule */
    RULE_VALUES_MAX = 10000,               /* values in one rule */
    RULE_VALUE_SIZE_MAX = 512,             /* bytes of one value */
    RULE_NAME_SIZE_MAX = 200,              /* bytes of an attribute's or a set's name */
    RULE_FIELDS_MAX = 1000,                /* different fields, and different sets, in the rules of one workspace */
};

enum rule_op {
    RULE_OP_EQ,
    RULE_OP_NE,
    RULE_OP_IN,
    RULE_OP_NOT_IN,
    RULE_OP_GT,
    RULE_OP_GTE,
    RULE_OP_LT,
    RULE_OP_LTE,
    RULE_OP_BETWEEN,
    RULE_OP_NOT_BETWEEN,
    RULE_OP_CONTAINS,
    RULE_OP_NOT_CONTAINS,
    RULE_OP_STARTS_WITH,
    RULE_OP_ENDS_WITH,
    RULE_OP_WILDCARD,
    RULE_OP_REGEX,
    RULE_OP_PRESENT,
    RULE_OP_BLANK,
    RULE_OP_VALID,
    RULE_OP_EMAIL_DOMAIN_IN,
    RULE_OP_POSTAL_PREFIX_IN,
    RULE_OP_WITHIN_RADIUS,
    RULE_OP_BEFORE,
    RULE_OP_AFTER,
    RULE_OP_WITHIN_LAST,
    RULE_OP_IN_SET,
    RULE_OP_NOT_IN_SET,
    RULE_OP_COUNT,
};

/* "eq" and so on. Static storage. */
const char *rule_op_name(enum rule_op op);

/* What a test compares its field with. */
enum rule_operand {
    RULE_OPERAND_NONE,
    RULE_OPERAND_TEXTS,   /* `values`: one, or for lists sorted and without repetition */
    RULE_OPERAND_NUMBERS, /* `numbers`: one, two for a range, or sorted */
    RULE_OPERAND_FIELD,   /* `other` */
    RULE_OPERAND_MOMENT,
    RULE_OPERAND_SPAN,
    RULE_OPERAND_CIRCLE,
    RULE_OPERAND_SET,
    RULE_OPERAND_PATTERN,
};

/* A field that conditions name. `number` is its index among the different ones of its reader (struct rule_fields). */
struct rule_field_ref {
    enum rule_field field;
    const char *attribute; /* NULL unless RULE_FIELD_ATTRIBUTE */
    uint32_t number;
};

struct rule_circle {
    double latitude;
    double longitude;
    double km;
};

/* One test of one field. */
struct rule_test {
    enum rule_op op;
    struct rule_field_ref field;
    enum rule_form form; /* in which both sides are compared as texts */
    enum rule_operand operand;
    size_t count; /* of `values` or `numbers` */
    union {
        const struct rule_value *values;
        const double *numbers;
        struct rule_field_ref other;
        int64_t moment_us;
        int64_t span_us;
        struct rule_circle circle;
        uint32_t set_number;          /* index into the reader's `sets` */
        struct rule_pattern *pattern; /* the reader's, freed with it */
    };
};

enum rule_condition_kind { RULE_CONDITION_ALL, RULE_CONDITION_ANY, RULE_CONDITION_NOT, RULE_CONDITION_TEST };

/* A node of the tree. Immutable. */
struct rule_condition {
    enum rule_condition_kind kind;
    const struct rule_test *test;              /* of RULE_CONDITION_TEST */
    const struct rule_condition *const *items; /* of the others; exactly one for NOT */
    size_t count;
    const char *path;     /* "$.all[1]": where it stands in the JSON; NULL unless the reader keeps texts */
    const char *expected; /* of a test: its value as JSON; NULL unless the reader keeps texts */
};

/* The different fields of everything that was read, in order of appearance. */
struct rule_fields {
    struct rule_field_ref *items;
    size_t count;
    size_t capacity;
};

/* A set as a test asks for it: its values are made comparable in a form, for places of a field. */
struct rule_set_ref {
    const char *name;
    enum rule_form form;
    enum rule_field field; /* of RULE_FORM_PLACE */
};

/* Reads the conditions of one or many rules. */
struct rule_reader {
    struct arena *arena; /* Required: trees, values and names live in it */
    bool keeps_texts;    /* paths and expected values, for explanations */
    size_t value_count;  /* values read so far, in all rules */
    bool checks_cost;    /* refuses expressions that may take too many steps: for when a rule is saved */
    struct rule_fields fields;
    struct rule_set_ref *sets; /* the different ones, in order of appearance */
    size_t set_count;
    size_t set_capacity;
    struct rule_pattern **patterns;
    size_t pattern_count;
    size_t pattern_capacity;
};

/* Frees what a reader holds besides its arena. A zeroed one with an arena is ready for use. */
void rule_reader_release(struct rule_reader *reader);

/* Reads the conditions of one rule. Errors: ERROR_INVALID with the JSON path to the fault. */
bool rule_conditions_parse(struct rule_reader *reader, const char *json, const struct rule_condition **ret_condition,
    struct error *reterr_error);

#endif
