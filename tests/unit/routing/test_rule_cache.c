/* Goal: a set is given out only in the version asked for; newer replaces older, never the reverse; unusable rules are
 * remembered as such. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "routing/rule_cache.h"

static const struct uuid workspace = {{7}};

static struct rule_set *put(struct rule_cache *cache, struct uuid workspace_id, int64_t version, const char *conditions,
    struct error *reterr_error)
{
    struct rule_source rule = {.id = {{9}}, .name = "r", .conditions_json = conditions, .destination_is_active = true};
    struct store_rules rules = {.workspace_id = workspace_id,
        .rules_version = version,
        .routing_config = "{}",
        .rules = &rule,
        .rule_count = 1};
    struct rule_set *set = NULL;

    rule_cache_put(cache, &rules, &set, reterr_error);
    return set;
}

static void test_only_the_version_asked_for(void **state)
{
    struct rule_cache *cache = rule_cache_new(4);
    struct rule_set *set = NULL;

    (void)state;
    assert_false(rule_cache_get(cache, &workspace, 1, &set, NULL));
    rule_set_unref(put(cache, workspace, 1, "{}", NULL));
    assert_true(rule_cache_get(cache, &workspace, 1, &set, NULL));
    assert_int_equal(rule_set_version(set), 1);
    rule_set_unref(set);
    assert_false(rule_cache_get(cache, &workspace, 2, &set, NULL));
    rule_cache_free(cache);
}

static void test_newer_replaces_older_never_the_reverse(void **state)
{
    struct rule_cache *cache = rule_cache_new(4);
    struct rule_set *held = put(cache, workspace, 2, "{}", NULL);
    struct rule_set *set = NULL;

    (void)state;
    rule_set_unref(put(cache, workspace, 1, "{}", NULL));
    assert_true(rule_cache_get(cache, &workspace, 2, &set, NULL));
    rule_set_unref(set);
    rule_set_unref(put(cache, workspace, 3, "{}", NULL));
    assert_false(rule_cache_get(cache, &workspace, 2, &set, NULL));
    assert_int_equal(rule_set_version(held), 2); /* who matches by the old one still may */
    rule_set_unref(held);
    rule_cache_free(cache);
}

static void test_unusable_rules_are_remembered(void **state)
{
    struct rule_cache *cache = rule_cache_new(4);
    struct error error = {0};
    struct rule_set *set = NULL;

    (void)state;
    assert_null(put(cache, workspace, 5, "{\"colour\": [\"red\"]}", &error));
    assert_int_equal(error.code, ERROR_INVALID);
    error = (struct error){0};
    assert_true(rule_cache_get(cache, &workspace, 5, &set, &error));
    assert_null(set);
    assert_non_null(strstr(error.text, "colour"));
    rule_cache_free(cache);
}

static void test_full_cache_forgets_one(void **state)
{
    struct rule_cache *cache = rule_cache_new(2);
    struct rule_set *set = NULL;
    unsigned kept = 0;

    (void)state;
    for (uint8_t i = 1; i <= 5; i++) {
        rule_set_unref(put(cache, (struct uuid){{i}}, 1, "{}", NULL));
        assert_true(rule_cache_get(cache, &(struct uuid){{i}}, 1, &set, NULL));
        rule_set_unref(set);
    }
    for (uint8_t i = 1; i <= 5; i++)
        if (rule_cache_get(cache, &(struct uuid){{i}}, 1, &set, NULL)) {
            kept++;
            rule_set_unref(set);
        }
    assert_int_equal(kept, 2);
    rule_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_version_asked_for),
        cmocka_unit_test(test_newer_replaces_older_never_the_reverse),
        cmocka_unit_test(test_unusable_rules_are_remembered),
        cmocka_unit_test(test_full_cache_forgets_one),
    };

    return cmocka_run_group_tests_name("routing/rule_cache", tests, NULL, NULL);
}
