/* JSON values whose numbers are kept as they came. jansson has integers of 64 bits and doubles; an id of twenty digits or a price of 0.10
 * is neither. Such a number becomes a text behind U+FDD0, a code point that Unicode sets aside for the inside of programs; input
 * that holds it is refused. */
#ifndef INGEST_JSON_VALUE_H
#define INGEST_JSON_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buffer.h"
#include "ingest/reader.h"

/* Reads one value from UTF-8 that nests no deeper than INGEST_DEPTH_MAX; the caller releases it with json_decref(). NULL with the reason:
 * no JSON, a key twice, a NUL in a text. */
json_t *json_value_read(const char *text, size_t size, struct ingest_rejection *ret_rejection);

/* The digits of a number as they came, or NULL for what is none. For integers they are written to `scratch`. */
enum { JSON_NUMBER_SIZE = 24 };
const char *json_value_number(const json_t *value, char scratch[JSON_NUMBER_SIZE]);

/* Appends the value as JSON, numbers as they came; one that no double holds becomes a text, which every reader of JSON takes. False
 * when the buffer is full. */
bool json_value_write(struct buffer *buffer, const json_t *value);

#endif
