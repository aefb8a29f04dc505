/* The server's side of one call, as server.c and call.c share it. Not for users of src/grpc_c. */
#ifndef GRPC_C_CALL_H
#define GRPC_C_CALL_H

#include <stdatomic.h>

#include "grpc_c/runtime.h"
#include "grpc_c/server.h"
#include "grpc_c/server_queue.h"

enum { ANSWER_METADATA_MAX = 16 };

/* A method that is served: what calls of it are armed with. Constant once the server has started. */
struct served_method {
    struct grpc_c_server *server;
    const struct grpc_c_method *method; /* NULL: the catch-all for unknown methods */
    grpc_c_adapter *adapter;            /* NULL: not implemented */
    const void *handlers;
    void *user;
    void *registration; /* the core's */
};

/* One call, from being armed until both its answer and its close have come back from the core; then used again. */
struct grpc_c_call {
    struct tag armed;  /* a call has come (or the server is stopping) */
    struct tag closed; /* the core says how it ended for the peer */
    struct tag answered;
    const struct served_method *served;
    struct server_queue *queue;
    atomic_int references; /* the answer's and the close's */
    bool is_handled;       /* not refused because the server is stopping */

    /* the queue's thread only */
    struct call_list *imposed;    /* NULL: the server does not end this call */
    int64_t end_ns;               /* when it does */
    struct grpc_c_call *next;     /* on that list, or on the list of free ones */
    struct grpc_c_call *previous; /* on that list */

    /* from the core */
    grpc_call *call;
    gpr_timespec core_deadline;
    grpc_metadata_array request_metadata;
    grpc_byte_buffer *payload;
    grpc_call_details details; /* of unknown methods */
    int close_was_cancel;

    /* the handler's */
    struct arena *arena;
    int64_t deadline_ns;
    const char *path;
    const char *peer; /* NULL until asked for */
    grpc_metadata initial[ANSWER_METADATA_MAX];
    size_t initial_count;
    grpc_metadata trailing[ANSWER_METADATA_MAX];
    size_t trailing_count;
    grpc_byte_buffer *response;

    atomic_bool is_cancelled;
    pthread_mutex_t lock;
    /* under the lock */
    bool is_answered;
    void (*on_cancel)(void *user);
    void *on_cancel_user;
};

/* Makes a call object; server_queue.c keeps them for use again. */
struct grpc_c_call *call_new(void);
void call_free(struct grpc_c_call *call); /* NULL is fine */

/* Gives back what the last use took, so that the object can be armed again. */
void call_clear(struct grpc_c_call *call);

/* server.c: a call has come, or (not `ok`) the server is stopping. */
void server_call_armed(struct tag *tag, bool ok);

/* server.c: both references are gone, and the object is to be taken back. On the queue's thread. */
void server_call_done(struct grpc_c_call *call);

/* Drops one reference. */
void call_unref(struct grpc_c_call *call);

/* Asks the core how the call ends for the peer. */
void call_watch_close(struct grpc_c_call *call);

#endif
