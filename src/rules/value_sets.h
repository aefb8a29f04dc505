/* Named sets in the forms in which conditions ask for them. */
#ifndef RULES_VALUE_SETS_H
#define RULES_VALUE_SETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "rules/conditions.h"
#include "rules/facts.h"
#include "rules/rules.h"

/* Makes the sets that a reader met, parallel to its `sets`, in `arena`. Values that are blank or no UTF-8 are left out.
 * Errors: ERROR_INVALID naming a set that is not among the sources. */
bool rule_value_sets_make(struct arena *arena, const struct rule_reader *reader, const struct rule_named_set *sources,
    size_t source_count, struct rule_value_set **ret_sets, struct error *reterr_error);

#endif
