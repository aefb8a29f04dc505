/* What one completion queue thread of a server keeps to itself, so that no call costs a lock that threads share:
 * call objects for use again, and the calls whose deadline is the server's own. Not for users of src/grpc_c. */
#ifndef GRPC_C_SERVER_QUEUE_H
#define GRPC_C_SERVER_QUEUE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "grpc_c/runtime.h"

struct grpc_c_call;

/* Why the server ends a call by its own clock. Calls of one kind all get the same time: they end in the order they
 * came. Idle streams are looked for: each is looked at several times in the time it is given. */
enum imposed_kind { IMPOSED_DEFAULT, IMPOSED_MAX, IMPOSED_IDLE, IMPOSED_KINDS };

enum { SERVER_QUEUE_IDLE_LOOKS = 6 };

struct call_list {
    struct grpc_c_call *first;
    struct grpc_c_call *last;
};

/* All of it for the queue's own thread, from the start of the thread to its end. */
struct server_queue {
    struct queue_thread thread; /* first: the thread's tick gets its address */
    struct grpc_c_call *free_calls;
    size_t free_count;
    struct call_list imposed[IMPOSED_KINDS]; /* the earliest first */

    /* any thread's */
    _Atomic(struct grpc_c_call *) posted; /* calls whose answers are to be sent, the last first */
    struct tag take_posted;               /* on its way when `posted` is not empty */
};

/* An empty queue; its thread is not started. */
void server_queue_init(struct server_queue *queue);

/* A call object; it goes back with server_queue_put(), also to another call's queue. */
struct grpc_c_call *server_queue_take(struct server_queue *queue);
void server_queue_put(struct server_queue *queue, struct grpc_c_call *call);

/* Ends the call with DEADLINE_EXCEEDED at `end_ns` unless server_queue_unwatch() comes first. Within a kind `end_ns`
 * never falls (asserted). Unwatching is fine for calls that are not watched. */
void server_queue_watch(struct server_queue *queue, struct grpc_c_call *call, enum imposed_kind kind, int64_t end_ns);
void server_queue_unwatch(struct grpc_c_call *call);

/* True on the queue's own thread. Any thread. */
bool server_queue_is_own(const struct server_queue *queue);

/* Has the queue's thread send the answer that the call keeps. Any thread; the queue may not be shut down before that is done. */
void server_queue_post(struct server_queue *queue, struct grpc_c_call *call);

/* Ends the thread and frees the call objects. A zeroed struct is fine. */
void server_queue_release(struct server_queue *queue);

#endif
