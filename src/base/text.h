/* Unicode text made comparable.
 *
 * White space is the Unicode property White_Space, these 25 code points: U+0009 to U+000D, U+0020, U+0085, U+00A0,
 * U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000. This is the one definition in C; SQL that
 * must agree has the same list, and a test compares the two over every code point (docs/identity.md). */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What text_normalize() makes. All forms are NFC, trimmed, with each run of white space as one U+0020, and making
 * them twice changes nothing. */
enum text_form {
    /* Simple lower case, code point by code point, without context or language: U+03A3 and U+03C2 (sigma) become
     * U+03C3, U+0130 becomes i, i followed by U+0307 becomes i, U+00DF stays. Control characters (category Cc) that
     * are no white space are dropped, and so are the ten combining marks of Unicode 15.0 (text.c says why). Hashes
     * of this form are stored: it must never change. */
    TEXT_LOWER,
    /* Full case folding: U+00DF equals "ss", accents count. For comparisons in memory: it follows the library's
     * version of Unicode. */
    TEXT_FOLD,
    /* As it was written otherwise: case counts. */
    TEXT_EXACT,
};

/* A capacity that is enough for the normalised form of `size` bytes, with its NUL. */
#define TEXT_CAPACITY(size) (6 * (size) + 1)

/* Writes the form of `size` bytes of `text` to `ret_text`, NUL-terminated, and its length to `ret_size`. `capacity`
 * is at least TEXT_CAPACITY(size) (asserted); `ret_text` and `text` do not overlap. Returns false, and leaves
 * `ret_size` alone, when `text` is not valid UTF-8; `ret_text` then holds nothing of use. No heap for texts up to 512
 * bytes. Any thread. */
bool text_normalize(
    const char *text, size_t size, enum text_form form, char *ret_text, size_t capacity, size_t *ret_size);

/* True for a code point of the list above. */
bool text_is_white_space(int32_t code_point);

/* True for what may be a misspelt name of ours and is shown in error texts, where data is not: up to 40 lower case letters of
 * ASCII, digits, "_", "-" and ".", a letter first. */
bool text_is_name(const char *text);

/* True when `text` is NULL or every code point of it is white space; bytes that are not UTF-8 are no white space. */
bool text_is_blank(const char *text);

#endif
