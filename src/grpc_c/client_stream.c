/* The client's side of streams. */
#include <assert.h>
#include <grpc/byte_buffer.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "grpc_c/client_call.h"

/* One streaming call. References: the caller's, and one of each operation under way, the status that is waited for
 * among them. The channel knows it until the last operation after the status has come back. */
struct grpc_c_stream {
    struct tag begun;  /* initial metadata, and for a single request everything that is sent */
    struct tag read;   /* one response, or none any more */
    struct tag sent;   /* one request */
    struct tag closed; /* the half-close */
    struct tag ended;  /* the status */
    struct client_call call;
    atomic_int references;
    atomic_int operations; /* under way */
    atomic_bool is_delisted;
    grpc_byte_buffer *incoming;
    grpc_byte_buffer *outgoing;
    void *slot;

    grpc_c_stream_read_callback *on_read;
    void *on_read_user;
    bool keeps_response;    /* the read that is under way is a blocking one, which takes the response over: */
    ProtobufCMessage *kept; /* NULL: there was none */
    grpc_c_stream_write_callback *on_sent;
    void *on_sent_user;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct error bad; /* a response that was no good; the call was cancelled for it */
    bool is_reading;
    bool is_sending;
    bool is_closed; /* the sending side */
    bool has_ended; /* the status is there */
    bool is_told;   /* on_end was called */
    bool is_plain;  /* what is sent now goes uncompressed */
    grpc_c_stream_end_callback *on_end;
    void *on_end_user;
};

#define STREAM_OF(tag, member) ((struct grpc_c_stream *)(void *)((char *)(tag)-offsetof(struct grpc_c_stream, member)))

static void unref(struct grpc_c_stream *stream)
{
    if (atomic_fetch_sub(&stream->references, 1) != 1)
        return;
    if (stream->incoming != NULL)
        grpc_byte_buffer_destroy(stream->incoming);
    if (stream->outgoing != NULL)
        grpc_byte_buffer_destroy(stream->outgoing);
    client_call_release(&stream->call);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    free(stream->slot);
    free(stream);
    runtime_release();
}

static void start_batch(struct grpc_c_stream *stream, const grpc_op *ops, size_t count, struct tag *tag)
{
    atomic_fetch_add(&stream->references, 1);
    atomic_fetch_add(&stream->operations, 1);
    client_start_batch(&stream->call, ops, count, tag);
}

/* Tells the end once everything has come back. Called whenever something has. */
static void tell_end(struct grpc_c_stream *stream)
{
    struct grpc_c_outcome outcome;

    pthread_mutex_lock(&stream->lock);
    bool is_due =
        stream->has_ended && !stream->is_reading && !stream->is_sending && stream->on_end != NULL && !stream->is_told;
    stream->is_told = stream->is_told || is_due;
    pthread_mutex_unlock(&stream->lock);
    if (!is_due)
        return;
    client_call_end(&stream->call, &stream->bad, &outcome);
    stream->on_end(stream, &outcome, stream->on_end_user);
    grpc_c_outcome_release(&outcome);
}

/* An operation has come back, and nothing of it is used any more. */
static void operation_done(struct grpc_c_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool has_ended = stream->has_ended;
    pthread_mutex_unlock(&stream->lock);
    if (atomic_fetch_sub(&stream->operations, 1) == 1 && has_ended && !atomic_exchange(&stream->is_delisted, true))
        client_call_delist(&stream->call);
    unref(stream);
}

/* --- Events ------------------------------------------------------------------------------------------------------- */

static void on_begun(struct tag *tag, bool ok)
{
    (void)ok; /* false: the call is over, which its status tells */
    operation_done(STREAM_OF(tag, begun));
}

static void on_closed(struct tag *tag, bool ok)
{
    (void)ok;
    operation_done(STREAM_OF(tag, closed));
}

static void on_ended(struct tag *tag, bool ok)
{
    struct grpc_c_stream *stream = STREAM_OF(tag, ended);

    (void)ok; /* a batch with RECV_STATUS_ON_CLIENT never fails */
    pthread_mutex_lock(&stream->lock);
    stream->has_ended = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    tell_end(stream);
    operation_done(stream);
}

/* A response that is no good ends the call. */
static ProtobufCMessage *take_response(struct grpc_c_stream *stream)
{
    struct error error = {0};
    ProtobufCMessage *response = NULL;

    if (stream->incoming == NULL)
        return NULL;
    response = client_unpack(&stream->call, stream->incoming, &error);
    grpc_byte_buffer_destroy(stream->incoming);
    stream->incoming = NULL;
    if (response == NULL) {
        pthread_mutex_lock(&stream->lock);
        stream->bad = error;
        pthread_mutex_unlock(&stream->lock);
        grpc_call_cancel(stream->call.call, NULL);
    }
    return response;
}

static void on_read(struct tag *tag, bool ok)
{
    struct grpc_c_stream *stream = STREAM_OF(tag, read);
    grpc_c_stream_read_callback *callback = stream->on_read;
    void *user = stream->on_read_user;

    (void)ok;
    ProtobufCMessage *response = take_response(stream);
    bool is_kept = stream->keeps_response;
    stream->kept = is_kept ? response : NULL;
    stream->keeps_response = false;
    pthread_mutex_lock(&stream->lock);
    stream->is_reading = false;
    pthread_mutex_unlock(&stream->lock);
    callback(stream, response, user);
    if (response != NULL && !is_kept)
        protobuf_c_message_free_unpacked(response, NULL);
    tell_end(stream);
    operation_done(stream);
}

static void on_sent(struct tag *tag, bool ok)
{
    struct grpc_c_stream *stream = STREAM_OF(tag, sent);
    grpc_c_stream_write_callback *callback = stream->on_sent;
    void *user = stream->on_sent_user;

    grpc_byte_buffer_destroy(stream->outgoing);
    stream->outgoing = NULL;
    pthread_mutex_lock(&stream->lock);
    stream->is_sending = false;
    pthread_mutex_unlock(&stream->lock);
    callback(stream, ok, user);
    tell_end(stream);
    operation_done(stream);
}

/* --- Beginning ---------------------------------------------------------------------------------------------------- */

static struct grpc_c_stream *stream_new(
    struct grpc_c_channel *channel, const struct grpc_c_method *method, int64_t deadline_ns)
{
    struct grpc_c_stream *stream = memory_new(sizeof(*stream));

    stream->begun.done = on_begun;
    stream->read.done = on_read;
    stream->sent.done = on_sent;
    stream->closed.done = on_closed;
    stream->ended.done = on_ended;
    runtime_init(); /* the stream may be freed after the channel */
    atomic_store(&stream->references, 1);
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    client_call_init(&stream->call, channel, method, deadline_ns, client_next_queue(channel));
    client_call_enlist(&stream->call);
    return stream;
}

struct grpc_c_stream *grpc_c_channel_open(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options)
{
    const struct grpc_c_call_options *given = options == NULL ? &client_default_options : options;
    int64_t deadline_ns = given->deadline_ms == 0 ? CLOCK_NEVER : clock_after_ms(given->deadline_ms);
    struct grpc_c_stream *stream = stream_new(channel, method, deadline_ns);
    struct client_initial initial;
    grpc_op sending[3] = {[1] = {.op = GRPC_OP_SEND_MESSAGE}, [2] = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
    grpc_op ending[2];

    assert((request == NULL) == method->client_streams);
    client_initial_prepare(&initial, &stream->call, given, &sending[0]);
    if (request != NULL) {
        assert(request->descriptor == method->request);
        stream->outgoing = client_pack(request);
        sending[1].data.send_message.send_message = stream->outgoing;
        stream->is_closed = true;
    }
    start_batch(stream, sending, request == NULL ? 1 : 3, &stream->begun);
    client_initial_release(&initial);
    client_fill_ending(&stream->call, &ending[0], &ending[1]);
    start_batch(stream, ending, 2, &stream->ended);
    return stream;
}

/* --- Callback forms ----------------------------------------------------------------------------------------------- */

void grpc_c_stream_read_async(struct grpc_c_stream *stream, grpc_c_stream_read_callback *callback, void *user)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    pthread_mutex_lock(&stream->lock);
    assert(!stream->is_reading);
    stream->is_reading = true;
    pthread_mutex_unlock(&stream->lock);
    stream->on_read = callback;
    stream->on_read_user = user;
    op.data.recv_message.recv_message = &stream->incoming;
    start_batch(stream, &op, 1, &stream->read);
}

void grpc_c_stream_write_async(
    struct grpc_c_stream *stream, const ProtobufCMessage *message, grpc_c_stream_write_callback *callback, void *user)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};

    assert(message->descriptor == stream->call.method->request);
    pthread_mutex_lock(&stream->lock);
    assert(!stream->is_sending && !stream->is_closed);
    stream->is_sending = true;
    if (stream->is_plain)
        op.flags = GRPC_WRITE_NO_COMPRESS;
    pthread_mutex_unlock(&stream->lock);
    stream->outgoing = client_pack(message);
    stream->on_sent = callback;
    stream->on_sent_user = user;
    op.data.send_message.send_message = stream->outgoing;
    start_batch(stream, &op, 1, &stream->sent);
}

void grpc_c_stream_set_compression(struct grpc_c_stream *stream, bool is_on)
{
    pthread_mutex_lock(&stream->lock);
    stream->is_plain = !is_on;
    pthread_mutex_unlock(&stream->lock);
}

void grpc_c_stream_close_sending(struct grpc_c_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

    pthread_mutex_lock(&stream->lock);
    assert(!stream->is_sending && !stream->is_closed);
    stream->is_closed = true;
    pthread_mutex_unlock(&stream->lock);
    start_batch(stream, &op, 1, &stream->closed);
}

void grpc_c_stream_on_end(struct grpc_c_stream *stream, grpc_c_stream_end_callback *callback, void *user)
{
    pthread_mutex_lock(&stream->lock);
    assert(stream->on_end == NULL);
    stream->on_end = callback;
    stream->on_end_user = user;
    pthread_mutex_unlock(&stream->lock);
    tell_end(stream);
}

void grpc_c_stream_cancel(struct grpc_c_stream *stream)
{
    grpc_call_cancel(stream->call.call, NULL);
}

void grpc_c_stream_free(struct grpc_c_stream *stream)
{
    if (stream == NULL)
        return;
    pthread_mutex_lock(&stream->lock);
    bool has_ended = stream->has_ended;
    pthread_mutex_unlock(&stream->lock);
    if (!has_ended)
        grpc_call_cancel(stream->call.call, NULL);
    unref(stream);
}

void *grpc_c_stream_slot(struct grpc_c_stream *stream, size_t size)
{
    if (stream->slot == NULL)
        stream->slot = memory_new(size);
    return stream->slot;
}

/* --- Blocking forms ----------------------------------------------------------------------------------------------- */

/* What a thread waits for, under the stream's lock. */
struct wait {
    bool is_over;
    bool is_sent;
    ProtobufCMessage *response;
};

static void wait_end(struct grpc_c_stream *stream, struct wait *wait)
{
    pthread_mutex_lock(&stream->lock);
    wait->is_over = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

static void wait_until_over(struct grpc_c_stream *stream, const struct wait *wait)
{
    pthread_mutex_lock(&stream->lock);
    while (!wait->is_over)
        pthread_cond_wait(&stream->changed, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
}

static void wake_reader(struct grpc_c_stream *stream, const ProtobufCMessage *message, void *user)
{
    struct wait *wait = user;

    (void)message;
    wait_end(stream, wait);
}

static void wake_writer(struct grpc_c_stream *stream, bool is_sent, void *user)
{
    struct wait *wait = user;

    wait->is_sent = is_sent;
    wait_end(stream, wait);
}

bool grpc_c_stream_write(struct grpc_c_stream *stream, const ProtobufCMessage *message)
{
    struct wait wait = {0};

    grpc_c_stream_write_async(stream, message, wake_writer, &wait);
    wait_until_over(stream, &wait);
    return wait.is_sent;
}

bool grpc_c_stream_read(struct grpc_c_stream *stream, ProtobufCMessage **ret_message)
{
    struct wait wait = {0};

    stream->keeps_response = true;
    grpc_c_stream_read_async(stream, wake_reader, &wait);
    wait_until_over(stream, &wait);
    *ret_message = stream->kept;
    return stream->kept != NULL;
}

/* Closes the sending side unless it is, and drops what was not read. */
static void drain(struct grpc_c_stream *stream)
{
    ProtobufCMessage *message = NULL;

    pthread_mutex_lock(&stream->lock);
    bool must_close = !stream->is_closed && !stream->is_sending;
    pthread_mutex_unlock(&stream->lock);
    if (must_close)
        grpc_c_stream_close_sending(stream);
    while (grpc_c_stream_read(stream, &message))
        protobuf_c_message_free_unpacked(message, NULL);
}

static enum grpc_c_status wait_for_end(struct grpc_c_stream *stream, struct grpc_c_outcome *ret_outcome)
{
    pthread_mutex_lock(&stream->lock);
    while (!stream->has_ended)
        pthread_cond_wait(&stream->changed, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
    return client_call_end(&stream->call, &stream->bad, ret_outcome);
}

enum grpc_c_status grpc_c_stream_finish(struct grpc_c_stream *stream, struct grpc_c_outcome *ret_outcome)
{
    drain(stream);
    return wait_for_end(stream, ret_outcome);
}

/* A method that returns one message has been answered with none, or with several: the server is at fault. */
static void set_miscount(struct grpc_c_stream *stream, const char *text)
{
    pthread_mutex_lock(&stream->lock);
    if (stream->bad.code == ERROR_NONE)
        error_set(&stream->bad, ERROR_INVALID, "%s", text);
    pthread_mutex_unlock(&stream->lock);
}

enum grpc_c_status grpc_c_stream_finish_reply(
    struct grpc_c_stream *stream, ProtobufCMessage **ret_response, struct grpc_c_outcome *ret_outcome)
{
    ProtobufCMessage *response = NULL;
    ProtobufCMessage *another = NULL;
    enum grpc_c_status status = GRPC_C_OK;

    assert(!stream->call.method->server_streams);
    pthread_mutex_lock(&stream->lock);
    bool must_close = !stream->is_closed && !stream->is_sending;
    pthread_mutex_unlock(&stream->lock);
    if (must_close)
        grpc_c_stream_close_sending(stream);
    if (grpc_c_stream_read(stream, &response) && grpc_c_stream_read(stream, &another)) {
        set_miscount(stream, "the server sent more than one response message");
        protobuf_c_message_free_unpacked(another, NULL);
    }
    drain(stream);
    status = wait_for_end(stream, NULL);
    if (status == GRPC_C_OK && response == NULL) {
        set_miscount(stream, "the server sent no response message");
        status = GRPC_C_INTERNAL;
    }
    if (ret_outcome != NULL)
        client_call_end(&stream->call, &stream->bad, ret_outcome);
    if (status == GRPC_C_OK)
        *ret_response = response;
    else if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    return status;
}
