/* Goal: members are found, walked and removed while the table grows, also when all hashes are equal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash_table.h"
#include "base/memory.h"
#include "child.h"

enum { COUNT = 5000 };

struct member {
    int before;
    struct hash_node node;
    size_t number;
    bool seen;
};

static struct member members[COUNT];

static struct member *find(const struct hash_table *table, uint64_t hash, size_t number)
{
    for (struct hash_node *node = hash_table_first(table, hash); node != NULL; node = hash_table_next(node)) {
        struct member *member = HASH_TABLE_MEMBER(node, struct member, node);
        assert_true(node->hash == hash);
        if (member->number == number)
            return member;
    }
    return NULL;
}

static size_t walk(const struct hash_table *table)
{
    size_t count = 0;

    for (size_t i = 0; i < COUNT; i++)
        members[i].seen = false;
    for (struct hash_node *node = hash_table_walk(table, NULL); node != NULL; node = hash_table_walk(table, node)) {
        struct member *member = HASH_TABLE_MEMBER(node, struct member, node);
        assert_false(member->seen);
        member->seen = true;
        count++;
    }
    assert_int_equal(count, table->count);
    return count;
}

/* `hash_of_number` decides how members collide. */
static void run(uint64_t (*hash_of_number)(size_t number), size_t count, size_t count_expected)
{
    struct hash_table table;

    hash_table_init(&table, count_expected);
    assert_int_equal(walk(&table), 0);
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct member){.number = i};
        hash_table_add(&table, &members[i].node, hash_of_number(i));
    }
    assert_int_equal(walk(&table), count);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(find(&table, hash_of_number(i), i), &members[i]);
    for (size_t i = 0; i < count; i += 2)
        hash_table_remove(&table, &members[i].node);
    assert_int_equal(walk(&table), count / 2);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(find(&table, hash_of_number(i), i), i % 2 == 0 ? NULL : &members[i]);
    hash_table_release(&table);
    assert_null(table.buckets);
    hash_table_release(&table);
}

static uint64_t spread(size_t number)
{
    return number * 0x9e3779b97f4a7c15U;
}

static uint64_t crowded(size_t number)
{
    return (uint64_t)(number % 7) << 40; /* one bucket, seven hashes */
}

static uint64_t same(size_t number)
{
    (void)number;
    return 42;
}

static void test_spread(void **state)
{
    (void)state;
    run(spread, COUNT, 0);
    run(spread, COUNT, COUNT);
}

static void test_collisions(void **state)
{
    (void)state;
    run(crowded, 300, 0);
    run(same, 300, 0);
}

static void test_missing(void **state)
{
    struct hash_table table;

    (void)state;
    hash_table_init(&table, 0);
    assert_null(hash_table_first(&table, 1));
    members[0] = (struct member){0};
    hash_table_add(&table, &members[0].node, 1);
    assert_null(hash_table_first(&table, 17)); /* the same bucket, another hash */
    assert_null(hash_table_next(hash_table_first(&table, 1)));
    hash_table_release(&table);
}

static void remove_stranger(void)
{
    struct hash_table table;
    struct member stranger = {0};

    hash_table_init(&table, 0);
    hash_table_remove(&table, &stranger.node);
}

static void add_to_released(void)
{
    struct hash_table table = {0};
    struct member member = {0};

    hash_table_add(&table, &member.node, 1);
}

static void test_misuse_is_a_bug(void **state)
{
    (void)state;
    child_assert_aborts(remove_stranger);
    child_assert_aborts(add_to_released);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_misuse_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
