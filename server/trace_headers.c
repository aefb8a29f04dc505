#include "trace_headers.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Takes white space away at both ends: moves `*text`, ends it earlier. */
static void trim(char **text, size_t *size)
{
    while (*size > 0 && is_space((*text)[0])) {
        ++*text;
        --*size;
    }
    while (*size > 0 && is_space((*text)[*size - 1]))
        --*size;
    (*text)[*size] = '\0';
}

/* In lower case, since HTTP/2 knows no other; false for what gRPC cannot send or keeps for itself. */
static bool fold_name(char *name, size_t size)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

    for (size_t i = 0; i < size; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] - 'A' + 'a');
        if (memchr(legal, name[i], sizeof(legal) - 1) == NULL)
            return false;
    }
    return size > 0 && strncmp(name, "grpc-", 5) != 0 && (size < 4 || strcmp(name + size - 4, "-bin") != 0);
}

static bool is_visible(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (value[i] < ' ' || value[i] > '~')
            return false;
    return size > 0;
}

/* One line, without its end; the byte behind it may be written. */
static bool take_line(struct trace_headers *headers, char *line, size_t size)
{
    trim(&line, &size);
    if (size == 0 || line[0] == '#')
        return true;
    char *colon = memchr(line, ':', size);
    if (colon == NULL || headers->count == TRACE_HEADERS_MAX)
        return false;
    char *value = colon + 1;
    size_t name_size = (size_t)(colon - line), value_size = size - name_size - 1;
    trim(&value, &value_size);
    trim(&line, &name_size);
    if (!fold_name(line, name_size) || !is_visible(value, value_size))
        return false;
    headers->entries[headers->count++] = (struct grpc_c_metadata){.key = line, .value = value, .size = value_size};
    return true;
}

static bool take_lines(struct trace_headers *headers, const char *path, struct error *reterr_error)
{
    char *line = headers->file.text, *end = line + headers->file.size;

    for (int number = 1; line < end; number++) {
        char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (line_end == NULL)
            line_end = end;
        if (!take_line(headers, line, (size_t)(line_end - line)))
            return error_set(
                reterr_error, ERROR_INVALID, "%s: line %d is no `name: value`, or one too many", path, number);
        line = line_end + 1;
    }
    return headers->count > 0 || error_set(reterr_error, ERROR_INVALID, "%s: no `name: value` in it", path);
}

bool trace_headers_read(const char *path, struct trace_headers *ret_headers, struct error *reterr_error)
{
    struct trace_headers headers = {.count = 0};

    if (!secret_file_read(path, &headers.file, reterr_error) || !secret_file_check(&headers.file, path, reterr_error) ||
        !take_lines(&headers, path, reterr_error)) {
        trace_headers_wipe(&headers);
        return false;
    }
    *ret_headers = headers;
    return true;
}

void trace_headers_wipe(struct trace_headers *headers)
{
    secret_file_wipe(&headers->file);
    *headers = (struct trace_headers){.count = 0};
}
