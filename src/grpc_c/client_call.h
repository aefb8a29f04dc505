/* What unary and streaming calls of a client share: the channel, one call of the core, its outcome. Not for users of
 * src/grpc_c. */
#ifndef GRPC_C_CLIENT_CALL_H
#define GRPC_C_CLIENT_CALL_H

#include <pthread.h>
#include <stdatomic.h>

#include "grpc_c/client.h"
#include "grpc_c/runtime.h"
#include "grpc_c/wire.h"

struct grpc_c_channel {
    grpc_channel *channel;
    char *authorization; /* NULL: none */
    size_t response_size_max;
    struct wire_limits response_limits;
    struct queue_thread *queues;
    unsigned queue_count;
    atomic_uint next_queue;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct client_call *calls; /* that have not ended, or whose callback has not returned */
    bool is_closing;
};

/* One call of any kind. */
struct client_call {
    struct grpc_c_channel *channel;
    const struct grpc_c_method *method;
    grpc_call *call;
    bool was_compressed; /* the last response */

    /* once the call has ended */
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice status_details;

    /* under the channel's lock */
    struct client_call *next;
    struct client_call *previous;
};

/* Makes the core's call; nothing is sent. Events go to `queue`. */
void client_call_init(struct client_call *call, struct grpc_c_channel *channel, const struct grpc_c_method *method,
    int64_t deadline_ns, grpc_completion_queue *queue);
void client_call_release(struct client_call *call);

/* From now on the channel waits for the call (on a channel that is being freed it ends CANCELLED, unsent); and no
 * longer: the last use of the channel. */
void client_call_enlist(struct client_call *call);
void client_call_delist(struct client_call *call);

/* How the call ended, once it has: the server's word, or `error` when its response was no good. `ret_outcome` may be
 * NULL; otherwise it is the caller's. */
enum grpc_c_status client_call_end(
    const struct client_call *call, const struct error *error, struct grpc_c_outcome *ret_outcome);

/* Packs a message, the caller's; checks and unpacks one into the heap (NULL with the reason). */
grpc_byte_buffer *client_pack(const ProtobufCMessage *message);
ProtobufCMessage *client_unpack(struct client_call *call, grpc_byte_buffer *buffer, struct error *reterr_error);

/* The metadata of a request, for as long as a batch is being started. */
struct client_initial {
    grpc_metadata *metadata; /* `few`, or on the heap */
    size_t count;
    grpc_metadata few[4];
};

/* Fills a SEND_INITIAL_METADATA. Metadata that cannot be sent end the call with INVALID_ARGUMENT. `options` are never
 * NULL. Released once the batch was started. */
void client_initial_prepare(
    struct client_initial *initial, struct client_call *call, const struct grpc_c_call_options *options, grpc_op *op);
void client_initial_release(struct client_initial *initial);

/* Fills the operations that tell how the call began and ended for the server. */
void client_fill_ending(struct client_call *call, grpc_op *initial, grpc_op *status);

/* Starts a batch; it is never refused (asserted). */
void client_start_batch(struct client_call *call, const grpc_op *ops, size_t count, struct tag *tag);

/* The queue of the channel's next callback-style call. */
grpc_completion_queue *client_next_queue(struct grpc_c_channel *channel);

/* What NULL options stand for. */
extern const struct grpc_c_call_options client_default_options;

#endif
