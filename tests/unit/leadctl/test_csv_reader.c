/* Goal: rows come out byte for byte with the line they began on, and a broken file gives the rows before the fault
 * and then one error that names the line; however the bytes fall into the reader's chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "csv_reader.h"

enum { SHOWN_SIZE_MAX = 65536 };

/* Reads everything and writes it as "line:[field|field]" per row and "!text" for the error, if any. */
static char *read_all(const char *bytes, size_t size)
{
    FILE *file = fmemopen((void *)(uintptr_t)bytes, size, "r");
    struct csv_reader *reader = csv_reader_new(file);
    struct csv_row row;
    struct error error = {0};
    struct buffer shown;

    buffer_init(&shown, SHOWN_SIZE_MAX);
    while (csv_reader_next(reader, &row, &error)) {
        buffer_append_format(&shown, "%zu:[", row.line);
        for (size_t i = 0; i < row.count; i++) {
            assert_int_equal(row.fields[i][row.sizes[i]], '\0');
            buffer_append_format(&shown, "%s", i == 0 ? "" : "|");
            buffer_append(&shown, row.fields[i], row.sizes[i]);
        }
        buffer_append_string(&shown, "]");
    }
    if (error.code != ERROR_NONE)
        buffer_append_format(&shown, "!%s", error.text);
    assert_false(csv_reader_next(reader, &row, &error)); /* the end stays the end */
    char *text = strdup(buffer_text(&shown));
    buffer_release(&shown);
    csv_reader_free(reader);
    fclose(file);
    return text;
}

static void expect(const char *bytes, const char *expected)
{
    char *shown = read_all(bytes, strlen(bytes));

    assert_string_equal(shown, expected);
    free(shown);
}

static void good_files(void **state)
{
    (void)state;
    expect("a,b\nc,d\n", "1:[a|b]2:[c|d]");
    expect("a,b\nc,d", "1:[a|b]2:[c|d]");
    expect("a,b\r\nc,d\r\n", "1:[a|b]2:[c|d]");
    expect("\xef\xbb\xbf"
           "a,b\n",
        "1:[a|b]");
    expect("a,\n,b\n,\n", "1:[a|]2:[|b]3:[|]");
    expect("\"a\"\"b\",\"c,d\"\n", "1:[a\"b|c,d]");
    expect("\"a\nb\",c\nd,e\n", "1:[a\nb|c]3:[d|e]");
    expect("\"a\r\nb\"\r\nc\r\n", "1:[a\r\nb]3:[c]");
    expect("\n\na\n\n\nb\n", "3:[a]6:[b]");
    expect("\"\"\n", "1:[]");
    expect("\xc3\xa4\xff,\x01\n", "1:[\xc3\xa4\xff|\x01]");
}

static void broken_files(void **state)
{
    (void)state;
    expect("a\nb,\"c\nd\n",
        "1:[a]!line 2: a quoted field begins here and is never closed; rows from line 2 on were not read");
    expect("a\n\"b\nc\",\"d\n\n\n",
        "1:[a]!line 3: a quoted field begins here and is never closed; rows from line 2 on were not read");
    expect("\"", "!line 1: a quoted field begins here and is never closed; rows from line 1 on were not read");
    expect("a\n\"b\"c\nd\n", "1:[a]!line 2: a quote stands where it cannot; rows from line 2 on were not read");
}

static void nul_bytes_count(void **state)
{
    FILE *file = fmemopen((void *)(uintptr_t) "a\0b,c\n", 6, "r");
    struct csv_reader *reader = csv_reader_new(file);
    struct csv_row row;
    struct error error = {0};

    (void)state;
    assert_true(csv_reader_next(reader, &row, &error));
    assert_int_equal(row.count, 2);
    assert_int_equal(row.sizes[0], 3);
    assert_memory_equal(row.fields[0], "a\0b", 4);
    assert_false(csv_reader_next(reader, &row, &error));
    assert_int_equal(csv_reader_position(reader), 6);
    csv_reader_free(reader);
    fclose(file);
}

/* A file without a byte: no row, no error. */
static void empty_file(void **state)
{
    FILE *file = fopen("/dev/null", "re");
    struct csv_reader *reader = csv_reader_new(file);
    struct csv_row row;
    struct error error = {0};

    (void)state;
    assert_false(csv_reader_next(reader, &row, &error));
    assert_int_equal(error.code, ERROR_NONE);
    csv_reader_free(reader);
    fclose(file);
}

/* Gives a file of `count` times `piece`; the caller closes it. */
static FILE *repeated(const char *before, const char *piece, size_t count, const char *after)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    fputs(before, file);
    for (size_t i = 0; i < count; i++)
        fputs(piece, file);
    fputs(after, file);
    rewind(file);
    return file;
}

static void expect_bound(FILE *file, bool is_refused, const char *text)
{
    struct csv_reader *reader = csv_reader_new(file);
    struct csv_row row;
    struct error error = {0};
    size_t rows = 0;

    while (csv_reader_next(reader, &row, &error))
        rows++;
    assert_int_equal(rows, is_refused ? 1 : 2);
    assert_int_equal(error.code, is_refused ? ERROR_INVALID : ERROR_NONE);
    if (is_refused)
        assert_non_null(strstr(error.text, text));
    csv_reader_free(reader);
    fclose(file);
}

static void bounds(void **state)
{
    (void)state;
    expect_bound(repeated("a\n", "x", CSV_ROW_SIZE_MAX - 1, "\n"), false, "");
    expect_bound(repeated("a\n", "x", CSV_ROW_SIZE_MAX, "\n"), true, "line 2: the row is longer than 1048576 bytes");
    expect_bound(repeated("a\n", ",", CSV_FIELDS_MAX - 1, "\n"), false, "");
    expect_bound(repeated("a\n", ",", CSV_FIELDS_MAX, "\n"), true, "line 2: the row has more than 1000 fields");
    expect_bound(repeated("a\n", "\n", CSV_ROW_SIZE_MAX + 1, "b\n"), false, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good_files), cmocka_unit_test(broken_files),
        cmocka_unit_test(nul_bytes_count), cmocka_unit_test(empty_file), cmocka_unit_test(bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
