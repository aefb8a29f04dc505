/* Rows of a file of leads, whatever it is: CSV or JSON, in several encodings, in chunks of any size.
 *
 * Nothing is read here: the caller feeds bytes, from a file or from the network. How they are cut into chunks changes nothing. Memory is
 * bounded whatever the size of the file: a head of 64 KiB, from which is found out what the file is, and one record. A reader belongs to
 * one thread. */
#ifndef INGEST_READER_H
#define INGEST_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/error.h"

enum {
    INGEST_HEAD_SIZE = 64 * 1024,
    INGEST_RECORD_SIZE_MAX = 1024 * 1024,       /* bytes of one row, in UTF-8 */
    INGEST_DOCUMENT_SIZE_MAX = 4 * 1024 * 1024, /* bytes of one JSON document that rows are unwrapped from */
    INGEST_COLUMNS_MAX = 1000,
    INGEST_DEPTH_MAX = 64, /* nesting of JSON */
    INGEST_REASON_SIZE = 256,
};

enum ingest_format {
    INGEST_FORMAT_DETECT = 0,
    INGEST_FORMAT_CSV,
    INGEST_FORMAT_JSON, /* one object a line; objects one after another; one array of objects; an envelope around one */
};

enum ingest_encoding {
    INGEST_ENCODING_DETECT = 0,
    INGEST_ENCODING_UTF_8,
    INGEST_ENCODING_UTF_16_LE,
    INGEST_ENCODING_UTF_16_BE,
    INGEST_ENCODING_WINDOWS_1252, /* and ISO 8859-1, whose letters are the same */
};

enum ingest_header {
    INGEST_HEADER_EXPECTED = 0, /* the first row names the columns; one that looks like data is refused */
    INGEST_HEADER_PRESENT,      /* the first row names the columns, whatever it looks like */
    INGEST_HEADER_ABSENT,       /* columns are called "1", "2" and so on */
};

/* How to read. All zero: everything is found out. */
struct ingest_reader_options {
    enum ingest_format format;
    enum ingest_encoding encoding; /* one that is named is believed, and what does not fit is rejected */
    char delimiter;                /* of CSV; 0: comma, semicolon, tab or pipe, whichever fits */
    enum ingest_header header;     /* of CSV */
    const char *const *
        unwrap; /* JSON: paths of which the first that is there holds the rows ("data.identities"); NULL after the last, or NULL.
                                * Borrowed while the reader lives */
};

/* What was found out about the file. */
struct ingest_source {
    enum ingest_format format;
    enum ingest_encoding encoding; /* may become Windows-1252 later, as long as nothing but ASCII was read */
    char delimiter;                /* CSV */
    bool has_header;               /* CSV */
    const char *const *columns;    /* CSV: names, trimmed; one without a name is called by its number, from 1 */
    size_t column_count;
};

/* Why a row was not taken: "" for the row as a whole. Never holds what stands in the row. */
struct ingest_rejection {
    const char *field;
    char reason[INGEST_REASON_SIZE];
};

struct ingest_cell {
    const char *text; /* UTF-8, NUL-terminated; "" where the row is too short */
    size_t size;
};

/* A row. Borrowed until the next call. */
struct ingest_row {
    uint64_t number; /* from 1; the header does not count */
    uint64_t line;   /* where it begins, from 1 */
    uint64_t offset; /* the byte of the file where it begins */
    bool is_rejected;
    struct ingest_rejection rejection; /* if it is: why; the rest may be incomplete then */
    const struct ingest_cell *cells;   /* CSV: one for each column */
    size_t cell_count; /* CSV: as many as there are columns; for a row that is too long, as many as it has, at most
                                         * INGEST_COLUMNS_MAX */
    const char *const *columns; /* CSV: the names, as in ingest_source */
    json_t *object;             /* JSON; NULL when rejected */
    const char
        *text; /* JSON: the record as it came, in UTF-8; NULL for a row that is one of many in it: ingest_row_write() */
    size_t text_size;
    const json_t *item; /* JSON: the row's value; NULL when the record could not be read */
    json_t *record;     /* JSON: what the row lies in, or the row itself; NULL when it could not be read */
};

/* What ingest_reader_next() came to. */
enum ingest_step {
    INGEST_STEP_MORE, /* all bytes are used: feed, or finish */
    INGEST_STEP_STARTED, /* ingest_reader_source() knows the file; once, before any row, and before the end of a file that is not broken */
    INGEST_STEP_ROW, /* a row, perhaps rejected */
    INGEST_STEP_END,
    INGEST_STEP_FAILED, /* nobody knows where rows begin from here on, or the file is none of leads; rows before were given */
};

struct ingest_reader;

/* Makes a reader. */
struct ingest_reader *ingest_reader_new(const struct ingest_reader_options *options);
void ingest_reader_free(struct ingest_reader *reader); /* NULL is fine */

/* Gives bytes; they are borrowed until ingest_reader_next() has answered INGEST_STEP_MORE, and not to be called before that. */
void ingest_reader_feed(struct ingest_reader *reader, const void *bytes, size_t size);

/* Says that no more bytes come. */
void ingest_reader_finish(struct ingest_reader *reader);

/* The next step. `ret_row` is written for INGEST_STEP_ROW, `reterr_error` for INGEST_STEP_FAILED: ERROR_INVALID with the line or byte,
 * such as "line 7: a quoted field begins here and is never closed". After an end or a failure the answer stays the same. */
enum ingest_step ingest_reader_next(
    struct ingest_reader *reader, struct ingest_row *ret_row, struct error *reterr_error);

/* Appends a row of JSON as it came; of one that lies inside of a record, its own value. For a file of rejected rows. */
void ingest_row_write(const struct ingest_row *row, struct buffer *buffer);

/* What is known of the file; borrowed, valid from INGEST_STEP_STARTED until the reader is freed. */
const struct ingest_source *ingest_reader_source(const struct ingest_reader *reader);

/* The byte of the file behind the last row that was given. */
uint64_t ingest_reader_offset(const struct ingest_reader *reader);

/* Columns that a file of rejected rows has behind those of the file that the rows come from: the number of the row, the field at fault,
 * why. When such a file is read again they are never kept in attributes. */
enum { INGEST_REJECTED_COLUMNS = 3 };
extern const char *const ingest_rejected_columns[INGEST_REJECTED_COLUMNS];

/* Names for people: "utf-8", "utf-16le", "utf-16be", "windows-1252". Static storage. */
const char *ingest_encoding_name(enum ingest_encoding encoding);

/* The encoding of a name, also "latin-1", "iso-8859-1", "utf8", "auto"; false for others. Case does not count. */
bool ingest_encoding_find(const char *name, enum ingest_encoding *ret_encoding);

#endif
