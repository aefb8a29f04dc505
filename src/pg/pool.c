#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "pg/connection.h"

struct pg_pool {
    struct pg_config config;
    unsigned connections_max;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a connection was given back; monotonic clock */

    /* under the lock */
    struct pg_conn **idle; /* the most recently used last */
    unsigned idle_count;
    unsigned lent_count;
};

struct pg_pool *pg_pool_new(const struct pg_config *config, unsigned connections_max)
{
    struct pg_pool *pool = memory_new(sizeof(*pool));

    assert(config->url != NULL && connections_max > 0);
    pool->config = *config;
    pool->connections_max = connections_max;
    metrics_set(config->metrics, METRIC_POOL_SIZE, config->pool, 0, connections_max);
    pool->idle = memory_new_array(connections_max, sizeof(struct pg_conn *));
    pthread_mutex_init(&pool->lock, NULL);
    condition_init(&pool->changed);
    return pool;
}

void pg_pool_free(struct pg_pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->lent_count == 0);
    for (unsigned i = 0; i < pool->idle_count; i++)
        pg_conn_free(pool->idle[i]);
    free(pool->idle);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Waits for a place and takes an idle connection, or NULL for a place without one. False when the deadline came
 * first. */
static bool take_place(struct pg_pool *pool, int64_t deadline_ns, struct pg_conn **ret_conn)
{
    bool ok = true;

    pthread_mutex_lock(&pool->lock);
    while (ok && pool->lent_count == pool->connections_max)
        ok = condition_wait(&pool->changed, &pool->lock, deadline_ns) || pool->lent_count < pool->connections_max;
    if (ok) {
        pool->lent_count++;
        *ret_conn = pool->idle_count > 0 ? pool->idle[--pool->idle_count] : NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    return ok;
}

static void give_place(struct pg_pool *pool, struct pg_conn *idle)
{
    pthread_mutex_lock(&pool->lock);
    assert(pool->lent_count > 0);
    pool->lent_count--;
    if (idle != NULL)
        pool->idle[pool->idle_count++] = idle;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

/* A connection on which the server has closed its side is readable although nothing was asked. */
static bool is_stale(struct pg_conn *conn)
{
    return !pg_conn_is_open(conn) || pg_wait(conn->handle, true, false, 0) != PG_WAIT_TIMEOUT;
}

bool pg_pool_acquire(struct pg_pool *pool, int64_t deadline_ns, struct pg_conn **ret_conn, struct error *reterr_error)
{
    struct pg_conn *conn = NULL;
    struct metrics *metrics = pool->config.metrics;
    int64_t began_ns = clock_now_ns();

    if (!take_place(pool, deadline_ns, &conn))
        return error_set(reterr_error, ERROR_FULL, "no connection to the database became free in time");
    if (conn == NULL)
        conn = pg_conn_new(&pool->config);
    else if (is_stale(conn))
        pg_conn_close(conn);
    if (!pg_conn_open(conn, deadline_ns, reterr_error)) {
        pg_conn_free(conn);
        give_place(pool, NULL);
        return false;
    }
    metrics_observe(metrics, METRIC_POOL_WAIT, pool->config.pool, 0, clock_now_ns() - began_ns);
    metrics_add(metrics, METRIC_POOL_USED, pool->config.pool, 0, 1);
    *ret_conn = conn;
    return true;
}

void pg_pool_put(struct pg_pool *pool, struct pg_conn *conn)
{
    metrics_add(pool->config.metrics, METRIC_POOL_USED, pool->config.pool, 0, -1);
    if (!pg_conn_is_open(conn) || PQtransactionStatus(conn->handle) != PQTRANS_IDLE) {
        pg_conn_free(conn);
        conn = NULL;
    }
    give_place(pool, conn);
}
