#include "worker_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct worker_pool {
    pthread_t *threads;
    unsigned thread_count;
    size_t waiting_max;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct work *first;
    struct work **end;
    size_t waiting;
    bool is_stopping;
};

/* The next piece, or NULL when the pool is stopping and nothing is left. */
static struct work *next_work(struct worker_pool *pool)
{
    struct work *work = NULL;

    pthread_mutex_lock(&pool->lock);
    while (pool->first == NULL && !pool->is_stopping)
        pthread_cond_wait(&pool->changed, &pool->lock);
    work = pool->first;
    if (work != NULL) {
        pool->first = work->next;
        if (pool->first == NULL)
            pool->end = &pool->first;
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    return work;
}

static void *work_main(void *argument)
{
    struct worker_pool *pool = argument;
    struct work *work = NULL;

    while ((work = next_work(pool)) != NULL)
        work->run(work);
    return NULL;
}

bool worker_pool_new(unsigned threads, size_t waiting_max, struct worker_pool **ret_pool, struct error *reterr_error)
{
    struct worker_pool *pool = memory_new(sizeof(*pool));

    pool->waiting_max = waiting_max;
    pool->end = &pool->first;
    pool->threads = memory_new_array(threads, sizeof(*pool->threads));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    while (pool->thread_count < threads) {
        int failure = pthread_create(&pool->threads[pool->thread_count], NULL, work_main, pool);
        if (failure != 0) {
            worker_pool_free(pool);
            return error_set(reterr_error, ERROR_SYSTEM, "could not start a worker's thread: %s", strerror(failure));
        }
        pool->thread_count++;
    }
    *ret_pool = pool;
    return true;
}

bool worker_pool_submit(struct worker_pool *pool, struct work *work, struct error *reterr_error)
{
    bool ok = false;

    pthread_mutex_lock(&pool->lock);
    if (pool->is_stopping) {
        error_set(reterr_error, ERROR_UNAVAILABLE, "the server is stopping");
    } else if (pool->waiting >= pool->waiting_max) {
        error_set(reterr_error, ERROR_FULL, "%zu calls are waiting already", pool->waiting);
    } else {
        work->next = NULL;
        *pool->end = work;
        pool->end = &work->next;
        pool->waiting++;
        pthread_cond_signal(&pool->changed);
        ok = true;
    }
    pthread_mutex_unlock(&pool->lock);
    return ok;
}

void worker_pool_free(struct worker_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->is_stopping = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}
