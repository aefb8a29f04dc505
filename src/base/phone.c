#include "base/phone.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

enum { NATIONAL_DIGITS = 10 }; /* of a North American number without its country code */

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

size_t phone_digits(const char *text, size_t size, char *ret_digits, size_t capacity)
{
    size_t count = 0;
    bool has_plus = false;

    assert(capacity >= PHONE_CAPACITY(size));
    size = phone_size_without_extension(text, size);
    for (size_t i = 0; i < size; i++) {
        if (is_digit(text[i])) {
            ret_digits[count++] = text[i];
        } else if (text[i] == '+' && count == 0) {
            has_plus = true;
        }
    }
    size_t prefix = international_prefix_size(ret_digits, count, has_plus);
    bool is_national = !has_plus && prefix == 0 && count == NATIONAL_DIGITS;
    memmove(ret_digits + (is_national ? 1 : 0), ret_digits + prefix, count - prefix);
    count -= prefix;
    if (is_national) {
        ret_digits[0] = '1';
        count++;
    }
    ret_digits[count] = '\0';
    return count;
}
