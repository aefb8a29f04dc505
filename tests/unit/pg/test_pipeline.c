/* Goal: statements travel together and their results come back in order; an error aborts what follows it in the
 * round trip and nothing else; names are prepared exactly as often as needed; and no amount of data in both
 * directions blocks. */
#include "pg_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "unit/base/child.h"

static const struct pg_statement begin = {.name = "begin", .sql = "begin"};
static const struct pg_statement commit = {.name = "commit", .sql = "commit"};
static const struct pg_statement rollback = {.name = "rollback", .sql = "rollback"};
static const struct pg_statement fails = {.name = "fails", .sql = "select 1 / 0"};
static const struct pg_statement one = {.name = "one", .sql = "select 1::int4"};
static const struct pg_statement add_one = {
    .name = "add_one", .sql = "select $1 + 1", .param_count = 1, .param_types = {PG_INT4}};

static void flush(struct pg_conn *conn)
{
    struct error error = {0};

    require(pg_pipeline_flush(conn, patience(), &error), &error);
}

static void end(struct pg_conn *conn)
{
    struct error error = {0};

    require(pg_pipeline_end(conn, patience(), &error), &error);
}

static void next_ok(struct pg_conn *conn)
{
    struct error error = {0};

    require(pg_pipeline_next(conn, patience(), NULL, &error), &error);
}

static int next_int4(struct pg_conn *conn)
{
    struct pg_result *result = NULL;
    struct error error = {0};

    require(pg_pipeline_next(conn, patience(), &result, &error), &error);
    int value = pg_result_int4(result, 0, 0);
    pg_result_free(result);
    return value;
}

static void next_error(struct pg_conn *conn, const char *sqlstate)
{
    struct pg_result *result = NULL;
    struct error error = {0};

    assert_false(pg_pipeline_next(conn, patience(), &result, &error));
    assert_null(result);
    expect_error(&error, ERROR_DATABASE, sqlstate);
    if (sqlstate[0] == '\0')
        assert_string_equal(error.text, "skipped after an earlier error");
    assert_true(pg_conn_is_open(conn));
}

static const char *prepared_count(struct fixture *fixture)
{
    return ask_text(fixture, "select count(*)::text from pg_prepared_statements");
}

/* Commands, rows, no rows; far more statements than the ring of entries starts with; twice over one connection. */
static void test_results_in_order(void **state)
{
    enum { COUNT = 1000 };
    static const struct pg_statement nothing = {.sql = "select 1 where false"};
    static const struct pg_statement empty = {.sql = " -- nothing at all"};
    struct fixture *fixture = *state;

    for (int round = 0; round < 2; round++) {
        pg_pipeline_add(fixture->conn, &begin, NULL);
        for (int i = 0; i < COUNT; i++) {
            struct pg_params params;
            pg_params_init(&params, fixture->arena);
            pg_params_add_int4(&params, i);
            pg_pipeline_add(fixture->conn, &add_one, &params);
        }
        pg_pipeline_add(fixture->conn, &nothing, NULL);
        pg_pipeline_add(fixture->conn, &empty, NULL);
        pg_pipeline_add(fixture->conn, &commit, NULL);
        flush(fixture->conn);
        next_ok(fixture->conn);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(next_int4(fixture->conn), i + 1);
        for (int i = 0; i < 3; i++)
            next_ok(fixture->conn);
        end(fixture->conn);
    }
    assert_string_equal(prepared_count(fixture), "3");
}

static void test_results_not_taken_are_dropped(void **state)
{
    struct fixture *fixture = *state;

    end(fixture->conn); /* no round trip is open */
    pg_pipeline_add(fixture->conn, &one, NULL);
    pg_pipeline_add(fixture->conn, &fails, NULL);
    pg_pipeline_add(fixture->conn, &one, NULL);
    flush(fixture->conn);
    assert_int_equal(next_int4(fixture->conn), 1);
    end(fixture->conn);
    end(fixture->conn);
    assert_string_equal(ask_text(fixture, "select 'fine'"), "fine");
}

static void test_error_has_sqlstate_and_message(void **state)
{
    static const struct {
        const char *sql;
        const char *sqlstate;
        const char *text;
    } cases[] = {
        {"select 1 / 0", "22012", "refused by the database"},
        {"selec", "42601", "refused by the database"},
        {"select 'secret'::int", "22P02", "refused by the database"},
        {"do $$ begin execute 'create or replace function pg_temp.strange() returns int language plpgsql as $f$ begin "
         "raise exception ''secret'' using errcode = ''53100''; end $f$'; perform pg_temp.strange(); end $$",
            "53100", "refused by the database"},
        {"do $$ begin create temp table t (a text constraint short check (length(a) < 3)); insert into t values "
         "('secret'); end $$",
            "23514", "refused by the database, constraint short, table t"},
        {"do $$ begin create temp table t (a text constraint one primary key); insert into t values ('secret'), "
         "('secret'); end $$",
            "23505", "refused by the database, constraint one, table t"},
        {"do $$ begin create temp table t (a int not null); insert into t values (null); end $$", "23502",
            "refused by the database, table t, column a"},
        {"select * from nowhere", "42P01", "relation \"nowhere\" does not exist"},
        {"do $$ begin raise exception 'own' using errcode = 'LR001', detail = 'secret', hint = 'secret'; end $$",
            "LR001", "own"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pg_statement statement = {.sql = cases[i].sql};
        struct error error = {0};
        assert_false(pg_execute(fixture->conn, &statement, NULL, patience(), NULL, &error));
        expect_error(&error, ERROR_DATABASE, cases[i].sqlstate);
        assert_string_equal(error.text, cases[i].text);
        assert_false(pg_execute_script(fixture->conn, cases[i].sql, patience(), &error));
        expect_error(&error, ERROR_DATABASE, cases[i].sqlstate);
        assert_null(strstr(error.text, "secret"));
        assert_true(pg_conn_is_open(fixture->conn));
    }
    assert_false(pg_execute_script(fixture->conn, "select 1 / 0", patience(), NULL));
}

/* The first error aborts the rest of its round trip; the transaction stays open and failed until it is rolled back. */
static void test_error_aborts_the_rest(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "create temporary table written (n int4)");
    static const struct pg_statement write = {.sql = "insert into written values (1)"};
    pg_pipeline_add(fixture->conn, &begin, NULL);
    pg_pipeline_add(fixture->conn, &write, NULL);
    pg_pipeline_add(fixture->conn, &fails, NULL);
    pg_pipeline_add(fixture->conn, &one, NULL);
    pg_pipeline_add(fixture->conn, &commit, NULL);
    flush(fixture->conn);
    next_ok(fixture->conn);
    next_ok(fixture->conn);
    next_error(fixture->conn, "22012");
    next_error(fixture->conn, "");
    next_error(fixture->conn, "");
    end(fixture->conn);
    assert_false(pg_execute(fixture->conn, &one, NULL, patience(), NULL, &error));
    expect_error(&error, ERROR_DATABASE, "25P02");
    require(pg_execute(fixture->conn, &rollback, NULL, patience(), NULL, &error), &error);
    assert_string_equal(ask_text(fixture, "select count(*)::text from written"), "0");
}

/* Without BEGIN a round trip is one transaction: the error undoes what came before it. */
static void test_round_trip_without_begin_is_one_transaction(void **state)
{
    static const struct pg_statement write = {.sql = "insert into undone values (1)"};
    struct fixture *fixture = *state;

    run(fixture->conn, "create temporary table undone (n int4)");
    pg_pipeline_add(fixture->conn, &write, NULL);
    pg_pipeline_add(fixture->conn, &fails, NULL);
    flush(fixture->conn);
    next_ok(fixture->conn);
    next_error(fixture->conn, "22012");
    end(fixture->conn);
    assert_string_equal(ask_text(fixture, "select count(*)::text from undone"), "0");
}

/* A deferred constraint fails when the server commits, at the sync point, after every statement has succeeded: that
 * must not pass for success, nor for a broken connection. */
static void test_commit_that_fails_at_the_sync_point(void **state)
{
    static const struct pg_statement write = {.name = "write_deferred", .sql = "insert into deferred values (1)"};
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "create temporary table deferred (n int4 unique deferrable initially deferred);"
                       "insert into deferred values (1)");
    pg_pipeline_add(fixture->conn, &write, NULL);
    flush(fixture->conn);
    next_ok(fixture->conn);
    assert_false(pg_pipeline_end(fixture->conn, patience(), &error));
    expect_error(&error, ERROR_DATABASE, "23505");
    assert_true(pg_conn_is_open(fixture->conn));
    memset(&error, 0, sizeof(error));
    assert_false(pg_execute(fixture->conn, &write, NULL, patience(), NULL, &error));
    expect_error(&error, ERROR_DATABASE, "23505");
    assert_string_equal(ask_text(fixture, "select count(*)::text from deferred"), "1");
}

/* PostgreSQL answers a COMMIT of a failed transaction with success and the word ROLLBACK. */
static void test_refused_commit_is_an_error(void **state)
{
    static const char *const spellings[] = {
        "commit", "COMMIT", "end", "/* a /* nested */ b */ -- c\n commit", "commit and chain"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(spellings) * 2; i++) {
        struct pg_statement statement = {.sql = spellings[i / 2]};
        struct error error = {0};
        run(fixture->conn, "rollback; begin");
        assert_false(pg_execute(fixture->conn, &fails, NULL, patience(), NULL, NULL));
        bool ok = i % 2 == 0 ? pg_execute(fixture->conn, &statement, NULL, patience(), NULL, &error)
                             : pg_execute_script(fixture->conn, spellings[i / 2], patience(), &error);
        assert_false(ok);
        expect_error(&error, ERROR_DATABASE, "25P02");
        assert_string_equal(error.text, "the transaction was rolled back");
    }
    run(fixture->conn, "rollback");
    run(fixture->conn, "begin; select 1; rollback");
    run(fixture->conn, "begin; commit");
    run(fixture->conn, "begin; abort");
    run(fixture->conn, "%s", "");
}

/* One prepare for each name and connection, in front of its first use; none with the switch, or without a name. */
static void test_prepared_once(void **state)
{
    static const struct pg_statement nameless = {.sql = "select 5::int4"};
    struct fixture *fixture = *state;
    struct pg_config config = fixture->config;
    struct error error = {0};

    for (int i = 0; i < 3; i++) {
        pg_pipeline_add(fixture->conn, &one, NULL);
        pg_pipeline_add(fixture->conn, &nameless, NULL);
        pg_pipeline_add(fixture->conn, &one, NULL);
        flush(fixture->conn);
        assert_int_equal(next_int4(fixture->conn), 1);
        assert_int_equal(next_int4(fixture->conn), 5);
        assert_int_equal(next_int4(fixture->conn), 1);
        end(fixture->conn);
    }
    assert_string_equal(ask_text(fixture, "select string_agg(name, ' ') from pg_prepared_statements"), "one");
    pg_conn_close(fixture->conn);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    assert_string_equal(prepared_count(fixture), "0");
    pg_result_free(ask_with(fixture->conn, &one, NULL));
    assert_string_equal(prepared_count(fixture), "1");

    config.unnamed_statements = true;
    pg_conn_free(fixture->conn);
    fixture->conn = pg_conn_new(&config);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    pg_result_free(ask_with(fixture->conn, &one, NULL));
    assert_string_equal(prepared_count(fixture), "0");
}

/* An error before the prepare in the same round trip means that nothing was prepared; the next use must prepare. */
static void test_prepare_in_an_aborted_round_trip(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 2; i++) {
        pg_pipeline_add(fixture->conn, &fails, NULL);
        pg_pipeline_add(fixture->conn, &one, NULL);
        flush(fixture->conn);
        next_error(fixture->conn, "22012");
        next_error(fixture->conn, "");
        end(fixture->conn);
    }
    pg_pipeline_add(fixture->conn, &one, NULL);
    flush(fixture->conn);
    assert_int_equal(next_int4(fixture->conn), 1);
    end(fixture->conn);
}

/* The error of a prepare is its statement's error, each time it is tried. */
static void test_prepare_that_fails(void **state)
{
    static const struct pg_statement wrong = {.name = "wrong", .sql = "select * from not_there_yet"};
    struct fixture *fixture = *state;
    struct error error = {0};

    for (int i = 0; i < 2; i++) {
        pg_pipeline_add(fixture->conn, &wrong, NULL);
        pg_pipeline_add(fixture->conn, &one, NULL);
        flush(fixture->conn);
        next_error(fixture->conn, "42P01");
        next_error(fixture->conn, "");
        end(fixture->conn);
    }
    run(fixture->conn, "create temporary table not_there_yet (n int4)");
    require(pg_execute(fixture->conn, &wrong, NULL, patience(), NULL, &error), &error);
}

/* A prepared statement whose table has changed its form, or whose name somebody deallocated, cures itself by a new
 * connection; while the same SQLSTATEs from a statement just prepared are plain errors. */
static void test_statement_out_of_date(void **state)
{
    static const struct pg_statement all = {.name = "all", .sql = "select * from changing"};
    static const struct pg_statement unsupported = {.name = "unsupported", .sql = "select feature_missing()"};
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "drop table if exists changing; create table changing (a int4);"
                       "create or replace function feature_missing() returns int4 language plpgsql as "
                       "$$ begin raise exception 'no' using errcode = '0A000'; end $$");
    pg_result_free(ask_with(fixture->conn, &all, NULL));
    run(fixture->conn, "alter table changing add column b int4");
    assert_false(pg_execute(fixture->conn, &all, NULL, patience(), NULL, &error));
    expect_error(&error, ERROR_UNAVAILABLE, "0A000");
    assert_false(pg_conn_is_open(fixture->conn));
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    pg_result_free(ask_with(fixture->conn, &all, NULL));

    run(fixture->conn, "deallocate all");
    assert_false(pg_execute(fixture->conn, &all, NULL, patience(), NULL, &error));
    expect_error(&error, ERROR_UNAVAILABLE, "26000");
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    pg_result_free(ask_with(fixture->conn, &all, NULL));

    assert_false(pg_execute(fixture->conn, &unsupported, NULL, patience(), NULL, &error));
    expect_error(&error, ERROR_DATABASE, "0A000");
    assert_true(pg_conn_is_open(fixture->conn));
    run(fixture->conn, "drop table changing; drop function feature_missing()");
}

/* Far more than the sockets hold, in both directions at the same time, several times over in one round trip. */
static void test_much_data_both_ways(void **state)
{
    enum { SIZE = 20 * 1024 * 1024, TIMES = 3 };
    static const struct pg_statement echo = {
        .name = "echo", .sql = "select $1, repeat('y', 20971520)", .param_count = 1, .param_types = {PG_TEXT}};
    struct fixture *fixture = *state;
    char *text = memory_new(SIZE + 1);
    struct pg_params params;

    memset(text, 'x', SIZE);
    pg_params_init(&params, NULL);
    pg_params_add_text(&params, text);
    for (int i = 0; i < TIMES; i++)
        pg_pipeline_add(fixture->conn, &echo, &params);
    flush(fixture->conn);
    for (int i = 0; i < TIMES; i++) {
        struct pg_result *result = NULL;
        struct error error = {0};
        require(pg_pipeline_next(fixture->conn, patience(), &result, &error), &error);
        assert_true(strcmp(pg_result_text(result, 0, 0), text) == 0);
        assert_int_equal(strspn(pg_result_text(result, 0, 1), "y"), SIZE);
        pg_result_free(result);
    }
    end(fixture->conn);
    free(text);
}

/* Many statements with long answers: the server blocks on its answers while we still send, unless we read. */
static void test_many_statements_with_long_answers(void **state)
{
    enum { COUNT = 2000, ANSWER_SIZE = 10000 };
    struct pg_statement answer = {
        .name = "answer", .sql = "select repeat('z', 10000), $1", .param_count = 1, .param_types = {PG_TEXT}};
    struct fixture *fixture = *state;
    struct pg_params params;
    char *text = memory_new(ANSWER_SIZE + 1);

    memset(text, 'q', ANSWER_SIZE);
    pg_params_init(&params, NULL);
    pg_params_add_text(&params, text);
    for (int i = 0; i < COUNT; i++)
        pg_pipeline_add(fixture->conn, &answer, &params);
    flush(fixture->conn);
    for (int i = 0; i < COUNT; i++)
        next_ok(fixture->conn);
    end(fixture->conn);
    free(text);
}

/* A notice is not an error, does not stand between results, and is not written to standard error. */
static void test_notices_are_swallowed(void **state)
{
    static const struct pg_statement notice = {.sql = "do $$ begin raise warning 'noise'; end $$"};
    struct fixture *fixture = *state;

    pg_pipeline_add(fixture->conn, &notice, NULL);
    pg_pipeline_add(fixture->conn, &one, NULL);
    flush(fixture->conn);
    next_ok(fixture->conn);
    assert_int_equal(next_int4(fixture->conn), 1);
    end(fixture->conn);
    run(fixture->conn, "do $$ begin raise warning 'noise'; end $$");
}

static struct pg_conn *noisy;

static void make_noise(void)
{
    pg_execute_script(noisy, "do $$ begin raise warning 'noise'; end $$", patience(), NULL);
}

static void test_notices_are_not_written(void **state)
{
    struct fixture *fixture = *state;
    char text[CHILD_TEXT_SIZE];

    noisy = fixture->conn;
    assert_int_equal(child_run(make_noise, text), 0);
    assert_string_equal(text, "");
}

/* A script ends at its first error; what came before it in the script is undone. */
static void test_script(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "create temporary table scripted (n int4)");
    assert_false(pg_execute_script(fixture->conn,
        "insert into scripted values (1); select 1 / 0; insert into scripted values (2)", patience(), &error));
    expect_error(&error, ERROR_DATABASE, "22012");
    assert_string_equal(ask_text(fixture, "select count(*)::text from scripted"), "0");
    run(fixture->conn, "insert into scripted values (1); insert into scripted values (2)");
    assert_string_equal(ask_text(fixture, "select count(*)::text from scripted"), "2");
}

/* COPY has no place here: it is refused by closing, not by hanging. */
static void test_copy_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "create temporary table copied (n int4)");
    assert_false(pg_execute_script(fixture->conn, "copy copied from stdin", patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_false(pg_conn_is_open(fixture->conn));
}

/* A closed connection says so at the flush, and works once it is opened. */
static void test_closed_connection(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    pg_conn_close(fixture->conn);
    pg_pipeline_add(fixture->conn, &one, NULL);
    assert_false(pg_pipeline_flush(fixture->conn, patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_false(pg_pipeline_next(fixture->conn, patience(), NULL, &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_false(pg_pipeline_end(fixture->conn, patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
    assert_false(pg_execute_script(fixture->conn, "select 1", patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
    pg_pipeline_add(fixture->conn, &one, NULL); /* lost, and forgotten by the opening */
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    pg_result_free(ask_with(fixture->conn, &one, NULL));
}

/* --- Our misuse: the bodies run in children ----------------------------------------------------------------------- */

static struct pg_conn *misused;

static void add_without_its_parameter(void)
{
    pg_pipeline_add(misused, &add_one, NULL);
}

static void add_before_the_end(void)
{
    pg_pipeline_add(misused, &one, NULL);
    pg_pipeline_flush(misused, patience(), NULL);
    pg_pipeline_add(misused, &one, NULL);
}

static void next_after_the_last(void)
{
    pg_pipeline_next(misused, patience(), NULL, NULL);
}

static void test_misuse_is_a_bug(void **state)
{
    struct fixture *fixture = *state;

    misused = fixture->conn;
    child_assert_aborts(add_without_its_parameter);
    child_assert_aborts(next_after_the_last);
    child_assert_aborts(
        add_before_the_end); /* last: it sends something on the socket that is shared with this process */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_results_in_order),
        FIXTURE_TEST(test_results_not_taken_are_dropped),
        FIXTURE_TEST(test_error_has_sqlstate_and_message),
        FIXTURE_TEST(test_error_aborts_the_rest),
        FIXTURE_TEST(test_round_trip_without_begin_is_one_transaction),
        FIXTURE_TEST(test_commit_that_fails_at_the_sync_point),
        FIXTURE_TEST(test_refused_commit_is_an_error),
        FIXTURE_TEST(test_prepared_once),
        FIXTURE_TEST(test_prepare_in_an_aborted_round_trip),
        FIXTURE_TEST(test_prepare_that_fails),
        FIXTURE_TEST(test_statement_out_of_date),
        FIXTURE_TEST(test_much_data_both_ways),
        FIXTURE_TEST(test_many_statements_with_long_answers),
        FIXTURE_TEST(test_notices_are_swallowed),
        FIXTURE_TEST(test_notices_are_not_written),
        FIXTURE_TEST(test_script),
        FIXTURE_TEST(test_copy_is_refused),
        FIXTURE_TEST(test_closed_connection),
        FIXTURE_TEST(test_misuse_is_a_bug),
    };

    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
