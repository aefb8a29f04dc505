/* Goal: rows come out of every file as it really comes, byte for byte, with where they begin; a bad row is rejected by itself, and what is
 * no file of leads is refused with a text that says why. However the bytes are cut into chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "support/reading.h"

static const struct ingest_reader_options detect = {0};

/* Reads whole, and in chunks of several sizes: all must give what is expected. */
static void check_as(const struct ingest_reader_options *options, const char *bytes, size_t size, const char *expected)
{
    static const size_t chunks[] = {SIZE_MAX, 1, 2, 3, 16};

    for (size_t i = 0; i < COUNT_OF(chunks); i++) {
        char *shown = read_all(options, bytes, size, chunks[i]);
        assert_string_equal(shown, expected);
        free(shown);
    }
}

#define CHECK(bytes, expected) check_as(&detect, bytes, sizeof(bytes) - 1, expected)

/* --- CSV ---------------------------------------------------------------------------------------------------------- */

/* Goal: line ends of every kind, with and without the last one; empty lines are nobody's. */
static void test_line_ends(void **state)
{
    (void)state;
    CHECK("a,b\n1,2\n3,4\n", "csv utf-8 , [a|b]\n1 2@4 [1|2]\n2 3@8 [3|4]\nend\n");
    CHECK("a,b\r\n1,2\r\n3,4", "csv utf-8 , [a|b]\n1 2@5 [1|2]\n2 3@10 [3|4]\nend\n");
    CHECK("a,b\r1,2\r3,4\r", "csv utf-8 , [a|b]\n1 2@4 [1|2]\n2 3@8 [3|4]\nend\n");
    CHECK("\n\r\na,b\n\n  \n1,2\n\n\n", "csv utf-8 , [a|b]\n1 6@11 [1|2]\nend\n");
}

/* Goal: quoted fields hold delimiters, quotes and line ends; lines are counted through them. */
static void test_quotes(void **state)
{
    (void)state;
    CHECK("a,b\n\"x,\"\"y\"\"\r\nz\",2\n3,4\n", "csv utf-8 , [a|b]\n1 2@4 [x,\"y\"\r\nz|2]\n2 4@19 [3|4]\nend\n");
    CHECK("a,b\n \"x\" , y \n", "csv utf-8 , [a|b]\n1 2@4 [x|y]\nend\n");
}

/* Goal: a quote in a field without quotes is a character; text behind a closing quote costs its row only. */
static void test_stray_quotes(void **state)
{
    (void)state;
    CHECK("a,b\n5\" pipe,2\n\"x\"y,2\n3,4\n",
        "csv utf-8 , [a|b]\n1 2@4 [5\" pipe|2]\n2 3@14 !text stands behind the quote that closes a field\n"
        "3 4@21 [3|4]\nend\n");
    CHECK("a,b\n\"x\"y", "csv utf-8 , [a|b]\n1 2@4 !text stands behind the quote that closes a field\nend\n");
}

/* Goal: a quote that is never closed is named by the line it stands on; rows before it were given. */
static void test_unclosed_quote(void **state)
{
    (void)state;
    CHECK("a,b\n1,2\n\"x\ny\",\"z\n3,4\n",
        "csv utf-8 , [a|b]\n1 2@4 [1|2]\n"
        "!line 4: a quoted field begins here and is never closed; rows from line 3 on were not read\n");
}

/* Goal: the delimiter is found, also one that Excel names, and a single column needs none. */
static void test_delimiters(void **state)
{
    (void)state;
    CHECK("a;b;c\n1,5;2;3\n4;5,5;6\n", "csv utf-8 ; [a|b|c]\n1 2@6 [1,5|2|3]\n2 3@14 [4|5,5|6]\nend\n");
    CHECK("a\tb\n1\t\n", "csv utf-8 \t [a|b]\n1 2@4 [1|]\nend\n");
    CHECK("a|b\n1|2\n", "csv utf-8 | [a|b]\n1 2@4 [1|2]\nend\n");
    CHECK("name\nx\n", "csv utf-8 , [name]\n1 2@5 [x]\nend\n");
    CHECK("sep=;\r\na;b,c\n1;2\n", "csv utf-8 ; [a|b,c]\n1 3@13 [1|2]\nend\n");
    CHECK("\"a,x\";b\n1;2\n", "csv utf-8 ; [a,x|b]\n1 2@8 [1|2]\nend\n");
}

/* Goal: a short row is filled with blanks, blanks too many are dropped, values too many reject the row. */
static void test_ragged_rows(void **state)
{
    (void)state;
    CHECK("a,b,c\n1\n1,2,3,,\n1,2,3,4\n5,6,7\n",
        "csv utf-8 , [a|b|c]\n1 2@6 [1||]\n2 3@8 [1|2|3]\n3 4@16 !has 4 fields where the header has 3\n"
        "4 5@24 [5|6|7]\nend\n");
}

/* Goal: a NUL costs its row. */
static void test_nul(void **state)
{
    (void)state;
    CHECK("a,b\n1\0,2\n3,4\n", "csv utf-8 , [a|b]\n1 2@4 !contains a NUL byte\n2 3@9 [3|4]\nend\n");
}

/* Goal: names of columns are trimmed, missing ones are numbers, and two that are the same are refused by name. */
static void test_columns(void **state)
{
    (void)state;
    CHECK("\" First  Name \",,b,\nx,y,z,\n", "csv utf-8 , [First Name|2|b|4]\n1 2@20 [x|y|z|]\nend\n");
    CHECK("a,b,a\n1,2,3\n", "!line 1: columns 1 and 3 are both called \"a\"\n");
}

/* Goal: a first row that is data is not taken for names, unless the caller says which it is. */
static void test_no_header(void **state)
{
    struct ingest_reader_options options = {.header = INGEST_HEADER_ABSENT};
    static const char bytes[] = "Ann,ann@acme.example\nBob,bob@acme.example\n";

    (void)state;
    CHECK("Ann,ann@acme.example\nBob,bob@acme.example\n",
        "!line 1: names of columns are expected, but column 2 is an e-mail address; say so if the file has no header, "
        "or if this is one\n");
    check_as(&options, bytes, sizeof(bytes) - 1,
        "csv utf-8 , [1|2]\n1 1@0 [Ann|ann@acme.example]\n2 2@21 [Bob|bob@acme.example]\nend\n");
    options.header = INGEST_HEADER_PRESENT;
    check_as(
        &options, bytes, sizeof(bytes) - 1, "csv utf-8 , [Ann|ann@acme.example]\n1 2@21 [Bob|bob@acme.example]\nend\n");
}

/* Goal: files without rows. */
static void test_nothing(void **state)
{
    (void)state;
    CHECK("", "!the file is empty\n");
    CHECK("\xEF\xBB\xBF", "!the file is empty\n");
    CHECK(" \n\r\n\n", "!the file is empty\n");
    CHECK("a,b\n", "csv utf-8 , [a|b]\nend\n");
    CHECK("a,b", "csv utf-8 , [a|b]\nend\n");
    CHECK("[]", "json utf-8\nend\n");
    CHECK("a\n1\n\x1A", "csv utf-8 , [a]\n1 2@2 [1]\nend\n");
}

/* Many columns: "a,a,…" with numbers, so that no two are the same. */
static char *wide(size_t columns, const char *prefix)
{
    struct buffer text = {0};

    buffer_init(&text, SIZE_MAX / 8);
    for (size_t i = 0; i < columns; i++)
        buffer_append_format(&text, "%s%s%zu", i == 0 ? "" : ",", prefix, i);
    buffer_append_string(&text, "\n");
    char *copy = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    return copy;
}

/* Goal: 5,000 columns are refused in the header and rejected in a row. */
static void test_many_columns(void **state)
{
    char *line = wide(5000, "c");
    char *file = NULL;

    (void)state;
    check_as(&detect, line, strlen(line), "!line 1: 5000 columns, at most 1000 are taken\n");
    int size = asprintf(&file, "a,b\n%s1,2\n", line);
    check_as(&detect, file, (size_t)size,
        "csv utf-8 , [a|b]\n1 2@4 !has 5000 fields where the header has 2\n2 3@28894 [1|2]\nend\n");
    free(file);
    free(line);
    line = wide(INGEST_COLUMNS_MAX, "c");
    char *shown = read_all(&detect, line, strlen(line), SIZE_MAX);
    assert_non_null(strstr(shown, "|c999]\nend\n"));
    free(shown);
    free(line);
}

/* Feeds `count` times the same megabyte between two texts; gives what became of it. */
static char *read_long(const char *before, char filler, size_t count, const char *after)
{
    struct ingest_reader *reader = NULL;
    struct ingest_row row;
    struct error error = {0};
    size_t size = 1024 * 1024;
    char *megabyte = memory_new(size);
    char *result = NULL;
    size_t part = 0;

    memset(megabyte, filler, size);
    reader = ingest_reader_new(&detect);
    ingest_reader_feed(reader, before, strlen(before));
    for (;;) {
        enum ingest_step next = ingest_reader_next(reader, &row, &error);
        if (next == INGEST_STEP_MORE && part < count)
            ingest_reader_feed(reader, megabyte, size);
        else if (next == INGEST_STEP_MORE && part == count)
            ingest_reader_feed(reader, after, strlen(after));
        else if (next == INGEST_STEP_MORE)
            ingest_reader_finish(reader);
        else if (next == INGEST_STEP_ROW && row.is_rejected)
            assert_int_equal(asprintf(&result, "%llu !%s", (unsigned long long)row.line, row.rejection.reason) > 0, 1);
        if (next == INGEST_STEP_FAILED)
            assert_int_equal(asprintf(&result, "!%s (%zu)", error.text, part) > 0, 1);
        if (next == INGEST_STEP_FAILED || next == INGEST_STEP_END)
            break;
        part += next == INGEST_STEP_MORE;
    }
    ingest_reader_free(reader);
    free(megabyte);
    return result;
}

static void check_long(const char *before, char filler, size_t count, const char *after, const char *expected)
{
    char *result = read_long(before, filler, count, after);

    assert_non_null(result);
    assert_string_equal(result, expected);
    free(result);
}

/* Goal: one line without end is bounded: it is passed over where a line can be, and refused at once where nobody knows what it is. The
 * long form feeds 10 GiB. */
static void test_endless_line(void **state)
{
    size_t count = getenv("LEADROUTER_LONG") != NULL ? 10240 : 8;
    size_t json_count = getenv("LEADROUTER_LONG") != NULL ? 1024 : 8;

    (void)state;
    check_long("a,b\n1,", 'x', count, "\n3,4\n", "2 !longer than 1 MiB");
    check_long("", 'x', count, "\n", "!line 1: longer than 1048576 bytes, where names of columns are expected (2)");
    check_long("a,b\n1,2\n3,\"", 'x', count, "\"\n",
        "!line 3: the row is longer than 1048576 bytes, and in it a quoted field that begins on line 3 is not closed "
        "(1)");
    check_long("{\"a\":1}\n{\"a\":\"", 'x', json_count, "\"}\n", "2 !longer than 1048576 bytes");
    check_long(
        "{\"a\":\"", 'x', json_count, "\"}\n", "!line 1: the document that begins here is longer than 4 MiB (4)");
    check_long("[{\"a\":\"", 'x', json_count, "\"}]\n", "1 !longer than 1048576 bytes");
}

/* --- Encodings ---------------------------------------------------------------------------------------------------- */

/* Goal: UTF-8 and UTF-16, with and without a mark, give the same text; offsets are those of the file. */
static void test_unicode(void **state)
{
    (void)state;
    CHECK("\xEF\xBB\xBF"
          "a,b\n\xC3\xA9,\xE2\x82\xAC\n",
        "csv utf-8 , [a|b]\n1 2@7 [\xC3\xA9|\xE2\x82\xAC]\nend\n");
    CHECK("a,b\n\xC3\xA9,\xF0\x9F\x98\x80\n", "csv utf-8 , [a|b]\n1 2@4 [\xC3\xA9|\xF0\x9F\x98\x80]\nend\n");
    CHECK("\xFF\xFE"
          "a\0,\0b\0\n\0\xE9\0,\0\x3D\xD8\x00\xDE\n\0",
        "csv utf-16le , [a|b]\n1 2@10 [\xC3\xA9|\xF0\x9F\x98\x80]\nend\n");
    CHECK("\xFE\xFF\0a\0,\0b\0\n\0\xE9\0,\xD8\x3D\xDE\x00\0\n",
        "csv utf-16be , [a|b]\n1 2@10 [\xC3\xA9|\xF0\x9F\x98\x80]\nend\n");
    CHECK("a\0,\0b\0\r\0\n\0"
          "1\0,\0\x39\x04\n\0",
        "csv utf-16le , [a|b]\n1 2@10 [1|\xD0\xB9]\nend\n");
    CHECK("\0a\0,\0b\0\n\0"
          "1\0,\0"
          "2",
        "csv utf-16be , [a|b]\n1 2@8 [1|2]\nend\n");
}

/* Goal: Windows-1252 is recognised and converted, also when the first such letter comes late. */
static void test_windows_1252(void **state)
{
    (void)state;
    CHECK("a,b\nJos\xE9,\x80\n", "csv windows-1252 , [a|b]\n1 2@4 [Jos\xC3\xA9|\xE2\x82\xAC]\nend\n");
    CHECK("a,b\nCAF\xC9\x92S,\xE9t\xE9\n",
        "csv windows-1252 , [a|b]\n1 2@4 [CAF\xC3\x89\xE2\x80\x99S|\xC3\xA9t\xC3\xA9]\nend\n");
    CHECK("a,b\n\xE9,\x81\nx,y\n",
        "csv windows-1252 , [a|b]\n1 2@4 !is not windows-1252 at byte 6 of the file\n2 3@8 [x|y]\nend\n");

    struct buffer text = {0};
    buffer_init(&text, SIZE_MAX / 8);
    buffer_append_string(&text, "a,b\n");
    while (text.size < INGEST_HEAD_SIZE + 10)
        buffer_append_string(&text, "1,2\n");
    buffer_append_string(&text, "Jos\xE9,x\n");
    char *shown = read_all(&detect, (const char *)text.data, text.size, 1000);
    assert_non_null(strstr(shown, "[Jos\xC3\xA9|x]\nend\n"));
    free(shown);
    buffer_append_string(&text, "Jos\xC3\xA9,x\nJos\xC3\xA9,x\n");
    shown = read_all(&detect, (const char *)text.data, text.size, 1000);
    assert_non_null(strstr(shown, "\n!byte 65551 is not UTF-8, but since then most is, as at byte "));
    free(shown);
    buffer_release(&text);
}

/* Goal: one byte that is not UTF-8, in a file that is, costs its row and is named by its place. */
static void test_broken_utf_8(void **state)
{
    const struct ingest_reader_options named = {.encoding = INGEST_ENCODING_UTF_8};

    (void)state;
    CHECK("a,b\n\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9,\xC3\n1,\xED\xA0\x80\nx,\xC3\xB6\n",
        "csv utf-8 , [a|b]\n1 2@4 !is not utf-8 at byte 13 of the file\n2 3@15 !is not utf-8 at byte 17 of the file\n"
        "3 4@21 [x|\xC3\xB6]\nend\n");
    check_as(&named, "a\n\xE9\nx\n", 6, "csv utf-8 , [a]\n1 2@2 !is not utf-8 at byte 2 of the file\n2 3@4 [x]\nend\n");
    CHECK("a,\xC3(\xC3\xA9\n", "!line 1: the names of columns are not utf-8 at byte 2\n");
    CHECK("\xFF\xFE"
          "a\0\n\0\x3D\xD8x\0\n\0y\0\n\0z",
        "csv utf-16le , [a]\n1 2@6 !is not utf-16le at byte 6 of the file\n2 3@12 [y]\n"
        "3 4@16 !is not utf-16le at byte 16 of the file\nend\n");
}

/* Goal: what is no text is refused at once, by what it is. */
static void test_binary(void **state)
{
    (void)state;
    CHECK("PK\x03\x04\x14\0\x06\0",
        "!is no text but a ZIP archive, perhaps a workbook of a spreadsheet: save it as CSV\n");
    CHECK("\x1F\x8B\x08\0\0\0", "!is no text but compressed with gzip: unpack it first\n");
    CHECK("\xFF\xFE\0\0a\0\0\0", "!is no text but in UTF-32: save it as UTF-8\n");
    CHECK("a,b\0\n1,2\n", "!is a binary file, not text: byte 00 in its first line, at offset 3\n");
    CHECK("abc\n\x01\x02\x03\x04\x05\x06",
        "!is a binary file, not text: 6 of its first 10 bytes are control characters\n");
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

/* Goal: objects one a line, several lines each, or in an array. */
static void test_json_layouts(void **state)
{
    (void)state;
    CHECK(
        "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}", "json utf-8\n1 1@0 {\"a\":1}\n2 3@9 {\"a\":2}\n3 4@18 {\"a\":3}\nend\n");
    CHECK("{\n \"a\": \"}\\\"\"\n}\n{\"a\":2}\n", "json utf-8\n1 1@0 {\"a\":\"}\\\"\"}\n2 4@16 {\"a\":2}\nend\n");
    CHECK(" [{\"a\":1},{\"a\":[2]} ,\n{\"a\":3}]\n",
        "json utf-8\n1 1@2 {\"a\":1}\n2 1@10 {\"a\":[2]}\n3 2@22 {\"a\":3}\nend\n");
    CHECK("[\0{\0\"\0a\0\"\0:\0"
          "1\0}\0,\0{\0}\0]\0",
        "json utf-16le\n1 1@2 {\"a\":1}\n2 1@18 {}\nend\n");
}

/* Goal: a line that is no JSON object is rejected, and the next one is read. */
static void test_json_bad_rows(void **state)
{
    (void)state;
    CHECK("{\"a\":1}\n{\"a\":\n{\"a\":1,\"a\":2}\n{\"a\":\"\\u0000\"}\n7\n\"x\"\n[]\n{\"a\":\"\xEF\xB7\x90\"}\n{}\n",
        "json utf-8\n1 1@0 {\"a\":1}\n2 2@8 !is not valid JSON at byte 5 of the record\n"
        "3 3@14 !is not valid JSON: a key is there twice in one object\n4 4@28 !contains a NUL character\n"
        "5 5@43 !is not an object\n6 6@45 !is not an object\n7 8@52 !contains U+FDD0, which is no character\n"
        "8 9@64 {}\nend\n");
    CHECK("{\"a\":\"\xC3\xA9\"}\n{\"a\":\"\xC3\"}\n{\"b\":2}\n",
        "json utf-8\n1 1@0 {\"a\":\"\xC3\xA9\"}\n2 2@11 !is not utf-8 at byte 17 of the file\n3 3@21 {\"b\":2}\nend\n");
    CHECK("[{\"a\":01},{\"a\":2},3 ,{\"a\":4}]",
        "json utf-8\n1 1@1 !is not valid JSON at byte 6 of the record\n2 1@10 {\"a\":2}\n3 1@18 !is not an object\n"
        "4 1@21 {\"a\":4}\nend\n");
}

/* Goal: an array that nobody can follow any more ends the file, with the line. */
static void test_json_broken(void **state)
{
    (void)state;
    CHECK("[{\"a\":1}\n{\"a\":2}]",
        "json utf-8\n1 1@1 {\"a\":1}\n!line 2: an object and then a comma is expected in the array\n");
    CHECK("[{\"a\":1},\n",
        "json utf-8\n1 1@1 {\"a\":1}\n!line 2: the array is never closed; its objects up to here were read\n");
    CHECK("[{\"a\":1}]\nx", "json utf-8\n1 1@1 {\"a\":1}\n!line 2: text stands behind the end of the array\n");
    CHECK("{\n\"a\":1\n", "json utf-8\n!line 1: the JSON that begins here is never closed\n");
}

/* Goal: nesting is bounded before anything recurses. */
static void test_json_depth(void **state)
{
    enum { DEPTH = 10000 };
    struct buffer text = {0};

    (void)state;
    buffer_init(&text, SIZE_MAX / 8);
    buffer_append_string(&text, "{\"a\":1}\n{\"a\":");
    for (size_t i = 0; i < DEPTH; i++)
        buffer_append_string(&text, "[");
    for (size_t i = 0; i < DEPTH; i++)
        buffer_append_string(&text, "]");
    buffer_append_string(&text, "}\n{\"a\":2}\n");
    check_as(&detect, (const char *)text.data, text.size,
        "json utf-8\n1 1@0 {\"a\":1}\n2 2@8 !nests deeper than 64\n3 3@20015 {\"a\":2}\nend\n");
    buffer_release(&text);
}

/* Goal: numbers stay as they came; what no double holds becomes a text. */
static void test_json_numbers(void **state)
{
    (void)state;
    CHECK("{\"a\":[12345678901234567890123,0.10,-0,1E5,9223372036854775807,1e999,-1]}\n",
        "json utf-8\n1 1@0 {\"a\":[12345678901234567890123,0.10,-0,1E5,9223372036854775807,\"1e999\",-1]}\nend\n");
}

/* Goal: rows are unwrapped from an envelope, from the first of several paths that is there, however it is laid out. */
static void test_unwrap(void **state)
{
    static const char *const paths[] = {"data.identities", "leads", NULL};
    const struct ingest_reader_options options = {.unwrap = paths};
    static const char pretty[] =
        "{\n\"success\": true,\n\"data\": {\"identities\": [\n{\"id\": 1},\n2,\n{\"id\": 3}]}}\n";
    static const char lines[] =
        "{\"leads\":[{\"id\":1},{\"id\":2}]}\n{\"leads\":[]}\n{\"id\":3}\n{\"Leads\":{\"id\":4}}\n";
    static const char array[] = "[{\"id\":1},{\"leads\":[{\"id\":2},{\"id\":3}]}]";

    (void)state;
    check_as(&options, pretty, sizeof(pretty) - 1,
        "json utf-8\n1 1@0 {\"id\":1}\n2 1@0 !is not an object\n3 1@0 {\"id\":3}\nend\n");
    check_as(&options, lines, sizeof(lines) - 1,
        "json utf-8\n1 1@0 {\"id\":1}\n2 1@0 {\"id\":2}\n3 3@43 {\"id\":3}\n4 4@52 {\"id\":4}\nend\n");
    check_as(&options, array, sizeof(array) - 1,
        "json utf-8\n1 1@1 {\"id\":1}\n2 1@10 {\"id\":2}\n3 1@10 {\"id\":3}\nend\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_stray_quotes),
        cmocka_unit_test(test_unclosed_quote),
        cmocka_unit_test(test_delimiters),
        cmocka_unit_test(test_ragged_rows),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_no_header),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_many_columns),
        cmocka_unit_test(test_endless_line),
        cmocka_unit_test(test_unicode),
        cmocka_unit_test(test_windows_1252),
        cmocka_unit_test(test_broken_utf_8),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_json_layouts),
        cmocka_unit_test(test_json_bad_rows),
        cmocka_unit_test(test_json_broken),
        cmocka_unit_test(test_json_depth),
        cmocka_unit_test(test_json_numbers),
        cmocka_unit_test(test_unwrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
