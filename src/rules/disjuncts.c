#include "rules/disjuncts.h"

#include <string.h>

static struct rule_disjuncts expand(struct arena *arena, const struct rule_condition *condition, bool is_negated);

/* One conjunction of no tests: always; or, when it is wider, perhaps. */
static struct rule_disjuncts always(struct arena *arena, bool is_wider)
{
    struct rule_conjunction *one = arena_alloc(arena, sizeof(*one));

    one->is_wider = is_wider;
    return (struct rule_disjuncts){one, 1};
}

static struct rule_conjunction join(
    struct arena *arena, const struct rule_conjunction *left, const struct rule_conjunction *right)
{
    struct rule_literal *literals = NULL;

    if (right->count == 0)
        return (struct rule_conjunction){left->literals, left->count, left->is_wider || right->is_wider};
    literals = arena_alloc_array(arena, left->count + right->count, sizeof(*literals));
    if (left->count > 0)
        memcpy(literals, left->literals, left->count * sizeof(*literals));
    memcpy(literals + left->count, right->literals, right->count * sizeof(*literals));
    return (struct rule_conjunction){literals, left->count + right->count, left->is_wider || right->is_wider};
}

static struct rule_disjuncts multiply(
    struct arena *arena, const struct rule_disjuncts *left, const struct rule_disjuncts *right)
{
    struct rule_conjunction *items = arena_alloc_array(arena, left->count * right->count, sizeof(*items));

    for (size_t i = 0; i < left->count; i++) {
        for (size_t k = 0; k < right->count; k++)
            items[i * right->count + k] = join(arena, &left->items[i], &right->items[k]);
    }
    return (struct rule_disjuncts){items, left->count * right->count};
}

static struct rule_disjuncts expand_all(struct arena *arena, const struct rule_condition *condition, bool is_negated)
{
    struct rule_disjuncts product = always(arena, false);

    for (size_t i = 0; i < condition->count && product.count > 0; i++) {
        struct rule_disjuncts factor = expand(arena, condition->items[i], is_negated);
        if (product.count * factor.count > RULE_DISJUNCTS_MAX)
            factor = always(arena, true);
        product = multiply(arena, &product, &factor);
    }
    return product;
}

static struct rule_disjuncts expand_any(struct arena *arena, const struct rule_condition *condition, bool is_negated)
{
    struct rule_conjunction *items = arena_alloc_array(arena, RULE_DISJUNCTS_MAX, sizeof(*items));
    size_t count = 0;

    for (size_t i = 0; i < condition->count; i++) {
        struct rule_disjuncts part = expand(arena, condition->items[i], is_negated);
        if (count + part.count > RULE_DISJUNCTS_MAX)
            return always(arena, true);
        if (part.count > 0)
            memcpy(items + count, part.items, part.count * sizeof(*items));
        count += part.count;
    }
    return (struct rule_disjuncts){items, count};
}

static struct rule_disjuncts expand(struct arena *arena, const struct rule_condition *condition, bool is_negated)
{
    struct rule_conjunction *one = NULL;
    struct rule_literal *literal = NULL;

    switch (condition->kind) {
    case RULE_CONDITION_NOT:
        return expand(arena, condition->items[0], !is_negated);
    case RULE_CONDITION_ALL:
        return is_negated ? expand_any(arena, condition, true) : expand_all(arena, condition, false);
    case RULE_CONDITION_ANY:
        return is_negated ? expand_all(arena, condition, true) : expand_any(arena, condition, false);
    case RULE_CONDITION_TEST:
        break;
    }
    one = arena_alloc(arena, sizeof(*one));
    literal = arena_alloc(arena, sizeof(*literal));
    *literal = (struct rule_literal){condition->test, is_negated};
    *one = (struct rule_conjunction){.literals = literal, .count = 1};
    return (struct rule_disjuncts){one, 1};
}

struct rule_disjuncts rule_disjuncts_make(struct arena *arena, const struct rule_condition *condition)
{
    return expand(arena, condition, false);
}
