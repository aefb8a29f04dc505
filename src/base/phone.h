/* Phone numbers as digits: what the identity of a lead and the rules about it both start from (docs/identity.md). */
#ifndef BASE_PHONE_H
#define BASE_PHONE_H

#include <stddef.h>

/* A capacity that is enough for the digits of `size` bytes, with their NUL. */
#define PHONE_CAPACITY(size) ((size) + 2)

/* Writes the digits of a number, country code first, NUL-terminated, and returns how many: an extension ("x", "ext") is cut, a leading
 * "00" or "011" is dropped, ten digits without any of these or a "+" get a 1 in front. 0 when there are none. `capacity` is
 * at least PHONE_CAPACITY(size) (asserted). Any thread. */
size_t phone_digits(const char *text, size_t size, char *ret_digits, size_t capacity);

#endif
