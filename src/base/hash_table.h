/* Hash table with chains through its members: nothing is copied, and a member costs two words.
 *
 * Not thread safe. The table does not own its members. */
#ifndef BASE_HASH_TABLE_H
#define BASE_HASH_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* Part of each member; the member's address is had with HASH_TABLE_MEMBER. */
struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash_table {
    struct hash_node **buckets; /* `bucket_count` chains; a power of two */
    size_t bucket_count;
    size_t count;
};

/* The member of type `type` whose field `field` is the node; `node` must not be NULL. */
#define HASH_TABLE_MEMBER(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

/* An empty table with room for about `count_expected` members; it grows by doubling. */
void hash_table_init(struct hash_table *table, size_t count_expected);

/* Gives the chains back; members are left alone. A zeroed struct is fine. */
void hash_table_release(struct hash_table *table);

/* Adds a member under a hash; equal hashes may be there already. */
void hash_table_add(struct hash_table *table, struct hash_node *node, uint64_t hash);

/* Takes a member out that is in the table (asserted). */
void hash_table_remove(struct hash_table *table, struct hash_node *node);

/* First member with this hash, then the next one with the same hash; NULL at the end. The caller compares keys. */
struct hash_node *hash_table_first(const struct hash_table *table, uint64_t hash);
struct hash_node *hash_table_next(const struct hash_node *node);

/* Members one by one in no order: start with NULL; NULL at the end. The table must not change meanwhile. */
struct hash_node *hash_table_walk(const struct hash_table *table, const struct hash_node *previous);

#endif
