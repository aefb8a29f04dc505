#include <assert.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pg/connection.h"

/* libpq 15 can cancel only by PQcancel(), which connects and waits for the end of the stream without any limit: for
 * ever, when the server's host is gone or its postmaster hangs. So it runs in a thread of its own, one at a time
 * for each connection. */
struct pg_cancel {
    PGcancel *request; /* constant */
    pthread_mutex_t lock;
    pthread_cond_t done; /* monotonic clock */

    /* under the lock */
    unsigned references;
    bool is_running;
};

struct pg_cancel *pg_cancel_new(PGconn *handle)
{
    struct pg_cancel *cancel = memory_new(sizeof(*cancel));
    pthread_condattr_t attributes;

    cancel->request = PQgetCancel(handle);
    cancel->references = 1;
    pthread_mutex_init(&cancel->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&cancel->done, &attributes);
    pthread_condattr_destroy(&attributes);
    return cancel;
}

struct pg_cancel *pg_cancel_ref(struct pg_cancel *cancel)
{
    if (cancel == NULL)
        return NULL;
    pthread_mutex_lock(&cancel->lock);
    cancel->references++;
    pthread_mutex_unlock(&cancel->lock);
    return cancel;
}

void pg_cancel_unref(struct pg_cancel *cancel)
{
    if (cancel == NULL)
        return;
    pthread_mutex_lock(&cancel->lock);
    assert(cancel->references > 0);
    bool is_last = --cancel->references == 0;
    pthread_mutex_unlock(&cancel->lock);
    if (!is_last)
        return;
    PQfreeCancel(cancel->request);
    pthread_cond_destroy(&cancel->done);
    pthread_mutex_destroy(&cancel->lock);
    free(cancel);
}

static void *send_request(void *user)
{
    struct pg_cancel *cancel = user;
    char ignored[256];

    PQcancel(cancel->request, ignored, sizeof(ignored));
    pthread_mutex_lock(&cancel->lock);
    cancel->is_running = false;
    pthread_cond_broadcast(&cancel->done);
    pthread_mutex_unlock(&cancel->lock);
    pg_cancel_unref(cancel);
    return NULL;
}

/* Starts the thread, which gets a reference. It takes no signals: those are the program's. False when there can be
 * no thread. */
static bool start(struct pg_cancel *cancel)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool ok = pthread_create(&thread, &attributes, send_request, cancel) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

void pg_cancel_send(struct pg_cancel *cancel, int wait_ms)
{
    int64_t until_ns = clock_after_ms(wait_ms);
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    bool in_time = true;

    if (cancel == NULL || cancel->request == NULL)
        return;
    pthread_mutex_lock(&cancel->lock);
    if (!cancel->is_running) {
        cancel->references++;
        cancel->is_running = true;
        if (!start(cancel)) {
            cancel->references--;
            cancel->is_running = false;
        }
    }
    while (cancel->is_running && in_time)
        in_time = pthread_cond_timedwait(&cancel->done, &cancel->lock, &until) == 0;
    pthread_mutex_unlock(&cancel->lock);
}
