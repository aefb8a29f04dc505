/* What server and client share: completion queue threads, tags, addresses, the core's log. Not for users of
 * src/grpc_c. */
#ifndef GRPC_C_RUNTIME_H
#define GRPC_C_RUNTIME_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What a completion queue gives back: a member of a struct that knows what to do. `ok` is the event's success. */
struct tag {
    void (*done)(struct tag *tag, bool ok);
};

/* A completion queue with the thread that serves it. */
struct queue_thread {
    grpc_completion_queue *queue;
    pthread_t thread;
    bool is_started;
    /* Optional. Called on the thread before each wait: does what is due, and returns when something will be
     * (monotonic ns; CLOCK_NEVER: nothing). */
    int64_t (*tick)(struct queue_thread *queue);
};

/* Makes the queue; its thread is started by queue_thread_start(). */
void queue_thread_init(struct queue_thread *queue);

/* Starts the thread. Errors: ERROR_SYSTEM. */
bool queue_thread_start(struct queue_thread *queue, struct error *reterr_error);

/* Serves a queue whose thread was never started, on the caller's, until an event has set `*is_done`. */
void queue_thread_serve_until(struct queue_thread *queue, const bool *is_done);

/* Shuts the queue down, lets the thread serve what is left, joins it, destroys the queue. A zeroed struct is fine. */
void queue_thread_release(struct queue_thread *queue);

/* grpc_init() and a quiet core (log.h). Each call needs one runtime_release(). */
void runtime_init(void);
void runtime_release(void);

/* From here on the last error line that the core writes on this thread is kept in `*complaint`, which is borrowed; NULL
 * ends that. For calls into the core that say in its log only why they fail. */
void runtime_keep_complaint(struct error *complaint);

/* A time of the monotonic clock (ns) as the core wants it, and back; CLOCK_NEVER is infinity. */
gpr_timespec time_to_core(int64_t deadline_ns);
int64_t time_from_core(gpr_timespec time);

#endif
