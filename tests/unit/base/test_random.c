/* Goal: system randomness is never given out twice, to threads or to children; seeded sequences are the same for ever. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "child.h"

enum { ID_SIZE = 16, IDS_PER_THREAD = 500, THREADS = 4 };

/* Sizes below, at and above what is buffered: every byte of the result is written. */
static void test_fills_every_byte(void **state)
{
    static const size_t sizes[] = {1, 2, 16, 255, 256, 257, 1000, 70000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint8_t *seen = memory_new(sizes[i]);
        uint8_t *bytes = memory_new(sizes[i] + 1);
        for (int round = 0; round < 64; round++) {
            random_bytes(bytes, sizes[i]);
            assert_int_equal(bytes[sizes[i]], 0);
            for (size_t k = 0; k < sizes[i]; k++)
                seen[k] |= bytes[k];
        }
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_not_equal(seen[k], 0);
        free(bytes);
        free(seen);
    }
}

static void *fill(void *ids)
{
    for (size_t i = 0; i < IDS_PER_THREAD; i++)
        random_bytes((uint8_t *)ids + i * ID_SIZE, ID_SIZE);
    return NULL;
}

static int compare_ids(const void *left, const void *right)
{
    return memcmp(left, right, ID_SIZE);
}

static void test_threads_get_different_bytes(void **state)
{
    static uint8_t ids[THREADS][IDS_PER_THREAD][ID_SIZE];
    pthread_t threads[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fill, ids[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    size_t count = sizeof(ids) / ID_SIZE;
    qsort(ids, count, ID_SIZE, compare_ids);
    for (size_t i = 1; i < count; i++)
        assert_memory_not_equal((uint8_t *)ids + i * ID_SIZE, (uint8_t *)ids + (i - 1) * ID_SIZE, ID_SIZE);
}

static void write_bytes(void)
{
    uint8_t bytes[ID_SIZE];

    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] |= 1; /* no NUL in the text */
    if (write(STDERR_FILENO, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
        _exit(1);
}

/* A child has a copy of the parent's memory, the buffered bytes included; lock owners must differ all the same. */
static void test_children_get_different_bytes(void **state)
{
    uint8_t mine[ID_SIZE];
    char first[CHILD_TEXT_SIZE];
    char second[CHILD_TEXT_SIZE];

    (void)state;
    random_bytes(mine, 1); /* the rest of the buffer is what a child would inherit */
    assert_int_equal(child_run(write_bytes, first), 0);
    assert_int_equal(child_run(write_bytes, second), 0);
    random_bytes(mine, sizeof(mine));
    for (size_t i = 0; i < sizeof(mine); i++)
        mine[i] |= 1;
    assert_memory_not_equal(first, second, ID_SIZE);
    assert_memory_not_equal(first, mine, ID_SIZE);
    assert_memory_not_equal(second, mine, ID_SIZE);
}

/* The published first outputs of splitmix64 for the seed 1234567. */
static void test_sequence(void **state)
{
    static const uint64_t expected[] = {
        6457827717110365317U, 3203168211198807973U, 9817491932198370423U, 4593380528125082431U, 16408922859458223821U};
    struct random_sequence sequence = random_sequence_from(1234567);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        assert_true(random_next(&sequence) == expected[i]);
}

static void test_below(void **state)
{
    struct random_sequence sequence = random_sequence_from(7);
    size_t counts[10] = {0};

    (void)state;
    for (int i = 0; i < 100000; i++)
        counts[random_below(&sequence, COUNT_OF(counts))]++;
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(random_below(&sequence, 1), 0);
        assert_true(random_below(&sequence, UINT64_MAX) < UINT64_MAX);
        assert_true(random_below(&sequence, (1ULL << 63) + 1) <= 1ULL << 63);
    }
}

static void below_nothing(void)
{
    struct random_sequence sequence = random_sequence_from(7);

    random_below(&sequence, 0);
}

static void test_below_nothing_is_a_bug(void **state)
{
    (void)state;
    child_assert_aborts(below_nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_every_byte),
        cmocka_unit_test(test_threads_get_different_bytes),
        cmocka_unit_test(test_children_get_different_bytes),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_below_nothing_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
