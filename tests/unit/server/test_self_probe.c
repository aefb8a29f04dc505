/* Goal: a probe tells a listener that answers from one that does not, and two failures in a row are told once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <assert.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc_c/server.h"
#include "self_probe.h"
#include "unit/grpc_c/certificates.h"

enum { SOON_MS = 100, LONG_MS = 20000, PROBES = 20 };

/* A listener and what it says to whoever connects. */
struct listener {
    int descriptor;
    char address[64];
    const char *answer;
    size_t answer_size;
    int connections; /* how many it takes, one after the other */
    char first;      /* byte of the last hello */
    pthread_t thread;
};

static const char settings[] = "\0\0\0\4\0\0\0\0\0";
static const char alert[] = "\25\3\3\0\2\2\50";
static const char http1[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

static void listener_open(struct listener *listener)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    listener->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener->descriptor, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener->descriptor, 8), 0);
    assert_int_equal(getsockname(listener->descriptor, (struct sockaddr *)&address, &size), 0);
    snprintf(listener->address, sizeof(listener->address), "127.0.0.1:%d", ntohs(address.sin_port));
}

static void *serve(void *argument)
{
    struct listener *listener = argument;

    for (int i = 0; i < listener->connections; i++) {
        char hello[4096];
        int connection = accept(listener->descriptor, NULL, NULL);
        if (recv(connection, hello, sizeof(hello), 0) > 0)
            listener->first = hello[0];
        if (listener->answer_size > 0 && send(connection, listener->answer, listener->answer_size, MSG_NOSIGNAL) < 0)
            listener->first = 0;
        close(connection);
    }
    return NULL;
}

/* One probe of a listener that gives this answer; the error's code, ERROR_NONE for none. */
static enum error_code probe(const char *answer, size_t size, bool is_tls, char *ret_first)
{
    struct listener listener = {.answer = answer, .answer_size = size, .connections = 1};
    struct error error = {0};

    listener_open(&listener);
    const struct self_probe_options options = {.address = listener.address, .is_tls = is_tls, .patience_ms = LONG_MS};
    assert_int_equal(pthread_create(&listener.thread, NULL, serve, &listener), 0);
    bool ok = self_probe_once(&options, &error);
    pthread_join(listener.thread, NULL);
    close(listener.descriptor);
    *ret_first = listener.first;
    return ok ? ERROR_NONE : error.code;
}

static void answers_are_told_apart(void **state)
{
    char first = 0;

    (void)state;
    assert_int_equal(probe(settings, sizeof(settings) - 1, false, &first), ERROR_NONE);
    assert_int_equal(first, 'P');
    assert_int_equal(probe(alert, sizeof(alert) - 1, true, &first), ERROR_NONE);
    assert_int_equal(first, 22); /* a handshake record */
    assert_int_equal(probe(http1, sizeof(http1) - 1, false, &first), ERROR_UNAVAILABLE);
    assert_int_equal(probe(http1, sizeof(http1) - 1, true, &first), ERROR_UNAVAILABLE);
    assert_int_equal(probe(NULL, 0, false, &first), ERROR_UNAVAILABLE);
}

static void silence_and_nobody(void **state)
{
    struct listener listener = {0};
    struct error error = {0};

    (void)state;
    listener_open(&listener); /* the kernel connects; nobody accepts: what a lost listener looks like */
    const struct self_probe_options options = {.address = listener.address, .patience_ms = SOON_MS};
    assert_false(self_probe_once(&options, &error));
    assert_int_equal(error.code, ERROR_DEADLINE);
    close(listener.descriptor);
    assert_false(self_probe_once(&options, &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
}

struct told {
    sem_t is_told;
    atomic_int count;
};

static void tell(const struct error *error, void *user)
{
    struct told *told = user;

    assert(error->code == ERROR_UNAVAILABLE);
    atomic_fetch_add(&told->count, 1);
    sem_post(&told->is_told);
}

static void two_failures_are_told_once(void **state)
{
    struct listener listener = {.answer = settings, .answer_size = sizeof(settings) - 1, .connections = 3};
    struct told told = {0};
    struct self_probe *self = NULL;
    struct error error = {0};

    (void)state;
    listener_open(&listener);
    sem_init(&told.is_told, 0, 0);
    const struct self_probe_options options = {
        .address = listener.address, .interval_ms = 1, .patience_ms = LONG_MS, .observer = tell, .user = &told};
    assert_int_equal(pthread_create(&listener.thread, NULL, serve, &listener), 0);
    assert_true(self_probe_new(&options, &self, &error));
    pthread_join(listener.thread, NULL); /* three probes went well */
    assert_int_equal(atomic_load(&told.count), 0);
    close(listener.descriptor);
    assert_int_equal(sem_wait(&told.is_told), 0);
    self_probe_free(self);
    assert_int_equal(atomic_load(&told.count), 1);
    sem_destroy(&told.is_told);
}

static void ends_in_mid_probe(void **state)
{
    struct listener listener = {0};
    struct told told = {0};
    struct self_probe *self = NULL;
    struct error error = {0};

    (void)state;
    listener_open(&listener);
    const struct self_probe_options options = {
        .address = listener.address, .interval_ms = 1, .patience_ms = LONG_MS, .observer = tell, .user = &told};
    assert_true(self_probe_new(&options, &self, &error));
    int connection = accept(listener.descriptor, NULL, NULL); /* a probe is under way and gets no answer */
    self_probe_free(self);
    assert_int_equal(atomic_load(&told.count), 0);
    close(connection);
    close(listener.descriptor);
    self_probe_free(NULL);
}

/* A server of ours that probes meet; `tls` NULL: plain text. Gives its address. */
static struct grpc_c_server *serve_for_real(const struct grpc_c_server_tls *tls, char *ret_address, size_t size)
{
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    struct error error = {0};
    int port = 0;

    assert_true(tls == NULL ? grpc_c_server_listen(server, "127.0.0.1:0", &port, &error)
                            : grpc_c_server_listen_tls(server, "0.0.0.0:0", tls, &port, &error));
    assert_true(grpc_c_server_start(server, &error));
    snprintf(ret_address, size, "%s:%d", tls == NULL ? "127.0.0.1" : "0.0.0.0", port);
    return server;
}

static void write_certificate(const char *directory, const char *name, const char *usage)
{
    const struct certificate_options options = {.name = name, .names = "DNS:localhost", .usage = usage};
    struct certificate made = certificate_new(&options, NULL);

    certificate_write(&made, directory, name);
    certificate_release(&made);
}

/* Goal: our own server answers the probe for what it speaks, also where it would let no stranger in, and no other. */
static void real_listeners(void **state)
{
    char directory[CERTIFICATES_PATH_SIZE] = "";
    char certificate[CERTIFICATES_PATH_SIZE + 16] = "";
    char key[CERTIFICATES_PATH_SIZE + 16] = "";

    (void)state;
    directory_new(directory);
    write_certificate(directory, "server", "serverAuth");
    snprintf(certificate, sizeof(certificate), "%s/server.pem", directory);
    snprintf(key, sizeof(key), "%s/server.key", directory);
    const struct grpc_c_server_tls mutual = {
        .certificate_file = certificate, .key_file = key, .client_ca_file = certificate};
    const struct grpc_c_server_tls open = {
        .certificate_file = certificate, .key_file = key, .without_client_certificates = true};
    const struct grpc_c_server_tls *const securities[] = {NULL, &open, &mutual};
    for (size_t i = 0; i < COUNT_OF(securities); i++) {
        char address[64] = "";
        struct grpc_c_server *server = serve_for_real(securities[i], address, sizeof(address));
        struct error error = {0};
        struct self_probe_options options = {
            .address = address, .is_tls = securities[i] != NULL, .patience_ms = LONG_MS};

        for (unsigned times = 0; times < PROBES; times++)
            if (!self_probe_once(&options, &error))
                fail_msg("listener %zu: %s", i, error.text);
        options.is_tls = !options.is_tls;
        assert_false(self_probe_once(&options, &error));
        assert_int_equal(error.code, ERROR_UNAVAILABLE);
        grpc_c_server_free(server);
        options.is_tls = !options.is_tls;
        assert_false(self_probe_once(&options, &error));
    }
    directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_told_apart),
        cmocka_unit_test(silence_and_nobody),
        cmocka_unit_test(two_failures_are_told_once),
        cmocka_unit_test(ends_in_mid_probe),
        cmocka_unit_test(real_listeners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
