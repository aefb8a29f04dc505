/* What the tests of src/pg share: one cluster for the program, and for each test an open connection and an arena. */
#ifndef TESTS_UNIT_PG_PG_FIXTURE_H
#define TESTS_UNIT_PG_PG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "pg/pg.h"
#include "support/cluster.h"

enum { PATIENCE_MS = 60000 };

struct fixture {
    struct test_cluster *cluster;
    struct pg_config config; /* the cluster's database, as the superuser */
    struct pg_conn *conn;    /* open */
    struct arena *arena;
};

/* For cmocka_run_group_tests(). */
int fixture_group_setup(void **state);
int fixture_group_teardown(void **state);

/* For each test; `*state` is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* A deadline that a test does not expect to see. */
int64_t patience(void);

/* Fails the test when `ok` is false. */
void require(bool ok, const struct error *error);

/* Fails the test unless the error has this code and SQLSTATE ("": none). */
void expect_error(const struct error *error, enum error_code code, const char *sqlstate);

/* Runs SQL without parameters and expects success. */
void run(struct pg_conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Rows of one unnamed statement, expecting success; the caller's. `params` may be NULL. */
struct pg_result *ask(struct pg_conn *conn, const char *sql);
struct pg_result *ask_with(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params);

/* The only value of the answer, as text, in the fixture's arena. */
const char *ask_text(struct fixture *fixture, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Asks on a connection of its own until the answer is `expected`; fails the test when that does not happen. */
void wait_until(struct fixture *fixture, const char *expected, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
