/* Arena: allocations that live and die together, one per request or per batch.
 *
 * Not safe for use by two threads at once; may be handed from one thread to another. What outlives the arena must not lie
 * in it. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena;

/* Makes an arena whose blocks are `block_size` bytes each (0 means 4 KiB); larger single allocations get a block of their
 * own. Released with arena_free(). */
struct arena *arena_new(size_t block_size) __attribute__((returns_nonnull));

/* Releases the arena and everything in it. NULL is fine. */
void arena_free(struct arena *arena);

/* Forgets all allocations and keeps one block for the next use. */
void arena_clear(struct arena *arena);

/* `size` bytes, set to zero, aligned for any type; live until arena_clear() or arena_free(). Never NULL. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));

/* `count` elements of `size` bytes, set to zero; the product is checked for overflow. */
void *arena_alloc_array(struct arena *arena, size_t count, size_t size) __attribute__((returns_nonnull));

/* A NUL-terminated copy of `size` bytes of text. */
char *arena_copy(struct arena *arena, const char *text, size_t size) __attribute__((returns_nonnull));

/* A copy of a string; NULL gives "". */
char *arena_copy_string(struct arena *arena, const char *text) __attribute__((returns_nonnull));

/* printf into the arena. */
char *arena_format(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3), returns_nonnull));

/* Bytes taken from the heap at present; for tests and bounds. */
size_t arena_size(const struct arena *arena);

#endif
