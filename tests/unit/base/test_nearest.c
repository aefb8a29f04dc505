/* Goal: the nearest known word is found for a slip, and none for another word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/nearest.h"

static void nearest(void **state)
{
    static const char *const words[] = {"route", "import", "health", "leads"};
    static const struct {
        const char *typed;
        const char *meant;
    } cases[] = {{"imprt", "import"}, {"improt", "import"}, {"rout", "route"}, {"lead", "leads"}, {"heelth", "health"},
        {"import", "import"}, {"delete", NULL}, {"", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *found = nearest_word(cases[i].typed, words, COUNT_OF(words));
        if (cases[i].meant == NULL)
            assert_null(found);
        else
            assert_string_equal(found, cases[i].meant);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nearest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
