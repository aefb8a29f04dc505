#include "base/thread.h"

#include <string.h>

#include "base/condition.h"

static void release(struct thread *thread)
{
    pthread_cond_destroy(&thread->changed);
    pthread_mutex_destroy(&thread->lock);
}

bool thread_begin(
    struct thread *thread, void *(*main)(void *), void *argument, const char *failure, struct error *reterr_error)
{
    thread->is_stopping = false;
    pthread_mutex_init(&thread->lock, NULL);
    condition_init(&thread->changed);
    int code = pthread_create(&thread->id, NULL, main, argument);
    if (code == 0)
        return true;
    release(thread);
    return error_set(reterr_error, ERROR_SYSTEM, "%s: %s", failure, strerror(code));
}

void thread_end(struct thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    thread->is_stopping = true;
    pthread_cond_signal(&thread->changed);
    pthread_mutex_unlock(&thread->lock);
    pthread_join(thread->id, NULL);
    release(thread);
}
