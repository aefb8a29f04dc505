/* Goal: what became of a transaction is told truly in all four cases, and an id that does not exist yet is an
 * error. */
#include "pg_fixture.h"

#include <inttypes.h>
#include <stdlib.h>

static uint64_t begin_transaction(struct fixture *fixture)
{
    run(fixture->conn, "begin");
    return strtoull(ask_text(fixture, "select pg_current_xact_id()::text"), NULL, 10);
}

static enum pg_transaction_status status_of(struct fixture *fixture, uint64_t transaction_id)
{
    struct pg_conn *conn = pg_conn_new(&fixture->config);
    enum pg_transaction_status status = PG_TRANSACTION_FORGOTTEN;
    struct error error = {0};

    require(pg_conn_open(conn, patience(), &error), &error);
    require(pg_transaction_status(conn, transaction_id, patience(), &status, &error), &error);
    pg_conn_free(conn);
    return status;
}

static void test_committed(void **state)
{
    struct fixture *fixture = *state;
    uint64_t id = begin_transaction(fixture);

    assert_int_equal(status_of(fixture, id), PG_TRANSACTION_IN_PROGRESS);
    run(fixture->conn, "commit");
    assert_int_equal(status_of(fixture, id), PG_TRANSACTION_COMMITTED);
}

static void test_aborted(void **state)
{
    struct fixture *fixture = *state;
    uint64_t id = begin_transaction(fixture);

    run(fixture->conn, "rollback");
    assert_int_equal(status_of(fixture, id), PG_TRANSACTION_ABORTED);
}

/* The case it is there for: the connection goes before anybody says how it ended. */
static void test_aborted_by_a_lost_connection(void **state)
{
    struct fixture *fixture = *state;
    uint64_t id = begin_transaction(fixture);
    int pid = pg_conn_backend_pid(fixture->conn);

    pg_conn_close(fixture->conn);
    wait_until(fixture, "0", "select count(*)::text from pg_stat_activity where pid = %d", pid);
    assert_int_equal(status_of(fixture, id), PG_TRANSACTION_ABORTED);
}

/* The first ids were used up when the cluster was made, and their status was given up when its tables were frozen. */
static void test_forgotten(void **state)
{
    enum { FIRST_NORMAL_ID = 3 };

    assert_int_equal(status_of(*state, FIRST_NORMAL_ID), PG_TRANSACTION_FORGOTTEN);
}

static void test_id_of_the_future(void **state)
{
    struct fixture *fixture = *state;
    enum pg_transaction_status status = PG_TRANSACTION_COMMITTED;
    struct error error = {0};

    assert_false(pg_transaction_status(fixture->conn, UINT64_MAX / 2, patience(), &status, &error));
    expect_error(&error, ERROR_DATABASE, "22023");
    assert_int_equal(status, PG_TRANSACTION_COMMITTED);
    assert_true(pg_conn_is_open(fixture->conn));
}

static void test_closed_connection(void **state)
{
    struct fixture *fixture = *state;
    enum pg_transaction_status status = PG_TRANSACTION_COMMITTED;
    struct error error = {0};

    pg_conn_close(fixture->conn);
    assert_false(pg_transaction_status(fixture->conn, 1000, patience(), &status, &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_committed),
        FIXTURE_TEST(test_aborted),
        FIXTURE_TEST(test_aborted_by_a_lost_connection),
        FIXTURE_TEST(test_forgotten),
        FIXTURE_TEST(test_id_of_the_future),
        FIXTURE_TEST(test_closed_connection),
    };

    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
