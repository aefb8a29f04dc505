/* Goal: arena memory is zeroed and aligned, bounded by its blocks, reused after a clear, and guarded under the sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/memory.h"
#include "base/random.h"
#include "child.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

enum { BLOCK_SIZE = 1024 };

static bool is_zeroed(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Sizes around and far over the block size; all memory stays distinct, zeroed at first and aligned, also in later rounds. */
static void test_zeroed_aligned_distinct(void **state)
{
    enum { COUNT = 200 };
    struct arena *arena = arena_new(BLOCK_SIZE);
    struct random_sequence sequence = random_sequence_from(1);
    uint8_t *items[COUNT];
    size_t sizes[COUNT];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            sizes[i] = (size_t)random_below(&sequence, i % 10 == 0 ? 3 * BLOCK_SIZE : 100);
            items[i] = arena_alloc(arena, sizes[i]);
            assert_int_equal((uintptr_t)items[i] % _Alignof(max_align_t), 0);
            assert_true(is_zeroed(items[i], sizes[i]));
            memset(items[i], (int)(i + 1) & 0xff, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++)
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(items[i][k], (i + 1) & 0xff);
        arena_clear(arena);
    }
    arena_free(arena);
}

static void test_empty_allocations_are_distinct(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    assert_ptr_not_equal(arena_alloc(arena, 0), arena_alloc(arena, 0));
    assert_ptr_not_equal(arena_alloc_array(arena, 0, 8), arena_alloc_array(arena, 8, 0));
    arena_free(arena);
    arena_free(NULL);
}

/* A clear keeps one block and gives the rest back; the kept one is used again. */
static void test_clear_keeps_one_block(void **state)
{
    struct arena *arena = arena_new(BLOCK_SIZE);

    (void)state;
    assert_int_equal(arena_size(arena), 0);
    arena_clear(arena);
    void *first = arena_alloc(arena, 16);
    size_t one_block = arena_size(arena);
    assert_in_range(one_block, BLOCK_SIZE, BLOCK_SIZE + 64);
    for (int i = 0; i < 100; i++)
        arena_alloc(arena, 100);
    arena_alloc(arena, 10 * BLOCK_SIZE);
    assert_true(arena_size(arena) > 20 * BLOCK_SIZE);
    arena_clear(arena);
    assert_int_equal(arena_size(arena), one_block);
    assert_non_null(arena_alloc(arena, 16));
    assert_int_equal(arena_size(arena), one_block);
    (void)first;
    arena_clear(arena);
    arena_alloc(arena, 10 * BLOCK_SIZE);
    arena_free(arena);
}

/* Only an oversized block: nothing of the ordinary size is there to keep. */
static void test_clear_of_a_large_block(void **state)
{
    struct arena *arena = arena_new(BLOCK_SIZE);

    (void)state;
    arena_alloc(arena, 2 * BLOCK_SIZE);
    arena_clear(arena);
    assert_int_equal(arena_size(arena), 0);
    arena_free(arena);
}

/* A large allocation does not end the block that is being filled. */
static void test_large_allocation_wastes_nothing(void **state)
{
    struct arena *arena = arena_new(BLOCK_SIZE);

    (void)state;
    char *small = arena_alloc(arena, 16);
    arena_alloc(arena, 4 * BLOCK_SIZE);
    size_t size = arena_size(arena);
    assert_ptr_equal(arena_alloc(arena, 16), small + 16);
    assert_int_equal(arena_size(arena), size);
    arena_free(arena);
}

static void test_strings(void **state)
{
    struct arena *arena = arena_new(64);
    char *longest = arena_format(arena, "%0*d", 5000, 7);

    (void)state;
    assert_int_equal(strlen(longest), 5000);
    assert_string_equal(arena_copy(arena, "leads", 4), "lead");
    assert_string_equal(arena_copy(arena, NULL, 0), "");
    assert_memory_equal(arena_copy(arena, "a\0b", 3), "a\0b", 4);
    assert_string_equal(arena_copy_string(arena, "lead"), "lead");
    assert_string_equal(arena_copy_string(arena, NULL), "");
    assert_string_equal(arena_format(arena, "%s-%d", "rule", 3), "rule-3");
    assert_string_equal(arena_format(arena, "%s", ""), "");
    arena_free(arena);
}

static volatile size_t huge = SIZE_MAX;

static void alloc_overflow(void)
{
    arena_alloc(arena_new(0), huge);
}

static void block_overflow(void)
{
    arena_alloc(arena_new(0), huge - 32);
}

static void array_overflow(void)
{
    arena_alloc_array(arena_new(0), huge / 2, 4);
}

static void copy_overflow(void)
{
    arena_copy(arena_new(0), "", huge);
}

static void test_overflow_aborts(void **state)
{
    void (*const bodies[])(void) = {alloc_overflow, block_overflow, array_overflow, copy_overflow};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        child_assert_aborts(bodies[i]);
}

#if defined(__SANITIZE_ADDRESS__)
/* Behind an allocation, and in a cleared arena, lies memory that must not be touched. */
static void test_sanitizer_guards(void **state)
{
    struct arena *arena = arena_new(BLOCK_SIZE);
    char *text = arena_alloc(arena, 5);
    char *exact = arena_alloc(arena, 32);

    (void)state;
    assert_false(__asan_address_is_poisoned(text + 4));
    assert_true(__asan_address_is_poisoned(text + 5));
    assert_true(__asan_address_is_poisoned(exact + 32));
    arena_clear(arena);
    assert_true(__asan_address_is_poisoned(text));
    arena_free(arena);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_aligned_distinct),
        cmocka_unit_test(test_empty_allocations_are_distinct),
        cmocka_unit_test(test_clear_keeps_one_block),
        cmocka_unit_test(test_clear_of_a_large_block),
        cmocka_unit_test(test_large_allocation_wastes_nothing),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_overflow_aborts),
#if defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(test_sanitizer_guards),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
