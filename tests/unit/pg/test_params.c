/* Goal: what is added in C is what PostgreSQL sees: every parameter type, NULL, empty and large values, arrays with
 * and without NULL elements. The server itself is asked to compare or to print. */
#include "pg_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "unit/base/child.h"

/* Sends the one parameter in `params` as `type` and expects `sql`, a condition on $1, to be true. */
static void expect_true(
    struct fixture *fixture, const struct pg_params *params, enum pg_type type, const char *condition)
{
    struct pg_statement statement = {.param_count = 1, .param_types = {type}};

    statement.sql = arena_format(fixture->arena, "select coalesce((%s), false), ($1)::text", condition);
    struct pg_result *result = ask_with(fixture->conn, &statement, params);
    if (!pg_result_bool(result, 0, 0))
        fail_msg("not true: %s; the server has %s", condition, pg_result_text(result, 0, 1));
    pg_result_free(result);
}

#define EXPECT(type, condition, adding)                                                                                \
    do {                                                                                                               \
        struct pg_params params;                                                                                       \
        pg_params_init(&params, fixture->arena);                                                                       \
        adding;                                                                                                        \
        expect_true(fixture, &params, type, condition);                                                                \
    } while (0)

static void test_scalars(void **state)
{
    struct fixture *fixture = *state;
    struct uuid id;

    assert_true(uuid_parse("0190c5e1-7b1f-7cc4-8f3e-0123456789ab", &id));
    EXPECT(PG_BOOL, "$1 = true", pg_params_add_bool(&params, true));
    EXPECT(PG_BOOL, "$1 = false", pg_params_add_bool(&params, false));
    EXPECT(PG_INT4, "$1 = -2147483648", pg_params_add_int4(&params, INT32_MIN));
    EXPECT(PG_INT4, "$1 = 2147483647", pg_params_add_int4(&params, INT32_MAX));
    EXPECT(PG_INT8, "$1 = -9223372036854775808", pg_params_add_int8(&params, INT64_MIN));
    EXPECT(PG_INT8, "$1 = 9223372036854775807", pg_params_add_int8(&params, INT64_MAX));
    EXPECT(PG_INT8, "$1 = 258", pg_params_add_int8(&params, 258));
    EXPECT(PG_UUID, "$1 = '0190c5e1-7b1f-7cc4-8f3e-0123456789ab'", pg_params_add_uuid(&params, &id));
    EXPECT(PG_UUID, "$1 = '00000000-0000-0000-0000-000000000000'", pg_params_add_uuid(&params, &uuid_nil));
}

static void test_text_bytes_jsonb(void **state)
{
    static const char json[] = "{\"name\": \"Stra\xc3\x9f"
                               "e\", \"list\": [1, null]}trailing";
    struct fixture *fixture = *state;

    EXPECT(PG_TEXT, "$1 = ''", pg_params_add_text(&params, ""));
    EXPECT(PG_TEXT, "$1 = U&'Zo\\00EB \\+01F600' and length($1) = 5",
        pg_params_add_text(&params, "Zo\xc3\xab \xf0\x9f\x98\x80"));
    EXPECT(PG_TEXT, "$1 = 'it''s; drop table x --'", pg_params_add_text(&params, "it's; drop table x --"));
    EXPECT(PG_BYTEA, "$1 = '\\x00ff00'", pg_params_add_bytes(&params, "\0\xff\0", 3));
    EXPECT(PG_BYTEA, "$1 = ''::bytea", pg_params_add_bytes(&params, "", 0));
    EXPECT(PG_JSONB, "$1 = U&'{\"list\":[1,null],\"name\":\"Stra\\00DFe\"}'::jsonb",
        pg_params_add_jsonb(&params, json, sizeof(json) - sizeof("trailing")));
}

static void test_nulls(void **state)
{
    struct fixture *fixture = *state;

    EXPECT(PG_INT4, "$1 is null", pg_params_add_null(&params));
    EXPECT(PG_TEXT, "$1 is null", pg_params_add_text(&params, NULL));
    EXPECT(PG_BYTEA, "$1 is null", pg_params_add_bytes(&params, NULL, 0));
    EXPECT(PG_UUID, "$1 is null", pg_params_add_uuid(&params, NULL));
    EXPECT(PG_UUID_ARRAY, "$1 is null", pg_params_add_null(&params));
}

static void test_arrays(void **state)
{
    static const bool nulls[] = {false, true, false};
    struct fixture *fixture = *state;
    struct uuid ids[] = {{{1}}, {{2}}, {{0}}};

    EXPECT(PG_UUID_ARRAY,
        "$1 = '{01000000-0000-0000-0000-000000000000,NULL,00000000-0000-0000-0000-000000000000}'::uuid[]",
        pg_params_add_uuid_array(&params, ids, nulls, 3));
    EXPECT(PG_UUID_ARRAY, "$1[2] = '02000000-0000-0000-0000-000000000000' and array_lower($1, 1) = 1",
        pg_params_add_uuid_array(&params, ids, NULL, 3));
    EXPECT(PG_INT2_ARRAY, "$1 = '{-32768,NULL,32767}'::int2[]",
        pg_params_add_int2_array(&params, (int16_t[]){INT16_MIN, 5, INT16_MAX}, nulls, 3));
    EXPECT(PG_INT4_ARRAY, "$1 = '{-2147483648,NULL,2147483647}'::int4[]",
        pg_params_add_int4_array(&params, (int32_t[]){INT32_MIN, 5, INT32_MAX}, nulls, 3));
    EXPECT(PG_INT8_ARRAY, "$1 = '{-9223372036854775808,NULL,9223372036854775807}'::int8[]",
        pg_params_add_int8_array(&params, (int64_t[]){INT64_MIN, 5, INT64_MAX}, nulls, 3));
    EXPECT(PG_BOOL_ARRAY, "$1 = '{t,NULL,f}'::bool[]",
        pg_params_add_bool_array(&params, (bool[]){true, true, false}, nulls, 3));
    EXPECT(PG_TEXT_ARRAY, "$1 = array['', NULL, U&'{\"\\00E9\\\\}', 'NULL']",
        pg_params_add_text_array(&params, (const char *[]){"", NULL, "{\"\xc3\xa9\\}", "NULL"}, 4));
    EXPECT(PG_TID_ARRAY, "$1 = array['(0,1)', NULL, '(4294967295,65535)']::tid[]",
        pg_params_add_tid_array(&params, (struct pg_tid[]){{0, 1}, {7, 0}, {UINT32_MAX, UINT16_MAX}}, 3));
    EXPECT(PG_INT4_ARRAY, "$1 = '{7}'::int4[]", pg_params_add_int4_array(&params, (int32_t[]){7}, (bool[]){false}, 1));
    EXPECT(
        PG_INT4_ARRAY, "$1 = '{NULL}'::int4[]", pg_params_add_int4_array(&params, (int32_t[]){7}, (bool[]){true}, 1));
}

/* An empty array has no dimension, as PostgreSQL's own '{}' has none: the two must be equal. */
static void test_empty_arrays(void **state)
{
    struct fixture *fixture = *state;

    EXPECT(PG_UUID_ARRAY, "$1 = '{}' and array_ndims($1) is null", pg_params_add_uuid_array(&params, NULL, NULL, 0));
    EXPECT(PG_INT2_ARRAY, "$1 = '{}'", pg_params_add_int2_array(&params, NULL, NULL, 0));
    EXPECT(PG_INT4_ARRAY, "$1 = '{}'", pg_params_add_int4_array(&params, NULL, NULL, 0));
    EXPECT(PG_INT8_ARRAY, "$1 = '{}'", pg_params_add_int8_array(&params, NULL, NULL, 0));
    EXPECT(PG_BOOL_ARRAY, "$1 = '{}'", pg_params_add_bool_array(&params, NULL, NULL, 0));
    EXPECT(PG_TEXT_ARRAY, "$1 = '{}'", pg_params_add_text_array(&params, NULL, 0));
    EXPECT(PG_TID_ARRAY, "$1 = '{}'", pg_params_add_tid_array(&params, NULL, 0));
}

static void test_large_arrays(void **state)
{
    enum { COUNT = 100000 };
    struct fixture *fixture = *state;
    int64_t *numbers = arena_alloc_array(fixture->arena, COUNT, sizeof(*numbers));
    const char **texts = arena_alloc_array(fixture->arena, COUNT, sizeof(*texts));

    for (int i = 0; i < COUNT; i++) {
        numbers[i] = (int64_t)i * 1000003;
        texts[i] = i % 3 == 0 ? NULL : arena_format(fixture->arena, "text %d", i);
    }
    EXPECT(PG_INT8_ARRAY,
        "array_length($1, 1) = 100000 and not exists "
        "(select from unnest($1) with ordinality as t(value, i) where value <> (i - 1) * 1000003)",
        pg_params_add_int8_array(&params, numbers, NULL, COUNT));
    EXPECT(PG_TEXT_ARRAY,
        "array_length($1, 1) = 100000 and not exists (select from unnest($1) with ordinality as t(value, i) "
        "where value is distinct from case when (i - 1) % 3 <> 0 then 'text ' || (i - 1) end)",
        pg_params_add_text_array(&params, texts, COUNT));
}

/* As many as there may be, each in its place. */
static void test_all_places(void **state)
{
    struct fixture *fixture = *state;
    struct pg_statement statement = {.param_count = PG_PARAMS_MAX};
    struct pg_params params;
    char sql[1024] = "select concat_ws(','";

    pg_params_init(&params, fixture->arena);
    for (int i = 0; i < PG_PARAMS_MAX; i++) {
        size_t size = strlen(sql);
        snprintf(sql + size, sizeof(sql) - size, ", $%d", i + 1);
        statement.param_types[i] = PG_INT4;
        pg_params_add_int4(&params, i + 100);
    }
    strncat(sql, ")", sizeof(sql) - strlen(sql) - 1);
    statement.sql = sql;
    struct pg_result *result = ask_with(fixture->conn, &statement, &params);
    assert_string_equal(pg_result_text(result, 0, 0),
        "100,101,102,103,104,105,106,107,108,109,110,111,112,113,114,115,116,117,118,119,120,121,122,123");
    pg_result_free(result);
}

static void add_one_too_many(void)
{
    struct pg_params params;

    pg_params_init(&params, NULL);
    for (int i = 0; i <= PG_PARAMS_MAX; i++)
        pg_params_add_null(&params);
}

static void test_too_many_are_a_bug(void **state)
{
    (void)state;
    child_assert_aborts(add_one_too_many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_scalars),
        FIXTURE_TEST(test_text_bytes_jsonb),
        FIXTURE_TEST(test_nulls),
        FIXTURE_TEST(test_arrays),
        FIXTURE_TEST(test_empty_arrays),
        FIXTURE_TEST(test_large_arrays),
        FIXTURE_TEST(test_all_places),
        cmocka_unit_test(test_too_many_are_a_bug),
    };

    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
