#include "grpc_c/client.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc_security.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "grpc_c/runtime.h"
#include "grpc_c/wire.h"

enum { MESSAGE_SIZE_DEFAULT = 4 * 1024 * 1024, DEADLINE_DEFAULT_MS = 5000, DEPTH_MAX = 32, REQUEST_METADATA_MAX = 32 };

struct grpc_c_channel {
    grpc_channel *channel;
    struct queue_thread *queues;
    unsigned queue_count;
    atomic_uint next_queue;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct grpc_c_pending *pending; /* calls with a callback that has not returned yet */
    size_t pending_count;
};

/* One call on its way, blocking or not. */
struct grpc_c_pending {
    struct tag done;
    struct grpc_c_channel *channel;
    const struct grpc_c_method *method;
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice status_details;

    /* callback style only */
    grpc_c_call_callback *callback;
    void *user;
    atomic_int references;
    struct grpc_c_pending *next;
    struct grpc_c_pending *previous;
};

/* --- Outcomes -------------------------------------------------------------------------------------------------------- */

static void metadata_free(struct grpc_c_metadata *metadata, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((char *)(uintptr_t)metadata[i].key);
        free((char *)(uintptr_t)metadata[i].value);
    }
    free(metadata);
}

void grpc_c_outcome_release(struct grpc_c_outcome *outcome)
{
    if (outcome == NULL)
        return;
    free(outcome->message);
    metadata_free(outcome->initial_metadata, outcome->initial_metadata_count);
    metadata_free(outcome->trailing_metadata, outcome->trailing_metadata_count);
    *outcome = (struct grpc_c_outcome){0};
}

/* The slice's bytes as a string of our own. */
static char *slice_copy(grpc_slice slice)
{
    size_t size = GRPC_SLICE_LENGTH(slice);
    char *copy = memory_new(size + 1);

    memcpy(copy, GRPC_SLICE_START_PTR(slice), size);
    return copy;
}

static struct grpc_c_metadata *metadata_copy(const grpc_metadata_array *metadata)
{
    struct grpc_c_metadata *copies = NULL;

    if (metadata->count > 0)
        copies = memory_new_array(metadata->count, sizeof(*copies));
    for (size_t i = 0; i < metadata->count; i++) {
        copies[i].key = slice_copy(metadata->metadata[i].key);
        copies[i].value = slice_copy(metadata->metadata[i].value);
        copies[i].size = GRPC_SLICE_LENGTH(metadata->metadata[i].value);
    }
    return copies;
}

static void outcome_fill(
    struct grpc_c_outcome *outcome, const struct grpc_c_pending *pending, const struct error *error)
{
    *outcome = (struct grpc_c_outcome){.status = (enum grpc_c_status)pending->status};
    if (error->code != ERROR_NONE) {
        outcome->status = GRPC_C_INTERNAL;
        outcome->message = memory_copy_string(error->text);
    } else {
        outcome->message = slice_copy(pending->status_details);
    }
    outcome->initial_metadata_count = pending->initial.count;
    outcome->initial_metadata = metadata_copy(&pending->initial);
    outcome->trailing_metadata_count = pending->trailing.count;
    outcome->trailing_metadata = metadata_copy(&pending->trailing);
}

/* --- One call --------------------------------------------------------------------------------------------------------- */

static void pending_init(struct grpc_c_pending *pending, struct grpc_c_channel *channel,
    const struct grpc_c_method *method, const ProtobufCMessage *request)
{
    assert(request->descriptor == method->request);
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(request));

    protobuf_c_message_pack(request, GRPC_SLICE_START_PTR(slice));
    *pending = (struct grpc_c_pending){.channel = channel, .method = method, .status_details = grpc_empty_slice()};
    pending->request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_metadata_array_init(&pending->initial);
    grpc_metadata_array_init(&pending->trailing);
}

static void pending_release(struct grpc_c_pending *pending)
{
    grpc_byte_buffer_destroy(pending->request);
    if (pending->response != NULL)
        grpc_byte_buffer_destroy(pending->response);
    grpc_metadata_array_destroy(&pending->initial);
    grpc_metadata_array_destroy(&pending->trailing);
    grpc_slice_unref(pending->status_details);
    grpc_call_unref(pending->call);
}

/* Everything of a unary call in one batch, which is complete when the call is. */
static void pending_start(
    struct grpc_c_pending *pending, const struct grpc_c_call_options *options, grpc_completion_queue *queue)
{
    static const struct grpc_c_call_options defaults = {0};
    const struct grpc_c_call_options *wished = options == NULL ? &defaults : options;
    grpc_metadata metadata[REQUEST_METADATA_MAX];
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    int64_t deadline_ms = wished->deadline_ms == 0 ? DEADLINE_DEFAULT_MS : wished->deadline_ms;

    assert(wished->metadata_count <= REQUEST_METADATA_MAX);
    for (size_t i = 0; i < wished->metadata_count; i++) {
        metadata[i].key = grpc_slice_from_copied_string(wished->metadata[i].key);
        metadata[i].value = grpc_slice_from_copied_buffer(wished->metadata[i].value, wished->metadata[i].size);
    }
    pending->call = grpc_channel_create_call(pending->channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
        grpc_slice_from_static_string(pending->method->path), NULL, time_to_core(clock_after_ms(deadline_ms)), NULL);
    ops[0].flags = wished->wait_for_ready
                       ? GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                       : 0;
    ops[0].data.send_initial_metadata.count = wished->metadata_count;
    ops[0].data.send_initial_metadata.metadata = metadata;
    ops[1].data.send_message.send_message = pending->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &pending->initial;
    ops[4].data.recv_message.recv_message = &pending->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &pending->trailing;
    ops[5].data.recv_status_on_client.status = &pending->status;
    ops[5].data.recv_status_on_client.status_details = &pending->status_details;
    grpc_call_error failure = grpc_call_start_batch(pending->call, ops, COUNT_OF(ops), &pending->done, NULL);
    assert(failure == GRPC_CALL_OK);
    (void)failure;
    for (size_t i = 0; i < wished->metadata_count; i++) {
        grpc_slice_unref(metadata[i].key);
        grpc_slice_unref(metadata[i].value);
    }
}

/* The response's bytes, checked; false with the reason when they are not what the method returns. */
static bool response_bytes(const struct grpc_c_pending *pending, grpc_slice *ret_slice, struct error *reterr_error)
{
    if (pending->response == NULL || !byte_buffer_read(pending->response, ret_slice))
        return error_set(reterr_error, ERROR_INVALID, "the server sent no response message");
    if (wire_check(pending->method->response, GRPC_SLICE_START_PTR(*ret_slice), GRPC_SLICE_LENGTH(*ret_slice),
            DEPTH_MAX, reterr_error))
        return true;
    grpc_slice_unref(*ret_slice);
    return error_add_context(reterr_error, "the server's response");
}

/* Unpacks the response into the heap; NULL with the reason when there is none. */
static ProtobufCMessage *response_unpack(const struct grpc_c_pending *pending, struct error *reterr_error)
{
    grpc_slice slice;

    if (pending->status != GRPC_STATUS_OK || !response_bytes(pending, &slice, reterr_error))
        return NULL;
    ProtobufCMessage *response = protobuf_c_message_unpack(
        pending->method->response, NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    if (response == NULL)
        error_set(reterr_error, ERROR_INVALID, "the server's response is not a valid message");
    return response;
}

enum grpc_c_status grpc_c_channel_call(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, ProtobufCMessage **ret_response,
    struct grpc_c_outcome *ret_outcome)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    struct grpc_c_pending pending;
    struct error error = {0};

    pending_init(&pending, channel, method, request);
    pending_start(&pending, options, queue);
    grpc_completion_queue_pluck(queue, &pending.done, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    ProtobufCMessage *response = response_unpack(&pending, &error);
    enum grpc_c_status status = error.code == ERROR_NONE ? (enum grpc_c_status)pending.status : GRPC_C_INTERNAL;
    if (ret_outcome != NULL)
        outcome_fill(ret_outcome, &pending, &error);
    if (ret_response != NULL && response != NULL)
        *ret_response = response;
    else if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    pending_release(&pending);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    return status;
}

/* --- Callback style ---------------------------------------------------------------------------------------------------- */

void grpc_c_pending_unref(struct grpc_c_pending *pending)
{
    if (pending == NULL || atomic_fetch_sub(&pending->references, 1) != 1)
        return;
    pending_release(pending);
    free(pending);
}

void grpc_c_pending_cancel(struct grpc_c_pending *pending)
{
    grpc_call_cancel(pending->call, NULL);
}

static void enlist(struct grpc_c_pending *pending)
{
    struct grpc_c_channel *channel = pending->channel;

    pthread_mutex_lock(&channel->lock);
    pending->next = channel->pending;
    if (pending->next != NULL)
        pending->next->previous = pending;
    channel->pending = pending;
    channel->pending_count++;
    pthread_mutex_unlock(&channel->lock);
}

static void delist(struct grpc_c_pending *pending)
{
    struct grpc_c_channel *channel = pending->channel;

    pthread_mutex_lock(&channel->lock);
    if (pending->next != NULL)
        pending->next->previous = pending->previous;
    if (pending->previous != NULL)
        pending->previous->next = pending->next;
    else
        channel->pending = pending->next;
    if (--channel->pending_count == 0)
        pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

static void on_done(struct tag *tag, bool ok)
{
    struct grpc_c_pending *pending = (struct grpc_c_pending *)(void *)tag; /* its first member */
    struct grpc_c_outcome outcome;
    struct error error = {0};

    (void)ok; /* a batch with RECV_STATUS_ON_CLIENT never fails */
    ProtobufCMessage *response = response_unpack(pending, &error);
    outcome_fill(&outcome, pending, &error);
    pending->callback(response, &outcome, pending->user);
    grpc_c_outcome_release(&outcome);
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    delist(pending);
    grpc_c_pending_unref(pending);
}

void grpc_c_channel_call_async(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, grpc_c_call_callback *callback,
    void *user, struct grpc_c_pending **ret_pending)
{
    struct grpc_c_pending *pending = memory_new(sizeof(*pending));
    unsigned queue = atomic_fetch_add(&channel->next_queue, 1) % channel->queue_count;

    pending_init(pending, channel, method, request);
    pending->done.done = on_done;
    pending->callback = callback;
    pending->user = user;
    atomic_store(&pending->references, ret_pending == NULL ? 1 : 2);
    if (ret_pending != NULL)
        *ret_pending = pending;
    enlist(pending);
    pending_start(pending, options, channel->queues[queue].queue);
}

/* --- Channel ------------------------------------------------------------------------------------------------------------ */

bool grpc_c_channel_new(const char *target, const struct grpc_c_channel_options *options,
    struct grpc_c_channel **ret_channel, struct error *reterr_error)
{
    struct grpc_c_channel *channel = NULL;
    size_t message_size_max =
        options == NULL || options->message_size_max == 0 ? MESSAGE_SIZE_DEFAULT : options->message_size_max;
    grpc_arg argument = {.type = GRPC_ARG_INTEGER,
        .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
        .value.integer = (int)message_size_max};
    grpc_channel_args arguments = {.num_args = 1, .args = &argument};

    assert(message_size_max <= INT32_MAX);
    if (!address_check_loopback(target, reterr_error))
        return false;
    runtime_init();
    channel = memory_new(sizeof(*channel));
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->changed, NULL);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    channel->channel = grpc_channel_create(target, credentials, &arguments);
    grpc_channel_credentials_release(credentials);
    channel->queue_count = options == NULL || options->threads == 0 ? 1 : options->threads;
    channel->queues = memory_new_array(channel->queue_count, sizeof(*channel->queues));
    for (unsigned i = 0; i < channel->queue_count; i++) {
        queue_thread_init(&channel->queues[i]);
        if (!queue_thread_start(&channel->queues[i], reterr_error)) {
            grpc_c_channel_free(channel);
            return false;
        }
    }
    *ret_channel = channel;
    return true;
}

void grpc_c_channel_free(struct grpc_c_channel *channel)
{
    if (channel == NULL)
        return;
    pthread_mutex_lock(&channel->lock);
    for (struct grpc_c_pending *pending = channel->pending; pending != NULL; pending = pending->next)
        grpc_call_cancel(pending->call, NULL);
    while (channel->pending_count > 0)
        pthread_cond_wait(&channel->changed, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    for (unsigned i = 0; i < channel->queue_count; i++)
        queue_thread_release(&channel->queues[i]);
    free(channel->queues);
    grpc_channel_destroy(channel->channel);
    pthread_cond_destroy(&channel->changed);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
    runtime_release();
}
