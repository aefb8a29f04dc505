#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "rules/disjuncts.h"
#include "rules/index_layout.h"
#include "rules/values.h"

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
    uint32_t *by_field;    /* dimension of (field, kind, form), or INDEX_NONE */
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
    bitmap[bit / INDEX_WORD_BITS] |= UINT64_C(1) << (bit % INDEX_WORD_BITS);
}

static void clear_bit(uint64_t *bitmap, uint32_t bit)
{
    bitmap[bit / INDEX_WORD_BITS] &= ~(UINT64_C(1) << (bit % INDEX_WORD_BITS));
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
    } else if (*known != INDEX_NONE) {
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
    uint32_t dimension = INDEX_NONE;
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
        uint32_t slot = (uint32_t)index_hash(index->seed, &dimension->values[i]) & dimension->slot_mask;
        while (dimension->slots[slot] != INDEX_NONE)
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
        qsort(list->items, list->count, sizeof(*list->items), rule_value_order);
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

    qsort(ends->items, ends->count, sizeof(*ends->items), rule_number_order);
    for (size_t i = 0; i < ends->count; i++) {
        if (isfinite(ends->items[i]) && (distinct == 0 || ends->items[distinct - 1] != ends->items[i]))
            ends->items[distinct++] = ends->items[i];
    }
    dimension->bound_count = distinct < INDEX_BUCKETS_MAX - 1 ? distinct : INDEX_BUCKETS_MAX - 1;
    dimension->bounds = allocate(builder->index, dimension->bound_count, sizeof(*dimension->bounds));
    for (uint32_t i = 0; i < dimension->bound_count; i++)
        dimension->bounds[i] = ends->items[(size_t)i * distinct / dimension->bound_count];
}

/* Keeps the dimensions that exclude most, in that order, and tells find_dimension() where they are now. */
static void choose_dimensions(struct builder *builder)
{
    struct rule_index *index = builder->index;
    size_t slots = (size_t)DIMENSION_LONGITUDE + 1 + RULE_FORM_COUNT;

    for (size_t i = 0; i < builder->count; i++) {
        if (index_is_of_numbers(&builder->all[i]))
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
        if (i >= INDEX_DIMENSIONS_MAX) {
            free(dimension->values);
            free(dimension->slots);
            free(dimension->bounds);
        }
    }
    index->dimension_count = builder->count < INDEX_DIMENSIONS_MAX ? builder->count : INDEX_DIMENSIONS_MAX;
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
    assert(entries < INDEX_ENTRIES_MAX);
    index->entry_count = (uint32_t)entries;
    index->word_count = (entries + INDEX_WORD_BITS - 1) / INDEX_WORD_BITS;
}

/* --- Second pass: bitmaps ---------------------------------------------------------------------------------------- */

/* A bitmap with every entry in it. */
static uint64_t *new_full(struct rule_index *index)
{
    uint64_t *bitmap = allocate(index, index->word_count, sizeof(*bitmap));

    if (index->word_count > 0)
        memset(bitmap, 0xFF, index->word_count * sizeof(*bitmap));
    if (index->entry_count % INDEX_WORD_BITS != 0)
        bitmap[index->word_count - 1] = (UINT64_C(1) << (index->entry_count % INDEX_WORD_BITS)) - 1;
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
        if (!index_is_of_numbers(dimension)) {
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
            taken.numbers[i] = index_value_number(builder->index, dimension, &test->values[i]);
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
    uint32_t dimension = INDEX_NONE;
    uint32_t longitude = INDEX_NONE;
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

static void write_constraint(
    struct builder *builder, uint32_t number, const struct constraint *constraint, uint32_t entry)
{
    struct dimension *dimension = &builder->index->dimensions[number];
    struct pair_list *pairs = &builder->pairs[number];

    if (!constraint->takes_missing)
        clear_bit(dimension->missing, entry);
    if (index_is_of_numbers(dimension)) {
        uint32_t first = index_bucket(dimension, constraint->low);
        uint32_t last = index_bucket(dimension, constraint->high);
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
    if (index_is_of_numbers(dimension)) {
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
            bool is_taken_by_other = (dimension->other[entry / INDEX_WORD_BITS] >> (entry % INDEX_WORD_BITS) & 1) != 0;
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
        if (!index_is_of_numbers(&index->dimensions[i]))
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
