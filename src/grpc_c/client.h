/* gRPC client for generated code: a channel, blocking calls, and calls with a callback.
 *
 * A channel is safe for any number of threads. It owns a thread that completes callback-style calls. */
#ifndef GRPC_C_CLIENT_H
#define GRPC_C_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "grpc_c/status.h"

struct grpc_c_channel;
struct grpc_c_pending;

/* How a channel uses TLS. Names of PEM files, read when the channel is made. */
struct grpc_c_channel_tls {
    const char *ca_file;          /* Required: whom to believe that a server is who it says */
    const char *certificate_file; /* Optional: the client's certificate, then those between it and the root */
    const char *key_file;         /* Required with it: its private key, without a pass phrase */
    const char *server_name;      /* Optional: what the server's certificate must be for, if not the target's host */
};

/* Zero in a field means its default. */
struct grpc_c_channel_options {
    size_t message_size_max;              /* bytes of one response; default 4 MiB */
    unsigned threads;                     /* threads that complete callback-style calls; default 1 */
    const struct grpc_c_channel_tls *tls; /* default: plain text, to loopback addresses only */
};

/* Zero in a field means its default. Everything is copied before the call returns. */
struct grpc_c_call_options {
    int64_t deadline_ms;                    /* from now; default 5,000 */
    bool wait_for_ready;                    /* wait for the connection instead of failing at once with UNAVAILABLE */
    const struct grpc_c_metadata *metadata; /* Optional */
    size_t metadata_count;
};

/* How a call ended. Owned by the caller, released with grpc_c_outcome_release(). */
struct grpc_c_outcome {
    enum grpc_c_status status;
    char *message; /* UTF-8; "" when there is none */
    struct grpc_c_metadata *initial_metadata;
    size_t initial_metadata_count;
    struct grpc_c_metadata *trailing_metadata;
    size_t trailing_metadata_count;
};

/* Frees what an outcome holds and zeroes it; zeroed or NULL is fine. Not for the outcome that a callback is given. */
void grpc_c_outcome_release(struct grpc_c_outcome *outcome);

/* A channel to "host:port". Connects when first used, never through a proxy. `options` are copied, NULL means defaults.
 * ERROR_INVALID: a malformed address, or one that is not loopback without TLS; a file that is not what it should be,
 * or a key that is not its certificate's (the text names the file). ERROR_SYSTEM: a file could not be read, a thread
 * could not be made. Whether client certificates are in date is the server's to judge. */
bool grpc_c_channel_new(const char *target, const struct grpc_c_channel_options *options,
    struct grpc_c_channel **ret_channel, struct error *reterr_error);

/* Cancels what is under way, waits until blocking calls have returned and callbacks have come, releases. Calls that
 * a callback starts meanwhile end CANCELLED at once. NULL is fine. Not from a callback. */
void grpc_c_channel_free(struct grpc_c_channel *channel);

/* One unary call; blocks until it ends. On GRPC_C_OK `*ret_response` is the caller's, freed with
 * protobuf_c_message_free_unpacked(). `options` may be NULL. `ret_outcome` may be NULL; otherwise always written.
 * Returns the status: the server's, or the runtime's own: INTERNAL for a response that is not a valid message,
 * RESOURCE_EXHAUSTED for one over message_size_max, INVALID_ARGUMENT for metadata that cannot be sent. Never from a
 * callback. */
enum grpc_c_status grpc_c_channel_call(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, ProtobufCMessage **ret_response,
    struct grpc_c_outcome *ret_outcome);

/* Told once how a call ended, on a thread of the channel; must not block. `response` (NULL unless status is OK) and
 * `outcome` are valid during the callback only. Other callback-style calls may be started inside. */
typedef void grpc_c_call_callback(const ProtobufCMessage *response, const struct grpc_c_outcome *outcome, void *user);

/* One unary call in the background. `request` is packed before the function returns. The callback always comes, also
 * on failure; it may come on its own thread before this function returns, `*ret_pending` being written before it.
 * `ret_pending` may be NULL; otherwise it must be released with grpc_c_pending_unref(), before or after the channel
 * is. */
void grpc_c_channel_call_async(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, grpc_c_call_callback *callback,
    void *user, struct grpc_c_pending **ret_pending);

/* Cancels; the callback then comes with CANCELLED unless the call had already ended. Any thread. */
void grpc_c_pending_cancel(struct grpc_c_pending *pending);

/* Gives the ticket back; the call goes on. Any thread. NULL is fine. */
void grpc_c_pending_unref(struct grpc_c_pending *pending);

#endif
