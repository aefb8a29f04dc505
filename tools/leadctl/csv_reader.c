#include "csv_reader.h"

#include <csv.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"

enum { CHUNK_SIZE = 16384 };

struct parsed_row {
    const char **fields;
    size_t *sizes;
    size_t count;
    size_t line;
};

struct csv_reader {
    FILE *file;
    struct csv_parser parser;
    struct arena *arena; /* of the row being built and the one given out */
    size_t position;
    bool is_started;
    bool is_ended;
    struct error error;

    unsigned char chunk[CHUNK_SIZE];
    size_t chunk_size;
    size_t chunk_used;

    /* where we are: lines are counted here, since libcsv does not */
    size_t line;
    size_t quote_line; /* where the last quote that opened a field stands */
    bool in_quotes;

    /* the row being built */
    const char *fields[CSV_FIELDS_MAX];
    size_t sizes[CSV_FIELDS_MAX];
    size_t field_count;
    size_t row_line;
    size_t row_size;
    bool row_begun;
    bool too_many;
    bool is_complete;
};

struct csv_reader *csv_reader_new(FILE *file)
{
    struct csv_reader *reader = memory_new(sizeof(*reader));

    reader->file = file;
    reader->arena = arena_new(64 * 1024);
    reader->line = 1;
    if (csv_init(&reader->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0)
        abort();
    return reader;
}

void csv_reader_free(struct csv_reader *reader)
{
    if (reader == NULL)
        return;
    csv_free(&reader->parser);
    arena_free(reader->arena);
    free(reader);
}

size_t csv_reader_position(const struct csv_reader *reader)
{
    return reader->position;
}

static void on_field(void *text, size_t size, void *user)
{
    struct csv_reader *reader = user;

    if (reader->field_count == CSV_FIELDS_MAX) {
        reader->too_many = true;
        return;
    }
    reader->fields[reader->field_count] = arena_copy(reader->arena, text, size);
    reader->sizes[reader->field_count] = size;
    reader->field_count++;
}

static void on_row(int terminator, void *user)
{
    struct csv_reader *reader = user;

    (void)terminator;
    reader->is_complete = true;
}

/* Keeps count of lines and of where a quoted field was opened: a quote inside one is written twice, so the parity
 * tells. */
static void follow(struct csv_reader *reader, unsigned char byte)
{
    if (!reader->row_begun && byte != '\n' && byte != '\r') {
        reader->row_begun = true;
        reader->row_line = reader->line;
    }
    if (byte == '"') {
        reader->in_quotes = !reader->in_quotes;
        if (reader->in_quotes)
            reader->quote_line = reader->line;
    }
    if (byte == '\n')
        reader->line++;
    if (reader->row_begun) /* empty lines between rows are nobody's */
        reader->row_size++;
}

static bool read_chunk(struct csv_reader *reader)
{
    reader->chunk_used = 0;
    reader->chunk_size = fread(reader->chunk, 1, sizeof(reader->chunk), reader->file);
    reader->position += reader->chunk_size;
    if (reader->chunk_size == 0 && ferror(reader->file) != 0)
        error_set(&reader->error, ERROR_SYSTEM, "could not read: %s", strerror(errno));
    if (!reader->is_started && reader->chunk_size >= 3 && memcmp(reader->chunk, "\xef\xbb\xbf", 3) == 0)
        reader->chunk_used = 3;
    reader->is_started = true;
    return reader->chunk_size > 0;
}

static bool broken(struct csv_reader *reader)
{
    if (reader->in_quotes)
        return error_set(&reader->error, ERROR_INVALID,
            "line %zu: a quoted field begins here and is never closed; rows from line %zu on were not read",
            reader->quote_line, reader->row_line);
    return error_set(&reader->error, ERROR_INVALID,
        "line %zu: a quote stands where it cannot; rows from line %zu on were not read", reader->line,
        reader->row_line);
}

/* The file has ended: what was begun is a last row without a line end, or broken. */
static void end_of_file(struct csv_reader *reader)
{
    reader->is_ended = true;
    if (reader->error.code == ERROR_NONE && csv_fini(&reader->parser, on_field, on_row, reader) != 0)
        broken(reader);
}

/* Feeds bytes one by one until a row is complete: rows are given out one at a time. */
static void advance(struct csv_reader *reader)
{
    while (!reader->is_complete && reader->error.code == ERROR_NONE && !reader->is_ended) {
        if (reader->chunk_used == reader->chunk_size && !read_chunk(reader)) {
            end_of_file(reader);
            return;
        }
        const unsigned char *byte = &reader->chunk[reader->chunk_used++];
        follow(reader, *byte);
        if (csv_parse(&reader->parser, byte, 1, on_field, on_row, reader) != 1)
            broken(reader);
        else if (reader->row_size > CSV_ROW_SIZE_MAX)
            error_set(&reader->error, ERROR_INVALID, "line %zu: the row is longer than %d bytes", reader->row_line,
                CSV_ROW_SIZE_MAX);
        else if (reader->too_many)
            error_set(&reader->error, ERROR_INVALID, "line %zu: the row has more than %d fields", reader->row_line,
                CSV_FIELDS_MAX);
    }
}

bool csv_reader_next(struct csv_reader *reader, struct csv_row *ret_row, struct error *reterr_error)
{
    arena_clear(reader->arena);
    reader->field_count = 0;
    reader->row_size = 0;
    reader->row_begun = false;
    reader->is_complete = false;
    advance(reader);
    if (!reader->is_complete || reader->error.code != ERROR_NONE) {
        *reterr_error = reader->error;
        return false;
    }
    *ret_row = (struct csv_row){
        .fields = reader->fields, .sizes = reader->sizes, .count = reader->field_count, .line = reader->row_line};
    return true;
}
