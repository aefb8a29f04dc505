#include "grpc_c/call.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "grpc_c/payload.h"

enum { CALL_ARENA_SIZE = 2048 };

static struct grpc_c_call *call_of_closed(struct tag *tag)
{
    return (struct grpc_c_call *)(void *)((char *)tag - offsetof(struct grpc_c_call, closed));
}

static struct grpc_c_call *call_of_answered(struct tag *tag)
{
    return (struct grpc_c_call *)(void *)((char *)tag - offsetof(struct grpc_c_call, answered));
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

void call_unref(struct grpc_c_call *call)
{
    if (atomic_fetch_sub(&call->references, 1) == 1)
        server_call_done(call);
}

/* The peer is done with the call: it has its answer, or it has gone. */
static void on_closed(struct tag *tag, bool ok)
{
    struct grpc_c_call *call = call_of_closed(tag);

    (void)ok; /* RECV_CLOSE_ON_SERVER never fails */
    server_queue_unwatch(call);
    if (call->close_was_cancel != 0) {
        pthread_mutex_lock(&call->lock);
        atomic_store(&call->is_cancelled, true);
        if (!call->is_answered && call->on_cancel != NULL)
            call->on_cancel(call->on_cancel_user);
        call->on_cancel = NULL;
        bool is_answered = call->is_answered;
        pthread_mutex_unlock(&call->lock);
        if (!is_answered && call->on_gone != NULL)
            call->on_gone(call, call->on_gone_user);
    }
    call_unref(call);
}

static void on_answered(struct tag *tag, bool ok)
{
    (void)ok; /* false: the peer went away before the answer; nobody is left to be told */
    call_unref(call_of_answered(tag));
}

struct grpc_c_call *call_new(void)
{
    struct grpc_c_call *call = memory_new(sizeof(*call));

    call->armed.done = server_call_armed;
    call->closed.done = on_closed;
    call->answered.done = on_answered;
    call_stream_init(call);
    call->arena = arena_new(CALL_ARENA_SIZE);
    grpc_metadata_array_init(&call->request_metadata);
    grpc_call_details_init(&call->details);
    pthread_mutex_init(&call->lock, NULL);
    return call;
}

static void metadata_release(grpc_metadata *metadata, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        grpc_slice_unref(metadata[i].key);
        grpc_slice_unref(metadata[i].value);
    }
    *count = 0;
}

void call_clear(struct grpc_c_call *call)
{
    if (call->payload != NULL)
        grpc_byte_buffer_destroy(call->payload);
    if (call->response != NULL)
        grpc_byte_buffer_destroy(call->response);
    if (call->incoming != NULL)
        grpc_byte_buffer_destroy(call->incoming);
    if (call->outgoing != NULL)
        grpc_byte_buffer_destroy(call->outgoing);
    arena_free(call->message_arena);
    metadata_release(call->initial, &call->initial_count);
    metadata_release(call->trailing, &call->trailing_count);
    grpc_metadata_array_destroy(&call->request_metadata);
    grpc_metadata_array_init(&call->request_metadata);
    grpc_call_details_destroy(&call->details);
    grpc_call_details_init(&call->details);
    if (call->call != NULL)
        grpc_call_unref(call->call);
    call->payload = NULL;
    call->response = NULL;
    call->incoming = NULL;
    call->outgoing = NULL;
    call->message_arena = NULL;
    call->call = NULL;
    call->request = NULL;
    call->caller = NULL;
    call->is_let_in = false;
    call->path = NULL;
    call->slot = NULL;
    call->may_compress = false;
    call->is_compressing = false;
    call->was_compressed = false;
    call->is_answered = false;
    call->is_begun = false;
    call->is_late = false;
    call->bad = GRPC_C_OK;
    call->idle_ns = 0;
    call->on_cancel = NULL;
    call->on_gone = NULL;
    call->close_was_cancel = 0;
    atomic_store(&call->is_cancelled, false);
    arena_clear(call->arena);
}

void call_free(struct grpc_c_call *call)
{
    if (call == NULL)
        return;
    call_clear(call);
    grpc_metadata_array_destroy(&call->request_metadata);
    grpc_call_details_destroy(&call->details);
    pthread_mutex_destroy(&call->lock);
    arena_free(call->arena);
    free(call);
}

void call_watch_close(struct grpc_c_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

    op.data.recv_close_on_server.cancelled = &call->close_was_cancel;
    grpc_call_error failure = grpc_call_start_batch(call->call, &op, 1, &call->closed, NULL);
    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

ProtobufCMessage *call_unpack(
    struct grpc_c_call *call, grpc_byte_buffer *buffer, struct arena *arena, struct error *reterr_error)
{
    const struct served_method *served = call->served;
    ProtobufCMessage *request = NULL;
    grpc_slice slice;

    if (buffer == NULL) {
        error_set(reterr_error, ERROR_INVALID, "the call carries no whole request message");
        return NULL;
    }
    if (!payload_read(buffer, served->size_max, "the request", &slice, &call->was_compressed, reterr_error))
        return NULL;
    request = wire_unpack(served->method->request, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice),
        &served->limits, arena, reterr_error);
    grpc_slice_unref(slice);
    return request;
}

/* --- What a handler sees ------------------------------------------------------------------------------------------ */

struct arena *grpc_c_call_arena(struct grpc_c_call *call)
{
    return call->arena;
}

int64_t grpc_c_call_deadline_ns(const struct grpc_c_call *call)
{
    return call->deadline_ns;
}

bool grpc_c_call_is_cancelled(const struct grpc_c_call *call)
{
    return atomic_load(&call->is_cancelled);
}

void grpc_c_call_on_cancel(struct grpc_c_call *call, void (*callback)(void *user), void *user)
{
    pthread_mutex_lock(&call->lock);
    assert(call->on_cancel == NULL && !call->is_answered);
    if (atomic_load(&call->is_cancelled)) {
        callback(user);
    } else {
        call->on_cancel = callback;
        call->on_cancel_user = user;
    }
    pthread_mutex_unlock(&call->lock);
}

void grpc_c_call_on_gone(struct grpc_c_call *call, void (*callback)(struct grpc_c_call *call, void *user), void *user)
{
    pthread_mutex_lock(&call->lock);
    assert(call->on_gone == NULL && !call->is_answered);
    bool is_gone = atomic_load(&call->is_cancelled);
    call->on_gone = is_gone ? NULL : callback;
    call->on_gone_user = user;
    pthread_mutex_unlock(&call->lock);
    if (is_gone)
        callback(call, user);
}

void grpc_c_call_set_caller(struct grpc_c_call *call, void *caller)
{
    call->caller = caller;
}

void *grpc_c_call_caller(const struct grpc_c_call *call)
{
    return call->caller;
}

const char *grpc_c_call_method(const struct grpc_c_call *call)
{
    return call->path;
}

size_t grpc_c_call_method_number(const struct grpc_c_call *call)
{
    return call->served->number;
}

int64_t grpc_c_call_came_ns(const struct grpc_c_call *call)
{
    return call->came_ns;
}

const ProtobufCMessage *grpc_c_call_request(const struct grpc_c_call *call)
{
    return call->request;
}

const char *grpc_c_call_peer(const struct grpc_c_call *call, char ret_text[GRPC_C_PEER_SIZE])
{
    char *peer = grpc_call_get_peer(call->call);

    snprintf(ret_text, GRPC_C_PEER_SIZE, "%s", peer);
    gpr_free(peer);
    return ret_text;
}

const char *grpc_c_call_metadata(const struct grpc_c_call *call, const char *key, size_t *ret_size)
{
    for (size_t i = 0; i < call->request_metadata.count; i++) {
        const grpc_metadata *entry = &call->request_metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) != 0)
            continue;
        size_t size = GRPC_SLICE_LENGTH(entry->value);
        if (ret_size != NULL)
            *ret_size = size;
        return arena_copy(call->arena, (const char *)GRPC_SLICE_START_PTR(entry->value), size);
    }
    return NULL;
}

static void metadata_add(grpc_metadata *metadata, size_t *count, const char *key, const char *value, size_t size)
{
    grpc_metadata *entry = &metadata[*count];

    assert(*count < ANSWER_METADATA_MAX);
    entry->key = grpc_slice_from_copied_string(key);
    entry->value = grpc_slice_from_copied_buffer(value, size);
    assert(grpc_header_key_is_legal(entry->key));
    assert(grpc_is_binary_header(entry->key) || grpc_header_nonbin_value_is_legal(entry->value));
    (*count)++;
}

void grpc_c_call_add_initial_metadata(struct grpc_c_call *call, const char *key, const char *value, size_t size)
{
    metadata_add(call->initial, &call->initial_count, key, value, size);
}

void grpc_c_call_add_trailing_metadata(struct grpc_c_call *call, const char *key, const char *value, size_t size)
{
    metadata_add(call->trailing, &call->trailing_count, key, value, size);
}

bool grpc_c_call_was_compressed(const struct grpc_c_call *call)
{
    return call->was_compressed;
}

void grpc_c_call_set_compression(struct grpc_c_call *call, bool is_on)
{
    pthread_mutex_lock(&call->lock);
    assert(call->may_compress || !is_on || !call->is_begun);
    call->may_compress = call->may_compress || is_on;
    call->is_compressing = is_on;
    pthread_mutex_unlock(&call->lock);
}

void *grpc_c_call_slot(struct grpc_c_call *call, size_t size)
{
    if (call->slot == NULL)
        call->slot = arena_alloc(call->arena, size);
    return call->slot;
}

/* --- The answer --------------------------------------------------------------------------------------------------- */

void call_fill_initial(struct grpc_c_call *call, grpc_op *op)
{
    *op = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    op->data.send_initial_metadata.count = call->initial_count;
    op->data.send_initial_metadata.metadata = call->initial;
    if (call->may_compress) { /* the lowest level of what the caller accepts: gzip */
        op->data.send_initial_metadata.maybe_compression_level.is_set = 1;
        op->data.send_initial_metadata.maybe_compression_level.level = GRPC_COMPRESS_LEVEL_LOW;
    }
}

static void send_answer(struct grpc_c_call *call, enum grpc_c_status status, const grpc_slice *details)
{
    grpc_slice shown = details == NULL ? grpc_empty_slice() : *details;
    grpc_op ops[3];
    size_t count = 0;

    pthread_mutex_lock(&call->lock);
    bool is_bad = call->bad != GRPC_C_OK;
    bool is_compressing = call->is_compressing;
    if (!call->is_begun)
        call_fill_initial(call, &ops[count++]);
    pthread_mutex_unlock(&call->lock);
    if (call->response != NULL && !is_bad) {
        ops[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .flags = is_compressing ? 0 : GRPC_WRITE_NO_COMPRESS};
        ops[count++].data.send_message.send_message = call->response;
    }
    if (is_bad) {
        status = call->bad;
        shown = grpc_slice_from_static_string(call->bad_text);
    }
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[count].data.send_status_from_server.trailing_metadata_count = call->trailing_count;
    ops[count].data.send_status_from_server.trailing_metadata = call->trailing;
    ops[count].data.send_status_from_server.status = (grpc_status_code)status;
    ops[count++].data.send_status_from_server.status_details = &shown;
    grpc_call_error failure = grpc_call_start_batch(call->call, ops, count, &call->answered, NULL);
    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

void call_send_late_answer(struct grpc_c_call *call)
{
    grpc_slice details = call->late_details;

    send_answer(call, call->late_status, &details);
    grpc_slice_unref(details);
}

/* From here on no cancellation is told any more. Each call is answered once. An answer waits for a write that is under
 * way, and for the queue's thread. */
static void answer(struct grpc_c_call *call, enum grpc_c_status status, const grpc_slice *details)
{
    bool is_posted = !server_queue_is_own(call->queue);

    server_call_ended(call, status);
    pthread_mutex_lock(&call->lock);
    assert(!call->is_answered);
    call->is_answered = true;
    call->is_late = call->is_writing;
    bool is_late = call->is_late;
    if (is_late || is_posted) {
        call->late_status = status;
        call->late_details = details == NULL ? grpc_empty_slice() : grpc_slice_ref(*details);
    }
    pthread_mutex_unlock(&call->lock);
    if (is_late)
        return;
    if (is_posted)
        server_queue_post(call->queue, call);
    else
        send_answer(call, status, details);
}

void grpc_c_call_reply(struct grpc_c_call *call, const ProtobufCMessage *response)
{
    assert(response->descriptor == call->served->method->response && !call->served->method->server_streams);
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(response));

    protobuf_c_message_pack(response, GRPC_SLICE_START_PTR(slice));
    call->response = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    answer(call, GRPC_C_OK, NULL);
}

void grpc_c_call_finish(struct grpc_c_call *call)
{
    assert(call->served->method->server_streams);
    answer(call, GRPC_C_OK, NULL);
}

void grpc_c_call_fail(struct grpc_c_call *call, enum grpc_c_status status, const char *message)
{
    grpc_slice details = grpc_slice_from_copied_string(message);

    assert(status != GRPC_C_OK);
    answer(call, status, &details);
    grpc_slice_unref(details);
}
