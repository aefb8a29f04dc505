#include "grpc_c/server_queue.h"

#include <assert.h>

#include "base/clock.h"
#include "grpc_c/call.h"

enum { FREE_CALLS_MAX = 2048 };

struct grpc_c_call *server_queue_take(struct server_queue *queue)
{
    struct grpc_c_call *call = queue->free_calls;

    if (call == NULL)
        return call_new();
    queue->free_calls = call->next;
    queue->free_count--;
    call->next = NULL;
    return call;
}

void server_queue_put(struct server_queue *queue, struct grpc_c_call *call)
{
    assert(call->imposed == NULL);
    if (queue->free_count >= FREE_CALLS_MAX) {
        call_free(call);
        return;
    }
    call_clear(call);
    call->next = queue->free_calls;
    queue->free_calls = call;
    queue->free_count++;
}

void server_queue_watch(struct server_queue *queue, struct grpc_c_call *call, enum imposed_kind kind, int64_t end_ns)
{
    struct call_list *list = &queue->imposed[kind];

    assert(call->imposed == NULL && (list->last == NULL || list->last->end_ns <= end_ns));
    call->imposed = list;
    call->end_ns = end_ns;
    call->previous = list->last;
    call->next = NULL;
    if (list->last != NULL)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

void server_queue_unwatch(struct grpc_c_call *call)
{
    struct call_list *list = call->imposed;

    if (list == NULL)
        return;
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        list->first = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    else
        list->last = call->previous;
    call->imposed = NULL;
    call->next = NULL;
    call->previous = NULL;
}

/* A stream whose time to be looked at has come: ends it, or looks at it again later. */
static void look_at_stream(struct server_queue *queue, struct grpc_c_call *call, int64_t now_ns)
{
    struct error error = {0};

    if (!server_call_stays(call, &error))
        grpc_call_cancel_with_status(call->call, GRPC_STATUS_UNAUTHENTICATED, error.text, NULL);
    else if (call_is_idle(call, now_ns))
        grpc_call_cancel_with_status(
            call->call, GRPC_STATUS_DEADLINE_EXCEEDED, "the peer neither sent nor read for too long", NULL);
    else
        server_queue_watch(queue, call, IMPOSED_IDLE, now_ns + call->idle_ns / SERVER_QUEUE_IDLE_LOOKS);
}

/* Ends the calls whose time is up; returns when the next one's is. */
static int64_t end_overdue(struct queue_thread *thread)
{
    struct server_queue *queue = (struct server_queue *)(void *)thread;
    int64_t next_ns = CLOCK_NEVER;

    for (unsigned kind = 0; kind < IMPOSED_KINDS; kind++) {
        struct grpc_c_call *call = queue->imposed[kind].first;
        int64_t now_ns = call == NULL ? 0 : clock_now_ns();

        for (; call != NULL && call->end_ns <= now_ns; call = queue->imposed[kind].first) {
            server_queue_unwatch(call);
            if (kind != IMPOSED_IDLE)
                grpc_call_cancel_with_status(
                    call->call, GRPC_STATUS_DEADLINE_EXCEEDED, "the server's own deadline has passed", NULL);
            else
                look_at_stream(queue, call, now_ns);
        }
        if (call != NULL && call->end_ns < next_ns)
            next_ns = call->end_ns;
    }
    return next_ns;
}

bool server_queue_is_own(const struct server_queue *queue)
{
    return pthread_equal(queue->thread.thread, pthread_self()) != 0;
}

void server_queue_post(struct server_queue *queue, struct grpc_c_call *call)
{
    struct grpc_c_call *last = atomic_load_explicit(&queue->posted, memory_order_relaxed);

    do
        call->next_posted = last;
    while (!atomic_compare_exchange_weak(&queue->posted, &last, call));
    if (last ==
        NULL) { /* a batch of nothing is done at once: its tag wakes the thread. Until then nobody takes the call */
        grpc_call_error failure = grpc_call_start_batch(call->call, NULL, 0, &queue->take_posted, NULL);
        assert(failure == GRPC_CALL_OK);
        (void)failure;
    }
}

/* Sends the answers that were posted, in their order. */
static void send_posted(struct tag *tag, bool ok)
{
    struct server_queue *queue =
        (struct server_queue *)(void *)((char *)tag - offsetof(struct server_queue, take_posted));
    struct grpc_c_call *call = atomic_exchange(&queue->posted, NULL);
    struct grpc_c_call *first = NULL;

    (void)ok; /* nothing cannot fail */
    while (call != NULL) {
        struct grpc_c_call *next = call->next_posted;
        call->next_posted = first;
        first = call;
        call = next;
    }
    while (first != NULL) {
        call = first;
        first = call->next_posted;
        call_send_late_answer(call);
    }
}

void server_queue_init(struct server_queue *queue)
{
    *queue = (struct server_queue){0};
    queue_thread_init(&queue->thread);
    queue->thread.tick = end_overdue;
    queue->take_posted.done = send_posted;
}

void server_queue_release(struct server_queue *queue)
{
    queue_thread_release(&queue->thread);
    while (queue->free_calls != NULL) {
        struct grpc_c_call *call = queue->free_calls;
        queue->free_calls = call->next;
        call_free(call);
    }
    queue->free_count = 0;
}
