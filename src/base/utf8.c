#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#include "base/memory.h"

/* Length of the code point that starts here, 0 when it is not valid (RFC 3629, section 4). */
static size_t code_point_size(const uint8_t *text, size_t left)
{
    static const struct {
        uint8_t first_min, first_max, second_min, second_max, size;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    if (text[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (text[0] < forms[i].first_min || text[0] > forms[i].first_max)
            continue;
        if (left < forms[i].size || text[1] < forms[i].second_min || text[1] > forms[i].second_max)
            return 0;
        for (size_t k = 2; k < forms[i].size; k++)
            if ((text[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].size;
    }
    return 0;
}

bool utf8_is_valid(const char *text, size_t size, size_t *ret_offset)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t offset = 0;

    while (offset < size) {
        size_t step = code_point_size(bytes + offset, size - offset);
        if (step == 0) {
            if (ret_offset != NULL)
                *ret_offset = offset;
            return false;
        }
        offset += step;
    }
    return true;
}

size_t utf8_cut(const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t start = size;

    while (start > 0 && size - start < 4 && (bytes[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || bytes[start - 1] < 0x80)
        return size;
    start--; /* the first byte of the last code point */
    return code_point_size(bytes + start, size - start) == 0 ? start : size;
}

char *utf8_copy_repaired(const char *text, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    const size_t replacement_size = sizeof(replacement) - 1;
    const uint8_t *bytes = (const uint8_t *)text;
    char *copy = memory_new_array(size + 1, replacement_size);
    size_t used = 0;

    for (size_t offset = 0; offset < size;) {
        size_t step = bytes[offset] == '\0' ? 0 : code_point_size(bytes + offset, size - offset);
        const char *from = step == 0 ? replacement : text + offset;
        size_t length = step == 0 ? replacement_size : step;

        memcpy(copy + used, from, length);
        used += length;
        offset += step == 0 ? 1 : step;
    }
    return copy;
}
