/* Buffer: bytes that grow up to a bound given at creation. Not thread safe. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *data; /* NUL-terminated after `size` bytes once anything was added; NULL before */
    size_t size;
    size_t capacity;
    size_t size_max; /* bound on `size`; appending beyond it fails and changes nothing */
    bool overflowed; /* an append was refused since the last buffer_clear() */
};

/* An empty buffer that may grow to `size_max` bytes. */
void buffer_init(struct buffer *buffer, size_t size_max);

/* Gives the memory back; the buffer is then as after buffer_init() with the same bound. A zeroed struct is fine. */
void buffer_release(struct buffer *buffer);

/* Empties the buffer and keeps its memory. */
void buffer_clear(struct buffer *buffer);

/* Each appends and returns true, or returns false, sets `overflowed` and changes nothing when the bound would be passed. */
bool buffer_append(struct buffer *buffer, const void *data, size_t size);
bool buffer_append_string(struct buffer *buffer, const char *text);
bool buffer_append_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a JSON string with its quotes: control characters, quote and backslash escaped; bytes that are not valid UTF-8
 * become U+FFFD (RFC 8259, section 7). `size` bytes of `text`. */
bool buffer_append_json_string(struct buffer *buffer, const char *text, size_t size);

/* The content as a NUL-terminated string ("" when empty); borrowed, valid until the next change. */
const char *buffer_text(const struct buffer *buffer);

#endif
