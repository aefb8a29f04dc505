/* Goal: names are those of protoc-c 1.4.1, whose output for the same names was read for this table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "names.h"

static int setup(void **state)
{
    *state = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static void test_types_and_prefixes(void **state)
{
    static const struct {
        const char *name;
        const char *type;
        const char *prefix;
    } cases[] = {
        {".leadrouter.v1.RouteLeadRequest", "Leadrouter__V1__RouteLeadRequest", "leadrouter__v1__route_lead_request"},
        {"my_Pkg.fooBar.v1.HTTPRequest2X", "MyPkg__FooBar__V1__HTTPRequest2X", "my__pkg__foo_bar__v1__httprequest2_x"},
        {"my_Pkg.fooBar.v1.HTTPRequest2X.InnerMsg_x", "MyPkg__FooBar__V1__HTTPRequest2X__InnerMsgX",
            "my__pkg__foo_bar__v1__httprequest2_x__inner_msg_x"},
        {"p.delete", "P__Delete", "p__delete"},
        {".Lone", "Lone", "lone"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_string_equal(name_of_type(*state, cases[i].name), cases[i].type);
        assert_string_equal(name_of_prefix(*state, cases[i].name), cases[i].prefix);
    }
}

/* Goal: a member is never a keyword. */
static void test_members(void **state)
{
    assert_string_equal(name_of_member(*state, "RouteLead"), "route_lead");
    assert_string_equal(name_of_member(*state, "Delete"), "delete_");
    assert_string_equal(name_of_member(*state, "switch"), "switch_");
    assert_string_equal(name_of_member(*state, "Switches"), "switches");
}

/* Goal: two files never have the same guard. */
static void test_guards(void **state)
{
    assert_string_equal(name_of_guard(*state, "a/b"), "GRPC_C_a_2fb_INCLUDED");
    assert_string_equal(name_of_guard(*state, "a_b"), "GRPC_C_a_5fb_INCLUDED");
    assert_string_equal(name_of_guard(*state, "\xc3\xa4"), "GRPC_C__c3_a4_INCLUDED");
    assert_string_equal(name_of_guard(*state, "a_2fb"), "GRPC_C_a_5f2fb_INCLUDED");
}

/* Goal: what cannot be part of C is not a name. */
static void test_validity(void **state)
{
    static const char *const good[] = {"a", ".a", "a.b", ".a.B_2", "_"};
    static const char *const bad[] = {"", ".", "..a", "a.", "a..b", "a b", "a\n", "a-b", "a\"b", "\xc3\xa4"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_true(name_is_valid(good[i]));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(name_is_valid(bad[i]));
    assert_false(name_is_valid(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_types_and_prefixes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guards, setup, teardown),
        cmocka_unit_test(test_validity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
