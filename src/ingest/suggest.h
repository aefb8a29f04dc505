/* A mapping proposed from the names of columns and a sample of rows, for a person to read and correct.
 *
 * Nothing is imported by it: it is a text that ingest_mapping_parse() takes, in which every column has a line that says where it goes, how
 * sure that is, and why. Belongs to one thread. */
#ifndef INGEST_SUGGEST_H
#define INGEST_SUGGEST_H

#include <stddef.h>

#include "ingest/reader.h"

enum { INGEST_SUGGEST_ROWS_MAX = 1000 };

/* Where a column goes. */
struct ingest_suggestion {
    const char *column; /* of CSV, or a path of JSON */
    const char *target; /* "email", "attributes.county", or "" when it is left out */
    int confidence;     /* in percent */
    const char *reason;
};

struct ingest_suggester;

/* Begins with what a reader found out, which is copied. */
struct ingest_suggester *ingest_suggester_new(const struct ingest_source *source);
void ingest_suggester_free(struct ingest_suggester *suggester); /* NULL is fine */

/* Looks at a row; rejected ones and those beyond INGEST_SUGGEST_ROWS_MAX are passed over. */
void ingest_suggester_add(struct ingest_suggester *suggester, const struct ingest_row *row);

/* The proposal as YAML, named `name`; the caller's, released with free(). `*ret_suggestions`, one for each column in the order of the
 * file, are borrowed until the suggester is freed; may be NULL. Called once. */
char *ingest_suggester_write(struct ingest_suggester *suggester, const char *name,
    const struct ingest_suggestion **ret_suggestions, size_t *ret_count);

#endif
