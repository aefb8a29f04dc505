/* Goal: memory is zeroed, sizes are checked, and a process that gets none ends with one line that says so. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/memory.h"
#include "child.h"

const char *__asan_default_options(void);

/* The product's own answer to a NULL is under test, so the sanitizer must give one instead of ending the process itself. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* Not constants: the compiler would refuse them. */
static volatile size_t huge = SIZE_MAX / 2;

static void new_huge(void)
{
    free(memory_new(huge));
}

static void array_overflow(void)
{
    free(memory_new_array(huge, 4));
}

static void resize_overflow(void)
{
    free(memory_resize(NULL, huge, 4));
}

static void resize_huge(void)
{
    free(memory_resize(NULL, huge, 1));
}

static void test_process_without_memory_ends(void **state)
{
    void (*const bodies[])(void) = {new_huge, array_overflow, resize_overflow, resize_huge};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        char text[CHILD_TEXT_SIZE];
        int status = child_run(bodies[i], text);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, "leadrouter: out of memory\n"));
    }
}

static void assert_zeroed(void *memory, size_t size)
{
    const uint8_t *bytes = memory;

    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], 0);
    free(memory);
}

static void test_zeroed(void **state)
{
    (void)state;
    for (size_t size = 0; size < 300; size += 7) {
        assert_zeroed(memory_new(size), size);
        assert_zeroed(memory_new_array(size, 3), size * 3);
    }
    assert_zeroed(memory_new_array(5, 0), 0);
}

static void test_resize_keeps_content(void **state)
{
    char *text = memory_resize(NULL, 3, 1);

    (void)state;
    memcpy(text, "ab", 3);
    text = memory_resize(text, 1000, 2);
    assert_string_equal(text, "ab");
    text = memory_resize(text, 0, 1); /* still the caller's, still to be freed */
    free(text);
}

static void test_copy_string(void **state)
{
    (void)state;
    assert_null(memory_copy_string(NULL));
    char *copy = memory_copy_string("");
    assert_string_equal(copy, "");
    free(copy);
    copy = memory_copy_string("lead");
    assert_string_equal(copy, "lead");
    free(copy);
}

static void test_format(void **state)
{
    (void)state;
    char *text = memory_format("%s %d", "row", 7);
    assert_string_equal(text, "row 7");
    free(text);
    text = memory_format("%2000d|", 1); /* as long as it needs to be */
    assert_int_equal(strlen(text), 2001);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_without_memory_ends),
        cmocka_unit_test(test_zeroed),
        cmocka_unit_test(test_resize_keeps_content),
        cmocka_unit_test(test_copy_string),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
