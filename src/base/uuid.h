/* UUIDs (RFC 9562) as sixteen bytes, in the byte order PostgreSQL's binary format uses. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

enum { UUID_TEXT_SIZE = 37 /* 36 characters and the NUL */ };

struct uuid {
    uint8_t bytes[16];
};

/* All zero: "no id". */
extern const struct uuid uuid_nil;

/* Reads the canonical 8-4-4-4-12 form, upper or lower case, and nothing else (no braces, no blanks, no "urn:uuid:").
 * Returns false on anything else; `ret_uuid` is then untouched. `text` may be NULL: false. */
bool uuid_parse(const char *text, struct uuid *ret_uuid);

/* Writes the lower-case canonical form and its NUL; returns `ret_text`. */
char *uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_SIZE]);

/* A random UUID (version 4) from the operating system's generator. Any thread. */
struct uuid uuid_random(void);

/* Comparisons of all sixteen bytes. */
bool uuid_equal(const struct uuid *left, const struct uuid *right);
bool uuid_is_nil(const struct uuid *uuid);

/* Order by bytes, for sorting and searching: negative, zero, positive. */
int uuid_compare(const struct uuid *left, const struct uuid *right);

/* A hash of all bytes for hash tables in memory; not stable between versions. */
uint64_t uuid_hash(const struct uuid *uuid);

#endif
