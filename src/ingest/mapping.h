/* Mappings as data: which column or path of a row becomes which field of a lead (docs/mappings.md has the language).
 *
 * A mapping is compiled once and never changes; a binding is a mapping together with the columns of one file, and never changes
 * either. Both may be used by any number of threads. */
#ifndef INGEST_MAPPING_H
#define INGEST_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "ingest/normalize.h"
#include "ingest/reader.h"

enum {
    INGEST_MAPPING_SIZE_MAX = 256 * 1024, /* bytes of a mapping file */
    INGEST_FIELD_SIZE_MAX = 1000,         /* bytes of one field, as the service takes them */
    INGEST_ATTRIBUTES_SIZE_MAX = 65536,   /* bytes of the attributes */
};

/* A lead as CreateLeads takes it. Texts are UTF-8 and live in the arena that they were asked into. */
struct ingest_lead {
    const char *fields[INGEST_FIELD_COUNT]; /* "" when not known; never NULL */
    const char *attributes_json;            /* one JSON object, or "" */
};

struct ingest_mapping;
struct ingest_binding;

/* Compiles a mapping from YAML or JSON. `file` stands in messages: "leads.yaml: line 3: fields.email.frm: unknown key". Errors:
 * ERROR_INVALID. `*ret_mapping` is the caller's, released with ingest_mapping_free(). */
bool ingest_mapping_parse(
    const char *text, size_t size, const char *file, struct ingest_mapping **ret_mapping, struct error *reterr_error);
void ingest_mapping_free(struct ingest_mapping *mapping); /* NULL is fine; after its bindings */

/* The mapping of a name that is built in. Errors: ERROR_NOT_FOUND, naming those that are. */
bool ingest_mapping_builtin(const char *name, struct ingest_mapping **ret_mapping, struct error *reterr_error);

/* A mapping that is built in: its name, and its text for people who want to change it. Static storage. */
struct ingest_builtin {
    const char *name;
    const char *text;
};

extern const struct ingest_builtin ingest_builtins[];
extern const size_t ingest_builtin_count;

/* For the reader: the format that the mapping is for (or INGEST_FORMAT_DETECT), and the paths that rows are unwrapped from (or
 * NULL). Borrowed from the mapping. */
enum ingest_format ingest_mapping_format(const struct ingest_mapping *mapping);
const char *const *ingest_mapping_unwrap(const struct ingest_mapping *mapping);

/* Binds a mapping, which it borrows, to what a reader found out. Errors: ERROR_NOT_FOUND when a field is to come from columns of
 * which the file has none (unless the mapping says `columns: optional`), naming those it has; ERROR_INVALID when a name fits two
 * columns. */
bool ingest_binding_new(const struct ingest_mapping *mapping, const struct ingest_source *source,
    struct ingest_binding **ret_binding, struct error *reterr_error);
void ingest_binding_free(struct ingest_binding *binding); /* NULL is fine */

/* Makes a lead of a row, in the arena, which gets what it needs on the way as well. False with the reason for a row that the reader has
 * rejected, or one that the mapping refuses: a field that is required and missing, an e-mail address that is none, a value beyond the
 * bounds. `ret_rejection->field` is a field's name, borrowed from the mapping or static. */
bool ingest_binding_apply(const struct ingest_binding *binding, const struct ingest_row *row, struct arena *arena,
    struct ingest_lead *ret_lead, struct ingest_rejection *ret_rejection);

#endif
