/* Goal: who has no business here is kept out, whatever certificate he shows; who has is known by name; and certificates
 * change while calls run without one of them noticing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "certificates.h"
#include "fixture.h"

enum {
    DAY_S = 24 * 3600,
    IN_FLIGHT = 32,
    ROTATIONS = 8,
    CALLS_PER_ROTATION = 1000,
};

#define PATHS 16

/* Certificates in a directory, and a server that shows and trusts some of them. */
struct world {
    char directory[CERTIFICATES_PATH_SIZE];
    char paths[PATHS][2 * CERTIFICATES_PATH_SIZE];
    size_t path_count;
    struct certificate ca;
    struct certificate other_ca;
    struct grpc_c_server_tls server;
    struct grpc_c_channel_tls client;
    struct fixture *fixture;
};

static const struct certificate_options server_options = {
    .name = "server", .names = "DNS:localhost,IP:127.0.0.1", .usage = "serverAuth", .serial = 1};
static const struct certificate_options client_options = {.name = "client",
    .names = "DNS:router.example.com,URI:spiffe://example.com/router,email:ops@example.com,IP:192.0.2.1",
    .usage = "clientAuth"};

/* --- The world ---------------------------------------------------------------------------------------------------- */

static const char *path(struct world *world, const char *name)
{
    char *text = world->paths[world->path_count++];
    char directory[CERTIFICATES_PATH_SIZE] = ""; /* the compiler takes two members for one otherwise */

    assert_true(world->path_count <= PATHS);
    memcpy(directory, world->directory, sizeof(directory));
    snprintf(text, sizeof(world->paths[0]), "%s/%s", directory, name);
    return text;
}

/* Makes a certificate and writes it. */
static void issue(
    struct world *world, const char *name, const struct certificate_options *options, const struct certificate *ca)
{
    struct certificate made = certificate_new(options, ca);

    certificate_write(&made, world->directory, name);
    certificate_release(&made);
}

static int setup(void **state)
{
    static const struct certificate_options ca = {.name = "CA"};
    static const struct certificate_options other = {.name = "Other CA"};
    const struct grpc_c_server_options options = {.threads = 2};
    struct world *world = memory_new(sizeof(*world));

    directory_new(world->directory);
    world->ca = certificate_new(&ca, NULL);
    world->other_ca = certificate_new(&other, NULL);
    certificate_write(&world->ca, world->directory, "ca");
    certificate_write(&world->other_ca, world->directory, "other-ca");
    issue(world, "server", &server_options, &world->ca);
    issue(world, "client", &client_options, &world->ca);
    world->server = (struct grpc_c_server_tls){.certificate_file = path(world, "server.pem"),
        .key_file = path(world, "server.key"),
        .client_ca_file = path(world, "ca.pem")};
    world->client = (struct grpc_c_channel_tls){.ca_file = world->server.client_ca_file,
        .certificate_file = path(world, "client.pem"),
        .key_file = path(world, "client.key")};
    world->fixture = fixture_new_tls(&options, &world->server, &world->client);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    fixture_free(world->fixture);
    certificate_release(&world->ca);
    certificate_release(&world->other_ca);
    directory_remove(world->directory);
    free(world);
    return 0;
}

static struct grpc_c_channel *channel_to(struct world *world, const struct grpc_c_channel_tls *tls)
{
    const struct grpc_c_channel_options options = {.tls = tls};
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};

    if (!grpc_c_channel_new(world->fixture->target, &options, &channel, &error))
        fail_msg("%s", error.text);
    return channel;
}

/* One call on a channel of its own; how it ended. */
static enum grpc_c_status call_once(
    struct world *world, const struct grpc_c_channel_tls *tls, struct grpc_c_outcome *ret_outcome)
{
    static const struct grpc_c_call_options options = {.deadline_ms = 25000};
    struct grpc_c_channel *channel = channel_to(world, tls);
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    enum grpc_c_status status = test__v1__echo_service__reflect(channel, &request, &options, &response, ret_outcome);

    if (response != NULL)
        test__v1__echo_response__free_unpacked(response, NULL);
    grpc_c_channel_free(channel);
    return status;
}

/* The call must fail at once, without reaching a handler, and do the server no harm. */
static void assert_kept_out(struct world *world, const struct grpc_c_channel_tls *tls, const char *reason)
{
    struct grpc_c_outcome outcome = {0};

    assert_int_equal(call_once(world, tls, &outcome), GRPC_C_UNAVAILABLE);
    if (strstr(outcome.message, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", outcome.message, reason);
    grpc_c_outcome_release(&outcome);
    fixture_assert_well(world->fixture);
}

/* --- Who is let in ------------------------------------------------------------------------------------------------ */

static size_t peer_names(const struct grpc_c_outcome *outcome, const char *names[PATHS])
{
    size_t count = 0;

    for (size_t i = 0; i < outcome->trailing_metadata_count; i++)
        if (strcmp(outcome->trailing_metadata[i].key, "x-peer-name") == 0)
            names[count++] = outcome->trailing_metadata[i].value;
    return count;
}

/* Goal: a handler learns who calls from the certificate, with the kind of each name. */
static void test_peer_names(void **state)
{
    struct grpc_c_outcome outcome = {0};
    const char *names[PATHS];
    struct world *world = *state;

    assert_int_equal(call_once(world, &world->client, &outcome), GRPC_C_OK);
    assert_int_equal(peer_names(&outcome, names), 4);
    assert_string_equal(names[0], "dns:router.example.com");
    assert_string_equal(names[1], "uri:spiffe://example.com/router");
    assert_string_equal(names[2], "email:ops@example.com");
    assert_string_equal(names[3], "ip:192.0.2.1");
    grpc_c_outcome_release(&outcome);
}

/* Goal: a certificate that names nobody lets its holder in, as nobody. */
static void test_no_names(void **state)
{
    static const struct certificate_options nameless = {.name = "nameless", .usage = "clientAuth"};
    struct world *world = *state;
    struct grpc_c_channel_tls tls = world->client;
    struct grpc_c_outcome outcome = {0};
    const char *names[PATHS];

    issue(world, "nameless", &nameless, &world->ca);
    tls.certificate_file = path(world, "nameless.pem");
    tls.key_file = path(world, "nameless.key");
    assert_int_equal(call_once(world, &tls, &outcome), GRPC_C_OK);
    assert_int_equal(peer_names(&outcome, names), 0);
    grpc_c_outcome_release(&outcome);
}

/* Goal: expired, not yet valid, foreign, self-signed and wrong-usage client certificates, and none at all. */
static void test_clients_refused(void **state)
{
    struct world *world = *state;
    const struct {
        struct certificate_options options;
        const struct certificate *ca;
    } cases[] = {
        {{.name = "expired", .usage = "clientAuth", .begin_s = -2L * DAY_S, .end_s = -60}, &world->ca},
        {{.name = "early", .usage = "clientAuth", .begin_s = 3600}, &world->ca},
        {{.name = "foreign", .usage = "clientAuth"}, &world->other_ca},
        {{.name = "self-signed"}, NULL},
        {{.name = "usage", .names = "DNS:router.example.com", .usage = "serverAuth"}, &world->ca},
    };
    struct grpc_c_channel_tls tls = world->client;

    tls.certificate_file = path(world, "refused.pem");
    tls.key_file = path(world, "refused.key");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        issue(world, "refused", &cases[i].options, cases[i].ca);
        assert_kept_out(world, &tls, "");
    }
    tls.certificate_file = NULL;
    tls.key_file = NULL;
    assert_kept_out(world, &tls, "");
    pthread_mutex_lock(&world->fixture->lock);
    size_t echo_count = world->fixture->echo_count;
    pthread_mutex_unlock(&world->fixture->lock);
    assert_int_equal(echo_count, COUNT_OF(cases) + 1); /* only those of the friend */
}

/* Goal: a client does not talk to a server that it does not know, or that is somebody else. */
static void test_servers_refused(void **state)
{
    struct world *world = *state;
    struct grpc_c_channel_tls tls = world->client;

    tls.ca_file = path(world, "other-ca.pem");
    assert_kept_out(world, &tls, "certificate verify failed");
    tls.ca_file = world->client.ca_file;
    tls.server_name = "elsewhere.example.com";
    assert_kept_out(world, &tls, "elsewhere.example.com");
    tls.server_name = "localhost";
    assert_int_equal(call_once(world, &tls, NULL), GRPC_C_OK);
}

/* Goal: with the flag that says so, whoever reaches the address may call, and has no name, whatever he shows. */
static void test_without_client_certificates(void **state)
{
    struct world *world = *state;
    struct grpc_c_server_tls open = world->server;
    struct grpc_c_channel_tls tls = world->client;
    struct grpc_c_outcome outcome = {0};
    const char *names[PATHS];

    open.client_ca_file = NULL;
    open.without_client_certificates = true;
    struct fixture *fixture = fixture_new_tls(NULL, &open, &tls);
    struct fixture *closed = world->fixture;
    world->fixture = fixture;
    assert_int_equal(call_once(world, &tls, &outcome), GRPC_C_OK);
    assert_int_equal(peer_names(&outcome, names), 0);
    grpc_c_outcome_release(&outcome);
    tls.certificate_file = NULL;
    tls.key_file = NULL;
    assert_int_equal(call_once(world, &tls, NULL), GRPC_C_OK);
    world->fixture = closed;
    fixture_free(fixture);
}

/* Goal: plain text to a TLS port and TLS to a plain text port fail at once and clearly. */
static void test_crossed(void **state)
{
    struct world *world = *state;
    struct fixture *secure = world->fixture;
    struct fixture *plain = fixture_new(NULL);

    assert_kept_out(world, NULL, "");
    world->fixture = plain;
    assert_kept_out(world, &world->client, "handshake");
    world->fixture = secure;
    fixture_free(plain);
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

/* Goal: addresses beyond loopback are for TLS only. */
static void test_addresses(void **state)
{
    struct world *world = *state;
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    const struct grpc_c_channel_options options = {.tls = &world->client};
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};
    int port = 0;

    assert_false(grpc_c_server_listen(server, "0.0.0.0:0", NULL, &error));
    assert_non_null(strstr(error.text, "other addresses need TLS"));
    assert_false(grpc_c_server_listen_tls(server, "0.0.0.0", &world->server, NULL, &error));
    assert_int_equal(error.code, ERROR_INVALID);
    assert_true(grpc_c_server_listen_tls(server, "0.0.0.0:0", &world->server, &port, &error));
    assert_true(port > 0);
    assert_false(grpc_c_server_listen_tls(server, world->fixture->target, &world->server, NULL, &error));
    assert_int_equal(error.code, ERROR_EXISTS);
    grpc_c_server_free(server);
    assert_false(grpc_c_channel_new("leads.example.com:443", NULL, &channel, &error));
    assert_true(grpc_c_channel_new("leads.example.com:443", &options, &channel, &error));
    grpc_c_channel_free(channel);
}

/* Expects that a new server refuses these files, with `reason` and with the name of the file. */
static void assert_files_refused(
    const struct grpc_c_server_tls *tls, enum error_code code, const char *file, const char *reason)
{
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    struct error error = {0};

    assert_false(grpc_c_server_listen_tls(server, "127.0.0.1:0", tls, NULL, &error));
    assert_int_equal(error.code, code);
    if (strstr(error.text, file) == NULL || strstr(error.text, reason) == NULL)
        fail_msg("\"%s\" does not name \"%s\" and \"%s\"", error.text, file, reason);
    grpc_c_server_free(server);
}

/* Goal: every way in which certificates can be bad is told before the port is open, with the file. */
static void test_bad_certificates(void **state)
{
    struct world *world = *state;
    const struct {
        struct certificate_options options;
        const char *reason;
    } cases[] = {
        {{.name = "expired", .begin_s = -2L * DAY_S, .end_s = -60}, "certificate 1 has expired"},
        {{.name = "early", .begin_s = 3600}, "certificate 1 is not valid yet"},
        {{.name = "usage", .usage = "clientAuth"}, "usage is not that of a server"},
        {{.name = "weak", .rsa_bits = 1024}, "key too small"},
    };
    struct grpc_c_server_tls tls = world->server;

    tls.certificate_file = path(world, "bad.pem");
    tls.key_file = path(world, "bad.key");
    assert_files_refused(&tls, ERROR_SYSTEM, tls.certificate_file, "No such file or directory");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        issue(world, "bad", &cases[i].options, &world->ca);
        assert_files_refused(&tls, ERROR_INVALID, tls.certificate_file, cases[i].reason);
    }
    issue(world, "bad", &server_options, &world->ca);
    tls.key_file = world->server.key_file;
    assert_files_refused(&tls, ERROR_INVALID, tls.key_file, "is not that of the certificate");
    tls.key_file = world->server.certificate_file;
    assert_files_refused(&tls, ERROR_INVALID, tls.key_file, "holds no private key");
    tls = world->server;
    tls.client_ca_file = world->directory;
    assert_files_refused(&tls, ERROR_INVALID, tls.client_ca_file, "is not a file");
}

/* Goal: text that is not what it should be, in each file. */
static void test_bad_texts(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "holds no certificate"},
        {"hello\n", "holds no certificate"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 cannot be read"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n", "certificate 1 cannot be read"},
    };
    struct world *world = *state;
    struct grpc_c_server_tls tls = world->server;
    const char *bad = path(world, "bad.pem");

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        text_write(world->directory, "bad.pem", cases[i].text);
        tls.client_ca_file = bad;
        tls.certificate_file = world->server.certificate_file;
        assert_files_refused(&tls, ERROR_INVALID, bad, cases[i].reason);
        tls.client_ca_file = world->server.client_ca_file;
        tls.certificate_file = bad;
        assert_files_refused(&tls, ERROR_INVALID, bad, cases[i].reason);
    }
    tls = world->server;
    tls.client_ca_file = NULL;
    assert_files_refused(&tls, ERROR_INVALID, "", "either the CA of the clients' certificates or the word");
    tls.key_file = NULL;
    assert_files_refused(&tls, ERROR_INVALID, "", "a certificate and its key");
}

/* Goal: the client's files are read when the channel is made, and a bad one is named. */
static void test_bad_client_files(void **state)
{
    struct world *world = *state;
    struct grpc_c_channel_tls tls = world->client;
    const struct grpc_c_channel_options options = {.tls = &tls};
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};

    tls.ca_file = path(world, "absent.pem");
    assert_false(grpc_c_channel_new(world->fixture->target, &options, &channel, &error));
    assert_non_null(strstr(error.text, tls.ca_file));
    tls.ca_file = world->client.ca_file;
    tls.key_file = world->server.key_file;
    assert_false(grpc_c_channel_new(world->fixture->target, &options, &channel, &error));
    assert_non_null(strstr(error.text, tls.key_file));
    assert_int_equal(grpc_c_channel_tls_lack(&tls), GRPC_C_TLS_LACKS_NOTHING);
    tls.key_file = NULL;
    assert_int_equal(grpc_c_channel_tls_lack(&tls), GRPC_C_TLS_LACKS_HALF);
    assert_false(grpc_c_channel_new(world->fixture->target, &options, &channel, &error));
    assert_non_null(strstr(error.text, "go together"));
    tls.ca_file = NULL;
    assert_int_equal(grpc_c_channel_tls_lack(&tls), GRPC_C_TLS_LACKS_CA);
    assert_false(grpc_c_channel_new(world->fixture->target, &options, &channel, &error));
    assert_non_null(strstr(error.text, "needs the CA"));
}

/* --- New certificates --------------------------------------------------------------------------------------------- */

static int connect_raw(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof(address)), 0);
    return descriptor;
}

/* The serial number of the certificate that a new connection is shown. */
static long shown_serial(struct world *world)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    int descriptor = connect_raw(world->fixture->port);

    SSL_use_certificate_file(ssl, world->client.certificate_file, SSL_FILETYPE_PEM);
    SSL_use_PrivateKey_file(ssl, world->client.key_file, SSL_FILETYPE_PEM);
    SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2", 3);
    SSL_set_fd(ssl, descriptor);
    assert_int_equal(SSL_connect(ssl), 1);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(SSL_get0_peer_certificate(ssl)));
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(descriptor);
    return serial;
}

/* A server certificate with this number, in place of the old. */
static void replace(struct world *world, long serial)
{
    struct certificate_options options = server_options;

    options.serial = serial;
    issue(world, "server", &options, &world->ca);
}

/* Goal: a broken new certificate is refused and named, nothing changes; a good one is shown to who connects next. */
static void test_reload(void **state)
{
    static const struct certificate_options expired = {
        .name = "server", .begin_s = -2L * DAY_S, .end_s = -60, .serial = 8};
    struct world *world = *state;
    struct grpc_c_server *server = world->fixture->server;
    struct error error = {0};

    issue(world, "server", &expired, &world->ca);
    assert_false(grpc_c_server_reload_tls(server, &error));
    assert_non_null(strstr(error.text, "server.pem: certificate 1 has expired"));
    assert_int_equal(shown_serial(world), 1);
    replace(world, 9);
    text_write(world->directory, "server.key", "not a key\n");
    assert_false(grpc_c_server_reload_tls(server, &error));
    assert_non_null(strstr(error.text, "server.key holds no private key"));
    assert_int_equal(shown_serial(world), 1);
    replace(world, 10);
    text_write(world->directory, "ca.pem", "not a CA\n");
    assert_false(grpc_c_server_reload_tls(server, &error));
    assert_int_equal(shown_serial(world), 1);
    certificate_write(&world->ca, world->directory, "ca");
    assert_int_equal(shown_serial(world), 1); /* only on request */
    assert_true(grpc_c_server_reload_tls(server, &error));
    assert_int_equal(shown_serial(world), 10);
    fixture_assert_well(world->fixture);
}

/* Goal: another CA is trusted from then on, by new connections; the old one lives on. */
static void test_new_ca(void **state)
{
    struct world *world = *state;
    struct grpc_c_channel_tls foreign = world->client;
    struct error error = {0};

    issue(world, "foreign", &client_options, &world->other_ca);
    foreign.ca_file = path(world, "old-ca.pem");
    foreign.certificate_file = path(world, "foreign.pem");
    foreign.key_file = path(world, "foreign.key");
    certificate_write(&world->ca, world->directory, "old-ca");
    assert_kept_out(world, &foreign, "");
    certificate_write(&world->other_ca, world->directory, "ca");
    assert_true(grpc_c_server_reload_tls(world->fixture->server, &error));
    assert_int_equal(call_once(world, &foreign, NULL), GRPC_C_OK);
    foreign.certificate_file = world->client.certificate_file;
    foreign.key_file = world->client.key_file;
    assert_kept_out(world, &foreign, "");
}

/* Calls that follow one another until `wanted` are done, on the channel's thread. */
struct stream {
    struct grpc_c_channel *channel;
    struct waiter *waiter;
    size_t *left; /* under the waiter's lock */
};

static void start_echo(struct stream *stream);

static void on_echo(const Test__V1__EchoResponse *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct stream *stream = user;
    struct waiter *waiter = stream->waiter;
    bool is_more = false;

    pthread_mutex_lock(&waiter->lock);
    is_more = *stream->left > 0;
    *stream->left -= is_more;
    pthread_mutex_unlock(&waiter->lock);
    waiter_told(response, outcome, waiter);
    if (is_more)
        start_echo(stream);
}

static void start_echo(struct stream *stream)
{
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    char text[] = "rotate";

    request.text = text;
    test__v1__echo_service__echo__async(stream->channel, &request, &patient, on_echo, stream, NULL);
}

/* Goal: certificates are replaced again and again while calls run, a thousand and more a second, on connections old
 * and new: none fails, and each new connection is shown the newest. */
static void test_rotation(void **state)
{
    struct world *world = *state;
    struct waiter waiter = WAITER_INIT;
    struct grpc_c_channel *channels[ROTATIONS] = {0};
    struct stream streams[ROTATIONS];
    struct error error = {0};
    size_t left = (ROTATIONS + 1) * CALLS_PER_ROTATION - IN_FLIGHT;
    struct stream first = {.channel = world->fixture->channel, .waiter = &waiter, .left = &left};
    int64_t started_ns = clock_now_ns();

    for (int i = 0; i < IN_FLIGHT; i++)
        start_echo(&first);
    for (size_t i = 0; i < ROTATIONS; i++) {
        waiter_wait(&waiter, (i + 1) * CALLS_PER_ROTATION); /* calls have run with the last one */
        replace(world, 100 + (long)i);
        assert_true(grpc_c_server_reload_tls(world->fixture->server, &error));
        assert_int_equal(shown_serial(world), 100 + (long)i);
        channels[i] = channel_to(world, &world->client);
        streams[i] = (struct stream){.channel = channels[i], .waiter = &waiter, .left = &left};
        pthread_mutex_lock(&waiter.lock);
        bool is_more = left > 0;
        left -= is_more;
        pthread_mutex_unlock(&waiter.lock);
        if (is_more)
            start_echo(&streams[i]);
    }
    waiter_wait(&waiter, (size_t)(ROTATIONS + 1) * CALLS_PER_ROTATION);
    assert_int_equal(waiter.count, (ROTATIONS + 1) * CALLS_PER_ROTATION);
    assert_int_equal(waiter.ok_count, waiter.count);
    print_message("%zu calls in %lld ms\n", waiter.count, (long long)((clock_now_ns() - started_ns) / 1000000));
    for (size_t i = 0; i < ROTATIONS; i++)
        grpc_c_channel_free(channels[i]);
}

/* --- Half-open connections ---------------------------------------------------------------------------------------- */

/* Goal: who connects and says nothing is closed when the time for the handshake is over, with TLS and without. */
static void test_silence(void **state)
{
    const struct grpc_c_server_options options = {.threads = 1, .handshake_ms = 500};
    struct world *world = *state;

    for (int with_tls = 0; with_tls <= 1; with_tls++) {
        struct fixture *fixture =
            with_tls ? fixture_new_tls(&options, &world->server, &world->client) : fixture_new(&options);
        int64_t started_ns = clock_now_ns();
        int descriptor = connect_raw(fixture->port);
        struct pollfd poll_descriptor = {.fd = descriptor, .events = POLLIN};
        ssize_t got = 0;
        char bytes[256];

        do {
            assert_int_equal(poll(&poll_descriptor, 1, WAIT_S * 1000), 1);
            got = read(descriptor, bytes, sizeof(bytes)); /* plain text: the server's first frames */
        } while (got > 0);
        assert_true(clock_now_ns() - started_ns >= 450 * INT64_C(1000000));
        fixture_assert_well(fixture);
        close(descriptor);
        fixture_free(fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_peer_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clients_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_servers_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_client_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crossed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_client_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_ca, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
