#include <stdlib.h>

#include "base/memory.h"
#include "internal.h"

/* OpenSSL's decoder takes spaces, padding and the other alphabet; a token must have one form only. */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    if (character == '-')
        return 62;
    return character == '_' ? 63 : -1;
}

unsigned char *base64url_decode(const char *text, size_t size, size_t *ret_size)
{
    unsigned char *bytes = NULL;
    size_t written = 0;
    uint32_t bits = 0;
    unsigned bit_count = 0;

    if (size % 4 == 1)
        return NULL;
    bytes = memory_new(size / 4 * 3 + 3);
    for (size_t i = 0; i < size; i++) {
        int value = value_of(text[i]);
        if (value < 0) {
            free(bytes);
            return NULL;
        }
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes[written++] = (unsigned char)(bits >> bit_count & 0xff);
        }
    }
    if ((bits & ((1U << bit_count) - 1)) != 0) {
        free(bytes);
        return NULL;
    }
    bytes[written] = '\0';
    *ret_size = written;
    return bytes;
}

char *base64url_encode(const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    char *text = memory_new(size / 3 * 4 + 5);
    char *to = text;
    uint32_t bits = 0;
    unsigned bit_count = 0;

    for (size_t i = 0; i < size; i++) {
        bits = (bits << 8 | from[i]) & 0xffff;
        bit_count += 8;
        while (bit_count >= 6) {
            bit_count -= 6;
            *to++ = alphabet[bits >> bit_count & 0x3f];
        }
    }
    if (bit_count > 0)
        *to++ = alphabet[bits << (6 - bit_count) & 0x3f];
    *to = '\0';
    return text;
}
