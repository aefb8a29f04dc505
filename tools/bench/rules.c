#include "rules.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "rules/conditions.h"
#include "rules/facts.h"
#include "rules/index.h"
#include "rules/rules.h"

enum {
    INDUSTRIES = 40,
    CITIES = 50,
    SIZES = 5,
    INDUSTRIES_PER_RULE = 3,
    CITIES_PER_RULE = 4,
    SIZES_PER_RULE = 2,
    SCORES = 100,
    LEADS = 2000,
    GROUP = 16,
    REPEATS = 4,
    TEXT_SIZE = 24,
    RUN_NS = 200 * 1000 * 1000,
    SEED = 20,
};

/* A rule in the three forms: what rule_set_compile() gets as text, folded strings, masks. */
struct sample_rule {
    const char *industries[INDUSTRIES_PER_RULE];
    const char *cities[CITIES_PER_RULE];
    const char *sizes[SIZES_PER_RULE];
    uint64_t industry_mask;
    uint64_t city_mask;
    uint64_t size_mask;
    double score_min;
};

struct sample_lead {
    struct rule_lead lead;
    const char *industry;
    const char *city;
    const char *size;
    uint64_t industry_bit;
    uint64_t city_bit;
    uint64_t size_bit;
    double score;
    struct rule_facts *facts;
};

struct sample {
    struct arena *arena;
    struct random_sequence random;
    char industries[INDUSTRIES][TEXT_SIZE];
    char cities[CITIES][TEXT_SIZE];
    char sizes[SIZES][TEXT_SIZE];
    struct sample_rule *rules;
    struct rule_source *sources;
    size_t rule_count;
    struct rule_reader
        reader; /* the same rules again, as what a set is made of: to match a lead that is folded already */
    struct rule_index *index;
    struct sample_lead matched[LEADS];
    struct sample_lead unmatched[LEADS];
};

static size_t below(struct sample *sample, size_t bound)
{
    return (size_t)random_below(&sample->random, bound);
}

/* `count` different ones of `total`, as a mask. */
static uint64_t choose(struct sample *sample, size_t count, size_t total)
{
    uint64_t mask = 0;

    while (count > 0) {
        uint64_t bit = UINT64_C(1) << below(sample, total);
        count -= (mask & bit) == 0 ? 1 : 0;
        mask |= bit;
    }
    return mask;
}

/* The texts of a mask; their JSON list too. */
static const char *texts_of(struct sample *sample, uint64_t mask, char (*texts)[TEXT_SIZE], const char **ret_texts)
{
    const char *json = "";
    size_t count = 0;

    for (size_t i = 0; mask >> i != 0; i++) {
        if ((mask >> i & 1) == 0)
            continue;
        ret_texts[count] = texts[i];
        json = arena_format(sample->arena, "%s%s\"%s\"", json, count == 0 ? "" : ",", texts[i]);
        count++;
    }
    return json;
}

static void make_rule(struct sample *sample, size_t index)
{
    struct sample_rule *rule = &sample->rules[index];

    rule->industry_mask = choose(sample, INDUSTRIES_PER_RULE, INDUSTRIES);
    rule->city_mask = choose(sample, CITIES_PER_RULE, CITIES);
    rule->size_mask = choose(sample, SIZES_PER_RULE, SIZES);
    rule->score_min = (double)below(sample, SCORES);
    sample->sources[index] = (struct rule_source){
        .id = {{[12] = (uint8_t)(index >> 24),
            [13] = (uint8_t)(index >> 16),
            [14] = (uint8_t)(index >> 8),
            [15] = (uint8_t)index}},
        .name = "rule",
        .conditions_json = arena_format(sample->arena,
            "{\"all\":[{\"industries\":[%s]},{\"field\":\"city\",\"op\":\"in\",\"value\":[%s]},{\"company_sizes\":[%s]}"
            ","
            "{\"field\":\"attributes.score\",\"op\":\"gte\",\"value\":%g}]}",
            texts_of(sample, rule->industry_mask, sample->industries, rule->industries),
            texts_of(sample, rule->city_mask, sample->cities, rule->cities),
            texts_of(sample, rule->size_mask, sample->sizes, rule->sizes), rule->score_min),
        .destination_is_active = true,
    };
}

/* A rule that is `any` of three ranges of three fields. */
static void make_range_rule(struct sample *sample, size_t index)
{
    size_t low[3] = {below(sample, 1000000), below(sample, 1000000), below(sample, 1000000)};

    sample->sources[index].conditions_json = arena_format(sample->arena,
        "{\"any\":[{\"field\":\"attributes.score\",\"op\":\"between\",\"value\":[%zu,%zu]},"
        "{\"field\":\"attributes.age\",\"op\":\"between\",\"value\":[%zu,%zu]},"
        "{\"field\":\"attributes.amount\",\"op\":\"between\",\"value\":[%zu,%zu]}]}",
        low[0], low[0] + 10, low[1], low[1] + 10, low[2], low[2] + 10);
}

static struct sample_lead draw_lead(struct sample *sample, size_t score)
{
    size_t industry = below(sample, INDUSTRIES);
    size_t city = below(sample, CITIES);
    size_t size = below(sample, SIZES);

    return (struct sample_lead){
        .lead = {.company_industry = sample->industries[industry],
            .city = sample->cities[city],
            .company_size = sample->sizes[size],
            .attributes_json = arena_format(sample->arena, "{\"score\": %zu, \"age\": -1, \"amount\": -1}", score)},
        .industry = sample->industries[industry],
        .city = sample->cities[city],
        .size = sample->sizes[size],
        .industry_bit = UINT64_C(1) << industry,
        .city_bit = UINT64_C(1) << city,
        .size_bit = UINT64_C(1) << size,
        .score = (double)score,
    };
}

/* --- The three ways ------------------------------------------------------------------------------------------------ */

/* The index of the first rule, or the count of rules. */
typedef size_t find_function(const struct sample *sample, const struct rule_set *set, struct sample_lead *lead);

/* From the texts of a lead to its rule: what the engine calls. */
static size_t find_compiled(const struct sample *sample, const struct rule_set *set, struct sample_lead *lead)
{
    struct rule_match match;

    if (!rule_set_match(set, &lead->lead, &match))
        return sample->rule_count;
    return (size_t)match.rule_id.bytes[12] << 24 | (size_t)match.rule_id.bytes[13] << 16 |
           (size_t)match.rule_id.bytes[14] << 8 | match.rule_id.bytes[15];
}

/* The same for a lead whose texts were folded before, as those of the scans are. */
static size_t find_folded(const struct sample *sample, const struct rule_set *set, struct sample_lead *lead)
{
    size_t rule = 0;

    (void)set;
    return rule_index_first(sample->index, lead->facts, &rule) ? rule : sample->rule_count;
}

static bool is_one_of(const char *text, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, texts[i]) == 0)
            return true;
    }
    return false;
}

static size_t find_by_strings(const struct sample *sample, const struct rule_set *set, struct sample_lead *lead)
{
    (void)set;
    for (size_t i = 0; i < sample->rule_count; i++) {
        const struct sample_rule *rule = &sample->rules[i];
        if (is_one_of(lead->industry, rule->industries, INDUSTRIES_PER_RULE) &&
            is_one_of(lead->city, rule->cities, CITIES_PER_RULE) &&
            is_one_of(lead->size, rule->sizes, SIZES_PER_RULE) && lead->score >= rule->score_min)
            return i;
    }
    return sample->rule_count;
}

static size_t find_by_masks(const struct sample *sample, const struct rule_set *set, struct sample_lead *lead)
{
    (void)set;
    for (size_t i = 0; i < sample->rule_count; i++) {
        const struct sample_rule *rule = &sample->rules[i];
        if ((lead->industry_bit & rule->industry_mask) != 0 && (lead->city_bit & rule->city_mask) != 0 &&
            (lead->size_bit & rule->size_mask) != 0 && lead->score >= rule->score_min)
            return i;
    }
    return sample->rule_count;
}

/* Nanoseconds a lead, over at least RUN_NS. A few leads are matched several times before the next few: in life a lead is matched just
 * after it was folded, so it is in the processor's cache. */
static double measure(
    const struct sample *sample, const struct rule_set *set, struct sample_lead *leads, find_function *find)
{
    int64_t start = clock_now_ns();
    int64_t end = start;
    size_t count = 0;
    volatile size_t sum = 0; /* keeps the work from being optimised away */

    for (size_t first = 0; end - start < RUN_NS; first = (first + GROUP) % LEADS) {
        for (size_t i = 0; i < GROUP * REPEATS; i++, count++)
            sum += find(sample, set, &leads[first + i % GROUP]);
        end = clock_now_ns();
    }
    return (double)(end - start) / (double)count;
}

static bool compile(const struct sample *sample, struct rule_set **ret_set, double *ret_ms, struct error *reterr_error)
{
    static const struct rule_policy policy = {.dedupe_days = 90};
    const struct rule_set_source source = {
        .policy = &policy, .rules = sample->sources, .rule_count = sample->rule_count};
    int64_t start = clock_now_ns();

    if (!rule_set_compile(&source, ret_set, reterr_error))
        return false;
    *ret_ms = (double)(clock_now_ns() - start) / 1e6;
    return true;
}

/* A lead that some rule takes, or none: drawn until it is. With many rules only low scores leave a lead without one. */
static struct sample_lead make_lead(struct sample *sample, bool is_matched)
{
    size_t scores = !is_matched && sample->rule_count >= 10000 ? 1 : SCORES;

    for (;;) {
        struct sample_lead lead = draw_lead(sample, below(sample, scores));
        if ((find_by_masks(sample, NULL, &lead) < sample->rule_count) == is_matched)
            return lead;
    }
}

/* Folds the leads for the bench's own index. */
static void fold_leads(struct sample *sample, struct sample_lead *leads)
{
    static const struct rule_policy policy = {.dedupe_days = 90};

    for (size_t i = 0; i < LEADS; i++) {
        size_t rule = 0;
        leads[i].facts = arena_alloc(sample->arena, sizeof(*leads[i].facts));
        rule_facts_init(leads[i].facts, &sample->reader.fields, NULL, &leads[i].lead, &policy);
        (void)rule_index_first(sample->index, leads[i].facts, &rule);
    }
}

static bool make_index(struct sample *sample, struct error *reterr_error)
{
    struct rule_index_source *sources = memory_new_array(sample->rule_count, sizeof(*sources));
    bool ok = true;

    sample->reader.arena = sample->arena;
    for (size_t i = 0; i < sample->rule_count && ok; i++)
        ok = rule_conditions_parse(
            &sample->reader, sample->sources[i].conditions_json, &sources[i].condition, reterr_error);
    if (ok) {
        sample->index = rule_index_new(sources, sample->rule_count, &sample->reader.fields);
        fold_leads(sample, sample->matched);
        fold_leads(sample, sample->unmatched);
    }
    free(sources);
    return ok;
}

static void release_index(struct sample *sample)
{
    for (size_t i = 0; i < LEADS && sample->index != NULL; i++) {
        rule_facts_release(sample->matched[i].facts);
        rule_facts_release(sample->unmatched[i].facts);
    }
    rule_index_free(sample->index);
    rule_reader_release(&sample->reader);
}

/* All ways must agree before their times mean anything. */
static bool check(
    const struct sample *sample, const struct rule_set *set, struct sample_lead *leads, struct error *reterr_error)
{
    for (size_t i = 0; i < LEADS; i++) {
        size_t rule = find_compiled(sample, set, &leads[i]);
        if (rule != find_folded(sample, set, &leads[i]) || rule != find_by_masks(sample, set, &leads[i]) ||
            (i % 64 == 0 && rule != find_by_strings(sample, set, &leads[i])))
            return error_set(
                reterr_error, ERROR_INTERNAL, "%zu rules: two ways gave different rules", sample->rule_count);
    }
    return true;
}

static bool measure_size(size_t rule_count, struct rules_line *ret_line, struct error *reterr_error)
{
    struct sample *sample = memory_new(sizeof(*sample));
    struct rule_set *set = NULL;
    bool ok = false;

    *ret_line = (struct rules_line){.rule_count = rule_count};
    sample->arena = arena_new(1 << 20);
    sample->random = random_sequence_from(SEED);
    sample->rule_count = rule_count;
    sample->rules = arena_alloc_array(sample->arena, rule_count, sizeof(*sample->rules));
    sample->sources = arena_alloc_array(sample->arena, rule_count, sizeof(*sample->sources));
    for (size_t i = 0; i < INDUSTRIES; i++)
        snprintf(sample->industries[i], TEXT_SIZE, "industry %02zu", i);
    for (size_t i = 0; i < CITIES; i++)
        snprintf(sample->cities[i], TEXT_SIZE, "city %02zu", i);
    for (size_t i = 0; i < SIZES; i++)
        snprintf(sample->sizes[i], TEXT_SIZE, "size %zu", i);
    for (size_t i = 0; i < rule_count; i++)
        make_rule(sample, i);
    for (size_t i = 0; i < LEADS; i++) {
        sample->matched[i] = make_lead(sample, true);
        sample->unmatched[i] = make_lead(sample, false);
    }
    if (!compile(sample, &set, &ret_line->compile_ms, reterr_error) || !make_index(sample, reterr_error) ||
        !check(sample, set, sample->matched, reterr_error) || !check(sample, set, sample->unmatched, reterr_error))
        goto cleanup;
    ret_line->size_mib = (double)rule_set_size(set) / (1 << 20);
    ret_line->matched_ns = measure(sample, set, sample->matched, find_compiled);
    ret_line->unmatched_ns = measure(sample, set, sample->unmatched, find_compiled);
    ret_line->folded_ns = measure(sample, set, sample->unmatched, find_folded);
    ret_line->strings_ns = measure(sample, set, sample->unmatched, find_by_strings);
    ret_line->masks_ns = measure(sample, set, sample->unmatched, find_by_masks);
    rule_set_unref(set);
    set = NULL;
    for (size_t i = 0; i < rule_count; i++)
        make_range_rule(sample, i);
    if (!compile(sample, &set, &ret_line->ranges_compile_ms, reterr_error))
        goto cleanup;
    ret_line->ranges_ns = measure(sample, set, sample->unmatched, find_compiled);
    ok = true;
cleanup:
    rule_set_unref(set);
    release_index(sample);
    arena_free(sample->arena);
    free(sample);
    return ok;
}

bool rules_run(struct rules_report *ret_report, struct error *reterr_error)
{
    static const size_t sizes[RULES_SIZES] = {10, 100, 1000, 10000, 100000};

    for (size_t i = 0; i < RULES_SIZES; i++) {
        if (!measure_size(sizes[i], &ret_report->lines[i], reterr_error))
            return false;
    }
    return true;
}

static void print_json(FILE *output, const struct rules_report *report)
{
    fputs("{\"sizes\": [", output);
    for (size_t i = 0; i < RULES_SIZES; i++) {
        const struct rules_line *line = &report->lines[i];
        fprintf(output,
            "%s{\"rules\": %zu, \"compile_ms\": %.2f, \"size_mib\": %.2f, \"matched_ns\": %.0f, \"unmatched_ns\": "
            "%.0f, "
            "\"folded_ns\": %.0f, \"strings_ns\": %.0f, \"masks_ns\": %.0f, \"ranges_ns\": %.0f, "
            "\"ranges_compile_ms\": %.2f}",
            i == 0 ? "" : ", ", line->rule_count, line->compile_ms, line->size_mib, line->matched_ns,
            line->unmatched_ns, line->folded_ns, line->strings_ns, line->masks_ns, line->ranges_ns,
            line->ranges_compile_ms);
    }
    fputs("]}\n", output);
}

void rules_print(FILE *output, const struct rules_report *report, bool is_json)
{
    if (is_json) {
        print_json(output, report);
        return;
    }
    fputs("one lead against rules of four conditions, and against rules that are all \"any\" of three ranges; "
          "nanoseconds a lead\n"
          "whole: from its texts to its rule; others: a lead that no rule takes and whose texts are folded already\n\n"
          "                               whole, a lead that   rule   -- linear scan of --  ----- ratio -----  any of "
          "ranges\n"
          "  rules compile       size   is taken   is not      set    strings      masks  strings     masks  whole, is "
          "not\n",
        output);
    for (size_t i = 0; i < RULES_SIZES; i++) {
        const struct rules_line *line = &report->lines[i];
        fprintf(output, "%7zu %4.0f ms %6.1f MiB %10.0f %8.0f %8.0f %10.0f %10.0f %8.1f %9.1f %14.0f\n",
            line->rule_count, line->compile_ms, line->size_mib, line->matched_ns, line->unmatched_ns, line->folded_ns,
            line->strings_ns, line->masks_ns, line->strings_ns / line->folded_ns, line->masks_ns / line->folded_ns,
            line->ranges_ns);
    }
}
