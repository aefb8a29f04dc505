/* Heap allocation that does not return NULL.
 *
 * Policy: a process that cannot get memory ends with one line on standard error. Every queue, message and buffer has a
 * bound of its own, gRPC's core ends the process in that case anyway, and a restarted server loses nothing: so the many
 * half-tested paths that would pass NULL upwards are not worth having. src/base/README.md gives the reasoning. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>

/* `size` bytes set to zero (size 0 gives a unique pointer). The result is the caller's, released with free(). */
void *memory_new(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* `count` elements of `size` bytes each, set to zero; the product is checked for overflow. */
void *memory_new_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* Like realloc() for `count` elements of `size` bytes; new bytes are not set. */
void *memory_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull, warn_unused_result));

/* A copy of a string, or NULL for NULL. */
char *memory_copy_string(const char *text) __attribute__((warn_unused_result));

/* A text as printf() makes it; with a list of arguments as vprintf(). The caller's, released with free(). */
char *memory_format(const char *format, ...)
    __attribute__((format(printf, 1, 2), malloc, returns_nonnull, warn_unused_result));
char *memory_format_list(const char *format, va_list arguments)
    __attribute__((format(printf, 1, 0), malloc, returns_nonnull, warn_unused_result));

/* Number of elements in an array whose size the compiler knows. */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
