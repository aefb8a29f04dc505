/* Goal: a workspace's routing_config is read with its defaults, and every fault is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rules/rules.h"

#define WORKSPACE "0b5cf0a5-3c3e-4c4b-9d55-1f6f0a2f7b10"

static void test_defaults(void **state)
{
    (void)state;
    static const char *const empty[] = {NULL, "{}", " { } "};
    for (size_t i = 0; i < COUNT_OF(empty); i++) {
        struct rule_policy policy = {.dedupe_days = -1};
        assert_true(rule_policy_parse(empty[i], &policy, NULL));
        assert_int_equal(policy.unmatched, RULE_UNMATCHED_RETRY);
        assert_int_equal(policy.dedupe_scope, RULE_DEDUPE_CROSS_PARTNER);
        assert_int_equal(policy.dedupe_days, 90);
        assert_true(policy.auto_route);
        assert_string_equal(policy.default_country, "");
        assert_true(uuid_is_nil(&policy.fallback_workspace_id));
        assert_false(policy.fallback_is_active);
    }
}

static void test_all_settings(void **state)
{
    (void)state;
    struct rule_policy policy;
    struct uuid workspace;
    assert_true(uuid_parse(WORKSPACE, &workspace));
    assert_true(rule_policy_parse("{\"unmatched\":\"fallback\",\"fallback_workspace_id\":\"" WORKSPACE "\","
                                  "\"dedupe_scope\":\"global\",\"dedupe_days\":3650,\"auto_route\":false,"
                                  "\"default_country\":\"united states\"}",
        &policy, NULL));
    assert_int_equal(policy.unmatched, RULE_UNMATCHED_FALLBACK);
    assert_true(uuid_equal(&policy.fallback_workspace_id, &workspace));
    assert_int_equal(policy.dedupe_scope, RULE_DEDUPE_GLOBAL);
    assert_int_equal(policy.dedupe_days, 3650);
    assert_false(policy.auto_route);
    assert_string_equal(policy.default_country, "US");

    assert_true(rule_policy_parse(
        "{\"unmatched\":\"keep\",\"fallback_workspace_id\":\"" WORKSPACE "\",\"dedupe_days\":1}", &policy, NULL));
    assert_int_equal(policy.unmatched, RULE_UNMATCHED_KEEP);
    assert_true(rule_policy_parse("{\"limits\":{}}", &policy, NULL));
    assert_true(rule_policy_parse("{\"limits\":{\"calls_per_second\":1,\"calls_burst\":1000000,\"calls_in_flight\":64,"
                                  "\"imports\":4,\"leads_per_request\":2,\"rules\":3},\"dedupe_days\":1}",
        &policy, NULL));
    assert_int_equal(policy.dedupe_days, 1);
    assert_true(uuid_is_nil(&policy.fallback_workspace_id));
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *text; /* how the error begins */
    } cases[] = {
        {"", "$: not valid JSON"},
        {"{", "$: not valid JSON"},
        {"{} x", "$: not valid JSON"},
        {"[]", "$: must be an object"},
        {"null", "$: must be an object"},
        {"{\"unmatched\":\"keep\",\"unmatched\":\"retry\"}", "$: not valid JSON: a key is there twice"},
        {"{\"dedupe_day\":3}", "$.dedupe_day: unknown setting"},
        {"{\"unmatched\":\"Keep\"}", "$.unmatched: must be"},
        {"{\"unmatched\":1}", "$.unmatched: must be"},
        {"{\"unmatched\":null}", "$.unmatched: must be"},
        {"{\"unmatched\":\"fallback\"}", "$.fallback_workspace_id: must be given"},
        {"{\"fallback_workspace_id\":\"x\"}", "$.fallback_workspace_id: must be a workspace id"},
        {"{\"fallback_workspace_id\":7}", "$.fallback_workspace_id: must be a workspace id"},
        {"{\"fallback_workspace_id\":\"00000000-0000-0000-0000-000000000000\"}",
            "$.fallback_workspace_id: must be a workspace id"},
        {"{\"dedupe_scope\":\"all\"}", "$.dedupe_scope: must be"},
        {"{\"dedupe_days\":0}", "$.dedupe_days: must be"},
        {"{\"dedupe_days\":3651}", "$.dedupe_days: must be"},
        {"{\"dedupe_days\":4294967297}", "$.dedupe_days: must be"},
        {"{\"dedupe_days\":-1}", "$.dedupe_days: must be"},
        {"{\"dedupe_days\":9.5}", "$.dedupe_days: must be"},
        {"{\"dedupe_days\":\"9\"}", "$.dedupe_days: must be"},
        {"{\"auto_route\":\"true\"}", "$.auto_route: must be"},
        {"{\"auto_route\":1}", "$.auto_route: must be"},
        {"{\"limits\":3}", "$.limits: must be an object"},
        {"{\"limits\":{\"rule\":3}}", "$.limits.rule: unknown setting"},
        {"{\"limits\":{\"ann@example.com\":3}}", "$.limits[?]: unknown setting"},
        {"{\"limits\":{\"rules\":0}}", "$.limits.rules: must be a whole number from 1 to 1000000"},
        {"{\"limits\":{\"calls_in_flight\":1000001}}", "$.limits.calls_in_flight: must be"},
        {"{\"limits\":{\"imports\":0}}", "$.limits.imports: must be"},
        {"{\"limits\":{\"calls_per_second\":1.0}}", "$.limits.calls_per_second: must be"},
        {"{\"limits\":{\"leads_per_request\":\"7\"}}", "$.limits.leads_per_request: must be"},
        {"{\"limits\":{\"calls_burst\":7}}", "$.limits.calls_burst: of no use without calls_per_second"},
        {"{\"default_country\":\"\"}", "$.default_country: must be"},
        {"{\"default_country\":\"Atlantis\"}", "$.default_country: must be"},
        {"{\"default_country\":null}", "$.default_country: must be"},
        {"{\"unmatched\":\"\xff\"}", "$: not valid JSON"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rule_policy policy = {.dedupe_days = -1};
        struct error error = {0};
        assert_false(rule_policy_parse(cases[i].json, &policy, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        if (strncmp(error.text, cases[i].text, strlen(cases[i].text)) != 0) {
            fail_msg("%s gives: %s", cases[i].json, error.text);
        }
        assert_int_equal(policy.dedupe_days, -1);
        assert_false(rule_policy_parse(cases[i].json, &policy, NULL));
    }
}

static void test_bounds(void **state)
{
    (void)state;
    enum { SIZE = 64 * 1024 };
    struct rule_policy policy;
    struct error error = {0};
    char *json = memory_new(SIZE + 2);
    memset(json, ' ', SIZE + 1);
    memcpy(json, "{}", 2);
    assert_false(rule_policy_parse(json, &policy, &error));
    assert_string_equal(error.text, "$: longer than 65536 bytes");
    json[SIZE] = '\0';
    assert_true(rule_policy_parse(json, &policy, NULL));
    free(json);

    char long_country[256];
    (void)memset(long_country, 'a', sizeof(long_country));
    memcpy(long_country, "{\"default_country\":\"", 20);
    memcpy(long_country + sizeof(long_country) - 3, "\"}", 3);
    assert_false(rule_policy_parse(long_country, &policy, &error));
    assert_true(strncmp(error.text, "$.default_country", 17) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_settings),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
