/* Goal: all work that was taken runs, once; what does not fit is refused at once; ending waits for the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "worker_pool.h"

enum { PIECES = 1000, WAITING_MAX = 3 };

struct piece {
    struct work work; /* first */
    atomic_int runs;
};

static void count_run(struct work *work)
{
    atomic_fetch_add(&((struct piece *)(void *)work)->runs, 1);
}

static void everything_runs_once(void **state)
{
    static struct piece pieces[PIECES];
    struct worker_pool *pool = NULL;
    struct error error = {0};

    (void)state;
    assert_true(worker_pool_new(4, PIECES, &pool, &error));
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i].work.run = count_run;
        assert_true(worker_pool_submit(pool, &pieces[i].work, &error));
    }
    worker_pool_free(pool);
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(atomic_load(&pieces[i].runs), 1);
    worker_pool_free(NULL);
}

/* Holds its thread until it is let go. */
struct gate {
    struct work work; /* first */
    pthread_barrier_t entered;
    pthread_barrier_t leaves;
};

static void hold(struct work *work)
{
    struct gate *gate = (struct gate *)(void *)work;

    pthread_barrier_wait(&gate->entered);
    pthread_barrier_wait(&gate->leaves);
}

static void full_is_an_answer(void **state)
{
    struct gate gate = {.work.run = hold};
    struct piece pieces[WAITING_MAX + 1] = {0};
    struct worker_pool *pool = NULL;
    struct error error = {0};

    (void)state;
    pthread_barrier_init(&gate.entered, NULL, 2);
    pthread_barrier_init(&gate.leaves, NULL, 2);
    assert_true(worker_pool_new(1, WAITING_MAX, &pool, &error));
    assert_true(worker_pool_submit(pool, &gate.work, &error));
    pthread_barrier_wait(&gate.entered); /* the only thread is busy now */
    for (size_t i = 0; i <= WAITING_MAX; i++) {
        pieces[i].work.run = count_run;
        assert_int_equal(worker_pool_submit(pool, &pieces[i].work, &error), i < WAITING_MAX);
    }
    assert_int_equal(error.code, ERROR_FULL);
    assert_string_equal(error.text, "3 calls are waiting already");
    pthread_barrier_wait(&gate.leaves);
    worker_pool_free(pool);
    for (size_t i = 0; i <= WAITING_MAX; i++)
        assert_int_equal(atomic_load(&pieces[i].runs), i < WAITING_MAX ? 1 : 0);
    pthread_barrier_destroy(&gate.entered);
    pthread_barrier_destroy(&gate.leaves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_runs_once), cmocka_unit_test(full_is_an_answer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
