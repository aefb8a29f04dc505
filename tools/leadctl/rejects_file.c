#include "rejects_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"

enum { CHUNK_SIZE = 64 * 1024, PIECE_SIZE_MAX = 8 * 1024 * 1024 };

static const char record_column[] = "record"; /* of JSON */
static const char not_whole[] = "(not all of the row could be read)";

struct rejects_file {
    char *path;
    FILE *stream;
    bool is_regular;
    int64_t count; /* of rows in it */
    const struct ingest_source *source;
};

static bool failed(const struct rejects_file *file, const char *what, struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_SYSTEM, "could not %s %s: %s", what, file->path, strerror(errno));
}

bool rejects_file_open(
    const char *path, const struct ingest_source *source, struct rejects_file **ret_file, struct error *reterr_error)
{
    struct rejects_file *file = memory_new(sizeof(*file));
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    struct stat status;

    if (descriptor < 0)
        descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY); /* a pipe, or a terminal */
    file->path = memory_copy_string(path);
    file->source = source;
    file->stream = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (file->stream == NULL) {
        failed(file, "open", reterr_error);
        rejects_file_free(file);
        return false;
    }
    file->is_regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    *ret_file = file;
    return true;
}

void rejects_file_free(struct rejects_file *file)
{
    if (file == NULL)
        return;
    if (file->stream != NULL)
        fclose(file->stream);
    free(file->path);
    free(file);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

/* Whether it is one of the columns that are added here; a file of rejected rows may be imported, and have rejected rows. */
static bool is_ours(const char *column)
{
    for (size_t i = 0; i < INGEST_REJECTED_COLUMNS; i++)
        if (strcmp(column, ingest_rejected_columns[i]) == 0)
            return true;
    return false;
}

static void append_value(struct buffer *text, const char *value, size_t size)
{
    bool is_quoted = false;

    for (size_t i = 0; i < size && !is_quoted; i++)
        is_quoted = strchr(",\"\r\n", value[i]) != NULL && value[i] != '\0';
    is_quoted = is_quoted || (size > 0 && (value[0] == ' ' || value[size - 1] == ' '));
    if (!is_quoted) {
        buffer_append(text, value, size);
        return;
    }
    buffer_append_string(text, "\"");
    for (size_t i = 0; i < size; i++) {
        if (value[i] == '"')
            buffer_append_string(text, "\"");
        buffer_append(text, value + i, 1);
    }
    buffer_append_string(text, "\"");
}

static void append_text(struct buffer *text, const char *value)
{
    append_value(text, value, strlen(value));
}

static void write_header(const struct rejects_file *file, struct buffer *text)
{
    const struct ingest_source *source = file->source;

    for (size_t i = 0; source->format == INGEST_FORMAT_CSV && i < source->column_count; i++) {
        if (is_ours(source->columns[i]))
            continue;
        append_text(text, source->columns[i]);
        buffer_append_string(text, ",");
    }
    if (source->format == INGEST_FORMAT_JSON)
        buffer_append_format(text, "%s,", record_column);
    for (size_t i = 0; i < INGEST_REJECTED_COLUMNS; i++)
        buffer_append_format(text, "%s%s", i == 0 ? "" : ",", ingest_rejected_columns[i]);
    buffer_append_string(text, "\r\n");
}

static void append_record(struct buffer *text, const struct ingest_row *row)
{
    struct buffer record = {0};

    buffer_init(&record, PIECE_SIZE_MAX);
    ingest_row_write(row, &record);
    append_value(text, buffer_text(&record), record.size);
    buffer_append_string(text, ",");
    buffer_release(&record);
}

struct rejects_cells rejects_file_copy(
    const struct rejects_file *file, const struct ingest_row *row, struct arena *arena)
{
    const size_t column_count = file->source->column_count;
    struct rejects_cells cells = {.rest = ""};
    struct buffer text = {0};

    buffer_init(&text, PIECE_SIZE_MAX);
    if (file->source->format == INGEST_FORMAT_JSON)
        append_record(&text, row);
    for (size_t i = 0; file->source->format == INGEST_FORMAT_CSV && i < column_count; i++) {
        if (is_ours(row->columns[i]))
            continue;
        if (i < row->cell_count)
            append_value(&text, row->cells[i].text, row->cells[i].size);
        buffer_append_string(&text, ",");
    }
    cells.columns = arena_copy(arena, buffer_text(&text), text.size);
    cells.columns_size = text.size;
    buffer_clear(&text);
    for (size_t i = column_count; file->source->format == INGEST_FORMAT_CSV && i < row->cell_count; i++) {
        buffer_append_string(&text, ",");
        append_value(&text, row->cells[i].text, row->cells[i].size);
    }
    if (row->is_rejected && text.size == 0)
        buffer_append_format(&text, ",%s", not_whole);
    cells.rest = arena_copy(arena, buffer_text(&text), text.size);
    cells.rest_size = text.size;
    buffer_release(&text);
    return cells;
}

static bool write_text(struct rejects_file *file, const struct buffer *text, struct error *reterr_error)
{
    return fwrite(buffer_text(text), 1, text->size, file->stream) == text->size ||
           failed(file, "write to", reterr_error);
}

bool rejects_file_add(struct rejects_file *file, const struct rejects_cells *cells, int64_t row, const char *field,
    const char *reason, struct error *reterr_error)
{
    struct buffer text = {0};

    buffer_init(&text, 2 * PIECE_SIZE_MAX);
    buffer_append(&text, cells->columns, cells->columns_size);
    buffer_append_format(&text, "%" PRId64 ",", row);
    append_text(&text, field);
    buffer_append_string(&text, ",");
    append_text(&text, reason);
    buffer_append(&text, cells->rest, cells->rest_size);
    buffer_append_string(&text, "\r\n");
    bool ok = write_text(file, &text, reterr_error);
    file->count += ok ? 1 : 0;
    buffer_release(&text);
    return ok;
}

int64_t rejects_file_count(const struct rejects_file *file)
{
    return file->count;
}

bool rejects_file_flush(struct rejects_file *file, struct error *reterr_error)
{
    return fflush(file->stream) == 0 || failed(file, "write to", reterr_error);
}

/* --- What is there ------------------------------------------------------------------------------------------------ */

/* Whether the file begins with these bytes. */
static bool begins_with(FILE *stream, const struct buffer *header)
{
    char *found = memory_new(header->size);
    bool ok =
        fread(found, 1, header->size, stream) == header->size && memcmp(found, buffer_text(header), header->size) == 0;

    free(found);
    return ok;
}

/* The byte behind the line end at `offset`, where the reader has stopped in the middle of it; 0 when the line was cut off. */
static int64_t line_end(int descriptor, int64_t offset)
{
    char bytes[2] = "";

    if (pread(descriptor, bytes, 2, offset - 1) < 2 || bytes[0] != '\r')
        return 0;
    return bytes[1] == '\n' ? offset + 1 : 0;
}

/* Reads the rows: counts them, and finds the highest number and where the last whole row ends. */
static void read_rows(struct rejects_file *file, FILE *stream, int64_t *ret_last_row, int64_t *ret_end)
{
    const struct ingest_reader_options options = {.format = INGEST_FORMAT_CSV,
        .encoding = INGEST_ENCODING_UTF_8,
        .delimiter = ',',
        .header = INGEST_HEADER_PRESENT};
    struct ingest_reader *reader = ingest_reader_new(&options);
    struct ingest_row row;
    enum ingest_step step = INGEST_STEP_MORE;
    char *chunk = memory_new(CHUNK_SIZE);
    size_t column = 0;

    while ((step = ingest_reader_next(reader, &row, NULL)) != INGEST_STEP_END && step != INGEST_STEP_FAILED) {
        if (step == INGEST_STEP_MORE) {
            size_t size = fread(chunk, 1, CHUNK_SIZE, stream);
            if (size > 0)
                ingest_reader_feed(reader, chunk, size);
            else
                ingest_reader_finish(reader);
        } else if (step == INGEST_STEP_STARTED) {
            column = ingest_reader_source(reader)->column_count - INGEST_REJECTED_COLUMNS;
        } else {
            int64_t number = row.cell_count > column ? strtoll(row.cells[column].text, NULL, 10) : 0;
            int64_t end = line_end(fileno(stream), (int64_t)ingest_reader_offset(reader));
            *ret_last_row = end > 0 && number > *ret_last_row ? number : *ret_last_row;
            *ret_end = end > 0 ? end : *ret_end;
            file->count += end > 0 ? 1 : 0;
        }
    }
    ingest_reader_free(reader);
    free(chunk);
}

/* Keeps what is there, if it is ours; `*ret_end` is 0 when there is nothing. */
static bool keep(struct rejects_file *file, const struct buffer *header, int64_t *ret_last_row, int64_t *ret_end,
    struct error *reterr_error)
{
    FILE *stream = fopen(file->path, "re");

    if (stream == NULL)
        return failed(file, "read", reterr_error);
    if (begins_with(stream, header)) {
        *ret_end = (int64_t)header->size;
        rewind(stream);
        read_rows(file, stream, ret_last_row, ret_end);
    }
    fclose(stream);
    return true;
}

bool rejects_file_begin(struct rejects_file *file, bool is_continued, int64_t *ret_last_row, struct error *reterr_error)
{
    struct buffer header = {0};
    int64_t end = 0;
    bool ok = true;

    *ret_last_row = 0;
    file->count = 0;
    buffer_init(&header, PIECE_SIZE_MAX);
    write_header(file, &header);
    if (is_continued && file->is_regular)
        ok = keep(file, &header, ret_last_row, &end, reterr_error);
    if (ok && file->is_regular &&
        (ftruncate(fileno(file->stream), end) != 0 || fseeko(file->stream, end, SEEK_SET) != 0))
        ok = failed(file, "write to", reterr_error);
    if (ok && end == 0)
        ok = write_text(file, &header, reterr_error) && rejects_file_flush(file, reterr_error);
    buffer_release(&header);
    return ok;
}
