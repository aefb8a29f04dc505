/* PostgreSQL keeps numbers of any size and nests as deep as its stack; jansson refuses the whole text for one number or
 * level too many. Rules ask for the outermost members only, so what it refused is copied with those made fit for it,
 * and read again. */
#include "rules/attributes.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "rules/values.h"

enum { GROWTH_MAX = sizeof("null") - 1 }; /* times that anything becomes longer in the copy */

/* Bytes of the string that begins here; all that is left when it does not end. */
static size_t string_size(const char *text)
{
    size_t size = 1;

    while (text[size] != '\0' && text[size] != '"')
        size += text[size] == '\\' && text[size + 1] != '\0' ? 2 : 1;
    return text[size] == '"' ? size + 1 : size;
}

/* The same of a list or an object. Which bracket closes which is not looked at. */
static size_t nested_size(const char *text)
{
    size_t depth = 0;
    size_t size = 0;

    do {
        if (text[size] == '[' || text[size] == '{')
            depth++;
        else if (text[size] == ']' || text[size] == '}')
            depth--;
        size += text[size] == '"' ? string_size(text + size) : 1;
    } while (depth > 0 && text[size] != '\0');
    return size;
}

static bool is_of_64_bits(const char *integer)
{
    errno = 0;
    (void)strtoll(integer, NULL, 10);
    return errno != ERANGE;
}

static void append_number(struct buffer *copy, const char *text, size_t size)
{
    bool is_integer = strspn(text, "-0123456789") >= size;
    double number = 0;

    if (!rule_number_parse(text, size, &number)) {
        buffer_append_string(copy, "null");
        return;
    }
    buffer_append(copy, text, size);
    if (is_integer && !is_of_64_bits(text))
        buffer_append_string(copy, ".0");
}

/* One string, nested value, number or other character of the object; its size. */
static size_t append_next(struct buffer *copy, const char *text)
{
    size_t size = 1;

    if (*text == '[' || *text == '{') {
        buffer_append_string(copy, "null");
        return nested_size(text);
    }
    if (*text == '-' || (*text >= '0' && *text <= '9')) {
        size = strspn(text, "+-.0123456789Ee");
        append_number(copy, text, size);
        return size;
    }
    if (*text == '"')
        size = string_size(text);
    buffer_append(copy, text, size);
    return size;
}

static json_t *read_made_fit(const char *json)
{
    const char *next = json + strspn(json, " \t\n\r");
    json_t *read = NULL;
    struct buffer copy;

    if (*next != '{')
        return NULL;
    buffer_init(&copy, GROWTH_MAX * strlen(json));
    buffer_append(&copy, next++, 1);
    while (*next != '\0')
        next += append_next(&copy, next);
    assert(!copy.overflowed);
    read = json_loads(buffer_text(&copy), 0, NULL);
    buffer_release(&copy);
    return read;
}

json_t *rule_attributes_read(const char *json)
{
    json_t *read = json == NULL ? NULL : json_loads(json, 0, NULL);

    if (read == NULL && json != NULL)
        read = read_made_fit(json);
    if (!json_is_object(read)) {
        json_decref(read);
        read = json_object();
        assert(read != NULL);
    }
    return read;
}
