/* Goal: a wait ends with a signal or at its deadline, by the monotonic clock, and says which; the far end is no deadline. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/condition.h"

struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_there; /* under the lock, as is the next */
    bool waits;
};

static void meeting_init(struct meeting *meeting)
{
    *meeting = (struct meeting){0};
    pthread_mutex_init(&meeting->lock, NULL);
    condition_init(&meeting->changed);
}

static void meeting_release(struct meeting *meeting)
{
    pthread_cond_destroy(&meeting->changed);
    pthread_mutex_destroy(&meeting->lock);
}

/* Waits until the deadline, and not in a loop until somebody comes. */
static void test_deadline(void **state)
{
    static const int64_t waits_ms[] = {-1000, 0, 1, 30};
    struct meeting meeting;

    (void)state;
    meeting_init(&meeting);
    pthread_mutex_lock(&meeting.lock);
    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
        const int64_t until_ns = clock_after_ms(waits_ms[i]);
        while (condition_wait(&meeting.changed, &meeting.lock, until_ns))
            ;
        assert_true(clock_now_ns() >= until_ns);
    }
    assert_false(condition_wait(&meeting.changed, &meeting.lock, 0));
    pthread_mutex_unlock(&meeting.lock);
    meeting_release(&meeting);
}

static void *come(void *argument)
{
    struct meeting *meeting = argument;

    pthread_mutex_lock(&meeting->lock);
    while (!meeting->waits)
        pthread_cond_wait(&meeting->changed, &meeting->lock);
    meeting->is_there = true;
    pthread_cond_broadcast(&meeting->changed);
    pthread_mutex_unlock(&meeting->lock);
    return NULL;
}

/* Both ways of waiting end when somebody signals: the other thread does so only when this one waits and has given up the lock. */
static void test_signal(void **state)
{
    const int64_t deadlines_ns[] = {CLOCK_NEVER, CLOCK_NEVER - 1, clock_after_ms(3600 * 1000)};

    (void)state; /* by the wall clock the last is over since 1970 */
    for (size_t i = 0; i < sizeof(deadlines_ns) / sizeof(deadlines_ns[0]); i++) {
        struct meeting meeting;
        pthread_t thread;
        meeting_init(&meeting);
        assert_int_equal(pthread_create(&thread, NULL, come, &meeting), 0);
        pthread_mutex_lock(&meeting.lock);
        meeting.waits = true;
        pthread_cond_broadcast(&meeting.changed);
        while (!meeting.is_there)
            assert_true(condition_wait(&meeting.changed, &meeting.lock, deadlines_ns[i]));
        pthread_mutex_unlock(&meeting.lock);
        pthread_join(thread, NULL);
        meeting_release(&meeting);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_signal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
