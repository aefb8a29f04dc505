/* Goal: what PostgreSQL answers is what C reads: every type, NULL, infinity and the ends of time; and reading
 * wrongly is a bug that stops the program. */
#include "pg_fixture.h"

#include <math.h>
#include <string.h>

#include "unit/base/child.h"

static void test_scalars(void **state)
{
    struct fixture *fixture = *state;
    struct uuid id = uuid_nil;
    struct pg_result *result = ask(fixture->conn, "select true, false, (-32768)::int2, 2147483647::int4");

    assert_int_equal(pg_result_row_count(result), 1);
    assert_true(pg_result_bool(result, 0, 0));
    assert_false(pg_result_bool(result, 0, 1));
    assert_int_equal(pg_result_int2(result, 0, 2), INT16_MIN);
    assert_int_equal(pg_result_int4(result, 0, 3), INT32_MAX);
    pg_result_free(result);
    result = ask(fixture->conn, "select (-9223372036854775808)::int8, 9223372036854775807::int8, 1.5::float8, "
                                "'-Infinity'::float8, 'NaN'::float8, '0190c5e1-7b1f-7cc4-8f3e-0123456789ab'::uuid");
    assert_int_equal(pg_result_int8(result, 0, 0), INT64_MIN);
    assert_int_equal(pg_result_int8(result, 0, 1), INT64_MAX);
    assert_true(pg_result_float8(result, 0, 2) == 1.5);
    assert_true(isinf(pg_result_float8(result, 0, 3)) && pg_result_float8(result, 0, 3) < 0);
    assert_true(isnan(pg_result_float8(result, 0, 4)));
    assert_true(uuid_parse("0190c5e1-7b1f-7cc4-8f3e-0123456789ab", &id));
    struct uuid got = pg_result_uuid(result, 0, 5);
    assert_true(uuid_equal(&got, &id));
    pg_result_free(result);
}

static void test_tids(void **state)
{
    struct fixture *fixture = *state;
    struct pg_result *result = ask(fixture->conn, "select '(4294967294,65535)'::tid, '(0,1)'::tid, null::tid");
    struct pg_tid last = pg_result_tid(result, 0, 0);
    struct pg_tid first = pg_result_tid(result, 0, 1);
    struct pg_tid nowhere = pg_result_tid(result, 0, 2);

    assert_true(last.block == UINT32_MAX - 1 && last.offset == UINT16_MAX);
    assert_true(first.block == 0 && first.offset == 1);
    assert_int_equal(nowhere.offset, 0);
    pg_result_free(result);
}

/* Everything that has text for its binary form; enums have object ids of their own in each database. */
static void test_text(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->conn, "drop type if exists pg_temp.mood; create type pg_temp.mood as enum ('sad', 'glad')");
    struct pg_result *result =
        ask(fixture->conn, "select U&'Zo\\00EB \\+01F600', 'v'::varchar, 'c '::char(2), 'n'::name, "
                           "'glad'::pg_temp.mood, '{\"a\":  1}'::json, '{\"a\":  1}'::jsonb, 'literal', ''::text");
    static const char *const expected[] = {
        "Zo\xc3\xab \xf0\x9f\x98\x80", "v", "c ", "n", "glad", "{\"a\":  1}", "{\"a\": 1}", "literal", ""};
    for (int column = 0; column < 9; column++)
        assert_string_equal(pg_result_text(result, 0, column), expected[column]);
    pg_result_free(result);
}

static void test_nulls(void **state)
{
    struct fixture *fixture = *state;
    struct pg_result *result = ask(fixture->conn, "select null::text, null::uuid, null::jsonb, 1::int4, null::int8");
    struct uuid id = pg_result_uuid(result, 0, 1);

    assert_null(pg_result_text(result, 0, 0));
    assert_true(uuid_is_nil(&id));
    assert_null(pg_result_text(result, 0, 2));
    assert_false(pg_result_is_null(result, 0, 3));
    assert_true(pg_result_is_null(result, 0, 4));
    pg_result_free(result);
}

static void test_row_counts(void **state)
{
    static const struct {
        const char *sql;
        int rows;
    } cases[] = {
        {"create temporary table counted (n int4)", 0},
        {"insert into counted select generate_series(1, 1000)", 0},
        {"select n from counted order by n", 1000},
        {"select n from counted where n > 1000", 0},
        {"update counted set n = -n where n <= 10 returning n", 10},
        {"delete from counted where n < 0", 0},
        {"delete from counted where n < 0", 0},
        {"merge into counted using (values (11)) as s(n) on counted.n = s.n when matched then delete", 0},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pg_result *result = ask(fixture->conn, cases[i].sql);
        assert_int_equal(pg_result_row_count(result), cases[i].rows);
        for (int row = 0; i == 2 && row < cases[i].rows; row++)
            assert_int_equal(pg_result_int4(result, row, 0), row + 1);
        pg_result_free(result);
    }
    pg_result_free(NULL);
}

/* --- Our misuse: the bodies run in children ----------------------------------------------------------------------- */

static struct pg_result *misused; /* (1::int4, null::int4, 'text', '2000-01-01'::date) */

static void read_wrong_type(void)
{
    pg_result_int8(misused, 0, 0);
}

static void read_null(void)
{
    pg_result_int4(misused, 0, 1);
}

static void read_number_as_text(void)
{
    pg_result_text(misused, 0, 0);
}

static void read_unknown_type_as_text(void)
{
    pg_result_text(misused, 0, 3);
}

static void read_row_after_last(void)
{
    pg_result_int4(misused, 1, 0);
}

static void read_column_after_last(void)
{
    pg_result_is_null(misused, 0, 4);
}

static void read_row_before_first(void)
{
    pg_result_is_null(misused, -1, 0);
}

static void test_misuse_is_a_bug(void **state)
{
    static void (*const bodies[])(void) = {read_wrong_type, read_null, read_number_as_text, read_unknown_type_as_text,
        read_row_after_last, read_column_after_last, read_row_before_first};
    struct fixture *fixture = *state;

    misused = ask(fixture->conn, "select 1::int4, null::int4, 'text', '2000-01-01'::date");
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        child_assert_aborts(bodies[i]);
    pg_result_free(misused);
    misused = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_scalars),
        FIXTURE_TEST(test_tids),
        FIXTURE_TEST(test_text),
        FIXTURE_TEST(test_nulls),
        FIXTURE_TEST(test_row_counts),
        FIXTURE_TEST(test_misuse_is_a_bug),
    };

    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
