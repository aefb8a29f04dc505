#include "rules/index.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "rules/disjuncts.h"
#include "rules/evaluate.h"
#include "rules/values.h"

/* Words used here. An *entry* is one conjunction of one rule; entries stand in match order, one bit each. A *dimension* is something of the
 * lead that is looked up once (its industry, folded; its score as a number; whether its postal code is in a set) and gives one bitmap: the
 * entries that this does not exclude. The bitmap of a value is that of "any other value" with a few bits *flipped*. */

enum {
    WORD_BITS = 64,
    DIMENSIONS_MAX = 64, /* those that exclude most; conditions on others are looked at on candidates only */
    BUCKETS_MAX = 64,    /* of a dimension of numbers */
    BLOCK_WORDS = 64,    /* words that are and-ed at a time */
    ENTRIES_MAX = 1 << 24,
    NONE = UINT32_MAX,
};

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
    uint32_t *slots; /* hash table of the numbers of values, open addressing; NONE: empty */
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

/* What a conjunction asks of one dimension. */
struct constraint {
    bool is_there;
    bool takes_other;
    bool takes_missing;
    uint32_t *numbers; /* of values that are taken although others are not, or the reverse; ascending */
    uint32_t count;
    double low; /* of numbers: those outside are not taken, those inside perhaps */
    double high;
};

struct pair {
    uint32_t value;
    uint32_t entry;
};

struct builder {
    struct rule_index *index;
    const struct rule_fields *fields;
    struct arena *arena;   /* of the rule at hand */
    uint32_t *by_field;    /* dimension of (field, kind, form), or NONE */
    struct dimension *all; /* before the choice */
    size_t count;
    size_t capacity;
    struct value_list {
        struct rule_value *items;
        size_t count;
        size_t capacity;
    } * values; /* by dimension */
    struct number_list {
        double *items;
        size_t count;
        size_t capacity;
    } * ends; /* by dimension: ends of intervals */
    struct pair_list {
        struct pair *items;
        size_t count;
        size_t capacity;
    } * pairs;                      /* by dimension */
    struct constraint *constraints; /* by dimension, of the conjunction at hand */
    uint32_t *touched;              /* dimensions with a constraint */
    size_t touched_count;
};

/* Room for one more in a list that has items, count and capacity. */
#define GROW(list)                                                                                                     \
    do {                                                                                                               \
        if ((list)->count == (list)->capacity) {                                                                       \
            (list)->capacity = 2 * (list)->capacity + 16;                                                              \
            (list)->items = memory_resize((list)->items, (list)->capacity, sizeof(*(list)->items));                    \
        }                                                                                                              \
    } while (0)

static void *allocate(struct rule_index *index, size_t count, size_t size)
{
    index->size += count * size;
    return memory_new_array(count, size);
}

static void set_bit(uint64_t *bitmap, uint32_t bit)
{
    bitmap[bit / WORD_BITS] |= UINT64_C(1) << (bit % WORD_BITS);
}

static void clear_bit(uint64_t *bitmap, uint32_t bit)
{
    bitmap[bit / WORD_BITS] &= ~(UINT64_C(1) << (bit % WORD_BITS));
}

/* Eight bytes at a time: multiply and fold, as in "wyhash" (W. Yi, 2019); the seed is secret. */
static uint64_t hash_value(uint64_t seed, const struct rule_value *value)
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

/* The number of a value; NONE when no rule names it. */
static uint32_t value_number(
    const struct rule_index *index, const struct dimension *dimension, const struct rule_value *value)
{
    uint32_t slot = (uint32_t)hash_value(index->seed, value) & dimension->slot_mask;

    for (;; slot = (slot + 1) & dimension->slot_mask) {
        uint32_t number = dimension->slots[slot];
        if (number == NONE)
            return NONE;
        if (dimension->values[number].size == value->size &&
            is_same(dimension->values[number].text, value->text, value->size))
            return number;
    }
}

/* --- Which dimensions a test is about ---------------------------------------------------------------------------- */

static uint32_t find_dimension(struct builder *builder, const struct dimension *wanted)
{
    size_t slots = (size_t)DIMENSION_LONGITUDE + 1 + RULE_FORM_COUNT;
    size_t slot =
        wanted->kind == DIMENSION_VALUE ? (size_t)DIMENSION_LONGITUDE + 1 + wanted->form : (size_t)wanted->kind;
    uint32_t *known = &builder->by_field[wanted->field.number * slots + slot];

    if (wanted->kind == DIMENSION_SET) { /* several for one field: few enough to look at */
        for (size_t i = 0; i < builder->count; i++) {
            const struct dimension *other = &builder->all[i];
            if (other->kind == DIMENSION_SET && other->set_number == wanted->set_number &&
                other->field.number == wanted->field.number)
                return (uint32_t)i;
        }
    } else if (*known != NONE) {
        return *known;
    }
    if (builder->count == builder->capacity) {
        size_t capacity = 2 * builder->capacity + 16;
        builder->all = memory_resize(builder->all, capacity, sizeof(*builder->all));
        builder->values = memory_resize(builder->values, capacity, sizeof(*builder->values));
        builder->ends = memory_resize(builder->ends, capacity, sizeof(*builder->ends));
        builder->capacity = capacity;
    }
    builder->all[builder->count] = *wanted;
    builder->values[builder->count] = (struct value_list){0};
    builder->ends[builder->count] = (struct number_list){0};
    *known = (uint32_t)builder->count;
    return (uint32_t)builder->count++;
}

/* How a test takes part in the index. */
enum part { PART_NONE, PART_VALUES, PART_PRESENCE, PART_SET, PART_NUMBERS, PART_CIRCLE };

static enum part part_of(const struct rule_test *test)
{
    switch (test->operand) {
    case RULE_OPERAND_TEXTS:
        return test->op <= RULE_OP_NOT_IN ? PART_VALUES : PART_NONE;
    case RULE_OPERAND_NUMBERS:
        return test->op == RULE_OP_NE || test->op == RULE_OP_NOT_IN || test->op == RULE_OP_NOT_BETWEEN ? PART_NONE
                                                                                                       : PART_NUMBERS;
    case RULE_OPERAND_NONE:
        return test->op != RULE_OP_VALID && test->field.field != RULE_FIELD_LOCATION ? PART_PRESENCE : PART_NONE;
    case RULE_OPERAND_SET:
        return PART_SET;
    case RULE_OPERAND_CIRCLE:
        return PART_CIRCLE;
    case RULE_OPERAND_FIELD:
    case RULE_OPERAND_MOMENT:
    case RULE_OPERAND_SPAN:
    case RULE_OPERAND_PATTERN:
        break;
    }
    return PART_NONE;
}

static uint32_t dimension_of(struct builder *builder, const struct rule_test *test, enum part part)
{
    struct dimension wanted = {.kind = DIMENSION_VALUE, .field = test->field, .form = test->form};

    if (part == PART_PRESENCE)
        wanted.form = rule_field_is_place(test->field.field) ? RULE_FORM_PLACE : RULE_FORM_FOLD;
    if (part == PART_SET) {
        wanted.kind = DIMENSION_SET;
        wanted.set_number = test->set_number;
    }
    if (part == PART_NUMBERS)
        wanted.kind = DIMENSION_NUMBER;
    if (part == PART_CIRCLE)
        wanted.kind = DIMENSION_LATITUDE;
    return find_dimension(builder, &wanted);
}

/* The other dimension of a circle. */
static uint32_t longitude_of(struct builder *builder, const struct rule_test *test)
{
    const struct dimension wanted = {.kind = DIMENSION_LONGITUDE, .field = test->field};

    return find_dimension(builder, &wanted);
}

struct interval {
    double low;
    double high;
};

/* All numbers that a test may take, and perhaps some more. */
static struct interval interval_of(const struct rule_test *test)
{
    const double *numbers = test->numbers;

    switch (test->op) {
    case RULE_OP_GT:
    case RULE_OP_GTE:
        return (struct interval){numbers[0], INFINITY};
    case RULE_OP_LT:
    case RULE_OP_LTE:
        return (struct interval){-INFINITY, numbers[0]};
    default: /* equality, lists, ranges: sorted */
        return (struct interval){numbers[0], numbers[test->count - 1]};
    }
}

/* The degrees between which a circle lies; all of them for longitudes of one that reaches a pole or the date line. */
static struct interval latitudes_of(const struct rule_circle *circle)
{
    double degrees = circle->km / RULE_EARTH_RADIUS_KM * 180 / acos(-1.0) + 1e-6;

    return (struct interval){circle->latitude - degrees, circle->latitude + degrees};
}

static struct interval longitudes_of(const struct rule_circle *circle)
{
    struct interval latitudes = latitudes_of(circle);
    double widest = fmax(fabs(latitudes.low), fabs(latitudes.high));
    double angle = circle->km / RULE_EARTH_RADIUS_KM;
    double pi = acos(-1.0);
    double degrees = 0;

    if (widest >= 89.9)
        return (struct interval){-INFINITY, INFINITY};
    degrees = asin(fmin(1.0, sin(fmin(angle, pi / 2)) / cos(circle->latitude * pi / 180))) * 180 / pi + 1e-6;
    if (angle >= pi / 2 || circle->longitude - degrees < -180 || circle->longitude + degrees > 180)
        return (struct interval){-INFINITY, INFINITY};
    return (struct interval){circle->longitude - degrees, circle->longitude + degrees};
}

/* --- First pass: dimensions, their values and bounds ------------------------------------------------------------- */

static void note_ends(struct builder *builder, uint32_t dimension, struct interval interval)
{
    struct number_list *ends = &builder->ends[dimension];

    builder->all[dimension].use_count++;
    GROW(ends);
    ends->items[ends->count++] = interval.low;
    GROW(ends);
    ends->items[ends->count++] = interval.high;
}

static void note_literal(struct builder *builder, const struct rule_literal *literal)
{
    const struct rule_test *test = literal->test;
    enum part part = part_of(test);
    uint32_t dimension = NONE;
    struct value_list *values = NULL;

    if (part == PART_NONE || (literal->is_negated && (part == PART_NUMBERS || part == PART_CIRCLE)))
        return;
    dimension = dimension_of(builder, test, part);
    switch (part) {
    case PART_NUMBERS:
        note_ends(builder, dimension, interval_of(test));
        return;
    case PART_CIRCLE:
        note_ends(builder, dimension, latitudes_of(&test->circle));
        note_ends(builder, longitude_of(builder, test), longitudes_of(&test->circle));
        return;
    case PART_VALUES:
        values = &builder->values[dimension];
        for (size_t i = 0; i < test->count; i++) {
            GROW(values);
            values->items[values->count++] = test->values[i];
        }
        break;
    case PART_SET:
    case PART_PRESENCE:
    case PART_NONE:
        break;
    }
    builder->all[dimension].use_count++;
}

static int compare_values(const void *left, const void *right)
{
    return rule_value_compare(left, right);
}

static int compare_numbers(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

static int compare_use(const void *left, const void *right)
{
    const struct dimension *a = left;
    const struct dimension *b = right;

    return (a->use_count < b->use_count) - (a->use_count > b->use_count);
}

/* At most half full, so that a value that is not there is soon known. */
static void make_slots(struct rule_index *index, struct dimension *dimension)
{
    uint32_t size = 2;

    while (size < 2 * dimension->value_count)
        size *= 2;
    dimension->slot_mask = size - 1;
    dimension->slots = allocate(index, size, sizeof(*dimension->slots));
    memset(dimension->slots, 0xFF, size * sizeof(*dimension->slots));
    for (uint32_t i = 0; i < dimension->value_count; i++) {
        uint32_t slot = (uint32_t)hash_value(index->seed, &dimension->values[i]) & dimension->slot_mask;
        while (dimension->slots[slot] != NONE)
            slot = (slot + 1) & dimension->slot_mask;
        dimension->slots[slot] = i;
    }
}

/* The different values of a dimension, sorted. */
static void take_values(struct builder *builder, struct dimension *dimension, struct value_list *list)
{
    static const struct rule_value in_set = {"", 0};

    if (dimension->kind == DIMENSION_SET) {
        GROW(list);
        list->items[list->count++] = in_set;
    }
    if (list->count > 0)
        qsort(list->items, list->count, sizeof(*list->items), compare_values);
    dimension->values = allocate(builder->index, list->count, sizeof(*dimension->values));
    for (size_t i = 0; i < list->count; i++) {
        if (i == 0 || rule_value_compare(&list->items[i - 1], &list->items[i]) != 0)
            dimension->values[dimension->value_count++] = list->items[i];
    }
    make_slots(builder->index, dimension);
}

/* Bounds of buckets: ends of intervals, evenly by their number. */
static void take_bounds(struct builder *builder, struct dimension *dimension, struct number_list *ends)
{
    uint32_t distinct = 0;

    qsort(ends->items, ends->count, sizeof(*ends->items), compare_numbers);
    for (size_t i = 0; i < ends->count; i++) {
        if (isfinite(ends->items[i]) && (distinct == 0 || ends->items[distinct - 1] != ends->items[i]))
            ends->items[distinct++] = ends->items[i];
    }
    dimension->bound_count = distinct < BUCKETS_MAX - 1 ? distinct : BUCKETS_MAX - 1;
    dimension->bounds = allocate(builder->index, dimension->bound_count, sizeof(*dimension->bounds));
    for (uint32_t i = 0; i < dimension->bound_count; i++)
        dimension->bounds[i] = ends->items[(size_t)i * distinct / dimension->bound_count];
}

static bool is_of_numbers(const struct dimension *dimension)
{
    return dimension->kind != DIMENSION_VALUE && dimension->kind != DIMENSION_SET;
}

/* Keeps the dimensions that exclude most, in that order, and tells find_dimension() where they are now. */
static void choose_dimensions(struct builder *builder)
{
    struct rule_index *index = builder->index;
    size_t slots = (size_t)DIMENSION_LONGITUDE + 1 + RULE_FORM_COUNT;

    for (size_t i = 0; i < builder->count; i++) {
        if (is_of_numbers(&builder->all[i]))
            take_bounds(builder, &builder->all[i], &builder->ends[i]);
        else
            take_values(builder, &builder->all[i], &builder->values[i]);
        free(builder->values[i].items);
        free(builder->ends[i].items);
    }
    if (builder->count > 0)
        qsort(builder->all, builder->count, sizeof(*builder->all), compare_use);
    memset(builder->by_field, 0xFF, builder->fields->count * slots * sizeof(*builder->by_field));
    for (size_t i = 0; i < builder->count; i++) {
        struct dimension *dimension = &builder->all[i];
        size_t slot = dimension->kind == DIMENSION_VALUE ? (size_t)DIMENSION_LONGITUDE + 1 + dimension->form
                                                         : (size_t)dimension->kind;
        builder->by_field[dimension->field.number * slots + slot] = (uint32_t)i;
        if (i >= DIMENSIONS_MAX) {
            free(dimension->values);
            free(dimension->slots);
            free(dimension->bounds);
        }
    }
    index->dimension_count = builder->count < DIMENSIONS_MAX ? builder->count : DIMENSIONS_MAX;
}

static void first_pass(struct builder *builder)
{
    struct rule_index *index = builder->index;
    size_t entries = 0;

    for (size_t i = 0; i < index->rule_count; i++) {
        if (index->rules[i].condition == NULL)
            continue;
        struct rule_disjuncts disjuncts = rule_disjuncts_make(builder->arena, index->rules[i].condition);
        for (size_t k = 0; k < disjuncts.count; k++) {
            for (size_t l = 0; l < disjuncts.items[k].count; l++)
                note_literal(builder, &disjuncts.items[k].literals[l]);
        }
        entries += disjuncts.count;
        arena_clear(builder->arena);
    }
    assert(entries < ENTRIES_MAX);
    index->entry_count = (uint32_t)entries;
    index->word_count = (entries + WORD_BITS - 1) / WORD_BITS;
}

/* --- Second pass: bitmaps ---------------------------------------------------------------------------------------- */

/* A bitmap with every entry in it. */
static uint64_t *new_full(struct rule_index *index)
{
    uint64_t *bitmap = allocate(index, index->word_count, sizeof(*bitmap));

    if (index->word_count > 0)
        memset(bitmap, 0xFF, index->word_count * sizeof(*bitmap));
    if (index->entry_count % WORD_BITS != 0)
        bitmap[index->word_count - 1] = (UINT64_C(1) << (index->entry_count % WORD_BITS)) - 1;
    return bitmap;
}

static void make_bitmaps(struct builder *builder)
{
    struct rule_index *index = builder->index;

    index->dimensions = builder->all;
    index->size += index->dimension_count * sizeof(*index->dimensions);
    for (size_t i = 0; i < index->dimension_count; i++) {
        struct dimension *dimension = &index->dimensions[i];
        dimension->missing = new_full(index);
        if (!is_of_numbers(dimension)) {
            dimension->other = new_full(index);
            continue;
        }
        dimension->bucket_taken = allocate(index, dimension->bound_count + 1, sizeof(*dimension->bucket_taken));
        dimension->buckets = allocate(index, dimension->bound_count + 1, sizeof(*dimension->buckets));
        for (uint32_t k = 0; k <= dimension->bound_count; k++)
            dimension->buckets[k] = new_full(index);
    }
    index->exact = new_full(index);
    index->entry_rules = allocate(index, index->entry_count, sizeof(*index->entry_rules));
}

static struct constraint *constraint_of(struct builder *builder, uint32_t dimension)
{
    struct constraint *constraint = &builder->constraints[dimension];

    if (!constraint->is_there) {
        *constraint = (struct constraint){
            .is_there = true, .takes_other = true, .takes_missing = true, .low = -INFINITY, .high = INFINITY};
        builder->touched[builder->touched_count++] = dimension;
    }
    return constraint;
}

/* Whether a number is among ascending ones; `*at` moves on. */
static bool is_next(const uint32_t *numbers, uint32_t count, uint32_t *at, uint32_t number)
{
    while (*at < count && numbers[*at] < number)
        (*at)++;
    return *at < count && numbers[*at] == number;
}

/* Narrows a constraint by another one: both must hold. */
static void narrow(struct builder *builder, struct constraint *constraint, const struct constraint *by)
{
    uint32_t *numbers = arena_alloc_array(builder->arena, (size_t)constraint->count + by->count, sizeof(*numbers));
    bool takes_other = constraint->takes_other && by->takes_other;
    uint32_t count = 0;
    uint32_t left = 0;
    uint32_t right = 0;

    while (left < constraint->count || right < by->count) {
        uint32_t number =
            left == constraint->count || (right < by->count && by->numbers[right] < constraint->numbers[left])
                ? by->numbers[right]
                : constraint->numbers[left];
        bool in_left = is_next(constraint->numbers, constraint->count, &left, number);
        bool in_right = is_next(by->numbers, by->count, &right, number);
        bool is_taken = (constraint->takes_other != in_left) && (by->takes_other != in_right);
        if (is_taken != takes_other)
            numbers[count++] = number;
        left += in_left ? 1 : 0;
        right += in_right ? 1 : 0;
    }
    constraint->numbers = numbers;
    constraint->count = count;
    constraint->takes_other = takes_other;
    constraint->takes_missing = constraint->takes_missing && by->takes_missing;
}

/* What a test of values, of presence or of a set takes. */
static struct constraint values_taken(
    struct builder *builder, const struct dimension *dimension, const struct rule_literal *literal, enum part part)
{
    const struct rule_test *test = literal->test;
    bool is_positive = test->op == RULE_OP_EQ || test->op == RULE_OP_IN || test->op == RULE_OP_IN_SET;
    struct constraint taken = {.takes_other = !is_positive};

    if (part == PART_PRESENCE) {
        taken.takes_missing = test->op == RULE_OP_BLANK;
        taken.takes_other = !taken.takes_missing;
    } else {
        taken.count = part == PART_SET ? 1 : (uint32_t)test->count;
        taken.numbers = arena_alloc_array(builder->arena, taken.count, sizeof(*taken.numbers));
        for (uint32_t i = 0; part == PART_VALUES && i < taken.count; i++) /* ascending, as the values are */
            taken.numbers[i] = value_number(builder->index, dimension, &test->values[i]);
    }
    if (literal->is_negated) {
        taken.takes_missing = !taken.takes_missing;
        taken.takes_other = !taken.takes_other;
    }
    return taken;
}

static void narrow_interval(struct constraint *constraint, struct interval interval)
{
    constraint->takes_missing = false;
    constraint->low = fmax(constraint->low, interval.low);
    constraint->high = fmin(constraint->high, interval.high);
}

/* Adds a test to the constraints of its dimension; false when the index does not know all of it. */
static bool add_literal(struct builder *builder, const struct rule_literal *literal)
{
    const struct rule_index *index = builder->index;
    enum part part = part_of(literal->test);
    uint32_t dimension = NONE;
    uint32_t longitude = NONE;
    struct constraint taken = {0};

    if (part == PART_NONE || (literal->is_negated && (part == PART_NUMBERS || part == PART_CIRCLE)))
        return false;
    dimension = dimension_of(builder, literal->test, part);
    if (part == PART_CIRCLE) {
        longitude = longitude_of(builder, literal->test);
        if (dimension < index->dimension_count)
            narrow_interval(constraint_of(builder, dimension), latitudes_of(&literal->test->circle));
        if (longitude < index->dimension_count)
            narrow_interval(constraint_of(builder, longitude), longitudes_of(&literal->test->circle));
        return false;
    }
    if (dimension >= index->dimension_count)
        return false;
    if (part == PART_NUMBERS) {
        narrow_interval(constraint_of(builder, dimension), interval_of(literal->test));
        return false;
    }
    taken = values_taken(builder, &index->dimensions[dimension], literal, part);
    narrow(builder, constraint_of(builder, dimension), &taken);
    return true;
}

/* The bucket of a number. */
static uint32_t bucket_of(const struct dimension *dimension, double number)
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

static void write_constraint(
    struct builder *builder, uint32_t number, const struct constraint *constraint, uint32_t entry)
{
    struct dimension *dimension = &builder->index->dimensions[number];
    struct pair_list *pairs = &builder->pairs[number];

    if (!constraint->takes_missing)
        clear_bit(dimension->missing, entry);
    if (is_of_numbers(dimension)) {
        uint32_t first = bucket_of(dimension, constraint->low);
        uint32_t last = bucket_of(dimension, constraint->high);
        for (uint32_t k = 0; k <= dimension->bound_count; k++) {
            if (k < first || k > last)
                clear_bit(dimension->buckets[k], entry);
        }
        return;
    }
    if (!constraint->takes_other)
        clear_bit(dimension->other, entry);
    for (uint32_t i = 0; i < constraint->count; i++) {
        GROW(pairs);
        pairs->items[pairs->count++] = (struct pair){constraint->numbers[i], entry};
    }
}

static void write_entry(
    struct builder *builder, const struct rule_conjunction *conjunction, uint32_t rule, uint32_t entry)
{
    bool is_exact = !conjunction->is_wider;

    builder->touched_count = 0;
    for (size_t i = 0; i < conjunction->count; i++)
        is_exact = add_literal(builder, &conjunction->literals[i]) && is_exact;
    for (size_t i = 0; i < builder->touched_count; i++) {
        struct constraint *constraint = &builder->constraints[builder->touched[i]];
        write_constraint(builder, builder->touched[i], constraint, entry);
        constraint->is_there = false;
    }
    builder->index->entry_rules[entry] = rule;
    if (!is_exact)
        clear_bit(builder->index->exact, entry);
}

/* Puts the pairs in order of their values (their entries ascend already), and makes bitmaps of long lists. */
static void write_flips(struct builder *builder, struct dimension *dimension, const struct pair_list *pairs)
{
    struct rule_index *index = builder->index;
    size_t bitmap_count = 0;
    size_t bitmap_next = 0;
    uint32_t at = 0;

    dimension->flips = allocate(index, dimension->value_count, sizeof(*dimension->flips));
    dimension->flip_entries = allocate(index, pairs->count, sizeof(*dimension->flip_entries));
    for (size_t i = 0; i < pairs->count; i++)
        dimension->flips[pairs->items[i].value].count++;
    for (uint32_t i = 0; i < dimension->value_count; i++) {
        dimension->flips[i].entries = dimension->flip_entries + at;
        at += dimension->flips[i].count;
        bitmap_count += (size_t)dimension->flips[i].count * 2 >= index->word_count ? 1 : 0;
        dimension->flips[i].count = 0;
    }
    for (size_t i = 0; i < pairs->count; i++) {
        struct flips *flips = &dimension->flips[pairs->items[i].value];
        dimension->flip_entries[(size_t)(flips->entries - dimension->flip_entries) + flips->count++] =
            pairs->items[i].entry;
    }
    dimension->flip_bitmaps = allocate(index, bitmap_count * index->word_count, sizeof(*dimension->flip_bitmaps));
    for (uint32_t i = 0; i < dimension->value_count; i++) {
        struct flips *flips = &dimension->flips[i];
        uint64_t *bitmap = dimension->flip_bitmaps + bitmap_next * index->word_count;
        if ((size_t)flips->count * 2 < index->word_count || flips->count == 0)
            continue;
        for (uint32_t k = 0; k < flips->count; k++)
            set_bit(bitmap, flips->entries[k]);
        flips->bitmap = bitmap;
        bitmap_next++;
    }
}

static uint32_t count_bits(const uint64_t *bitmap, size_t word_count)
{
    uint32_t count = 0;

    for (size_t i = 0; i < word_count; i++)
        count += (uint32_t)__builtin_popcountll(bitmap[i]);
    return count;
}

/* How many entries each class takes: what is smallest is read first. */
static void count_taken(const struct rule_index *index, struct dimension *dimension)
{
    dimension->missing_taken = count_bits(dimension->missing, index->word_count);
    if (is_of_numbers(dimension)) {
        for (uint32_t k = 0; k <= dimension->bound_count; k++)
            dimension->bucket_taken[k] = count_bits(dimension->buckets[k], index->word_count);
        return;
    }
    dimension->other_taken = count_bits(dimension->other, index->word_count);
    for (uint32_t i = 0; i < dimension->value_count; i++) {
        struct flips *flips = &dimension->flips[i];
        flips->taken = dimension->other_taken;
        for (uint32_t k = 0; k < flips->count; k++) {
            uint32_t entry = flips->entries[k];
            bool is_taken_by_other = (dimension->other[entry / WORD_BITS] >> (entry % WORD_BITS) & 1) != 0;
            flips->taken += is_taken_by_other ? UINT32_MAX : 1; /* one less, or one more */
        }
    }
}

static void second_pass(struct builder *builder)
{
    struct rule_index *index = builder->index;
    uint32_t entry = 0;

    make_bitmaps(builder);
    builder->pairs = memory_new_array(index->dimension_count, sizeof(*builder->pairs));
    builder->constraints = memory_new_array(index->dimension_count, sizeof(*builder->constraints));
    builder->touched = memory_new_array(index->dimension_count, sizeof(*builder->touched));
    for (size_t i = 0; i < index->rule_count; i++) {
        if (index->rules[i].condition == NULL)
            continue;
        struct rule_disjuncts disjuncts = rule_disjuncts_make(builder->arena, index->rules[i].condition);
        for (size_t k = 0; k < disjuncts.count; k++)
            write_entry(builder, &disjuncts.items[k], (uint32_t)i, entry++);
        arena_clear(builder->arena);
    }
    assert(entry == index->entry_count);
    for (size_t i = 0; i < index->dimension_count; i++) {
        if (!is_of_numbers(&index->dimensions[i]))
            write_flips(builder, &index->dimensions[i], &builder->pairs[i]);
        count_taken(index, &index->dimensions[i]);
        free(builder->pairs[i].items);
    }
}

struct rule_index *rule_index_new(
    const struct rule_index_source *rules, size_t rule_count, const struct rule_fields *fields)
{
    struct rule_index *index = memory_new(sizeof(*index));
    struct builder builder = {.index = index, .fields = fields, .arena = arena_new(0)};
    size_t slots = (size_t)DIMENSION_LONGITUDE + 1 + RULE_FORM_COUNT;

    random_bytes(&index->seed, sizeof(index->seed));
    index->rules = allocate(index, rule_count, sizeof(*index->rules));
    index->rule_count = rule_count;
    if (rule_count > 0)
        memcpy(index->rules, rules, rule_count * sizeof(*rules));
    builder.by_field = memory_new_array(fields->count * slots, sizeof(*builder.by_field));
    memset(builder.by_field, 0xFF, fields->count * slots * sizeof(*builder.by_field));
    first_pass(&builder);
    choose_dimensions(&builder);
    second_pass(&builder);
    arena_free(builder.arena);
    free(builder.by_field);
    free(builder.values);
    free(builder.ends);
    free(builder.pairs);
    free(builder.constraints);
    free(builder.touched);
    return index;
}

void rule_index_free(struct rule_index *index)
{
    if (index == NULL)
        return;
    for (size_t i = 0; i < index->dimension_count; i++) {
        struct dimension *dimension = &index->dimensions[i];
        for (uint32_t k = 0; dimension->buckets != NULL && k <= dimension->bound_count; k++)
            free(dimension->buckets[k]);
        free(dimension->buckets);
        free(dimension->bounds);
        free(dimension->bucket_taken);
        free(dimension->values);
        free(dimension->slots);
        free(dimension->other);
        free(dimension->missing);
        free(dimension->flips);
        free(dimension->flip_entries);
        free(dimension->flip_bitmaps);
    }
    free(index->dimensions);
    free(index->entry_rules);
    free(index->exact);
    free(index->rules);
    free(index);
}

size_t rule_index_size(const struct rule_index *index)
{
    return index->size;
}

/* --- Matching ---------------------------------------------------------------------------------------------------- */

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
    bucket = bucket_of(dimension, dimension->kind == DIMENSION_LONGITUDE ? longitude : number);
    return (struct probe){.base = dimension->buckets[bucket], .taken = dimension->bucket_taken[bucket]};
}

static struct probe probe_value(
    const struct rule_index *index, const struct dimension *dimension, struct rule_facts *facts)
{
    struct rule_value value = {0};
    struct probe probe = {.base = dimension->other, .taken = dimension->other_taken};
    const struct flips *flips = NULL;
    uint32_t number = NONE;

    if (!rule_facts_text(facts, &dimension->field, dimension->form, &value))
        return (struct probe){.base = dimension->missing, .taken = dimension->missing_taken};
    if (dimension->kind == DIMENSION_VALUE)
        number = value_number(index, dimension, &value);
    else if (rule_facts_is_in_set(facts, dimension->set_number, &value))
        number = 0;
    if (number == NONE)
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

    while (probe->flip != probe->flip_end && *probe->flip / WORD_BITS < first_word)
        probe->flip++; /* in blocks that others had emptied */
    if (probe->flip == probe->flip_end || *probe->flip / WORD_BITS >= first_word + word_count)
        return base;
    memcpy(room, base, word_count * sizeof(*base));
    for (; probe->flip != probe->flip_end && *probe->flip / WORD_BITS < first_word + word_count; probe->flip++)
        room[*probe->flip / WORD_BITS - first_word] ^= UINT64_C(1) << (*probe->flip % WORD_BITS);
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
    if (first_word + word_count == index->word_count && index->entry_count % WORD_BITS != 0)
        block[word_count - 1] = (UINT64_C(1) << (index->entry_count % WORD_BITS)) - 1;
}

/* The first of some entries of one word whose rule takes the lead. */
static bool first_of_word(const struct rule_index *index, size_t word, uint64_t bits, struct rule_facts *facts,
    uint32_t *refused, size_t *ret_rule)
{
    for (; bits != 0; bits &= bits - 1) {
        uint32_t entry = (uint32_t)(word * WORD_BITS) + (uint32_t)__builtin_ctzll(bits);
        uint32_t rule = index->entry_rules[entry];
        bool is_exact = (index->exact[word] >> (entry % WORD_BITS) & 1) != 0;
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
            is_of_numbers(dimension) ? probe_number(dimension, facts) : probe_value(index, dimension, facts);
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
    struct probe probes[DIMENSIONS_MAX];
    uint64_t block[BLOCK_WORDS];
    uint32_t refused = NONE;

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
