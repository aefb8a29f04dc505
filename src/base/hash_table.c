#include "base/hash_table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { BUCKET_COUNT_MIN = 16 };

static size_t bucket_of(const struct hash_table *table, uint64_t hash)
{
    return (size_t)hash & (table->bucket_count - 1);
}

void hash_table_init(struct hash_table *table, size_t count_expected)
{
    size_t bucket_count = BUCKET_COUNT_MIN;

    assert(count_expected <= SIZE_MAX / 2);
    while (bucket_count < count_expected)
        bucket_count *= 2;
    table->buckets = memory_new_array(bucket_count, sizeof(*table->buckets));
    table->bucket_count = bucket_count;
    table->count = 0;
}

void hash_table_release(struct hash_table *table)
{
    free(table->buckets);
    *table = (struct hash_table){0};
}

static void grow(struct hash_table *table)
{
    struct hash_table larger;

    hash_table_init(&larger, table->bucket_count * 2);
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct hash_node *node = table->buckets[i];
        while (node != NULL) {
            struct hash_node *next = node->next;
            hash_table_add(&larger, node, node->hash);
            node = next;
        }
    }
    free(table->buckets);
    *table = larger;
}

void hash_table_add(struct hash_table *table, struct hash_node *node, uint64_t hash)
{
    assert(table->buckets != NULL);
    if (table->count >= table->bucket_count)
        grow(table);
    size_t bucket = bucket_of(table, hash);
    node->hash = hash;
    node->next = table->buckets[bucket];
    table->buckets[bucket] = node;
    table->count++;
}

void hash_table_remove(struct hash_table *table, struct hash_node *node)
{
    struct hash_node **link = &table->buckets[bucket_of(table, node->hash)];

    while (*link != node) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    table->count--;
}

struct hash_node *hash_table_first(const struct hash_table *table, uint64_t hash)
{
    struct hash_node *node = table->buckets[bucket_of(table, hash)];

    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct hash_node *hash_table_next(const struct hash_node *node)
{
    struct hash_node *next = node->next;

    while (next != NULL && next->hash != node->hash)
        next = next->next;
    return next;
}

struct hash_node *hash_table_walk(const struct hash_table *table, const struct hash_node *previous)
{
    size_t bucket = 0;

    if (previous != NULL) {
        if (previous->next != NULL)
            return previous->next;
        bucket = bucket_of(table, previous->hash) + 1;
    }
    while (bucket < table->bucket_count && table->buckets[bucket] == NULL)
        bucket++;
    return bucket < table->bucket_count ? table->buckets[bucket] : NULL;
}
