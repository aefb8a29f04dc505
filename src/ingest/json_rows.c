/* Where JSON values begin and end, without reading them: jansson takes whole texts only, and recurses as deep as they nest. */
#include "ingest/rows.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "ingest/json_value.h"

void json_rows_init(struct json_rows *rows, enum json_layout layout, bool has_documents)
{
    *rows = (struct json_rows){.layout = layout,
        .size_max =
            layout == JSON_LAYOUT_DOCUMENTS || has_documents ? INGEST_DOCUMENT_SIZE_MAX : INGEST_RECORD_SIZE_MAX,
        .place = {.line = 1}};
    buffer_init(&rows->text, rows->size_max);
}

void json_rows_release(struct json_rows *rows)
{
    buffer_release(&rows->text);
}

void json_rows_clear(struct json_rows *rows)
{
    buffer_clear(&rows->text);
    rows->has_begun = false;
    rows->in_string = false;
    rows->is_escaped = false;
    rows->depth = 0;
    rows->is_too_long = false;
    rows->is_too_deep = false;
    rows->is_complete = false;
}

static bool is_white_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static bool is_line_end(char byte)
{
    return byte == '\n' || byte == '\r';
}

/* One byte of a value: strings and nesting. */
static void follow(struct json_rows *rows, char byte)
{
    if (rows->in_string) {
        if (rows->is_escaped)
            rows->is_escaped = false;
        else if (byte == '\\')
            rows->is_escaped = true;
        else if (byte == '"')
            rows->in_string = false;
    } else if (byte == '"') {
        rows->in_string = true;
    } else if (byte == '{' || byte == '[') {
        rows->depth++;
        rows->is_too_deep = rows->is_too_deep || rows->depth > INGEST_DEPTH_MAX;
    } else if ((byte == '}' || byte == ']') && rows->depth > 0) {
        rows->depth--;
    }
}

static void append(struct json_rows *rows, char byte)
{
    follow(rows, byte);
    if (!rows->is_too_long && !rows->is_too_deep && !buffer_append(&rows->text, &byte, 1))
        rows->is_too_long = true;
    if (rows->is_too_long || rows->is_too_deep)
        buffer_clear(&rows->text);
}

static void begin(struct json_rows *rows, uint64_t offset)
{
    rows->has_begun = true;
    rows->line = rows->place.line;
    rows->offset = offset;
}

static bool refuse(const struct json_rows *rows, const char *what, struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_INVALID, "line %llu: %s", (unsigned long long)rows->place.line, what);
}

/* A byte between the values of an array. `*ret_begins` when it belongs to the next one. */
static bool between(struct json_rows *rows, char byte, bool *ret_begins, struct error *reterr_error)
{
    *ret_begins = false;
    if (is_white_space(byte))
        return true;
    if (rows->is_over)
        return refuse(rows, "text stands behind the end of the array", reterr_error);
    if (!rows->in_array) {
        rows->in_array = byte == '[';
        return rows->in_array || refuse(rows, "the array does not begin with [", reterr_error);
    }
    if (byte == ']') {
        rows->is_over = true;
        return true;
    }
    if (byte == ',' && rows->is_after_value) {
        rows->is_after_value = false;
        return true;
    }
    if (rows->is_after_value || byte == ',' || byte == '}')
        return refuse(rows, "an object and then a comma is expected in the array", reterr_error);
    *ret_begins = true;
    return true;
}

/* True when the value ends before this byte, which is not part of it: numbers and words have no end of their own. */
static bool ends_before(const struct json_rows *rows, char byte)
{
    char first = rows->text.size > 0 ? (char)rows->text.data[0] : '{';

    if (rows->layout == JSON_LAYOUT_LINES || rows->depth > 0 || rows->in_string || first == '{' || first == '[' ||
        first == '"')
        return false;
    return is_white_space(byte) || byte == ',' || byte == ']' || byte == '}' || byte == '{' || byte == '[';
}

/* True when this byte, which is part of it, ends the value. */
static bool ends_with(const struct json_rows *rows, char byte)
{
    return rows->layout != JSON_LAYOUT_LINES && rows->depth == 0 && !rows->in_string &&
           (byte == '}' || byte == ']' || byte == '"');
}

static void complete(struct json_rows *rows)
{
    rows->is_complete = true;
    rows->is_after_value = true;
}

/* One byte; `*ret_is_used` is false when the value ended before it. */
static bool take_byte(struct json_rows *rows, char byte, uint64_t offset, bool *ret_is_used, struct error *reterr_error)
{
    *ret_is_used = true;
    if (!rows->has_begun) {
        bool begins = !is_white_space(byte);
        if (rows->layout == JSON_LAYOUT_ARRAY && !between(rows, byte, &begins, reterr_error))
            return false;
        if (begins)
            begin(rows, offset);
    } else if (ends_before(rows, byte)) {
        complete(rows);
        *ret_is_used = false;
        return true;
    }
    if (rows->has_begun) {
        if (rows->layout == JSON_LAYOUT_LINES && is_line_end(byte)) {
            complete(rows);
        } else {
            append(rows, byte);
            if (ends_with(rows, byte))
                complete(rows);
        }
    }
    if (rows->is_too_long && rows->layout == JSON_LAYOUT_DOCUMENTS)
        return error_set(reterr_error, ERROR_INVALID, "line %llu: the document that begins here is longer than 4 MiB",
            (unsigned long long)rows->line);
    place_advance(&rows->place, byte);
    return true;
}

bool json_rows_take(struct json_rows *rows, const char *bytes, size_t size, uint64_t offset, size_t *ret_used,
    struct error *reterr_error)
{
    size_t used = 0;

    assert(!rows->is_complete);
    while (used < size && !rows->is_complete) {
        bool is_used = false;
        if (!take_byte(rows, bytes[used], offset + used, &is_used, reterr_error))
            return false;
        used += is_used;
    }
    *ret_used = used;
    return true;
}

bool json_rows_finish(struct json_rows *rows, struct error *reterr_error)
{
    if (rows->has_begun && (rows->layout == JSON_LAYOUT_LINES || ends_before(rows, '\n')))
        complete(rows);
    else if (rows->has_begun)
        return error_set(reterr_error, ERROR_INVALID, "line %llu: the JSON that begins here is never closed",
            (unsigned long long)rows->line);
    if (rows->layout == JSON_LAYOUT_ARRAY && rows->in_array && !rows->is_over)
        return refuse(rows, "the array is never closed; its objects up to here were read", reterr_error);
    return true;
}

json_t *json_rows_value(const struct json_rows *rows, struct ingest_rejection *ret_rejection)
{
    ret_rejection->field = "";
    if (rows->is_too_deep) {
        (void)snprintf(ret_rejection->reason, sizeof(ret_rejection->reason), "nests deeper than %d", INGEST_DEPTH_MAX);
        return NULL;
    }
    if (rows->is_too_long) {
        (void)snprintf(ret_rejection->reason, sizeof(ret_rejection->reason), "longer than %zu bytes", rows->size_max);
        return NULL;
    }
    return json_value_read(buffer_text(&rows->text), rows->text.size, ret_rejection);
}

/* Whether the first value ends on the line it begins on. */
static bool is_line_of_its_own(const char *text, size_t size)
{
    struct json_rows rows = {0};

    for (size_t i = 0; i < size && !is_line_end(text[i]); i++) {
        follow(&rows, text[i]);
        if (rows.depth == 0 && !rows.in_string && text[i] == '}')
            return true;
    }
    return false;
}

enum json_layout json_detect_layout(const char *text, size_t size)
{
    size_t first = 0;

    while (first < size && is_white_space(text[first]))
        first++;
    if (first < size && text[first] == '[')
        return JSON_LAYOUT_ARRAY;
    if (first < size && text[first] == '{' && !is_line_of_its_own(text + first, size - first))
        return JSON_LAYOUT_DOCUMENTS;
    return JSON_LAYOUT_LINES;
}
