#include "routing/rule_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hash_table.h"
#include "base/memory.h"

struct cached_rules {
    struct hash_node node; /* by workspace */
    struct uuid workspace_id;
    int64_t version;
    struct rule_set *set; /* NULL: the rules cannot be used, `error` says why */
    struct error error;
};

struct rule_cache {
    pthread_mutex_t lock;

    /* under the lock */
    struct hash_table by_workspace;
    size_t workspaces_max;
};

struct rule_cache *rule_cache_new(size_t workspaces_max)
{
    struct rule_cache *cache = memory_new(sizeof(*cache));

    assert(workspaces_max > 0);
    pthread_mutex_init(&cache->lock, NULL);
    hash_table_init(&cache->by_workspace, 64);
    cache->workspaces_max = workspaces_max;
    return cache;
}

static void forget(struct rule_cache *cache, struct cached_rules *cached)
{
    hash_table_remove(&cache->by_workspace, &cached->node);
    rule_set_unref(cached->set);
    free(cached);
}

static struct cached_rules *any(const struct rule_cache *cache)
{
    struct hash_node *node = hash_table_walk(&cache->by_workspace, NULL);

    return node == NULL ? NULL : HASH_TABLE_MEMBER(node, struct cached_rules, node);
}

void rule_cache_free(struct rule_cache *cache)
{
    struct cached_rules *cached = NULL;

    if (cache == NULL)
        return;
    while ((cached = any(cache)) != NULL)
        forget(cache, cached);
    hash_table_release(&cache->by_workspace);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static struct cached_rules *find(const struct rule_cache *cache, const struct uuid *workspace_id)
{
    struct hash_node *node = hash_table_first(&cache->by_workspace, uuid_hash(workspace_id));

    for (; node != NULL; node = hash_table_next(node)) {
        struct cached_rules *cached = HASH_TABLE_MEMBER(node, struct cached_rules, node);
        if (uuid_equal(&cached->workspace_id, workspace_id))
            return cached;
    }
    return NULL;
}

bool rule_cache_get(struct rule_cache *cache, const struct uuid *workspace_id, int64_t version,
    struct rule_set **ret_set, struct error *reterr_error)
{
    bool known = false;

    pthread_mutex_lock(&cache->lock);
    struct cached_rules *cached = find(cache, workspace_id);
    if (cached != NULL && cached->version == version) {
        known = true;
        *ret_set = cached->set == NULL ? NULL : rule_set_ref(cached->set);
        if (cached->set == NULL && reterr_error != NULL)
            *reterr_error = cached->error;
    }
    pthread_mutex_unlock(&cache->lock);
    return known;
}

/* Compiles outside the lock: other lanes go on meanwhile. */
static struct cached_rules *compile(const struct store_rules *rules)
{
    struct cached_rules *cached = memory_new(sizeof(*cached));
    struct rule_policy policy;

    cached->workspace_id = rules->workspace_id;
    cached->version = rules->rules_version;
    if (!rule_policy_parse(rules->routing_config, &policy, &cached->error))
        return cached;
    policy.fallback_is_active = rules->fallback_is_active;
    const struct rule_set_source source = {
        .workspace_id = rules->workspace_id,
        .version = rules->rules_version,
        .policy = &policy,
        .rules = rules->rules,
        .rule_count = rules->rule_count,
        .sets = rules->sets,
        .set_count = rules->set_count,
    };
    if (!rule_set_compile(&source, &cached->set, &cached->error))
        cached->set = NULL;
    return cached;
}

void rule_cache_put(
    struct rule_cache *cache, const struct store_rules *rules, struct rule_set **ret_set, struct error *reterr_error)
{
    struct cached_rules *cached = compile(rules);

    *ret_set = cached->set == NULL ? NULL : rule_set_ref(cached->set);
    if (cached->set == NULL && reterr_error != NULL)
        *reterr_error = cached->error;
    pthread_mutex_lock(&cache->lock);
    struct cached_rules *older = find(cache, &rules->workspace_id);
    if (older != NULL && older->version > cached->version) {
        rule_set_unref(cached->set);
        free(cached);
    } else {
        if (older == NULL && cache->by_workspace.count >= cache->workspaces_max)
            older = any(cache);
        if (older != NULL)
            forget(cache, older);
        hash_table_add(&cache->by_workspace, &cached->node, uuid_hash(&cached->workspace_id));
    }
    pthread_mutex_unlock(&cache->lock);
}
