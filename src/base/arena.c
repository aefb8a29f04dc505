#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { BLOCK_SIZE_DEFAULT = 4096, ALIGNMENT = _Alignof(max_align_t) };

struct block {
    struct block *next;
    size_t capacity;
    size_t used;
    _Alignas(max_align_t) uint8_t data[];
};

struct arena {
    struct block *blocks; /* the one being filled first */
    size_t block_size;
    size_t size;
};

static struct block *block_new(struct arena *arena, size_t capacity)
{
    size_t bytes = 0;

    if (__builtin_add_overflow(sizeof(struct block), capacity, &bytes))
        abort();
    /* Zeroed when handed out, not here: a block is used many times. */
    struct block *block = memory_resize(NULL, 1, bytes);
    *block = (struct block){.capacity = capacity};
    ASAN_POISON_MEMORY_REGION(block->data, capacity);
    arena->size += bytes;
    return block;
}

static void block_free(struct arena *arena, struct block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block->data, block->capacity);
    arena->size -= sizeof(*block) + block->capacity;
    free(block);
}

struct arena *arena_new(size_t block_size)
{
    struct arena *arena = memory_new(sizeof(*arena));

    arena->block_size = block_size == 0 ? BLOCK_SIZE_DEFAULT : block_size;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    while (arena->blocks != NULL) {
        struct block *next = arena->blocks->next;
        block_free(arena, arena->blocks);
        arena->blocks = next;
    }
    free(arena);
}

void arena_clear(struct arena *arena)
{
    struct block *kept = NULL;

    while (arena->blocks != NULL) {
        struct block *block = arena->blocks;
        arena->blocks = block->next;
        if (kept == NULL && block->capacity == arena->block_size)
            kept = block;
        else
            block_free(arena, block);
    }
    if (kept != NULL) {
        ASAN_POISON_MEMORY_REGION(kept->data, kept->capacity);
        kept->used = 0;
        kept->next = NULL;
    }
    arena->blocks = kept;
}

/* Takes `rounded` bytes, of which `size` may be touched: the rest is the gap in which AddressSanitizer sees an overrun. */
static void *take(struct block *block, size_t rounded, size_t size)
{
    void *memory = block->data + block->used;

    assert(size <= rounded && rounded <= block->capacity - block->used);
    block->used += rounded;
    ASAN_UNPOISON_MEMORY_REGION(memory, size);
    return memset(memory, 0, size);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded = 0;

    if (__builtin_add_overflow(size == 0 ? 1 : size, (size_t)ALIGNMENT - 1, &rounded))
        abort();
    rounded -= rounded % ALIGNMENT;
    if (arena->blocks != NULL && arena->blocks->capacity - arena->blocks->used >= rounded)
        return take(arena->blocks, rounded, size);
    struct block *block = block_new(arena, rounded > arena->block_size ? rounded : arena->block_size);
    if (rounded > arena->block_size && arena->blocks != NULL) { /* keep filling the block that has room */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return take(block, rounded, size);
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;

    if (__builtin_mul_overflow(count, size, &bytes))
        abort();
    return arena_alloc(arena, bytes);
}

char *arena_copy(struct arena *arena, const char *text, size_t size)
{
    assert(size < SIZE_MAX);
    char *copy = arena_alloc(arena, size + 1);

    if (size > 0)
        memcpy(copy, text, size);
    return copy;
}

char *arena_copy_string(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, text == NULL ? 0 : strlen(text));
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_list again;

    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(length >= 0);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_size(const struct arena *arena)
{
    return arena->size;
}
