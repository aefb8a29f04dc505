/* CSV by libcsv, which neither counts lines nor says where a quote was opened nor goes on behind a fault. */
#include "ingest/rows.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum {
    ARENA_BLOCK_SIZE = 16 * 1024,
    PARSER_OPTIONS = CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL,
    PARSER_BLOCK_SIZE = 16 * 1024, /* by which libcsv's buffer for a field grows: 128 bytes, unless told otherwise */
    DETECT_LINES_MAX = 20,
};

void place_advance(struct place *place, char byte)
{
    if (byte == '\r' || (byte == '\n' && !place->after_cr))
        place->line++;
    place->after_cr = byte == '\r';
}

static void init_parser(struct csv_rows *rows, unsigned char delimiter)
{
    int status = csv_init(&rows->parser, PARSER_OPTIONS);
    assert(status == 0);
    csv_set_delim(&rows->parser, delimiter);
    csv_set_blk_size(&rows->parser, PARSER_BLOCK_SIZE);
}

void csv_rows_init(struct csv_rows *rows, char delimiter)
{
    *rows = (struct csv_rows){.place = {.line = 1}};
    init_parser(rows, (unsigned char)delimiter);
    rows->arena = arena_new(ARENA_BLOCK_SIZE);
}

void csv_rows_release(struct csv_rows *rows)
{
    if (rows->arena == NULL)
        return;
    csv_free(&rows->parser);
    arena_free(rows->arena);
    *rows = (struct csv_rows){0};
}

void csv_rows_clear(struct csv_rows *rows)
{
    arena_clear(rows->arena);
    rows->cell_count = 0;
    rows->size = 0;
    rows->has_begun = false;
    rows->is_complete = false;
    rows->is_rejected = false;
}

static void reject(struct csv_rows *rows, const char *reason)
{
    if (rows->is_rejected)
        return;
    rows->is_rejected = true;
    rows->rejection.field = "";
    (void)snprintf(rows->rejection.reason, sizeof(rows->rejection.reason), "%s", reason);
}

static void on_field(void *text, size_t size, void *user)
{
    struct csv_rows *rows = user;

    if (rows->cell_count < INGEST_COLUMNS_MAX)
        rows->cells[rows->cell_count] = (struct ingest_cell){.text = arena_copy(rows->arena, text, size), .size = size};
    rows->cell_count++;
    if (memchr(text, 0, size) != NULL)
        reject(rows, "contains a NUL byte");
}

static void on_row(int terminator, void *user)
{
    struct csv_rows *rows = user;

    (void)terminator;
    rows->is_complete = true;
}

static bool is_line_end(char byte)
{
    return byte == '\n' || byte == '\r';
}

/* The line on which the field began that libcsv is in. */
static uint64_t field_line(const struct csv_rows *rows)
{
    struct place place = {.line = 0};

    for (size_t i = 0; i < rows->parser.entry_pos; i++)
        place_advance(&place, (char)rows->parser.entry_buf[i]);
    return rows->place.line - place.line;
}

static bool is_in_quotes(const struct csv_rows *rows)
{
    return rows->parser.quoted != 0 && rows->has_begun;
}

static bool unclosed(const struct csv_rows *rows, struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_INVALID,
        "line %llu: a quoted field begins here and is never closed; rows from line %llu on were not read",
        (unsigned long long)field_line(rows), (unsigned long long)rows->line);
}

/* Forgets what libcsv holds of a record, and goes on behind the end of the line. */
static void skip_line(struct csv_rows *rows)
{
    unsigned char delimiter = csv_get_delim(&rows->parser);

    csv_free(&rows->parser);
    init_parser(rows, delimiter);
    rows->is_skipping = true;
}

/* libcsv has refused a byte. A quote inside a field that has none around it is a character like any other (5" pipe); what stands behind a
 * closing quote leaves open where the field ends: the row is rejected. */
static size_t handle_refusal(struct csv_rows *rows, const char *byte)
{
    if (rows->parser.quoted != 0) {
        reject(rows, "text stands behind the quote that closes a field");
        skip_line(rows);
        return 0;
    }
    (void)csv_set_opts(&rows->parser, PARSER_OPTIONS & ~CSV_STRICT);
    size_t used = csv_parse(&rows->parser, byte, 1, on_field, on_row, rows);
    assert(used == 1);
    (void)csv_set_opts(&rows->parser, PARSER_OPTIONS);
    return 1;
}

static void parse(struct csv_rows *rows, const char *bytes, size_t size)
{
    size_t used = 0;

    while (used < size && !rows->is_skipping) {
        used += csv_parse(&rows->parser, bytes + used, size - used, on_field, on_row, rows);
        if (used < size)
            used += handle_refusal(rows, bytes + used);
    }
    if (rows->is_skipping && is_line_end(bytes[size - 1])) {
        rows->is_skipping = false;
        rows->is_complete = true;
    }
}

/* The record has become too long: a line can be passed over, a quoted field cannot. */
static bool too_long(struct csv_rows *rows, struct error *reterr_error)
{
    if (is_in_quotes(rows))
        return error_set(reterr_error, ERROR_INVALID,
            "line %llu: the row is longer than %d bytes, and in it a quoted field that begins on line %llu is not "
            "closed",
            (unsigned long long)rows->line, INGEST_RECORD_SIZE_MAX, (unsigned long long)field_line(rows));
    if (rows->column_count == 0)
        return error_set(reterr_error, ERROR_INVALID,
            "line %llu: longer than %d bytes, where names of columns are expected", (unsigned long long)rows->line,
            INGEST_RECORD_SIZE_MAX);
    reject(rows, "longer than 1 MiB");
    skip_line(rows);
    return true;
}

bool csv_rows_take(struct csv_rows *rows, const char *bytes, size_t size, uint64_t offset, struct error *reterr_error)
{
    assert(!rows->is_complete && size > 0);
    if (!rows->has_begun) {
        if (size == 1 && is_line_end(bytes[0])) { /* an empty line, or the LF of a CR */
            place_advance(&rows->place, bytes[0]);
            return true;
        }
        rows->has_begun = true;
        rows->line = rows->place.line;
        rows->offset = offset;
    }
    parse(rows, bytes, size);
    place_advance(&rows->place, bytes[size - 1]);
    rows->size += rows->is_skipping ? 0 : size;
    if (!rows->is_complete && !is_in_quotes(rows) && is_line_end(bytes[size - 1]) && !rows->is_skipping)
        csv_rows_clear(rows); /* a line of blanks */
    if (rows->size > INGEST_RECORD_SIZE_MAX && !rows->is_complete && !rows->is_skipping)
        return too_long(rows, reterr_error);
    return true;
}

bool csv_rows_finish(struct csv_rows *rows, struct error *reterr_error)
{
    if (rows->is_skipping) {
        rows->is_skipping = false;
        rows->is_complete = true;
        return true;
    }
    if (csv_fini(&rows->parser, on_field, on_row, rows) != 0)
        return unclosed(rows, reterr_error);
    return true;
}

/* --- Detecting ---------------------------------------------------------------------------------------------------- */

/* How often each candidate stands outside quotes on the lines of a text. */
struct delimiter_count {
    char delimiter;
    size_t header; /* on the first line */
    size_t lines;  /* that have as many */
};

static void count_line(struct delimiter_count *count, size_t on_line, size_t line)
{
    if (line == 0)
        count->header = on_line;
    count->lines += on_line == count->header;
}

char csv_detect_delimiter(const char *text, size_t size)
{
    struct delimiter_count counts[] = {{',', 0, 0}, {';', 0, 0}, {'\t', 0, 0}, {'|', 0, 0}};
    size_t best = 0;

    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        bool in_quotes = false;
        size_t on_line = 0;
        size_t line_size = 0;
        size_t lines = 0;
        for (size_t i = 0; i < size && lines < DETECT_LINES_MAX; i++) {
            in_quotes ^= text[i] == '"';
            on_line += !in_quotes && text[i] == counts[c].delimiter;
            line_size++;
            if (in_quotes || !is_line_end(text[i]))
                continue;
            if (line_size > 1)
                count_line(&counts[c], on_line, lines++);
            on_line = 0;
            line_size = 0;
        }
        if (lines == 0) /* no line end: the header is all there is */
            count_line(&counts[c], on_line, 0);
        if (counts[c].header == 0)
            continue;
        if (counts[best].header == 0 || counts[c].lines > counts[best].lines ||
            (counts[c].lines == counts[best].lines && counts[c].header > counts[best].header))
            best = c;
    }
    return counts[best].delimiter;
}
