#include <string.h>

#include "rules/evaluate.h"
#include "rules/facts.h"
#include "rules/index_layout.h"
#include "rules/values.h"

enum { BLOCK_WORDS = 64 }; /* that are and-ed at a time */

/* Eight bytes at a time: multiply and fold, as in "wyhash" (W. Yi, 2019); the seed is secret. */
uint64_t index_hash(uint64_t seed, const struct rule_value *value)
{
    const char *at = value->text;
    size_t left = value->size;
    uint64_t hash = seed ^ value->size;

    while (left > 0) {
        size_t size = left < sizeof(uint64_t) ? left : sizeof(uint64_t);
        uint64_t word = 0;
        if (size == sizeof(word)) {
            memcpy(&word, at, sizeof(word));
        } else {
            for (size_t i = 0; i < size; i++)
                word = word << 8 | (unsigned char)at[i];
        }
        unsigned __int128 product = (unsigned __int128)(hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
        at += size;
        left -= size;
    }
    return hash ^ hash >> 32;
}

/* Equality of two texts of one size, most of which are short: without a call, which costs more than the work. */
static bool is_same(const char *left, const char *right, size_t size)
{
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t)) {
        uint64_t a = 0;
        uint64_t b = 0;
        memcpy(&a, left, sizeof(a));
        memcpy(&b, right, sizeof(b));
        if (a != b)
            return false;
        left += sizeof(a);
        right += sizeof(b);
    }
    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i])
            return false;
    }
    return true;
}

/* The number of a value; INDEX_NONE when no rule names it. */
uint32_t index_value_number(
    const struct rule_index *index, const struct dimension *dimension, const struct rule_value *value)
{
    uint32_t slot = (uint32_t)index_hash(index->seed, value) & dimension->slot_mask;

    for (;; slot = (slot + 1) & dimension->slot_mask) {
        uint32_t number = dimension->slots[slot];
        if (number == INDEX_NONE)
            return INDEX_NONE;
        if (dimension->values[number].size == value->size &&
            is_same(dimension->values[number].text, value->text, value->size))
            return number;
    }
}

/* The bucket of a number. */
uint32_t index_bucket(const struct dimension *dimension, double number)
{
    uint32_t low = 0;
    uint32_t high = dimension->bound_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (dimension->bounds[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* One dimension's bitmap for the lead at hand. */
struct probe {
    const uint64_t *base;
    const uint64_t *flip_bitmap; /* NULL: none, or a list */
    const uint32_t *flip;        /* what of the list is still to come */
    const uint32_t *flip_end;
    uint32_t taken; /* entries in it */
};

static struct probe probe_number(const struct dimension *dimension, struct rule_facts *facts)
{
    double number = 0;
    double longitude = 0;
    bool is_there = false;
    uint32_t bucket = 0;

    if (dimension->kind == DIMENSION_NUMBER)
        is_there = rule_facts_number(facts, &dimension->field, &number);
    else
        is_there = rule_facts_location(facts, &number, &longitude);
    if (!is_there)
        return (struct probe){.base = dimension->missing, .taken = dimension->missing_taken};
    bucket = index_bucket(dimension, dimension->kind == DIMENSION_LONGITUDE ? longitude : number);
    return (struct probe){.base = dimension->buckets[bucket], .taken = dimension->bucket_taken[bucket]};
}

static struct probe probe_value(
    const struct rule_index *index, const struct dimension *dimension, struct rule_facts *facts)
{
    struct rule_value value = {0};
    struct probe probe = {.base = dimension->other, .taken = dimension->other_taken};
    const struct flips *flips = NULL;
    uint32_t number = INDEX_NONE;

    if (!rule_facts_text(facts, &dimension->field, dimension->form, &value))
        return (struct probe){.base = dimension->missing, .taken = dimension->missing_taken};
    if (dimension->kind == DIMENSION_VALUE)
        number = index_value_number(index, dimension, &value);
    else if (rule_facts_is_in_set(facts, dimension->set_number, &value))
        number = 0;
    if (number == INDEX_NONE)
        return probe;
    flips = &dimension->flips[number];
    probe.taken = flips->taken;
    probe.flip_bitmap = flips->bitmap;
    if (flips->bitmap == NULL) {
        probe.flip = flips->entries;
        probe.flip_end = flips->entries + flips->count;
    }
    return probe;
}

/* The words of a block of a probe whose flips are a list; `room` is written when some lie in the block. */
static const uint64_t *list_words(struct probe *probe, size_t first_word, size_t word_count, uint64_t room[BLOCK_WORDS])
{
    const uint64_t *base = probe->base + first_word;

    while (probe->flip != probe->flip_end && *probe->flip / INDEX_WORD_BITS < first_word)
        probe->flip++; /* in blocks that others had emptied */
    if (probe->flip == probe->flip_end || *probe->flip / INDEX_WORD_BITS >= first_word + word_count)
        return base;
    memcpy(room, base, word_count * sizeof(*base));
    for (; probe->flip != probe->flip_end && *probe->flip / INDEX_WORD_BITS < first_word + word_count; probe->flip++)
        room[*probe->flip / INDEX_WORD_BITS - first_word] ^= UINT64_C(1) << (*probe->flip % INDEX_WORD_BITS);
    return room;
}

/* Keeps of a block what the probe has as well; whether a bit is left. */
static bool and_probe(struct probe *probe, size_t first_word, size_t word_count, uint64_t block[BLOCK_WORDS])
{
    uint64_t room[BLOCK_WORDS];
    const uint64_t *words = NULL;
    uint64_t left = 0;

    if (probe->flip_bitmap != NULL) {
        const uint64_t *base = probe->base + first_word;
        const uint64_t *flips = probe->flip_bitmap + first_word;
        for (size_t i = 0; i < word_count; i++)
            left |= block[i] &= base[i] ^ flips[i];
        return left != 0;
    }
    words = list_words(probe, first_word, word_count, room);
    for (size_t i = 0; i < word_count; i++)
        left |= block[i] &= words[i];
    return left != 0;
}

/* All entries of a block. */
static void fill(const struct rule_index *index, size_t first_word, size_t word_count, uint64_t block[BLOCK_WORDS])
{
    memset(block, 0xFF, word_count * sizeof(*block));
    if (first_word + word_count == index->word_count && index->entry_count % INDEX_WORD_BITS != 0)
        block[word_count - 1] = (UINT64_C(1) << (index->entry_count % INDEX_WORD_BITS)) - 1;
}

/* The first of some entries of one word whose rule takes the lead. */
static bool first_of_word(const struct rule_index *index, size_t word, uint64_t bits, struct rule_facts *facts,
    uint32_t *refused, size_t *ret_rule)
{
    for (; bits != 0; bits &= bits - 1) {
        uint32_t entry = (uint32_t)(word * INDEX_WORD_BITS) + (uint32_t)__builtin_ctzll(bits);
        uint32_t rule = index->entry_rules[entry];
        bool is_exact = (index->exact[word] >> (entry % INDEX_WORD_BITS) & 1) != 0;
        if (rule == *refused)
            continue;
        if (is_exact || rule_condition_holds(index->rules[rule].condition, facts)) {
            *ret_rule = rule;
            return true;
        }
        *refused = rule;
    }
    return false;
}

/* All probes, the smallest bitmap first; false when one of them is empty. */
static bool make_probes(const struct rule_index *index, struct rule_facts *facts, struct probe *ret_probes)
{
    for (size_t i = 0; i < index->dimension_count; i++) {
        const struct dimension *dimension = &index->dimensions[i];
        struct probe probe =
            index_is_of_numbers(dimension) ? probe_number(dimension, facts) : probe_value(index, dimension, facts);
        size_t at = i;
        if (probe.taken == 0)
            return false;
        for (; at > 0 && ret_probes[at - 1].taken > probe.taken; at--)
            ret_probes[at] = ret_probes[at - 1];
        ret_probes[at] = probe;
    }
    return true;
}

bool rule_index_first(const struct rule_index *index, struct rule_facts *facts, size_t *ret_rule)
{
    struct probe probes[INDEX_DIMENSIONS_MAX];
    uint64_t block[BLOCK_WORDS];
    uint32_t refused = INDEX_NONE;

    if (index->entry_count == 0 || !make_probes(index, facts, probes))
        return false;
    for (size_t first = 0; first < index->word_count; first += BLOCK_WORDS) {
        size_t count = index->word_count - first < BLOCK_WORDS ? index->word_count - first : BLOCK_WORDS;
        bool is_left = true;
        fill(index, first, count, block);
        for (size_t i = 0; i < index->dimension_count && is_left; i++)
            is_left = and_probe(&probes[i], first, count, block);
        for (size_t i = 0; i < count && is_left; i++) {
            if (block[i] != 0 && first_of_word(index, first + i, block[i], facts, &refused, ret_rule))
                return true;
        }
    }
    return false;
}
