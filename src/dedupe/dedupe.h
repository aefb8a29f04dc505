/* Identity: what makes two leads the same person (src/dedupe/README.md has the rules, tests/vectors the proof that
 * SQL agrees). */
#ifndef DEDUPE_DEDUPE_H
#define DEDUPE_DEDUPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

enum { DEDUPE_HASH_SIZE = 65 /* 64 lower-case hex digits and the NUL */ };

/* The five contact fields; UTF-8, borrowed; NULL counts as "". */
struct dedupe_identity {
    const char *email;
    const char *phone;
    const char *company_name;
    const char *first_name;
    const char *last_name;
};

/* Writes the hash of the identity and returns true; returns false and leaves `ret_hash` alone when the identity is
 * blank (no e-mail, no phone, and not all three names), or when a field is not valid UTF-8. Any thread. */
bool dedupe_hash(const struct dedupe_identity *identity, char ret_hash[DEDUPE_HASH_SIZE]);

/* Appends the normalised form of a text field: NFC, simple lower case, white space folded and trimmed, control
 * characters dropped. False when `text` is not valid UTF-8 or the buffer's bound is reached. */
bool dedupe_normalize_text(const char *text, struct buffer *buffer);

/* Appends the normalised digits of a phone number ("" when there are none). */
bool dedupe_normalize_phone(const char *text, struct buffer *buffer);

#endif
