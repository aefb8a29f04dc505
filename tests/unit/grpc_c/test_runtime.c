/* Goal: what server and client share: times, status names, and a core that does not flood anybody's log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/sync.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "grpc_c/log.h"
#include "grpc_c/runtime.h"
#include "grpc_c/server.h"
#include "grpc_c/status.h"

enum { NEAR_NS = 1000000000 };

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(grpc_c_status_name(GRPC_C_OK), "OK");
    assert_string_equal(grpc_c_status_name(GRPC_C_INVALID_ARGUMENT), "INVALID_ARGUMENT");
    assert_string_equal(grpc_c_status_name(GRPC_C_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(grpc_c_status_name((enum grpc_c_status)17), "UNKNOWN");
    assert_string_equal(grpc_c_status_name((enum grpc_c_status) - 1), "UNKNOWN");
}

static void test_times(void **state)
{
    int64_t now_ns = clock_now_ns();
    const int64_t times[] = {now_ns, now_ns + 1, now_ns + INT64_C(3600000000000), now_ns - NEAR_NS};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        int64_t back_ns = time_from_core(time_to_core(times[i]));
        assert_true(back_ns >= times[i] - NEAR_NS && back_ns <= times[i] + NEAR_NS);
    }
    assert_int_equal(time_from_core(time_to_core(CLOCK_NEVER)), CLOCK_NEVER);
    assert_int_equal(time_from_core(gpr_inf_future(GPR_CLOCK_REALTIME)), CLOCK_NEVER);
    assert_true(time_from_core(gpr_inf_past(GPR_CLOCK_MONOTONIC)) <= clock_now_ns());
    assert_int_equal(
        time_from_core((gpr_timespec){.tv_sec = INT64_MAX - 1, .clock_type = GPR_CLOCK_REALTIME}), CLOCK_NEVER);
    /* 292 years from now fit into 64 bits of nanoseconds, 293 do not. */
    gpr_timespec far = gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_hours(293 * 8766, GPR_TIMESPAN));
    assert_int_equal(time_from_core(far), CLOCK_NEVER);
}

/* Goal: the core's locks are locks and nothing else. Debian's abseil looks for deadlocks: it ends a process that takes two of them in both
 * orders, at whatever times, and lets each lock pay for that. */
static void test_core_locks(void **state)
{
    gpr_mu first;
    gpr_mu second;

    (void)state;
    runtime_init();
    gpr_mu_init(&first);
    gpr_mu_init(&second);
    for (unsigned turn = 0; turn < 2; turn++) {
        gpr_mu_lock(turn == 0 ? &first : &second);
        gpr_mu_lock(turn == 0 ? &second : &first);
        gpr_mu_unlock(&second);
        gpr_mu_unlock(&first);
    }
    gpr_mu_destroy(&second);
    gpr_mu_destroy(&first);
    runtime_release();
}

/* Goal: the core keeps no statistics that nobody asks for: it knows no server to tell of. */
static void test_core_statistics(void **state)
{
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    char *servers = grpc_channelz_get_servers(0);

    (void)state;
    assert_non_null(servers);
    assert_null(strstr(servers, "serverId"));
    gpr_free(servers);
    grpc_c_server_free(server);
}

struct log_count {
    size_t lines;
    size_t errors;
    uint64_t dropped;
};

static void count_line(bool is_error, const char *message, uint64_t dropped, void *user)
{
    struct log_count *count = user;

    assert_string_equal(message, "a line");
    count->lines++;
    count->errors += is_error;
    count->dropped += dropped;
}

/* Goal: a flood of lines comes as ten a second, and the rest is counted. */
static void test_core_log(void **state)
{
    enum { FLOOD = 1000 };
    struct log_count count = {0};
    uint64_t written = FLOOD;
    int64_t start_ns = clock_now_ns();

    (void)state;
    runtime_init();
    grpc_c_log_observe(count_line, &count);
    for (size_t i = 0; i < FLOOD; i++)
        gpr_log(GPR_ERROR, "a %s", "line");
    size_t windows = (size_t)((clock_now_ns() - start_ns) / 1000000000) + 2;
    assert_in_range(count.lines, GRPC_C_LOG_LINES_MAX, windows * GRPC_C_LOG_LINES_MAX);
    assert_int_equal(count.errors, count.lines);
    size_t before = count.lines;
    while (count.lines == before) { /* until the next second begins */
        assert_true(clock_now_ns() - start_ns < INT64_C(60000000000));
        gpr_log(GPR_ERROR, "a line");
        written++;
    }
    assert_int_equal(count.lines + count.dropped, written);
    grpc_c_log_observe(NULL, NULL);
    gpr_log(GPR_ERROR, "nobody hears this");
    runtime_release();
}

struct noted {
    struct tag tag;
    bool is_done;
};

static void note(struct tag *tag, bool ok)
{
    struct noted *noted = (struct noted *)(void *)tag;

    assert_true(ok);
    noted->is_done = true;
}

static int64_t tick_once(struct queue_thread *queue)
{
    (void)queue;
    return CLOCK_NEVER;
}

/* Goal: a queue without a thread is served by whoever needs its event, and released with nothing in it. */
static void test_queue_without_thread(void **state)
{
    struct queue_thread queue;
    struct noted noted = {.tag.done = note};

    (void)state;
    runtime_init();
    queue_thread_init(&queue);
    queue.tick = tick_once;
    grpc_server *server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(server, queue.queue, NULL);
    grpc_server_shutdown_and_notify(server, queue.queue, &noted.tag);
    queue_thread_serve_until(&queue, &noted.is_done);
    grpc_server_destroy(server);
    queue_thread_release(&queue);
    queue_thread_release(&queue); /* again: no harm */
    runtime_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_core_locks),
        cmocka_unit_test(test_core_statistics),
        cmocka_unit_test(test_core_log),
        cmocka_unit_test(test_queue_without_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
