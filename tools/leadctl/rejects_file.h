/* The file of rejected rows: CSV (RFC 4180) with the columns of the file that they come from and three more, to be corrected and imported
 * again. A row that could not be read whole has a value more than there are columns, so that it is rejected again until somebody has
 * looked at it. One thread at a time. */
#ifndef LEADCTL_REJECTS_FILE_H
#define LEADCTL_REJECTS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "ingest/reader.h"

struct rejects_file;

/* Opens it, without changing what is there. `source` says what columns there are; of JSON there is one, with the whole record.
 * Errors: ERROR_SYSTEM. */
bool rejects_file_open(
    const char *path, const struct ingest_source *source, struct rejects_file **ret_file, struct error *reterr_error);

/* Begins to write. With `is_continued` what is there is kept, if it is such a file with these columns, but for a last line that was cut
 * off; otherwise the file is written anew. `*ret_last_row` is the highest number of a row that is in it. Errors: ERROR_SYSTEM. */
bool rejects_file_begin(
    struct rejects_file *file, bool is_continued, int64_t *ret_last_row, struct error *reterr_error);

/* A row's values as they are written. */
struct rejects_cells {
    const char *columns;
    size_t columns_size;
    const char *rest; /* what is more than there are columns; "" for a row that was read whole */
    size_t rest_size;
};

/* Copies them into the arena, for as long as the row's rejection can still come. */
struct rejects_cells rejects_file_copy(
    const struct rejects_file *file, const struct ingest_row *row, struct arena *arena);

/* Writes a row. Errors: ERROR_SYSTEM, also of rows before, for they are written in blocks. */
bool rejects_file_add(struct rejects_file *file, const struct rejects_cells *cells, int64_t row, const char *field,
    const char *reason, struct error *reterr_error);

/* How many rows are in it: those that were kept, and those that were added. */
int64_t rejects_file_count(const struct rejects_file *file);

/* Writes out what was added. */
bool rejects_file_flush(struct rejects_file *file, struct error *reterr_error);

/* NULL is fine. What was not flushed may be lost. */
void rejects_file_free(struct rejects_file *file);

#endif
