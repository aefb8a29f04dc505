#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { POOL_SIZE = 256 /* getrandom() gives this much without interruption */ };

static void from_system(uint8_t *ret_bytes, size_t size)
{
    while (size > 0) {
        ssize_t got = getrandom(ret_bytes, size, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            ret_bytes += got;
            size -= (size_t)got;
        }
    }
}

/* Raised in every child of fork(): the pool that it inherits is its parent's too. */
static atomic_uint fork_count;
static pthread_once_t fork_watch = PTHREAD_ONCE_INIT;

static void after_fork(void)
{
    atomic_fetch_add(&fork_count, 1);
}

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, after_fork) != 0)
        abort();
}

void random_bytes(void *ret_bytes, size_t size)
{
    static _Thread_local uint8_t pool[POOL_SIZE];
    static _Thread_local size_t left;
    static _Thread_local unsigned filled_at_fork;

    if (size > POOL_SIZE) {
        from_system(ret_bytes, size);
        return;
    }
    pthread_once(&fork_watch, watch_forks);
    if (left < size || filled_at_fork != atomic_load(&fork_count)) {
        from_system(pool, sizeof(pool));
        left = sizeof(pool);
        filled_at_fork = atomic_load(&fork_count);
    }
    uint8_t *start = pool + (sizeof(pool) - left);
    memcpy(ret_bytes, start, size);
    memset(start, 0, size); /* never given out twice */
    left -= size;
}

struct random_sequence random_sequence_from(uint64_t seed)
{
    return (struct random_sequence){seed};
}

uint64_t random_next(struct random_sequence *sequence)
{
    uint64_t value = sequence->state += 0x9e3779b97f4a7c15U;

    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

uint64_t random_below(struct random_sequence *sequence, uint64_t bound)
{
    assert(bound > 0);
    uint64_t unfair = UINT64_MAX - UINT64_MAX % bound; /* values from here on would favour the small ones */
    uint64_t value = 0;

    do
        value = random_next(sequence);
    while (value >= unfair);
    return value % bound;
}
