#include "table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/display.h"
#include "base/memory.h"
#include "screen.h"

enum { GAP = 2, COLUMNS_MAX = 16 };

static const char ELLIPSIS[] = "…";

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* safe texts */
    size_t cell_count;
    size_t widths[COLUMNS_MAX];
    size_t wanted[COLUMNS_MAX]; /* widths in which nothing is cut */
    bool is_left_out[COLUMNS_MAX];
    bool has_widths;
    bool is_bounded; /* cells are cut to the widths */
    size_t blanks;   /* to be written before the next text of the line */
};

struct table *table_new(const struct table_column *columns, size_t count)
{
    struct table *table = memory_new(sizeof(*table));

    assert(count > 0 && count <= COLUMNS_MAX);
    table->columns = columns;
    table->column_count = count;
    return table;
}

void table_add(struct table *table, const char *text)
{
    table->cells = memory_resize(table->cells, table->cell_count + 1, sizeof(*table->cells));
    table->cells[table->cell_count++] = display_safe(text == NULL ? "" : text);
}

void table_add_format(struct table *table, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = memory_format_list(format, arguments);
    va_end(arguments);
    table_add(table, text);
    free(text);
}

/* --- Widths ------------------------------------------------------------------------------------------------------- */

static enum table_kind kind_of(const struct table *table, size_t column)
{
    return (enum table_kind)(table->columns[column].kind & ~(unsigned)TABLE_SPARE);
}

static size_t total_width(const struct table *table)
{
    size_t total = 0;

    for (size_t i = 0; i < table->column_count; i++)
        total += table->is_left_out[i] ? 0 : table->widths[i] + (i == 0 ? 0 : GAP);
    return total;
}

static void measure(struct table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        table->widths[i] = display_width(table->columns[i].head);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = display_width(table->cells[i]);
        size_t *most = &table->widths[i % table->column_count];
        *most = width > *most ? width : *most;
    }
    memcpy(table->wanted, table->widths, sizeof(table->wanted));
}

/* The widest column of texts that can still be narrower, or the count of columns. */
static size_t widest_text(const struct table *table)
{
    size_t widest = table->column_count;

    for (size_t i = 0; i < table->column_count; i++)
        if (kind_of(table, i) == TABLE_TEXT && table->widths[i] > TABLE_TEXT_LEAST &&
            table->widths[i] > display_width(table->columns[i].head) &&
            (widest == table->column_count || table->widths[i] > table->widths[widest]))
            widest = i;
    return widest;
}

/* Gives texts that were made narrower the room that a column left. */
static void widen(struct table *table, size_t columns)
{
    for (size_t i = table->column_count; i > 0; i--)
        if (kind_of(table, i - 1) == TABLE_TEXT && !table->is_left_out[i - 1])
            while (total_width(table) < columns && table->widths[i - 1] < table->wanted[i - 1])
                table->widths[i - 1]++;
}

/* Makes columns narrower until the table fits; one that cannot fit stays too wide, and the terminal breaks its lines. */
static void fit(struct table *table, size_t columns)
{
    size_t widest = 0;

    while (total_width(table) > columns && (widest = widest_text(table)) < table->column_count)
        table->widths[widest]--;
    for (size_t i = table->column_count; i > 0 && total_width(table) > columns; i--)
        table->is_left_out[i - 1] = (table->columns[i - 1].kind & TABLE_SPARE) != 0;
    widen(table, columns);
    for (size_t i = table->column_count; i > 0 && total_width(table) > columns; i--) {
        size_t excess = total_width(table) - columns;
        size_t *width = &table->widths[i - 1];
        if (kind_of(table, i - 1) == TABLE_ID && *width > TABLE_ID_LEAST)
            *width = *width - TABLE_ID_LEAST > excess ? *width - excess : TABLE_ID_LEAST;
    }
}

/* --- Printing ----------------------------------------------------------------------------------------------------- */

/* Writes a text after the blanks that are due; those at the end of a line are never written. */
static void put_text(struct table *table, const char *text, bool is_head, bool is_word)
{
    if (text[0] == '\0')
        return;
    printf("%*s", (int)table->blanks, "");
    table->blanks = 0;
    if (is_head)
        screen_put_heading(stdout, text);
    else if (is_word)
        screen_put_word(stdout, text);
    else
        fputs(text, stdout);
}

/* Writes a cell, or as much of it as there is room for. */
static void put_cell(struct table *table, size_t column, char *text, bool is_head)
{
    enum table_kind kind = kind_of(table, column);
    size_t width = display_width(text);
    bool is_cut = table->is_bounded && (kind == TABLE_TEXT || kind == TABLE_ID) && width > table->widths[column];

    if (is_cut) {
        text[display_fit(text, table->widths[column] - 1)] = '\0';
        width = display_width(text) + 1;
    }
    size_t rest = table->widths[column] > width ? table->widths[column] - width : 0;
    table->blanks += kind == TABLE_NUMBER ? rest : 0;
    put_text(table, text, is_head, kind == TABLE_WORD);
    put_text(table, is_cut ? ELLIPSIS : "", false, false);
    table->blanks += (kind == TABLE_NUMBER ? 0 : rest) + GAP;
}

/* Writes a cell unless its column is left out, and the end of the line after the last. */
static void put_next(struct table *table, size_t column, char *text, bool is_head)
{
    if (!table->is_left_out[column])
        put_cell(table, column, text, is_head);
    if (column == table->column_count - 1) {
        fputc('\n', stdout);
        table->blanks = 0;
    }
}

static void put_heads(struct table *table)
{
    for (size_t i = 0; i < table->column_count; i++) {
        char *head = memory_copy_string(table->columns[i].head);
        put_next(table, i, head, true);
        free(head);
    }
}

void table_print(struct table *table)
{
    assert(table->cell_count % table->column_count == 0);
    if (!table->has_widths) {
        size_t columns = screen_columns();
        measure(table);
        table->is_bounded = columns > 0;
        if (columns > 0)
            fit(table, columns);
        put_heads(table);
        table->has_widths = true;
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        put_next(table, i % table->column_count, table->cells[i], false);
        free(table->cells[i]);
    }
    table->cell_count = 0;
}

void table_free(struct table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}
