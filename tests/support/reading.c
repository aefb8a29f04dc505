#include "support/reading.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "ingest/json_value.h"

static void show_source(struct buffer *shown, const struct ingest_source *source)
{
    buffer_append_format(
        shown, "%s %s", source->format == INGEST_FORMAT_JSON ? "json" : "csv", ingest_encoding_name(source->encoding));
    if (source->format == INGEST_FORMAT_CSV) {
        buffer_append_format(shown, " %c ", source->delimiter);
        for (size_t i = 0; i < source->column_count; i++)
            buffer_append_format(shown, "%c%s", i == 0 ? '[' : '|', source->columns[i]);
        buffer_append_string(shown, "]");
    }
    buffer_append_string(shown, "\n");
}

static void show_row(struct buffer *shown, const struct ingest_row *row)
{
    buffer_append_format(shown, "%llu %llu@%llu ", (unsigned long long)row->number, (unsigned long long)row->line,
        (unsigned long long)row->offset);
    if (row->is_rejected) {
        buffer_append_format(shown, "!%s\n", row->rejection.reason);
        return;
    }
    if (row->object != NULL)
        json_value_write(shown, row->object);
    for (size_t i = 0; i < row->cell_count; i++) {
        assert(row->cells[i].text[row->cells[i].size] == '\0');
        buffer_append_format(shown, "%c%s", i == 0 ? '[' : '|', row->cells[i].text);
    }
    buffer_append_string(shown, row->object != NULL ? "\n" : "]\n");
}

/* Feeds from `*at` on until a step that is none of asking for more. */
static enum ingest_step step(struct ingest_reader *reader, const char *bytes, size_t size, size_t chunk, size_t *at,
    struct ingest_row *ret_row, struct error *reterr_error)
{
    for (;;) {
        enum ingest_step next = ingest_reader_next(reader, ret_row, reterr_error);
        if (next != INGEST_STEP_MORE)
            return next;
        size_t part = chunk < size - *at ? chunk : size - *at;
        if (part == 0) {
            ingest_reader_finish(reader);
            continue;
        }
        ingest_reader_feed(reader, bytes + *at, part);
        *at += part;
    }
}

char *read_all(const struct ingest_reader_options *options, const char *bytes, size_t size, size_t chunk)
{
    struct ingest_reader *reader = ingest_reader_new(options);
    struct buffer shown = {0};
    struct ingest_row row;
    struct error error = {0};
    enum ingest_step next = INGEST_STEP_MORE;
    size_t at = 0;

    buffer_init(&shown, SIZE_MAX / 8);
    do {
        next = step(reader, bytes, size, chunk, &at, &row, &error);
        if (next == INGEST_STEP_STARTED)
            show_source(&shown, ingest_reader_source(reader));
        else if (next == INGEST_STEP_ROW)
            show_row(&shown, &row);
    } while (next != INGEST_STEP_END && next != INGEST_STEP_FAILED);
    if (next == INGEST_STEP_END)
        buffer_append_string(&shown, "end\n");
    else
        buffer_append_format(&shown, "!%s\n", error.text);
    assert(ingest_reader_next(reader, &row, &error) == next);
    char *text = memory_copy_string(buffer_text(&shown));
    ingest_reader_free(reader);
    buffer_release(&shown);
    return text;
}
