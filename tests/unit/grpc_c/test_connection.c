/* Goal: a connection ends at its age, with time for the calls under way; a peer that does not answer pings is let go.
 * The peer is written by hand: what the server says on the wire is what is tested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "fixture.h"

enum {
    SHORT_MS = 1000, /* long enough for a call to come first, also while others have the machine */
    PING_MS = 200,
    LONG_MS = 3600000,
    PINGS = 5,
    RECONNECTS = 3,
};

/* RFC 9113, section 6 */
enum { FRAME_DATA, FRAME_HEADERS, FRAME_SETTINGS = 4, FRAME_PING = 6, FRAME_GOAWAY = 7, FRAME_NONE = 255 };
enum { FLAG_ACK = 1, FLAG_END_STREAM = 1, FLAG_END_HEADERS = 4, FRAME_HEAD_SIZE = 9, FRAME_SIZE_MAX = 16384 };

/* --- A peer ------------------------------------------------------------------------------------------------------- */

struct peer {
    int descriptor;
    bool answers_pings;
    unsigned ping_count; /* that came and were no answers */
    uint8_t payload[FRAME_SIZE_MAX];
    size_t size; /* of the last frame's payload */
    uint8_t flags;
};

static void send_frame(struct peer *peer, uint8_t type, uint8_t flags, uint8_t stream, const void *bytes, size_t size)
{
    uint8_t frame[512] = {0, (uint8_t)(size >> 8), (uint8_t)size, type, flags, 0, 0, 0, stream};

    assert_true(size <= sizeof(frame) - FRAME_HEAD_SIZE);
    memcpy(frame + FRAME_HEAD_SIZE, bytes, size);
    /* A peer that is let go may find that out here; what it reads then tells. */
    send(peer->descriptor, frame, FRAME_HEAD_SIZE + size, MSG_NOSIGNAL);
}

static void peer_connect(struct peer *peer, int port)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    peer->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer->descriptor, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(peer->descriptor, preface, strlen(preface), MSG_NOSIGNAL), strlen(preface));
    send_frame(peer, FRAME_SETTINGS, 0, 0, "", 0);
}

/* Calls a method with an empty request, as the peer's stream. */
static void peer_call(struct peer *peer, uint8_t stream, const char *path)
{
    const char *const fields[][2] = {{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "x"},
        {"te", "trailers"}, {"content-type", "application/grpc"}};
    uint8_t block[256] = {0};
    size_t size = 0;

    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        block[size++] = 0; /* a literal that is not remembered: RFC 7541, section 6.2.2 */
        for (size_t part = 0; part < 2; part++) {
            size_t length = strlen(fields[i][part]);
            assert_true(length < 127 && size + length + 2 < sizeof(block));
            block[size++] = (uint8_t)length;
            memcpy(block + size, fields[i][part], length);
            size += length;
        }
    }
    send_frame(peer, FRAME_HEADERS, FLAG_END_HEADERS, stream, block, size);
    send_frame(peer, FRAME_DATA, FLAG_END_STREAM, stream, "\0\0\0\0", 5);
}

/* Reads so many bytes; false at the connection's end. */
static bool read_bytes(struct peer *peer, uint8_t *bytes, size_t size)
{
    for (size_t count = 0; count < size;) {
        struct pollfd ready = {.fd = peer->descriptor, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, WAIT_S * 1000), 1);
        ssize_t got = recv(peer->descriptor, bytes + count, size - count, 0);
        if (got <= 0)
            return false;
        count += (size_t)got;
    }
    return true;
}

/* The next frame's type, FRAME_NONE at the connection's end; a peer that waits for WAIT_S fails the test. Settings are
 * answered, pings counted and answered if they are to be. */
static uint8_t peer_read(struct peer *peer)
{
    uint8_t head[FRAME_HEAD_SIZE];

    if (!read_bytes(peer, head, sizeof(head)))
        return FRAME_NONE;
    peer->size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    peer->flags = head[4];
    assert_true(peer->size <= sizeof(peer->payload));
    if (!read_bytes(peer, peer->payload, peer->size))
        return FRAME_NONE;
    if (head[3] == FRAME_SETTINGS && (peer->flags & FLAG_ACK) == 0)
        send_frame(peer, FRAME_SETTINGS, FLAG_ACK, 0, "", 0);
    if (head[3] == FRAME_PING && (peer->flags & FLAG_ACK) == 0) {
        peer->ping_count++;
        if (peer->answers_pings)
            send_frame(peer, FRAME_PING, FLAG_ACK, 0, peer->payload, peer->size);
    }
    return head[3];
}

/* Reads up to a frame of this type, or to the end: true when it came. */
static bool peer_read_until(struct peer *peer, uint8_t type)
{
    uint8_t got = FRAME_NONE;

    do {
        got = peer_read(peer);
    } while (got != type && got != FRAME_NONE);
    return got == type;
}

static void peer_read_to_end(struct peer *peer)
{
    while (peer_read(peer) != FRAME_NONE) {
    }
}

/* --- Age ---------------------------------------------------------------------------------------------------------- */

/* The options of a server whose only short bounds are those that a test sets. */
static struct grpc_c_server_options long_options(void)
{
    return (struct grpc_c_server_options){.threads = 1,
        .deadline_default_ms = LONG_MS,
        .deadline_max_ms = LONG_MS,
        .connection_age_max_ms = LONG_MS,
        .connection_age_grace_ms = LONG_MS,
        .keepalive_ms = LONG_MS,
        .keepalive_answer_ms = LONG_MS};
}

/* Goal: at its age a connection is told to go; a call that is answered within the grace gets its answer, and then the
 * connection ends. */
static void test_age(void **state)
{
    struct grpc_c_server_options options = long_options();
    struct peer peer = {.answers_pings = true};

    (void)state;
    options.connection_age_max_ms = SHORT_MS;
    struct fixture *fixture = fixture_new(&options);
    peer_connect(&peer, fixture->port);
    peer_call(&peer, 1, "/test.v1.EchoService/Hold");
    fixture_wait_held(fixture, 1);
    assert_true(peer_read_until(&peer, FRAME_GOAWAY));
    assert_int_equal(fixture->cancel_count, 0);
    fixture_answer(fixture, 0);
    assert_true(peer_read_until(&peer, FRAME_DATA));
    assert_true(peer_read_until(&peer, FRAME_HEADERS));
    assert_true((peer.flags & FLAG_END_STREAM) != 0);
    peer_read_to_end(&peer);
    close(peer.descriptor);
    fixture_free(fixture);
}

/* Goal: who is told to go and has a call under way when the grace is over is cut off; the handler is told. */
static void test_grace(void **state)
{
    struct grpc_c_server_options options = long_options();
    struct peer peer = {.answers_pings = true};

    (void)state;
    options.connection_age_max_ms = SHORT_MS;
    options.connection_age_grace_ms = SHORT_MS;
    struct fixture *fixture = fixture_new(&options);
    peer_connect(&peer, fixture->port);
    peer_call(&peer, 1, "/test.v1.EchoService/Hold");
    fixture_wait_held(fixture, 1);
    assert_true(peer_read_until(&peer, FRAME_GOAWAY));
    assert_false(peer_read_until(&peer, FRAME_DATA));
    fixture_wait_cancelled(fixture, 1);
    fixture_answer(fixture, 0);
    fixture_wait_idle(fixture);
    close(peer.descriptor);
    fixture_free(fixture);
}

/* Goal: a client that calls on and on is moved from connection to connection and notices nothing. */
static void test_age_unnoticed(void **state)
{
    struct grpc_c_server_options options = long_options();
    int64_t deadline_ns = clock_after_ms(WAIT_S * 1000);
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    char peer[TEXT_SIZE] = "";
    char text[] = "";

    (void)state;
    options.connection_age_max_ms = SHORT_MS;
    struct fixture *fixture = fixture_new(&options);
    request.text = text;
    for (unsigned connections = 0; connections < RECONNECTS;) {
        Test__V1__EchoResponse *response = NULL;

        assert_true(clock_now_ns() < deadline_ns);
        assert_int_equal(
            test__v1__echo_service__reflect(fixture->channel, &request, &patient, &response, NULL), GRPC_C_OK);
        if (strcmp(peer, response->text) != 0)
            connections++;
        snprintf(peer, sizeof(peer), "%s", response->text);
        test__v1__echo_response__free_unpacked(response, NULL);
    }
    fixture_free(fixture);
}

/* --- Keepalive ---------------------------------------------------------------------------------------------------- */

/* Goal: a peer that reads and calls, and answers no ping, is let go, and its call is cancelled; others stay. */
static void test_silent_peer(void **state)
{
    struct grpc_c_server_options options = long_options();
    struct peer peer = {.answers_pings = false};

    (void)state;
    options.keepalive_ms = SHORT_MS;
    options.keepalive_answer_ms = SHORT_MS;
    struct fixture *fixture = fixture_new(&options);
    peer_connect(&peer, fixture->port);
    peer_call(&peer, 1, "/test.v1.EchoService/Hold");
    fixture_wait_held(fixture, 1);
    assert_false(peer_read_until(&peer, FRAME_DATA));
    assert_true(peer.ping_count > 0);
    fixture_wait_cancelled(fixture, 1);
    fixture_answer(fixture, 0);
    fixture_assert_well(fixture);
    close(peer.descriptor);
    fixture_free(fixture);
}

/* Goal: a peer without calls is asked as well, and one that answers is kept. */
static void test_answering_peer(void **state)
{
    struct grpc_c_server_options options = long_options();
    struct peer peer = {.answers_pings = true};

    (void)state;
    options.keepalive_ms = PING_MS;
    options.keepalive_answer_ms = WAIT_S * 1000;
    struct fixture *fixture = fixture_new(&options);
    peer_connect(&peer, fixture->port);
    while (peer.ping_count < PINGS)
        assert_true(peer_read_until(&peer, FRAME_PING));
    peer_call(&peer, 1, "/test.v1.EchoService/Echo");
    assert_true(peer_read_until(&peer, FRAME_DATA));
    close(peer.descriptor);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_age_unnoticed),
        cmocka_unit_test(test_silent_peer),
        cmocka_unit_test(test_answering_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
