#include "template.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static const char *value_of(const char *name, size_t size, const struct template_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(values[i].name) == size && memcmp(values[i].name, name, size) == 0)
            return values[i].text;
    }
    return NULL;
}

void template_print(struct buffer *out, const char *text, const struct template_value *values, size_t count)
{
    const char *start = text;

    for (const char *mark = strchr(start, '$'); mark != NULL; mark = strchr(start, '$')) {
        const char *name = mark + 1;
        const char *end = strchr(name, '$');
        const char *value = NULL;

        assert(end != NULL);
        value = value_of(name, (size_t)(end - name), values, count);
        assert(value != NULL);
        buffer_append(out, start, (size_t)(mark - start));
        buffer_append_string(out, value);
        start = end + 1;
    }
    buffer_append_string(out, start);
}

/* One line without the blanks at its end. */
static void print_line(struct buffer *out, const char *indent, const char *line, size_t size)
{
    while (size > 0 && (line[size - 1] == ' ' || line[size - 1] == '\t' || line[size - 1] == '\r'))
        size--;
    buffer_append_string(out, indent);
    buffer_append_string(out, " *");
    if (size > 0 && line[0] != ' ')
        buffer_append_string(out, " ");
    for (size_t i = 0; i < size; i++) {
        buffer_append(out, line + i, 1);
        if (i + 1 < size && ((line[i] == '*' && line[i + 1] == '/') || (line[i] == '/' && line[i + 1] == '*')))
            buffer_append_string(out, " ");
    }
    buffer_append_string(out, "\n");
}

void template_print_comment(struct buffer *out, const char *indent, const char *comment)
{
    const char *line = comment;

    while (line != NULL && *line != '\0') {
        size_t size = strcspn(line, "\n");

        print_line(out, indent, line, size);
        line += size + (line[size] == '\n');
    }
}
