#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "internal.h"

struct jwt_cache_entry {
    struct hash_node node;
    bool is_used;
    unsigned char digest[JWT_DIGEST_SIZE];
    struct jwt_claims claims;
};

void jwt_cache_init(struct jwt_cache *cache)
{
    *cache = (struct jwt_cache){0};
    pthread_mutex_init(&cache->lock, NULL);
    hash_table_init(&cache->by_digest, 64);
    cache->entries = memory_new_array(JWT_CACHE_MAX, sizeof(*cache->entries));
}

void jwt_cache_release(struct jwt_cache *cache)
{
    hash_table_release(&cache->by_digest);
    free(cache->entries);
    pthread_mutex_destroy(&cache->lock);
}

/* A part of the digest: nobody can choose tokens that fall into one chain and have them verified too. */
static uint64_t hash_of(const unsigned char digest[JWT_DIGEST_SIZE])
{
    uint64_t hash = 0;

    memcpy(&hash, digest, sizeof(hash));
    return hash;
}

static struct jwt_cache_entry *find(struct jwt_cache *cache, const unsigned char digest[JWT_DIGEST_SIZE])
{
    struct hash_node *node = hash_table_first(&cache->by_digest, hash_of(digest));

    for (; node != NULL; node = hash_table_next(node)) {
        struct jwt_cache_entry *entry = HASH_TABLE_MEMBER(node, struct jwt_cache_entry, node);
        if (memcmp(entry->digest, digest, JWT_DIGEST_SIZE) == 0)
            return entry;
    }
    return NULL;
}

bool jwt_cache_find(struct jwt_cache *cache, const unsigned char digest[JWT_DIGEST_SIZE], struct jwt_claims *ret_claims)
{
    pthread_mutex_lock(&cache->lock);
    const struct jwt_cache_entry *entry = find(cache, digest);
    if (entry != NULL)
        *ret_claims = entry->claims;
    pthread_mutex_unlock(&cache->lock);
    return entry != NULL;
}

void jwt_cache_add(
    struct jwt_cache *cache, const unsigned char digest[JWT_DIGEST_SIZE], const struct jwt_claims *claims)
{
    pthread_mutex_lock(&cache->lock);
    if (cache->generation == claims->keys && find(cache, digest) == NULL) {
        struct jwt_cache_entry *entry = &cache->entries[cache->next];
        cache->next = (cache->next + 1) % JWT_CACHE_MAX;
        if (entry->is_used)
            hash_table_remove(&cache->by_digest, &entry->node);
        *entry = (struct jwt_cache_entry){.is_used = true, .claims = *claims};
        memcpy(entry->digest, digest, JWT_DIGEST_SIZE);
        hash_table_add(&cache->by_digest, &entry->node, hash_of(digest));
    }
    pthread_mutex_unlock(&cache->lock);
}

void jwt_cache_clear(struct jwt_cache *cache, uint64_t generation)
{
    pthread_mutex_lock(&cache->lock);
    hash_table_release(&cache->by_digest);
    hash_table_init(&cache->by_digest, 64);
    for (size_t i = 0; i < JWT_CACHE_MAX; i++)
        cache->entries[i].is_used = false;
    cache->next = 0;
    cache->generation = generation;
    pthread_mutex_unlock(&cache->lock);
}
