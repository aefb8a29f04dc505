/* An index over the rules of a set: gives the few that may take a lead, in match order (src/rules/README.md). Immutable; any thread. */
#ifndef RULES_INDEX_H
#define RULES_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/conditions.h"
#include "rules/facts.h"

struct rule_index;

/* A rule as the index sees it, in match order. Borrowed while the index lives. */
struct rule_index_source {
    const struct rule_condition *condition; /* NULL: it takes no lead */
};

/* Builds an index; released with rule_index_free(). */
struct rule_index *rule_index_new(
    const struct rule_index_source *rules, size_t rule_count, const struct rule_fields *fields);
void rule_index_free(struct rule_index *index); /* NULL is fine */

/* The first rule whose conditions hold, as an index into the sources; false when there is none. */
bool rule_index_first(const struct rule_index *index, struct rule_facts *facts, size_t *ret_rule);

/* Bytes that it takes. */
size_t rule_index_size(const struct rule_index *index);

#endif
