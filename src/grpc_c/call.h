/* The server's side of one call, as server.c and call.c share it. Not for users of src/grpc_c. */
#ifndef GRPC_C_CALL_H
#define GRPC_C_CALL_H

#include <stdatomic.h>

#include "grpc_c/runtime.h"
#include "grpc_c/server.h"
#include "grpc_c/server_queue.h"
#include "grpc_c/wire.h"

enum { ANSWER_METADATA_MAX = 16 };

/* A method that is served: what calls of it are armed with. Constant once the server has started. */
struct served_method {
    struct grpc_c_server *server;
    const struct grpc_c_method *method; /* NULL: the catch-all for unknown methods */
    grpc_c_adapter *adapter;            /* NULL: not implemented */
    const void *handlers;
    void *user;
    void *registration;        /* the core's */
    size_t number;             /* in order of registration; GRPC_C_METHOD_UNKNOWN */
    size_t size_max;           /* bytes of one request */
    struct wire_limits limits; /* of one request */
};

/* One call, from being armed until both its answer and its close have come back from the core; then used again. */
struct grpc_c_call {
    struct tag armed;  /* a call has come (or the server is stopping) */
    struct tag closed; /* the core says how it ended for the peer */
    struct tag answered;
    struct tag read; /* streams only, down to `written` */
    struct tag written;
    const struct served_method *served;
    struct server_queue *queue;
    atomic_int references; /* the answer's, the close's, and of each operation of a stream that is under way */
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
    int64_t came_ns;
    int64_t deadline_ns;
    const char *path;
    ProtobufCMessage *request; /* NULL: the client streams */
    void *caller;              /* the gate's */
    bool is_let_in;            /* the gate is told of its end */
    grpc_metadata initial[ANSWER_METADATA_MAX];
    size_t initial_count;
    grpc_metadata trailing[ANSWER_METADATA_MAX];
    size_t trailing_count;
    grpc_byte_buffer *response;
    bool may_compress; /* asked for before anything was sent */
    bool is_compressing;
    bool was_compressed; /* the last request */
    void *slot;          /* generated code's */

    /* streams: the reader's */
    grpc_byte_buffer *incoming;
    struct arena *message_arena; /* of the message that was read last; NULL before the first */
    grpc_c_read_callback *on_read;
    void *on_read_user;
    /* the writer's */
    grpc_byte_buffer *outgoing;
    grpc_c_write_callback *on_written;
    void *on_written_user;

    struct grpc_c_call *next_posted; /* in the queue's list of answers */

    atomic_bool is_cancelled;
    pthread_mutex_t lock;
    /* under the lock */
    bool is_answered;
    void (*on_cancel)(void *user);
    void *on_cancel_user;
    void (*on_gone)(struct grpc_c_call *call, void *user);
    void *on_gone_user;
    bool is_begun; /* the initial metadata are on their way */
    bool is_reading;
    bool is_writing;
    bool is_late;                   /* answered while a write was under way: sent behind it */
    enum grpc_c_status late_status; /* of an answer that is sent later: behind a write, or by the queue's thread */
    grpc_slice late_details;
    enum grpc_c_status bad; /* not OK: a request could not be taken, and this is what the client is told */
    const char *bad_text;   /* in the message's arena */
    int64_t idle_ns;        /* bound, constant; 0: not a stream */
    int64_t progress_ns;    /* when a read or write began or ended last */
};

/* Makes a call object; server_queue.c keeps them for use again. */
struct grpc_c_call *call_new(void);
void call_free(struct grpc_c_call *call); /* NULL is fine */

/* Gives back what the last use took, so that the object can be armed again. */
void call_clear(struct grpc_c_call *call);

/* server.c: a call has come, or (not `ok`) the server is stopping. */
void server_call_armed(struct tag *tag, bool ok);

/* server.c: tells the gate that the call is ended. */
void server_call_ended(struct grpc_c_call *call, enum grpc_c_status status);

/* server.c: whether the gate still lets the caller of a stream in. On the queue's thread. */
bool server_call_stays(struct grpc_c_call *call, struct error *reterr_error);

/* server.c: both references are gone, and the object is to be taken back. On the queue's thread. */
void server_call_done(struct grpc_c_call *call);

/* Drops one reference. */
void call_unref(struct grpc_c_call *call);

/* Reads, checks and unpacks a request into an arena; NULL with the reason (ERROR_FULL: too large) when it cannot be
 * taken. `buffer` may be NULL. */
ProtobufCMessage *call_unpack(
    struct grpc_c_call *call, grpc_byte_buffer *buffer, struct arena *arena, struct error *reterr_error);

/* call.c for call_stream.c: fills a SEND_INITIAL_METADATA. */
void call_fill_initial(struct grpc_c_call *call, grpc_op *op);

/* Sends the answer that was kept in late_status and late_details. On the queue's thread. */
void call_send_late_answer(struct grpc_c_call *call);

/* call_stream.c: what the tags of a stream do, and whether its peer has kept it waiting for too long. */
void call_stream_init(struct grpc_c_call *call);
bool call_is_idle(struct grpc_c_call *call, int64_t now_ns);

/* Asks the core how the call ends for the peer. */
void call_watch_close(struct grpc_c_call *call);

#endif
