#include "pg_fixture.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static struct test_cluster *shared_cluster;

int fixture_group_setup(void **state)
{
    (void)state;
    shared_cluster = test_cluster_start();
    return 0;
}

int fixture_group_teardown(void **state)
{
    (void)state;
    test_cluster_stop(shared_cluster);
    return 0;
}

int fixture_setup(void **state)
{
    struct fixture *fixture = memory_new(sizeof(*fixture));
    struct error error = {0};

    fixture->cluster = shared_cluster;
    fixture->config = (struct pg_config){.url = test_cluster_url(shared_cluster), .application_name = "test"};
    fixture->conn = pg_conn_new(&fixture->config);
    fixture->arena = arena_new(0);
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    pg_conn_free(fixture->conn);
    arena_free(fixture->arena);
    free(fixture);
    return 0;
}

int64_t patience(void)
{
    return clock_after_ms(PATIENCE_MS);
}

void require(bool ok, const struct error *error)
{
    if (!ok)
        fail_msg("%s: %s %s", error_code_name(error->code), error->sqlstate, error->text);
}

void expect_error(const struct error *error, enum error_code code, const char *sqlstate)
{
    if (error->code != code || strcmp(error->sqlstate, sqlstate) != 0)
        fail_msg("%s '%s' was expected, not %s '%s' %s", error_code_name(code), sqlstate, error_code_name(error->code),
            error->sqlstate, error->text);
    assert_string_not_equal(error->text, "");
}

void run(struct pg_conn *conn, const char *format, ...)
{
    struct error error = {0};
    char *sql = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&sql, format, arguments) >= 0);
    va_end(arguments);
    require(pg_execute_script(conn, sql, patience(), &error), &error);
    free(sql);
}

struct pg_result *ask_with(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    struct pg_result *result = NULL;
    struct error error = {0};

    require(pg_execute(conn, statement, params, patience(), &result, &error), &error);
    assert_non_null(result);
    return result;
}

struct pg_result *ask(struct pg_conn *conn, const char *sql)
{
    struct pg_statement statement = {.sql = sql};

    return ask_with(conn, &statement, NULL);
}

const char *ask_text(struct fixture *fixture, const char *format, ...)
{
    char *sql = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&sql, format, arguments) >= 0);
    va_end(arguments);
    struct pg_result *result = ask(fixture->conn, sql);
    free(sql);
    assert_int_equal(pg_result_row_count(result), 1);
    const char *text = pg_result_text(result, 0, 0);
    const char *copy = text == NULL ? NULL : arena_copy_string(fixture->arena, text);
    pg_result_free(result);
    return copy;
}

void wait_until(struct fixture *fixture, const char *expected, const char *format, ...)
{
    struct fixture own = *fixture;
    struct error error = {0};
    int64_t until_ns = patience();
    char *sql = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&sql, format, arguments) >= 0);
    va_end(arguments);
    own.conn = pg_conn_new(&fixture->config);
    require(pg_conn_open(own.conn, patience(), &error), &error);
    while (strcmp(ask_text(&own, "%s", sql), expected) != 0) {
        if (clock_left_ms(until_ns) == 0)
            fail_msg("never '%s': %s", expected, sql);
        poll(NULL, 0, 5);
    }
    pg_conn_free(own.conn);
    free(sql);
}
