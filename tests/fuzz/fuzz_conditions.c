/* Any bytes as the conditions of a rule: refused with a text, or read; what was read is explained and examined as well. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "rules/explain.h"
#include "rules/lint.h"
#include "rules/rules.h"

static const char *const values[] = {"red", "10", "California"};
static const struct rule_named_set sets[] = {{"s", values, COUNT_OF(values)}};
static const struct rule_policy policy = {.dedupe_days = 90, .default_country = "US"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *json = memory_new(size + 1);
    struct rule_source rule = {.name = "r", .conditions_json = json, .destination_is_active = true};
    const struct rule_set_source source = {
        .policy = &policy, .rules = &rule, .rule_count = 1, .sets = sets, .set_count = COUNT_OF(sets)};
    const struct rule_lead lead = {
        .source = "red", .city = "a", .country = "US", .state = "CA", .attributes_json = "{\"x\":1}", .now_us = 1};
    struct rule_explanation *explanations = NULL;
    struct rule_finding *findings = NULL;
    struct rule_set *set = NULL;
    struct error error = {0};
    size_t count = 0;

    memcpy(json, data, size);
    if (!rule_set_compile(&source, &set, &error)) {
        assert(error.code == ERROR_INVALID && error.text[0] != '\0');
    } else {
        struct arena *arena = arena_new(0);
        struct rule_match match;
        bool is_taken = rule_set_match(set, &lead, &match);
        bool ok = rule_explain(&source, &lead, false, arena, &explanations, NULL) &&
                  rule_lint(&source, arena, &findings, &count, NULL);
        /* The index, the tree and the analysis agree. */
        assert(ok && is_taken == (explanations[0].verdict == RULE_VERDICT_MATCHED));
        assert(!is_taken || count == 0 || findings[0].kind != RULE_FINDING_CONTRADICTION);
        arena_free(arena);
        rule_set_unref(set);
    }
    free(json);
    return 0;
}
