#include "base/uuid.h"

#include <stddef.h>
#include <string.h>

#include "base/random.h"

const struct uuid uuid_nil = {{0}};

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* A dash stands in front of bytes 4, 6, 8 and 10. */
static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

bool uuid_parse(const char *text, struct uuid *ret_uuid)
{
    struct uuid uuid;

    if (text == NULL || strnlen(text, UUID_TEXT_SIZE) != UUID_TEXT_SIZE - 1)
        return false;
    for (size_t byte = 0; byte < sizeof(uuid.bytes); byte++) {
        if (dash_before(byte) && *text++ != '-')
            return false;
        int high = digit_value(*text++);
        int low = digit_value(*text++);
        if (high < 0 || low < 0)
            return false;
        uuid.bytes[byte] = (uint8_t)(high * 16 + low);
    }
    *ret_uuid = uuid;
    return true;
}

char *uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *end = ret_text;

    for (size_t byte = 0; byte < sizeof(uuid->bytes); byte++) {
        if (dash_before(byte))
            *end++ = '-';
        *end++ = digits[uuid->bytes[byte] >> 4];
        *end++ = digits[uuid->bytes[byte] & 15];
    }
    *end = '\0';
    return ret_text;
}

struct uuid uuid_random(void)
{
    struct uuid uuid;

    random_bytes(uuid.bytes, sizeof(uuid.bytes));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
    return uuid;
}

bool uuid_equal(const struct uuid *left, const struct uuid *right)
{
    return memcmp(left->bytes, right->bytes, sizeof(left->bytes)) == 0;
}

bool uuid_is_nil(const struct uuid *uuid)
{
    return uuid_equal(uuid, &uuid_nil);
}

int uuid_compare(const struct uuid *left, const struct uuid *right)
{
    return memcmp(left->bytes, right->bytes, sizeof(left->bytes));
}

uint64_t uuid_hash(const struct uuid *uuid)
{
    uint64_t halves[2];

    memcpy(halves, uuid->bytes, sizeof(halves));
    uint64_t hash = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15U);
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9U; /* splitmix64's finaliser */
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebU;
    return hash ^ (hash >> 31);
}
