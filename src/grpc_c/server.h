/* gRPC server for generated code.
 *
 * Threads: grpc_c_server_start() makes `threads` completion queue threads. A handler is called on one of them, once per call,
 * and must not block: it either answers at once or keeps the call and answers later from any thread. Each call is answered
 * exactly once, by grpc_c_call_reply() or grpc_c_call_fail(); after that the pointer is dead.
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
};

/* Handles one unary call: generated code, which knows the types behind `request` and `handlers`. `request` lives in the call's arena: valid until the
 * answer. `handlers` and `user` are what was registered. */
typedef void grpc_c_unary_adapter(
    struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user);

/* Makes a server that listens nowhere yet. Released with grpc_c_server_free(). */
struct grpc_c_server *grpc_c_server_new(const struct grpc_c_server_options *options);

/* Registers adapters[i] for service->methods[i]; NULL answers UNIMPLEMENTED. Before start. Generated code wraps this with typed tables. `service`,
 * `handlers` and `user` are borrowed until the server is freed; `adapters` is copied. */
void grpc_c_server_add_service(struct grpc_c_server *server, const struct grpc_c_service *service,
    grpc_c_unary_adapter *const *adapters, const void *handlers, void *user);

/* Listens on "host:port" (port 0: any free one; `ret_port` gets the real one). Plain text, hence loopback addresses only:
 * ERROR_INVALID for any other address or a malformed one; ERROR_EXISTS "127.0.0.1:7450 is in use" when the port is taken. Before start. */
bool grpc_c_server_listen(struct grpc_c_server *server, const char *address, int *ret_port, struct error *reterr_error);

/* Starts to serve. */
bool grpc_c_server_start(struct grpc_c_server *server, struct error *reterr_error);

/* Stops gracefully: no new calls; those in flight get `grace_ms` to be answered, then are cancelled (their handlers still must
 * answer; the answer goes nowhere). Blocks until all are answered and the threads have ended. Call once; any thread but a
 * completion queue thread. */
void grpc_c_server_stop(struct grpc_c_server *server, int64_t grace_ms);

/* Releases a stopped or never started server. NULL is fine. */
void grpc_c_server_free(struct grpc_c_server *server);

/* Calls taken and not yet answered. Any thread. */
size_t grpc_c_server_call_count(const struct grpc_c_server *server);

/* What happened to a call that the runtime itself refused (bad message, too large, too much metadata, unknown method); for logs and metrics.
 * Called on a completion queue thread, at most once per call. Borrowed texts. */
typedef void grpc_c_refusal_observer(
    const char *method_path, enum grpc_c_status status, const char *message, void *user);
void grpc_c_server_observe_refusals(struct grpc_c_server *server, grpc_c_refusal_observer *observer, void *user);

/* --- One call -------------------------------------------------------------------------------------------------------- */

/* Memory that lives until the call is answered. Not for two threads at once. */
struct arena *grpc_c_call_arena(struct grpc_c_call *call);

/* When the caller stops waiting: monotonic ns, never CLOCK_NEVER (default and maximum are applied). */
int64_t grpc_c_call_deadline_ns(const struct grpc_c_call *call);

/* True once the caller has cancelled, gone away, or run out of time. Any thread. */
bool grpc_c_call_is_cancelled(const struct grpc_c_call *call);

/* Calls `callback` once if the call is cancelled before it is answered (at once if it already was), on a completion queue thread; never
 * after the answer has been given. Set at most one, inside the handler. The callback must not answer the call itself synchronously. */
void grpc_c_call_on_cancel(struct grpc_c_call *call, void (*callback)(void *user), void *user);

/* "/leadrouter.v1.RoutingService/RouteLead"; and the peer's address as the core prints it. Borrowed until the answer. */
const char *grpc_c_call_method(const struct grpc_c_call *call);
const char *grpc_c_call_peer(const struct grpc_c_call *call);

/* First value of a request metadata key (lower case), NUL-terminated; NULL when absent. Borrowed until the answer. `ret_size` may be NULL. */
const char *grpc_c_call_metadata(const struct grpc_c_call *call, const char *key, size_t *ret_size);

/* Adds to the metadata sent with the answer. Key and value are copied. Before the answer. */
void grpc_c_call_add_initial_metadata(struct grpc_c_call *call, const char *key, const char *value, size_t size);
void grpc_c_call_add_trailing_metadata(struct grpc_c_call *call, const char *key, const char *value, size_t size);

/* Answers with OK and `response`, which is packed before the function returns. Any thread. Ends the call. */
void grpc_c_call_reply(struct grpc_c_call *call, const ProtobufCMessage *response);

/* Answers with a status other than OK. `message` is UTF-8, copied. Any thread. Ends the call. */
void grpc_c_call_fail(struct grpc_c_call *call, enum grpc_c_status status, const char *message);

#endif
