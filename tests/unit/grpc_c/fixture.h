/* A server and a channel to it, and everything that tests wait for. */
#ifndef GRPC_C_TEST_FIXTURE_H
#define GRPC_C_TEST_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "echo.grpc.h"

enum { HELD_MAX = 256, TEXT_SIZE = 512, WAIT_S = 60 };

/* A call of Hold that waits for its answer. */
struct held_call {
    struct grpc_c_call *call;
    const Test__V1__EchoRequest *request;
};

struct fixture {
    struct grpc_c_server *server;
    struct grpc_c_channel *channel;
    int port;
    char target[64];
    const struct grpc_c_server_tls *tls; /* NULL: plain text */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct held_call held[HELD_MAX];
    size_t held_count;        /* calls of Hold that came */
    size_t cancel_count;      /* calls of on_cancel */
    size_t echo_count;        /* calls of Echo that came */
    int64_t echo_deadline_ms; /* what the last of them had left */
    size_t refusal_count;
    char refused_path[TEXT_SIZE]; /* the last one */
    enum grpc_c_status refused_status;
    char refused_message[TEXT_SIZE];
};

/* How callback-style calls ended. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    size_t count;
    size_t ok_count;
    size_t refused_count;      /* as a stopping server refuses: see src/grpc_c/README.md */
    enum grpc_c_status status; /* of the last one */
    char text[TEXT_SIZE];      /* the last one's response or message */
};

#define WAITER_INIT                                                                                                    \
    {                                                                                                                  \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                         \
    }

/* A call that must not fail for want of time or of a connection. */
extern const struct grpc_c_call_options patient;

/* A server that listens on a port of its own, and a channel. */
struct fixture *fixture_new(const struct grpc_c_server_options *options);

/* The same with TLS at both ends; NULL: without. Borrowed until the end. */
struct fixture *fixture_new_tls(const struct grpc_c_server_options *options, const struct grpc_c_server_tls *server_tls,
    const struct grpc_c_channel_tls *channel_tls);

/* The server part of it, on an address; for tests that have freed the first one. */
void fixture_serve(struct fixture *fixture, const struct grpc_c_server_options *options, const char *address);

/* Frees the channel, stops the server unless it was, frees it. */
void fixture_free(struct fixture *fixture);

/* Waits until `*count`, which changes under `lock`, is `value` or more; fails the test after WAIT_S. */
void wait_for(pthread_mutex_t *lock, pthread_cond_t *changed, const size_t *count, size_t value);
void fixture_wait_held(struct fixture *fixture, size_t count);
void fixture_wait_cancelled(struct fixture *fixture, size_t count);
void fixture_wait_refused(struct fixture *fixture, size_t count);
size_t fixture_refusal_count(struct fixture *fixture);
void waiter_wait(struct waiter *waiter, size_t count);

/* Waits until the server has no call left: the last answer is out, and how each call ended is known. */
void fixture_wait_idle(struct fixture *fixture);

/* Answers a held call with the text that it asked with. */
void fixture_answer(struct fixture *fixture, size_t index);

/* Callback of echo calls; `user` is the waiter. */
void waiter_told(const Test__V1__EchoResponse *response, const struct grpc_c_outcome *outcome, void *user);

/* Starts a call of Hold with this text. */
void fixture_hold(struct fixture *fixture, char *text, int64_t deadline_ms, struct waiter *waiter,
    struct grpc_c_pending **ret_pending);

/* The same with a deadline that is to pass while the handler has the call. A machine that stands still may need a longer one, three times
 * as long each time; how many had passed too soon. The call is held[0]. */
size_t fixture_hold_briefly(struct fixture *fixture, char *text, int64_t deadline_ms, struct waiter *waiter);

/* One echo that must come back: the server is well. */
void fixture_assert_well(struct fixture *fixture);

#endif
