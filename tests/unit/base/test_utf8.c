/* Goal: exactly the sequences of RFC 3629 are valid, and a cut never leaves half a code point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/utf8.h"

/* The encoding as RFC 3629, section 3, writes it; 0 for surrogates. */
static size_t encode(uint32_t code_point, char ret_text[4])
{
    if (code_point >= 0xd800 && code_point <= 0xdfff)
        return 0;
    if (code_point < 0x80) {
        ret_text[0] = (char)code_point;
        return 1;
    }
    size_t size = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        ret_text[i] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    ret_text[0] = (char)((0xf0 << (4 - size)) | (int)code_point);
    return size;
}

/* All code points, and each with every shorter end: invalid, and cut away. */
static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t code_point = 0; code_point <= 0x10ffff; code_point++) {
        char text[5] = "x";
        size_t size = encode(code_point, text + 1);
        if (size == 0)
            continue;
        assert_true(utf8_is_valid(text, size + 1, NULL));
        assert_int_equal(utf8_cut(text, size + 1), size + 1);
        for (size_t part = 1; part < size; part++) {
            size_t offset = 0;
            assert_false(utf8_is_valid(text, part + 1, &offset));
            assert_int_equal(offset, 1);
            assert_int_equal(utf8_cut(text, part + 1), 1);
        }
    }
}

/* All two-byte and three-byte strings: the number of valid ones is the number that the definition gives. */
static void test_number_of_valid_strings(void **state)
{
    size_t two = 0;
    size_t three = 0;

    (void)state;
    for (unsigned bytes = 0; bytes < 0x1000000; bytes++) {
        char text[3] = {(char)(bytes >> 16), (char)(bytes >> 8), (char)bytes};
        three += utf8_is_valid(text, 3, NULL);
        if ((bytes & 0xff) == 0)
            two += utf8_is_valid(text, 2, NULL);
    }
    size_t ones = 0x80;
    size_t twos = 0x800 - 0x80;
    size_t threes = 0x10000 - 0x800 - 0x800;
    assert_int_equal(two, ones * ones + twos);
    assert_int_equal(three, ones * ones * ones + 2 * ones * twos + threes);
}

static void test_invalid_and_where(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } cases[] = {
        {"\x80", 0},
        {"ab\xc0\xaf", 2},       /* overlong */
        {"\xe0\x80\xaf", 0},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"a\xed\xa0\x80", 1},    /* surrogate */
        {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xfe", 0},
        {"\xff", 0},
        {"\xc3\xa9\xc3(", 2},
        {"\xe2\x82\xac\xe2\x82", 3},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t offset = 99;
        assert_false(utf8_is_valid(cases[i].text, strlen(cases[i].text), &offset));
        assert_int_equal(offset, cases[i].offset);
        assert_false(utf8_is_valid(cases[i].text, strlen(cases[i].text), NULL));
    }
    size_t untouched = 7;
    assert_true(utf8_is_valid("a\0b", 3, &untouched));
    assert_true(utf8_is_valid(NULL, 0, &untouched));
    assert_int_equal(untouched, 7);
}

/* Bytes that are no UTF-8 at all must not send the cut astray. */
static void test_cut_of_invalid_bytes(void **state)
{
    (void)state;
    assert_int_equal(utf8_cut("", 0), 0);
    assert_int_equal(utf8_cut("\x80\x80\x80\x80\x80\x80", 6) <= 6, 1);
    assert_int_equal(utf8_cut("\x80", 1), 1);
    assert_int_equal(utf8_cut("a\x80\x80", 3), 3);
    assert_int_equal(utf8_cut("\xc3\xa9\xf0\x9f\x98", 5), 2);
    assert_int_equal(utf8_cut("\xf0\x9f\x98", 3), 0);
}

/* Goal: what is valid stays, each byte that is not becomes U+FFFD, and so does NUL. */
static void test_repaired(void **state)
{
#define BAD "\xef\xbf\xbd"
    static const struct {
        const char *text;
        size_t size;
        const char *repaired;
    } cases[] = {
        {"", 0, ""},
        {"gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f"},
        {"\xff", 1, BAD},
        {"a\xff\xfe"
         "b",
            4, "a" BAD BAD "b"},
        {"a\0b", 3, "a" BAD "b"},
        {"\xf0\x9f\x98", 3, BAD BAD BAD},
        {"\xc3\xc3\xbc", 3, BAD "\xc3\xbc"},
    };
#undef BAD

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *repaired = utf8_copy_repaired(cases[i].text, cases[i].size);

        assert_string_equal(repaired, cases[i].repaired);
        assert_true(utf8_is_valid(repaired, strlen(repaired), NULL));
        free(repaired);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_number_of_valid_strings),
        cmocka_unit_test(test_invalid_and_where),
        cmocka_unit_test(test_cut_of_invalid_bytes),
        cmocka_unit_test(test_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
