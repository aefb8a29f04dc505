/* Any bytes as a lead, matched against rules of every operator. A tab parts the columns; the last one is the attributes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "rules/explain.h"
#include "rules/rules.h"

#define T(field, op, value) "{\"field\":\"" field "\",\"op\":\"" op "\",\"value\":" value "}"

static const char *const conditions[] = {
    T("source", "regex", "\"^(a|b)*c$\""),
    T("city", "wildcard", "\"*a?b*\""),
    "{\"all\":[{\"us_states\":[\"CA\"]},{\"regions\":[\"West\"]}]}",
    T("email.domain", "in_set", "\"s\""),
    "{\"field\":\"email\",\"op\":\"valid\"}",
    T("phone.area_code", "eq", "\"212\""),
    T("location", "within_radius", "{\"latitude\":1,\"longitude\":2,\"km\":300}"),
    T("attributes.x", "between", "[1,2]"),
    T("attributes.day", "within_last", "{\"days\":3}"),
    T("attributes.x", "gt", "{\"field\":\"attributes.y\"}"),
    T("postal_code", "postal_prefix_in", "[\"10\"]"),
    "{\"not\":" T("country", "ne", "\"India\"") "}",
    T("last_name", "eq",
        "\"stra\xc3\x9f"
        "e\""),
    T("source", "contains", "{\"field\":\"city\"}"),
};
static const char *const values[] = {"red", "acme.example"};
static const struct rule_named_set sets[] = {{"s", values, COUNT_OF(values)}};
static const struct rule_policy policy = {.dedupe_days = 90};

/* The rules, compiled once. */
static struct rule_set *rules(struct rule_set_source *ret_source)
{
    static struct rule_source sources[COUNT_OF(conditions)];
    static struct rule_set *set;
    const struct rule_set_source source = {.policy = &policy,
        .rules = sources,
        .rule_count = COUNT_OF(conditions),
        .sets = sets,
        .set_count = COUNT_OF(sets)};

    for (size_t i = 0; set == NULL && i < COUNT_OF(conditions); i++)
        sources[i] = (struct rule_source){.id = {{[15] = (uint8_t)(i + 1)}},
            .name = "r",
            .priority = -(int32_t)i,
            .conditions_json = conditions[i],
            .destination_is_active = true};
    if (set == NULL) {
        bool ok = rule_set_compile(&source, &set, NULL);
        assert(ok);
    }
    *ret_source = source;
    return set;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rule_set_source source;
    const struct rule_set *set = rules(&source);
    char *text = memory_new(size + 1);
    struct rule_lead lead = {.created_at_us = 1, .now_us = 1000000};
    const char **const columns[] = {&lead.source, &lead.city, &lead.country, &lead.state, &lead.email, &lead.phone,
        &lead.postal_code, &lead.last_name, &lead.attributes_json};
    struct rule_explanation *explanations = NULL;
    struct arena *arena = arena_new(0);
    struct rule_match match;
    char *next = text;
    bool is_taken = false;
    size_t first = 0;

    memcpy(text, data, size);
    for (size_t i = 0; i < COUNT_OF(columns) && next != NULL; i++)
        *columns[i] = i + 1 == COUNT_OF(columns) ? next : strsep(&next, "\t");
    is_taken = rule_set_match(set, &lead, &match);
    bool ok = rule_explain(&source, &lead, false, arena, &explanations, NULL);
    assert(ok);
    while (first < COUNT_OF(conditions) && explanations[first].verdict != RULE_VERDICT_MATCHED)
        first++;
    assert(is_taken == (first < COUNT_OF(conditions)) && (!is_taken || match.rule_id.bytes[15] == first + 1));
    arena_free(arena);
    free(text);
    return 0;
}
