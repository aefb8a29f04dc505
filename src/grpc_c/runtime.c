#include "grpc_c/runtime.h"

#include <assert.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "grpc_c/log.h"

#define NS_PER_S INT64_C(1000000000)

/* --- The core ----------------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    /* under the lock */
    grpc_c_log_observer *observer;
    void *user;
    int64_t second_start_ns;
    unsigned told; /* in that second */
    uint64_t dropped;
} core_log = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Not an error channel of ours: it lives from the call into the core to its return, on one stack. */
static _Thread_local struct error *kept_complaint;

void runtime_keep_complaint(struct error *complaint)
{
    kept_complaint = complaint;
}

void grpc_c_log_observe(grpc_c_log_observer *observer, void *user)
{
    pthread_mutex_lock(&core_log.lock);
    core_log.observer = observer;
    core_log.user = user;
    pthread_mutex_unlock(&core_log.lock);
}

static void on_core_log(gpr_log_func_args *arguments)
{
    grpc_c_log_observer *observer = NULL;
    int64_t now_ns = clock_now_ns();
    uint64_t dropped = 0;
    void *user = NULL;

    if (arguments->severity == GPR_LOG_SEVERITY_ERROR && kept_complaint != NULL)
        error_set(kept_complaint, ERROR_INVALID, "%s", arguments->message);
    if (arguments->severity == GPR_LOG_SEVERITY_ERROR && strncmp(arguments->message, "assertion failed", 16) == 0)
        fprintf(stderr, "%s:%d: gRPC core: %s\n", arguments->file, arguments->line, arguments->message);
    pthread_mutex_lock(&core_log.lock);
    if (now_ns - core_log.second_start_ns >= NS_PER_S) {
        core_log.second_start_ns = now_ns;
        core_log.told = 0;
    }
    if (core_log.observer != NULL && core_log.told < GRPC_C_LOG_LINES_MAX) {
        observer = core_log.observer;
        user = core_log.user;
        core_log.told++;
        dropped = core_log.dropped;
        core_log.dropped = 0;
    } else {
        core_log.dropped++;
    }
    pthread_mutex_unlock(&core_log.lock);
    if (observer != NULL)
        observer(arguments->severity == GPR_LOG_SEVERITY_ERROR, arguments->message, dropped, user);
}

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle), as Debian 12's abseil has it. Elsewhere there may be none by this
 * name; releases of others have the mode that we want from the start. */
extern void core_detect_deadlocks(int mode) __asm__(
    "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE") __attribute__((weak));

enum { CORE_DEADLOCKS_IGNORED = 0 };

/* Debian compiles abseil as for debugging: under a lock that all threads share, each lock of the core's is entered in a graph of which is
 * taken after which, and an order that was not seen before ends the process. A seventh of what a call costs. */
static void switch_deadlock_detection_off(void)
{
    if (core_detect_deadlocks != NULL)
        core_detect_deadlocks(CORE_DEADLOCKS_IGNORED);
}

void runtime_init(void)
{
    gpr_set_log_function(on_core_log);
    switch_deadlock_detection_off();
    grpc_init();
}

void runtime_release(void)
{
    grpc_shutdown();
}

/* --- Completion queues -------------------------------------------------------------------------------------------- */

/* Waits for one event and serves it; false when the queue is shut down and empty. */
static bool serve_event(struct queue_thread *queue)
{
    int64_t until_ns = queue->tick == NULL ? CLOCK_NEVER : queue->tick(queue);
    grpc_event event = grpc_completion_queue_next(queue->queue, time_to_core(until_ns), NULL);

    if (event.type == GRPC_OP_COMPLETE) {
        struct tag *tag = event.tag;
        tag->done(tag, event.success != 0);
    }
    return event.type != GRPC_QUEUE_SHUTDOWN;
}

static void *serve_queue(void *argument)
{
    struct queue_thread *queue = argument;

    while (serve_event(queue)) {
    }
    return NULL;
}

void queue_thread_init(struct queue_thread *queue)
{
    *queue = (struct queue_thread){.queue = grpc_completion_queue_create_for_next(NULL)};
}

bool queue_thread_start(struct queue_thread *queue, struct error *reterr_error)
{
    int failure = pthread_create(&queue->thread, NULL, serve_queue, queue);

    if (failure != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not start a thread: %s", strerror(failure));
    queue->is_started = true;
    return true;
}

void queue_thread_serve_until(struct queue_thread *queue, const bool *is_done)
{
    assert(!queue->is_started);
    while (!*is_done) {
        bool is_up = serve_event(queue);
        assert(is_up);
        (void)is_up;
    }
}

void queue_thread_release(struct queue_thread *queue)
{
    if (queue->queue == NULL)
        return;
    grpc_completion_queue_shutdown(queue->queue);
    if (queue->is_started)
        pthread_join(queue->thread, NULL);
    else
        serve_queue(queue);
    grpc_completion_queue_destroy(queue->queue);
    queue->queue = NULL;
}

/* --- Times -------------------------------------------------------------------------------------------------------- */

gpr_timespec time_to_core(int64_t deadline_ns)
{
    if (deadline_ns == CLOCK_NEVER)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){.tv_sec = deadline_ns / NS_PER_S,
        .tv_nsec = (int32_t)(deadline_ns % NS_PER_S),
        .clock_type = GPR_CLOCK_MONOTONIC};
}

int64_t time_from_core(gpr_timespec time)
{
    gpr_timespec left;
    int64_t left_ns = 0;

    if (gpr_time_cmp(time, gpr_inf_future(time.clock_type)) == 0)
        return CLOCK_NEVER;
    left = gpr_time_sub(time, gpr_now(time.clock_type));
    if (__builtin_mul_overflow(left.tv_sec, NS_PER_S, &left_ns))
        return left.tv_sec > 0 ? CLOCK_NEVER : clock_now_ns();
    if (__builtin_add_overflow(left_ns + left.tv_nsec, clock_now_ns(), &left_ns))
        return CLOCK_NEVER;
    return left_ns;
}
