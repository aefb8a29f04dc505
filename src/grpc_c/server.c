#include "grpc_c/server.h"

#include <assert.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "grpc_c/call.h"
#include "grpc_c/credentials.h"
#include "grpc_c/payload.h"

enum {
    ARMED_DEFAULT = 64,
    ARMED_UNKNOWN = 8,
    MESSAGE_SIZE_DEFAULT = 4 * 1024 * 1024,
    METADATA_SIZE_DEFAULT = 8 * 1024,
    METADATA_CORE_SIZE = 1280 * 1024, /* what clients are told, no bound (README.md): ours is checked on what arrives */
    DEPTH_DEFAULT = 32,
    DEADLINE_DEFAULT_MS = 5000,
    DEADLINE_MAX_MS = 30000,
    STREAM_IDLE_DEFAULT_MS = 60000,
    DEADLINE_GRACE_MS = 250, /* a handler that answers at its deadline still has the last word */
    CALLS_DEFAULT = 16384,
    CONNECTION_AGE_DEFAULT_MS = 30 * 60 * 1000,
    CONNECTION_AGE_GRACE_MORE_MS = 5000, /* beyond the longest deadline: only what nobody waits for is cut off */
    KEEPALIVE_DEFAULT_MS = 60000,
    KEEPALIVE_ANSWER_DEFAULT_MS = 20000,
    STREAMS_DEFAULT = 1024,
    CALLS_PUSHBACK_MS = 100,
    HANDSHAKE_DEFAULT_MS = 10000,
    CORE_SHUTDOWN_MS = 100, /* for the core's last bytes; what is left then, no handler has seen */
    MEMORY_FACTOR = 8,      /* unpacked against packed, and the least: */
    MEMORY_SIZE_LEAST = 1024 * 1024,
    METADATA_ENTRY_OVERHEAD = 32, /* as RFC 9113, section 10.5.1 counts it */
    PATH_SHOWN_MAX = 256,
};

struct grpc_c_server {
    struct grpc_c_server_options options;
    grpc_server *server;
    struct server_queue *queues;
    unsigned queue_count;
    struct served_method **methods; /* pointers: the core's tags hold their addresses */
    size_t method_count;
    struct served_method unknown;
    const struct grpc_c_service **services;
    size_t service_count;
    struct server_tls **tls; /* one per listener that has it */
    size_t tls_count;
    grpc_c_refusal_observer *observer;
    void *observer_user;
    struct grpc_c_gate gate;       /* zeroed: none */
    struct grpc_c_watcher watcher; /* so, too */
    bool is_started;
    atomic_bool is_stopping;
    atomic_size_t call_count;    /* taken, not yet answered and closed */
    atomic_size_t handled_count; /* those of them that were not refused because the server is stopping */

    struct tag shutdown;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the core has shut down, or the last call is done; monotonic clock */
    /* under the lock */
    bool core_is_down;
};

static void set_connection_defaults(struct grpc_c_server_options *options)
{
    if (options->connection_age_max_ms == 0)
        options->connection_age_max_ms = CONNECTION_AGE_DEFAULT_MS;
    if (options->connection_age_grace_ms == 0)
        options->connection_age_grace_ms = options->deadline_max_ms + CONNECTION_AGE_GRACE_MORE_MS;
    if (options->keepalive_ms == 0)
        options->keepalive_ms = KEEPALIVE_DEFAULT_MS;
    if (options->keepalive_answer_ms == 0)
        options->keepalive_answer_ms = KEEPALIVE_ANSWER_DEFAULT_MS;
    if (options->connection_streams_max == 0)
        options->connection_streams_max = STREAMS_DEFAULT;
}

static struct grpc_c_server_options options_with_defaults(const struct grpc_c_server_options *options)
{
    struct grpc_c_server_options full = options == NULL ? (struct grpc_c_server_options){0} : *options;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (full.threads == 0)
        full.threads = cores < 1 ? 1 : (unsigned)cores;
    if (full.armed_calls == 0)
        full.armed_calls = ARMED_DEFAULT;
    if (full.message_size_max == 0)
        full.message_size_max = MESSAGE_SIZE_DEFAULT;
    if (full.metadata_size_max == 0)
        full.metadata_size_max = METADATA_SIZE_DEFAULT;
    if (full.depth_max == 0)
        full.depth_max = DEPTH_DEFAULT;
    if (full.deadline_default_ms == 0)
        full.deadline_default_ms = DEADLINE_DEFAULT_MS;
    if (full.deadline_max_ms == 0)
        full.deadline_max_ms = DEADLINE_MAX_MS;
    if (full.deadline_default_ms > full.deadline_max_ms)
        full.deadline_default_ms = full.deadline_max_ms;
    if (full.stream_idle_ms == 0)
        full.stream_idle_ms = STREAM_IDLE_DEFAULT_MS;
    set_connection_defaults(&full);
    if (full.calls_max == 0)
        full.calls_max = CALLS_DEFAULT;
    if (full.handshake_ms == 0)
        full.handshake_ms = HANDSHAKE_DEFAULT_MS;
    if (full.memory_size_max == 0)
        full.memory_size_max = MEMORY_FACTOR * full.message_size_max;
    if (full.memory_size_max < MEMORY_SIZE_LEAST)
        full.memory_size_max = MEMORY_SIZE_LEAST;
    return full;
}

static void on_shutdown(struct tag *tag, bool ok)
{
    struct grpc_c_server *server =
        (struct grpc_c_server *)(void *)((char *)tag - offsetof(struct grpc_c_server, shutdown));

    (void)ok;
    pthread_mutex_lock(&server->lock);
    server->core_is_down = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static grpc_arg integer_argument(const char *key, int64_t value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER,
        .key = (char *)(uintptr_t)key,
        .value.integer = value > INT32_MAX ? INT32_MAX : (int)value};
}

static grpc_server *core_server_new(const struct grpc_c_server_options *options)
{
    grpc_arg arguments[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
            .value.integer = (int)options->message_size_max},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_MAX_METADATA_SIZE,
            .value.integer = METADATA_CORE_SIZE},
        /* TLS and HTTP/2's first frames together; the core's default is two minutes. */
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
            .value.integer = (int)options->handshake_ms},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
            .value.integer = PAYLOAD_ENCODINGS},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION,
            .value.integer = 0},
        integer_argument(GRPC_ARG_MAX_CONNECTION_AGE_MS, options->connection_age_max_ms),
        integer_argument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, options->connection_age_grace_ms),
        /* Peers that are gone without a word: their descriptors come back. */
        integer_argument(GRPC_ARG_KEEPALIVE_TIME_MS, options->keepalive_ms),
        integer_argument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options->keepalive_answer_ms),
        integer_argument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer_argument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        integer_argument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options->connection_streams_max),
        /* Statistics of each call and socket that nothing here shows to anybody. */
        integer_argument(GRPC_ARG_ENABLE_CHANNELZ, 0),
    };
    grpc_channel_args all = {.num_args = COUNT_OF(arguments), .args = arguments};

    return grpc_server_create(&all, NULL);
}

struct grpc_c_server *grpc_c_server_new(const struct grpc_c_server_options *options)
{
    struct grpc_c_server *server = memory_new(sizeof(*server));

    runtime_init();
    server->options = options_with_defaults(options);
    assert(server->options.depth_max <= WIRE_DEPTH_LIMIT && server->options.message_size_max <= INT32_MAX);
    assert(server->options.handshake_ms > 0 && server->options.handshake_ms <= INT32_MAX);
    pthread_mutex_init(&server->lock, NULL);
    condition_init(&server->changed);
    server->shutdown.done = on_shutdown;
    server->unknown.server = server;
    server->unknown.number = GRPC_C_METHOD_UNKNOWN;
    server->server = core_server_new(&server->options);
    server->queue_count = server->options.threads;
    server->queues = memory_new_array(server->queue_count, sizeof(*server->queues));
    for (unsigned i = 0; i < server->queue_count; i++) {
        server_queue_init(&server->queues[i]);
        grpc_server_register_completion_queue(server->server, server->queues[i].thread.queue, NULL);
    }
    return server;
}

void grpc_c_server_add_service(struct grpc_c_server *server, const struct grpc_c_service *service,
    grpc_c_adapter *const *adapters, const void *handlers, void *user)
{
    assert(!server->is_started);
    server->services = memory_resize(server->services, server->service_count + 1, sizeof(*server->services));
    server->services[server->service_count++] = service;
    for (size_t i = 0; i < service->method_count; i++) {
        struct served_method *served = memory_new(sizeof(*served));
        *served = (struct served_method){.server = server,
            .method = &service->methods[i],
            .adapter = adapters[i],
            .handlers = handlers,
            .user = user,
            .number = server->method_count,
            .size_max = server->options.message_size_max,
            .limits = {.depth_max = server->options.depth_max, .memory_size_max = server->options.memory_size_max}};
        served->registration = grpc_server_register_method(server->server, service->methods[i].path, NULL,
            service->methods[i].client_streams ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
        assert(served->registration != NULL); /* NULL: registered twice */
        server->methods = memory_resize(server->methods, server->method_count + 1, sizeof(*server->methods));
        server->methods[server->method_count++] = served;
    }
}

size_t grpc_c_server_services(const struct grpc_c_server *server, const struct grpc_c_service *const **ret_services)
{
    *ret_services = server->services;
    return server->service_count;
}

void grpc_c_server_observe_refusals(struct grpc_c_server *server, grpc_c_refusal_observer *observer, void *user)
{
    assert(!server->is_started);
    server->observer = observer;
    server->observer_user = user;
}

size_t grpc_c_server_call_count(const struct grpc_c_server *server)
{
    return atomic_load(&server->call_count);
}

/* --- Listening ---------------------------------------------------------------------------------------------------- */

/* The core says only that it could not: bind the address ourselves to learn why. */
static int bind_failure(const char *address)
{
    struct addrinfo *found = NULL;
    int failure = 0;

    if (!address_resolve(address, &found, NULL))
        return EADDRNOTAVAIL;
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor >= 0) {
        int reuse = 1;
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
        failure = bind(descriptor, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
        close(descriptor);
    }
    freeaddrinfo(found);
    return failure;
}

/* Takes the credentials over. */
static bool listen_with(struct grpc_c_server *server, const char *address, grpc_server_credentials *credentials,
    int *ret_port, struct error *reterr_error)
{
    int port = grpc_server_add_http2_port(server->server, address, credentials);

    grpc_server_credentials_release(credentials);
    if (port <= 0) {
        int failure = bind_failure(address);
        if (failure == EADDRINUSE)
            return error_set(reterr_error, ERROR_EXISTS, "%s is in use", address);
        return error_set(reterr_error, ERROR_SYSTEM, "could not listen on %s: %s", address,
            failure == 0 ? "the gRPC core refused" : strerror(failure));
    }
    if (ret_port != NULL)
        *ret_port = port;
    return true;
}

bool grpc_c_server_listen(struct grpc_c_server *server, const char *address, int *ret_port, struct error *reterr_error)
{
    assert(!server->is_started);
    return address_check_loopback(address, reterr_error) &&
           listen_with(server, address, grpc_insecure_server_credentials_create(), ret_port, reterr_error);
}

bool grpc_c_server_listen_tls(struct grpc_c_server *server, const char *address, const struct grpc_c_server_tls *tls,
    int *ret_port, struct error *reterr_error)
{
    char host[ADDRESS_HOST_SIZE];
    struct server_tls *listener = NULL;

    assert(!server->is_started);
    if (!address_parse(address, host, reterr_error) || !server_tls_new(tls, &listener, reterr_error))
        return false;
    /* The core may keep the credentials even when it cannot listen: the server frees what they point to. */
    server->tls = memory_resize(server->tls, server->tls_count + 1, sizeof(struct server_tls *));
    server->tls[server->tls_count++] = listener;
    return listen_with(server, address, server_tls_credentials(listener), ret_port, reterr_error);
}

bool grpc_c_server_reload_tls(struct grpc_c_server *server, struct error *reterr_error)
{
    for (size_t i = 0; i < server->tls_count; i++)
        if (!server_tls_prepare(server->tls[i], reterr_error))
            return false;
    for (size_t i = 0; i < server->tls_count; i++)
        server_tls_swap(server->tls[i]);
    return true;
}

void grpc_c_server_set_watcher(struct grpc_c_server *server, const struct grpc_c_watcher *watcher)
{
    assert(!server->is_started && watcher->came != NULL && watcher->ended != NULL);
    server->watcher = *watcher;
}

void grpc_c_server_set_gate(struct grpc_c_server *server, const struct grpc_c_gate *gate)
{
    assert(!server->is_started);
    server->gate = *gate;
}

/* --- Arming ------------------------------------------------------------------------------------------------------- */

/* Asks the core for one more call of this method on this queue. */
static void arm(const struct served_method *served, struct server_queue *queue, struct grpc_c_call *call)
{
    grpc_server *server = served->server->server;
    grpc_completion_queue *core_queue = queue->thread.queue;
    grpc_call_error failure = GRPC_CALL_OK;

    call->served = served;
    call->queue = queue;
    if (served->method != NULL)
        failure = grpc_server_request_registered_call(server, served->registration, &call->call, &call->core_deadline,
            &call->request_metadata, served->method->client_streams ? NULL : &call->payload, core_queue, core_queue,
            &call->armed);
    else
        failure = grpc_server_request_call(
            server, &call->call, &call->details, &call->request_metadata, core_queue, core_queue, &call->armed);
    assert(failure == GRPC_CALL_OK);
    (void)failure;
}

/* Counts one down; who waits for none to be left is told. Only a stopping server has somebody who waits. */
static void count_down(struct grpc_c_server *server, atomic_size_t *count)
{
    if (atomic_fetch_sub(count, 1) == 1 && atomic_load(&server->is_stopping)) {
        pthread_mutex_lock(&server->lock);
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
    }
}

void server_call_done(struct grpc_c_call *call)
{
    struct grpc_c_server *server = call->served->server;
    bool is_handled = call->is_handled;

    server_queue_put(call->queue, call);
    if (is_handled)
        count_down(server, &server->handled_count);
    count_down(server, &server->call_count);
}

void server_call_ended(struct grpc_c_call *call, enum grpc_c_status status)
{
    const struct grpc_c_gate *gate = &call->served->server->gate;

    if (call->is_let_in && gate->ended != NULL)
        gate->ended(call, status, gate->user);
    if (call->served->server->watcher.ended != NULL)
        call->served->server->watcher.ended(call, status, call->served->server->watcher.user);
}

bool server_call_stays(struct grpc_c_call *call, struct error *reterr_error)
{
    const struct grpc_c_gate *gate = &call->served->server->gate;

    return !call->is_let_in || gate->stays == NULL || gate->stays(call, reterr_error, gate->user);
}

/* --- A call has come ---------------------------------------------------------------------------------------------- */

enum { PUSHBACK_NONE = -2, PUSHBACK_NEVER = -1 /* "do not try again" */ };

/* Answers a call that never reaches its handler. Clients look at push-back before they repeat a RESOURCE_EXHAUSTED. */
static void refuse(struct grpc_c_call *call, enum grpc_c_status status, int pushback_ms, const char *message)
{
    struct grpc_c_server *server = call->served->server;
    char pushback[16] = "";

    if (server->observer != NULL)
        server->observer(call->path, status, message, server->observer_user);
    if (pushback_ms != PUSHBACK_NONE) {
        int size = snprintf(pushback, sizeof(pushback), "%d", pushback_ms);
        grpc_c_call_add_trailing_metadata(call, "grpc-retry-pushback-ms", pushback, (size_t)size);
    }
    grpc_c_call_fail(call, status, message);
}

static size_t metadata_size(const grpc_metadata_array *metadata)
{
    size_t size = 0;

    for (size_t i = 0; i < metadata->count; i++)
        size += GRPC_SLICE_LENGTH(metadata->metadata[i].key) + GRPC_SLICE_LENGTH(metadata->metadata[i].value) +
                METADATA_ENTRY_OVERHEAD;
    return size;
}

static bool is_stream(const struct served_method *served)
{
    return served->method != NULL && (served->method->client_streams || served->method->server_streams);
}

/* A missing or malformed grpc-timeout means "for ever" to the core: such calls get the default, long ones the
 * maximum. These the core will not end, so that the queue does. A stream may last as long as its peer takes part. */
static void set_deadline(struct grpc_c_call *call, gpr_timespec wished)
{
    const struct grpc_c_server_options *options = &call->served->server->options;
    int64_t wished_ns = time_from_core(wished);

    if (is_stream(call->served)) {
        call->deadline_ns = wished_ns;
        call->idle_ns = options->stream_idle_ms * INT64_C(1000000);
        server_queue_watch(call->queue, call, IMPOSED_IDLE, clock_now_ns() + call->idle_ns / SERVER_QUEUE_IDLE_LOOKS);
        return;
    }
    enum imposed_kind kind = wished_ns == CLOCK_NEVER ? IMPOSED_DEFAULT : IMPOSED_MAX;
    int64_t allowed_ns =
        clock_after_ms(kind == IMPOSED_DEFAULT ? options->deadline_default_ms : options->deadline_max_ms);

    call->deadline_ns = wished_ns;
    if (wished_ns > allowed_ns) {
        call->deadline_ns = allowed_ns;
        server_queue_watch(call->queue, call, kind, allowed_ns + DEADLINE_GRACE_MS * INT64_C(1000000));
    }
}

/* The path as the peer wrote it, cut to what is fit to be shown. */
static const char *path_of_unknown(struct grpc_c_call *call)
{
    size_t size = GRPC_SLICE_LENGTH(call->details.method);

    return arena_copy(call->arena, (const char *)GRPC_SLICE_START_PTR(call->details.method),
        size < PATH_SHOWN_MAX ? size : PATH_SHOWN_MAX);
}

static void handle(struct grpc_c_call *call)
{
    const struct served_method *served = call->served;
    const struct grpc_c_server_options *options = &served->server->options;
    const struct grpc_c_gate *gate = &served->server->gate;
    struct error error = {0};
    size_t size = metadata_size(&call->request_metadata);

    if (!call->is_handled) {
        refuse(call, GRPC_C_UNAVAILABLE, PUSHBACK_NONE, "the server is stopping");
        return;
    }
    if (atomic_load(&served->server->call_count) > options->calls_max) {
        error_set(&error, ERROR_FULL, "the server has %zu calls in flight, the bound", options->calls_max);
        refuse(call, GRPC_C_RESOURCE_EXHAUSTED, CALLS_PUSHBACK_MS, error.text);
        return;
    }
    if (served->method == NULL || served->adapter == NULL) {
        if (served->method == NULL) /* a path of the peer's, of any bytes */
            error_set(&error, ERROR_NOT_FOUND, "unknown method");
        else
            error_set(&error, ERROR_NOT_FOUND, "not implemented: %s", served->method->path);
        refuse(call, GRPC_C_UNIMPLEMENTED, PUSHBACK_NONE, error.text);
        return;
    }
    if (gate->admit != NULL && !gate->admit(call, gate->user))
        return;
    call->is_let_in = true;
    if (size > options->metadata_size_max) {
        error_set(&error, ERROR_FULL, "the request's metadata has %zu bytes, the bound is %zu", size,
            options->metadata_size_max);
        refuse(call, GRPC_C_RESOURCE_EXHAUSTED, PUSHBACK_NEVER, error.text);
        return;
    }
    if (!served->method->client_streams) {
        call->request = call_unpack(call, call->payload, call->arena, &error);
        if (call->request == NULL) {
            bool is_large = error.code == ERROR_FULL;
            refuse(call, is_large ? GRPC_C_RESOURCE_EXHAUSTED : GRPC_C_INVALID_ARGUMENT,
                is_large ? PUSHBACK_NEVER : PUSHBACK_NONE, error.text);
            return;
        }
    }
    if (gate->pass == NULL || gate->pass(call, call->request, gate->user))
        served->adapter(call, call->request, served->handlers, served->user);
}

void server_call_armed(struct tag *tag, bool ok)
{
    struct grpc_c_call *call = (struct grpc_c_call *)(void *)((char *)tag - offsetof(struct grpc_c_call, armed));
    const struct served_method *served = call->served;
    struct grpc_c_server *server = served->server;

    if (!ok) { /* the core is shutting down */
        server_queue_put(call->queue, call);
        return;
    }
    atomic_fetch_add(&server->call_count, 1);
    /* First counted, then asked: whoever stops the server sees the call, or the call sees that it stops. */
    atomic_fetch_add(&server->handled_count, 1);
    call->is_handled = !atomic_load(&server->is_stopping);
    if (!call->is_handled)
        count_down(server, &server->handled_count);
    arm(served, call->queue, server_queue_take(call->queue));
    atomic_store(&call->references, 2);
    call->path = served->method != NULL ? served->method->path : path_of_unknown(call);
    call->came_ns = clock_now_ns();
    if (server->watcher.came != NULL)
        server->watcher.came(call, server->watcher.user);
    set_deadline(call, served->method != NULL ? call->core_deadline : call->details.deadline);
    call_watch_close(call);
    handle(call);
}

/* --- Start and stop ----------------------------------------------------------------------------------------------- */

/* Waits until no handler has a call, or the core is down, for at most `wait_ms`; true when it came so. */
static bool wait_until_quiet(struct grpc_c_server *server, bool for_core, int64_t wait_ms)
{
    const int64_t deadline_ns = clock_after_ms(wait_ms);
    bool is_quiet = false;
    bool in_time = true;

    pthread_mutex_lock(&server->lock);
    while (!is_quiet && in_time) {
        is_quiet = for_core ? server->core_is_down : atomic_load(&server->handled_count) == 0;
        if (!is_quiet)
            in_time = condition_wait(&server->changed, &server->lock, deadline_ns);
    }
    pthread_mutex_unlock(&server->lock);
    return is_quiet;
}

/* Lets calls in flight end, then shuts the core's server down. Without threads there are no calls. README.md says
 * why the core comes last. */
static void shut_core_down(struct grpc_c_server *server, int64_t grace_ms)
{
    bool is_quiet = wait_until_quiet(server, false, grace_ms);

    grpc_server_shutdown_and_notify(server->server, server->queues[0].thread.queue, &server->shutdown);
    if (!server->queues[0].thread.is_started)
        queue_thread_serve_until(&server->queues[0].thread, &server->core_is_down);
    if (!is_quiet || !wait_until_quiet(server, true, CORE_SHUTDOWN_MS))
        grpc_server_cancel_all_calls(server->server);
    /* Handlers may still hold calls whose peers have gone: a queue must not be shut down before they have answered. */
    pthread_mutex_lock(&server->lock);
    while (!server->core_is_down || atomic_load(&server->call_count) > 0)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

/* Ends what there is of the core's server and of the threads. */
static void tear_down(struct grpc_c_server *server, int64_t grace_ms)
{
    atomic_store(&server->is_stopping, true);
    shut_core_down(server, grace_ms);
    grpc_server_destroy(server->server);
    server->server = NULL;
    for (unsigned i = 0; i < server->queue_count; i++)
        server_queue_release(&server->queues[i]);
}

bool grpc_c_server_start(struct grpc_c_server *server, struct error *reterr_error)
{
    assert(!server->is_started && server->server != NULL);
    for (unsigned i = 0; i < server->queue_count; i++) {
        if (!queue_thread_start(&server->queues[i].thread, reterr_error)) {
            tear_down(server, 0);
            return false;
        }
    }
    grpc_server_start(server->server);
    server->is_started = true;
    for (unsigned q = 0; q < server->queue_count; q++) {
        for (size_t m = 0; m < server->method_count; m++)
            for (unsigned i = 0; i < server->options.armed_calls; i++)
                arm(server->methods[m], &server->queues[q], call_new());
        for (unsigned i = 0; i < ARMED_UNKNOWN; i++)
            arm(&server->unknown, &server->queues[q], call_new());
    }
    return true;
}

void grpc_c_server_stop(struct grpc_c_server *server, int64_t grace_ms)
{
    assert(server->is_started && server->server != NULL);
    tear_down(server, grace_ms);
}

void grpc_c_server_free(struct grpc_c_server *server)
{
    if (server == NULL)
        return;
    if (server->server != NULL)
        tear_down(server, 0);
    for (size_t i = 0; i < server->method_count; i++)
        free(server->methods[i]);
    free(server->methods);
    free(server->services);
    for (size_t i = 0; i < server->tls_count; i++)
        server_tls_free(server->tls[i]);
    free(server->tls);
    free(server->queues);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
    runtime_release();
}
