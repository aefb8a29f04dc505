/* A compiled mapping: what mapping_file.c makes and mapping.c follows. */
#ifndef INGEST_MAPPING_INTERNAL_H
#define INGEST_MAPPING_INTERNAL_H

#include "base/arena.h"
#include "ingest/mapping.h"
#include "ingest/parts.h"

enum { MAPPING_NO_REF = -1, MAPPING_REFS_MAX = 2000 };

/* What to do with a value that is not what its field wants. */
enum mapping_invalid { MAPPING_INVALID_BY_FIELD, MAPPING_INVALID_REJECT, MAPPING_INVALID_DROP, MAPPING_INVALID_KEEP };

/* What to do with a value that a value map does not have. */
enum mapping_otherwise { MAPPING_OTHERWISE_KEEP, MAPPING_OTHERWISE_DROP, MAPPING_OTHERWISE_REJECT };

/* How an attribute is written. */
enum mapping_type { MAPPING_TYPE_AS_IT_CAME, MAPPING_TYPE_TEXT, MAPPING_TYPE_NUMBER, MAPPING_TYPE_BOOLEAN };

/* Folded texts, sorted. */
struct mapping_texts {
    const char **items;
    size_t count;
};

struct mapping_value {
    const char *from; /* folded */
    const char *to;
};

/* One test of an element of a list. */
struct mapping_test {
    const char *path;
    struct mapping_texts values;
};

struct mapping_pick {
    struct mapping_test *where;
    size_t where_count;
    struct mapping_test *where_not;
    size_t where_not_count;
    const char **order; /* paths; "-" in front: the greatest first */
    size_t order_count;
    const char *take; /* path in the element, or NULL: itself */
};

/* Where a value comes from and what is done to it. */
struct mapping_spec {
    int ref;                    /* a column or path, or MAPPING_NO_REF */
    struct mapping_spec **from; /* alternatives, in order, when it is no ref */
    size_t from_count;
    const char *constant; /* NULL: none */
    const char *fallback; /* NULL: none */
    struct mapping_value *values;
    size_t value_count;
    enum mapping_otherwise otherwise;
    struct mapping_texts blanks;
    const struct mapping_pick *pick;
    const char *split; /* NULL: not */
    bool takes_last;
    enum ingest_part part;
    int unless; /* ref of a do-not-call flag, or MAPPING_NO_REF */
    enum mapping_invalid invalid;
    enum mapping_type type;
};

struct mapping_attribute {
    const char *name;
    const struct mapping_spec *spec;
};

/* Fields of which one must be there. */
struct mapping_required {
    const char **names; /* fields, or attributes.NAME */
    size_t count;
};

struct ingest_mapping {
    struct arena *arena; /* of everything here */
    const char *name;
    const char *description;
    enum ingest_format format;
    const char **unwrap; /* NULL after the last; or NULL */
    const char **within;
    size_t within_count;
    const char **beside;
    size_t beside_count;
    struct mapping_texts blanks;
    bool has_optional_columns;
    const struct mapping_spec *fields[INGEST_FIELD_COUNT]; /* NULL: not mapped */
    struct mapping_attribute *attributes;
    size_t attribute_count;
    struct mapping_required *required;
    size_t required_count;
    bool keeps_rest;
    const char *rest_under; /* NULL: beside the other attributes */
    const char *refs[MAPPING_REFS_MAX];
    size_t ref_count;
};

#endif
