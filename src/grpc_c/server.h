/* gRPC server for generated code.
 *
 * Threads: grpc_c_server_start() makes `threads` completion queue threads. A handler is called on one of them, once
 * per call, and must not block: it either answers at once or keeps the call and answers later from any thread. Answers
 * go out by the thread that the call came to, so that whoever answers is free at once. Each call is answered exactly
 * once, by grpc_c_call_reply() or grpc_c_call_fail(); after that the pointer is dead.
 * src/grpc_c/README.md explains the machinery and which facts about the core it rests on. */
#ifndef GRPC_C_SERVER_H
#define GRPC_C_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "grpc_c/status.h"

struct grpc_c_server;
struct grpc_c_call;

/* Zero in a field means its default. */
struct grpc_c_server_options {
    unsigned threads;            /* completion queue threads; default: one per core */
    unsigned armed_calls;        /* calls requested ahead per method and thread; default 64 */
    size_t message_size_max;     /* bytes of one request; default 4 MiB */
    size_t metadata_size_max;    /* bytes of all request metadata, keys and values; default 8 KiB */
    unsigned depth_max;          /* nesting of messages in a request; default 32 */
    int64_t deadline_default_ms; /* given to calls that name none; default 5,000 */
    int64_t deadline_max_ms;     /* the most a call may ask for; default 30,000 */
    size_t memory_size_max; /* bytes of one request once unpacked; default 8 times message_size_max, at least 1 MiB */
    size_t calls_max;       /* calls taken and not yet answered; more are refused; default 16,384 */
    int64_t stream_idle_ms; /* a stream whose peer neither sends nor reads for so long is ended; default 60,000 */
    int64_t handshake_ms;   /* a connection that is not ready for calls by then is closed; default 10,000 */
    int64_t connection_age_max_ms; /* a connection is closed at this age, give or take a tenth; default 30 minutes */
    int64_t
        connection_age_grace_ms; /* what calls under way then get before they are cut off; default deadline_max_ms + 5,000 */
    int64_t keepalive_ms;        /* a silent connection is asked this often whether it lives; default 60,000 */
    int64_t keepalive_answer_ms;     /* and is closed without an answer in this time; default 20,000 */
    unsigned connection_streams_max; /* calls under way on one connection; default 1,024 */
};

/* Handles one call: generated code, which knows the types behind `request` and `handlers`. `request` lives in the
 * call's arena: valid until the answer; NULL when the client streams. `handlers` and `user` are what was registered. */
typedef void grpc_c_adapter(
    struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user);

/* Makes a server that listens nowhere yet; `options` are copied, NULL means defaults. Released with
 * grpc_c_server_free(). */
struct grpc_c_server *grpc_c_server_new(const struct grpc_c_server_options *options);

/* Registers adapters[i] for service->methods[i]; NULL answers UNIMPLEMENTED. Before start. Generated code wraps this
 * with typed tables. `service`, `handlers` and `user` are borrowed until the server is freed; `adapters` is copied. */
void grpc_c_server_add_service(struct grpc_c_server *server, const struct grpc_c_service *service,
    grpc_c_adapter *const *adapters, const void *handlers, void *user);

/* The services that were added so far, in that order; borrowed until the next is added. */
size_t grpc_c_server_services(const struct grpc_c_server *server, const struct grpc_c_service *const **ret_services);

/* Listens on "host:port" (port 0: any free one). `ret_port` (may be NULL) gets the real port. Plain text, hence
 * loopback addresses only: ERROR_INVALID for any other address or a malformed one; ERROR_EXISTS "127.0.0.1:7450 is
 * in use" when the port is taken; ERROR_SYSTEM. Before start; several times for several addresses. */
bool grpc_c_server_listen(struct grpc_c_server *server, const char *address, int *ret_port, struct error *reterr_error);

/* How a server shows itself over TLS, and whom it lets in. Names of PEM files; copied. */
struct grpc_c_server_tls {
    const char *certificate_file;     /* Required: the server's certificate, then those between it and the root */
    const char *key_file;             /* Required: its private key, without a pass phrase */
    const char *client_ca_file;       /* Required unless the next: a client must show a certificate that one of these
                                     signed, within its dates and fit for clients */
    bool without_client_certificates; /* whoever reaches the address may call */
};

/* Listens on "host:port", any address, with TLS 1.2 or 1.3. The files are read and judged first: they parse, key and
 * certificate belong together and are strong enough, the certificate is a server's, and all of its chain is within its
 * dates. ERROR_INVALID or ERROR_SYSTEM names the file and the reason; the others as for grpc_c_server_listen(). */
bool grpc_c_server_listen_tls(struct grpc_c_server *server, const char *address, const struct grpc_c_server_tls *tls,
    int *ret_port, struct error *reterr_error);

/* Reads the files of all TLS listeners again. When all are good, new connections get them; otherwise nothing changes
 * (errors as above). Connections that there are live on with what they began with, even when their certificates' CA
 * is no longer among those trusted. Any thread, but one at a time, until the server is freed. */
bool grpc_c_server_reload_tls(struct grpc_c_server *server, struct error *reterr_error);

/* Starts to serve. ERROR_SYSTEM when a thread could not be made: all that is left to do then is
 * grpc_c_server_free(). */
bool grpc_c_server_start(struct grpc_c_server *server, struct error *reterr_error);

/* Stops gracefully: new calls are refused with UNAVAILABLE; those in flight get `grace_ms` to be answered, then are
 * cancelled (their handlers still must answer; the answer goes nowhere). Blocks until all are answered and the
 * threads have ended. Call once; any thread but a completion queue thread. */
void grpc_c_server_stop(struct grpc_c_server *server, int64_t grace_ms);

/* Releases a server; one that still runs is stopped first, without grace. NULL is fine. */
void grpc_c_server_free(struct grpc_c_server *server);

/* Calls taken and not yet done: unanswered, or the answer is still on its way. Any thread. */
size_t grpc_c_server_call_count(const struct grpc_c_server *server);

/* What happened to a call that the runtime itself refused (bad message, too large, too much metadata, too many
 * calls, unknown method, server stopping); for logs and metrics. Called on a completion queue thread, at most once
 * per call. Borrowed texts; the path of an unknown method is the peer's, of any bytes, cut to 256. Requests over
 * message_size_max are refused by the core and not seen here. */
typedef void grpc_c_refusal_observer(
    const char *method_path, enum grpc_c_status status, const char *message, void *user);

/* Sets the observer. Before start. */
void grpc_c_server_observe_refusals(struct grpc_c_server *server, grpc_c_refusal_observer *observer, void *user);

/* Stands between calls and their handlers, for all methods that exist: says who calls, and who may. Both functions are called
 * on a completion queue thread and must not block. Each gives true for "go on"; with false it has ended the call with
 * grpc_c_call_fail(), or keeps it and will end it so, on any thread. */
struct grpc_c_gate {
    /* When a call has come and nothing was looked at: its metadata may be larger than the bound, which is asked for next. May not keep
     * the call. */
    bool (*admit)(struct grpc_c_call *call, void *user);
    /* When its request can be used: what the handler would be given, which the gate may change; NULL when the client
     * streams. */
    bool (*pass)(struct grpc_c_call *call, ProtobufCMessage *request, void *user);
    /* When a call that was let in is ended, whatever the way, by the gate itself too: exactly once, before its answer is sent, on
     * the thread that ends it. May be NULL. */
    void (*ended)(struct grpc_c_call *call, enum grpc_c_status status, void *user);
    /* Whether the caller of a stream that was let in is still let in; with false, and the reason, the stream ends with UNAUTHENTICATED.
     * Asked again and again, each time within a sixth of `stream_idle_ms`, on the thread that `admit` was called on, until the call is
     * done: also while it is being ended, or has been. Must not end the call itself. May be NULL. Unary calls have a deadline instead. */
    bool (*stays)(struct grpc_c_call *call, struct error *reterr_error, void *user);
    void *user;
};

/* Sets the gate; copied. Before start. */
void grpc_c_server_set_gate(struct grpc_c_server *server, const struct grpc_c_gate *gate);

/* Sees every call, whatever becomes of it: for counting, and for traces. `came` is called before anything is looked at, `ended` as the
 * gate's, exactly once each; neither may block or end the call. Both are required. */
struct grpc_c_watcher {
    void (*came)(struct grpc_c_call *call, void *user);
    void (*ended)(struct grpc_c_call *call, enum grpc_c_status status, void *user);
    void *user;
};

/* Sets the watcher; copied. Before start. */
void grpc_c_server_set_watcher(struct grpc_c_server *server, const struct grpc_c_watcher *watcher);

/* --- One call ----------------------------------------------------------------------------------------------------- */

/* Memory that lives until the call is answered. Not for two threads at once. */
struct arena *grpc_c_call_arena(struct grpc_c_call *call);

/* What the gate knows about the caller: a pointer for the handler, NULL at first. Borrowed; the call's arena is a place for
 * it. */
void grpc_c_call_set_caller(struct grpc_c_call *call, void *caller);
void *grpc_c_call_caller(const struct grpc_c_call *call);

/* The request, as the handler was given it; NULL when the client streams. Borrowed until the answer. */
const ProtobufCMessage *grpc_c_call_request(const struct grpc_c_call *call);

/* When the caller stops waiting: monotonic ns. Of a unary call never CLOCK_NEVER: default and maximum are applied, and a
 * call that got its deadline from the server and is not answered 250 ms after it is ended with DEADLINE_EXCEEDED, as if
 * cancelled. A streaming call has the deadline that its caller gave it, or none. */
int64_t grpc_c_call_deadline_ns(const struct grpc_c_call *call);

/* True once the caller has cancelled, gone away, or run out of time. Any thread. */
bool grpc_c_call_is_cancelled(const struct grpc_c_call *call);

/* Calls `callback` once if the call is cancelled before it is answered (at once if it already was), on a completion
 * queue thread; never after the answer has been given: an answer from another thread waits until the callback has
 * returned. So the callback must not answer the call itself, nor wait for a lock that is held while the call is
 * answered. Set at most one, inside the handler. */
void grpc_c_call_on_cancel(struct grpc_c_call *call, void (*callback)(void *user), void *user);

/* Calls `callback` once if the call is cancelled before it is ended, on a completion queue thread. Unlike the callback
 * of grpc_c_call_on_cancel() it may end the call, which it finds still valid; but another thread may be ending it in
 * the same moment, so who ends it is for a lock of the handler's own to say. For streams that only write and may have
 * nothing to write for long. Set at most one, inside the handler. */
void grpc_c_call_on_gone(struct grpc_c_call *call, void (*callback)(struct grpc_c_call *call, void *user), void *user);

/* "/leadrouter.v1.RoutingService/RouteLead". Borrowed until the answer. */
const char *grpc_c_call_method(const struct grpc_c_call *call);

enum { GRPC_C_PEER_SIZE = 128 };

/* Writes the peer's address as the core prints it ("ipv4:127.0.0.1:50312"), cut if need be, and returns it. Any thread, until the answer:
 * those too that share a call, as those do that decide a stream's leads. */
const char *grpc_c_call_peer(const struct grpc_c_call *call, char ret_text[GRPC_C_PEER_SIZE]);

/* The method's place among all that were registered, in order of services and methods; GRPC_C_METHOD_UNKNOWN for what was not. */
#define GRPC_C_METHOD_UNKNOWN SIZE_MAX
size_t grpc_c_call_method_number(const struct grpc_c_call *call);

/* When the call came, monotonic. */
int64_t grpc_c_call_came_ns(const struct grpc_c_call *call);

/* The names in the client's certificate, each with its kind in front: "dns:router.example.com", "uri:spiffe://…",
 * "email:…", "ip:…" (those kinds of subject alternative names, and nothing of the subject). That the client holds the
 * certificate's key, and that the certificate was signed by one of the CAs in client_ca_file, within its dates and fit
 * for clients, was verified when the connection was made; what the names permit is the handler's business. 0 on plain
 * text and from servers without client certificates. In the call's arena; inside the handler or later, on one thread. */
size_t grpc_c_call_peer_names(struct grpc_c_call *call, const char *const **ret_names);

/* First value of a request metadata key (lower case), NUL-terminated; NULL when absent. Borrowed until the answer.
 * `ret_size` may be NULL. Values of "-bin" keys are decoded: any bytes. */
const char *grpc_c_call_metadata(const struct grpc_c_call *call, const char *key, size_t *ret_size);

/* Adds to the metadata sent with the answer, up to 16 of each kind. Key and value are copied; that they are legal
 * (grpc.io/docs/guides/metadata: lower case keys, printable ASCII values unless the key ends in "-bin") is asserted.
 * Before the answer. */
void grpc_c_call_add_initial_metadata(struct grpc_c_call *call, const char *key, const char *value, size_t size);
void grpc_c_call_add_trailing_metadata(struct grpc_c_call *call, const char *key, const char *value, size_t size);

/* Whether messages from here on are compressed (gzip), where the caller accepts that. Off at first; switched on before
 * the first message or not at all; may be switched off and on again for later ones. */
void grpc_c_call_set_compression(struct grpc_c_call *call, bool is_on);

/* True when the request that was read last came compressed. */
bool grpc_c_call_was_compressed(const struct grpc_c_call *call);

/* Answers with OK and `response`, which is packed before the function returns. Any thread. Ends the call. For methods
 * that return one message. */
void grpc_c_call_reply(struct grpc_c_call *call, const ProtobufCMessage *response);

/* Ends a call of a method that streams its responses, with OK; goes out behind a write that is still under way. Any
 * thread. */
void grpc_c_call_finish(struct grpc_c_call *call);

/* Answers with a status other than OK. `message` is UTF-8, copied. Any thread. Ends the call. */
void grpc_c_call_fail(struct grpc_c_call *call, enum grpc_c_status status, const char *message);

/* --- Streams ------------------------------------------------------------------------------------------------------
 *
 * The handler of a streaming method is called once, and from then on the call is its own: it asks for one message after
 * the other and sends one after the other, and ends the call exactly once, as above. What it has not asked for stays
 * with the sender: the transport's window is the only buffer. At most one read and one write are under way; they do not
 * disturb one another. Callbacks come on a completion queue thread and must not block; they may start the next read or
 * write, and end the call. The blocking forms are for threads of the handler's own.
 *
 * Once the call has been ended neither reads nor writes may be started. One that is still under way then completes
 * all the same, as GONE or not sent; its callback must not use the call. */

/* What a read came to. */
enum grpc_c_read {
    GRPC_C_READ_MESSAGE, /* there is a message */
    GRPC_C_READ_END,     /* the client has half-closed: no more will come */
    GRPC_C_READ_BAD, /* a message that cannot be taken: whatever the handler ends the call with, the client is told why */
    GRPC_C_READ_GONE, /* the call was cancelled, or is over */
};

/* Told what a read came to. `message` (NULL unless MESSAGE) is valid until the next read is asked for or the call is
 * ended. */
typedef void grpc_c_read_callback(
    struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user);

/* Asks for the next message. Any thread; never two at a time (asserted). */
void grpc_c_call_read(struct grpc_c_call *call, grpc_c_read_callback *callback, void *user);

/* Told that the next message may be sent; `is_sent` false: nobody is left who reads. */
typedef void grpc_c_write_callback(struct grpc_c_call *call, bool is_sent, void *user);

/* Sends `message`, which is packed before the function returns; the callback comes when the transport has room for the
 * next. Any thread; never two at a time (asserted). */
void grpc_c_call_write(
    struct grpc_c_call *call, const ProtobufCMessage *message, grpc_c_write_callback *callback, void *user);

/* The same, returning when the callback would have come. Not on a completion queue thread. */
enum grpc_c_read grpc_c_call_read_wait(struct grpc_c_call *call, const ProtobufCMessage **ret_message);
bool grpc_c_call_write_wait(struct grpc_c_call *call, const ProtobufCMessage *message);

/* `size` zeroed bytes that belong to the call, the same at each use. For generated code. */
void *grpc_c_call_slot(struct grpc_c_call *call, size_t size);

#endif
