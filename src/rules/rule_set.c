#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "base/text.h"
#include "rules/conditions.h"
#include "rules/rules.h"

enum {
    SET_VALUES_MAX = 1000000, /* values in all rules of a workspace */
    STACK_TEXT_SIZE = 256,    /* a lead's field up to this length is folded on the stack */
};

/* The number of a value that no rule names, or of a field that is missing: equal to none. */
#define VALUE_NONE UINT32_MAX

/* Numbers of values, ascending, in `numbers` of the set. None: no restriction. */
struct number_list {
    uint32_t first;
    uint32_t count;
};

struct compiled_rule {
    struct uuid id;
    struct uuid destination_workspace_id;
    char *name;
    struct number_list lists[RULE_FIELD_COUNT];
    place_states states;
    bool restricts_states;
    bool destination_is_active;
};

/* Written by rule_set_compile(), then only read; but for the count of references. */
struct rule_set {
    atomic_size_t references;
    struct uuid workspace_id;
    int64_t version;
    struct rule_policy policy;

    struct compiled_rule *rules; /* in match order */
    size_t rule_count;
    uint32_t *numbers;

    /* Every value that a rule names, once per field; sorted by field, then by bytes. Its index is its number. */
    struct rule_value *values;
    uint32_t field_first[RULE_FIELD_COUNT + 1]; /* where each field's values begin, and the end */
    char *value_bytes;
    bool restricts_states; /* some rule does */
};

/* What the rules can see of one lead. */
struct facts {
    uint32_t numbers[RULE_FIELD_COUNT];
    place_states state; /* a set of one, or none: missing, unknown, or the country is not the US */
};

/* One mention of a value by a rule, while compiling. */
struct mention {
    struct rule_value value;
    uint32_t rule;
    uint32_t number;
    enum rule_field field;
};

static int compare_bytes(const struct rule_value *left, const struct rule_value *right)
{
    size_t shorter = left->size < right->size ? left->size : right->size;
    int order = memcmp(left->text, right->text, shorter);
    return order != 0 ? order : (left->size > right->size) - (left->size < right->size);
}

static int compare_mentions_by_value(const void *left, const void *right)
{
    const struct mention *a = left;
    const struct mention *b = right;
    int order = (a->field > b->field) - (a->field < b->field);
    return order != 0 ? order : compare_bytes(&a->value, &b->value);
}

/* Numbers ascend with fields, so that this groups by rule and field. */
static int compare_mentions_by_rule(const void *left, const void *right)
{
    const struct mention *a = left;
    const struct mention *b = right;
    int order = (a->rule > b->rule) - (a->rule < b->rule);
    return order != 0 ? order : (a->number > b->number) - (a->number < b->number);
}

/* Match order: priority descending, then created_at, then id. */
static int compare_sources(const void *left, const void *right)
{
    const struct rule_source *a = *(const struct rule_source *const *)left;
    const struct rule_source *b = *(const struct rule_source *const *)right;
    if (a->priority != b->priority) {
        return a->priority > b->priority ? -1 : 1;
    }
    if (a->created_at_us != b->created_at_us) {
        return a->created_at_us < b->created_at_us ? -1 : 1;
    }
    return uuid_compare(&a->id, &b->id);
}

static void rule_set_free(struct rule_set *set)
{
    if (set == NULL) {
        return;
    }
    for (size_t i = 0; set->rules != NULL && i < set->rule_count; i++) {
        free(set->rules[i].name);
    }
    free(set->rules);
    free(set->numbers);
    free(set->values);
    free(set->value_bytes);
    free(set);
}

/* The mentions of all rules while they are collected. */
struct mentions {
    struct mention *items;
    size_t count;
    size_t capacity;
};

static void mentions_add(struct mentions *mentions, const struct rule_conditions *conditions, uint32_t rule)
{
    for (enum rule_field field = 0; field < RULE_FIELD_COUNT; field++) {
        size_t needed = mentions->count + conditions->value_counts[field];
        if (needed > mentions->capacity) {
            mentions->capacity = needed > 2 * mentions->capacity ? needed : 2 * mentions->capacity;
            mentions->items = memory_resize(mentions->items, mentions->capacity, sizeof(*mentions->items));
        }
        for (size_t i = 0; i < conditions->value_counts[field]; i++) {
            mentions->items[mentions->count++] =
                (struct mention){.value = conditions->values[field][i], .rule = rule, .field = field};
        }
    }
}

/* Reads every rule in match order; their values stay in `arena`. */
static bool read_rules(struct rule_set *set, const struct rule_source *const *sources, struct arena *arena,
    struct mentions *mentions, struct error *reterr_error)
{
    char id[UUID_TEXT_SIZE];
    for (size_t i = 0; i < set->rule_count; i++) {
        const struct rule_source *source = sources[i];
        struct compiled_rule *rule = &set->rules[i];
        struct rule_conditions conditions;
        if (!rule_conditions_parse(source->conditions_json, arena, &conditions, reterr_error)) {
            return error_add_context(reterr_error, "rule %s", uuid_format(&source->id, id));
        }
        mentions_add(mentions, &conditions, (uint32_t)i);
        if (mentions->count > SET_VALUES_MAX) {
            return error_set(reterr_error, ERROR_INVALID, "rule %s: more than %d values in the rules of the workspace",
                uuid_format(&source->id, id), SET_VALUES_MAX);
        }
        rule->id = source->id;
        rule->destination_workspace_id = source->destination_workspace_id;
        rule->destination_is_active = source->destination_is_active;
        rule->name = memory_copy_string(source->name == NULL ? "" : source->name);
        rule->states = conditions.states;
        rule->restricts_states = conditions.restricts_states;
        set->restricts_states |= conditions.restricts_states;
    }
    return true;
}

/* Gives equal values of a field one number and keeps their bytes in the set. */
static void number_values(struct rule_set *set, struct mentions *mentions)
{
    size_t byte_count = 0;
    size_t byte_next = 0;
    uint32_t value_count = 0;
    enum rule_field field = 0;

    if (mentions->count > 0) {
        qsort(mentions->items, mentions->count, sizeof(*mentions->items), compare_mentions_by_value);
    }
    for (size_t i = 0; i < mentions->count; i++) {
        byte_count += mentions->items[i].value.size;
    }
    set->values = memory_new_array(mentions->count, sizeof(*set->values));
    set->value_bytes = memory_new(byte_count);
    for (size_t i = 0; i < mentions->count; i++) {
        struct mention *mention = &mentions->items[i];
        if (i == 0 || compare_mentions_by_value(mention - 1, mention) != 0) {
            while (field < mention->field) {
                set->field_first[++field] = value_count;
            }
            char *text = set->value_bytes + byte_next;
            memcpy(text, mention->value.text, mention->value.size);
            byte_next += mention->value.size;
            set->values[value_count++] = (struct rule_value){text, mention->value.size};
        }
        mention->number = value_count - 1;
    }
    while (field < RULE_FIELD_COUNT) {
        set->field_first[++field] = value_count;
    }
    assert(byte_next <= byte_count && value_count <= mentions->count);
}

/* Writes each rule's lists of numbers, ascending and without repetition. */
static void write_lists(struct rule_set *set, struct mentions *mentions)
{
    uint32_t next = 0;
    if (mentions->count > 0) {
        qsort(mentions->items, mentions->count, sizeof(*mentions->items), compare_mentions_by_rule);
    }
    set->numbers = memory_new_array(mentions->count, sizeof(*set->numbers));
    for (size_t i = 0; i < mentions->count; i++) {
        const struct mention *mention = &mentions->items[i];
        if (i > 0 && compare_mentions_by_rule(mention - 1, mention) == 0) {
            continue;
        }
        struct number_list *list = &set->rules[mention->rule].lists[mention->field];
        if (list->count == 0) {
            list->first = next;
        }
        assert(list->first + list->count == next);
        set->numbers[next++] = mention->number;
        list->count++;
    }
}

bool rule_set_compile(const struct uuid *workspace_id, int64_t version, const struct rule_policy *policy,
    const struct rule_source *rules, size_t rule_count, struct rule_set **ret_set, struct error *reterr_error)
{
    const struct rule_source **sources = NULL;
    struct rule_set *set = NULL;
    struct arena *arena = NULL;
    struct mentions mentions = {0};
    bool ok = false;

    assert(rule_count < VALUE_NONE);
    arena = arena_new(0);
    sources = memory_new_array(rule_count, sizeof(*sources));
    for (size_t i = 0; i < rule_count; i++) {
        sources[i] = &rules[i];
    }
    qsort(sources, rule_count, sizeof(*sources), compare_sources);
    set = memory_new(sizeof(*set));
    atomic_init(&set->references, 1);
    set->workspace_id = *workspace_id;
    set->version = version;
    set->policy = *policy;
    set->rules = memory_new_array(rule_count, sizeof(*set->rules));
    set->rule_count = rule_count;
    if (!read_rules(set, sources, arena, &mentions, reterr_error)) {
        goto cleanup;
    }
    number_values(set, &mentions);
    write_lists(set, &mentions);
    *ret_set = set;
    set = NULL;
    ok = true;
cleanup:
    rule_set_free(set);
    free(mentions.items);
    free(sources);
    arena_free(arena);
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
    if (set == NULL) {
        return;
    }
    /* Release, so that other threads' reads are over before the last holder, who acquires, frees. */
    size_t before = atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) {
        rule_set_free(set);
    }
}

int64_t rule_set_version(const struct rule_set *set)
{
    return set->version;
}

size_t rule_set_count(const struct rule_set *set)
{
    return set->rule_count;
}

const struct rule_policy *rule_set_policy(const struct rule_set *set)
{
    return &set->policy;
}

/* The number of a value in one field, or VALUE_NONE. */
static uint32_t find_number(const struct rule_set *set, enum rule_field field, const struct rule_value *value)
{
    uint32_t low = set->field_first[field];
    uint32_t high = set->field_first[field + 1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_bytes(&set->values[middle], value);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return VALUE_NONE;
}

/* A lead's text made comparable; on the stack when it is short, as it is for ordinary leads. */
struct folded {
    char stack[RULE_VALUE_CAPACITY(STACK_TEXT_SIZE)];
    char *text;
    size_t size;
};

/* False when the field is missing; folded_release() is due in any case. */
static bool folded_init(struct folded *folded, enum rule_field field, const char *text)
{
    size_t size = text == NULL ? 0 : strlen(text);
    size_t capacity = sizeof(folded->stack);
    folded->text = folded->stack;
    folded->size = 0;
    if (size > STACK_TEXT_SIZE) {
        capacity = RULE_VALUE_CAPACITY(size);
        folded->text = memory_new(capacity);
    }
    return rule_value_make(field, text == NULL ? "" : text, size, folded->text, capacity, &folded->size);
}

static void folded_release(struct folded *folded)
{
    if (folded->text != folded->stack) {
        free(folded->text);
    }
}

static uint32_t text_number(const struct rule_set *set, enum rule_field field, const char *text)
{
    struct folded folded;
    uint32_t number = VALUE_NONE;
    if (set->field_first[field] == set->field_first[field + 1]) {
        return VALUE_NONE; /* no rule asks */
    }
    if (folded_init(&folded, field, text)) {
        struct rule_value value = {folded.text, folded.size};
        number = find_number(set, field, &value);
    }
    folded_release(&folded);
    return number;
}

/* The state that us_states and regions compare: only of leads whose country is the US or missing. */
static place_states us_state(const char *country, const char *state)
{
    struct folded folded;
    place_states found = 0;
    bool has_country = folded_init(&folded, RULE_FIELD_COUNTRY, country);
    bool is_us = !has_country ? text_is_blank(country) : strcmp(folded.text, "US") == 0;
    folded_release(&folded);
    if (!is_us) {
        return 0;
    }
    /* Any field but the country is folded as plain text. */
    if (folded_init(&folded, RULE_FIELD_COUNT, state)) {
        found = place_state(folded.text);
    }
    folded_release(&folded);
    return found;
}

static void facts_init(struct facts *facts, const struct rule_set *set, const struct rule_lead *lead)
{
    const char *country = lead->country;
    if (text_is_blank(country) && set->policy.default_country[0] != '\0') {
        country = set->policy.default_country;
    }
    facts->numbers[RULE_FIELD_INDUSTRY] = text_number(set, RULE_FIELD_INDUSTRY, lead->company_industry);
    facts->numbers[RULE_FIELD_SIZE] = text_number(set, RULE_FIELD_SIZE, lead->company_size);
    facts->numbers[RULE_FIELD_REVENUE] = text_number(set, RULE_FIELD_REVENUE, lead->company_revenue);
    facts->numbers[RULE_FIELD_COUNTRY] = text_number(set, RULE_FIELD_COUNTRY, country);
    facts->state = set->restricts_states ? us_state(country, lead->state) : 0;
}

static bool list_contains(const struct rule_set *set, const struct number_list *list, uint32_t number)
{
    const uint32_t *numbers = set->numbers + list->first;
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (numbers[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < list->count && numbers[low] == number;
}

static bool rule_takes(const struct rule_set *set, const struct compiled_rule *rule, const struct facts *facts)
{
    if (rule->restricts_states && (rule->states & facts->state) == 0) {
        return false;
    }
    for (enum rule_field field = 0; field < RULE_FIELD_COUNT; field++) {
        const struct number_list *list = &rule->lists[field];
        if (list->count > 0 && !list_contains(set, list, facts->numbers[field])) {
            return false;
        }
    }
    return true;
}

/* The seam for an index: it will give the candidates that are walked here one by one. */
static const struct compiled_rule *first_taker(const struct rule_set *set, const struct facts *facts)
{
    for (size_t i = 0; i < set->rule_count; i++) {
        const struct compiled_rule *rule = &set->rules[i];
        if (rule->destination_is_active && rule_takes(set, rule, facts)) {
            return rule;
        }
    }
    return NULL;
}

bool rule_set_match(const struct rule_set *set, const struct rule_lead *lead, struct rule_match *ret_match)
{
    struct facts facts;
    facts_init(&facts, set, lead);
    const struct compiled_rule *rule = first_taker(set, &facts);
    if (rule == NULL) {
        return false;
    }
    *ret_match = (struct rule_match){
        .rule_id = rule->id, .rule_name = rule->name, .destination_workspace_id = rule->destination_workspace_id};
    return true;
}
