/* Goal: nothing that a terminal would obey gets through, what people wrote does, and columns are counted as a terminal counts
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/display.h"
#include "base/memory.h"

static void safe(void **state)
{
    static const struct {
        const char *text;
        const char *shown;
    } cases[] = {
        {"", ""}, {"Zoë Müller", "Zoë Müller"}, {"日本語 🙂", "日本語 🙂"}, {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
        {"\033[2J\033]0;title\a", "\\x1b[2J\\x1b]0;title\\x07"},
        {"a\x7f"
         "b",
            "a\\x7f"
            "b"},
        {"\xc2\x9b"
         "31m",
            "\\x9b31m"},                                /* CSI in one character */
        {"abc\xe2\x80\xaexyz", "abc\\u202exyz"},        /* from right to left */
        {"\xe2\x80\xa8", "\\u2028"},                    /* a line separator */
        {"\xff\xc3", "\\xff\\xc3"},                     /* no UTF-8 */
        {"e\xcc\x81", "e\xcc\x81"},                     /* a combining mark */
        {"\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069"}, /* isolates */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *shown = display_safe(cases[i].text);
        assert_string_equal(shown, cases[i].shown);
        free(shown);
    }
}

/* Whatever the bytes are, the result has no control characters, and making it safe again changes nothing. */
static void safe_for_all_pairs_of_bytes(void **state)
{
    (void)state;
    for (unsigned pair = 1; pair < 0x10000; pair++) {
        const char text[3] = {(char)(pair & 0xff), (char)(pair >> 8), '\0'};
        char *shown = display_safe(text);
        char *again = display_safe(shown);
        for (const char *c = shown; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
        assert_string_equal(again, shown);
        free(again);
        free(shown);
    }
}

static void columns(void **state)
{
    static const struct {
        const char *text;
        size_t width;
    } cases[] = {{"", 0}, {"abc", 3}, {"Zoë", 3}, {"日本", 4}, {"e\xcc\x81", 1}, {"🙂", 2}, {"…", 1}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(display_width(cases[i].text), cases[i].width);
}

static void what_fits(void **state)
{
    static const struct {
        const char *text;
        size_t columns;
        size_t size;
    } cases[] = {
        {"abc", 0, 0}, {"abc", 2, 2}, {"abc", 9, 3}, {"日本", 3, 3}, {"日本", 4, 6}, {"e\xcc\x81x", 1, 3}, {"ë", 1, 2}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(display_fit(cases[i].text, cases[i].columns), cases[i].size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(safe), cmocka_unit_test(safe_for_all_pairs_of_bytes),
        cmocka_unit_test(columns), cmocka_unit_test(what_fits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
