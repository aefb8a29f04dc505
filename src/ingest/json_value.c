#include "ingest/json_value.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] = "\xEF\xB7\x90"; /* U+FDD0 */

enum { MARK_SIZE = sizeof(mark) - 1, GROWTH = MARK_SIZE + 2, SHORTEST_MARKED = 2 /* "-0" */ };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits(const char *text, size_t size)
{
    size_t count = 0;

    while (count < size && is_digit(text[count]))
        count++;
    return count;
}

/* Size of the number that begins here (RFC 8259, section 6); 0 when none does. */
static size_t number_size(const char *text, size_t size, bool *ret_is_integer)
{
    size_t at = size > 0 && text[0] == '-' ? 1 : 0;
    size_t count = digits(text + at, size - at);

    *ret_is_integer = true;
    if (count == 0 || (text[at] == '0' && count > 1))
        return 0;
    at += count;
    if (at < size && text[at] == '.') {
        count = digits(text + at + 1, size - at - 1);
        if (count == 0)
            return 0;
        at += 1 + count;
        *ret_is_integer = false;
    }
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < size && (text[at + 1] == '+' || text[at + 1] == '-') ? 1 : 0;
        count = digits(text + at + 1 + sign, size - at - 1 - sign);
        if (count == 0)
            return 0;
        at += 1 + sign + count;
        *ret_is_integer = false;
    }
    return at;
}

static bool is_kept_by_jansson(const char *number, size_t size)
{
    char copy[JSON_NUMBER_SIZE] = "";

    if (size >= sizeof(copy) || (size == SHORTEST_MARKED && memcmp(number, "-0", 2) == 0))
        return false;
    memcpy(copy, number, size);
    errno = 0;
    (void)strtoll(copy, NULL, 10);
    return errno == 0;
}

/* Bytes of the string that begins here, with its quotes; all that is left when it does not end. False when it holds the mark. */
static bool string_size(const char *text, size_t size, size_t *ret_size)
{
    size_t at = 1;

    while (at < size && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    *ret_size = at < size ? at + 1 : size;
    for (size_t i = 0; i + 6 <= *ret_size; i++)
        if (text[i] == '\\' && (strncasecmp(text + i, "\\ufdd0", 6) == 0))
            return false;
    return memmem(text, *ret_size, mark, MARK_SIZE) == NULL;
}

/* The text with marked numbers; false when it holds the mark already. */
static bool mark_numbers(const char *text, size_t size, struct buffer *marked)
{
    size_t at = 0;

    while (at < size) {
        size_t used = 1;
        bool is_integer = false;
        if (text[at] == '"') {
            if (!string_size(text + at, size - at, &used))
                return false;
            buffer_append(marked, text + at, used);
        } else if (text[at] == '-' || is_digit(text[at])) {
            used = number_size(text + at, size - at, &is_integer);
            bool is_marked = used > 0 && !(is_integer && is_kept_by_jansson(text + at, used));
            used = used > 0 ? used : 1;
            if (is_marked)
                buffer_append_format(marked, "\"%s", mark);
            buffer_append(marked, text + at, used);
            if (is_marked)
                buffer_append_string(marked, "\"");
        } else {
            buffer_append(marked, text + at, 1);
        }
        at += used;
    }
    return true;
}

static json_t *refuse(struct ingest_rejection *ret_rejection, const char *reason)
{
    ret_rejection->field = "";
    (void)snprintf(ret_rejection->reason, sizeof(ret_rejection->reason), "%s", reason);
    return NULL;
}

static json_t *refuse_text(
    const char *text, size_t size, enum json_error_code code, struct ingest_rejection *ret_rejection)
{
    json_error_t error = {0};

    if (code == json_error_duplicate_key)
        return refuse(ret_rejection, "is not valid JSON: a key is there twice in one object");
    if (code == json_error_null_character || code == json_error_null_byte_in_key)
        return refuse(ret_rejection, "contains a NUL character");
    json_decref(json_loadb(text, size, JSON_DECODE_ANY, &error)); /* once more, for the place in what was given */
    ret_rejection->field = "";
    (void)snprintf(ret_rejection->reason, sizeof(ret_rejection->reason), "is not valid JSON at byte %d of the record",
        error.position);
    return NULL;
}

json_t *json_value_read(const char *text, size_t size, struct ingest_rejection *ret_rejection)
{
    struct buffer marked = {0};
    json_error_t error = {0};
    json_t *value = NULL;

    buffer_init(&marked, size + GROWTH * (size / SHORTEST_MARKED + 1));
    if (!mark_numbers(text, size, &marked)) {
        refuse(ret_rejection, "contains U+FDD0, which is no character");
    } else {
        value = json_loadb(buffer_text(&marked), marked.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
        if (value == NULL)
            refuse_text(text, size, json_error_code(&error), ret_rejection);
    }
    buffer_release(&marked);
    return value;
}

const char *json_value_number(const json_t *value, char scratch[JSON_NUMBER_SIZE])
{
    const char *text = json_string_value(value);

    if (json_is_integer(value)) {
        (void)snprintf(scratch, JSON_NUMBER_SIZE, "%lld", (long long)json_integer_value(value));
        return scratch;
    }
    return text != NULL && strncmp(text, mark, MARK_SIZE) == 0 ? text + MARK_SIZE : NULL;
}

static bool write_object(struct buffer *buffer, const json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;
    const char *separator = "{";

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        buffer_append_string(buffer, separator);
        buffer_append_json_string(buffer, key, strlen(key));
        buffer_append_string(buffer, ":");
        json_value_write(buffer, value);
        separator = ",";
    }
    buffer_append_string(buffer, json_object_size(object) == 0 ? "{}" : "}");
    return !buffer->overflowed;
}

static bool write_array(struct buffer *buffer, const json_t *array)
{
    buffer_append_string(buffer, "[");
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0)
            buffer_append_string(buffer, ",");
        json_value_write(buffer, json_array_get(array, i));
    }
    buffer_append_string(buffer, "]");
    return !buffer->overflowed;
}

bool json_value_write(struct buffer *buffer, const json_t *value)
{
    char scratch[JSON_NUMBER_SIZE];
    const char *number = json_value_number(value, scratch);

    if (json_is_object(value))
        return write_object(buffer, value);
    if (json_is_array(value))
        return write_array(buffer, value);
    if (number != NULL && isfinite(strtod(number, NULL)))
        buffer_append_string(buffer, number);
    else if (number != NULL)
        buffer_append_json_string(buffer, number, strlen(number));
    else if (json_is_string(value))
        buffer_append_json_string(buffer, json_string_value(value), json_string_length(value));
    else
        buffer_append_string(buffer, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
    return !buffer->overflowed;
}
