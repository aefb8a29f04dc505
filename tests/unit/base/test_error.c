/* Goal: an error carries class, SQLSTATE and a text that is never cut inside a code point, whatever goes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"

static void test_set(void **state)
{
    struct error error = {.sqlstate = "23505"};

    (void)state;
    assert_false(error_set(&error, ERROR_NOT_FOUND, "lead %d is not there", 7));
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_string_equal(error.text, "lead 7 is not there");
    assert_string_equal(error.sqlstate, "");
    assert_false(error_set(NULL, ERROR_INVALID, "dropped"));
    assert_false(error_set_sql(NULL, ERROR_DATABASE, "40001", "dropped"));
    assert_false(error_add_context(NULL, "dropped"));
}

/* Arguments that lie in the error which is overwritten are read before it is. */
static void test_set_from_itself(void **state)
{
    struct error error;

    (void)state;
    error_set_sql(&error, ERROR_DATABASE, "40P01", "deadlock");
    error_set_sql(&error, ERROR_UNAVAILABLE, error.sqlstate, "tried again: %s", error.text);
    assert_string_equal(error.text, "tried again: deadlock");
    assert_string_equal(error.sqlstate, "40P01");
}

static void test_sqlstate(void **state)
{
    static const char *const odd[] = {"", "4000", "400011", "a sentence"};
    struct error error;

    (void)state;
    error_set_sql(&error, ERROR_DATABASE, "23505", "%s", "unique");
    assert_string_equal(error.sqlstate, "23505");
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        error_set_sql(&error, ERROR_DATABASE, "23505", "unique");
        error_set_sql(&error, ERROR_DATABASE, odd[i], "odd");
        assert_string_equal(error.sqlstate, "");
    }
    error_set_sql(&error, ERROR_DATABASE, NULL, "none");
    assert_string_equal(error.sqlstate, "");
}

static void test_full(void **state)
{
    struct error error = {0};

    (void)state;
    assert_false(error_set_full(&error, 40, "%d are there", 3));
    assert_int_equal(error.code, ERROR_FULL);
    assert_int_equal(error.retry_after_ms, 40);
    assert_string_equal(error.text, "3 are there");
    assert_false(error_set(&error, ERROR_FULL, "once more")); /* nothing is left of the one before */
    assert_int_equal(error.retry_after_ms, 0);
    assert_false(error_set_full(NULL, 40, "dropped"));
}

/* Every length around the bound, with the two-byte code point at every place. */
static void test_long_text_is_cut_on_a_code_point(void **state)
{
    char text[ERROR_TEXT_SIZE + 8];
    struct error error;

    (void)state;
    for (size_t length = ERROR_TEXT_SIZE - 4; length < ERROR_TEXT_SIZE + 4; length++) {
        memset(text, 'x', length);
        memcpy(text + length, "\xc3\xa9", 3);
        error_set(&error, ERROR_INVALID, "%s", text);
        size_t whole = length + 2;
        size_t expected = whole < ERROR_TEXT_SIZE ? whole : length < ERROR_TEXT_SIZE ? length : ERROR_TEXT_SIZE - 1;
        assert_int_equal(strlen(error.text), expected);
        assert_true(utf8_is_valid(error.text, strlen(error.text), NULL));
    }
}

static void test_context(void **state)
{
    struct error error;
    char text[2 * ERROR_TEXT_SIZE];

    (void)state;
    error_set_sql(&error, ERROR_DATABASE, "42P01", "no such table");
    assert_false(error_add_context(&error, "migration %d", 1));
    assert_string_equal(error.text, "migration 1: no such table");
    assert_string_equal(error.sqlstate, "42P01");
    assert_int_equal(error.code, ERROR_DATABASE);
    assert_false(error_add_context(&error, "%s", error.text));
    assert_string_equal(error.text, "migration 1: no such table: migration 1: no such table");
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    error_add_context(&error, "x%s", text);
    assert_true(strlen(error.text) >= ERROR_TEXT_SIZE - 2);
    assert_true(utf8_is_valid(error.text, strlen(error.text), NULL));
}

static void test_names_differ(void **state)
{
    (void)state;
    assert_string_equal(error_code_name(ERROR_NONE), "none");
    assert_string_equal(error_code_name(ERROR_RESULT_UNKNOWN), "result_unknown");
    assert_string_equal(error_code_name((enum error_code)1000), "internal");
    for (int left = ERROR_NONE; left <= ERROR_INTERNAL; left++)
        for (int right = left + 1; right <= ERROR_INTERNAL; right++)
            assert_string_not_equal(error_code_name((enum error_code)left), error_code_name((enum error_code)right));
}

static void test_retryable(void **state)
{
    static const struct {
        const char *sqlstate;
        bool expected;
    } cases[] = {{"40001", true}, {"40P01", true}, {"40002", false}, {"40p01", false}, {"", false}, {"23505", false}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error error;
        error_set_sql(&error, ERROR_DATABASE, cases[i].sqlstate, "x");
        assert_int_equal(error_is_transaction_retryable(&error), cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_from_itself),
        cmocka_unit_test(test_sqlstate),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_long_text_is_cut_on_a_code_point),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_names_differ),
        cmocka_unit_test(test_retryable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
