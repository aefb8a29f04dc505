/* What may have been meant by a word that nobody knows. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

enum { NEAREST_WORD_MAX = 40 }; /* longer words are near to none */

/* The known word nearest to a mistyped one (fewest edits, at most 2 and fewer than it has letters), or NULL. */
const char *nearest_word(const char *typed, const char *const *words, size_t count);

#endif
