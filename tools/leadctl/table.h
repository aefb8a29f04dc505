/* Tables that fit the terminal. Elsewhere every cell is whole. */
#ifndef LEADCTL_TABLE_H
#define LEADCTL_TABLE_H

#include <stddef.h>

enum table_kind {
    TABLE_WORD,   /* never cut; coloured if its word has a colour */
    TABLE_NUMBER, /* never cut; to the right */
    TABLE_TEXT,   /* cut first, the widest of them first, to no less than TABLE_TEXT_LEAST columns */
    TABLE_ID,     /* cut when that is not enough, the last of them first, to no less than TABLE_ID_LEAST */
    /* Added to one of them: left out where the table is too wide without cutting ids, the last such column first. */
    TABLE_SPARE = 16,
};

enum { TABLE_TEXT_LEAST = 8, TABLE_ID_LEAST = 9 };

struct table_column {
    const char *head;
    unsigned kind;
};

struct table;

/* A table with `count` columns, borrowed. */
struct table *table_new(const struct table_column *columns, size_t count);

/* The next cell, in the order of columns and then rows; what is not safe to show is escaped. NULL counts as "". */
void table_add(struct table *table, const char *text);

/* The next cell, formatted. */
void table_add_format(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the rows that were added since the last time. The first time the heads are printed and widths chosen, which then stay: a long list
 * is printed page by page. */
void table_print(struct table *table);

/* Releases it; NULL is fine. */
void table_free(struct table *table);

#endif
