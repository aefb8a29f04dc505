/* gRPC client for generated code: a channel, blocking calls, and calls with a callback.
 *
 * A channel is safe for any number of threads. It owns a thread that completes callback-style calls, and that waits for the sockets of the
 * whole process while it has nothing to do: beside a server it is in the way of the threads that the events are for. */
#ifndef GRPC_C_CLIENT_H
#define GRPC_C_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "grpc_c/status.h"

/* How a channel uses TLS. Names of PEM files, read when the channel is made. */
struct grpc_c_channel_tls {
    const char *ca_file;          /* Required: whom to believe that a server is who it says */
    const char *certificate_file; /* Optional: the client's certificate, then those between it and the root */
    const char *key_file;         /* Required with it: its private key, without a pass phrase */
    const char *server_name;      /* Optional: what the server's certificate must be for, if not the target's host */
};

/* What such names lack; who has other words for them (flags, settings) asks first and says it in those. */
enum grpc_c_tls_lack {
    GRPC_C_TLS_LACKS_NOTHING,
    GRPC_C_TLS_LACKS_CA,
    GRPC_C_TLS_LACKS_HALF, /* of certificate and key, which go together */
};
enum grpc_c_tls_lack grpc_c_channel_tls_lack(const struct grpc_c_channel_tls *tls);

/* Zero in a field means its default. */
struct grpc_c_channel_options {
    size_t message_size_max;              /* bytes of one response; default 4 MiB */
    unsigned threads;                     /* threads that complete callback-style calls; default 1 */
    bool has_no_threads;                  /* none: blocking unary calls only */
    const struct grpc_c_channel_tls *tls; /* default: plain text, to loopback addresses only */
    const char *service_config_json;      /* gRPC's service config, e.g. a retry policy */
    const char *token;                    /* sent with every call as "authorization: Bearer ..."; default: none */
    bool no_retries; /* the core makes no call again, not even one that the server has never seen */
};

/* Frees what an outcome holds and zeroes it; zeroed or NULL is fine. Not for the outcome that a callback is given. */
void grpc_c_outcome_release(struct grpc_c_outcome *outcome);

/* A channel to "host:port". Connects when first used, never through a proxy. `options` are copied, NULL means defaults.
 * ERROR_INVALID: a malformed address, or one that is not loopback without TLS; a file that is not what it should be,
 * or a key that is not its certificate's (the text names the file); a service config that is no JSON or not a service
 * config (the text has the core's reason); a token that is none. ERROR_SYSTEM: a file could not
 * be read, a thread could not be made. Whether client certificates are in date is the server's to judge. */
bool grpc_c_channel_new(const char *target, const struct grpc_c_channel_options *options,
    struct grpc_c_channel **ret_channel, struct error *reterr_error);

/* Cancels what is under way, waits until blocking calls have returned and callbacks have come, releases. Calls that
 * a callback starts meanwhile end CANCELLED at once. NULL is fine. Not from a callback. */
void grpc_c_channel_free(struct grpc_c_channel *channel);

/* Cancels what is under way; calls that are begun from now on end CANCELLED at once. Any thread. */
void grpc_c_channel_cancel(struct grpc_c_channel *channel);

/* One unary call; blocks until it ends. On GRPC_C_OK `*ret_response` is the caller's, freed with
 * protobuf_c_message_free_unpacked(). `options` may be NULL. `ret_outcome` may be NULL; otherwise always written.
 * Returns the status: the server's, or the runtime's own: INTERNAL for a response that is not a valid message,
 * RESOURCE_EXHAUSTED for one over message_size_max, INVALID_ARGUMENT for metadata that cannot be sent. Never from a
 * callback. */
enum grpc_c_status grpc_c_channel_call(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options, ProtobufCMessage **ret_response,
    struct grpc_c_outcome *ret_outcome);

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

/* --- Streams ------------------------------------------------------------------------------------------------------
 *
 * A call of a streaming method, whatever side streams: requests are written, then the sending side is closed; responses
 * are read until there are none; then the outcome is there. At most one read and one write are under way at a time (two
 * threads may do one each); a write that the server does not read waits. Each function has a form that blocks and one
 * with a callback, which comes on a thread of the channel, exactly once, and must not block; the blocking forms are not for callbacks. */

/* Begins a call. It never fails here: what goes wrong is the outcome. `request` is the one request of a method whose
 * client does not stream (the sending side is closed behind it), otherwise NULL. Released with grpc_c_stream_free();
 * once the channel is freed that is all that may be done with it. */
struct grpc_c_stream *grpc_c_channel_open(struct grpc_c_channel *channel, const struct grpc_c_method *method,
    const ProtobufCMessage *request, const struct grpc_c_call_options *options);

/* Sends one request, packed before the function returns. False: the call is over, grpc_c_stream_finish() says why. */
bool grpc_c_stream_write(struct grpc_c_stream *stream, const ProtobufCMessage *message);

/* Whether requests from here on are compressed, on a stream whose options say `compress`; on at first. */
void grpc_c_stream_set_compression(struct grpc_c_stream *stream, bool is_on);

/* Tells the server that no more will come. At most once; not while a write is under way. Does not block. */
void grpc_c_stream_close_sending(struct grpc_c_stream *stream);

/* Reads one response, which is the caller's, freed with protobuf_c_message_free_unpacked(). False: there are no more. */
bool grpc_c_stream_read(struct grpc_c_stream *stream, ProtobufCMessage **ret_message);

/* Waits until the call has ended; what was not read is dropped, and the sending side is closed when it was not.
 * `ret_outcome` may be NULL; otherwise always written, the caller's. Returns the status. */
enum grpc_c_status grpc_c_stream_finish(struct grpc_c_stream *stream, struct grpc_c_outcome *ret_outcome);

/* The same for a method that returns one message: on GRPC_C_OK `*ret_response` is it, the caller's. INTERNAL when the
 * server sent none. */
enum grpc_c_status grpc_c_stream_finish_reply(
    struct grpc_c_stream *stream, ProtobufCMessage **ret_response, struct grpc_c_outcome *ret_outcome);

/* Callback forms. */
void grpc_c_stream_read_async(struct grpc_c_stream *stream, grpc_c_stream_read_callback *callback, void *user);
void grpc_c_stream_write_async(
    struct grpc_c_stream *stream, const ProtobufCMessage *message, grpc_c_stream_write_callback *callback, void *user);

/* `callback` comes when the call has ended and every read and write has come back; `outcome` is valid inside it. All
 * responses have to be read for that, or the call cancelled. At most once per stream, and then no grpc_c_stream_finish(). */
void grpc_c_stream_on_end(struct grpc_c_stream *stream, grpc_c_stream_end_callback *callback, void *user);

/* Cancels; the outcome is CANCELLED unless the call had already ended. Any thread. */
void grpc_c_stream_cancel(struct grpc_c_stream *stream);

/* Releases the caller's hold; a call that has not ended is cancelled. Callbacks that are due still come. Allowed in the
 * stream's own callbacks. NULL is fine. */
void grpc_c_stream_free(struct grpc_c_stream *stream);

/* `size` zeroed bytes that belong to the stream, the same at each use. For generated code. */
void *grpc_c_stream_slot(struct grpc_c_stream *stream, size_t size);

#endif
