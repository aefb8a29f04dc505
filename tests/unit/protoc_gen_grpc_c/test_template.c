/* Goal: templates put values in place, and no comment of a .proto can end the comment it is put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "template.h"

static void test_values(void **state)
{
    static const struct template_value values[] = {{"a", "1"}, {"ab", "$a$"}};
    struct buffer out = {0};

    (void)state;
    buffer_init(&out, 1024);
    template_print(&out, "$a$ and $ab$$a$.", values, COUNT_OF(values)); /* a value is not a template */
    template_print(&out, "", values, COUNT_OF(values));
    assert_string_equal(buffer_text(&out), "1 and $a$1.");
    buffer_release(&out);
}

static void test_comments(void **state)
{
    static const struct {
        const char *comment;
        const char *text;
    } cases[] = {
        {NULL, ""},
        {"", ""},
        {" one\n", "  * one\n"},
        {" one", "  * one\n"},
        {" one\n\n   two \t\r\n", "  * one\n  *\n  *   two\n"},
        {"close\n", "  * close\n"},
        {" a */ b /* c */* d /*/\n", "  * a * / b / * c * / * d / * /\n"},
        {"/\n", "  * /\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer out = {0};

        buffer_init(&out, 1024);
        template_print_comment(&out, " ", cases[i].comment);
        assert_string_equal(buffer_text(&out), cases[i].text);
        buffer_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_comments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
