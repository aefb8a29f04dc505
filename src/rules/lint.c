#include "rules/lint.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rules/conditions.h"
#include "rules/disjuncts.h"
#include "rules/evaluate.h"
#include "rules/facts.h"
#include "rules/lint_candidates.h"
#include "rules/value_sets.h"

/* The idea: tests of different parts of a lead do not know of each other, so a conjunction holds for some lead when each
 * part has a value that meets its tests. The values worth trying are finitely many: those that tests name, one between and
 * beyond them, one that nobody names, none at all. When all of them fail, and the tests are of a kind for which these are
 * all cases there are, the conjunction is empty: that is a proof. "R implies E" is "R and not E is empty". */

enum {
    FINDINGS_PER_RULE_MAX = 20, /* a rule that overlaps with hundreds is told so twenty times */
};

struct lint_rule {
    const struct rule_source *source;
    const struct rule_condition *condition;
    const struct rule_condition *opposite; /* not the condition */
    struct rule_disjuncts disjuncts;
    struct lint_witness witness; /* a lead that meets it */
    bool has_witness;
};

struct linter {
    const struct rule_set_source *source;
    struct arena *arena;
    struct rule_reader reader;
    struct rule_value_set *sets;
    struct lint_rule *rules; /* in match order */
    struct rule_finding *findings;
    size_t count;
    size_t capacity;
};

static struct lint_context context_of(const struct linter *linter)
{
    return (struct lint_context){&linter->reader.fields, linter->sets, linter->source->policy};
}

static void add(struct linter *linter, enum rule_finding_kind kind, const struct lint_rule *rule,
    const struct lint_rule *other, const struct lint_witness *witness)
{
    struct rule_finding *finding = NULL;

    if (linter->count == linter->capacity) {
        linter->capacity = 2 * linter->capacity + 64;
        linter->findings = memory_resize(linter->findings, linter->capacity, sizeof(*linter->findings));
    }
    finding = &linter->findings[linter->count++];
    *finding = (struct rule_finding){.kind = kind, .rule = rule->source, .other = other == NULL ? NULL : other->source};
    if (witness != NULL)
        finding->witness = lint_witness_json(witness, linter->arena);
}

static bool holds(
    const struct linter *linter, const struct rule_condition *condition, const struct lint_witness *witness)
{
    struct rule_facts facts;
    bool result = false;

    rule_facts_init(&facts, &linter->reader.fields, linter->sets, &witness->lead, linter->source->policy);
    result = rule_condition_holds(condition, &facts);
    rule_facts_release(&facts);
    return result;
}

/* Looks for a lead that meets both; `*ret_is_empty` is true when it is proven that there is none. */
static bool find_common(const struct linter *linter, const struct rule_disjuncts *left,
    const struct rule_disjuncts *right, struct lint_witness *ret_witness, bool *ret_is_empty)
{
    const struct lint_context context = context_of(linter);

    *ret_is_empty = true;
    for (size_t i = 0; i < left->count; i++) {
        for (size_t k = 0; k < right->count; k++) {
            enum lint_answer answer = LINT_EMPTY;
            if (lint_are_apart(&left->items[i], &right->items[k]))
                continue;
            answer = lint_search(&context, &left->items[i], &right->items[k], linter->arena, ret_witness);
            if (answer == LINT_FOUND) {
                *ret_is_empty = false;
                return true;
            }
            *ret_is_empty = *ret_is_empty && answer == LINT_EMPTY;
        }
    }
    return false;
}

/* What there is to say of one rule by itself. */
static void examine_rule(struct linter *linter, struct lint_rule *rule)
{
    static const struct rule_conjunction nothing_more = {0};
    static const struct rule_disjuncts always = {&nothing_more, 1};
    bool is_empty = false;

    rule->has_witness = find_common(linter, &rule->disjuncts, &always, &rule->witness, &is_empty) &&
                        holds(linter, rule->condition, &rule->witness);
    if (!rule->has_witness)
        add(linter, is_empty ? RULE_FINDING_CONTRADICTION : RULE_FINDING_UNDECIDED, rule, NULL, NULL);
    else if (!rule->source->destination_is_active)
        add(linter, RULE_FINDING_DESTINATION_INACTIVE, rule, NULL, &rule->witness);
}

/* True when every lead that meets `rule` is proven to meet `earlier`. */
static bool is_implied(struct linter *linter, const struct lint_rule *rule, const struct lint_rule *earlier)
{
    struct rule_disjuncts opposite;
    struct lint_witness witness;
    bool is_empty = false;

    opposite = rule_disjuncts_make(linter->arena, earlier->opposite);
    return !find_common(linter, &rule->disjuncts, &opposite, &witness, &is_empty) && is_empty;
}

/* Whether some lead meets both, and they disagree about it. `has_common`: the rule's own witness meets the earlier one. */
static bool is_overlap(struct linter *linter, const struct lint_rule *rule, const struct lint_rule *earlier,
    bool has_common, struct lint_witness *ret_witness)
{
    bool is_empty = false;

    if (rule->source->priority != earlier->source->priority ||
        uuid_equal(&rule->source->destination_workspace_id, &earlier->source->destination_workspace_id))
        return false;
    if (has_common) {
        *ret_witness = rule->witness;
        return true;
    }
    return find_common(linter, &rule->disjuncts, &earlier->disjuncts, ret_witness, &is_empty) &&
           holds(linter, rule->condition, ret_witness) && holds(linter, earlier->condition, ret_witness);
}

/* Which of the rules before it the witness of a rule meets. */
static void find_takers(const struct linter *linter, size_t index, bool *ret_takes)
{
    struct rule_facts facts;

    rule_facts_init(
        &facts, &linter->reader.fields, linter->sets, &linter->rules[index].witness.lead, linter->source->policy);
    for (size_t i = 0; i < index; i++) {
        const struct lint_rule *earlier = &linter->rules[i];
        ret_takes[i] = earlier->has_witness && earlier->source->destination_is_active &&
                       rule_condition_holds(earlier->condition, &facts);
    }
    rule_facts_release(&facts);
}

/* What there is to say of a rule and those before it. */
static void examine_pairs(struct linter *linter, size_t index, bool *takes)
{
    const struct lint_rule *rule = &linter->rules[index];
    struct lint_witness witness;
    size_t found = 0;

    find_takers(linter, index, takes);
    for (size_t i = 0; i < index; i++) {
        if (takes[i] && is_implied(linter, rule, &linter->rules[i])) {
            add(linter, RULE_FINDING_SHADOWED, rule, &linter->rules[i], &rule->witness);
            return; /* it never takes part: what it overlaps with does not matter */
        }
    }
    for (size_t i = 0; i < index && found < FINDINGS_PER_RULE_MAX; i++) {
        const struct lint_rule *earlier = &linter->rules[i];
        if (earlier->has_witness && earlier->source->destination_is_active &&
            is_overlap(linter, rule, earlier, takes[i], &witness)) {
            add(linter, RULE_FINDING_OVERLAP, rule, earlier, &witness);
            found++;
        }
    }
}

static int compare_rules(const void *left, const void *right)
{
    return rule_source_compare(((const struct lint_rule *)left)->source, ((const struct lint_rule *)right)->source);
}

static bool read_rules(struct linter *linter, struct error *reterr_error)
{
    const struct rule_set_source *source = linter->source;
    char id[UUID_TEXT_SIZE];

    linter->rules = arena_alloc_array(linter->arena, source->rule_count, sizeof(*linter->rules));
    for (size_t i = 0; i < source->rule_count; i++)
        linter->rules[i].source = &source->rules[i];
    if (source->rule_count > 0)
        qsort(linter->rules, source->rule_count, sizeof(*linter->rules), compare_rules);
    for (size_t i = 0; i < source->rule_count; i++) {
        struct lint_rule *rule = &linter->rules[i];
        struct rule_condition *opposite = arena_alloc(linter->arena, sizeof(*opposite));
        const struct rule_condition **items = arena_alloc(linter->arena, sizeof(struct rule_condition *));
        if (!rule_conditions_parse(&linter->reader, rule->source->conditions_json, &rule->condition, reterr_error))
            return error_add_context(reterr_error, "rule %s", uuid_format(&rule->source->id, id));
        items[0] = rule->condition;
        *opposite = (struct rule_condition){.kind = RULE_CONDITION_NOT, .items = items, .count = 1};
        rule->opposite = opposite;
        rule->disjuncts = rule_disjuncts_make(linter->arena, rule->condition);
    }
    return rule_value_sets_make(
        linter->arena, &linter->reader, source->sets, source->set_count, &linter->sets, reterr_error);
}

bool rule_lint(const struct rule_set_source *source, struct arena *arena, struct rule_finding **ret_findings,
    size_t *ret_count, struct error *reterr_error)
{
    struct linter linter = {.source = source, .arena = arena, .reader = {.arena = arena}};
    bool *takes = arena_alloc_array(arena, source->rule_count, sizeof(*takes));
    bool ok = read_rules(&linter, reterr_error);

    for (size_t i = 0; ok && i < source->rule_count; i++) {
        examine_rule(&linter, &linter.rules[i]);
        if (linter.rules[i].has_witness && linter.rules[i].source->destination_is_active)
            examine_pairs(&linter, i, takes);
    }
    if (ok) {
        *ret_findings = arena_alloc_array(arena, linter.count, sizeof(**ret_findings));
        if (linter.count > 0)
            memcpy(*ret_findings, linter.findings, linter.count * sizeof(**ret_findings));
        *ret_count = linter.count;
    }
    free(linter.findings);
    rule_reader_release(&linter.reader);
    return ok;
}

const char *rule_witness(
    const struct rule_set_source *source, const char *const *conditions_json, size_t count, struct arena *arena)
{
    static const struct rule_conjunction nothing_more = {0};
    static const struct rule_disjuncts always = {&nothing_more, 1};
    struct linter linter = {.source = source, .arena = arena, .reader = {.arena = arena}};
    const struct rule_condition **items = arena_alloc_array(arena, count, sizeof(*items));
    const struct rule_condition all = {.kind = RULE_CONDITION_ALL, .items = items, .count = count};
    struct rule_disjuncts disjuncts;
    struct lint_witness witness;
    const char *json = NULL;
    bool is_empty = false;
    bool ok = true;

    for (size_t i = 0; i < count && ok; i++)
        ok = rule_conditions_parse(&linter.reader, conditions_json[i], &items[i], NULL);
    if (ok && rule_value_sets_make(arena, &linter.reader, source->sets, source->set_count, &linter.sets, NULL)) {
        disjuncts = rule_disjuncts_make(arena, &all);
        if (find_common(&linter, &disjuncts, &always, &witness, &is_empty) && holds(&linter, &all, &witness))
            json = lint_witness_json(&witness, arena);
    }
    rule_reader_release(&linter.reader);
    return json;
}
