/* Goal: what lint reports is true, and it finds what was planted; what it cannot decide it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rules/lint.h"

static const char *const colours[] = {"red", "green"};
static const struct rule_named_set sets[] = {{"colours", colours, COUNT_OF(colours)}};
static const struct rule_policy policy = {.dedupe_days = 90};

/* A rule that goes to workspace `destination`; the number is its place in match order among equals. */
static struct rule_source rule_of(unsigned number, int32_t priority, unsigned destination, const char *conditions)
{
    return (struct rule_source){
        .id = {{[14] = (uint8_t)(number >> 8), [15] = (uint8_t)number}},
        .name = "r",
        .priority = priority,
        .conditions_json = conditions,
        .destination_workspace_id = {{[0] = (uint8_t)destination}},
        .destination_is_active = true,
    };
}

static struct rule_finding *lint(const struct rule_source *rules, size_t count, struct arena *arena, size_t *ret_count)
{
    const struct rule_set_source source = {
        .policy = &policy, .rules = rules, .rule_count = count, .sets = sets, .set_count = COUNT_OF(sets)};
    struct rule_finding *findings = NULL;
    struct error error = {0};

    if (!rule_lint(&source, arena, &findings, ret_count, &error))
        fail_msg("%s", error.text);
    return findings;
}

#define T(field, op, value) "{\"field\":\"" field "\",\"op\":\"" op "\",\"value\":" value "}"
#define ALL(...) "{\"all\":[" __VA_ARGS__ "]}"
#define NOT(condition) "{\"not\":" condition "}"

/* One rule: whether it can take a lead at all. */
static void test_contradictions(void **state)
{
    static const struct {
        const char *conditions;
        enum rule_finding_kind kind; /* 0: nothing to say */
    } rows[] = {
        {"{}", 0},
        {"{\"any\":[]}", RULE_FINDING_CONTRADICTION},
        {NOT("{}"), RULE_FINDING_CONTRADICTION},
        {ALL(T("source", "eq", "\"a\"") "," T("source", "eq", "\"b\"")), RULE_FINDING_CONTRADICTION},
        {ALL(T("source", "eq", "\"a\"") "," T("source", "ne", "\"A\"")), RULE_FINDING_CONTRADICTION},
        {ALL(T("source", "eq", "\"a\"") "," NOT(T("source", "in", "[\"a\",\"b\"]"))), RULE_FINDING_CONTRADICTION},
        {ALL(T("source", "in", "[\"a\",\"b\"]") "," T("source", "ne", "\"a\"")), 0},
        {ALL(T("source", "ne", "\"a\"") ",{\"field\":\"source\",\"op\":\"blank\"}"), RULE_FINDING_CONTRADICTION},
        {ALL(NOT(T("source", "eq", "\"a\"")) ",{\"field\":\"source\",\"op\":\"blank\"}"), 0},
        {ALL(T("attributes.n", "gt", "5") "," T("attributes.n", "lt", "5")), RULE_FINDING_CONTRADICTION},
        {ALL(T("attributes.n", "gte", "5") "," T("attributes.n", "lte", "5")), 0},
        {ALL(T("attributes.n", "gt", "5") "," T("attributes.n", "lt", "5.1")), 0},
        {ALL(T("attributes.n", "eq", "5") "," T("attributes.n", "ne", "\"5\"")), 0}, /* "5.0" */
        {ALL(T("attributes.n", "gt", "5") "," T("attributes.n", "eq", "\"five\"")), RULE_FINDING_CONTRADICTION},
        {ALL(T("city", "in_set", "\"colours\"") "," T("city", "not_in", "[\"red\",\"green\"]")),
            RULE_FINDING_CONTRADICTION},
        {ALL(T("city", "in_set", "\"colours\"") "," T("city", "ne", "\"red\"")), 0},
        {ALL(T("city", "eq", "\"red\"") ",{\"field\":\"city\",\"op\":\"ne\",\"value\":\"red\",\"case\":true}"),
            RULE_FINDING_UNDECIDED}, /* "Red" does; no proof, no lead */
        {ALL(T("country", "eq", "\"Germany\"") "," T("country", "in", "[\"US\",\"IN\"]")), RULE_FINDING_CONTRADICTION},
        {"{\"us_states\":[\"CA\"],\"regions\":[\"West\"]}", 0},
        {"{\"us_states\":[\"CA\"],\"countries\":[\"US\"]}", 0},
        {"{\"us_states\":[\"CA\"],\"countries\":[\"DE\"]}", RULE_FINDING_UNDECIDED},
        {T("company_name", "regex", "\"^[0-9]{7}x$\""), RULE_FINDING_UNDECIDED},
        {T("company_name", "wildcard", "\"ac*me?\""), 0},
        {T("email.domain", "eq", "\"acme.example\""), 0},
        {T("phone.area_code", "in", "[\"212\"]"), 0},
        {T("created_at", "within_last", "{\"days\":2}"), 0},
        {T("created_at", "before", "\"2026-01-01\""), 0},
        {T("location", "within_radius", "{\"latitude\":1,\"longitude\":2,\"km\":3}"), 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rule_source rule = rule_of(1, 0, 1, rows[i].conditions);
        struct arena *arena = arena_new(0);
        size_t count = 0;
        struct rule_finding *findings = lint(&rule, 1, arena, &count);
        if (count != (rows[i].kind == 0 ? 0 : 1) || (count == 1 && findings[0].kind != rows[i].kind))
            fail_msg("%s: %zu findings, the first of kind %d", rows[i].conditions, count,
                count > 0 ? (int)findings[0].kind : 0);
        arena_free(arena);
    }
}

/* Two rules, the first of them asked first. */
static void test_pairs(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        bool is_equal; /* in priority */
        enum rule_finding_kind kind;
    } rows[] = {
        {"{}", T("source", "eq", "\"a\""), false, RULE_FINDING_SHADOWED}, {T("source", "eq", "\"a\""), "{}", false, 0},
        {T("source", "in", "[\"a\",\"b\"]"), T("source", "eq", "\"B\""), false, RULE_FINDING_SHADOWED},
        {T("source", "in", "[\"a\",\"b\"]"), T("source", "in", "[\"b\",\"c\"]"), false, 0},
        {T("source", "in", "[\"a\",\"b\"]"), T("source", "in", "[\"b\",\"c\"]"), true, RULE_FINDING_OVERLAP},
        {T("source", "eq", "\"a\""), T("source", "eq", "\"b\""), true, 0},
        {T("source", "eq", "\"a\""), T("city", "eq", "\"b\""), true, RULE_FINDING_OVERLAP},
        {T("attributes.n", "gte", "10"), T("attributes.n", "between", "[10,20]"), false, RULE_FINDING_SHADOWED},
        {T("attributes.n", "gt", "10"), T("attributes.n", "between", "[10,20]"), false, 0},
        {NOT(T("source", "eq", "\"a\"")), T("source", "eq", "\"b\""), false, RULE_FINDING_SHADOWED},
        {"{\"any\":[" T("source", "eq", "\"a\"") "," T("city", "eq", "\"x\"") "]}",
            ALL(T("city", "eq", "\"x\"") "," T("source", "eq", "\"q\"")), false, RULE_FINDING_SHADOWED},
        {T("city", "in_set", "\"colours\""), T("city", "eq", "\"red\""), false, RULE_FINDING_SHADOWED},
        {"{\"countries\":[\"US\",\"DE\"]}", T("country", "eq", "\"germany\""), false, RULE_FINDING_SHADOWED},
        {T("company_name", "contains", "\"a\""), T("company_name", "contains", "\"abc\""), false,
            0}, /* true, not proven */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rule_source rules[] = {
            rule_of(1, rows[i].is_equal ? 0 : 1, 1, rows[i].first), rule_of(2, 0, 2, rows[i].second)};
        struct arena *arena = arena_new(0);
        size_t count = 0;
        struct rule_finding *findings = lint(rules, 2, arena, &count);
        if (count != (rows[i].kind == 0 ? 0 : 1) || (count == 1 && findings[0].kind != rows[i].kind))
            fail_msg("%s then %s: %zu findings, the first of kind %d", rows[i].first, rows[i].second, count,
                count > 0 ? (int)findings[0].kind : 0);
        if (count == 1) {
            assert_ptr_equal(findings[0].rule, &rules[1]);
            assert_ptr_equal(findings[0].other, &rules[0]);
            assert_non_null(findings[0].witness);
        }
        arena_free(arena);
    }
}

static void test_destination_inactive(void **state)
{
    struct rule_source rules[] = {rule_of(1, 1, 1, "{}"), rule_of(2, 0, 2, T("source", "eq", "\"a\""))};
    struct arena *arena = arena_new(0);
    size_t count = 0;
    struct rule_finding *findings = NULL;

    (void)state;
    rules[0].destination_is_active = false;
    findings = lint(rules, 2, arena, &count);
    assert_int_equal(count, 1); /* the second is not shadowed: the first is passed over */
    assert_int_equal(findings[0].kind, RULE_FINDING_DESTINATION_INACTIVE);
    arena_free(arena);
}

static void test_witness(void **state)
{
    struct rule_source rules[] = {rule_of(1, 0, 1, ALL(T("source", "eq", "\"csv\"") "," T("attributes.n", "gt", "5"))),
        rule_of(2, 0, 2, "{\"countries\":[\"DE\"]}")};
    struct arena *arena = arena_new(0);
    size_t count = 0;
    struct rule_finding *findings = lint(rules, 2, arena, &count);

    (void)state;
    assert_int_equal(count, 1);
    assert_string_equal(findings[0].witness, "{\"source\":\"csv\",\"country\":\"DE\",\"attributes\":{\"n\":\"11\"}}");
    arena_free(arena);
}

/* A thousand rules that have nothing to do with one another, and 50 that were planted among them: each is found, and nothing else. */
static void test_planted(void **state)
{
    enum { RULES = 1000, PLANTED = 50 };
    struct arena *arena = arena_new(1 << 20);
    struct rule_source *rules = arena_alloc_array(arena, RULES + PLANTED, sizeof(*rules));
    enum rule_finding_kind expected[RULES + PLANTED] = {0};
    size_t count = RULES;
    size_t found = 0;
    struct rule_finding *findings = NULL;

    (void)state;
    for (unsigned i = 0; i < RULES; i++)
        rules[i] = rule_of(i, 10, 1 + i % 7,
            arena_format(arena,
                ALL(T("company_industry", "in", "[\"industry %u\",\"branch %u\"]") "," T(
                    "attributes.score", "gte", "%u") ",{\"countries\":[\"US\",\"DE\"]}"),
                i, i, i % 50));
    for (unsigned i = 0; i < PLANTED; i++) {
        unsigned target = i * 20;
        const char *conditions = NULL;
        int32_t priority = 5;
        switch (i % 3) {
        case 0: /* narrower, and asked later */
            conditions = arena_format(arena,
                ALL(T("company_industry", "eq", "\"INDUSTRY %u\"") "," T("attributes.score", "gt", "%u") "," T(
                    "country", "eq", "\"germany\"")),
                target, target % 50 + 1);
            expected[count] = RULE_FINDING_SHADOWED;
            break;
        case 1: /* of one priority, to somebody else */
            conditions = arena_format(
                arena, ALL(T("company_industry", "eq", "\"branch %u\"") "," T("source", "eq", "\"planted\"")), target);
            priority = 10;
            expected[count] = RULE_FINDING_OVERLAP;
            break;
        default: /* never */
            conditions = arena_format(arena,
                ALL(T("company_industry", "eq", "\"x %u\"") "," T("attributes.score", "lt", "3") "," T(
                    "attributes.score", "gt", "4")),
                target);
            expected[count] = RULE_FINDING_CONTRADICTION;
        }
        rules[count] = rule_of((unsigned)count, priority, 200, conditions);
        count++;
    }
    findings = lint(rules, count, arena, &found);
    for (size_t i = 0; i < found; i++) {
        size_t index = (size_t)(findings[i].rule - rules);
        if (expected[index] != findings[i].kind)
            fail_msg("rule %zu: kind %d: %s", index, (int)findings[i].kind, rules[index].conditions_json);
        expected[index] = 0;
    }
    assert_int_equal(found, PLANTED);
    arena_free(arena);
}

static void test_bad_rules(void **state)
{
    struct rule_source rule = rule_of(1, 0, 1, "{\"nothing\":[]}");
    const struct rule_set_source source = {.policy = &policy, .rules = &rule, .rule_count = 1};
    struct arena *arena = arena_new(0);
    struct rule_finding *findings = NULL;
    struct error error = {0};
    size_t count = 0;

    (void)state;
    assert_false(rule_lint(&source, arena, &findings, &count, &error));
    assert_string_equal(error.text, "rule 00000000-0000-0000-0000-000000000001: $.nothing: unknown condition");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_destination_inactive),
        cmocka_unit_test(test_witness),
        cmocka_unit_test(test_planted),
        cmocka_unit_test(test_bad_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
