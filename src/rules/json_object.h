/* One JSON object from text: what conditions and policies start from. */
#ifndef RULES_JSON_OBJECT_H
#define RULES_JSON_OBJECT_H

#include <stddef.h>

#include <jansson.h>

#include "base/error.h"

/* Reads a JSON object of at most `size_max` bytes; the caller releases it with json_decref(). NULL with ERROR_INVALID
 * for what is NULL, too long, not JSON, not an object, or has a key twice. */
json_t *json_object_read(const char *json, size_t size_max, struct error *reterr_error);

#endif
