/* Threads for work that waits for the database: completion queue threads must not. Bounded: full is an answer. */
#ifndef SERVER_WORKER_POOL_H
#define SERVER_WORKER_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct worker_pool;

/* One piece of work; lies in memory of the submitter until it has run. */
struct work {
    void (*run)(struct work *work);
    struct work *next;
};

/* `threads` threads, at most `waiting_max` pieces waiting. Errors: ERROR_SYSTEM. */
bool worker_pool_new(unsigned threads, size_t waiting_max, struct worker_pool **ret_pool, struct error *reterr_error);

/* Hands work over; it runs once, on a thread of the pool. False when too much is waiting (ERROR_FULL) or the pool
 * is stopping. Any thread. */
bool worker_pool_submit(struct worker_pool *pool, struct work *work, struct error *reterr_error);

/* Runs what waits, ends the threads, releases. NULL is fine. */
void worker_pool_free(struct worker_pool *pool);

#endif
