#include "ticker.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"

struct ticker {
    int first_ms;
    int every_ms;
    ticker_draw *draw;
    void *user;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic clock */
    bool is_over;           /* under the lock */
};

static void *tick(void *argument)
{
    struct ticker *ticker = argument;
    int64_t next_ns = clock_after_ms(ticker->first_ms);

    pthread_mutex_lock(&ticker->lock);
    while (!ticker->is_over) {
        (void)condition_wait(&ticker->changed, &ticker->lock, next_ns);
        if (ticker->is_over || clock_now_ns() < next_ns)
            continue;
        ticker->draw(ticker->user);
        next_ns = clock_after_ms(ticker->every_ms);
    }
    pthread_mutex_unlock(&ticker->lock);
    return NULL;
}

struct ticker *ticker_new(bool is_shown, int first_ms, int every_ms, ticker_draw *draw, void *user)
{
    struct ticker *ticker = memory_new(sizeof(*ticker));

    ticker->first_ms = first_ms;
    ticker->every_ms = every_ms;
    ticker->draw = draw;
    ticker->user = user;
    pthread_mutex_init(&ticker->lock, NULL);
    condition_init(&ticker->changed);
    ticker->has_thread = is_shown && pthread_create(&ticker->thread, NULL, tick, ticker) == 0;
    return ticker;
}

void ticker_lock(struct ticker *ticker)
{
    pthread_mutex_lock(&ticker->lock);
}

void ticker_unlock(struct ticker *ticker)
{
    pthread_mutex_unlock(&ticker->lock);
}

void ticker_free(struct ticker *ticker)
{
    if (ticker == NULL)
        return;
    pthread_mutex_lock(&ticker->lock);
    ticker->is_over = true;
    pthread_cond_signal(&ticker->changed);
    pthread_mutex_unlock(&ticker->lock);
    if (ticker->has_thread)
        pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->changed);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}
