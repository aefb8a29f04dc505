/* Goal: a buffer never passes its bound, changes nothing when it refuses, and writes JSON strings that any parser reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "child.h"

static void test_append(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    buffer_release(&buffer); /* a zeroed struct */
    buffer_init(&buffer, 1000);
    assert_string_equal(buffer_text(&buffer), "");
    assert_null(buffer.data);
    assert_true(buffer_append(&buffer, "a\0b", 3));
    assert_true(buffer_append_string(&buffer, "cd"));
    assert_true(buffer_append_format(&buffer, "%d", 42));
    assert_true(buffer_append(&buffer, NULL, 0));
    assert_int_equal(buffer.size, 7);
    assert_memory_equal(buffer.data, "a\0bcd42", 8);
    buffer_clear(&buffer);
    assert_string_equal(buffer_text(&buffer), "");
    assert_non_null(buffer.data);
    buffer_release(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.size_max, 1000);
    assert_true(buffer_append_string(&buffer, "again"));
    buffer_release(&buffer);
}

/* For every bound: the last append that fits is taken, the next one refused without a trace. */
static void test_bound(void **state)
{
    (void)state;
    for (size_t bound = 0; bound < 300; bound++) {
        struct buffer buffer;
        buffer_init(&buffer, bound);
        while (buffer_append_string(&buffer, "abc"))
            assert_false(buffer.overflowed);
        size_t filled = bound / 3 * 3;
        assert_int_equal(buffer.size, filled);
        assert_true(buffer.overflowed);
        assert_false(buffer_append_format(&buffer, "%s", "defg"));
        assert_int_equal(buffer.size, filled);
        assert_int_equal(strlen(buffer_text(&buffer)), filled);
        assert_true(buffer_append(&buffer, "xyz", bound - filled));
        assert_int_equal(buffer.size, bound);
        assert_true(buffer.overflowed); /* until cleared */
        buffer_clear(&buffer);
        assert_false(buffer.overflowed);
        buffer_release(&buffer);
    }
}

/* A size whose sum with the current one would wrap round is refused like any other. */
static void test_size_that_would_wrap(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 100);
    assert_true(buffer_append_string(&buffer, "abc"));
    assert_false(buffer_append(&buffer, "x", SIZE_MAX - 1));
    assert_string_equal(buffer_text(&buffer), "abc");
    buffer_release(&buffer);
}

static void init_without_bound(void)
{
    struct buffer buffer;

    buffer_init(&buffer, SIZE_MAX);
}

static void test_bound_is_required(void **state)
{
    (void)state;
    child_assert_aborts(init_without_bound);
}

static void test_json_string(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *expected;
    } cases[] = {
        {"", 0, "\"\""},
        {NULL, 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"say \"hi\" \\ bye", 14, "\"say \\\"hi\\\" \\\\ bye\""},
        {"\n\r\t", 3, "\"\\n\\r\\t\""},
        {"a\0b\x01\x1f\x7f", 6, "\"a\\u0000b\\u0001\\u001f\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b",
            3,
            "\"a\xef\xbf\xbd"
            "b\""},
        {"\xc3", 1, "\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xff\"\xfe", 3, "\"\xef\xbf\xbd\\\"\xef\xbf\xbd\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer buffer;
        buffer_init(&buffer, 100);
        assert_true(buffer_append_json_string(&buffer, cases[i].text, cases[i].size));
        assert_string_equal(buffer_text(&buffer), cases[i].expected);
        buffer_release(&buffer);
    }
}

/* At every bound that is too small the buffer is as it was before. */
static void test_json_string_is_whole_or_absent(void **state)
{
    static const char text[] = "x\"\xff\xc3\xa9\n";
    static const char whole[] = "[\"x\\\"\xef\xbf\xbd\xc3\xa9\\n\"";

    (void)state;
    for (size_t bound = 0; bound <= sizeof(whole); bound++) {
        struct buffer buffer;
        buffer_init(&buffer, bound);
        bool started = buffer_append_string(&buffer, "[");
        bool ended = buffer_append_json_string(&buffer, text, sizeof(text) - 1);
        assert_int_equal(ended, bound >= sizeof(whole) - 1);
        assert_string_equal(buffer_text(&buffer), ended ? whole : started ? "[" : "");
        assert_int_equal(buffer.overflowed, !ended);
        buffer_release(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_size_that_would_wrap),
        cmocka_unit_test(test_bound_is_required),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_json_string_is_whole_or_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
