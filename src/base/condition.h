/* Condition variables whose deadlines are those of base/clock.h. Signalled, broadcast and destroyed as any other. */
#ifndef BASE_CONDITION_H
#define BASE_CONDITION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Fills one that measures time by the monotonic clock; the caller ends it with pthread_cond_destroy(). */
void condition_init(pthread_cond_t *condition);

/* Waits for a signal, `lock` being held as for pthread_cond_wait(), at most until `until_ns` (monotonic; CLOCK_NEVER: for as long as it
 * takes). False when the time has come first. Like pthread_cond_wait() it may return without a signal. */
bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until_ns);

#endif
