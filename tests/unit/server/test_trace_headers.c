/* Goal: a collector is sent what the file says and nothing else; a file that is none is refused with its line, and without a word of
 * what is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace_headers.h"

static char path[] = "/tmp/test_trace_headers.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int file = mkstemp(path);
    return file < 0 || close(file) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_text(const char *text, size_t size, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_lines(void **state)
{
    static const char text[] = "# a key of ours\n\nx-api-key: s3cr3t: with colons \r\n  Authorization:Bearer abc\t\n"
                               "x-tenant: ours";
    struct trace_headers headers;
    struct error error;

    (void)state;
    write_text(text, sizeof(text) - 1, 0600);
    assert_true(trace_headers_read(path, &headers, &error));
    assert_int_equal(headers.count, 3);
    assert_string_equal(headers.entries[0].key, "x-api-key");
    assert_string_equal(headers.entries[0].value, "s3cr3t: with colons");
    assert_int_equal(headers.entries[0].size, strlen("s3cr3t: with colons"));
    assert_string_equal(headers.entries[1].key, "authorization");
    assert_string_equal(headers.entries[1].value, "Bearer abc");
    assert_string_equal(headers.entries[2].key, "x-tenant");
    assert_string_equal(headers.entries[2].value, "ours");
    trace_headers_wipe(&headers);
    assert_null(headers.file.text);
    trace_headers_wipe(&headers);
}

static void assert_refused(const char *text, size_t size, const char *reason)
{
    struct trace_headers headers;
    struct error error;

    write_text(text, size, 0600);
    assert_false(trace_headers_read(path, &headers, &error));
    assert_int_equal(error.code, ERROR_INVALID);
    assert_non_null(strstr(error.text, reason));
    assert_null(strstr(error.text, "s3cr3t"));
}

static void test_what_is_refused(void **state)
{
    static const char *const lines[] = {"s3cr3t", ": s3cr3t", "x-key:", "x-key:   ", "x key: s3cr3t",
        "grpc-timeout: s3cr3t", "x-key-bin: s3cr3t", "x-k\xc3\xa9y: s3cr3t", "x-key: s3cr3t\x01",
        "x-key: s3cr3t \xc3\xa9", ":authority: s3cr3t"};

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[128];
        int size = snprintf(text, sizeof(text), "x-good: 1\n%s\n", lines[i]);
        assert_refused(text, (size_t)size, "line 2 is no");
    }
    assert_refused("x-a: 1\nx-key: s3\0cr3t\n", 22, "line 2 is no");
    assert_refused("", 0, "no `name: value` in it");
    assert_refused("# none\n", 7, "no `name: value` in it");
}

static void test_too_many(void **state)
{
    char text[1024] = "";

    (void)state;
    for (int i = 0; i <= TRACE_HEADERS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "x-%d: s3cr3t\n", i);
    assert_refused(text, strlen(text), "line 17 is no");
}

static void test_who_may_read_it(void **state)
{
    struct trace_headers headers;
    struct error error;

    (void)state;
    write_text("x-key: s3cr3t\n", 14, 0644);
    assert_false(trace_headers_read(path, &headers, &error));
    assert_non_null(strstr(error.text, "open to everybody"));
    assert_false(trace_headers_read("/nowhere/headers", &headers, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_who_may_read_it),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
