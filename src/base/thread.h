/* A thread that looks after something until whoever made it ends it, with the lock that both sides take and the condition that
 * one tells the other by. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

struct thread {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something has: for condition_wait() */
    bool is_stopping;       /* under the lock */
};

/* Makes lock and condition and runs `main` with `argument`. ERROR_SYSTEM, of which the text begins with `failure`: nothing was made. */
bool thread_begin(
    struct thread *thread, void *(*main)(void *), void *argument, const char *failure, struct error *reterr_error);

/* Sets `is_stopping`, tells the thread and waits until it has returned; lock and condition are gone then. */
void thread_end(struct thread *thread);

#endif
