/* Texts of others on a terminal: made safe, and measured in columns. */
#ifndef BASE_DISPLAY_H
#define BASE_DISPLAY_H

#include <stddef.h>
#include <stdio.h>

/* A copy of `text` that is safe to show: control characters, bytes that are no UTF-8, line separators and characters that turn
 * the direction of writing are written as \n, \t, \x1b or \u202e. The caller's, released with free(). */
char *display_safe(const char *text);

/* Columns that a safe text takes: none for combining marks, two for wide characters (East Asian ones, emoji). */
size_t display_width(const char *text);

/* Bytes of a safe text that fit into `columns`; marks stay with what they belong to. */
size_t display_fit(const char *text, size_t columns);

/* Writes the words of a safe text, broken at blanks so that lines end before `columns`; all lines but the first begin with `indent`
 * blanks. `column` is where the first begins. A newline in the text begins a line. */
void display_wrap(FILE *output, const char *text, size_t column, size_t indent, size_t columns);

#endif
