/* Pages for man(1), in the language of troff. */
#ifndef BASE_ROFF_H
#define BASE_ROFF_H

#include <stdio.h>

/* Writes a text as it reads: nothing in it is a request or an escape, hyphens are ASCII, U+00A0 is a blank that no line breaks at,
 * and an empty line begins a paragraph. `text` must be UTF-8 and have no control characters but newlines. */
void roff_put(FILE *output, const char *text);

/* Writes a head of an entry, "--NAME PLACEHOLDER" (without one, NULL); its text follows. */
void roff_put_flag(FILE *output, const char *name, const char *placeholder);

#endif
