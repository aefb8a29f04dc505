#include "self_probe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

enum {
    ADDRESS_SIZE = 128,
    HELLO_SIZE_MAX = 2048,
    HTTP2_FRAME_HEADER_SIZE = 9,
    HTTP2_SETTINGS = 4,
    TLS_HEADER_SIZE = 5,
    TLS_ALERT = 21,
    TLS_HANDSHAKE = 22,
};

struct self_probe {
    struct self_probe_options options;
    char address[ADDRESS_SIZE];
    pthread_t thread;
    int stop; /* eventfd: readable once the probe is to end */
    bool is_stopped;

    /* any thread */
    atomic_int_fast64_t answered_ns;
    atomic_bool answered;
    atomic_uint_fast64_t failures;
};

/* What a client says first in HTTP/2: the preface and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5). */
static const char http2_hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

/* What a client says first in TLS. Made by OpenSSL, so that no listener finds fault with it. */
static size_t tls_hello(unsigned char *ret_bytes, size_t size, struct error *reterr_error)
{
    static const unsigned char protocols[] = "\2h2";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *session = context == NULL ? NULL : SSL_new(context);
    BIO *input = BIO_new(BIO_s_mem());
    BIO *output = BIO_new(BIO_s_mem());
    int count = 0;

    if (session == NULL || input == NULL || output == NULL) {
        BIO_free(input);
        BIO_free(output);
        error_set(reterr_error, ERROR_SYSTEM, "could not make a TLS session");
        goto cleanup;
    }
    SSL_set_bio(session, input, output); /* which owns them now */
    SSL_set_alpn_protos(session, protocols, sizeof(protocols) - 1);
    SSL_connect(session); /* gets as far as wanting an answer */
    count = BIO_read(output, ret_bytes, (int)size);
    if (count <= 0)
        error_set(reterr_error, ERROR_SYSTEM, "could not make a TLS hello");

cleanup:
    SSL_free(session);
    SSL_CTX_free(context);
    return count > 0 ? (size_t)count : 0;
}

/* Waits until the socket is ready for `events`. `stop` < 0: nothing else ends the wait. */
static bool wait_ready(int descriptor, short events, int stop, int64_t deadline_ns, struct error *reterr_error)
{
    struct pollfd waits[] = {{.fd = descriptor, .events = events}, {.fd = stop, .events = POLLIN}};

    for (;;) {
        int64_t left_ms = clock_left_ms(deadline_ns);
        int count = poll(waits, 2, left_ms <= 0 ? 0 : (int)left_ms);
        if (count > 0 && waits[1].revents != 0)
            return error_set(reterr_error, ERROR_CANCELLED, "stopped");
        if (count > 0)
            return true;
        if (count == 0)
            return error_set(reterr_error, ERROR_DEADLINE, "no answer on a new connection");
        if (errno != EINTR)
            return error_set(reterr_error, ERROR_SYSTEM, "could not wait: %s", strerror(errno));
    }
}

/* Splits "host:port" and connects; *ret_descriptor is set, and the caller's, also when it fails later than that. */
static bool begin_connect(const char *address, int *ret_descriptor, struct error *reterr_error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    const char *colon = strrchr(address, ':');
    const char *host = address[0] == '[' ? address + 1 : address;
    struct addrinfo *found = NULL;
    char name[ADDRESS_SIZE];

    if (colon == NULL)
        return error_set(reterr_error, ERROR_INVALID, "%s is no address", address);
    snprintf(name, sizeof(name), "%.*s", (int)(colon - host), host);
    name[strcspn(name, "]")] = '\0';
    if (getaddrinfo(name, colon + 1, &hints, &found) != 0)
        return error_set(reterr_error, ERROR_INVALID, "%s is no address", address);
    bool ok = false;
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *ret_descriptor = descriptor;
    if (descriptor < 0)
        error_set(reterr_error, ERROR_SYSTEM, "could not open a socket: %s", strerror(errno));
    else if (connect(descriptor, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)
        error_set(reterr_error, ERROR_UNAVAILABLE, "could not connect: %s", strerror(errno));
    else
        ok = true;
    freeaddrinfo(found);
    return ok;
}

/* Reads the head of the listener's first frame or record. */
static bool read_answer(int descriptor, int stop, bool is_tls, int64_t deadline_ns, struct error *reterr_error)
{
    unsigned char head[HTTP2_FRAME_HEADER_SIZE];
    size_t wanted = is_tls ? TLS_HEADER_SIZE : HTTP2_FRAME_HEADER_SIZE;
    size_t count = 0;

    while (count < wanted) {
        if (!wait_ready(descriptor, POLLIN, stop, deadline_ns, reterr_error))
            return false;
        ssize_t got = recv(descriptor, head + count, wanted - count, 0);
        if (got == 0)
            return error_set(reterr_error, ERROR_UNAVAILABLE, "a new connection was closed without an answer");
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return error_set(reterr_error, ERROR_UNAVAILABLE, "a new connection broke: %s", strerror(errno));
        if (got > 0)
            count += (size_t)got;
    }
    if (is_tls ? head[0] == TLS_HANDSHAKE || head[0] == TLS_ALERT : head[3] == HTTP2_SETTINGS)
        return true;
    return error_set(reterr_error, ERROR_UNAVAILABLE, "the listener answered in another protocol");
}

static bool probe(const struct self_probe_options *options, int stop, struct error *reterr_error)
{
    unsigned char hello[HELLO_SIZE_MAX];
    size_t size = sizeof(http2_hello) - 1;
    int64_t deadline_ns = clock_after_ms(options->patience_ms);
    int failure = 0;
    socklen_t failure_size = sizeof(failure);
    int descriptor = -1;
    bool ok = false;

    if (options->is_tls)
        size = tls_hello(hello, sizeof(hello), reterr_error);
    else
        memcpy(hello, http2_hello, size);
    if (size == 0 || !begin_connect(options->address, &descriptor, reterr_error) ||
        !wait_ready(descriptor, POLLOUT, stop, deadline_ns, reterr_error))
        goto cleanup;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &failure_size) != 0 || failure != 0) {
        error_set(reterr_error, ERROR_UNAVAILABLE, "could not connect: %s", strerror(failure));
        goto cleanup;
    }
    /* An empty socket's buffer takes a few hundred bytes at once. */
    if (send(descriptor, hello, size, MSG_NOSIGNAL) != (ssize_t)size) {
        error_set(reterr_error, ERROR_UNAVAILABLE, "could not write to a new connection");
        goto cleanup;
    }
    ok = read_answer(descriptor, stop, options->is_tls, deadline_ns, reterr_error);

cleanup:
    if (descriptor >= 0)
        close(descriptor);
    return ok;
}

bool self_probe_once(const struct self_probe_options *options, struct error *reterr_error)
{
    return probe(options, -1, reterr_error);
}

static void *run(void *argument)
{
    struct self_probe *self = argument;
    struct error error = {0};
    int failures = 0;

    for (;;) {
        struct error pause = {0};
        wait_ready(-1, 0, self->stop, clock_after_ms(self->options.interval_ms), &pause);
        if (pause.code == ERROR_CANCELLED)
            return NULL;
        if (probe(&self->options, self->stop, &error)) {
            failures = 0;
            atomic_store(&self->answered_ns, clock_now_ns());
            atomic_store(&self->answered, true);
            continue;
        }
        if (error.code == ERROR_CANCELLED)
            return NULL;
        atomic_fetch_add(&self->failures, 1);
        if (++failures == SELF_PROBE_FAILURES_MAX)
            break;
    }
    self->options.observer(&error, self->options.user);
    return NULL;
}

bool self_probe_new(const struct self_probe_options *options, struct self_probe **ret_probe, struct error *reterr_error)
{
    struct self_probe *self = memory_new(sizeof(*self));

    assert(options->observer != NULL && options->interval_ms > 0 && options->patience_ms > 0);
    self->options = *options;
    snprintf(self->address, sizeof(self->address), "%s", options->address);
    self->options.address = self->address;
    atomic_init(&self->answered_ns, clock_now_ns());
    self->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->stop < 0) {
        free(self);
        return error_set(reterr_error, ERROR_SYSTEM, "could not make an event descriptor: %s", strerror(errno));
    }
    int failure = pthread_create(&self->thread, NULL, run, self);
    if (failure != 0) {
        close(self->stop);
        free(self);
        return error_set(reterr_error, ERROR_SYSTEM, "could not make a thread: %s", strerror(failure));
    }
    *ret_probe = self;
    return true;
}

void self_probe_read(const struct self_probe *probe, struct self_probe_status *ret_status)
{
    *ret_status = (struct self_probe_status){
        .answered_ns = atomic_load(&probe->answered_ns),
        .answered = atomic_load(&probe->answered),
        .failures = atomic_load(&probe->failures),
    };
}

void self_probe_stop(struct self_probe *probe)
{
    if (probe == NULL || probe->is_stopped)
        return;
    eventfd_write(probe->stop, 1);
    pthread_join(probe->thread, NULL);
    probe->is_stopped = true;
}

void self_probe_free(struct self_probe *probe)
{
    if (probe == NULL)
        return;
    self_probe_stop(probe);
    close(probe->stop);
    free(probe);
}
