/* The server's side of streams: reads and writes of one call. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "grpc_c/call.h"

enum { MESSAGE_ARENA_SIZE = 1024 };

static void start_batch(struct grpc_c_call *call, const grpc_op *ops, size_t count, struct tag *tag)
{
    atomic_fetch_add(&call->references, 1);
    grpc_call_error failure = grpc_call_start_batch(call->call, ops, count, tag, NULL);
    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

bool call_is_idle(struct grpc_c_call *call, int64_t now_ns)
{
    pthread_mutex_lock(&call->lock);
    bool is_idle = (call->is_reading || call->is_writing) && now_ns - call->progress_ns >= call->idle_ns;
    pthread_mutex_unlock(&call->lock);
    return is_idle;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* Unpacks what came; a message that cannot be taken decides how the call ends for the client. */
static enum grpc_c_read judge_message(struct grpc_c_call *call, ProtobufCMessage **ret_message)
{
    struct error error = {0};

    *ret_message = call_unpack(call, call->incoming, call->message_arena, &error);
    if (*ret_message != NULL)
        return GRPC_C_READ_MESSAGE;
    pthread_mutex_lock(&call->lock);
    call->bad = error.code == ERROR_FULL ? GRPC_C_RESOURCE_EXHAUSTED : GRPC_C_INVALID_ARGUMENT;
    call->bad_text = arena_copy_string(call->message_arena, error.text);
    pthread_mutex_unlock(&call->lock);
    return GRPC_C_READ_BAD;
}

static void on_read(struct tag *tag, bool ok)
{
    struct grpc_c_call *call = (struct grpc_c_call *)(void *)((char *)tag - offsetof(struct grpc_c_call, read));
    enum grpc_c_read result = GRPC_C_READ_GONE;
    ProtobufCMessage *message = NULL;

    (void)ok; /* a read that brings nothing is a success as well */
    pthread_mutex_lock(&call->lock);
    bool is_answered = call->is_answered;
    pthread_mutex_unlock(&call->lock);
    if (!is_answered && call->incoming != NULL)
        result = judge_message(call, &message);
    else if (!is_answered && grpc_call_failed_before_recv_message(call->call) == 0)
        result = GRPC_C_READ_END; /* the close, which would tell a cancellation, may come after the read */
    pthread_mutex_lock(&call->lock);
    call->is_reading = false;
    call->progress_ns = clock_now_ns();
    pthread_mutex_unlock(&call->lock);
    call->on_read(call, result, message, call->on_read_user);
    call_unref(call);
}

void grpc_c_call_read(struct grpc_c_call *call, grpc_c_read_callback *callback, void *user)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    assert(call->served->method->client_streams);
    pthread_mutex_lock(&call->lock);
    assert(!call->is_reading && !call->is_answered);
    call->is_reading = true;
    call->progress_ns = clock_now_ns();
    pthread_mutex_unlock(&call->lock);
    if (call->incoming != NULL)
        grpc_byte_buffer_destroy(call->incoming);
    call->incoming = NULL;
    if (call->message_arena == NULL)
        call->message_arena = arena_new(MESSAGE_ARENA_SIZE);
    else if (call->bad == GRPC_C_OK) /* its reason lies there */
        arena_clear(call->message_arena);
    call->on_read = callback;
    call->on_read_user = user;
    op.data.recv_message.recv_message = &call->incoming;
    start_batch(call, &op, 1, &call->read);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

/* The write is done: an answer that waited for it goes out. */
static void on_written(struct tag *tag, bool ok)
{
    struct grpc_c_call *call = (struct grpc_c_call *)(void *)((char *)tag - offsetof(struct grpc_c_call, written));
    grpc_c_write_callback *callback = call->on_written;
    void *user = call->on_written_user;

    grpc_byte_buffer_destroy(call->outgoing);
    call->outgoing = NULL;
    pthread_mutex_lock(&call->lock);
    call->is_writing = false;
    call->progress_ns = clock_now_ns();
    bool is_late = call->is_late;
    pthread_mutex_unlock(&call->lock);
    if (is_late)
        call_send_late_answer(call);
    callback(call, ok, user);
    call_unref(call);
}

void grpc_c_call_write(
    struct grpc_c_call *call, const ProtobufCMessage *message, grpc_c_write_callback *callback, void *user)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    grpc_op ops[2];
    size_t count = 0;

    assert(call->served->method->server_streams && message->descriptor == call->served->method->response);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    pthread_mutex_lock(&call->lock);
    assert(!call->is_writing && !call->is_answered);
    call->is_writing = true;
    call->progress_ns = clock_now_ns();
    if (!call->is_begun)
        call_fill_initial(call, &ops[count++]);
    call->is_begun = true;
    unsigned flags = call->is_compressing ? 0 : GRPC_WRITE_NO_COMPRESS;
    pthread_mutex_unlock(&call->lock);
    call->outgoing = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    call->on_written = callback;
    call->on_written_user = user;
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .flags = flags};
    ops[count++].data.send_message.send_message = call->outgoing;
    start_batch(call, ops, count, &call->written);
}

void call_stream_init(struct grpc_c_call *call)
{
    call->read.done = on_read;
    call->written.done = on_written;
}

/* --- Blocking forms ----------------------------------------------------------------------------------------------- */

/* What a thread waits for. */
struct wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    bool is_over;
    enum grpc_c_read result;
    const ProtobufCMessage *message;
    bool is_sent;
};

#define WAIT_INIT                                                                                                      \
    {                                                                                                                  \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                         \
    }

static void wait_until_over(struct wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->is_over)
        pthread_cond_wait(&wait->changed, &wait->lock);
    pthread_mutex_unlock(&wait->lock);
    pthread_cond_destroy(&wait->changed);
    pthread_mutex_destroy(&wait->lock);
}

/* Called under the lock, which it gives up: the waiter's frame may be gone right after. */
static void wait_end(struct wait *wait)
{
    wait->is_over = true;
    pthread_cond_signal(&wait->changed);
    pthread_mutex_unlock(&wait->lock);
}

static void wake_reader(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user)
{
    struct wait *wait = user;

    (void)call;
    pthread_mutex_lock(&wait->lock);
    wait->result = result;
    wait->message = message;
    wait_end(wait);
}

enum grpc_c_read grpc_c_call_read_wait(struct grpc_c_call *call, const ProtobufCMessage **ret_message)
{
    struct wait wait = WAIT_INIT;

    grpc_c_call_read(call, wake_reader, &wait);
    wait_until_over(&wait);
    *ret_message = wait.message;
    return wait.result;
}

static void wake_writer(struct grpc_c_call *call, bool is_sent, void *user)
{
    struct wait *wait = user;

    (void)call;
    pthread_mutex_lock(&wait->lock);
    wait->is_sent = is_sent;
    wait_end(wait);
}

bool grpc_c_call_write_wait(struct grpc_c_call *call, const ProtobufCMessage *message)
{
    struct wait wait = WAIT_INIT;

    grpc_c_call_write(call, message, wake_writer, &wait);
    wait_until_over(&wait);
    return wait.is_sent;
}
