#include "trace/context.h"

#include <string.h>

/* "00-" 32 digits "-" 16 digits "-" 2 digits */
enum { ID_AT = 3, PARENT_AT = 36, FLAGS_AT = 53, SIZE = 55, FLAG_SAMPLED = 1 };

static int digit(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

static bool read_bytes(const char *text, uint8_t *ret_bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool trace_context_parse(const char *text, size_t size, struct trace_context *ret_context)
{
    struct trace_context context = {0};
    uint8_t version = 0, flags = 0;

    if (text == NULL || size < SIZE || text[2] != '-' || text[PARENT_AT - 1] != '-' || text[FLAGS_AT - 1] != '-' ||
        !read_bytes(text, &version, 1) || !read_bytes(text + ID_AT, context.trace_id, TRACE_ID_SIZE) ||
        !read_bytes(text + PARENT_AT, context.parent_id, TRACE_SPAN_ID_SIZE) || !read_bytes(text + FLAGS_AT, &flags, 1))
        return false;
    if (version == 0xff || (size > SIZE && (version == 0 || text[SIZE] != '-')) ||
        is_zero(context.trace_id, TRACE_ID_SIZE) || is_zero(context.parent_id, TRACE_SPAN_ID_SIZE))
        return false;
    context.is_parent_sampled = (flags & FLAG_SAMPLED) != 0;
    *ret_context = context;
    return true;
}

bool trace_context_is_set(const struct trace_context *context)
{
    return !is_zero(context->trace_id, TRACE_ID_SIZE);
}

static char *format(const uint8_t *bytes, size_t count, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * count] = '\0';
    return ret_text;
}

char *trace_id_format(const uint8_t id[TRACE_ID_SIZE], char ret_text[TRACE_ID_TEXT_SIZE])
{
    return format(id, TRACE_ID_SIZE, ret_text);
}

char *trace_span_id_format(const uint8_t id[TRACE_SPAN_ID_SIZE], char ret_text[TRACE_SPAN_ID_TEXT_SIZE])
{
    return format(id, TRACE_SPAN_ID_SIZE, ret_text);
}
