#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"

const struct grpc_c_call_options patient = {.deadline_ms = 25000, .wait_for_ready = true};

/* --- Handlers ----------------------------------------------------------------------------------------------------- */

static void handle_echo(struct grpc_c_call *call, const Test__V1__EchoRequest *request, void *user)
{
    struct fixture *fixture = user;
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;

    response.text = request->text;
    response.payload = request->payload;
    response.deadline_ms = clock_left_ms(grpc_c_call_deadline_ns(call));
    pthread_mutex_lock(&fixture->lock);
    fixture->echo_count++;
    fixture->echo_deadline_ms = response.deadline_ms;
    pthread_mutex_unlock(&fixture->lock);
    test__v1__echo_service__echo__reply(call, &response);
}

static void count_cancel(void *user)
{
    struct fixture *fixture = user;

    pthread_mutex_lock(&fixture->lock);
    fixture->cancel_count++;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static void handle_hold(struct grpc_c_call *call, const Test__V1__EchoRequest *request, void *user)
{
    struct fixture *fixture = user;

    grpc_c_call_on_cancel(call, count_cancel, fixture);
    pthread_mutex_lock(&fixture->lock);
    assert_true(fixture->held_count < HELD_MAX);
    fixture->held[fixture->held_count++] = (struct held_call){.call = call, .request = request};
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static void handle_fail(struct grpc_c_call *call, const Test__V1__FailRequest *request, void *user)
{
    (void)user;
    grpc_c_call_fail(call, (enum grpc_c_status)request->status, request->message);
}

/* "x-text" goes back as initial metadata, "x-data-bin" as trailing; the text says who called what, and the
 * peer's names go back as trailing "x-peer-name". */
static void handle_reflect(struct grpc_c_call *call, const Test__V1__EchoRequest *request, void *user)
{
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;
    size_t size = 0;
    const char *text = grpc_c_call_metadata(call, "x-text", &size);
    size_t data_size = 0;
    const char *data = grpc_c_call_metadata(call, "x-data-bin", &data_size);
    const char *const *names = NULL;
    size_t name_count = grpc_c_call_peer_names(call, &names);
    char peer[GRPC_C_PEER_SIZE];

    (void)user;
    (void)request;
    if (text != NULL)
        grpc_c_call_add_initial_metadata(call, "x-text-back", text, size);
    if (data != NULL)
        grpc_c_call_add_trailing_metadata(call, "x-data-back-bin", data, data_size);
    for (size_t i = 0; i < name_count; i++)
        grpc_c_call_add_trailing_metadata(call, "x-peer-name", names[i], strlen(names[i]));
    if (grpc_c_call_metadata(call, "x-absent", NULL) == NULL)
        grpc_c_call_add_trailing_metadata(call, "x-absent", "yes", 3);
    response.text =
        arena_format(grpc_c_call_arena(call), "%s %s", grpc_c_call_method(call), grpc_c_call_peer(call, peer));
    test__v1__echo_service__reflect__reply(call, &response);
}

static const struct test__v1__echo_service__handlers handlers = {
    .echo = handle_echo, .hold = handle_hold, .fail = handle_fail, .reflect = handle_reflect};

static void note_refusal(const char *method_path, enum grpc_c_status status, const char *message, void *user)
{
    struct fixture *fixture = user;

    pthread_mutex_lock(&fixture->lock);
    fixture->refusal_count++;
    snprintf(fixture->refused_path, TEXT_SIZE, "%s", method_path);
    fixture->refused_status = status;
    snprintf(fixture->refused_message, TEXT_SIZE, "%s", message);
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

void fixture_serve(struct fixture *fixture, const struct grpc_c_server_options *options, const char *address)
{
    struct error error = {0};

    fixture->server = grpc_c_server_new(options);
    test__v1__echo_service__add(fixture->server, &handlers, fixture);
    grpc_c_server_observe_refusals(fixture->server, note_refusal, fixture);
    bool ok = fixture->tls == NULL
                  ? grpc_c_server_listen(fixture->server, address, &fixture->port, &error)
                  : grpc_c_server_listen_tls(fixture->server, address, fixture->tls, &fixture->port, &error);
    if (!ok || !grpc_c_server_start(fixture->server, &error))
        fail_msg("%s", error.text);
}

struct fixture *fixture_new(const struct grpc_c_server_options *options)
{
    return fixture_new_tls(options, NULL, NULL);
}

struct fixture *fixture_new_tls(const struct grpc_c_server_options *options, const struct grpc_c_server_tls *server_tls,
    const struct grpc_c_channel_tls *channel_tls)
{
    const struct grpc_c_channel_options channel_options = {.tls = channel_tls};
    struct fixture *fixture = memory_new(sizeof(*fixture));
    struct error error = {0};

    fixture->tls = server_tls;
    pthread_mutex_init(&fixture->lock, NULL);
    pthread_cond_init(&fixture->changed, NULL);
    fixture_serve(fixture, options, "127.0.0.1:0");
    snprintf(fixture->target, sizeof(fixture->target), "127.0.0.1:%d", fixture->port);
    assert_true(grpc_c_channel_new(fixture->target, &channel_options, &fixture->channel, &error));
    return fixture;
}

void fixture_free(struct fixture *fixture)
{
    grpc_c_channel_free(fixture->channel);
    grpc_c_server_free(fixture->server);
    pthread_cond_destroy(&fixture->changed);
    pthread_mutex_destroy(&fixture->lock);
    free(fixture);
}

void wait_for(pthread_mutex_t *lock, pthread_cond_t *changed, const size_t *count, size_t value)
{
    struct timespec deadline = {0};
    bool is_late = false;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(lock);
    while (*count < value && !is_late)
        is_late = pthread_cond_timedwait(changed, lock, &deadline) == ETIMEDOUT;
    is_late = *count < value;
    pthread_mutex_unlock(lock);
    assert_false(is_late);
}

void fixture_wait_held(struct fixture *fixture, size_t count)
{
    wait_for(&fixture->lock, &fixture->changed, &fixture->held_count, count);
}

void fixture_wait_cancelled(struct fixture *fixture, size_t count)
{
    wait_for(&fixture->lock, &fixture->changed, &fixture->cancel_count, count);
}

void fixture_wait_refused(struct fixture *fixture, size_t count)
{
    wait_for(&fixture->lock, &fixture->changed, &fixture->refusal_count, count);
}

size_t fixture_refusal_count(struct fixture *fixture)
{
    pthread_mutex_lock(&fixture->lock);
    size_t count = fixture->refusal_count;
    pthread_mutex_unlock(&fixture->lock);
    return count;
}

void waiter_wait(struct waiter *waiter, size_t count)
{
    wait_for(&waiter->lock, &waiter->changed, &waiter->count, count);
}

void fixture_wait_idle(struct fixture *fixture)
{
    int64_t deadline_ns = clock_after_ms(WAIT_S * 1000);

    while (grpc_c_server_call_count(fixture->server) > 0) {
        assert_true(clock_now_ns() < deadline_ns);
        sched_yield();
    }
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

void fixture_answer(struct fixture *fixture, size_t index)
{
    Test__V1__EchoResponse response = TEST__V1__ECHO_RESPONSE__INIT;

    pthread_mutex_lock(&fixture->lock);
    struct held_call held = fixture->held[index];
    fixture->held[index].call = NULL;
    pthread_mutex_unlock(&fixture->lock);
    assert_non_null(held.call);
    response.text = held.request->text;
    test__v1__echo_service__hold__reply(held.call, &response);
}

void waiter_told(const Test__V1__EchoResponse *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct waiter *waiter = user;

    pthread_mutex_lock(&waiter->lock);
    waiter->count++;
    waiter->ok_count += outcome->status == GRPC_C_OK;
    waiter->refused_count += outcome->status == GRPC_C_UNAVAILABLE || outcome->status == GRPC_C_CANCELLED;
    waiter->status = outcome->status;
    snprintf(waiter->text, TEXT_SIZE, "%s", response != NULL ? response->text : outcome->message);
    pthread_cond_broadcast(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

void fixture_hold(struct fixture *fixture, char *text, int64_t deadline_ms, struct waiter *waiter,
    struct grpc_c_pending **ret_pending)
{
    const struct grpc_c_call_options options = {.deadline_ms = deadline_ms, .wait_for_ready = true};
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;

    request.text = text;
    test__v1__echo_service__hold__async(fixture->channel, &request, &options, waiter_told, waiter, ret_pending);
}

size_t fixture_hold_briefly(struct fixture *fixture, char *text, int64_t deadline_ms, struct waiter *waiter)
{
    enum { TRIES = 3 };

    for (size_t passed = 0; passed < TRIES; passed++, deadline_ms *= 3) {
        bool has_ended = false;
        fixture_hold(fixture, text, deadline_ms, waiter, NULL);
        while (!has_ended) {
            pthread_mutex_lock(&waiter->lock);
            has_ended = waiter->count > passed;
            pthread_mutex_unlock(&waiter->lock);
            pthread_mutex_lock(&fixture->lock);
            bool is_held = fixture->held_count > 0;
            pthread_mutex_unlock(&fixture->lock);
            if (is_held)
                return passed;
            sched_yield();
        }
    }
    fail_msg("no call came before its deadline");
    return TRIES;
}

void fixture_assert_well(struct fixture *fixture)
{
    Test__V1__EchoRequest request = TEST__V1__ECHO_REQUEST__INIT;
    Test__V1__EchoResponse *response = NULL;
    char text[] = "well";

    request.text = text;
    assert_int_equal(test__v1__echo_service__echo(fixture->channel, &request, &patient, &response, NULL), GRPC_C_OK);
    assert_string_equal(response->text, "well");
    test__v1__echo_response__free_unpacked(response, NULL);
}
