/* Goal: bytes from outside either are a whole, clean message, or the answer names the field and what is wrong with
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "echo.pb-c.h"
#include "grpc_c/wire.h"
#include "required.pb-c.h"

enum { DEPTH_MAX = 4, MEMORY_MAX = 64 * 1024 };

static const struct wire_limits limits = {.depth_max = DEPTH_MAX, .memory_size_max = MEMORY_MAX};

/* A message with every field set; the bytes are the caller's. */
static uint8_t *pack_everything(size_t *ret_size)
{
    char text[] = "gr\xc3\xbc\xc3\x9f dich", other[] = "x", name[] = "n";
    uint8_t blob[] = {0, 0xff, 1};
    int32_t packed[] = {1, -1, 300};
    uint64_t packed_fixed[] = {1, UINT64_MAX};
    char *texts[] = {text, other};
    Test__V1__Leaf leaf = TEST__V1__LEAF__INIT;
    Test__V1__Leaf *leaves[] = {&leaf, &leaf};
    Test__V1__Everything__LeafByNameEntry entry = TEST__V1__EVERYTHING__LEAF_BY_NAME_ENTRY__INIT;
    Test__V1__Everything__LeafByNameEntry *entries[] = {&entry};
    Test__V1__Everything all = TEST__V1__EVERYTHING__INIT;

    leaf.name = name;
    leaf.number = UINT64_MAX;
    entry.key = other;
    entry.value = &leaf;
    all.a_double = 1.5;
    all.a_float = 2.5F;
    all.an_int32 = -1;
    all.a_sint64 = INT64_MIN;
    all.a_fixed32 = 7;
    all.a_sfixed64 = -7;
    all.a_bool = 1;
    all.text = text;
    all.blob = (ProtobufCBinaryData){.len = sizeof(blob), .data = blob};
    all.color = TEST__V1__EVERYTHING__COLOR__COLOR_RED;
    all.leaf = &leaf;
    all.leaves = leaves;
    all.n_leaves = COUNT_OF(leaves);
    all.texts = texts;
    all.n_texts = COUNT_OF(texts);
    all.packed = packed;
    all.n_packed = COUNT_OF(packed);
    all.packed_fixed = packed_fixed;
    all.n_packed_fixed = COUNT_OF(packed_fixed);
    all.leaf_by_name = entries;
    all.n_leaf_by_name = COUNT_OF(entries);
    all.choice_case = TEST__V1__EVERYTHING__CHOICE_CHOICE_LEAF;
    all.choice_leaf = &leaf;
    *ret_size = test__v1__everything__get_packed_size(&all);
    uint8_t *bytes = memory_new(*ret_size);
    test__v1__everything__pack(&all, bytes);
    return bytes;
}

/* A buffer of its own for each text, so that reading behind it is seen. */
static bool check(
    const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size, struct error *reterr_error)
{
    uint8_t *copy = memory_new(size);

    memcpy(copy, bytes, size);
    bool ok = wire_check(descriptor, copy, size, &limits, reterr_error);
    free(copy);
    return ok;
}

/* Goal: what protobuf-c packs passes, and comes out as it went in. */
static void test_whole_message(void **state)
{
    struct arena *arena = arena_new(0);
    struct error error = {0};
    size_t size = 0;
    uint8_t *bytes = pack_everything(&size);

    (void)state;
    ProtobufCMessage *message = wire_unpack(&test__v1__everything__descriptor, bytes, size, &limits, arena, &error);
    assert_non_null(message);
    const Test__V1__Everything *all = (const Test__V1__Everything *)message;
    assert_string_equal(all->text, "gr\xc3\xbc\xc3\x9f dich");
    assert_int_equal(all->n_leaves, 2);
    assert_int_equal(all->n_packed, 3);
    assert_int_equal(all->packed[2], 300);
    assert_string_equal(all->leaf_by_name[0]->value->name, "n");
    assert_int_equal(protobuf_c_message_get_packed_size(message), size);
    free(bytes);
    arena_free(arena);
}

/* Goal: an empty message is a message, with or without an address. */
static void test_empty_message(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    assert_non_null(wire_unpack(&test__v1__everything__descriptor, NULL, 0, &limits, arena, NULL));
    arena_free(arena);
}

/* Goal: cut anywhere, a message is refused, unless the cut falls between two fields; protobuf-c agrees each time. */
static void test_every_truncation(void **state)
{
    size_t size = 0;
    size_t accepted = 0;
    uint8_t *bytes = pack_everything(&size);

    (void)state;
    for (size_t cut = 0; cut < size; cut++) {
        struct error error = {0};
        bool ok = check(&test__v1__everything__descriptor, bytes, cut, &error);
        Test__V1__Everything *unpacked = test__v1__everything__unpack(NULL, cut, bytes);
        assert_int_equal(ok, unpacked != NULL);
        assert_int_equal(error.code, ok ? ERROR_NONE : ERROR_INVALID);
        accepted += ok;
        if (unpacked != NULL)
            test__v1__everything__free_unpacked(unpacked, NULL);
    }
    assert_int_equal(accepted, 19); /* one before each of the 19 fields on the wire */
    free(bytes);
}

/* Goal: no byte changed to whatever value gets a message past the walk that protobuf-c then chokes on, or reads
 * outside. */
static void test_every_byte_changed(void **state)
{
    static const uint8_t masks[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x7f};
    struct arena *arena = arena_new(0);
    size_t size = 0;
    uint8_t *bytes = pack_everything(&size);

    (void)state;
    for (size_t i = 0; i < size; i++) {
        for (size_t m = 0; m < COUNT_OF(masks); m++) {
            struct error error = {0};
            bytes[i] ^= masks[m];
            ProtobufCMessage *message =
                wire_unpack(&test__v1__everything__descriptor, bytes, size, &limits, arena, &error);
            assert_true(message != NULL || error.text[0] != '\0');
            arena_clear(arena);
            bytes[i] ^= masks[m];
        }
    }
    free(bytes);
    arena_free(arena);
}

struct wire_case {
    const char *bytes;
    size_t size;
    const char *text; /* NULL: accepted */
};

#define BYTES(literal) (literal), sizeof(literal) - 1

static const struct wire_case cases[] = {
    {BYTES("\x42\x01z"), NULL},
    {BYTES("\x42\x01\x00"), "text: contains a NUL byte"},
    {BYTES("\x42\x02\xc3\x28"), "text: is not valid UTF-8"},
    {BYTES("\x42\x02\xc0\x80"), "text: is not valid UTF-8"},
    {BYTES("\x42\x03\xed\xa0\x80"), "text: is not valid UTF-8"},
    {BYTES("\x42\x05z"), "text: ends in the middle"},
    {BYTES("\x42"), "text: ends in the middle"},
    {BYTES("\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "text: ends in the middle"},
    {BYTES("\x40\x01"), "text: has the wrong wire type"},
    {BYTES("\x1d\x01\x02\x03\x04"), "an_int32: has the wrong wire type"},
    {BYTES("\x1a\x01\x01"), "an_int32: has the wrong wire type"},
    {BYTES("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "an_int32: ends in the middle"},
    {BYTES("\x4a\x01\x00"), NULL}, /* bytes may hold anything */
    {BYTES("\x09\x01\x02\x03"), "a_double: ends in the middle"},
    {BYTES("\x15\x01\x02\x03"), "a_float: ends in the middle"},
    {BYTES("\x5a\x03\x0a\x01\xff"), "leaf.name: is not valid UTF-8"},
    {BYTES("\x62\x00\x62\x00\x62\x03\x0a\x01\x00"), "leaves[2].name: contains a NUL byte"},
    {BYTES("\x62\x02\x0a\x01"), "leaves[0].name: ends in the middle"},
    {BYTES("\x6a\x01y\x6a\x01\xff"), "texts[1]: is not valid UTF-8"},
    {BYTES("\x72\x02\x01\x80"), "packed[1]: ends in the middle"},
    {BYTES("\x70\x01\x72\x01\x02"), NULL}, /* packed and not, mixed */
    {BYTES("\x7a\x07\x01\x02\x03\x04\x05\x06\x07"), "packed_fixed[0]: ends in the middle"},
    {BYTES("\x82\x01\x03\x0a\x01\xff"), "leaf_by_name[0].key: is not valid UTF-8"},
    {BYTES("\x82\x01\x05\x12\x03\x0a\x01\x00"), "leaf_by_name[0].value.name: contains a NUL byte"},
    {BYTES("\x8a\x01\x01\xff"), "choice_text: is not valid UTF-8"},
    {BYTES("\x92\x01\x03\x0a\x01\xff"), "choice_leaf.name: is not valid UTF-8"},
    {BYTES("\x00\x01"), "Everything: has a field number that cannot be"},
    {BYTES("\xf8\xff\xff\xff\x7f\x01"), "Everything: has a field number that cannot be"},
    {BYTES("\xa3\x06\xa4\x06"), "Everything: has a field of an unknown wire type"}, /* a group */
    {BYTES("\x43\x44"), "text: has the wrong wire type"},
    {BYTES("\xa2\x06\x02zz"), NULL}, /* an unknown field */
    {BYTES("\xa2\x06\x03zz"), "Everything: ends in the middle of a field"},
    {BYTES("\x5a\x04\xa2\x06\x02z"), "leaf: ends in the middle of a field"},
    {BYTES("\x80"), "Everything: ends in the middle of a field"},
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error error = {0};
        bool ok = check(&test__v1__everything__descriptor, cases[i].bytes, cases[i].size, &error);
        assert_string_equal(error.text, cases[i].text == NULL ? "" : cases[i].text);
        assert_int_equal(ok, cases[i].text == NULL);
    }
}

/* Goal: depth is counted in messages, and the bound is exact. */
static void test_depth(void **state)
{
    static const char fits[] = "\x0a\x04\x0a\x02\x0a\x00";
    static const char too_deep[] = "\x0a\x06\x0a\x04\x0a\x02\x0a\x00";
    struct error error = {0};

    (void)state;
    assert_true(check(&test__v1__tree__descriptor, BYTES(fits), &error));
    assert_false(check(&test__v1__tree__descriptor, BYTES(too_deep), &error));
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.text, "child.child.child.child: is nested too deep");
}

/* Goal: two bytes that stand for a large element do not fill the memory; the estimate is no less than what is taken. */
static void test_memory(void **state)
{
    struct arena *arena = arena_new(0);
    struct error error = {0};
    size_t size = 0;
    uint8_t *bytes = memory_new(MEMORY_MAX);

    (void)state;
    for (; size + 2 <= MEMORY_MAX; size += 2) {
        bytes[size] = 0x62; /* leaves */
        bytes[size + 1] = 0;
    }
    assert_null(wire_unpack(&test__v1__everything__descriptor, bytes, size, &limits, arena, &error));
    assert_int_equal(error.code, ERROR_FULL);
    assert_non_null(strstr(error.text, "takes too much memory once unpacked"));
    assert_int_equal(arena_size(arena), 0);
    while (size > 0 && !wire_check(&test__v1__everything__descriptor, bytes, size, &limits, NULL))
        size -= 128;
    assert_non_null(wire_unpack(&test__v1__everything__descriptor, bytes, size, &limits, arena, &error));
    assert_true(size > 100 && arena_size(arena) <= MEMORY_MAX);
    free(bytes);
    arena_free(arena);
}

/* Goal: the same for fields that are not known, one-byte elements of packed fields, and bytes. */
static void test_memory_of_other_fields(void **state)
{
    static const struct {
        const char *start;
        size_t start_size;
        size_t run; /* what follows: zeros */
    } floods[] = {{BYTES("\xa0\x06"), 1}, {BYTES("\x72\xff\x7f"), 16383}, {BYTES("\x4a\xff\x7f"), 16383}};

    (void)state;
    for (size_t f = 0; f < COUNT_OF(floods); f++) {
        struct error error = {0};
        size_t step = floods[f].start_size + floods[f].run;
        size_t count = 5 * MEMORY_MAX / step;
        uint8_t *bytes = memory_new(count * step);
        for (size_t i = 0; i < count; i++)
            memcpy(bytes + i * step, floods[f].start, floods[f].start_size);
        assert_false(check(&test__v1__everything__descriptor, bytes, count * step, &error));
        assert_int_equal(error.code, ERROR_FULL);
        free(bytes);
    }
}

/* Goal: what proto2 requires is asked for by name, in the message that lacks it. */
static void test_required(void **state)
{
    struct error error = {0};

    (void)state;
    assert_true(check(&test__v1__named__descriptor, BYTES("\x0a\x01n"), &error));
    assert_false(check(&test__v1__named__descriptor, BYTES(""), &error));
    assert_string_equal(error.text, "name: is missing");
    assert_false(check(&test__v1__named__descriptor, BYTES("\x0a\x01n\x12\x00"), &error));
    assert_string_equal(error.text, "inner.name: is missing");
}

/* Goal: names that do not fit are cut, not overrun. */
static void test_long_path(void **state)
{
    enum { DEEP = WIRE_DEPTH_LIMIT };
    const struct wire_limits deep = {.depth_max = DEEP, .memory_size_max = MEMORY_MAX};
    struct error error = {0};
    uint8_t bytes[2 * DEEP];

    (void)state;
    for (size_t i = 0; i < DEEP; i++) {
        bytes[2 * i] = 0x0a;
        bytes[2 * i + 1] = (uint8_t)(2 * (DEEP - 1 - i));
    }
    assert_false(wire_check(&test__v1__tree__descriptor, bytes, sizeof(bytes), &deep, &error));
    assert_memory_equal(error.text, "child.child.child.", 18);
    assert_non_null(strstr(error.text, "is nested too deep"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_message),
        cmocka_unit_test(test_empty_message),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_of_other_fields),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_long_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
