#include "base/display.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/buffer.h"
#include "base/memory.h"

/* Characters that turn the direction of writing, so that a row would read differently from what it says. */
static bool turns_direction(utf8proc_int32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x061c;
}

static bool is_shown(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);

    return category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_ZL && category != UTF8PROC_CATEGORY_ZP &&
           category != UTF8PROC_CATEGORY_CS && !turns_direction(c);
}

static void append_escaped(struct buffer *buffer, utf8proc_int32_t c)
{
    char escaped[16];

    if (c == '\n' || c == '\t' || c == '\r')
        snprintf(escaped, sizeof(escaped), "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    else
        snprintf(escaped, sizeof(escaped), c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
    buffer_append_string(buffer, escaped);
}

char *display_safe(const char *text)
{
    struct buffer buffer = {0};
    char *safe = NULL;

    buffer_init(&buffer, SIZE_MAX / 8);
    while (*text != '\0') {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c);
        if (size <= 0) {
            append_escaped(&buffer, (unsigned char)*text);
            size = 1;
        } else if (is_shown(c)) {
            buffer_append(&buffer, text, (size_t)size);
        } else {
            append_escaped(&buffer, c);
        }
        text += size;
    }
    safe = memory_copy_string(buffer_text(&buffer));
    buffer_release(&buffer);
    return safe;
}

/* Columns of the character that `text` begins with, and its size. */
static size_t next_width(const char *text, size_t *ret_size)
{
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c);

    *ret_size = size <= 0 ? 1 : (size_t)size;
    return size <= 0 ? 1 : (size_t)utf8proc_charwidth(c);
}

size_t display_width(const char *text)
{
    size_t width = 0;
    size_t size = 0;

    for (; *text != '\0'; text += size)
        width += next_width(text, &size);
    return width;
}

size_t display_fit(const char *text, size_t columns)
{
    size_t used = 0;
    size_t bytes = 0;
    size_t size = 0;

    while (text[bytes] != '\0') {
        used += next_width(text + bytes, &size);
        if (used > columns)
            break;
        bytes += size;
    }
    return bytes;
}

void display_wrap(FILE *output, const char *text, size_t column, size_t indent, size_t columns)
{
    bool is_first = true;

    while (*text != '\0') {
        size_t size = strcspn(text, " \n");
        char *word = memory_new(size + 1);
        memcpy(word, text, size);
        size_t width = display_width(word);
        if (!is_first && column + 1 + width >= columns) {
            fprintf(output, "\n%*s", (int)indent, "");
            column = indent;
            is_first = true;
        }
        fprintf(output, "%s%s", is_first ? "" : " ", word);
        column += width + (is_first ? 0 : 1);
        is_first = false;
        free(word);
        text += size;
        for (; *text == '\n'; text++) {
            fprintf(output, "\n%*s", text[1] == '\n' ? 0 : (int)indent, "");
            column = indent;
            is_first = true;
        }
        text += *text == ' ' ? 1 : 0;
    }
}
