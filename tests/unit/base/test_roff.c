/* Goal: troff shows a text as it reads, whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/roff.h"

static void texts(void **state)
{
    static const struct {
        const char *text;
        const char *written;
    } cases[] = {
        {"", ""},
        {"a b", "a b"},
        {".so x\n'x\na.b", "\\&.so x\n\\&'x\na.b"},
        {"--flag", "\\-\\-flag"},
        {"\\fB", "\\efB"},
        {"HOST\xc2\xa0N", "HOST\\ N"},
        {"6f1c…", "6f1c\\[u2026]"},
        {"🙂!", "\\[u1F642]!"},
        {"a\n\nb", "a\n.PP\nb"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *written = NULL;
        size_t size = 0;
        FILE *output = open_memstream(&written, &size);
        roff_put(output, cases[i].text);
        fclose(output);
        assert_string_equal(written, cases[i].written);
        free(written);
    }
}

static void flags(void **state)
{
    char *written = NULL;
    size_t size = 0;
    FILE *output = open_memstream(&written, &size);

    (void)state;
    roff_put_flag(output, "dry-run", NULL);
    roff_put_flag(output, "role", "ROLE,...");
    fclose(output);
    assert_string_equal(written, ".TP\n.B \\-\\-dry\\-run\n.TP\n.B \\-\\-role \\fIROLE,...\\fR\n");
    free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(flags)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
