/* Goal: text made comparable is right at its edges: white space, blanks, folding, canonical equivalence, long texts,
 * invalid UTF-8; both forms are idempotent. (The lower-case form over every code point: tests/unit/dedupe.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"

enum { CODE_POINT_END = 0x110000, RANDOM_TEXTS = 20000 };

static const char *fold(const char *text, char *ret_text, size_t capacity)
{
    size_t size = 0;
    assert_true(text_normalize(text, strlen(text), TEXT_FOLD, ret_text, capacity, &size));
    assert_int_equal(strlen(ret_text), size);
    return ret_text;
}

static void test_white_space(void **state)
{
    (void)state;
    size_t count = 0;
    for (int32_t c = 0; c < CODE_POINT_END; c++) {
        if (text_is_white_space(c)) {
            count++;
            utf8proc_category_t category = utf8proc_category(c);
            assert_true(category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
                        category == UTF8PROC_CATEGORY_ZP || category == UTF8PROC_CATEGORY_CC);
        } else {
            assert_int_not_equal(utf8proc_category(c), UTF8PROC_CATEGORY_ZS);
        }
    }
    assert_int_equal(count, 25);
}

static void test_blank(void **state)
{
    (void)state;
    static const char *const blank[] = {
        NULL, "", " ", "\t\n\v\f\r ", "\xc2\x85\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"};
    static const char *const filled[] = {"a", "  a", "\u200b", "\x01", "\xff", " \xe3\x80", "\u00a0\u00e9"};
    for (size_t i = 0; i < COUNT_OF(blank); i++) {
        assert_true(text_is_blank(blank[i]));
    }
    for (size_t i = 0; i < COUNT_OF(filled); i++) {
        assert_false(text_is_blank(filled[i]));
    }
}

static void test_folding(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *folded;
    } cases[] = {
        {"", ""},
        {" A\t\u00a0b ", "a b"},
        {"Stra\u00dfe", "strasse"},
        {"\u1e9e", "ss"},
        {"\u03a3\u03c2", "\u03c3\u03c3"},
        {"\u0130", "i\u0307"},
        {"I\u0307", "i\u0307"},
        {"E\u0301", "\u00e9"},
        {"\ufb03", "ffi"},
        {"a\x01z", "a\x01z"},
        {"\u00e9\x01", "\u00e9\x01"},
        {"\u01f0", "\u01f0"},
        {"J\u030c", "\u01f0"},
        {"\u1fb3", "\u03b1\u03b9"},
        {"\u03b1\u0345\u0301", "\u03ac\u03b9"},
        {"\u03b1\u0301\u0345", "\u03ac\u03b9"},
        {"\u13a0", "\u13a0"},
        {"\uab70", "\u13a0"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char folded[TEXT_CAPACITY(64)];
        assert_string_equal(fold(cases[i].text, folded, sizeof(folded)), cases[i].folded);
    }
}

static void random_text(struct random_sequence *sequence, uint8_t *ret_text)
{
    static const int32_t lively[] = {0x345, 0x301, 0x308, 0x307, 0x323, 0x30C, 0x3B1, 0x399, 0x1FB3, 0x130, 'I', 'J',
        'h', 0x331, 0xDF, 0x1E9E, 0xAC00, 0x11A8, ' ', 0x3000, 0x149, 0x1F52, 0x587};
    size_t count = (size_t)random_below(sequence, 10);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t code_point = lively[random_below(sequence, COUNT_OF(lively))];
        if (random_below(sequence, 3) == 0) {
            code_point = (int32_t)(1 + random_below(sequence, 0x2FFF));
        }
        size += (size_t)utf8proc_encode_char(code_point, ret_text + size);
    }
    ret_text[size] = '\0';
}

static void test_forms_are_idempotent_and_canonical(void **state)
{
    (void)state;
    struct random_sequence sequence = random_sequence_from(3);
    for (size_t i = 0; i < RANDOM_TEXTS; i++) {
        uint8_t text[64];
        random_text(&sequence, text);
        uint8_t *decomposed = utf8proc_NFD(text);
        for (enum text_form form = TEXT_LOWER; form <= TEXT_FOLD; form++) {
            char once[TEXT_CAPACITY(64)];
            char twice[TEXT_CAPACITY(sizeof(once))];
            char equivalent[TEXT_CAPACITY(256)];
            size_t size = 0;
            assert_true(text_normalize((char *)text, strlen((char *)text), form, once, sizeof(once), &size));
            assert_true(text_normalize(once, size, form, twice, sizeof(twice), &size));
            assert_string_equal(once, twice);
            size_t decomposed_size = strlen((char *)decomposed);
            assert_true(decomposed_size <= 256);
            assert_true(
                text_normalize((char *)decomposed, decomposed_size, form, equivalent, sizeof(equivalent), &size));
            assert_string_equal(once, equivalent);
        }
        free(decomposed);
    }
}

/* Beyond the stack buffers, with the largest growth there is: U+1D160 becomes three code points of four bytes. */
static void test_long_texts(void **state)
{
    (void)state;
    enum { COUNT = 3000, SIZE = 4 * COUNT };
    char *text = memory_new(SIZE);
    char *made = memory_new(TEXT_CAPACITY(SIZE));
    for (size_t i = 0; i < COUNT; i++) {
        memcpy(text + 4 * i, "\U0001D160", 4);
    }
    for (enum text_form form = TEXT_LOWER; form <= TEXT_FOLD; form++) {
        size_t size = 0;
        assert_true(text_normalize(text, SIZE, form, made, TEXT_CAPACITY(SIZE), &size));
        assert_int_equal(size, 3 * SIZE);
        assert_memory_equal(made, "\U0001D158\U0001D165\U0001D16E\U0001D158", 16);
    }
    free(made);
    free(text);
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", "a\xC3", "\u00e9\xC0\xAF", "\xE2\x82", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char made[TEXT_CAPACITY(16)];
        size_t size = 77;
        assert_false(text_normalize(bad[i], strlen(bad[i]), TEXT_FOLD, made, sizeof(made), &size));
        assert_false(text_normalize(bad[i], strlen(bad[i]), TEXT_LOWER, made, sizeof(made), &size));
        assert_int_equal(size, 77);
    }
}

/* Words that may be misspelt names, and what may be a value. */
static void names(void **state)
{
    static const char *const good[] = {"a", "company_industry", "attributes.score", "in-set", "x9"};
    static const char *const bad[] = {
        "", "Ann", "a b", "a@b.c", "49170123", "_a", "ann\xc3\xa9", "a123456789012345678901234567890123456789x", "a\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(text_is_name(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(text_is_name(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_blank),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_forms_are_idempotent_and_canonical),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_invalid_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
