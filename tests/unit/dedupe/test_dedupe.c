/* Goal: the C side of the identity gives the bytes that tests/vectors fixes for C and SQL alike, over hand-written
 * cases and over every code point; normalising is idempotent; what is not UTF-8 has no identity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <utf8proc.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/random.h"
#include "dedupe/dedupe.h"

enum {
    BLOCK_CODE_POINTS = 0x1000,
    LINE_CODE_POINTS = 64,
    CODE_POINT_END = 0x110000,
    SURROGATE_FIRST = 0xD800,
    SURROGATE_END = 0xE000,
    RANDOM_TEXTS = 20000,
};

typedef bool normalize_function(const char *text, struct buffer *buffer);

static char *vectors_path(const char *name)
{
    const char *root = getenv("LEADROUTER_SOURCE_DIR");
    assert_non_null(root);
    char *path = NULL;
    assert_true(asprintf(&path, "%s/tests/vectors/%s", root, name) > 0);
    return path;
}

static json_t *vectors_load(void)
{
    char *path = vectors_path("dedupe.json");
    json_error_t error;
    json_t *vectors = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (vectors == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    free(path);
    return vectors;
}

static void check_cases(const char *name, normalize_function *normalize)
{
    json_t *vectors = vectors_load();
    json_t *cases = json_object_get(vectors, name);
    size_t i = 0;
    json_t *one = NULL;
    assert_true(json_array_size(cases) > 40);
    json_array_foreach(cases, i, one)
    {
        struct buffer buffer;
        buffer_init(&buffer, 1 << 20);
        assert_true(normalize(json_string_value(json_object_get(one, "text")), &buffer));
        assert_string_equal(buffer_text(&buffer), json_string_value(json_object_get(one, "normalized")));
        buffer_release(&buffer);
    }
    json_decref(vectors);
}

static void test_texts(void **state)
{
    (void)state;
    check_cases("texts", dedupe_normalize_text);
}

static void test_phones(void **state)
{
    (void)state;
    check_cases("phones", dedupe_normalize_phone);
}

static void test_identities(void **state)
{
    (void)state;
    json_t *vectors = vectors_load();
    json_t *cases = json_object_get(vectors, "identities");
    size_t i = 0;
    json_t *one = NULL;
    assert_true(json_array_size(cases) > 15);
    json_array_foreach(cases, i, one)
    {
        struct dedupe_identity identity = {
            .email = json_string_value(json_object_get(one, "email")),
            .phone = json_string_value(json_object_get(one, "phone")),
            .company_name = json_string_value(json_object_get(one, "company_name")),
            .first_name = json_string_value(json_object_get(one, "first_name")),
            .last_name = json_string_value(json_object_get(one, "last_name")),
        };
        const char *expected = json_string_value(json_object_get(one, "hash"));
        char hash[DEDUPE_HASH_SIZE] = "untouched";
        assert_int_equal(dedupe_hash(&identity, hash), expected != NULL);
        assert_string_equal(hash, expected != NULL ? expected : "untouched");
    }
    json_decref(vectors);
}

static void append_code_point(struct buffer *buffer, int32_t code_point)
{
    uint8_t bytes[4];
    utf8proc_ssize_t size = utf8proc_encode_char(code_point, bytes);
    assert_true(size > 0);
    assert_true(buffer_append(buffer, bytes, (size_t)size));
}

/* A code point alone, between letters, before and after accents, after i and I with a dot, after a sigma: the places
 * where mappings and compositions look at neighbours. tests/sql/test_dedupe_hash.py builds the same. */
static void append_places(struct buffer *line, int32_t code_point)
{
    append_code_point(line, code_point);
    (void)buffer_append_string(line, " A");
    append_code_point(line, code_point);
    (void)buffer_append_string(line, "b ");
    append_code_point(line, code_point);
    (void)buffer_append_string(line, "\u0308\u0301 i");
    append_code_point(line, code_point);
    (void)buffer_append_string(line, "\u0307 \u03A3");
    append_code_point(line, code_point);
    (void)buffer_append_string(line, " \u0130");
    append_code_point(line, code_point);
    (void)buffer_append_string(line, "\u0308 J");
    append_code_point(line, code_point);
    assert_true(buffer_append_string(line, "\u030C "));
}

/* SHA-256 over the normalised lines of one block of code points. */
static void block_hash(int32_t first, char ret_hash[DEDUPE_HASH_SIZE])
{
    struct buffer line;
    struct buffer normalized;
    uint8_t digest[32];
    buffer_init(&line, 1 << 20);
    buffer_init(&normalized, 1 << 24);
    for (int32_t start = first; start < first + BLOCK_CODE_POINTS; start += LINE_CODE_POINTS) {
        buffer_clear(&line);
        for (int32_t c = start; c < start + LINE_CODE_POINTS; c++) {
            if (c != 0 && (c < SURROGATE_FIRST || c >= SURROGATE_END)) {
                append_places(&line, c);
            }
        }
        if (line.size > 0) {
            assert_true(dedupe_normalize_text(buffer_text(&line), &normalized));
            assert_true(buffer_append_string(&normalized, "\n"));
        }
    }
    assert_int_equal(EVP_Digest(normalized.data, normalized.size, digest, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof(digest); i++) {
        (void)snprintf(ret_hash + 2 * i, 3, "%02x", digest[i]);
    }
    buffer_release(&line);
    buffer_release(&normalized);
}

static void test_every_code_point(void **state)
{
    (void)state;
    char *path = vectors_path("dedupe_code_points.tsv");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int32_t first = 0; first < CODE_POINT_END; first += BLOCK_CODE_POINTS) {
        char hash[DEDUPE_HASH_SIZE] = "";
        char expected[DEDUPE_HASH_SIZE] = "";
        unsigned int expected_first = 0;
        block_hash(first, hash);
        assert_int_equal(fscanf(file, "%x\t%64s", &expected_first, expected), 2);
        assert_int_equal(expected_first, first);
        if (strcmp(hash, expected) != 0) {
            fail_msg("the block of U+%04X has hash %s, not %s", (unsigned int)first, hash, expected);
        }
    }
    (void)fclose(file);
    free(path);
}

/* Text that provokes: letters with several mappings, accents of several classes, white space, control characters. */
static void random_text(struct random_sequence *sequence, struct buffer *text)
{
    static const int32_t lively[] = {'i', 'I', 'J', 0x0130, 0x0131, 0x0307, 0x0308, 0x030C, 0x0323, 0x0331, 0x0301,
        0x0345, 0x03A3, 0x03C2, 0x03AA, 0x1F88, 0x212B, 0x1E9E, 0x1100, 0x1161, 0xAC00, 0x0958, 0x1E4EE, 0x1D15E, ' ',
        '\t', 0xA0, 0x3000, 0x01, 0x9F};
    size_t count = (size_t)random_below(sequence, 12);
    for (size_t i = 0; i < count; i++) {
        int32_t code_point = lively[random_below(sequence, COUNT_OF(lively))];
        if (random_below(sequence, 4) == 0) {
            code_point = (int32_t)(1 + random_below(sequence, SURROGATE_FIRST - 1));
        }
        append_code_point(text, code_point);
    }
}

static void test_normalizing_is_idempotent(void **state)
{
    (void)state;
    struct random_sequence sequence = random_sequence_from(20);
    struct buffer text;
    struct buffer once;
    struct buffer twice;
    buffer_init(&text, 4096);
    buffer_init(&once, 4096);
    buffer_init(&twice, 4096);
    for (size_t i = 0; i < RANDOM_TEXTS; i++) {
        buffer_clear(&text);
        buffer_clear(&once);
        buffer_clear(&twice);
        random_text(&sequence, &text);
        assert_true(dedupe_normalize_text(buffer_text(&text), &once));
        assert_true(dedupe_normalize_text(buffer_text(&once), &twice));
        assert_string_equal(buffer_text(&once), buffer_text(&twice));
    }
    buffer_release(&text);
    buffer_release(&once);
    buffer_release(&twice);
}

static void test_equivalent_spellings_have_one_hash(void **state)
{
    (void)state;
    struct random_sequence sequence = random_sequence_from(21);
    struct buffer text;
    buffer_init(&text, 4096);
    for (size_t i = 0; i < RANDOM_TEXTS / 10; i++) {
        char plain[DEDUPE_HASH_SIZE] = "";
        char decomposed[DEDUPE_HASH_SIZE] = "";
        buffer_clear(&text);
        random_text(&sequence, &text);
        uint8_t *nfd = utf8proc_NFD((const uint8_t *)buffer_text(&text));
        assert_non_null(nfd);
        struct dedupe_identity left = {.email = buffer_text(&text), .phone = "1"};
        struct dedupe_identity right = {.email = (const char *)nfd, .phone = " 1 x9", .first_name = " "};
        assert_true(dedupe_hash(&left, plain));
        assert_true(dedupe_hash(&right, decomposed));
        assert_string_equal(plain, decomposed);
        free(nfd);
    }
    buffer_release(&text);
}

static void test_fields_do_not_run_together(void **state)
{
    (void)state;
    struct dedupe_identity left = {.email = "a", .company_name = "bc"};
    struct dedupe_identity right = {.email = "a", .company_name = "b", .first_name = "c"};
    char left_hash[DEDUPE_HASH_SIZE] = "";
    char right_hash[DEDUPE_HASH_SIZE] = "";
    assert_true(dedupe_hash(&left, left_hash));
    assert_true(dedupe_hash(&right, right_hash));
    assert_string_not_equal(left_hash, right_hash);
}

static void test_invalid_utf8_has_no_identity(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80", "a\xC3", "\xC0\xAF", "\xE2\x82", "\xED\xA0\x80", "\xF4\x90\x80\x80",
        "\xF8", "ok \xFF", "\xF0\x82\x82\xAC", "5\xC3(5"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct buffer buffer;
        char hash[DEDUPE_HASH_SIZE] = "untouched";
        buffer_init(&buffer, 100);
        assert_false(dedupe_normalize_text(bad[i], &buffer));
        assert_false(dedupe_normalize_phone(bad[i], &buffer));
        assert_int_equal(buffer.size, 0);
        buffer_release(&buffer);
        struct dedupe_identity in_phone = {.email = "a@b.c", .phone = bad[i]};
        struct dedupe_identity in_name = {.email = "a@b.c", .last_name = bad[i]};
        assert_false(dedupe_hash(&in_phone, hash));
        assert_false(dedupe_hash(&in_name, hash));
        assert_string_equal(hash, "untouched");
    }
}

static void test_bound_of_the_buffer(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 3);
    assert_false(dedupe_normalize_text("abcd", &buffer));
    assert_false(dedupe_normalize_phone("1234", &buffer));
    assert_int_equal(buffer.size, 0);
    assert_true(dedupe_normalize_text("abc", &buffer));
    assert_true(dedupe_normalize_text(NULL, &buffer));
    assert_true(dedupe_normalize_phone(NULL, &buffer));
    assert_string_equal(buffer_text(&buffer), "abc");
    buffer_release(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_phones),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_normalizing_is_idempotent),
        cmocka_unit_test(test_equivalent_spellings_have_one_hash),
        cmocka_unit_test(test_fields_do_not_run_together),
        cmocka_unit_test(test_invalid_utf8_has_no_identity),
        cmocka_unit_test(test_bound_of_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
