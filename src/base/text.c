#include "base/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/memory.h"

enum {
    STACK_CODE_POINTS_MAX = 1024,
    SMALL_I = 'i',
    COMBINING_DOT_ABOVE = 0x0307,
    FINAL_SIGMA = 0x03C2,
    SIGMA = 0x03C3,
    CASE_DISTANCE = 'a' - 'A',
};

/* The combining marks that Unicode 15.0 added. Canonical order treats them differently before and after they were
 * known: PostgreSQL 15 normalises by Unicode 14, utf8proc 2.8 and ICU 72 by 15. They are the only code points for
 * which the three differ; dropping them makes the identity independent of who computes it. */
struct code_point_range {
    int32_t first;
    int32_t last;
};
static const struct code_point_range marks_of_unicode_15[] = {
    {0x10EFD, 0x10EFF},
    {0x11F41, 0x11F42},
    {0x1E08F, 0x1E08F},
    {0x1E4EC, 0x1E4EF},
};

bool text_is_white_space(int32_t code_point)
{
    if (code_point < 0x80) {
        return code_point == ' ' || (code_point >= 0x09 && code_point <= 0x0D);
    }
    switch (code_point) {
    case 0x0085:
    case 0x00A0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
        return true;
    default:
        return code_point >= 0x2000 && code_point <= 0x200A;
    }
}

bool text_is_blank(const char *text)
{
    const uint8_t *next = (const uint8_t *)text;
    if (text == NULL) {
        return true;
    }
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    while (left > 0) {
        utf8proc_int32_t code_point = -1;
        utf8proc_ssize_t taken = utf8proc_iterate(next, left, &code_point);
        if (taken <= 0 || !text_is_white_space(code_point)) {
            return false;
        }
        next += taken;
        left -= taken;
    }
    return true;
}

/* Control characters that are no white space, and the marks above. */
static bool is_dropped(int32_t code_point)
{
    if (code_point < 0xA0) {
        return (code_point < 0x20 || code_point >= 0x7F) && !text_is_white_space(code_point);
    }
    for (size_t i = 0; i < COUNT_OF(marks_of_unicode_15); i++) {
        if (code_point < marks_of_unicode_15[i].first) {
            return false;
        }
        if (code_point <= marks_of_unicode_15[i].last) {
            return true;
        }
    }
    return false;
}

/* The whole work for text that is all ASCII, which most is: one pass, no tables. Returns false, having written
 * nothing of use, at the first byte that is not ASCII. */
static bool normalize_ascii(const char *text, size_t size, enum text_form form, char *ret_text, size_t *ret_size)
{
    size_t length = 0;
    bool space_waits = false;
    for (size_t i = 0; i < size; i++) {
        int c = (unsigned char)text[i];
        if (c >= 0x80) {
            return false;
        }
        if (text_is_white_space(c)) {
            space_waits = length > 0;
            continue;
        }
        if (form == TEXT_LOWER && is_dropped(c)) {
            continue;
        }
        if (space_waits) {
            ret_text[length++] = ' ';
            space_waits = false;
        }
        ret_text[length++] = (char)(form != TEXT_EXACT && c >= 'A' && c <= 'Z' ? c + CASE_DISTANCE : c);
    }
    ret_text[length] = '\0';
    *ret_size = length;
    return true;
}

/* Copies `text` with white space trimmed and folded and, for TEXT_LOWER, without what is dropped. This comes before
 * NFC: a dropped character must not keep a base and its accent apart. The result is never longer than the text. False
 * when the text is not valid UTF-8. */
static bool clean(const char *text, size_t size, enum text_form form, char *ret_text, size_t *ret_size)
{
    size_t length = 0;
    size_t offset = 0;
    bool space_waits = false;
    while (offset < size) {
        utf8proc_int32_t code_point = -1;
        utf8proc_ssize_t taken =
            utf8proc_iterate((const uint8_t *)text + offset, (utf8proc_ssize_t)(size - offset), &code_point);
        if (taken <= 0) {
            return false;
        }
        if (text_is_white_space(code_point)) {
            space_waits = length > 0;
        } else if (form != TEXT_LOWER || !is_dropped(code_point)) {
            if (space_waits) {
                ret_text[length++] = ' ';
                space_waits = false;
            }
            memcpy(ret_text + length, text + offset, (size_t)taken);
            length += (size_t)taken;
        }
        offset += (size_t)taken;
    }
    *ret_size = length;
    return true;
}

/* Code points of one text; on the stack while it is short. */
struct code_points {
    utf8proc_int32_t stack[STACK_CODE_POINTS_MAX];
    utf8proc_int32_t *items;
    size_t count;
    size_t capacity;
};

static void code_points_init(struct code_points *points)
{
    points->items = points->stack;
    points->count = 0;
    points->capacity = COUNT_OF(points->stack);
}

static void code_points_release(struct code_points *points)
{
    if (points->items != points->stack) {
        free(points->items);
    }
}

/* Replaces the content by the NFC of valid UTF-8, case folded when `options` say so. */
static void code_points_read(struct code_points *points, const char *text, size_t size, utf8proc_option_t options)
{
    const uint8_t *bytes = (const uint8_t *)text;
    options |= UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    utf8proc_ssize_t count =
        utf8proc_decompose(bytes, (utf8proc_ssize_t)size, points->items, (utf8proc_ssize_t)points->capacity, options);
    assert(count >= 0);
    if ((size_t)count > points->capacity) {
        code_points_release(points);
        points->capacity = (size_t)count;
        points->items = memory_new_array(points->capacity, sizeof(*points->items));
        count = utf8proc_decompose(bytes, (utf8proc_ssize_t)size, points->items, count, options);
    }
    assert(count >= 0 && (size_t)count <= points->capacity);
    count = utf8proc_normalize_utf32(points->items, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    assert(count >= 0);
    points->count = (size_t)count;
}

/* Writes UTF-8 and returns its size. */
static size_t code_points_write(const struct code_points *points, char *ret_text)
{
    size_t size = 0;
    for (size_t i = 0; i < points->count; i++) {
        size += (size_t)utf8proc_encode_char(points->items[i], (uint8_t *)ret_text + size);
    }
    return size;
}

/* Simple lower case; a dot above goes where it follows an i. */
static void code_points_lower(struct code_points *points)
{
    size_t length = 0;
    for (size_t i = 0; i < points->count; i++) {
        utf8proc_int32_t code_point = utf8proc_tolower(points->items[i]);
        if (code_point == FINAL_SIGMA) {
            code_point = SIGMA;
        }
        if (code_point == COMBINING_DOT_ABOVE && length > 0 && points->items[length - 1] == SMALL_I) {
            continue;
        }
        points->items[length++] = code_point;
    }
    points->count = length;
}

/* `text` is clean and valid. NFC comes before the mapping, since marks in another order would be mapped otherwise,
 * and after it, since what is mapped can compose where the original could not. */
static void map_unicode(const char *text, size_t size, enum text_form form, char *ret_text, size_t *ret_size)
{
    struct code_points points;
    size_t length = 0;
    code_points_init(&points);
    code_points_read(&points, text, size, 0);
    if (form == TEXT_LOWER) {
        code_points_lower(&points);
    }
    length = code_points_write(&points, ret_text);
    if (form != TEXT_EXACT) {
        code_points_read(&points, ret_text, length, form == TEXT_FOLD ? UTF8PROC_CASEFOLD : 0);
        length = code_points_write(&points, ret_text);
    }
    ret_text[length] = '\0';
    *ret_size = length;
    code_points_release(&points);
}

/* What is not all ASCII. A function of its own, since the build sets what lies on the stack to zero. */
static bool normalize_unicode(const char *text, size_t size, enum text_form form, char *ret_text, size_t *ret_size)
{
    char stack[STACK_CODE_POINTS_MAX / 2];
    char *cleaned = stack;
    size_t cleaned_size = 0;
    bool ok = false;

    if (size > sizeof(stack)) {
        cleaned = memory_new(size);
    }
    ok = clean(text, size, form, cleaned, &cleaned_size);
    if (ok) {
        map_unicode(cleaned, cleaned_size, form, ret_text, ret_size);
    }
    if (cleaned != stack) {
        free(cleaned);
    }
    return ok;
}

bool text_normalize(
    const char *text, size_t size, enum text_form form, char *ret_text, size_t capacity, size_t *ret_size)
{
    assert(capacity >= TEXT_CAPACITY(size));
    if (normalize_ascii(text, size, form, ret_text, ret_size)) {
        return true;
    }
    bool ok = normalize_unicode(text, size, form, ret_text, ret_size);
    assert(!ok || *ret_size < capacity);
    return ok;
}

bool text_is_name(const char *text)
{
    enum { NAME_SIZE_MAX = 40 };
    size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-.");

    return text[0] >= 'a' && text[0] <= 'z' && text[size] == '\0' && size <= NAME_SIZE_MAX;
}
