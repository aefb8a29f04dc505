/* Goal: a thread works until it is ended, whenever that is; one that cannot be made leaves nothing behind, and says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/thread.h"

enum { PATIENCE_MS = 60000, TIMES = 100 };

struct work {
    struct thread thread;
    /* under its lock */
    bool has_begun;
    bool has_ended;
};

static void *work_main(void *argument)
{
    struct work *work = argument;

    pthread_mutex_lock(&work->thread.lock);
    work->has_begun = true;
    pthread_cond_signal(&work->thread.changed);
    while (!work->thread.is_stopping)
        (void)condition_wait(&work->thread.changed, &work->thread.lock, CLOCK_NEVER);
    work->has_ended = true;
    pthread_mutex_unlock(&work->thread.lock);
    return NULL;
}

static void works_until_it_is_ended(void **state)
{
    const int64_t until_ns = clock_after_ms(PATIENCE_MS);
    struct work work = {0};
    struct error error = {0};

    (void)state;
    assert_true(thread_begin(&work.thread, work_main, &work, "no thread", &error));
    pthread_mutex_lock(&work.thread.lock);
    while (!work.has_begun && condition_wait(&work.thread.changed, &work.thread.lock, until_ns)) {
    }
    bool has_begun = work.has_begun;
    bool has_ended = work.has_ended;
    pthread_mutex_unlock(&work.thread.lock);
    assert_true(has_begun && !has_ended);
    thread_end(&work.thread);
    assert_true(work.has_ended);
}

/* Most of the time before it has come to its lock. */
static void ends_at_once(void **state)
{
    struct error error = {0};

    (void)state;
    for (int i = 0; i < TIMES; i++) {
        struct work work = {0};
        assert_true(thread_begin(&work.thread, work_main, &work, "no thread", &error));
        thread_end(&work.thread);
        assert_true(work.has_begun && work.has_ended);
    }
}

/* A stack for which there are no addresses. */
static void cannot_be_made(void **state)
{
    struct work work = {0};
    struct error error = {0};
    pthread_attr_t before;
    pthread_attr_t large;

    (void)state;
    assert_int_equal(pthread_getattr_default_np(&before), 0);
    assert_int_equal(pthread_attr_init(&large), 0);
    assert_int_equal(pthread_attr_setstacksize(&large, SIZE_MAX / 4), 0);
    assert_int_equal(pthread_setattr_default_np(&large), 0);
    bool ok = thread_begin(&work.thread, work_main, &work, "could not make a thread", &error);
    assert_int_equal(pthread_setattr_default_np(&before), 0);
    pthread_attr_destroy(&large);
    pthread_attr_destroy(&before);
    assert_false(ok);
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_ptr_equal(strstr(error.text, "could not make a thread: "), error.text);
    assert_false(work.has_begun);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_until_it_is_ended),
        cmocka_unit_test(ends_at_once),
        cmocka_unit_test(cannot_be_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
