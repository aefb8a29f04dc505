#include "ingest/json_path.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 16, INDEX_DIGITS_MAX = 6 };

static bool is_filler(char c)
{
    return c == ' ' || c == '-' || c == '_';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool ingest_name_is_like(const char *left, const char *right, size_t right_size)
{
    const char *end = right + right_size;

    for (;;) {
        while (is_filler(*left))
            left++;
        while (right < end && is_filler(*right))
            right++;
        if (*left == '\0' || right == end)
            return *left == '\0' && right == end;
        if (lower(*left++) != lower(*right++))
            return false;
    }
}

static json_t *member(json_t *object, const char *name, size_t size)
{
    json_t *value = json_object_getn(object, name, size);
    const char *key = NULL;
    json_t *candidate = NULL;

    if (value != NULL)
        return value;
    json_object_foreach(object, key, candidate)
    {
        if (ingest_name_is_like(key, name, size))
            return candidate;
    }
    return NULL;
}

/* "[0]" at `*path`, moved behind. */
static json_t *element(json_t *array, const char **path)
{
    char *end = NULL;
    unsigned long index = strtoul(*path + 1, &end, 10);

    if (*end != ']')
        return NULL;
    *path = end + 1;
    return json_array_get(array, index);
}

json_t *json_path_find(json_t *value, const char *path)
{
    while (value != NULL && *path != '\0') {
        json_t *whole = json_is_object(value) ? member(value, path, strlen(path)) : NULL;
        if (whole != NULL)
            return json_is_null(whole) ? NULL : whole;
        if (*path == '[') {
            value = element(value, &path);
        } else {
            size_t size = strcspn(path, ".[");
            value = json_is_object(value) ? member(value, path, size) : NULL;
            path += size;
        }
        path += *path == '.';
    }
    return json_is_null(value) ? NULL : value;
}

bool json_path_is_valid(const char *path)
{
    size_t parts = 0;

    while (*path != '\0') {
        size_t size = strcspn(path, ".[");
        if (size == 0 && *path != '[')
            return false;
        path += size;
        while (*path == '[') {
            size_t digits = strspn(path + 1, "0123456789");
            if (digits == 0 || digits > INDEX_DIGITS_MAX || path[digits + 1] != ']')
                return false;
            path += digits + 2;
        }
        if (*path != '\0' && (*path != '.' || path[1] == '\0'))
            return false;
        path += *path == '.';
        if (++parts > PARTS_MAX)
            return false;
    }
    return parts > 0;
}
