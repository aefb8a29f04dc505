/* UTF-8 validity (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* True when all `size` bytes are valid UTF-8. `ret_offset` (may be NULL) gets the offset of the first bad byte on false. */
bool utf8_is_valid(const char *text, size_t size, size_t *ret_offset);

/* The largest n <= `size` so that the first n bytes do not end inside a code point. */
size_t utf8_cut(const char *text, size_t size);

/* A copy that is valid and has no NUL: each byte that is neither part of a code point nor wanted is replaced by U+FFFD. The
 * caller's, NUL-terminated. */
char *utf8_copy_repaired(const char *text, size_t size);

#endif
