#include "base/condition.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "base/clock.h"

enum { NS_PER_S = 1000000000 };

void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until_ns)
{
    const struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    int failure = 0;

    assert(until_ns >= 0);
    failure =
        until_ns == CLOCK_NEVER ? pthread_cond_wait(condition, lock) : pthread_cond_timedwait(condition, lock, &until);
    assert(failure == 0 || failure == ETIMEDOUT);
    return failure == 0;
}
