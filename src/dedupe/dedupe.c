#include "dedupe/dedupe.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

enum {
    FIELD_EMAIL,
    FIELD_PHONE,
    FIELD_COMPANY_NAME,
    FIELD_FIRST_NAME,
    FIELD_LAST_NAME,
    FIELD_COUNT,

    DIGEST_SIZE = 32,
    NATIONAL_DIGITS = 10, /* of a North American number without its country code */
    STACK_TEXT_SIZE = 256,
};

/* Ends each field in what is hashed. It is a control character, so no normalised field holds it. */
static const char field_end = '\x1F';

bool dedupe_normalize_text(const char *text, struct buffer *buffer)
{
    char stack[TEXT_CAPACITY(STACK_TEXT_SIZE)];
    char *normalized = stack;
    size_t capacity = sizeof(stack);
    size_t size = text == NULL ? 0 : strlen(text);
    size_t normalized_size = 0;
    bool ok = false;

    if (size == 0) {
        return true;
    }
    if (size > STACK_TEXT_SIZE) {
        capacity = TEXT_CAPACITY(size);
        normalized = memory_new(capacity);
    }
    ok = text_normalize(text, size, TEXT_LOWER, normalized, capacity, &normalized_size) &&
         buffer_append(buffer, normalized, normalized_size);
    if (normalized != stack) {
        free(normalized);
    }
    return ok;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* True when `size` letters at `word` announce an extension. Whole words only: the x of "fax" announces nothing. */
static bool is_extension_word(const char *word, size_t size)
{
    static const char *const names[] = {"x", "ext", "extn", "extension"};
    char lower[sizeof("extension")] = "";
    if (size >= sizeof(lower)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        lower[i] = (char)(word[i] | ('a' - 'A')); /* not tolower(): that follows the process's locale */
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(names[i], lower) == 0) {
            return true;
        }
    }
    return false;
}

/* Bytes of `text` before its extension; all of it when there is none. */
static size_t phone_size_without_extension(const char *text, size_t size)
{
    size_t word = 0;
    while (word < size) {
        size_t end = word;
        while (end < size && is_letter(text[end])) {
            end++;
        }
        if (end > word && is_extension_word(text + word, end - word)) {
            return word;
        }
        word = end + 1;
    }
    return size;
}

/* How a number says that its country code is there. */
static size_t international_prefix_size(const char *digits, size_t count, bool has_plus)
{
    if (has_plus) {
        return 0; /* the plus itself is no digit */
    }
    if (count >= 2 && memcmp(digits, "00", 2) == 0) {
        return 2;
    }
    if (count >= 3 && memcmp(digits, "011", 3) == 0) {
        return 3;
    }
    return 0;
}

bool dedupe_normalize_phone(const char *text, struct buffer *buffer)
{
    struct buffer digits = {0};
    size_t size = text == NULL ? 0 : strlen(text);
    bool has_plus = false;
    bool ok = false;

    if (size == 0) {
        return true;
    }
    if (!utf8_is_valid(text, size, NULL)) {
        return false;
    }
    buffer_init(&digits, size);
    size = phone_size_without_extension(text, size);
    for (size_t i = 0; i < size; i++) {
        if (is_digit(text[i])) {
            (void)buffer_append(&digits, text + i, 1);
        } else if (text[i] == '+' && digits.size == 0) {
            has_plus = true;
        }
    }
    assert(!digits.overflowed);
    const char *start = buffer_text(&digits);
    size_t prefix = international_prefix_size(start, digits.size, has_plus);
    bool is_national = !has_plus && prefix == 0 && digits.size == NATIONAL_DIGITS;
    ok = (!is_national || buffer_append(buffer, "1", 1)) && buffer_append(buffer, start + prefix, digits.size - prefix);
    buffer_release(&digits);
    return ok;
}

/* Appends the five fields, each with its end, and tells how many bytes each has. */
static bool append_fields(
    const struct dedupe_identity *identity, struct buffer *buffer, size_t ret_sizes[static FIELD_COUNT])
{
    const char *const fields[FIELD_COUNT] = {
        [FIELD_EMAIL] = identity->email,
        [FIELD_PHONE] = identity->phone,
        [FIELD_COMPANY_NAME] = identity->company_name,
        [FIELD_FIRST_NAME] = identity->first_name,
        [FIELD_LAST_NAME] = identity->last_name,
    };
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        size_t start = buffer->size;
        bool ok =
            i == FIELD_PHONE ? dedupe_normalize_phone(fields[i], buffer) : dedupe_normalize_text(fields[i], buffer);
        if (!ok) {
            return false;
        }
        ret_sizes[i] = buffer->size - start;
        if (!buffer_append(buffer, &field_end, 1)) {
            return false;
        }
    }
    return true;
}

static bool is_blank(const size_t sizes[static FIELD_COUNT])
{
    bool has_contact = sizes[FIELD_EMAIL] > 0 || sizes[FIELD_PHONE] > 0;
    bool has_names = sizes[FIELD_COMPANY_NAME] > 0 && sizes[FIELD_FIRST_NAME] > 0 && sizes[FIELD_LAST_NAME] > 0;
    return !has_contact && !has_names;
}

static void digest_hex(const struct buffer *buffer, char ret_hash[static DEDUPE_HASH_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[DIGEST_SIZE];
    unsigned int digest_size = 0;
    int done = EVP_Digest(buffer->data, buffer->size, digest, &digest_size, EVP_sha256(), NULL);
    assert(done == 1 && digest_size == DIGEST_SIZE);
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        ret_hash[2 * i] = hex[digest[i] >> 4];
        ret_hash[2 * i + 1] = hex[digest[i] & 0x0F];
    }
    ret_hash[DEDUPE_HASH_SIZE - 1] = '\0';
}

bool dedupe_hash(const struct dedupe_identity *identity, char ret_hash[DEDUPE_HASH_SIZE])
{
    struct buffer buffer = {0};
    size_t sizes[FIELD_COUNT] = {0};
    bool ok = false;

    buffer_init(&buffer, SIZE_MAX / 8); /* bounded by the fields, which the caller has in memory */
    ok = append_fields(identity, &buffer, sizes) && !is_blank(sizes);
    if (ok) {
        digest_hex(&buffer, ret_hash);
    }
    buffer_release(&buffer);
    return ok;
}
