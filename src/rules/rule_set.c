#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "rules/conditions.h"
#include "rules/facts.h"
#include "rules/index.h"
#include "rules/record.h"
#include "rules/rules.h"
#include "rules/value_sets.h"

enum { SET_VALUES_MAX = 1000000 }; /* values in all rules of a workspace */

struct compiled_rule {
    struct uuid id;
    struct uuid destination_workspace_id;
    const char *name;
};

/* Written by rule_set_compile(), then only read; but for the count of references. */
struct rule_set {
    atomic_size_t references;
    struct uuid workspace_id;
    int64_t version;
    struct rule_policy policy;

    struct arena *arena;         /* names, trees, values */
    struct rule_reader reader;   /* fields and expressions of all rules */
    struct compiled_rule *rules; /* in match order */
    size_t rule_count;
    struct rule_value_set *sets;
    struct rule_index *index;
};

static int compare_sources(const void *left, const void *right)
{
    return rule_source_compare(*(const struct rule_source *const *)left, *(const struct rule_source *const *)right);
}

int rule_source_compare(const struct rule_source *left, const struct rule_source *right)
{
    if (left->priority != right->priority)
        return left->priority > right->priority ? -1 : 1;
    if (left->created_at_us != right->created_at_us)
        return left->created_at_us < right->created_at_us ? -1 : 1;
    return uuid_compare(&left->id, &right->id);
}

static void rule_set_free(struct rule_set *set)
{
    if (set == NULL)
        return;
    rule_index_free(set->index);
    rule_reader_release(&set->reader);
    arena_free(set->arena);
    free(set->rules);
    free(set);
}

static bool fail_rule(const struct rule_source *source, struct error *reterr_error)
{
    char id[UUID_TEXT_SIZE];

    return error_add_context(reterr_error, "rule %s", uuid_format(&source->id, id));
}

/* Reads the rules in match order; those that are passed over too, since bad conditions are bad all the same. */
static bool read_rules(struct rule_set *set, const struct rule_source *const *sources,
    struct rule_index_source *index_sources, struct error *reterr_error)
{
    for (size_t i = 0; i < set->rule_count; i++) {
        const struct rule_source *source = sources[i];
        const struct rule_condition *condition = NULL;
        set->rules[i] = (struct compiled_rule){
            .id = source->id,
            .destination_workspace_id = source->destination_workspace_id,
            .name = arena_copy_string(set->arena, source->name),
        };
        if (!rule_conditions_parse(&set->reader, source->conditions_json, &condition, reterr_error))
            return fail_rule(source, reterr_error);
        if (set->reader.value_count > SET_VALUES_MAX)
            return error_set(
                reterr_error, ERROR_INVALID, "more than %d values in the rules of one workspace", SET_VALUES_MAX);
        index_sources[i].condition = source->destination_is_active ? condition : NULL;
    }
    return true;
}

bool rule_set_compile(const struct rule_set_source *source, struct rule_set **ret_set, struct error *reterr_error)
{
    const struct rule_source **sources = memory_new_array(source->rule_count, sizeof(*sources));
    struct rule_index_source *index_sources = memory_new_array(source->rule_count, sizeof(*index_sources));
    struct rule_set *set = memory_new(sizeof(*set));
    bool ok = false;

    for (size_t i = 0; i < source->rule_count; i++)
        sources[i] = &source->rules[i];
    if (source->rule_count > 0)
        qsort(sources, source->rule_count, sizeof(*sources), compare_sources);
    atomic_init(&set->references, 1);
    set->workspace_id = source->workspace_id;
    set->version = source->version;
    set->policy = *source->policy;
    set->arena = arena_new(0);
    set->reader.arena = set->arena;
    set->rules = memory_new_array(source->rule_count, sizeof(*set->rules));
    set->rule_count = source->rule_count;
    if (!read_rules(set, sources, index_sources, reterr_error) ||
        !rule_value_sets_make(set->arena, &set->reader, source->sets, source->set_count, &set->sets, reterr_error))
        goto cleanup;
    set->index = rule_index_new(index_sources, set->rule_count, &set->reader.fields);
    *ret_set = set;
    set = NULL;
    ok = true;
cleanup:
    rule_set_free(set);
    free(index_sources);
    free(sources);
    return ok;
}

struct rule_set *rule_set_ref(struct rule_set *set)
{
    size_t before = atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);

    assert(before > 0);
    return set;
}

void rule_set_unref(struct rule_set *set)
{
    if (set == NULL)
        return;
    /* Release, so that other threads' reads are over before the last holder, who acquires, frees. */
    size_t before = atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        rule_set_free(set);
}

int64_t rule_set_version(const struct rule_set *set)
{
    return set->version;
}

const struct rule_policy *rule_set_policy(const struct rule_set *set)
{
    return &set->policy;
}

size_t rule_set_size(const struct rule_set *set)
{
    return sizeof(*set) + arena_size(set->arena) + set->rule_count * sizeof(*set->rules) + rule_index_size(set->index);
}

struct rule_needs rule_set_needs(const struct rule_set *set)
{
    static const bool is_basic[RULE_FIELD_COUNT] = {
        [RULE_FIELD_COMPANY_INDUSTRY] = true,
        [RULE_FIELD_COMPANY_SIZE] = true,
        [RULE_FIELD_COMPANY_REVENUE] = true,
        [RULE_FIELD_COUNTRY] = true,
        [RULE_FIELD_STATE] = true,
        [RULE_FIELD_US_STATE] = true,
        [RULE_FIELD_REGION] = true,
    };
    struct rule_needs needs = {0};

    for (size_t i = 0; i < set->reader.fields.count; i++) {
        enum rule_field field = set->reader.fields.items[i].field;
        if (field == RULE_FIELD_ATTRIBUTE || field == RULE_FIELD_LOCATION)
            needs.attributes = true;
        else if (!is_basic[field])
            needs.columns = true;
    }
    return needs;
}

bool rule_set_facts(const struct rule_set *set, const struct rule_lead *lead, struct buffer *ret_json)
{
    return rule_record_write(&set->reader.fields, lead, ret_json);
}

bool rule_set_match(const struct rule_set *set, const struct rule_lead *lead, struct rule_match *ret_match)
{
    struct rule_facts facts;
    size_t rule = 0;
    bool is_taken = false;

    rule_facts_init(&facts, &set->reader.fields, set->sets, lead, &set->policy);
    is_taken = rule_index_first(set->index, &facts, &rule);
    rule_facts_release(&facts);
    if (!is_taken)
        return false;
    *ret_match = (struct rule_match){
        .rule_id = set->rules[rule].id,
        .rule_name = set->rules[rule].name,
        .destination_workspace_id = set->rules[rule].destination_workspace_id,
    };
    return true;
}
