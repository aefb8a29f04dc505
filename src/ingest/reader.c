#include "ingest/reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "ingest/encoding.h"
#include "ingest/json_path.h"
#include "ingest/json_value.h"
#include "ingest/rows.h"
#include "ingest/shapes.h"

enum { SAMPLE_SIZE_MAX = 2 * INGEST_HEAD_SIZE, NAME_SIZE_MAX = 1000, NUMBER_SIZE = 24 };

struct ingest_reader {
    struct ingest_reader_options options;
    struct ingest_source source;
    struct arena *names; /* of columns */
    struct error error;
    enum ingest_step last; /* INGEST_STEP_END and INGEST_STEP_FAILED stay */
    bool has_begun;        /* the format is known */
    bool has_started;      /* INGEST_STEP_STARTED was given */
    bool is_first_row_skipped;
    bool is_row_given; /* the record still lies here */
    bool is_finished;
    bool is_decoded; /* the end of the bytes was told to the decoder */

    /* bytes: the head, then chunks, through the decoder */
    struct buffer head;
    size_t head_used;
    const uint8_t *chunk;
    size_t chunk_size;
    size_t chunk_used;
    struct decoder decoder;
    struct decoded held; /* decoded and not taken yet, from `held_used` on */
    size_t held_used;
    uint64_t held_offset;

    /* records */
    struct csv_rows csv;
    struct json_rows json;
    json_t *root;   /* JSON: the record */
    json_t *items;  /* the array in it that rows are unwrapped from; borrowed from `root` */
    json_t *single; /* or the one row; borrowed */
    size_t item;    /* items given or passed over */
    uint64_t row_count;
    uint64_t end_offset; /* behind the last record */
    struct place end_place;
};

static const char separator_line[] = "sep="; /* what Excel writes before the header: sep=; */

const char *const ingest_rejected_columns[INGEST_REJECTED_COLUMNS] = {
    "rejected_row", "rejected_field", "rejected_reason"};

struct ingest_reader *ingest_reader_new(const struct ingest_reader_options *options)
{
    struct ingest_reader *reader = memory_new(sizeof(*reader));

    reader->options = *options;
    reader->names = arena_new(0);
    buffer_init(&reader->head, INGEST_HEAD_SIZE);
    return reader;
}

void ingest_reader_free(struct ingest_reader *reader)
{
    if (reader == NULL)
        return;
    json_decref(reader->root);
    buffer_release(&reader->head);
    csv_rows_release(&reader->csv);
    json_rows_release(&reader->json);
    arena_free(reader->names);
    free(reader);
}

void ingest_reader_feed(struct ingest_reader *reader, const void *bytes, size_t size)
{
    assert(reader->chunk_used == reader->chunk_size && !reader->is_finished);
    reader->chunk = bytes;
    reader->chunk_size = size;
    reader->chunk_used = 0;
}

void ingest_reader_finish(struct ingest_reader *reader)
{
    reader->is_finished = true;
}

const struct ingest_source *ingest_reader_source(const struct ingest_reader *reader)
{
    assert(reader->has_started);
    return &reader->source;
}

static enum ingest_step fail(struct ingest_reader *reader)
{
    reader->last = INGEST_STEP_FAILED;
    return INGEST_STEP_FAILED;
}

/* --- The head ------------------------------------------------------------------------------------------------------ */

/* The head as UTF-8, for a look at it. */
static void decode_sample(const struct decoder *original, const uint8_t *head, size_t size, struct buffer *sample)
{
    struct decoder decoder = *original;
    struct decoded decoded;

    for (size_t i = 0; i < size; i++) {
        if (!decoder_take(&decoder, head[i], &decoded, NULL))
            break;
        buffer_append(sample, decoded.bytes, decoded.size);
    }
}

static bool begins_with_mark(enum ingest_encoding encoding, const uint8_t *head, size_t size, size_t *ret_skip)
{
    *ret_skip = encoding == INGEST_ENCODING_UTF_8 ? 3 : encoding == INGEST_ENCODING_WINDOWS_1252 ? 0 : 2;
    return *ret_skip > 0 && size >= *ret_skip &&
           memcmp(head,
               encoding == INGEST_ENCODING_UTF_8       ? "\xEF\xBB\xBF"
               : encoding == INGEST_ENCODING_UTF_16_LE ? "\xFF\xFE"
                                                       : "\xFE\xFF",
               *ret_skip) == 0;
}

static bool find_encoding(struct ingest_reader *reader, size_t *ret_skip)
{
    const uint8_t *head = reader->head.data;
    size_t size = reader->head.size;

    *ret_skip = 0;
    if (reader->options.encoding == INGEST_ENCODING_DETECT)
        return encoding_detect(head, size, &reader->decoder, ret_skip, &reader->error);
    reader->decoder = (struct decoder){.encoding = reader->options.encoding, .is_named = true, .is_certain = true};
    if (!begins_with_mark(reader->options.encoding, head, size, ret_skip))
        *ret_skip = 0;
    return true;
}

static char find_delimiter(struct ingest_reader *reader, const struct buffer *sample)
{
    const char *text = buffer_text(sample);
    size_t size = sizeof(separator_line) - 1;

    if (strncasecmp(text, separator_line, size) == 0 && text[size] != '\0' && strchr("\r\n", text[size + 1]) != NULL &&
        text[size + 1] != '\0') {
        reader->is_first_row_skipped = true;
        return reader->options.delimiter != 0 ? reader->options.delimiter : text[size];
    }
    return reader->options.delimiter != 0 ? reader->options.delimiter : csv_detect_delimiter(text, sample->size);
}

static void choose_format(struct ingest_reader *reader, const struct buffer *sample)
{
    const char *text = buffer_text(sample);
    size_t first = strspn(text, " \t\r\n");

    reader->source.format = reader->options.format;
    if (reader->source.format == INGEST_FORMAT_DETECT)
        reader->source.format = text[first] == '{' || text[first] == '[' ? INGEST_FORMAT_JSON : INGEST_FORMAT_CSV;
    if (reader->source.format == INGEST_FORMAT_JSON) {
        json_rows_init(&reader->json, json_detect_layout(text, sample->size), reader->options.unwrap != NULL);
    } else {
        reader->source.delimiter = find_delimiter(reader, sample);
        csv_rows_init(&reader->csv, reader->source.delimiter);
    }
}

/* Finds out what the file is. */
static bool begin(struct ingest_reader *reader)
{
    struct buffer sample = {0};
    size_t skip = 0;
    bool ok = false;

    if (reader->head.size == 0)
        return error_set(&reader->error, ERROR_INVALID, "the file is empty");
    if (!find_encoding(reader, &skip))
        return false;
    reader->head_used = skip;
    decoder_skip(&reader->decoder, skip);
    buffer_init(&sample, SAMPLE_SIZE_MAX);
    decode_sample(&reader->decoder, reader->head.data + skip, reader->head.size - skip, &sample);
    ok = !text_is_blank(buffer_text(&sample)) || reader->head.size == INGEST_HEAD_SIZE;
    if (ok)
        choose_format(reader, &sample);
    else
        error_set(&reader->error, ERROR_INVALID, "the file is empty");
    buffer_release(&sample);
    reader->end_offset = skip;
    reader->end_place = (struct place){.line = 1};
    reader->has_begun = ok;
    return ok;
}

/* Collects the head; true when it is complete. */
static bool collect_head(struct ingest_reader *reader)
{
    size_t left = INGEST_HEAD_SIZE - reader->head.size;
    size_t size = reader->chunk_size - reader->chunk_used;

    size = size < left ? size : left;
    bool ok = size == 0 || buffer_append(&reader->head, reader->chunk + reader->chunk_used, size);
    assert(ok);
    reader->chunk_used += size;
    return reader->head.size == INGEST_HEAD_SIZE || reader->is_finished;
}

/* --- The header ---------------------------------------------------------------------------------------------------- */

static const char *column_name(struct ingest_reader *reader, size_t column, const struct ingest_cell *cell)
{
    char name[TEXT_CAPACITY(NAME_SIZE_MAX)];
    size_t size = 0;

    if (cell != NULL && cell->size <= NAME_SIZE_MAX &&
        text_normalize(cell->text, cell->size, TEXT_EXACT, name, sizeof(name), &size) && size > 0)
        return arena_copy(reader->names, name, size);
    return arena_format(reader->names, "%zu", column + 1);
}

static bool has_duplicates(struct ingest_reader *reader)
{
    for (size_t i = 1; i < reader->source.column_count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(reader->source.columns[i], reader->source.columns[k]) == 0) {
                (void)error_set(&reader->error, ERROR_INVALID,
                    "line %llu: columns %zu and %zu are both called \"%.100s\"", (unsigned long long)reader->csv.line,
                    k + 1, i + 1, reader->source.columns[i]);
                return true;
            }
    return false;
}

static bool looks_like_data(struct ingest_reader *reader)
{
    const size_t count = reader->csv.cell_count;

    if (count >= INGEST_REJECTED_COLUMNS &&
        strcmp(reader->csv.cells[count - 1].text, ingest_rejected_columns[INGEST_REJECTED_COLUMNS - 1]) == 0)
        return false; /* rejected rows of a file without a header: its columns are called by their numbers */
    for (size_t i = 0; i < reader->csv.cell_count; i++) {
        enum ingest_shape shape = ingest_shape_of(reader->csv.cells[i].text);
        if (ingest_shape_is_data(shape)) {
            (void)error_set(&reader->error, ERROR_INVALID,
                "line %llu: names of columns are expected, but column %zu is %s; say so if the file has no header, or "
                "if this is one",
                (unsigned long long)reader->csv.line, i + 1, ingest_shape_title(shape));
            return true;
        }
    }
    return false;
}

/* The first row: names of columns, or the first one that has any. */
static bool take_columns(struct ingest_reader *reader)
{
    struct csv_rows *csv = &reader->csv;
    bool has_header = reader->options.header != INGEST_HEADER_ABSENT;

    if (csv->cell_count > INGEST_COLUMNS_MAX)
        return error_set(&reader->error, ERROR_INVALID, "line %llu: %zu columns, at most %d are taken",
            (unsigned long long)csv->line, csv->cell_count, INGEST_COLUMNS_MAX);
    if (csv->is_rejected) /* without a header, it says how many columns there are */
        return error_set(&reader->error, ERROR_INVALID, "line %llu: the first row cannot be read: %s",
            (unsigned long long)csv->line, csv->rejection.reason);
    if (has_header && reader->decoder.is_faulty)
        return error_set(&reader->error, ERROR_INVALID, "line %llu: the names of columns are not %s at byte %llu",
            (unsigned long long)csv->line, ingest_encoding_name(reader->decoder.encoding),
            (unsigned long long)reader->decoder.fault_offset);
    if (reader->options.header == INGEST_HEADER_EXPECTED && looks_like_data(reader))
        return false;
    const char **names = arena_alloc_array(reader->names, csv->cell_count, sizeof(*names));
    for (size_t i = 0; i < csv->cell_count; i++)
        names[i] = column_name(reader, i, has_header ? &csv->cells[i] : NULL);
    reader->source.columns = names;
    reader->source.column_count = csv->cell_count;
    reader->source.has_header = has_header;
    csv->column_count = csv->cell_count;
    return !has_duplicates(reader);
}

/* --- Rows ---------------------------------------------------------------------------------------------------------- */

static void reject(struct ingest_row *row, const char *reason)
{
    row->is_rejected = true;
    row->rejection.field = "";
    (void)snprintf(row->rejection.reason, sizeof(row->rejection.reason), "%s", reason);
}

/* What does not fit the encoding, in this record. */
static void check_encoding(struct ingest_reader *reader, struct ingest_row *row)
{
    if (reader->decoder.is_faulty) {
        reject(row, "");
        (void)snprintf(row->rejection.reason, sizeof(row->rejection.reason), "is not %s at byte %llu of the file",
            ingest_encoding_name(reader->decoder.encoding), (unsigned long long)reader->decoder.fault_offset);
    }
}

/* Rows that are too short get blanks; blanks too many are taken off. */
static void fit_cells(struct csv_rows *csv, struct ingest_row *row)
{
    size_t kept = csv->cell_count < INGEST_COLUMNS_MAX ? csv->cell_count : INGEST_COLUMNS_MAX;
    bool is_blank = csv->cell_count <= INGEST_COLUMNS_MAX;

    for (size_t i = csv->column_count; i < kept && is_blank; i++)
        is_blank = text_is_blank(csv->cells[i].text);
    if (csv->cell_count > csv->column_count && !is_blank) {
        if (!row->is_rejected) {
            reject(row, "");
            (void)snprintf(row->rejection.reason, sizeof(row->rejection.reason),
                "has %zu fields where the header has %zu", csv->cell_count, csv->column_count);
        }
        row->cell_count = kept;
        return;
    }
    for (size_t i = kept; i < csv->column_count; i++)
        csv->cells[i] = (struct ingest_cell){.text = ""};
    row->cell_count = csv->column_count;
}

/* Where what is held begins in the file. When part of it is taken, the last character is left. */
static uint64_t rest_offset(const struct ingest_reader *reader)
{
    bool is_wide =
        reader->decoder.encoding == INGEST_ENCODING_UTF_16_LE || reader->decoder.encoding == INGEST_ENCODING_UTF_16_BE;

    return reader->held_used == 0 ? reader->held_offset : reader->decoder.offset - (is_wide ? 2 : 1);
}

/* Where the record ends that has just been completed. */
static void note_end(struct ingest_reader *reader)
{
    bool has_rest = reader->held_used < reader->held.size;

    reader->end_offset = has_rest ? rest_offset(reader) : decoder_position(&reader->decoder);
    reader->end_place = reader->source.format == INGEST_FORMAT_JSON ? reader->json.place : reader->csv.place;
}

static enum ingest_step give_csv(struct ingest_reader *reader, struct ingest_row *ret_row)
{
    struct csv_rows *csv = &reader->csv;

    *ret_row = (struct ingest_row){.number = ++reader->row_count,
        .line = csv->line,
        .offset = csv->offset,
        .is_rejected = csv->is_rejected,
        .rejection = csv->rejection,
        .cells = csv->cells,
        .columns = reader->source.columns};
    check_encoding(reader, ret_row);
    fit_cells(csv, ret_row);
    note_end(reader);
    reader->is_row_given = true;
    return INGEST_STEP_ROW;
}

/* A record that is complete. True when it is to be given, or the reader has failed or started: `*ret_step`. */
static bool handle_csv(struct ingest_reader *reader, struct ingest_row *ret_row, enum ingest_step *ret_step)
{
    struct csv_rows *csv = &reader->csv;

    if (reader->is_first_row_skipped) {
        reader->is_first_row_skipped = false;
        note_end(reader);
        csv_rows_clear(csv);
        return false;
    }
    if (!reader->has_started) {
        reader->has_started = true;
        if (!take_columns(reader)) {
            *ret_step = fail(reader);
            return true;
        }
        if (reader->source.has_header) {
            note_end(reader);
            csv_rows_clear(csv);
        }
        *ret_step = INGEST_STEP_STARTED;
        return true;
    }
    if (csv->cell_count == 1 && strcmp(csv->cells[0].text, "\x1A") == 0 && !csv->is_rejected) {
        csv_rows_clear(csv); /* how old systems end a text */
        return false;
    }
    *ret_step = give_csv(reader, ret_row);
    return true;
}

/* The rows of a record: the items of the array that is found in it, or itself. */
static void unwrap(struct ingest_reader *reader)
{
    json_t *found = NULL;

    for (size_t i = 0; found == NULL && reader->options.unwrap != NULL && reader->options.unwrap[i] != NULL; i++)
        found = json_path_find(reader->root, reader->options.unwrap[i]);
    reader->items = json_is_array(found) ? found : json_is_array(reader->root) ? reader->root : NULL;
    reader->single = reader->items == NULL ? (json_is_object(found) ? found : reader->root) : NULL;
}

static bool open_json(struct ingest_reader *reader, struct ingest_row *row)
{
    check_encoding(reader, row);
    if (row->is_rejected)
        return false;
    reader->root = json_rows_value(&reader->json, &row->rejection);
    row->is_rejected = reader->root == NULL;
    if (!row->is_rejected)
        unwrap(reader);
    return !row->is_rejected;
}

/* True when a row is given; false for an array without any (or no more). */
static bool handle_json(struct ingest_reader *reader, struct ingest_row *ret_row, enum ingest_step *ret_step)
{
    note_end(reader);
    *ret_row = (struct ingest_row){.line = reader->json.line,
        .offset = reader->json.offset,
        .text = buffer_text(&reader->json.text),
        .text_size = reader->json.text.size};
    if (reader->root == NULL) {
        if (!open_json(reader, ret_row))
            reader->single = NULL;
    }
    if (!ret_row->is_rejected) {
        ret_row->object = reader->items != NULL ? json_array_get(reader->items, reader->item)
                          : reader->item == 0   ? reader->single
                                                : NULL;
        if (ret_row->object == NULL)
            return false;
        ret_row->item = ret_row->object;
        ret_row->record = reader->root;
        if (ret_row->item != reader->root)
            ret_row->text = NULL;
        if (!json_is_object(ret_row->object)) {
            reject(ret_row, "is not an object");
            ret_row->object = NULL;
        }
    }
    reader->item++;
    ret_row->number = ++reader->row_count;
    reader->is_row_given = true;
    *ret_step = INGEST_STEP_ROW;
    return true;
}

static bool is_complete(const struct ingest_reader *reader)
{
    return reader->source.format == INGEST_FORMAT_JSON ? reader->json.is_complete : reader->csv.is_complete;
}

static void clear_record(struct ingest_reader *reader)
{
    reader->decoder.is_faulty = false;
    if (reader->source.format == INGEST_FORMAT_CSV) {
        csv_rows_clear(&reader->csv);
        return;
    }
    json_decref(reader->root);
    reader->root = NULL;
    reader->items = NULL;
    reader->single = NULL;
    reader->item = 0;
    json_rows_clear(&reader->json);
}

static size_t item_count(const struct ingest_reader *reader)
{
    return reader->items != NULL ? json_array_size(reader->items) : 1;
}

/* Gives UTF-8 to the format; `*ret_used` is how much it took. */
static bool take(struct ingest_reader *reader, const char *bytes, size_t size, uint64_t offset, size_t *ret_used)
{
    *ret_used = size;
    return reader->source.format == INGEST_FORMAT_JSON
               ? json_rows_take(&reader->json, bytes, size, offset, ret_used, &reader->error)
               : csv_rows_take(&reader->csv, bytes, size, offset, &reader->error);
}

/* Reads on to the end of a record or of the bytes. */
static bool read_bytes(struct ingest_reader *reader, const uint8_t *bytes, size_t size, size_t *used)
{
    while (!is_complete(reader)) {
        size_t taken = 0;
        if (reader->held_used < reader->held.size) {
            if (!take(reader, reader->held.bytes + reader->held_used, reader->held.size - reader->held_used,
                    rest_offset(reader), &taken))
                return false;
            reader->held_used += taken;
            continue;
        }
        if (*used == size)
            return true;
        size_t run = decoder_run(&reader->decoder, bytes + *used, size - *used);
        if (run > 0) {
            if (!take(reader, (const char *)bytes + *used, run, reader->decoder.offset, &taken))
                return false;
            decoder_skip(&reader->decoder, taken);
            *used += taken;
            continue;
        }
        reader->held_offset = decoder_position(&reader->decoder);
        reader->held_used = 0;
        if (!decoder_take(&reader->decoder, bytes[(*used)++], &reader->held, &reader->error))
            return false;
    }
    return true;
}

static bool read_end(struct ingest_reader *reader)
{
    size_t none = 0;

    if (!reader->is_decoded) {
        reader->is_decoded = true;
        reader->held_offset = decoder_position(&reader->decoder);
        reader->held_used = 0;
        decoder_finish(&reader->decoder, &reader->held);
    }
    if (!read_bytes(reader, NULL, 0, &none) || is_complete(reader))
        return is_complete(reader);
    return reader->source.format == INGEST_FORMAT_JSON ? json_rows_finish(&reader->json, &reader->error)
                                                       : csv_rows_finish(&reader->csv, &reader->error);
}

/* Reads up to the end of a record. Gives INGEST_STEP_ROW when there is one. */
static enum ingest_step read_record(struct ingest_reader *reader)
{
    if (!read_bytes(reader, reader->head.data, reader->head.size, &reader->head_used))
        return fail(reader);
    if (!is_complete(reader) && !read_bytes(reader, reader->chunk, reader->chunk_size, &reader->chunk_used))
        return fail(reader);
    if (!is_complete(reader) && !reader->is_finished)
        return INGEST_STEP_MORE;
    if (!is_complete(reader) && !read_end(reader))
        return fail(reader);
    if (!is_complete(reader)) {
        if (!reader->has_started) {
            (void)error_set(&reader->error, ERROR_INVALID, "the file is empty");
            return fail(reader);
        }
        reader->last = INGEST_STEP_END;
        return INGEST_STEP_END;
    }
    return INGEST_STEP_ROW;
}

static enum ingest_step advance(struct ingest_reader *reader, struct ingest_row *ret_row)
{
    enum ingest_step step = INGEST_STEP_ROW;

    if (!reader->has_begun) {
        if (!collect_head(reader))
            return INGEST_STEP_MORE;
        if (!begin(reader))
            return fail(reader);
    }
    if (!reader->has_started && reader->source.format == INGEST_FORMAT_JSON) {
        reader->has_started = true;
        return INGEST_STEP_STARTED;
    }
    if (reader->is_row_given) {
        reader->is_row_given = false;
        if (reader->source.format == INGEST_FORMAT_CSV || reader->root == NULL || reader->item >= item_count(reader))
            clear_record(reader);
    }
    for (;;) {
        if (!is_complete(reader)) {
            step = read_record(reader);
            if (step != INGEST_STEP_ROW)
                return step;
        }
        bool is_given = reader->source.format == INGEST_FORMAT_JSON ? handle_json(reader, ret_row, &step)
                                                                    : handle_csv(reader, ret_row, &step);
        if (is_given)
            return step;
        clear_record(reader);
    }
}

enum ingest_step ingest_reader_next(
    struct ingest_reader *reader, struct ingest_row *ret_row, struct error *reterr_error)
{
    enum ingest_step step = reader->last;

    if (step != INGEST_STEP_END && step != INGEST_STEP_FAILED)
        step = advance(reader, ret_row);
    reader->source.encoding = reader->decoder.encoding;
    if (step == INGEST_STEP_FAILED && reterr_error != NULL)
        *reterr_error = reader->error;
    return step;
}

void ingest_row_write(const struct ingest_row *row, struct buffer *buffer)
{
    if (row->text != NULL)
        buffer_append(buffer, row->text, row->text_size);
    else if (row->item != NULL)
        json_value_write(buffer, row->item);
}

uint64_t ingest_reader_offset(const struct ingest_reader *reader)
{
    bool is_inside = reader->root != NULL && reader->item < item_count(reader);

    return is_inside ? reader->json.offset : reader->end_offset;
}
