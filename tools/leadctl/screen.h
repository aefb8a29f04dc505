/* What a terminal shows: its width, its colours. */
#ifndef LEADCTL_SCREEN_H
#define LEADCTL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Columns of standard output: COLUMNS, or else the terminal's own; 0 when it is no terminal: as many as there is need for. */
size_t screen_columns(void);

/* Whether to use colours from now on: only where a terminal shows them, never with NO_COLOR or a TERM of "dumb". To be called
 * before anything is printed; without it there are none. */
void screen_set_colors(bool are_wanted);

/* Writes a safe text in the colour that its word has ("failed" is red), if it has one. */
void screen_put_word(FILE *output, const char *text);

/* Writes a safe text as a heading. */
void screen_put_heading(FILE *output, const char *text);

#endif
