/* Paths into JSON: "person.email", "companies[0].title". Letter case, blanks, hyphens and underscores in keys do not count, unless a key is
 * there exactly as written. Any thread. */
#ifndef INGEST_JSON_PATH_H
#define INGEST_JSON_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* True when two names are the same but for letter case, blanks, hyphens and underscores. */
bool ingest_name_is_like(const char *left, const char *right, size_t right_size);

/* What a path leads to, borrowed from `value`; NULL when there is nothing, or null. A key that has dots in it is found when it is the whole
 * rest of the path. */
json_t *json_path_find(json_t *value, const char *path);

/* True for a path without empty parts, with at most 16 of them, and with numbers in its brackets. */
bool json_path_is_valid(const char *path);

#endif
