#include "base/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

enum { CAPACITY_MIN = 64 };

void buffer_init(struct buffer *buffer, size_t size_max)
{
    assert(size_max < SIZE_MAX / 4);
    *buffer = (struct buffer){.size_max = size_max};
}

void buffer_release(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){.size_max = buffer->size_max};
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->overflowed = false;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

/* Makes room for `size` more bytes and the NUL; false when the bound forbids it. */
static bool reserve(struct buffer *buffer, size_t size)
{
    if (size > buffer->size_max - buffer->size) {
        buffer->overflowed = true;
        return false;
    }
    size_t wanted = buffer->size + size + 1;
    if (wanted <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
    while (capacity < wanted)
        capacity *= 2;
    buffer->data = memory_resize(buffer->data, capacity, 1);
    buffer->capacity = capacity;
    return true;
}

bool buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (!reserve(buffer, size))
        return false;
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return true;
}

bool buffer_append_string(struct buffer *buffer, const char *text)
{
    return buffer_append(buffer, text, strlen(text));
}

bool buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_list again;
    bool ok = false;

    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(length >= 0);
    if (reserve(buffer, (size_t)length)) {
        vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
        ok = true;
    }
    va_end(again);
    return ok;
}

/* The escape of one ASCII character, or NULL where it stands for itself. `scratch` holds \u00xx. */
static const char *escape_of(unsigned char character, char scratch[7])
{
    switch (character) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        break;
    }
    if (character >= 0x20 && character != 0x7f)
        return NULL;
    snprintf(scratch, 7, "\\u%04x", character);
    return scratch;
}

/* The size of the run at the start of `text` that needs no escape; `ret_escape` is that of the character after it, or NULL. */
static size_t plain_run(const char *text, size_t size, char scratch[7], const char **ret_escape)
{
    size_t plain = 0;

    *ret_escape = NULL;
    while (plain < size && (*ret_escape = escape_of((unsigned char)text[plain], scratch)) == NULL)
        plain++;
    return plain;
}

/* Appends valid UTF-8 with its escapes. */
static bool append_json_valid(struct buffer *buffer, const char *text, size_t size)
{
    char scratch[7];
    const char *escape = NULL;

    while (size > 0) {
        size_t plain = plain_run(text, size, scratch, &escape);
        if (!buffer_append(buffer, text, plain))
            return false;
        if (escape == NULL)
            return true;
        if (!buffer_append_string(buffer, escape))
            return false;
        text += plain + 1;
        size -= plain + 1;
    }
    return true;
}

/* Appends any bytes: valid runs, and U+FFFD for each byte between them. */
static bool append_json_bytes(struct buffer *buffer, const char *text, size_t size)
{
    while (size > 0) {
        size_t valid = size;
        bool all = utf8_is_valid(text, size, &valid);
        if (!append_json_valid(buffer, text, valid))
            return false;
        if (all)
            return true;
        if (!buffer_append_string(buffer, "\xef\xbf\xbd"))
            return false;
        text += valid + 1;
        size -= valid + 1;
    }
    return true;
}

bool buffer_append_json_string(struct buffer *buffer, const char *text, size_t size)
{
    size_t start = buffer->size;

    if (buffer_append(buffer, "\"", 1) && append_json_bytes(buffer, text, size) && buffer_append(buffer, "\"", 1))
        return true;
    buffer->size = start;
    if (buffer->data != NULL)
        buffer->data[start] = '\0';
    return false;
}

const char *buffer_text(const struct buffer *buffer)
{
    return buffer->data == NULL ? "" : (const char *)buffer->data;
}
