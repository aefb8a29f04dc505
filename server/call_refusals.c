#include "call_refusals.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service.h"

/* A call that waits; in its arena. */
struct late_call {
    struct late_call *next;
    struct grpc_c_call *call;
    struct error error;
    int64_t due_ns;
};

struct call_refusals {
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic clock */
    /* under the lock */
    struct late_call *first; /* in the order in which they are due: all wait for the same time */
    struct late_call **end;
    size_t count;
    bool is_stopping;
};

static void tell(struct grpc_c_call *call, const struct error *error)
{
    service_add_pushback(call, error);
    grpc_c_call_fail(call, service_status(error), service_text(error));
}

/* The next that is due, waited for; NULL when there will be none. */
static struct late_call *next_call(struct call_refusals *refusals)
{
    struct late_call *late = NULL;

    pthread_mutex_lock(&refusals->lock);
    for (;;) {
        late = refusals->first;
        if (refusals->is_stopping || (late != NULL && late->due_ns <= clock_now_ns()))
            break;
        if (late == NULL) {
            pthread_cond_wait(&refusals->changed, &refusals->lock);
            continue;
        }
        const struct timespec until = {.tv_sec = late->due_ns / 1000000000, .tv_nsec = late->due_ns % 1000000000};
        pthread_cond_timedwait(&refusals->changed, &refusals->lock, &until);
    }
    if (late != NULL) {
        refusals->first = late->next;
        if (refusals->first == NULL)
            refusals->end = &refusals->first;
        refusals->count--;
    }
    pthread_mutex_unlock(&refusals->lock);
    return late;
}

static void *tell_main(void *argument)
{
    struct call_refusals *refusals = argument;
    struct late_call *late = NULL;

    while ((late = next_call(refusals)) != NULL)
        tell(late->call, &late->error);
    return NULL;
}

bool call_refusals_new(struct call_refusals **ret_refusals, struct error *reterr_error)
{
    struct call_refusals *refusals = memory_new(sizeof(*refusals));
    pthread_condattr_t attributes;

    refusals->end = &refusals->first;
    pthread_mutex_init(&refusals->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&refusals->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failure = pthread_create(&refusals->thread, NULL, tell_main, refusals);
    if (failure != 0) {
        pthread_cond_destroy(&refusals->changed);
        pthread_mutex_destroy(&refusals->lock);
        free(refusals);
        return error_set(
            reterr_error, ERROR_SYSTEM, "could not start the thread that refuses calls: %s", strerror(failure));
    }
    *ret_refusals = refusals;
    return true;
}

void call_refusals_tell(
    struct call_refusals *refusals, struct grpc_c_call *call, const struct error *error, bool is_late)
{
    struct late_call *late = is_late ? arena_alloc(grpc_c_call_arena(call), sizeof(*late)) : NULL;

    if (late != NULL) {
        *late = (struct late_call){.call = call, .error = *error, .due_ns = clock_after_ms(CALL_REFUSALS_MS)};
        if (late->error.retry_after_ms > CALL_REFUSALS_MS)
            late->error.retry_after_ms -= CALL_REFUSALS_MS;
        else if (late->error.retry_after_ms > 0)
            late->error.retry_after_ms = 1;
        pthread_mutex_lock(&refusals->lock);
        is_late = refusals->count < CALL_REFUSALS_MAX;
        if (is_late) {
            *refusals->end = late;
            refusals->end = &late->next;
            if (refusals->count++ == 0)
                pthread_cond_signal(&refusals->changed);
        }
        pthread_mutex_unlock(&refusals->lock);
    }
    if (!is_late)
        tell(call, error);
}

void call_refusals_free(struct call_refusals *refusals)
{
    if (refusals == NULL)
        return;
    pthread_mutex_lock(&refusals->lock);
    refusals->is_stopping = true;
    pthread_cond_signal(&refusals->changed);
    pthread_mutex_unlock(&refusals->lock);
    pthread_join(refusals->thread, NULL);
    pthread_cond_destroy(&refusals->changed);
    pthread_mutex_destroy(&refusals->lock);
    free(refusals);
}
