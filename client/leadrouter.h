/* libleadrouter-client: the calls of leadrouter from C.
 *
 * What a program does: connect once, fill a request message, call the stub of the method, look at the status, release what it
 * was given, close at the end. Stubs and messages are generated from the .proto files: leadrouter/v1/routing.grpc.h and
 * leadrouter/v1/leads.grpc.h have one function per method, with the method's contract as its comment; messages are protobuf-c's.
 * This header has what is not generated.
 *
 *     struct leadrouter_error error;
 *     struct grpc_c_channel *channel;
 *     if (!leadrouter_connect("127.0.0.1:50051", NULL, &channel, &error))
 *         ...error.text says what is wrong...
 *     status = leadrouter__v1__routing_service__route_lead(channel, &request, NULL, &response, NULL);
 *     ...
 *     leadrouter_close(channel);
 *
 * Threads: a channel may be used by any number of threads at once. Its connection is made when the first call needs it, kept, and
 * made again when it is lost. Calls block, or come back through a callback on a thread of the channel (the __async
 * functions); callbacks must not block, and must not make blocking calls.
 *
 * Memory: responses are the caller's, freed with protobuf_c_message_free_unpacked() or the message's own __free_unpacked(). When
 * the system has no memory left the process ends.
 *
 * Retries: calls that may be repeated are repeated by themselves, see struct leadrouter_options. A program that is told
 * UNAVAILABLE, RESOURCE_EXHAUSTED or ABORTED in the end may ask again later: asking twice about a lead never routes it twice. */
#ifndef LEADROUTER_LEADROUTER_H
#define LEADROUTER_LEADROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "grpc_c/types.h"
#include "leadrouter/v1/leads.grpc.h"
#include "leadrouter/v1/routing.grpc.h"
#include "leadrouter/v1/rules.grpc.h"
#include "leadrouter/v1/workspaces.grpc.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LEADROUTER_ERROR_TEXT_SIZE = 512,
    LEADROUTER_REQUEST_ID_SIZE = 37, /* a UUID as text and the NUL behind it */
};

/* Why a channel could not be made. */
struct leadrouter_error {
    enum grpc_c_status status; /* GRPC_C_INVALID_ARGUMENT: an option is wrong; GRPC_C_INTERNAL: the system refused */
    char text[LEADROUTER_ERROR_TEXT_SIZE]; /* UTF-8, names the thing, without a full stop */
};

/* How to connect. Zero in a field means its default. Copied by leadrouter_connect(). */
struct leadrouter_options {
    /* TLS. Without a ca_file the connection is plain text, which is possible on loopback addresses only. */
    const char *ca_file;          /* PEM: whom to believe that the server is who it says */
    const char *certificate_file; /* PEM: who this client is; needs key_file */
    const char *key_file;         /* PEM: the certificate's private key, without a pass phrase */
    const char *server_name;      /* what the server's certificate is for, when it is not the target's host */

    /* Retries. By default a call that ends with UNAVAILABLE, RESOURCE_EXHAUSTED or the server's CANCELLED is made again, at most four
     * more times, after 100 ms growing to 2 s (with jitter; the server may ask for another time), and never beyond the call's deadline.
     * CreateLeads, CreateRule and CreateWorkspace are made again after RESOURCE_EXHAUSTED only, since the others can mean that it was done:
     * a second time would insert leads without an external_id again, and make another rule or workspace. */
    bool no_retries; /* no call is ever made again, not even one that the server has never seen */
    bool
        creates_are_repeatable; /* CreateLeads too after the others: each has a request_id, or each lead an external_id */

    size_t message_size_max; /* bytes of a response that is taken; default 4 MiB */
    unsigned threads;        /* threads that run callbacks; default 1 */
};

/* Makes a channel to "host:port" ("[::1]:50051" for IPv6), never through a proxy. Does not wait for the server: that it
 * is away is seen by the first call. `options` may be NULL. False: `*ret_error` (may be NULL) says why. Any thread. */
bool leadrouter_connect(const char *target, const struct leadrouter_options *options,
    struct grpc_c_channel **ret_channel, struct leadrouter_error *ret_error);

/* Cancels what is under way, waits for its callbacks, closes. NULL is fine. Not from a callback. */
void leadrouter_close(struct grpc_c_channel *channel);

/* "UNAVAILABLE" and so on. Static storage; any thread. */
const char *leadrouter_status_name(enum grpc_c_status status);

/* The version of the library that is linked, "0.1.0". Static storage; any thread. */
const char *leadrouter_version(void);

/* A new request_id for CreateLeads: with it the call can be repeated for 24 hours and is done once. Returns `ret_text`. Any thread. */
const char *leadrouter_new_request_id(char ret_text[LEADROUTER_REQUEST_ID_SIZE]);

/* Frees what an outcome holds and zeroes it; zeroed or NULL is fine. Not for the outcome that a callback is given. */
void leadrouter_outcome_release(struct grpc_c_outcome *outcome);

/* --- Calls in the background: what __async functions give through `ret_pending` ----------------------------------- */

/* Cancels; the callback then comes with CANCELLED unless the call had already ended. Any thread. */
void leadrouter_pending_cancel(struct grpc_c_pending *pending);

/* Gives the ticket back, before or after the call has ended; the call goes on. NULL is fine. Any thread. */
void leadrouter_pending_unref(struct grpc_c_pending *pending);

/* --- Streams: what RouteLeads is called with --------------------------------------------------------------------- */

/* Tells the server that no more requests will come; it answers the rest and ends the call. At most once. */
void leadrouter_stream_close_sending(struct grpc_c_stream *stream);

/* Waits until the call has ended and returns its status; answers that were not read are dropped. `ret_outcome` may be
 * NULL, otherwise it is the caller's. */
enum grpc_c_status leadrouter_stream_finish(struct grpc_c_stream *stream, struct grpc_c_outcome *ret_outcome);

/* `callback` comes once when the call has ended and everything was read; instead of leadrouter_stream_finish(). */
void leadrouter_stream_on_end(struct grpc_c_stream *stream, grpc_c_stream_end_callback *callback, void *user);

/* Cancels; the status is CANCELLED unless the call had already ended. Any thread. */
void leadrouter_stream_cancel(struct grpc_c_stream *stream);

/* Releases the stream; a call that has not ended is cancelled. Before the channel is closed. NULL is fine. */
void leadrouter_stream_free(struct grpc_c_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
