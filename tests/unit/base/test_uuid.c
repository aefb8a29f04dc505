/* Goal: one text form is read, anything else is refused without touching the result; random ids have version 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/uuid.h"

#define TEXT "0123abcd-4567-89ef-a0b1-c2d3e4f56789"

static void test_parse_and_format(void **state)
{
    static const uint8_t bytes[] = {
        1, 0x23, 0xab, 0xcd, 0x45, 0x67, 0x89, 0xef, 0xa0, 0xb1, 0xc2, 0xd3, 0xe4, 0xf5, 0x67, 0x89};
    struct uuid uuid;
    char text[UUID_TEXT_SIZE];

    (void)state;
    assert_true(uuid_parse(TEXT, &uuid));
    assert_memory_equal(uuid.bytes, bytes, sizeof(bytes));
    assert_ptr_equal(uuid_format(&uuid, text), text);
    assert_string_equal(text, TEXT);
    assert_true(uuid_parse("0123ABCD-4567-89EF-A0B1-C2D3E4F56789", &uuid));
    assert_string_equal(uuid_format(&uuid, text), TEXT);
}

/* Every single character replaced by every byte: valid only where it is a digit, or a dash in its place. */
static void test_every_changed_character(void **state)
{
    (void)state;
    for (size_t place = 0; place < UUID_TEXT_SIZE - 1; place++) {
        for (int byte = 1; byte < 256; byte++) {
            char text[] = TEXT;
            struct uuid uuid;
            text[place] = (char)byte;
            bool digit = byte < 128 && strchr("0123456789abcdefABCDEF", byte) != NULL;
            assert_int_equal(uuid_parse(text, &uuid), TEXT[place] == '-' ? byte == '-' : digit);
        }
    }
}

static void test_refused(void **state)
{
    static const char *const odd[] = {
        NULL,
        "",
        " ",
        "{" TEXT "}",
        "urn:uuid:" TEXT,
        TEXT " ",
        " " TEXT,
        TEXT "0",
        "0123abcd456789efa0b1c2d3e4f56789",
        "0123abcd-4567-89ef-a0b1-c2d3e4f5678",
        "0123abcd4-567-89ef-a0b1-c2d3e4f56789",
        "------------------------------------",
    };
    struct uuid before;
    struct uuid uuid;

    (void)state;
    memset(&before, 0x5a, sizeof(before));
    uuid = before;
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        assert_false(uuid_parse(odd[i], &uuid));
        assert_true(uuid_equal(&uuid, &before));
    }
}

static void test_random(void **state)
{
    struct uuid before = uuid_nil;
    uint8_t seen[16] = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct uuid uuid = uuid_random();
        assert_int_equal(uuid.bytes[6] >> 4, 4);
        assert_int_equal(uuid.bytes[8] >> 6, 2);
        assert_false(uuid_equal(&uuid, &before));
        assert_false(uuid_is_nil(&uuid));
        for (size_t k = 0; k < sizeof(seen); k++)
            seen[k] |= (uint8_t)(uuid.bytes[k] ^ before.bytes[k]);
        before = uuid;
    }
    for (size_t k = 0; k < sizeof(seen); k++)
        assert_int_equal(seen[k], k == 6 ? 0x4f : k == 8 ? 0xbf : 0xff); /* every free bit moves */
}

static void test_compare(void **state)
{
    struct uuid small = {{0, 1}};
    struct uuid large = {{0x80}};

    (void)state;
    assert_true(uuid_is_nil(&uuid_nil));
    assert_false(uuid_is_nil(&small));
    assert_true(uuid_compare(&small, &large) < 0);
    assert_true(uuid_compare(&large, &small) > 0);
    assert_int_equal(uuid_compare(&small, &small), 0);
    assert_true(uuid_equal(&large, &large));
    assert_false(uuid_equal(&large, &small));
}

/* Every bit of the id moves the hash, also the low bits that tables use. */
static void test_hash(void **state)
{
    const struct uuid uuid = uuid_random();

    (void)state;
    assert_int_equal(uuid_hash(&uuid), uuid_hash(&uuid));
    for (size_t bit = 0; bit < 128; bit++) {
        struct uuid other = uuid;
        other.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_true(uuid_hash(&uuid) != uuid_hash(&other));
    }
    size_t chains[256] = {0};
    for (uint8_t i = 0; i < 255; i++) {
        struct uuid counted = {{[7] = i}};
        chains[uuid_hash(&counted) % COUNT_OF(chains)]++;
    }
    for (size_t i = 0; i < COUNT_OF(chains); i++)
        assert_true(chains[i] < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_format),
        cmocka_unit_test(test_every_changed_character),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
