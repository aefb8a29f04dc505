/* CSV rows from a file, one at a time (libcsv does the parsing), with the line each began on and one clear error
 * where a file is broken. */
#ifndef LEADCTL_CSV_READER_H
#define LEADCTL_CSV_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

enum { CSV_ROW_SIZE_MAX = 1024 * 1024, CSV_FIELDS_MAX = 1000 };

struct csv_reader;

/* A row. Borrowed until the next call. */
struct csv_row {
    const char *const *fields; /* NUL-terminated; a NUL in a field ends it early, `sizes` tells */
    const size_t *sizes;
    size_t count;
    size_t line; /* where the row begins, from 1 */
};

/* Reads from `file`, which stays the caller's. A byte order mark is skipped. */
struct csv_reader *csv_reader_new(FILE *file);
void csv_reader_free(struct csv_reader *reader); /* NULL is fine */

/* The next row: true; false at the end (`reterr_error->code` ERROR_NONE) or when the file is broken (ERROR_INVALID:
 * a quoted field that is never closed, a row beyond the bounds; ERROR_SYSTEM: cannot be read). Rows before the
 * fault have been given. */
bool csv_reader_next(struct csv_reader *reader, struct csv_row *ret_row, struct error *reterr_error);

/* Bytes read so far, for progress. */
size_t csv_reader_position(const struct csv_reader *reader);

#endif
