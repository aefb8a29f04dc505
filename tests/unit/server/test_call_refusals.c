/* Goal: a refusal that is to be told later is told at its time, however many wait; never after the call's deadline; at once when there is
 * no room, when the server ends, and when its caller has gone; and each call is ended once, whatever comes together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "call_refusals.h"
#include "echo.grpc.h"

enum { CALLS_MAX = CALL_REFUSALS_MAX + 100, WAIT_S = 60, TEXT_SIZE = 64, NS_PER_MS = 1000000 };
enum { NEVER_MS = 3600000, PATIENCE_MS = 120000 };

/* How calls ended, in the order of their ends. */
struct ending {
    enum grpc_c_status status;
    char text[TEXT_SIZE];
    int32_t push_back_ms; /* 0: none */
};

struct scene {
    struct call_refusals *refusals;
    struct grpc_c_server *server;
    struct grpc_c_channel *channel;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    int32_t retry_after_ms;
    int64_t begun_ns;
    size_t came;
    size_t ended;
    struct ending endings[CALLS_MAX];
};

/* The text says how many ms after the beginning it is to be told; 0: at once. */
static void refuse(struct grpc_c_call *call, const Test__V1__EchoRequest *request, void *user)
{
    struct scene *scene = user;
    struct error error = {0};
    int64_t late_ms = strtoll(request->text, NULL, 10);

    pthread_mutex_lock(&scene->lock);
    int32_t retry_after_ms = scene->retry_after_ms;
    int64_t begun_ns = scene->begun_ns;
    pthread_mutex_unlock(&scene->lock);
    error_set_full(&error, retry_after_ms, "%s", request->text);
    call_refusals_tell(scene->refusals, call, &error, late_ms == 0 ? 0 : begun_ns + late_ms * NS_PER_MS);
    pthread_mutex_lock(&scene->lock);
    scene->came++;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

static const struct test__v1__echo_service__handlers handlers = {.echo = refuse};

/* Times count from now on. */
static void begin(struct scene *scene, int32_t retry_after_ms)
{
    pthread_mutex_lock(&scene->lock);
    scene->begun_ns = clock_now_ns();
    scene->retry_after_ms = retry_after_ms;
    pthread_mutex_unlock(&scene->lock);
}

static struct scene *scene_new(unsigned threads)
{
    const struct grpc_c_server_options options = {
        .threads = threads, .connection_streams_max = CALLS_MAX, .deadline_max_ms = PATIENCE_MS};
    const struct grpc_c_channel_options channel = {.no_retries = true};
    struct scene *scene = memory_new(sizeof(*scene));
    struct error error = {0};
    char target[32];
    int port = 0;

    pthread_mutex_init(&scene->lock, NULL);
    condition_init(&scene->changed);
    scene->server = grpc_c_server_new(&options);
    test__v1__echo_service__add(scene->server, &handlers, scene);
    if (!call_refusals_new(&scene->refusals, &error) ||
        !grpc_c_server_listen(scene->server, "127.0.0.1:0", &port, &error) ||
        !grpc_c_server_start(scene->server, &error))
        fail_msg("%s", error.text);
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    if (!grpc_c_channel_new(target, &channel, &scene->channel, &error))
        fail_msg("%s", error.text);
    begin(scene, 0);
    return scene;
}

static int setup(void **state)
{
    *state = scene_new(2);
    return 0;
}

/* Answers go out by one thread, in the order in which they were given. */
static int setup_one_thread(void **state)
{
    *state = scene_new(1);
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;

    call_refusals_hurry(scene->refusals);
    grpc_c_channel_free(scene->channel);
    grpc_c_server_free(scene->server);
    call_refusals_free(scene->refusals);
    pthread_cond_destroy(&scene->changed);
    pthread_mutex_destroy(&scene->lock);
    free(scene);
    return 0;
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

static int32_t push_back(const struct grpc_c_outcome *outcome)
{
    for (size_t i = 0; i < outcome->trailing_metadata_count; i++)
        if (strcmp(outcome->trailing_metadata[i].key, "grpc-retry-pushback-ms") == 0)
            return (int32_t)strtol(outcome->trailing_metadata[i].value, NULL, 10);
    return 0;
}

static void ended(const Test__V1__EchoResponse *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct scene *scene = user;

    (void)response;
    pthread_mutex_lock(&scene->lock);
    struct ending *ending = &scene->endings[scene->ended++];
    ending->status = outcome->status;
    ending->push_back_ms = push_back(outcome);
    snprintf(ending->text, sizeof(ending->text), "%s", outcome->message);
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

static void call(struct scene *scene, int64_t late_ms, int64_t deadline_ms, struct grpc_c_pending **ret_pending)
{
    const struct grpc_c_call_options options = {.deadline_ms = deadline_ms, .wait_for_ready = true};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    char text[TEXT_SIZE];

    snprintf(text, sizeof(text), "%lld", (long long)late_ms);
    request.text = text;
    test__v1__echo_service__echo__async(scene->channel, &request, &options, ended, scene, ret_pending);
}

static void wait_for(struct scene *scene, const size_t *count, size_t value)
{
    const int64_t until_ns = clock_after_ms(WAIT_S * 1000);

    pthread_mutex_lock(&scene->lock);
    while (*count < value)
        if (!condition_wait(&scene->changed, &scene->lock, until_ns))
            fail_msg("%zu instead of %zu", *count, value);
    pthread_mutex_unlock(&scene->lock);
}

static size_t ended_count(struct scene *scene)
{
    pthread_mutex_lock(&scene->lock);
    size_t count = scene->ended;
    pthread_mutex_unlock(&scene->lock);
    return count;
}

static size_t waiting(struct scene *scene)
{
    size_t count = 0;
    uint64_t ignored = 0;

    call_refusals_count(scene->refusals, &count, &ignored);
    return count;
}

static void assert_all_refused(struct scene *scene)
{
    pthread_mutex_lock(&scene->lock);
    for (size_t i = 0; i < scene->ended; i++)
        assert_int_equal(scene->endings[i].status, GRPC_C_RESOURCE_EXHAUSTED);
    pthread_mutex_unlock(&scene->lock);
}

/* --- Tests -------------------------------------------------------------------------------------------------------- */

/* Also when they came in another order; and what it was told of coming back is as much less. False, and nothing told of the order: the
 * machine stood still until half of the time was over. */
static bool are_told_in_order(struct scene *scene, int64_t late_ms)
{
    static const int64_t later_ms[] = {10, 4, 2, 0, 8, 6};
    static const int64_t order_ms[] = {0, 2, 4, 6, 8, 10};
    const size_t first = ended_count(scene);
    const int64_t retry_ms = late_ms - 10;

    begin(scene, (int32_t)retry_ms);
    for (size_t i = 0; i < COUNT_OF(later_ms); i++)
        call(scene, later_ms[i] == 0 ? 0 : late_ms + later_ms[i], PATIENCE_MS, NULL);
    wait_for(scene, &scene->came, first + COUNT_OF(later_ms));
    bool in_time = clock_now_ns() - scene->begun_ns < late_ms / 2 * NS_PER_MS;
    wait_for(scene, &scene->ended, first + COUNT_OF(later_ms));
    assert_true(clock_now_ns() - scene->begun_ns >= (late_ms + 10) * NS_PER_MS);
    assert_all_refused(scene);
    for (size_t i = 0; i < COUNT_OF(order_ms) && in_time; i++) {
        const struct ending *ending = &scene->endings[first + i];
        assert_int_equal(strtoll(ending->text, NULL, 10), i == 0 ? 0 : late_ms + order_ms[i]);
        assert_in_range(ending->push_back_ms, 1, i == 0 ? retry_ms : retry_ms / 2); /* most of it is over */
    }
    return in_time;
}

static void each_is_told_at_its_time(void **state)
{
    enum { LATE_MS = 3000, LATE_MAX_MS = 27000 };
    struct scene *scene = *state;
    int64_t late_ms = LATE_MS;

    call(scene, 0, PATIENCE_MS, NULL);
    wait_for(scene, &scene->ended, 1); /* the connection is there: what follows comes at once */
    for (; !are_told_in_order(scene, late_ms); late_ms *= 3)
        assert_true(late_ms <= LATE_MAX_MS);
}

/* Who has a deadline is told of the limit, not that time is up. A tenth of the time is for the way of the answer: a machine that is busy
 * with something else may need a longer one. */
static void before_the_deadline(void **state)
{
    enum { DEADLINE_MS = 2000, DEADLINE_MAX_MS = 27000 };
    struct scene *scene = *state;
    size_t tries = 0;
    const struct ending *last = NULL;

    for (int64_t deadline_ms = DEADLINE_MS; last == NULL || last->status != GRPC_C_RESOURCE_EXHAUSTED;
         deadline_ms *= 3) {
        assert_true(deadline_ms <= DEADLINE_MAX_MS);
        call(scene, NEVER_MS, deadline_ms, NULL);
        wait_for(scene, &scene->ended, ++tries);
        last = &scene->endings[tries - 1];
    }
    assert_string_equal(last->text, "3600000");
}

/* Who goes away leaves his place to others at once. */
static void whose_caller_goes_waits_no_more(void **state)
{
    enum { CALLS = 50 };
    struct scene *scene = *state;
    struct grpc_c_pending *pending[CALLS];

    for (size_t i = 0; i < CALLS; i++)
        call(scene, NEVER_MS - (int64_t)(i * 7 % CALLS), PATIENCE_MS, &pending[i]);
    wait_for(scene, &scene->came, CALLS);
    assert_int_equal(waiting(scene), CALLS);
    for (size_t i = 0; i < CALLS; i += 2)
        grpc_c_pending_cancel(pending[i]);
    const int64_t until_ns = clock_after_ms(WAIT_S * INT64_C(1000));
    while (waiting(scene) > CALLS / 2 || grpc_c_server_call_count(scene->server) > CALLS / 2)
        assert_true(sched_yield() == 0 && clock_now_ns() < until_ns);
    assert_int_equal(waiting(scene), CALLS / 2);
    for (size_t i = 0; i < CALLS; i++)
        grpc_c_pending_unref(pending[i]);
}

static void what_there_is_no_room_for_is_told_at_once(void **state)
{
    struct scene *scene = *state;
    uint64_t late = 0;
    size_t count = 0;

    for (size_t i = 0; i < CALLS_MAX; i++)
        call(scene, NEVER_MS, PATIENCE_MS, NULL);
    wait_for(scene, &scene->came, CALLS_MAX);
    wait_for(scene, &scene->ended, CALLS_MAX - CALL_REFUSALS_MAX);
    call_refusals_count(scene->refusals, &count, &late);
    assert_int_equal(count, CALL_REFUSALS_MAX);
    assert_int_equal(late, CALL_REFUSALS_MAX);
    assert_int_equal(ended_count(scene), CALLS_MAX - CALL_REFUSALS_MAX);
    call_refusals_hurry(scene->refusals);
    wait_for(scene, &scene->ended, CALLS_MAX);
    assert_all_refused(scene);
}

static void a_server_that_ends_does_not_wait_for_them(void **state)
{
    struct scene *scene = *state;

    for (size_t i = 0; i < 20; i++)
        call(scene, NEVER_MS, PATIENCE_MS, NULL);
    wait_for(scene, &scene->came, 20);
    assert_int_equal(ended_count(scene), 0);
    call_refusals_hurry(scene->refusals);
    wait_for(scene, &scene->ended, 20);
    call(scene, NEVER_MS, PATIENCE_MS, NULL); /* nor those that come now */
    wait_for(scene, &scene->ended, 21);
    assert_all_refused(scene);
    assert_int_equal(waiting(scene), 0);
}

/* Some of each at the same time: told, cancelled, out of time. */
static void every_end_at_once(void **state)
{
    enum { CALLS = 3000 };
    struct scene *scene = *state;
    struct grpc_c_pending **pending = memory_new_array(CALLS, sizeof(struct grpc_c_pending *));

    srand(7);
    for (size_t i = 0; i < CALLS; i++) {
        call(scene, (clock_now_ns() - scene->begun_ns) / NS_PER_MS + rand() % 30, i % 5 == 0 ? 10 : PATIENCE_MS,
            &pending[i]);
        if (i >= 100 && i % 3 == 0)
            grpc_c_pending_cancel(pending[i - (size_t)rand() % 100]);
    }
    call_refusals_hurry(scene->refusals);
    wait_for(scene, &scene->ended, CALLS);
    const int64_t until_ns = clock_after_ms(WAIT_S * INT64_C(1000));
    while (grpc_c_server_call_count(scene->server) > 0)
        assert_true(sched_yield() == 0 && clock_now_ns() < until_ns);
    assert_int_equal(waiting(scene), 0);
    for (size_t i = 0; i < CALLS; i++)
        grpc_c_pending_unref(pending[i]);
    free(pending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_told_at_its_time, setup_one_thread, teardown),
        cmocka_unit_test_setup_teardown(before_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(whose_caller_goes_waits_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(what_there_is_no_room_for_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_ends_does_not_wait_for_them, setup, teardown),
        cmocka_unit_test_setup_teardown(every_end_at_once, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
