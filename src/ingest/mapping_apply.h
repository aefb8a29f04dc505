/* Values of one row: found by what a mapping says, and written as attributes. */
#ifndef INGEST_MAPPING_APPLY_H
#define INGEST_MAPPING_APPLY_H

#include "base/arena.h"
#include "base/buffer.h"
#include "ingest/mapping_internal.h"

struct ingest_binding {
    const struct ingest_mapping *mapping;
    int *columns; /* of each ref, or MAPPING_NO_REF; CSV */
    size_t column_count;
};

/* One row on its way to a lead. */
struct application {
    const struct ingest_binding *binding;
    const struct ingest_row *row;
    struct arena *arena;
    struct ingest_rejection *rejection;
    bool wants_text;                           /* for a field: lists and objects are no values */
    const char *originals[INGEST_FIELD_COUNT]; /* what came, where it was changed; or NULL */
    const char **
        used; /* for each ref: the path whose whole value was taken, made plain; or NULL. JSON paths may lie within others */
};

/* A value. */
struct mapping_found {
    const char *text;     /* NULL or "" when there is none, and for lists and objects */
    const char *original; /* the text before anything was done to it */
    json_t *json;         /* what is kept as JSON: numbers, lists, objects; else NULL. Borrowed from the row */
};

/* Finds what a spec says, without its default. False when a value map refuses it. */
bool mapping_find(struct application *app, const struct mapping_spec *spec, struct mapping_found *ret_found);

/* Appends a value of an attribute as JSON. */
void mapping_write_value(const struct mapping_found *found, enum mapping_type type, struct buffer *json);

/* Appends a key and its colon to an object of JSON, behind a comma if it is not the first. */
void mapping_add_key(struct buffer *json, const char *key);

/* Appends what no field and no attribute has taken: members of an object whose beginning is in the buffer, or one member with all of it. */
void mapping_write_rest(struct application *app, struct buffer *json);

#endif
