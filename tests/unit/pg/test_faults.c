/* Goal: whatever happens to a connection in use - time is up, the server ends it, hangs, crashes, becomes read-only
 * - the call comes back in time with the right class of error, and a new connection works. */
#include "pg_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

enum { SHORT_MS = 150, MUCH_LATER_MS = 20000 };

static const struct pg_statement sleeps = {.name = "sleeps", .sql = "select pg_sleep(600)"};
static const struct pg_statement one = {.name = "one", .sql = "select 1::int4"};

static void post(struct fixture *fixture, const struct pg_statement *statement)
{
    struct error error = {0};

    pg_pipeline_add(fixture->conn, statement, NULL);
    require(pg_pipeline_flush(fixture->conn, patience(), &error), &error);
}

/* The connection is closed, and opening it anew gives one that works. */
static void expect_reopens(struct fixture *fixture)
{
    struct error error = {0};

    assert_false(pg_conn_is_open(fixture->conn));
    require(pg_conn_open(fixture->conn, patience(), &error), &error);
    struct pg_result *result = ask_with(fixture->conn, &one, NULL);
    assert_int_equal(pg_result_int4(result, 0, 0), 1);
    pg_result_free(result);
}

static void wait_until_gone(struct fixture *fixture, int pid)
{
    wait_until(fixture, "0", "select count(*)::text from pg_stat_activity where pid = %d", pid);
}

/* On a connection of its own. */
static void terminate(struct fixture *fixture, int pid)
{
    wait_until(fixture, "true", "select pg_terminate_backend(%d)::text", pid);
}

static void cancel_backend(struct fixture *fixture, int pid)
{
    wait_until(fixture, "true", "select pg_cancel_backend(%d)::text", pid);
}

static void wait_until_sleeping(struct fixture *fixture, int pid)
{
    wait_until(fixture, "PgSleep", "select coalesce(max(wait_event), '') from pg_stat_activity where pid = %d", pid);
}

/* A process of the server that is made to hang. A guard of its own lets it go on when this test ends, in whatever way: a
 * stopped postmaster would not even notice that it is to end with us. */
struct hang {
    pid_t guard;
    int guard_end; /* closing it, as our death does, tells the guard */
};

static struct hang hang_start(pid_t process)
{
    int ends[2] = {-1, -1};

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct hang hang = {.guard = fork(), .guard_end = ends[1]};
    assert_true(hang.guard >= 0);
    if (hang.guard == 0) {
        char ignored = 0;
        close(ends[1]);
        while (read(ends[0], &ignored, 1) < 0 && errno == EINTR)
            continue;
        kill(process, SIGCONT);
        _exit(0);
    }
    close(ends[0]);
    assert_int_equal(kill(process, SIGSTOP), 0);
    return hang;
}

static void hang_end(struct hang *hang)
{
    close(hang->guard_end);
    assert_int_equal(waitpid(hang->guard, NULL, 0), hang->guard);
}

/* Time is up: the connection is closed, and the statement does not go on in the server with its locks. */
static void test_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    int pid = pg_conn_backend_pid(fixture->conn);

    pg_result_free(ask_with(fixture->conn, &one, NULL));
    assert_false(pg_execute(fixture->conn, &sleeps, NULL, clock_after_ms(SHORT_MS), NULL, &error));
    expect_error(&error, ERROR_DEADLINE, "");
    assert_false(pg_conn_is_open(fixture->conn));
    wait_until_gone(fixture, pid);
    expect_reopens(fixture);
    assert_false(pg_execute_script(fixture->conn, "select pg_sleep(600)", clock_after_ms(SHORT_MS), &error));
    expect_error(&error, ERROR_DEADLINE, "");
    expect_reopens(fixture);
    post(fixture, &sleeps);
    assert_false(pg_pipeline_end(fixture->conn, clock_after_ms(SHORT_MS), &error));
    expect_error(&error, ERROR_DEADLINE, "");
    expect_reopens(fixture);
}

/* An answer that is here already is given, however late it is asked for. */
static void test_deadline_spares_what_has_come(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    pg_pipeline_add(fixture->conn, &one, NULL);
    pg_pipeline_add(fixture->conn, &one, NULL);
    require(pg_pipeline_flush(fixture->conn, patience(), &error), &error);
    require(pg_pipeline_next(fixture->conn, patience(), NULL, &error), &error);
    require(pg_pipeline_next(fixture->conn, 0, NULL, &error), &error);
    require(pg_pipeline_end(fixture->conn, 0, &error), &error);
}

/* An answer without an end, of which there is always more to read: the deadline ends it all the same. */
static void test_deadline_ends_a_flood(void **state)
{
    static const struct pg_statement flood = {.sql = "select repeat('x', 100000) from generate_series(1, 1000000000)"};
    struct fixture *fixture = *state;
    struct error error = {0};
    int64_t much_later_ns = clock_after_ms(MUCH_LATER_MS);

    assert_false(pg_execute(fixture->conn, &flood, NULL, clock_after_ms(SHORT_MS), NULL, &error));
    expect_error(&error, ERROR_DEADLINE, "");
    assert_true(clock_left_ms(much_later_ns) > 0);
    expect_reopens(fixture);
}

/* A server that has stopped reading: sending ends at the deadline as well. */
static void test_deadline_while_sending(void **state)
{
    enum { SIZE = 20 * 1024 * 1024 };
    static const struct pg_statement takes = {.sql = "select $1", .param_count = 1, .param_types = {PG_TEXT}};
    struct fixture *fixture = *state;
    struct error error = {0};
    struct pg_params params;
    char *text = memory_new(SIZE + 1);
    int pid = pg_conn_backend_pid(fixture->conn);

    memset(text, 'x', SIZE);
    pg_params_init(&params, NULL);
    pg_params_add_text(&params, text);
    struct hang hang = hang_start(pid);
    pg_pipeline_add(fixture->conn, &takes, &params);
    bool ok = pg_pipeline_flush(fixture->conn, clock_after_ms(SHORT_MS), &error);
    hang_end(&hang);
    assert_false(ok);
    expect_error(&error, ERROR_DEADLINE, "");
    free(text);
    expect_reopens(fixture);
}

/* pg_terminate_backend() stands for every shutdown by an administrator. */
static void test_ended_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    pg_pipeline_add(fixture->conn, &one, NULL);
    post(fixture, &sleeps);
    wait_until_sleeping(fixture, pg_conn_backend_pid(fixture->conn));
    terminate(fixture, pg_conn_backend_pid(fixture->conn));
    /* The server keeps results back until the sync point, or its end: what was done before is still told. */
    require(pg_pipeline_next(fixture->conn, patience(), NULL, &error), &error);
    assert_false(pg_pipeline_next(fixture->conn, patience(), NULL, &error));
    expect_error(&error, ERROR_UNAVAILABLE, "57P01");
    assert_false(pg_pipeline_end(fixture->conn, patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "");
    expect_reopens(fixture);
    assert_false(pg_execute_script(fixture->conn, "select pg_terminate_backend(pg_backend_pid())", patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "57P01");
    expect_reopens(fixture);
}

/* Nobody looks at an idle connection: the next use finds out. */
static void test_ended_while_idle(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    int pid = pg_conn_backend_pid(fixture->conn);

    pg_result_free(ask_with(fixture->conn, &one, NULL));
    terminate(fixture, pid);
    wait_until_gone(fixture, pid);
    assert_true(pg_conn_is_open(fixture->conn));
    assert_false(pg_execute(fixture->conn, &one, NULL, patience(), NULL, &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    expect_reopens(fixture);
    run(fixture->conn, "set idle_in_transaction_session_timeout = '10ms'; begin");
    wait_until_gone(fixture, pg_conn_backend_pid(fixture->conn));
    assert_false(pg_execute_script(fixture->conn, "commit", patience(), &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    expect_reopens(fixture);
}

/* What is only about the statement leaves the connection alone. The limit ends with the transaction: what follows has time. */
static void test_statement_timeout(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "begin; set local statement_timeout = '50ms'");
    assert_false(pg_execute(fixture->conn, &sleeps, NULL, patience(), NULL, &error));
    expect_error(&error, ERROR_DATABASE, "57014");
    assert_true(pg_conn_is_open(fixture->conn));
    run(fixture->conn, "rollback");
    pg_result_free(ask_with(fixture->conn, &one, NULL));
}

static void test_read_only_after_failover(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    run(fixture->conn, "set default_transaction_read_only = on");
    assert_false(pg_execute_script(fixture->conn, "create table never (n int4)", patience(), &error));
    expect_error(&error, ERROR_UNAVAILABLE, "25006");
    assert_string_equal(error.text, "the database is read-only");
    expect_reopens(fixture);
}

/* --- Cancelling --------------------------------------------------------------------------------------------------- */

static void *cancel(void *user)
{
    struct fixture *fixture = user;

    wait_until_sleeping(fixture, pg_conn_backend_pid(fixture->conn));
    cancel_backend(fixture, pg_conn_backend_pid(fixture->conn));
    return NULL;
}

/* Somebody cancels what runs: an operator, by hand. The connection stays good. */
static void test_cancel(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, cancel, fixture), 0);
    assert_false(pg_execute(fixture->conn, &sleeps, NULL, patience(), NULL, &error));
    assert_int_equal(pthread_join(thread, NULL), 0);
    expect_error(&error, ERROR_DATABASE, "57014");
    assert_true(pg_conn_is_open(fixture->conn));
    pg_result_free(ask_with(fixture->conn, &one, NULL));
}

/* A postmaster that hangs takes no cancel request: a deadline does not wait for it. */
static void test_cancel_of_a_hanging_server(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    int postmaster =
        (int)strtol(ask_text(fixture, "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"), NULL, 10);
    int64_t much_later_ns = 0;

    post(fixture, &sleeps);
    struct hang hang = hang_start(postmaster);
    much_later_ns = clock_after_ms(MUCH_LATER_MS);
    bool ok = pg_pipeline_next(fixture->conn, clock_after_ms(SHORT_MS), NULL, &error);
    int left_ms = clock_left_ms(much_later_ns);
    hang_end(&hang);
    assert_false(ok);
    expect_error(&error, ERROR_DEADLINE, "");
    assert_true(left_ms > 0);
    expect_reopens(fixture);
}

/* --- Crash -------------------------------------------------------------------------------------------------------- */

/* The server dies in the middle and comes back. */
static void test_crash(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};

    post(fixture, &sleeps);
    test_cluster_kill(fixture->cluster);
    assert_false(pg_pipeline_next(fixture->conn, patience(), NULL, &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_false(pg_conn_is_open(fixture->conn));
    assert_false(pg_conn_open(fixture->conn, patience(), &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    test_cluster_restart(fixture->cluster);
    expect_reopens(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_deadline),
        FIXTURE_TEST(test_deadline_spares_what_has_come),
        FIXTURE_TEST(test_deadline_ends_a_flood),
        FIXTURE_TEST(test_deadline_while_sending),
        FIXTURE_TEST(test_ended_in_the_middle),
        FIXTURE_TEST(test_ended_while_idle),
        FIXTURE_TEST(test_statement_timeout),
        FIXTURE_TEST(test_read_only_after_failover),
        FIXTURE_TEST(test_cancel),
        FIXTURE_TEST(test_cancel_of_a_hanging_server),
        FIXTURE_TEST(test_crash),
    };

    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
