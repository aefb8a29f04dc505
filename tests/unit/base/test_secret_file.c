/* Goal: a file with a secret is read whole or refused with its name; that everybody may read or change it is seen; nothing
 * that is no file, or too large, is taken. */
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

#include "base/secret_file.h"

static char path[64];

static int make_file(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/leadrouter-test-secret-XXXXXX");
    close(mkstemp(path));
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void write_bytes(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void whole_files(void **state)
{
    struct secret_file file = {0};
    struct error error = {0};

    (void)state;
    write_bytes("a\0b\n", 4);
    assert_true(secret_file_read(path, &file, &error));
    assert_int_equal(file.size, 4);
    assert_memory_equal(file.text, "a\0b\n", 5);
    secret_file_wipe(&file);
    assert_null(file.text);
    secret_file_wipe(&file);
    write_bytes("", 0);
    assert_true(secret_file_read(path, &file, &error));
    assert_string_equal(file.text, "");
    secret_file_wipe(&file);
}

static void who_else_may_read(void **state)
{
    static const struct {
        mode_t mode;
        bool is_fine;
    } cases[] = {{0600, true}, {0400, true}, {0640, true}, {0660, true}, {0604, false}, {0602, false}, {0644, false},
        {0444, false}};
    struct secret_file file = {0};
    struct error error = {0};

    (void)state;
    write_bytes("hunter2", 7);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(chmod(path, cases[i].mode), 0);
        assert_true(secret_file_read(path, &file, &error));
        assert_int_equal(secret_file_check(&file, path, &error), cases[i].is_fine);
        secret_file_wipe(&file);
        if (!cases[i].is_fine) {
            assert_non_null(strstr(error.text, path));
            assert_null(strstr(error.text, "hunter2"));
        }
    }
}

static void what_is_no_file(void **state)
{
    struct secret_file file = {0};
    struct error error = {0};

    (void)state;
    assert_false(secret_file_read("/nonexistent/secret", &file, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "/nonexistent/secret"));
    assert_false(secret_file_read("/tmp", &file, &error));
    assert_int_equal(error.code, ERROR_INVALID);
    assert_int_equal(truncate(path, SECRET_FILE_SIZE_MAX), 0);
    assert_true(secret_file_read(path, &file, &error));
    secret_file_wipe(&file);
    assert_int_equal(truncate(path, SECRET_FILE_SIZE_MAX + 1), 0);
    assert_false(secret_file_read(path, &file, &error));
    assert_non_null(strstr(error.text, "larger than"));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* would hang whoever opens it as a file */
    assert_false(secret_file_read(path, &file, &error));
    assert_non_null(strstr(error.text, "not a file"));
    assert_null(file.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_files, make_file, remove_file),
        cmocka_unit_test_setup_teardown(who_else_may_read, make_file, remove_file),
        cmocka_unit_test_setup_teardown(what_is_no_file, make_file, remove_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
