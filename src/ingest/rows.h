/* Records out of UTF-8: the two formats behind one reader. Both take bytes up to the end of at most one record and then want to
 * be emptied. */
#ifndef INGEST_ROWS_H
#define INGEST_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <csv.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "ingest/reader.h"

/* Where records are in the file; lines end at LF, CR, or both. */
struct place {
    uint64_t line; /* of the next byte, from 1 */
    bool after_cr; /* so that an LF belongs to the line before */
};

/* Moves behind one byte. */
void place_advance(struct place *place, char byte);

/* --- CSV ---------------------------------------------------------------------------------------------------------- */

struct csv_rows {
    struct csv_parser parser;
    struct arena *arena; /* of the cells */
    struct place place;
    size_t column_count; /* 0 until the header is known */
    struct ingest_cell cells[INGEST_COLUMNS_MAX];
    size_t cell_count; /* may be beyond INGEST_COLUMNS_MAX: then the rest was not kept */
    size_t size;       /* bytes of the record so far */
    uint64_t line;     /* where it begins */
    uint64_t offset;
    bool has_begun;
    bool is_complete;
    bool is_skipping; /* the rest of a line that cannot be read */
    struct ingest_rejection rejection;
    bool is_rejected;
};

/* Makes it empty, at line 1; gives its memory back, also when it is all zero. */
void csv_rows_init(struct csv_rows *rows, char delimiter);
void csv_rows_release(struct csv_rows *rows);

/* Takes bytes, none of which but the last is a line end; `offset` is where they begin in the file. False with ERROR_INVALID when nobody
 * knows where the next row begins. */
bool csv_rows_take(struct csv_rows *rows, const char *bytes, size_t size, uint64_t offset, struct error *reterr_error);

/* The end of the file. */
bool csv_rows_finish(struct csv_rows *rows, struct error *reterr_error);

/* Forgets the record that is complete. */
void csv_rows_clear(struct csv_rows *rows);

/* Finds the delimiter of a text by its first lines. */
char csv_detect_delimiter(const char *text, size_t size);

/* --- JSON --------------------------------------------------------------------------------------------------------- */

enum json_layout {
    JSON_LAYOUT_LINES,     /* one value a line */
    JSON_LAYOUT_DOCUMENTS, /* values one after another, over as many lines as they like */
    JSON_LAYOUT_ARRAY,     /* values of one array */
};

struct json_rows {
    enum json_layout layout;
    size_t size_max;
    struct buffer text; /* of the record */
    struct place place;
    uint64_t line; /* where the record begins */
    uint64_t offset;
    bool in_array;       /* JSON_LAYOUT_ARRAY: its bracket was read */
    bool is_after_value; /* JSON_LAYOUT_ARRAY: a comma must come before the next */
    bool is_over;        /* JSON_LAYOUT_ARRAY: its end was read */
    bool has_begun;
    bool in_string;
    bool is_escaped;
    size_t depth;
    bool is_too_long;
    bool is_too_deep;
    bool is_complete;
};

/* Makes it empty, at line 1; gives its memory back. `has_documents`: records are envelopes, and may be longer. */
void json_rows_init(struct json_rows *rows, enum json_layout layout, bool has_documents);
void json_rows_release(struct json_rows *rows);

/* Takes bytes up to the end of a record; `*ret_used` is how many. False with ERROR_INVALID as above. */
bool json_rows_take(struct json_rows *rows, const char *bytes, size_t size, uint64_t offset, size_t *ret_used,
    struct error *reterr_error);
bool json_rows_finish(struct json_rows *rows, struct error *reterr_error);
void json_rows_clear(struct json_rows *rows);

/* The value of the record, with its numbers kept as they came (json_value.h). NULL when it is no JSON, with the reason. */
json_t *json_rows_value(const struct json_rows *rows, struct ingest_rejection *ret_rejection);

/* How the values of a text are laid out, by its first bytes. */
enum json_layout json_detect_layout(const char *text, size_t size);

#endif
