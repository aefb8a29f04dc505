/* Goal: never more connections than allowed, whatever the number of threads; what is given back is used again when
 * it is sound and replaced when it is not; and waiting ends at the deadline. */
#include "pg_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/memory.h"
#include "silent_server.h"
#include "unit/base/child.h"

static struct pg_conn *acquire(struct pg_pool *pool)
{
    struct pg_conn *conn = NULL;
    struct error error = {0};

    require(pg_pool_acquire(pool, patience(), &conn, &error), &error);
    assert_true(pg_conn_is_open(conn));
    return conn;
}

static void test_bound(void **state)
{
    enum { MOST = 2, WAIT_MS = 50 };
    struct fixture *fixture = *state;
    struct pg_pool *pool = pg_pool_new(&fixture->config, MOST);
    struct pg_conn *conns[MOST] = {acquire(pool), acquire(pool)};
    struct pg_conn *third = NULL;
    struct error error = {0};
    int64_t until_ns = clock_after_ms(WAIT_MS);

    assert_int_not_equal(pg_conn_backend_pid(conns[0]), pg_conn_backend_pid(conns[1]));
    assert_false(pg_pool_acquire(pool, until_ns, &third, &error));
    expect_error(&error, ERROR_FULL, "");
    assert_null(third);
    assert_int_equal(clock_left_ms(until_ns), 0);
    assert_false(pg_pool_acquire(pool, 0, &third, NULL));
    for (int i = 0; i < MOST; i++)
        pg_pool_put(pool, conns[i]);
    pg_pool_free(pool);
    pg_pool_free(NULL);
}

/* A sound connection is used again, with what was prepared on it. */
static void test_used_again(void **state)
{
    static const struct pg_statement one = {.name = "one", .sql = "select 1::int4"};
    struct fixture *fixture = *state;
    struct pg_pool *pool = pg_pool_new(&fixture->config, 3);
    struct pg_conn *conn = acquire(pool);
    int pid = pg_conn_backend_pid(conn);

    for (int i = 0; i < 3; i++) {
        pg_result_free(ask_with(conn, &one, NULL));
        run(conn, "begin; select 1; commit");
        pg_pool_put(pool, conn);
        conn = acquire(pool);
        assert_int_equal(pg_conn_backend_pid(conn), pid);
    }
    pg_pool_put(pool, conn);
    pg_pool_free(pool);
}

static void spoil_by_closing(struct pg_conn *conn)
{
    pg_conn_close(conn);
}

static void spoil_by_transaction(struct pg_conn *conn)
{
    run(conn, "begin");
}

static void spoil_by_failed_transaction(struct pg_conn *conn)
{
    run(conn, "begin");
    assert_false(pg_execute_script(conn, "select 1 / 0", patience(), NULL));
}

static void spoil_by_open_round_trip(struct pg_conn *conn)
{
    static const struct pg_statement one = {.sql = "select 1"};

    pg_pipeline_add(conn, &one, NULL);
    assert_true(pg_pipeline_flush(conn, patience(), NULL));
}

static void spoil_by_queue(struct pg_conn *conn)
{
    static const struct pg_statement one = {.sql = "select 1"};

    pg_pipeline_add(conn, &one, NULL);
}

/* Whatever state it comes back in, the next one to borrow gets a connection that works. */
static void test_unsound_is_replaced(void **state)
{
    static void (*const spoilers[])(struct pg_conn *) = {
        spoil_by_closing, spoil_by_transaction, spoil_by_failed_transaction, spoil_by_open_round_trip, spoil_by_queue};
    struct fixture *fixture = *state;
    struct pg_pool *pool = pg_pool_new(&fixture->config, 1);

    for (size_t i = 0; i < COUNT_OF(spoilers); i++) {
        struct pg_conn *conn = acquire(pool);
        int pid = pg_conn_backend_pid(conn);
        spoilers[i](conn);
        pg_pool_put(pool, conn);
        conn = acquire(pool);
        assert_int_not_equal(pg_conn_backend_pid(conn), pid);
        run(conn, "select 1");
        pg_pool_put(pool, conn);
    }
    pg_pool_free(pool);
}

/* The server ended it while it lay idle: the borrower does not notice. */
static void test_ended_while_idle_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct pg_pool *pool = pg_pool_new(&fixture->config, 1);
    struct pg_conn *conn = acquire(pool);
    int pid = pg_conn_backend_pid(conn);

    pg_pool_put(pool, conn);
    run(fixture->conn, "select pg_terminate_backend(%d)", pid);
    wait_until(fixture, "0", "select count(*)::text from pg_stat_activity where pid = %d", pid);
    conn = acquire(pool);
    assert_int_not_equal(pg_conn_backend_pid(conn), pid);
    run(conn, "select 1");
    pg_pool_put(pool, conn);
    pg_pool_free(pool);
}

/* A place that could not be filled is given back. */
static void test_failed_connect_keeps_no_place(void **state)
{
    struct pg_config config = {.url = "host=/nonexistent/leadrouter dbname=x user=x"};
    struct pg_pool *pool = pg_pool_new(&config, 1);

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct pg_conn *conn = NULL;
        struct error error = {0};
        assert_false(pg_pool_acquire(pool, patience(), &conn, &error));
        expect_error(&error, ERROR_UNAVAILABLE, "");
        assert_null(conn);
    }
    pg_pool_free(pool);
}

/* --- Threads ------------------------------------------------------------------------------------------------------ */

enum { THREADS = 8, ROUNDS = 50, PLACES = 2 };

struct crowd {
    struct pg_pool *pool;
    atomic_int inside;
    atomic_int inside_most;
    atomic_int done;
};

static void *borrow_often(void *user)
{
    static const struct pg_statement one = {.name = "one", .sql = "select 1::int4"};
    struct crowd *crowd = user;

    for (int round = 0; round < ROUNDS; round++) {
        struct pg_conn *conn = NULL;
        struct pg_result *result = NULL;
        if (!pg_pool_acquire(crowd->pool, patience(), &conn, NULL))
            continue;
        int inside = atomic_fetch_add(&crowd->inside, 1) + 1;
        int most = atomic_load(&crowd->inside_most);
        while (inside > most && !atomic_compare_exchange_weak(&crowd->inside_most, &most, inside))
            continue;
        if (pg_execute(conn, &one, NULL, patience(), &result, NULL) && pg_result_int4(result, 0, 0) == 1)
            atomic_fetch_add(&crowd->done, 1);
        pg_result_free(result);
        if (round % 10 == 9)
            pg_conn_close(conn);
        atomic_fetch_sub(&crowd->inside, 1);
        pg_pool_put(crowd->pool, conn);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.pool = pg_pool_new(&fixture->config, PLACES)};
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, borrow_often, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&crowd.done), THREADS * ROUNDS);
    assert_int_equal(atomic_load(&crowd.inside_most), PLACES);
    pg_pool_free(crowd.pool);
}

static void *borrow_in_vain(void *user)
{
    struct pg_conn *conn = NULL;

    return pg_pool_acquire(user, patience(), &conn, NULL) ? conn : NULL;
}

/* While one thread is stuck connecting, another's deadline holds: nobody connects under the lock. */
static void test_connecting_blocks_nobody(void **state)
{
    enum { STUCK_MS = 4000, SHORT_MS = 50 };
    struct silent_server server = silent_server_start(1);
    char *url = arena_format(((struct fixture *)*state)->arena, "host=127.0.0.1 port=%d user=x dbname=x", server.port);
    struct pg_config config = {.url = url, .connect_timeout_ms = STUCK_MS};
    struct pg_pool *pool = pg_pool_new(&config, 2);
    struct pg_conn *conn = NULL;
    struct error error = {0};
    pthread_t thread;

    int64_t stuck_until_ns = clock_after_ms(STUCK_MS);
    assert_int_equal(pthread_create(&thread, NULL, borrow_in_vain, pool), 0);
    silent_server_wait(&server);
    assert_false(pg_pool_acquire(pool, clock_after_ms(SHORT_MS), &conn, &error));
    expect_error(&error, ERROR_DEADLINE, "");
    assert_true(clock_left_ms(stuck_until_ns) > 0);
    void *borrowed = NULL;
    assert_int_equal(pthread_join(thread, &borrowed), 0);
    assert_null(borrowed);
    pg_pool_free(pool);
    silent_server_stop(&server);
}

static struct pg_pool *misused;

static void free_while_lent(void)
{
    pg_pool_free(misused);
}

static void test_misuse_is_a_bug(void **state)
{
    struct fixture *fixture = *state;

    misused = pg_pool_new(&fixture->config, 1);
    struct pg_conn *conn = acquire(misused);
    child_assert_aborts(free_while_lent);
    pg_pool_put(misused, conn);
    pg_pool_free(misused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_bound),
        FIXTURE_TEST(test_used_again),
        FIXTURE_TEST(test_unsound_is_replaced),
        FIXTURE_TEST(test_ended_while_idle_is_replaced),
        FIXTURE_TEST(test_failed_connect_keeps_no_place),
        FIXTURE_TEST(test_crowd),
        FIXTURE_TEST(test_connecting_blocks_nobody),
        FIXTURE_TEST(test_misuse_is_a_bug),
    };

    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
