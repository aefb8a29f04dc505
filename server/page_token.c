#include "page_token.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

enum {
    TIME_SIZE = 8,
    CHECK_SIZE = 8,
    ID_SIZE = 16,
    PLACE_SIZE = TIME_SIZE + ID_SIZE,
    TOKEN_BYTES = PLACE_SIZE + CHECK_SIZE
};

static_assert(PAGE_TOKEN_SIZE == 2 * TOKEN_BYTES + 1, "two digits a byte, and the end");
static_assert(sizeof(struct uuid) == ID_SIZE, "an id is its bytes");

static const char digits[] = "0123456789abcdef";

/* The first bytes of a hash over the place and the filter. */
static void check_of(
    const unsigned char place[PLACE_SIZE], const struct page_filter *filter, unsigned char ret_check[CHECK_SIZE])
{
    static const char purpose[] = "leadrouter.v1.ListRetries 1";
    unsigned char input[sizeof(purpose) + PLACE_SIZE + ID_SIZE + 1];
    unsigned char hash[EVP_MAX_MD_SIZE];
    int ok = 0;

    memcpy(input, purpose, sizeof(purpose));
    memcpy(input + sizeof(purpose), place, PLACE_SIZE);
    memcpy(input + sizeof(purpose) + PLACE_SIZE, &filter->workspace_id, ID_SIZE);
    input[sizeof(input) - 1] = filter->due_only ? 1 : 0;
    ok = EVP_Digest(input, sizeof(input), hash, NULL, EVP_sha256(), NULL);
    assert(ok == 1);
    (void)ok;
    memcpy(ret_check, hash, CHECK_SIZE);
}

char *page_token_write(
    const struct page_place *place, const struct page_filter *filter, char ret_token[PAGE_TOKEN_SIZE])
{
    unsigned char bytes[TOKEN_BYTES];

    for (unsigned i = 0; i < TIME_SIZE; i++)
        bytes[i] = (unsigned char)((uint64_t)place->next_retry_us >> (8 * (TIME_SIZE - 1 - i)));
    memcpy(bytes + TIME_SIZE, &place->queue_id, ID_SIZE);
    check_of(bytes, filter, bytes + PLACE_SIZE);
    for (size_t i = 0; i < TOKEN_BYTES; i++) {
        ret_token[2 * i] = digits[bytes[i] >> 4];
        ret_token[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_token[PAGE_TOKEN_SIZE - 1] = '\0';
    return ret_token;
}

/* Its bytes, or false when it is no token at all. */
static bool read_bytes(const char *token, unsigned char ret_bytes[TOKEN_BYTES])
{
    if (strlen(token) != PAGE_TOKEN_SIZE - 1 || strspn(token, digits) != PAGE_TOKEN_SIZE - 1)
        return false;
    for (size_t i = 0; i < TOKEN_BYTES; i++) {
        size_t high = (size_t)(strchr(digits, token[2 * i]) - digits);
        size_t low = (size_t)(strchr(digits, token[2 * i + 1]) - digits);
        ret_bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool page_token_read(
    const char *token, const struct page_filter *filter, struct page_place *ret_place, struct error *reterr_error)
{
    unsigned char bytes[TOKEN_BYTES];
    unsigned char check[CHECK_SIZE];
    uint64_t time = 0;

    if (!read_bytes(token, bytes))
        return error_set(reterr_error, ERROR_INVALID, "page_token: not one that was given for a page");
    check_of(bytes, filter, check);
    if (memcmp(check, bytes + PLACE_SIZE, CHECK_SIZE) != 0)
        return error_set(
            reterr_error, ERROR_INVALID, "page_token: not one that was given for this workspace_id and due_only");
    for (unsigned i = 0; i < TIME_SIZE; i++)
        time = time << 8 | bytes[i];
    ret_place->next_retry_us = (int64_t)time;
    memcpy(&ret_place->queue_id, bytes + TIME_SIZE, ID_SIZE);
    return true;
}
