/* How an index is laid out: shared by what builds it (index_build.c) and what reads it (index_match.c), and by nobody else. */
#ifndef RULES_INDEX_LAYOUT_H
#define RULES_INDEX_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/conditions.h"
#include "rules/index.h"

/* Words used here. An *entry* is one conjunction of one rule; entries stand in match order, one bit each. A *dimension* is something of the
 * lead that is looked up once (its industry, folded; its score as a number; whether its postal code is in a set) and gives one bitmap: the
 * entries that this does not exclude. The bitmap of a value is that of "any other value" with a few bits *flipped*. */

enum {
    INDEX_WORD_BITS = 64,
    INDEX_DIMENSIONS_MAX = 64, /* those that exclude most; conditions on others are looked at on candidates only */
    INDEX_BUCKETS_MAX = 64,    /* of a dimension of numbers */
    INDEX_ENTRIES_MAX = 1 << 24,
};

/* The number of a value that no rule names, and of other things that are not there. */
#define INDEX_NONE UINT32_MAX

enum dimension_kind { DIMENSION_VALUE, DIMENSION_SET, DIMENSION_NUMBER, DIMENSION_LATITUDE, DIMENSION_LONGITUDE };

/* Which bits of "any other value" a value flips: a list of entries, or a bitmap where that is smaller. */
struct flips {
    const uint32_t *entries; /* ascending */
    uint32_t count;
    const uint64_t *bitmap; /* NULL: the list */
    uint32_t taken;         /* entries that take the value */
};

struct dimension {
    enum dimension_kind kind;
    struct rule_field_ref field;
    enum rule_form form;
    uint32_t set_number;
    uint32_t use_count; /* entries that it can exclude */

    /* values and sets */
    struct rule_value *values; /* sorted; a set has one value without a name: being in it */
    uint32_t value_count;
    uint32_t *slots; /* hash table of the numbers of values, open addressing; INDEX_NONE: empty */
    uint32_t slot_mask;
    uint64_t *other;      /* entries that take any value that is not among them */
    uint64_t *missing;    /* entries that take a lead without the field (or, for numbers, without a number) */
    uint32_t other_taken; /* entries in `other`; in `missing` */
    uint32_t missing_taken;
    struct flips *flips;
    uint32_t *flip_entries;
    uint64_t *flip_bitmaps;

    /* numbers: bucket k is (bounds[k - 1], bounds[k]], the first from -infinity, the last to infinity */
    double *bounds;
    uint32_t bound_count;
    uint64_t **buckets;
    uint32_t *bucket_taken; /* entries in each */
};

struct rule_index {
    struct rule_index_source *rules;
    size_t rule_count;
    uint32_t *entry_rules; /* by entry */
    uint64_t *exact;       /* entries for which the index alone is the truth */
    uint32_t entry_count;
    size_t word_count;
    uint64_t seed;                /* of hashes: nobody chooses values that collide */
    struct dimension *dimensions; /* the one that excludes most first */
    size_t dimension_count;
    size_t size;
};

/* True for dimensions of numbers, which have buckets; the others have values. */
static inline bool index_is_of_numbers(const struct dimension *dimension)
{
    return dimension->kind != DIMENSION_VALUE && dimension->kind != DIMENSION_SET;
}

/* A hash of a value, by the index's seed. */
uint64_t index_hash(uint64_t seed, const struct rule_value *value);

/* The number of a value; INDEX_NONE when no rule names it. */
uint32_t index_value_number(
    const struct rule_index *index, const struct dimension *dimension, const struct rule_value *value);

/* The bucket of a number. */
uint32_t index_bucket(const struct dimension *dimension, double number);

#endif
