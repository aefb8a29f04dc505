/* Goal: conditions are refused when a rule is saved, with the path to the fault; their bounds hold to the value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "rules/conditions.h"
#include "rules/rules.h"

static void test_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        "{\"industries\":[]}",
        "{\"industries\":[\"Software\"],\"company_sizes\":[\"11-50\"],\"revenue_ranges\":[\"$1M - $5M\"],"
        "\"countries\":[\"India\",\"Atlantis\"],\"us_states\":[\"CA\",\"us-ny\",\"Puerto Rico\"],"
        "\"regions\":[\"West\",\" NORTHEAST \"]}",
        "{\"us_states\":[\"CA\"],\"regions\":[\"Northeast\"]}",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct error error = {0};
        if (!rule_conditions_check(good[i], &error)) {
            fail_msg("%s gives: %s", good[i], error.text);
        }
    }
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *text;
    } cases[] = {
        {NULL, "$: not valid JSON"},
        {"", "$: not valid JSON"},
        {"{\"industries\":[\"a\"]", "$: not valid JSON"},
        {"{}{}", "$: not valid JSON"},
        {"{\"industries\":[\"\xff\"]}", "$: not valid JSON"},
        {"{\"industries\":[\"a\\u0000b\"]}", "$: not valid JSON"},
        {"{\"industries\":[],\"industries\":[\"a\"]}", "$: not valid JSON: a key is there twice"},
        {"[]", "$: must be an object"},
        {"null", "$: must be an object"},
        {"\"{}\"", "$: must be an object"},
        {"{\"industry\":[\"a\"]}", "$.industry: unknown condition"},
        {"{\"a \\\"b\":1}", "$[?]: unknown condition"},
        {"{\"all\":{}}", "$.all: must be a list of conditions"},
        {"{\"industries\":\"a\"}", "$.industries: must be a list of texts"},
        {"{\"industries\":null}", "$.industries: must be a list of texts"},
        {"{\"regions\":{\"0\":\"West\"}}", "$.regions: must be a list of texts"},
        {"{\"industries\":[\"a\",1]}", "$.industries[1]: must be a text"},
        {"{\"company_sizes\":[null]}", "$.company_sizes[0]: must be a text"},
        {"{\"countries\":[[\"US\"]]}", "$.countries[0]: must be a text"},
        {"{\"revenue_ranges\":[\"a\",\"b\",\"\"]}", "$.revenue_ranges[2]: must not be blank"},
        {"{\"countries\":[\" \\u00a0\"]}", "$.countries[0]: must not be blank"},
        {"{\"us_states\":[\"\"]}", "$.us_states[0]: must not be blank"},
        {"{\"us_states\":[\"CA\",\"NY\",\"XX\"]}", "$.us_states[2]: unknown state"},
        {"{\"us_states\":[\"Ontario\"]}", "$.us_states[0]: unknown state"},
        {"{\"us_states\":[\"a\\nb\"]}", "$.us_states[0]: unknown state"},
        {"{\"regions\":[\"West\",\"North\"]}", "$.regions[1]: unknown region"},
        {"{\"regions\":[\"CA\"]}", "$.regions[0]: unknown region"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error error = {0};
        assert_false(rule_conditions_check(cases[i].json, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        if (strncmp(error.text, cases[i].text, strlen(cases[i].text)) != 0) {
            fail_msg("%s gives: %s", cases[i].json, error.text);
        }
        assert_false(rule_conditions_check(cases[i].json, NULL));
    }
}

/* A list of `count` values of `size` bytes each in a rule; the caller frees it. */
static char *many_values(size_t count, size_t size)
{
    struct buffer json;
    buffer_init(&json, 1 << 22);
    assert_true(buffer_append_string(&json, "{\"industries\":["));
    for (size_t i = 0; i < count; i++) {
        assert_true(buffer_append_format(&json, "%s\"%0*zu\"", i == 0 ? "" : ",", (int)size, i));
    }
    assert_true(buffer_append_string(&json, "]}"));
    char *text = memory_copy_string(buffer_text(&json));
    buffer_release(&json);
    return text;
}

static void check_bound(size_t count, size_t size, const char *expected)
{
    struct error error = {0};
    char *json = many_values(count, size);
    bool ok = rule_conditions_check(json, &error);
    if (ok != (expected == NULL) || (expected != NULL && strcmp(error.text, expected) != 0)) {
        fail_msg("%zu values of %zu bytes: %s", count, size, ok ? "accepted" : error.text);
    }
    free(json);
}

static void test_bounds(void **state)
{
    (void)state;
    check_bound(RULE_VALUES_MAX, 8, NULL);
    check_bound(RULE_VALUES_MAX + 1, 8, "$.industries: more than 10000 values in one rule");
    check_bound(1, RULE_VALUE_SIZE_MAX, NULL);
    check_bound(2, RULE_VALUE_SIZE_MAX + 1, "$.industries[0]: longer than 512 bytes");
    check_bound(RULE_VALUES_MAX, 40, "$: longer than 262144 bytes");
}

static void test_long_names_in_errors(void **state)
{
    (void)state;
    struct error error = {0};
    struct buffer json;
    buffer_init(&json, 4096);
    assert_true(buffer_append_format(&json, "{\"us_states\":[\"%0500d\"]}", 7));
    assert_false(rule_conditions_check(buffer_text(&json), &error));
    assert_string_equal(error.text, "$.us_states[0]: unknown state");
    buffer_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_long_names_in_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
