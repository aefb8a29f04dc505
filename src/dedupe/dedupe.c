#include "dedupe/dedupe.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/memory.h"
#include "base/phone.h"
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

bool dedupe_normalize_phone(const char *text, struct buffer *buffer)
{
    char stack[PHONE_CAPACITY(STACK_TEXT_SIZE)];
    size_t size = text == NULL ? 0 : strlen(text);
    size_t capacity = sizeof(stack);
    char *digits = stack;
    bool ok = false;

    if (size == 0) {
        return true;
    }
    if (!utf8_is_valid(text, size, NULL)) {
        return false;
    }
    if (size > STACK_TEXT_SIZE) {
        capacity = PHONE_CAPACITY(size);
        digits = memory_new(capacity);
    }
    ok = buffer_append(buffer, digits, phone_digits(text, size, digits, capacity));
    if (digits != stack) {
        free(digits);
    }
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
