#include "grpc_c/client.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc_security.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "grpc_c/client_call.h"
#include "grpc_c/credentials.h"
#include "grpc_c/payload.h"

enum {
    MESSAGE_SIZE_DEFAULT = 4 * 1024 * 1024,
    DEADLINE_DEFAULT_MS = 5000,
    DEPTH_MAX = 32,
    MEMORY_FACTOR = 8, /* unpacked against packed, and the least: */
    MEMORY_SIZE_LEAST = 1024 * 1024,
};

/* One call on its way, blocking or not. */
struct grpc_c_pending {
    struct tag done;
    struct client_call call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;

    /* callback style only */
    grpc_c_call_callback *callback;
    void *user;
    bool has_ticket;
    atomic_int references;
};

/* --- Outcomes ----------------------------------------------------------------------------------------------------- */

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

static void outcome_fill(struct grpc_c_outcome *outcome, const struct client_call *call, const struct error *error)
{
    *outcome = (struct grpc_c_outcome){.status = (enum grpc_c_status)call->status};
    if (error->code != ERROR_NONE) {
        outcome->status = error->code == ERROR_FULL ? GRPC_C_RESOURCE_EXHAUSTED : GRPC_C_INTERNAL;
        outcome->message = memory_copy_string(error->text);
    } else {
        outcome->message = utf8_copy_repaired((const char *)GRPC_SLICE_START_PTR(call->status_details),
            GRPC_SLICE_LENGTH(call->status_details)); /* a server may say anything */
    }
    outcome->was_compressed = call->was_compressed;
    outcome->initial_metadata_count = call->initial.count;
    outcome->initial_metadata = metadata_copy(&call->initial);
    outcome->trailing_metadata_count = call->trailing.count;
    outcome->trailing_metadata = metadata_copy(&call->trailing);
}

enum grpc_c_status client_call_end(
    const struct client_call *call, const struct error *error, struct grpc_c_outcome *ret_outcome)
{
    if (ret_outcome != NULL)
        outcome_fill(ret_outcome, call, error);
    if (error->code != ERROR_NONE)
        return error->code == ERROR_FULL ? GRPC_C_RESOURCE_EXHAUSTED : GRPC_C_INTERNAL;
    return (enum grpc_c_status)call->status;
}

/* --- One call of any kind ----------------------------------------------------------------------------------------- */

grpc_byte_buffer *client_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

void client_call_init(struct client_call *call, struct grpc_c_channel *channel, const struct grpc_c_method *method,
    int64_t deadline_ns, grpc_completion_queue *queue)
{
    *call = (struct client_call){.channel = channel, .method = method, .status_details = grpc_empty_slice()};
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    call->call = grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
        grpc_slice_from_static_string(method->path), NULL, time_to_core(deadline_ns), NULL);
}

void client_call_release(struct client_call *call)
{
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->status_details);
    grpc_call_unref(call->call);
}

void client_call_enlist(struct client_call *call)
{
    struct grpc_c_channel *channel = call->channel;

    pthread_mutex_lock(&channel->lock);
    call->next = channel->calls;
    if (call->next != NULL)
        call->next->previous = call;
    channel->calls = call;
    if (channel->is_closing)
        grpc_call_cancel(call->call, NULL);
    pthread_mutex_unlock(&channel->lock);
}

void client_call_delist(struct client_call *call)
{
    struct grpc_c_channel *channel = call->channel;

    pthread_mutex_lock(&channel->lock);
    if (call->next != NULL)
        call->next->previous = call->previous;
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        channel->calls = call->next;
    if (channel->calls == NULL && channel->is_closing)
        pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

/* Copies the metadata for the core. False when a key or value cannot be sent. */
static bool metadata_to_core(const struct grpc_c_call_options *options, grpc_metadata *metadata)
{
    bool is_legal = true;

    for (size_t i = 0; i < options->metadata_count; i++) {
        grpc_metadata *entry = &metadata[i];
        entry->key = grpc_slice_from_copied_string(options->metadata[i].key);
        entry->value = grpc_slice_from_copied_buffer(options->metadata[i].value, options->metadata[i].size);
        is_legal = is_legal && grpc_header_key_is_legal(entry->key) &&
                   (grpc_is_binary_header(entry->key) || grpc_header_nonbin_value_is_legal(entry->value));
    }
    return is_legal;
}

void client_initial_prepare(
    struct client_initial *initial, struct client_call *call, const struct grpc_c_call_options *options, grpc_op *op)
{
    size_t count = options->metadata_count;

    const char *authorization = call->channel->authorization;

    *initial = (struct client_initial){.count = count + (authorization == NULL ? 0 : 1)};
    initial->metadata = initial->count + 1 <= COUNT_OF(initial->few)
                            ? initial->few
                            : memory_new_array(initial->count + 1, sizeof(grpc_metadata));
    if (authorization != NULL) {
        initial->metadata[count].key = grpc_slice_from_static_string("authorization");
        initial->metadata[count].value = grpc_slice_from_copied_string(authorization);
    }
    if (!metadata_to_core(options, initial->metadata)) {
        /* the core would refuse the batch: nobody would hear how the call ended */
        grpc_call_cancel_with_status(call->call, GRPC_STATUS_INVALID_ARGUMENT,
            "the request's metadata has a key or a value that cannot be sent", NULL);
        count = 0;
    } else {
        count = initial->count;
        if (options->compress) {
            /* Read by the core's compression filter; it never leaves the process. */
            initial->metadata[count].key = grpc_slice_from_static_string(GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY);
            initial->metadata[count++].value = grpc_slice_from_static_string("gzip");
        }
    }
    *op = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    op->flags = options->wait_for_ready
                    ? GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                    : 0;
    op->data.send_initial_metadata.count = count;
    op->data.send_initial_metadata.metadata = initial->metadata;
}

void client_initial_release(struct client_initial *initial)
{
    for (size_t i = 0; i < initial->count; i++) {
        grpc_slice_unref(initial->metadata[i].key);
        grpc_slice_unref(initial->metadata[i].value);
    }
    if (initial->metadata != initial->few)
        free(initial->metadata);
}

void client_fill_ending(struct client_call *call, grpc_op *initial, grpc_op *status)
{
    *initial = (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA};
    initial->data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    *status = (grpc_op){.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status->data.recv_status_on_client.trailing_metadata = &call->trailing;
    status->data.recv_status_on_client.status = &call->status;
    status->data.recv_status_on_client.status_details = &call->status_details;
}

void client_start_batch(struct client_call *call, const grpc_op *ops, size_t count, struct tag *tag)
{
    grpc_call_error failure = grpc_call_start_batch(call->call, ops, count, tag, NULL);

    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

ProtobufCMessage *client_unpack(struct client_call *call, grpc_byte_buffer *buffer, struct error *reterr_error)
{
    const struct grpc_c_channel *channel = call->channel;
    ProtobufCMessage *response = NULL;
    grpc_slice slice;

    if (!payload_read(
            buffer, channel->response_size_max, "the server's response", &slice, &call->was_compressed, reterr_error))
        return NULL;
    if (!wire_check(call->method->response, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice),
            &channel->response_limits, reterr_error)) {
        error_add_context(reterr_error, "the server's response");
    } else {
        response = protobuf_c_message_unpack(
            call->method->response, NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
        if (response == NULL)
            error_set(reterr_error, ERROR_INVALID, "the server's response is not a valid message");
    }
    grpc_slice_unref(slice);
    return response;
}

const struct grpc_c_call_options client_default_options = {0};

grpc_completion_queue *client_next_queue(struct grpc_c_channel *channel)
{
    assert(channel->queue_count > 0);
    return channel->queues[atomic_fetch_add(&channel->next_queue, 1) % channel->queue_count].queue;
}

/* --- Unary calls -------------------------------------------------------------------------------------------------- */

/* Makes the core's call; nothing is sent before pending_start(). `options` are never NULL. */
static void pending_init(struct grpc_c_pending *pending, struct grpc_c_channel *channel,
    const struct grpc_c_method *method, const ProtobufCMessage *request, const struct grpc_c_call_options *options,
    grpc_completion_queue *queue)
{
    assert(request->descriptor == method->request);
    *pending = (struct grpc_c_pending){.request = client_pack(request)};
    client_call_init(&pending->call, channel, method,
        clock_after_ms(options->deadline_ms == 0 ? DEADLINE_DEFAULT_MS : options->deadline_ms), queue);
}

static void pending_release(struct grpc_c_pending *pending)
{
    grpc_byte_buffer_destroy(pending->request);
    if (pending->response != NULL)
        grpc_byte_buffer_destroy(pending->response);
    client_call_release(&pending->call);
}

/* Everything of a unary call in one batch, which is complete when the call is. */
static void pending_start(struct grpc_c_pending *pending, const struct grpc_c_call_options *options)
{
    struct client_initial initial;
    grpc_op ops[6] = {[1] = {.op = GRPC_OP_SEND_MESSAGE},
        [2] = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        [3] = {.op = GRPC_OP_RECV_MESSAGE}};

    client_initial_prepare(&initial, &pending->call, options, &ops[0]);
    ops[1].data.send_message.send_message = pending->request;
    ops[3].data.recv_message.recv_message = &pending->response;
    client_fill_ending(&pending->call, &ops[4], &ops[5]);
    client_start_batch(&pending->call, ops, COUNT_OF(ops), &pending->done);
    client_initial_release(&initial); /* `pending` may be gone already */
}

/* The response, on the heap; NULL with the reason when there ought to be one, or without when the call failed. */
static ProtobufCMessage *response_unpack(struct grpc_c_pending *pending, struct error *reterr_error)
{
    if (pending->call.status != GRPC_STATUS_OK)
        return NULL;
    if (pending->response != NULL)
        return client_unpack(&pending->call, pending->response, reterr_error);
    error_set(reterr_error, ERROR_INVALID, "the server sent no response message");
    return NULL;
}

enum grpc_c_status grpc_c_channel_call(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, ProtobufCMessage **ret_response,
    struct grpc_c_outcome *ret_outcome)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    struct grpc_c_pending pending;
    struct error error = {0};

    options = options == NULL ? &client_default_options : options;
    pending_init(&pending, channel, method, request, options, queue);
    client_call_enlist(&pending.call);
    pending_start(&pending, options);
    grpc_completion_queue_pluck(queue, &pending.done, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    ProtobufCMessage *response = response_unpack(&pending, &error);
    enum grpc_c_status status = client_call_end(&pending.call, &error, ret_outcome);
    if (ret_response != NULL && response != NULL)
        *ret_response = response;
    else if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    pending_release(&pending);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    client_call_delist(&pending.call); /* the last that is done with the channel */
    return status;
}

/* --- Callback style ----------------------------------------------------------------------------------------------- */

void grpc_c_pending_unref(struct grpc_c_pending *pending)
{
    if (pending == NULL || atomic_fetch_sub(&pending->references, 1) != 1)
        return;
    bool has_ticket = pending->has_ticket;
    pending_release(pending);
    free(pending);
    if (has_ticket)
        runtime_release();
}

void grpc_c_pending_cancel(struct grpc_c_pending *pending)
{
    grpc_call_cancel(pending->call.call, NULL);
}

static void on_done(struct tag *tag, bool ok)
{
    struct grpc_c_pending *pending = (struct grpc_c_pending *)(void *)tag; /* its first member */
    struct grpc_c_outcome outcome;
    struct error error = {0};

    (void)ok; /* a batch with RECV_STATUS_ON_CLIENT never fails */
    ProtobufCMessage *response = response_unpack(pending, &error);
    client_call_end(&pending->call, &error, &outcome);
    pending->callback(response, &outcome, pending->user);
    grpc_c_outcome_release(&outcome);
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    client_call_delist(&pending->call);
    grpc_c_pending_unref(pending);
}

void grpc_c_channel_call_async(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, grpc_c_call_callback *callback,
    void *user, struct grpc_c_pending **ret_pending)
{
    struct grpc_c_pending *pending = memory_new(sizeof(*pending));

    options = options == NULL ? &client_default_options : options;
    pending_init(pending, channel, method, request, options, client_next_queue(channel));
    pending->done.done = on_done;
    pending->callback = callback;
    pending->user = user;
    pending->has_ticket = ret_pending != NULL;
    atomic_store(&pending->references, pending->has_ticket ? 2 : 1);
    if (pending->has_ticket) {
        runtime_init(); /* it may be given back after the channel */
        *ret_pending = pending;
    }
    client_call_enlist(&pending->call);
    pending_start(pending, options);
}

/* --- Channel ------------------------------------------------------------------------------------------------------ */

static grpc_arg string_argument(const char *key, const char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = (char *)(uintptr_t)value};
}

/* The core takes a service config that it cannot use for a channel on which every call fails, and says why in its log
 * only. */
static bool check_service_config(
    grpc_channel *channel, const char *service_config, const struct error *complaint, struct error *reterr_error)
{
    static const char kind[] = "INVALID_ARGUMENT: ";
    const char *reason = strstr(complaint->text, kind);

    if (service_config == NULL || grpc_channel_support_connectivity_watcher(channel) != 0)
        return true;
    return error_set(reterr_error, ERROR_INVALID, "the service config is refused: %s",
        reason == NULL ? "the gRPC core does not say why" : reason + strlen(kind));
}

/* Takes the credentials over. */
static bool core_channel_new(const char *target, const struct grpc_c_channel_options *options,
    grpc_channel_credentials *credentials, grpc_channel **ret_channel, struct error *reterr_error)
{
    grpc_arg arguments[] = {
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
            .value.integer = (int)options->message_size_max},
        /* A proxy named in the environment is for the world outside: plain text stays on this machine. */
        {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
            .value.integer = PAYLOAD_ENCODINGS},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION,
            .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_RETRIES,
            .value.integer = options->no_retries ? 0 : 1},
        /* Statistics of each call and socket that nothing here shows to anybody. */
        {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_CHANNELZ, .value.integer = 0},
        {0}, /* room for the optional ones */
        {0},
    };
    grpc_channel_args all = {.num_args = COUNT_OF(arguments) - 2, .args = arguments};
    const char *service_config = options->service_config_json;
    struct error complaint = {0};
    grpc_channel *channel = NULL;

    if (options->tls != NULL && options->tls->server_name != NULL)
        arguments[all.num_args++] = string_argument(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, options->tls->server_name);
    if (service_config != NULL)
        arguments[all.num_args++] = string_argument(GRPC_ARG_SERVICE_CONFIG, service_config);
    runtime_keep_complaint(&complaint);
    channel = grpc_channel_create(target, credentials, &all);
    runtime_keep_complaint(NULL);
    grpc_channel_credentials_release(credentials);
    if (!check_service_config(channel, service_config, &complaint, reterr_error)) {
        grpc_channel_destroy(channel);
        return false;
    }
    *ret_channel = channel;
    return true;
}

/* Plain text for loopback, or what `tls` (NULL: none) says. */
static bool credentials_new(const char *target, const struct grpc_c_channel_tls *tls,
    grpc_channel_credentials **ret_credentials, struct error *reterr_error)
{
    char host[ADDRESS_HOST_SIZE];

    if (tls != NULL)
        return address_parse(target, host, reterr_error) && channel_tls_credentials(tls, ret_credentials, reterr_error);
    if (!address_check_loopback(target, reterr_error))
        return false;
    *ret_credentials = grpc_insecure_credentials_create();
    return true;
}

/* Characters of RFC 6750, section 2.1; NULL is fine. */
static bool is_token(const char *token, struct error *reterr_error)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";

    if (token == NULL || (token[0] != '\0' && token[strspn(token, allowed)] == '\0'))
        return true;
    return error_set(reterr_error, ERROR_INVALID, "the token is empty or has a character that tokens do not have");
}

static char *authorization_of(const char *token)
{
    static const char scheme[] = "Bearer ";
    char *text = NULL;

    if (token != NULL) {
        text = memory_new(sizeof(scheme) + strlen(token));
        stpcpy(stpcpy(text, scheme), token);
    }
    return text;
}

bool grpc_c_channel_new(const char *target, const struct grpc_c_channel_options *options,
    struct grpc_c_channel **ret_channel, struct error *reterr_error)
{
    struct grpc_c_channel_options full = options == NULL ? (struct grpc_c_channel_options){0} : *options;
    grpc_channel_credentials *credentials = NULL;
    grpc_channel *core_channel = NULL;
    struct grpc_c_channel *channel = NULL;

    if (full.message_size_max == 0)
        full.message_size_max = MESSAGE_SIZE_DEFAULT;
    assert(full.message_size_max <= INT32_MAX);
    runtime_init();
    if (!is_token(full.token, reterr_error) || !credentials_new(target, full.tls, &credentials, reterr_error) ||
        !core_channel_new(target, &full, credentials, &core_channel, reterr_error)) {
        runtime_release();
        return false;
    }
    channel = memory_new(sizeof(*channel));
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->changed, NULL);
    channel->channel = core_channel;
    channel->authorization = authorization_of(full.token);
    channel->response_size_max = full.message_size_max;
    channel->response_limits.depth_max = DEPTH_MAX;
    channel->response_limits.memory_size_max = MEMORY_FACTOR * full.message_size_max;
    if (channel->response_limits.memory_size_max < MEMORY_SIZE_LEAST)
        channel->response_limits.memory_size_max = MEMORY_SIZE_LEAST;
    channel->queue_count = full.has_no_threads ? 0 : full.threads == 0 ? 1 : full.threads;
    if (channel->queue_count > 0)
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

static void cancel_all(struct grpc_c_channel *channel)
{
    channel->is_closing = true;
    for (struct client_call *call = channel->calls; call != NULL; call = call->next)
        grpc_call_cancel(call->call, NULL);
}

void grpc_c_channel_cancel(struct grpc_c_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    cancel_all(channel);
    pthread_mutex_unlock(&channel->lock);
}

void grpc_c_channel_free(struct grpc_c_channel *channel)
{
    if (channel == NULL)
        return;
    pthread_mutex_lock(&channel->lock);
    cancel_all(channel);
    while (channel->calls != NULL)
        pthread_cond_wait(&channel->changed, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    for (unsigned i = 0; i < channel->queue_count; i++)
        queue_thread_release(&channel->queues[i]);
    free(channel->queues);
    grpc_channel_destroy(channel->channel);
    pthread_cond_destroy(&channel->changed);
    pthread_mutex_destroy(&channel->lock);
    free(channel->authorization);
    free(channel);
    runtime_release();
}
