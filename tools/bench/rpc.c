#include "rpc.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/memory.h"
#include "leadrouter/v1/routing.grpc.h"
#include "run.h"

enum { ROUNDS_MAX = 9 };

/* --- Through generated code --------------------------------------------------------------------------------------- */

struct calls {
    struct grpc_c_channel *channel;
    int64_t end_ns;
    atomic_uint_least64_t answered;
    atomic_uint_least64_t failed;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned under_way; /* under the lock */
};

static void handle(struct grpc_c_call *call, const Leadrouter__V1__HealthRequest *request, void *user)
{
    static const Leadrouter__V1__HealthResponse response = LEADROUTER__V1__HEALTH_RESPONSE__INIT;

    (void)request;
    (void)user;
    leadrouter__v1__routing_service__health__reply(call, &response);
}

static void answered(const Leadrouter__V1__HealthResponse *response, const struct grpc_c_outcome *outcome, void *user);

static void begin(struct calls *calls)
{
    static const Leadrouter__V1__HealthRequest request = LEADROUTER__V1__HEALTH_REQUEST__INIT;
    const struct grpc_c_call_options options = {.deadline_ms = 10000, .wait_for_ready = true};

    leadrouter__v1__routing_service__health__async(calls->channel, &request, &options, answered, calls, NULL);
}

static void answered(const Leadrouter__V1__HealthResponse *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct calls *calls = user;

    (void)outcome;
    atomic_fetch_add_explicit(response != NULL ? &calls->answered : &calls->failed, 1, memory_order_relaxed);
    if (clock_now_ns() < calls->end_ns) {
        begin(calls);
        return;
    }
    pthread_mutex_lock(&calls->lock);
    if (--calls->under_way == 0)
        pthread_cond_signal(&calls->changed);
    pthread_mutex_unlock(&calls->lock);
}

static bool measure_generated(
    unsigned in_flight, int64_t duration_ms, double *ret_per_second, struct error *reterr_error)
{
    static const struct leadrouter__v1__routing_service__handlers handlers = {.health = handle};
    const struct grpc_c_server_options options = {.threads = 1};
    struct calls calls = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .under_way = in_flight};
    struct grpc_c_server *server = grpc_c_server_new(&options);
    char target[64] = "";
    int port = 0;
    bool ok = false;

    leadrouter__v1__routing_service__add(server, &handlers, NULL);
    if (!grpc_c_server_listen(server, "127.0.0.1:0", &port, reterr_error) || !grpc_c_server_start(server, reterr_error))
        goto cleanup;
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    if (!grpc_c_channel_new(target, NULL, &calls.channel, reterr_error))
        goto cleanup;
    int64_t start_ns = clock_now_ns();
    calls.end_ns = clock_after_ms(duration_ms);
    for (unsigned i = 0; i < in_flight; i++)
        begin(&calls);
    pthread_mutex_lock(&calls.lock);
    while (calls.under_way > 0)
        pthread_cond_wait(&calls.changed, &calls.lock);
    pthread_mutex_unlock(&calls.lock);
    *ret_per_second = (double)atomic_load(&calls.answered) * 1e9 / (double)(clock_now_ns() - start_ns);
    ok = atomic_load(&calls.failed) == 0 || error_set(reterr_error, ERROR_INTERNAL, "calls have failed");
cleanup:
    grpc_c_channel_free(calls.channel);
    grpc_c_server_free(server);
    return ok;
}

/* --- Both --------------------------------------------------------------------------------------------------------- */

bool rpc_run(const struct bench_options *options, struct rpc_report *ret_report, struct error *reterr_error)
{
    double generated[ROUNDS_MAX];
    double by_hand[ROUNDS_MAX];
    int64_t duration_ms = options->duration_s * 1000;
    unsigned in_flight = (unsigned)options->in_flight;

    for (int64_t i = 0; i < options->rounds; i++)
        if (!measure_generated(in_flight, duration_ms, &generated[i], reterr_error) ||
            !rpc_measure_by_hand(in_flight, duration_ms, &by_hand[i], reterr_error))
            return false;
    *ret_report = (struct rpc_report){.in_flight = options->in_flight,
        .rounds = options->rounds,
        .generated_per_second = run_median(generated, (size_t)options->rounds),
        .by_hand_per_second = run_median(by_hand, (size_t)options->rounds)};
    return true;
}

void rpc_print(FILE *output, const struct rpc_report *report, bool is_json)
{
    double ratio = report->generated_per_second / report->by_hand_per_second;

    if (is_json)
        fprintf(output,
            "{\"in_flight\": %" PRId64 ", \"rounds\": %" PRId64
            ", \"generated_per_second\": %.0f, \"by_hand_per_second\": %.0f, \"generated_to_by_hand\": %.3f}\n",
            report->in_flight, report->rounds, report->generated_per_second, report->by_hand_per_second, ratio);
    else
        fprintf(output,
            "empty unary calls, %" PRId64 " in flight, median of %" PRId64
            "\n\ngenerated code %9.0f calls/s\nby hand        %9.0f calls/s\nratio          %9.2f\n",
            report->in_flight, report->rounds, report->generated_per_second, report->by_hand_per_second, ratio);
}
