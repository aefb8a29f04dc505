#include "admin_listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/secret_file.h"

enum { BACKLOG = 64, LOOK_MS = 1000, HOST_SIZE = 256, DRAIN_MS = 1000, DRAIN_LOOK_MS = 20 };

/* A connection that there is; the oldest first. */
struct connection {
    struct connection *next;
    struct connection *previous;
    int64_t deadline_ns;
    int descriptor;
    bool has_asked;
    bool is_shut;
};

/* A token as it is compared: in a time that does not depend on where it differs. */
struct token {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    bool is_set;
};

struct admin_listener {
    struct admin_listener_options options;
    char address[ADMIN_ADDRESS_SIZE];
    bool is_loopback;
    int socket; /* stays when certificates change */
    int wake;   /* eventfd: there is something to do */
    pthread_t thread;
    bool has_thread;

    /* the listener's thread only, once it runs */
    struct MHD_Daemon *daemon;
    struct connection *first;
    struct connection *last;
    size_t connection_count;
    struct token token;

    pthread_mutex_t lock;
    /* under the lock */
    struct MHD_Daemon *next_daemon; /* takes over from the other one; NULL: none */
    struct token next_token;
    bool is_stopping;
};

/* --- Connections -------------------------------------------------------------------------------------------------- */

/* What is shut is found closed, and released, by the library. */
static void shut(struct connection *connection)
{
    if (!connection->is_shut)
        shutdown(connection->descriptor, SHUT_RDWR);
    connection->is_shut = true;
}

/* Makes room: who has been here longest without asking for anything had its chance. */
static void shut_oldest_idle(struct admin_listener *listener)
{
    for (struct connection *connection = listener->first; connection != NULL; connection = connection->next)
        if (!connection->has_asked && !connection->is_shut) {
            shut(connection);
            return;
        }
}

static void shut_late(struct admin_listener *listener)
{
    int64_t now_ns = clock_now_ns();

    for (struct connection *connection = listener->first; connection != NULL && connection->deadline_ns <= now_ns;
         connection = connection->next)
        shut(connection);
}

static void add_connection(struct admin_listener *listener, struct connection *connection)
{
    connection->previous = listener->last;
    if (listener->last == NULL)
        listener->first = connection;
    else
        listener->last->next = connection;
    listener->last = connection;
    if (++listener->connection_count > ADMIN_CONNECTIONS_FEW)
        shut_oldest_idle(listener);
}

static void remove_connection(struct admin_listener *listener, struct connection *connection)
{
    if (connection->previous == NULL)
        listener->first = connection->next;
    else
        connection->previous->next = connection->next;
    if (connection->next == NULL)
        listener->last = connection->previous;
    else
        connection->next->previous = connection->previous;
    listener->connection_count--;
    free(connection);
}

static void on_connection(
    void *user, struct MHD_Connection *handle, void **context, enum MHD_ConnectionNotificationCode code)
{
    struct admin_listener *listener = user;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*context != NULL)
            remove_connection(listener, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *connection = memory_new(sizeof(*connection));
    connection->descriptor = info->connect_fd;
    connection->deadline_ns = clock_after_ms(ADMIN_CONNECTION_MS);
    *context = connection;
    add_connection(listener, connection);
}

/* --- Who asks ----------------------------------------------------------------------------------------------------- */

static void digest_token(const char *text, size_t size, struct token *ret_token)
{
    SHA256((const unsigned char *)text, size, ret_token->digest);
    ret_token->is_set = true;
}

static bool has_token(const struct admin_listener *listener, struct MHD_Connection *handle)
{
    static const char scheme[] = "Bearer ";
    const char *value = MHD_lookup_connection_value(handle, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    struct token shown;

    if (!listener->token.is_set)
        return true;
    if (value == NULL || strncasecmp(value, scheme, sizeof(scheme) - 1) != 0)
        return false;
    value += sizeof(scheme) - 1;
    digest_token(value, strlen(value), &shown);
    return CRYPTO_memcmp(shown.digest, listener->token.digest, sizeof(shown.digest)) == 0;
}

/* A page from elsewhere in a browser on this machine can have its own name mean 127.0.0.1, and would then read what is served here to
 * everybody on this machine. It cannot make the browser send an address in place of that name. */
static bool is_own_host(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    char name[HOST_SIZE];
    const char *end = NULL;

    if (host == NULL || strlen(host) >= sizeof(name))
        return false;
    if (host[0] == '[') {
        end = strchr(host, ']');
        if (end == NULL)
            return false;
        snprintf(name, sizeof(name), "%.*s", (int)(end - host - 1), host + 1);
        return inet_pton(AF_INET6, name, address) == 1;
    }
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(host, ":"), host);
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, address) == 1;
}

static enum MHD_Result count_header(void *user, enum MHD_ValueKind kind, const char *key, const char *value)
{
    int *count = user;

    (void)kind;
    (void)key;
    (void)value;
    return ++*count > ADMIN_HEADERS_MAX ? MHD_NO : MHD_YES;
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void refuse(struct admin_answer *answer, int status, const char *text)
{
    answer->status = status;
    buffer_clear(&answer->body);
    buffer_append_string(&answer->body, text);
}

/* Whoever has it sends its tag, perhaps among others. */
static bool has_it(struct MHD_Connection *handle, const char *tag)
{
    const char *value = MHD_lookup_connection_value(handle, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);

    return value != NULL && strstr(value, tag) != NULL;
}

static void count_answer(const struct admin_listener *listener, int status)
{
    static const int statuses[] = {200, 304, 400, 401, 403, 404, 405, 503};

    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i] == status)
            metrics_add(listener->options.metrics, METRIC_ADMIN_REQUESTS, i, 0, 1);
}

static void find_answer(struct admin_listener *listener, struct MHD_Connection *handle, const char *path,
    const char *method, struct admin_answer *answer)
{
    const struct admin_route *route = NULL;
    int headers = 0;

    for (size_t i = 0; i < listener->options.route_count && route == NULL; i++)
        if (strcmp(listener->options.routes[i].path, path) == 0)
            route = &listener->options.routes[i];
    MHD_get_connection_values(handle, MHD_HEADER_KIND, count_header, &headers);
    bool is_known = has_token(listener, handle);
    if (headers > ADMIN_HEADERS_MAX)
        refuse(answer, MHD_HTTP_BAD_REQUEST, "too many headers\n");
    else if (!listener->token.is_set &&
             !is_own_host(MHD_lookup_connection_value(handle, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST)))
        refuse(answer, MHD_HTTP_FORBIDDEN, "without a token this is served by address or as localhost only\n");
    else if (!is_known && (route == NULL || !route->is_open))
        refuse(answer, MHD_HTTP_UNAUTHORIZED, "a token is needed\n");
    else if (route == NULL)
        refuse(answer, MHD_HTTP_NOT_FOUND, "there is nothing here\n");
    else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        refuse(answer, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    else
        route->handler(listener->options.user, is_known, answer);
    if (answer->tag != NULL && has_it(handle, answer->tag))
        refuse(answer, MHD_HTTP_NOT_MODIFIED, "");
    if (answer->body.overflowed)
        refuse(answer, MHD_HTTP_SERVICE_UNAVAILABLE, "the answer is too large\n");
}

/* The connection ends with its answer: what a client may do with one is then bounded by a time. */
static enum MHD_Result send_answer(struct MHD_Connection *handle, struct admin_answer *answer)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer->body.size, answer->body.data, MHD_RESPMEM_MUST_COPY);
    const char *const headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type},
        {"Content-Security-Policy", answer->policy},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {MHD_HTTP_HEADER_CACHE_CONTROL, answer->tag != NULL ? "no-cache" : "no-store"},
        {MHD_HTTP_HEADER_CONNECTION, "close"},
    };
    enum MHD_Result result = MHD_NO;

    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < COUNT_OF(headers); i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    if (answer->tag != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, answer->tag);
    if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (answer->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    result = MHD_queue_response(handle, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Answered when the head is there; a body, if one is announced, is never read. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *handle, const char *path, const char *method,
    const char *version, const char *data, size_t *data_size, void **context)
{
    struct admin_listener *listener = user;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info->socket_context;
    struct admin_answer answer = {
        .status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8", .policy = "default-src 'none'"};
    enum MHD_Result result = MHD_NO;

    (void)version;
    (void)data;
    (void)data_size;
    (void)context;
    connection->has_asked = true;
    buffer_init(&answer.body, ADMIN_BODY_SIZE_MAX);
    find_answer(listener, handle, path, method, &answer);
    count_answer(listener, answer.status);
    result = send_answer(handle, &answer);
    buffer_release(&answer.body);
    return result;
}

/* Paths are compared as they came: nothing in them means something else. */
static size_t keep_path(void *user, struct MHD_Connection *handle, char *text)
{
    (void)user;
    (void)handle;
    return strlen(text);
}

/* --- The library's part ------------------------------------------------------------------------------------------- */

static void ignore_message(void *user, const char *format, va_list arguments)
{
    (void)user;
    (void)format;
    (void)arguments;
}

/* Makes what serves the socket; with TLS it has its own copy of the certificate from then on. */
static bool make_daemon(struct admin_listener *listener, struct MHD_Daemon **ret_daemon, struct error *reterr_error)
{
    const struct admin_listener_options *options = &listener->options;
    struct secret_file certificate = {0};
    struct secret_file key = {0};
    bool is_tls = options->certificate_file != NULL && !listener->is_loopback;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_ITC | MHD_USE_ERROR_LOG | (is_tls ? MHD_USE_TLS : 0U);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_Daemon *daemon = NULL;
    bool ok = !is_tls || (secret_file_read(options->certificate_file, &certificate, reterr_error) &&
                             secret_file_read(options->key_file, &key, reterr_error) &&
                             secret_file_check(&key, options->key_file, reterr_error));

    if (!ok)
        goto cleanup;
    tls[0].ptr_value = key.text;
    tls[1].ptr_value = certificate.text;
    daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, listener, MHD_OPTION_EXTERNAL_LOGGER, ignore_message,
        NULL, MHD_OPTION_LISTEN_SOCKET, listener->socket, MHD_OPTION_CONNECTION_LIMIT, (unsigned)ADMIN_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(ADMIN_CONNECTION_MS / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)ADMIN_REQUEST_SIZE_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener, MHD_OPTION_UNESCAPE_CALLBACK, keep_path, NULL,
        MHD_OPTION_ARRAY, is_tls ? tls : &tls[3], MHD_OPTION_END);
    if (daemon == NULL)
        ok = is_tls ? error_set(reterr_error, ERROR_INVALID, "%s and %s cannot be used for the admin listener",
                          options->certificate_file, options->key_file)
                    : error_set(reterr_error, ERROR_SYSTEM, "could not make the admin listener");
    else
        *ret_daemon = daemon;

cleanup:
    secret_file_wipe(&certificate);
    secret_file_wipe(&key);
    return ok;
}

/* After this one the socket is the other's; connections under way are closed. */
static void stop_daemon(struct MHD_Daemon *daemon)
{
    if (daemon == NULL)
        return;
    MHD_quiesce_daemon(daemon); /* or the socket would be closed */
    MHD_stop_daemon(daemon);
}

/* Lets requests under way be answered, before the other one takes over: at most for DRAIN_MS, in which new connections wait. */
static void drain_daemon(struct MHD_Daemon *daemon)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd wait = {.fd = info->epoll_fd, .events = POLLIN};
    int64_t deadline_ns = clock_after_ms(DRAIN_MS);

    MHD_quiesce_daemon(daemon);
    for (;;) {
        MHD_run(daemon);
        info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        int64_t left_ms = clock_left_ms(deadline_ns);
        if (info->num_connections == 0 || left_ms <= 0)
            return;
        poll(&wait, 1, left_ms < DRAIN_LOOK_MS ? (int)left_ms : DRAIN_LOOK_MS);
    }
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

/* Takes what admin_listener_reload() has read. False when it is time to stop. */
static bool take_changes(struct admin_listener *listener)
{
    struct MHD_Daemon *old = NULL;

    pthread_mutex_lock(&listener->lock);
    if (listener->next_daemon != NULL) {
        old = listener->daemon;
        listener->daemon = listener->next_daemon;
        listener->token = listener->next_token;
        listener->next_daemon = NULL;
    }
    bool goes_on = !listener->is_stopping;
    pthread_mutex_unlock(&listener->lock);
    if (old != NULL && goes_on)
        drain_daemon(old);
    stop_daemon(old);
    return goes_on;
}

static void *run(void *argument)
{
    struct admin_listener *listener = argument;

    while (take_changes(listener)) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        struct pollfd waits[] = {{.fd = info->epoll_fd, .events = POLLIN}, {.fd = listener->wake, .events = POLLIN}};
        unsigned long long left_ms = 0;
        eventfd_t count = 0;
        if (MHD_get_timeout(listener->daemon, &left_ms) != MHD_YES || left_ms > LOOK_MS)
            left_ms = LOOK_MS;
        poll(waits, COUNT_OF(waits), (int)left_ms);
        if (waits[1].revents != 0)
            eventfd_read(listener->wake, &count);
        MHD_run(listener->daemon);
        shut_late(listener);
    }
    return NULL;
}

/* --- Its life ----------------------------------------------------------------------------------------------------- */

static bool may_listen(
    const struct admin_listener_options *options, const struct sockaddr *address, struct error *reterr_error)
{
    if (address_is_loopback(address) || (options->certificate_file != NULL && options->token_file != NULL))
        return true;
    return error_set(reterr_error, ERROR_INVALID,
        "--admin-listen %.100s: other machines are served only with --tls-certificate and --admin-token-file",
        options->address);
}

bool admin_listener_resolve(
    const struct admin_listener_options *options, struct addrinfo **ret_found, struct error *reterr_error)
{
    struct addrinfo *found = NULL;

    if (!address_resolve(options->address, &found, reterr_error))
        return error_add_context(reterr_error, "--admin-listen");
    if (!may_listen(options, found->ai_addr, reterr_error)) {
        freeaddrinfo(found);
        return false;
    }
    *ret_found = found;
    return true;
}

/* The socket at the first address of that name. */
static bool open_socket(struct admin_listener *listener, struct error *reterr_error)
{
    struct addrinfo *found = NULL;
    const int on = 1;

    if (!admin_listener_resolve(&listener->options, &found, reterr_error))
        return false;
    listener->is_loopback = address_is_loopback(found->ai_addr);
    listener->socket = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->socket >= 0)
        setsockopt(listener->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool ok = listener->socket >= 0 && bind(listener->socket, found->ai_addr, found->ai_addrlen) == 0 &&
              listen(listener->socket, BACKLOG) == 0;
    if (!ok)
        error_set(reterr_error, errno == EADDRINUSE ? ERROR_EXISTS : ERROR_SYSTEM, "--admin-listen %.100s: %s",
            listener->options.address, strerror(errno));
    freeaddrinfo(found);
    return ok;
}

static bool open_address(struct admin_listener *listener, struct error *reterr_error)
{
    const char *text = listener->options.address;
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    char port[NI_MAXSERV];

    if (!open_socket(listener, reterr_error))
        return false;
    if (getsockname(listener->socket, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not read the admin listener's address");
    snprintf(listener->address, sizeof(listener->address), "%.*s:%s", (int)(strrchr(text, ':') - text), text, port);
    return true;
}

static bool read_token(const struct admin_listener *listener, struct token *ret_token, struct error *reterr_error)
{
    const char *path = listener->options.token_file;
    struct secret_file file = {0};
    bool ok = false;

    *ret_token = (struct token){0};
    if (path == NULL)
        return true;
    if (secret_file_read(path, &file, reterr_error) && secret_file_check(&file, path, reterr_error)) {
        size_t size = strcspn(file.text, " \t\r\n");
        if (size < ADMIN_TOKEN_SIZE_MIN || strspn(file.text + size, " \t\r\n") != file.size - size) {
            error_set(
                reterr_error, ERROR_INVALID, "%s: not one token of at least %d characters", path, ADMIN_TOKEN_SIZE_MIN);
        } else {
            digest_token(file.text, size, ret_token);
            ok = true;
        }
    }
    secret_file_wipe(&file);
    return ok;
}

bool admin_listener_new(
    const struct admin_listener_options *options, struct admin_listener **ret_listener, struct error *reterr_error)
{
    struct admin_listener *listener = memory_new(sizeof(*listener));
    bool ok = false;

    assert(options->address != NULL && options->routes != NULL);
    listener->options = *options;
    listener->socket = -1;
    listener->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&listener->lock, NULL);
    if (listener->wake < 0) {
        error_set(reterr_error, ERROR_SYSTEM, "could not make an event descriptor: %s", strerror(errno));
        goto cleanup;
    }
    if (!read_token(listener, &listener->token, reterr_error) || !open_address(listener, reterr_error) ||
        !make_daemon(listener, &listener->daemon, reterr_error))
        goto cleanup;
    int failure = pthread_create(&listener->thread, NULL, run, listener);
    if (failure != 0) {
        error_set(reterr_error, ERROR_SYSTEM, "could not make a thread: %s", strerror(failure));
        goto cleanup;
    }
    listener->has_thread = true;
    *ret_listener = listener;
    listener = NULL;
    ok = true;
cleanup:
    admin_listener_free(listener);
    return ok;
}

const char *admin_listener_address(const struct admin_listener *listener)
{
    return listener->address;
}

bool admin_listener_reload(struct admin_listener *listener, struct error *reterr_error)
{
    struct MHD_Daemon *daemon = NULL;
    struct MHD_Daemon *unused = NULL;
    struct token token;

    if (!read_token(listener, &token, reterr_error) || !make_daemon(listener, &daemon, reterr_error))
        return false;
    pthread_mutex_lock(&listener->lock);
    unused = listener->next_daemon;
    listener->next_daemon = daemon;
    listener->next_token = token;
    pthread_mutex_unlock(&listener->lock);
    stop_daemon(unused);
    eventfd_write(listener->wake, 1);
    return true;
}

void admin_listener_free(struct admin_listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->has_thread) {
        pthread_mutex_lock(&listener->lock);
        listener->is_stopping = true;
        pthread_mutex_unlock(&listener->lock);
        eventfd_write(listener->wake, 1);
        pthread_join(listener->thread, NULL);
    }
    stop_daemon(listener->daemon);
    stop_daemon(listener->next_daemon);
    if (listener->socket >= 0)
        close(listener->socket);
    if (listener->wake >= 0)
        close(listener->wake);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
}
