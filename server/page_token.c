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

/* The first bytes of a hash over the place and the list. */
static void check_of(const unsigned char place[PLACE_SIZE], const char *list, unsigned char ret_check[CHECK_SIZE])
{
    static const char purpose[] = "leadrouter page token 1";
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(context, purpose, sizeof(purpose)) == 1 &&
              EVP_DigestUpdate(context, place, PLACE_SIZE) == 1 && EVP_DigestUpdate(context, list, strlen(list)) == 1 &&
              EVP_DigestFinal_ex(context, hash, NULL) == 1;

    assert(ok);
    (void)ok;
    EVP_MD_CTX_free(context);
    memcpy(ret_check, hash, CHECK_SIZE);
}

char *page_token_write(const struct page_place *place, const char *list, char ret_token[PAGE_TOKEN_SIZE])
{
    unsigned char bytes[TOKEN_BYTES];

    for (unsigned i = 0; i < TIME_SIZE; i++)
        bytes[i] = (unsigned char)((uint64_t)place->time_us >> (8 * (TIME_SIZE - 1 - i)));
    memcpy(bytes + TIME_SIZE, &place->id, ID_SIZE);
    check_of(bytes, list, bytes + PLACE_SIZE);
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

bool page_token_read(const char *token, const char *list, struct page_place *ret_place, struct error *reterr_error)
{
    unsigned char bytes[TOKEN_BYTES];
    unsigned char check[CHECK_SIZE];
    uint64_t time = 0;

    if (!read_bytes(token, bytes))
        return error_set(reterr_error, ERROR_INVALID, "page_token: not one that was given for a page");
    check_of(bytes, list, check);
    if (memcmp(check, bytes + PLACE_SIZE, CHECK_SIZE) != 0)
        return error_set(
            reterr_error, ERROR_INVALID, "page_token: not one that was given for this list and what it was asked for");
    for (unsigned i = 0; i < TIME_SIZE; i++)
        time = time << 8 | bytes[i];
    ret_place->time_us = (int64_t)time;
    memcpy(&ret_place->id, bytes + TIME_SIZE, ID_SIZE);
    return true;
}
