/* Compiled rule sets by workspace, shared by the lanes. A set is used only when its version is the one read under
 * the lead's lock, so the cache can be behind but never wrong. Any thread. */
#ifndef ROUTING_RULE_CACHE_H
#define ROUTING_RULE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "routing/store.h"
#include "rules/rules.h"

struct rule_cache;

/* Keeps the sets of at most `workspaces_max` workspaces. */
struct rule_cache *rule_cache_new(size_t workspaces_max);
void rule_cache_free(struct rule_cache *cache); /* NULL is fine */

/* The set of a workspace in exactly this version: true, with a reference in `*ret_set`, or with NULL there and
 * `reterr_error` filled when that version's rules are known to be unusable. False when it is not cached: load it. */
bool rule_cache_get(struct rule_cache *cache, const struct uuid *workspace_id, int64_t version,
    struct rule_set **ret_set, struct error *reterr_error);

/* Compiles what was loaded and keeps it in place of an older version (rules that cannot be compiled are kept as an
 * error). `ret_set` gets a reference, or NULL with `reterr_error` filled. */
void rule_cache_put(
    struct rule_cache *cache, const struct store_rules *rules, struct rule_set **ret_set, struct error *reterr_error);

#endif
