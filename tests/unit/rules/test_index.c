/* Goal: the index gives the rule that walking all trees in order gives, whatever the rules and leads are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/random.h"
#include "rules/conditions.h"
#include "rules/evaluate.h"
#include "rules/facts.h"
#include "rules/index.h"
#include "rules/rules.h"
#include "rules/value_sets.h"

enum { ROUNDS = 400, RULES_MAX = 40, LEADS = 100, DEPTH_MAX = 4, JSON_SIZE_MAX = 64 * 1024 };

static const char *const words[] = {"red", "Blue", "GREEN", "10", "20", "30.5", "", " red ", "x"};
static const char *const countries[] = {"US", "usa", "India", "356", "Atlantis", "", "DE"};
static const char *const states[] = {"CA", "new york", "TX", "Old York", ""};
static const char *const set_values[] = {"red", "10", "india"};
static const struct rule_named_set sets[] = {{"s", set_values, COUNT_OF(set_values)}, {"empty", NULL, 0}};
static const struct rule_policy policies[] = {{.dedupe_days = 90}, {.dedupe_days = 90, .default_country = "US"}};

static const char *pick(struct random_sequence *random, const char *const *from, size_t count)
{
    return from[random_below(random, count)];
}

#define PICK(random, from) pick(random, from, COUNT_OF(from))

/* A test that is valid, of any kind that the index knows, and of some that it does not. */
static void append_test(struct random_sequence *random, struct buffer *json)
{
    static const char *const fields[] = {"source", "city", "company_industry", "attributes.n", "attributes.w"};
    static const char *const values[] = {"\"red\"", "\"blue\"", "10", "20", "30.5", "\"x\"", "{\"field\":\"city\"}"};
    static const char *const equal[] = {"eq", "ne"};
    static const char *const order[] = {"gt", "gte", "lt", "lte"};
    static const char *const lists[] = {"[\"red\",\"green\"]", "[\"x\",\"10\"]", "[10,20]", "[30.5]"};
    static const char *const in[] = {"in", "not_in"};
    static const char *const in_set[] = {"in_set", "not_in_set"};
    static const char *const alone[] = {"present", "blank"};
    static const char *const where[] = {"country", "state", "us_state", "region", "source"};
    static const char *const place_tests[] = {
        "\"field\":\"country\",\"op\":\"in\",\"value\":[\"US\",\"IN\"]",
        "\"field\":\"country\",\"op\":\"ne\",\"value\":\"India\"",
        "\"field\":\"country\",\"op\":\"in_set\",\"value\":\"s\"",
        "\"field\":\"us_state\",\"op\":\"in\",\"value\":[\"CA\",\"NY\"]",
        "\"field\":\"region\",\"op\":\"not_in\",\"value\":[\"West\"]",
        "\"field\":\"state\",\"op\":\"eq\",\"value\":\"California\"",
        "\"field\":\"location\",\"op\":\"within_radius\",\"value\":{\"latitude\":10,\"longitude\":20,\"km\":900}",
        "\"field\":\"location\",\"op\":\"within_radius\",\"value\":{\"latitude\":80,\"longitude\":179,\"km\":2000}",
        "\"field\":\"attributes.n\",\"op\":\"between\",\"value\":[10,20]",
        "\"field\":\"attributes.n\",\"op\":\"not_between\",\"value\":[10,20]",
        "\"field\":\"city\",\"op\":\"contains\",\"value\":\"e\"",
        "\"field\":\"city\",\"op\":\"eq\",\"value\":\"red\",\"case\":true",
    };

    buffer_append_string(json, "{");
    switch (random_below(random, 6)) {
    case 0:
        buffer_append_format(json, "\"field\":\"%s\",\"op\":\"%s\",\"value\":%s", PICK(random, fields),
            PICK(random, equal), PICK(random, values));
        break;
    case 1:
        buffer_append_format(json, "\"field\":\"%s\",\"op\":\"%s\",\"value\":%s", PICK(random, fields),
            PICK(random, order), PICK(random, values));
        break;
    case 2:
        buffer_append_format(json, "\"field\":\"%s\",\"op\":\"%s\",\"value\":%s", PICK(random, fields),
            PICK(random, in), PICK(random, lists));
        break;
    case 3:
        buffer_append_format(json, "\"field\":\"%s\",\"op\":\"%s\",\"value\":\"%s\"", PICK(random, fields),
            PICK(random, in_set), random_below(random, 4) == 0 ? "empty" : "s");
        break;
    case 4:
        buffer_append_format(json, "\"field\":\"%s\",\"op\":\"%s\"", PICK(random, where), PICK(random, alone));
        break;
    default:
        buffer_append_string(json, PICK(random, place_tests));
    }
    buffer_append_string(json, "}");
}

static void append_condition(struct random_sequence *random, struct buffer *json, size_t depth)
{
    uint64_t kind = depth == 0 ? 0 : random_below(random, 6);

    if (kind < 3) {
        append_test(random, json);
    } else if (kind == 3) {
        buffer_append_string(json, "{\"not\":");
        append_condition(random, json, depth - 1);
        buffer_append_string(json, "}");
    } else {
        uint64_t count = random_below(random, 4);
        buffer_append_string(json, kind == 4 ? "{\"all\":[" : "{\"any\":[");
        for (uint64_t i = 0; i < count; i++) {
            if (i > 0)
                buffer_append_string(json, ",");
            append_condition(random, json, depth - 1);
        }
        buffer_append_string(json, "]}");
    }
}

/* What is made in one round; the texts of the rules, and a lead's attributes. */
struct round {
    struct arena *arena;
    struct rule_source *rules;
    size_t rule_count;
};

static void make_rules(struct random_sequence *random, struct round *round)
{
    struct buffer json = {0};

    buffer_init(&json, JSON_SIZE_MAX);
    round->rule_count = 1 + random_below(random, RULES_MAX);
    round->rules = arena_alloc_array(round->arena, round->rule_count, sizeof(*round->rules));
    for (size_t i = 0; i < round->rule_count; i++) {
        buffer_clear(&json);
        /* Most of them are hard to meet: the first one would take everything otherwise. */
        buffer_append_string(&json, "{\"all\":[");
        for (uint64_t k = random_below(random, 4); k > 0; k--) {
            append_test(random, &json);
            buffer_append_string(&json, ",");
        }
        append_condition(random, &json, random_below(random, DEPTH_MAX));
        buffer_append_string(&json, "]}");
        round->rules[i] = (struct rule_source){
            .id = {{[0] = (uint8_t)(i >> 8), [1] = (uint8_t)i}},
            .name = "r",
            .priority = -(int32_t)i,
            .conditions_json = arena_copy_string(round->arena, buffer_text(&json)),
            .destination_is_active = random_below(random, 10) != 0,
        };
    }
    buffer_release(&json);
}

static struct rule_lead make_lead(struct random_sequence *random, struct arena *arena)
{
    static const char *const numbers[] = {"10", "20", "30.5", "\"10\"", "\"x\"", "null", "15", "-1e3"};

    return (struct rule_lead){
        .source = PICK(random, words),
        .city = PICK(random, words),
        .company_industry = PICK(random, words),
        .country = PICK(random, countries),
        .state = PICK(random, states),
        .attributes_json =
            arena_format(arena, "{\"n\":%s,\"w\":\"%s\",\"latitude\":%d,\"longitude\":%d}", PICK(random, numbers),
                PICK(random, words), (int)random_below(random, 200) - 100, (int)random_below(random, 400) - 200),
        .now_us = 1,
    };
}

/* The first rule by walking all trees; the count of rules for none. */
static size_t first_by_trees(const struct round *round, const struct rule_condition *const *conditions,
    const struct rule_reader *reader, const struct rule_value_set *values, const struct rule_lead *lead,
    const struct rule_policy *policy)
{
    struct rule_facts facts;
    size_t first = round->rule_count;

    rule_facts_init(&facts, &reader->fields, values, lead, policy);
    for (size_t i = 0; i < round->rule_count && first == round->rule_count; i++) {
        if (round->rules[i].destination_is_active && rule_condition_holds(conditions[i], &facts))
            first = i;
    }
    rule_facts_release(&facts);
    return first;
}

static size_t first_by_index(const struct round *round, const struct rule_set *set, const struct rule_lead *lead)
{
    struct rule_match match;

    if (!rule_set_match(set, lead, &match))
        return round->rule_count;
    return (size_t)match.rule_id.bytes[0] << 8 | match.rule_id.bytes[1];
}

/* How many leads were taken. */
static size_t check_round(struct random_sequence *random, struct round *round)
{
    const struct rule_policy *policy = &policies[random_below(random, COUNT_OF(policies))];
    const struct rule_set_source source = {.policy = policy,
        .rules = round->rules,
        .rule_count = round->rule_count,
        .sets = sets,
        .set_count = COUNT_OF(sets)};
    const struct rule_condition **conditions = arena_alloc_array(round->arena, round->rule_count, sizeof(*conditions));
    struct rule_reader reader = {.arena = round->arena};
    struct rule_value_set *values = NULL;
    struct rule_set *set = NULL;
    struct error error = {0};
    size_t taken = 0;

    for (size_t i = 0; i < round->rule_count; i++) {
        if (!rule_conditions_parse(&reader, round->rules[i].conditions_json, &conditions[i], &error))
            fail_msg("%s: %s", round->rules[i].conditions_json, error.text);
    }
    assert_true(rule_value_sets_make(round->arena, &reader, sets, COUNT_OF(sets), &values, NULL));
    assert_true(rule_set_compile(&source, &set, NULL));
    for (size_t i = 0; i < LEADS; i++) {
        struct rule_lead lead = make_lead(random, round->arena);
        size_t expected = first_by_trees(round, conditions, &reader, values, &lead, policy);
        size_t found = first_by_index(round, set, &lead);
        if (found != expected)
            fail_msg("index %zu, trees %zu of %zu: source '%s' city '%s' industry '%s' country '%s' state '%s' %s; %s",
                found, expected, round->rule_count, lead.source, lead.city, lead.company_industry, lead.country,
                lead.state, lead.attributes_json,
                round->rules[expected < round->rule_count ? expected : found].conditions_json);
        taken += found < round->rule_count ? 1 : 0;
    }
    rule_set_unref(set);
    rule_reader_release(&reader);
    return taken;
}

static void test_index_agrees_with_trees(void **state)
{
    const char *seed_text = getenv("LEADROUTER_TEST_SEED");
    struct random_sequence random = random_sequence_from(seed_text == NULL ? 7 : strtoull(seed_text, NULL, 10));
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        struct round round = {.arena = arena_new(0)};
        make_rules(&random, &round);
        taken += check_round(&random, &round);
        arena_free(round.arena);
    }
    /* Neither all nor none: the comparison has something to compare. */
    assert_in_range(taken, (size_t)ROUNDS * LEADS / 20, (size_t)ROUNDS * LEADS * 19 / 20);
}

/* More alternatives than the index takes in, and more dimensions: it gives candidates, and the trees decide. */
static void test_wide_rules(void **state)
{
    struct buffer json = {0};
    struct rule_source rules[100];
    const struct rule_set_source source = {.policy = &policies[0], .rules = rules, .rule_count = COUNT_OF(rules)};
    struct rule_lead lead = {.attributes_json = "{\"a7\": 7, \"b7\": 7, \"z99\": 1}"};
    struct rule_set *set = NULL;
    struct rule_match match;
    struct arena *arena = arena_new(0);

    (void)state;
    buffer_init(&json, JSON_SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        buffer_clear(&json);
        buffer_append_string(&json, "{\"all\":[");
        for (int part = 0; part < 2; part++) {
            buffer_append_string(&json, part == 0 ? "{\"any\":[" : ",{\"any\":[");
            for (int k = 0; k < 12; k++)
                buffer_append_format(&json, "%s{\"field\":\"attributes.%c%d\",\"op\":\"eq\",\"value\":7}",
                    k == 0 ? "" : ",", part == 0 ? 'a' : 'b', k);
            buffer_append_string(&json, "]}");
        }
        buffer_append_format(&json, ",{\"field\":\"attributes.z%zu\",\"op\":\"present\"}]}", i);
        rules[i] = (struct rule_source){.id = {{[1] = (uint8_t)i}},
            .name = "r",
            .priority = -(int32_t)i,
            .conditions_json = arena_copy_string(arena, buffer_text(&json)),
            .destination_is_active = true};
    }
    assert_true(rule_set_compile(&source, &set, NULL));
    assert_true(rule_set_match(set, &lead, &match));
    assert_int_equal(match.rule_id.bytes[1], 99);
    lead.attributes_json = "{\"a7\": 7, \"b7\": 8, \"z99\": 1}";
    assert_false(rule_set_match(set, &lead, &match));
    rule_set_unref(set);
    arena_free(arena);
    buffer_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_agrees_with_trees),
        cmocka_unit_test(test_wide_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
