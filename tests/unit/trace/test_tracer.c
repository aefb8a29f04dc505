/* Goal: spans arrive as they were given, in batches; a collector that is away, hangs or refuses costs spans, which are counted, and never
 * time, room or the end; who is sampled is a matter of the caller's word, within a limit, and of chance. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "grpc_c/server.h"
#include "otlp.grpc.h"
#include "trace/tracer.h"

#define OTLP(type) Opentelemetry__Proto__Collector__Trace__V1__##type

enum { PATIENCE_MS = 30000, HELD_MAX = 64 };

/* What the collector does with a request. */
enum manner { TAKES, REFUSES, HANGS, IS_AWAY_ONCE, TAKES_ALL_BUT_TWO };

static struct collector {
    struct grpc_c_server *server;
    char address[32];
    _Atomic enum manner manner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct arrived {
        size_t requests, spans, largest;
        char names[4][32]; /* of the first spans */
        uint64_t start_ns, end_ns;
        char attributes[256]; /* of the first */
        char source[128];
    } arrived; /* under the lock, as what is held */
    struct grpc_c_call *held[HELD_MAX];
    size_t held_count;
} collector = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* A copy, taken under the lock. */
static struct arrived what_arrived(void)
{
    pthread_mutex_lock(&collector.lock);
    struct arrived arrived = collector.arrived;
    pthread_mutex_unlock(&collector.lock);
    return arrived;
}

static void keep_first(const OTLP(Span) * span)
{
    struct arrived *arrived = &collector.arrived;
    size_t used = 0;

    arrived->start_ns = span->start_time_unix_nano;
    arrived->end_ns = span->end_time_unix_nano;
    for (size_t i = 0; i < span->n_attributes; i++) {
        const OTLP(KeyValue) *pair = span->attributes[i];
        char number[32];
        bool is_number =
            pair->value->value_case == OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__ANY_VALUE__VALUE_INT_VALUE;
        snprintf(number, sizeof(number), "%lld", (long long)pair->value->int_value);
        used += (size_t)snprintf(arrived->attributes + used, sizeof(arrived->attributes) - used, "%s=%s;", pair->key,
            is_number ? number : pair->value->string_value);
    }
}

static void handle_export(struct grpc_c_call *call, const OTLP(ExportTraceServiceRequest) * request, void *user)
{
    OTLP(ExportTraceServiceResponse)
    response = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_RESPONSE__INIT;
    OTLP(ExportTracePartialSuccess)
    partial = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_PARTIAL_SUCCESS__INIT;
    const OTLP(ResourceSpans) *of_resource = request->resource_spans[0];
    const OTLP(ScopeSpans) *of_scope = of_resource->scope_spans[0];
    struct arrived *arrived = &collector.arrived;
    enum manner manner = atomic_load(&collector.manner);

    (void)user;
    pthread_mutex_lock(&collector.lock);
    arrived->requests++;
    if (arrived->spans == 0)
        keep_first(of_scope->spans[0]);
    for (size_t i = 0; i < of_scope->n_spans && arrived->spans + i < COUNT_OF(arrived->names); i++)
        snprintf(arrived->names[arrived->spans + i], sizeof(arrived->names[0]), "%s", of_scope->spans[i]->name);
    snprintf(arrived->source, sizeof(arrived->source), "%s=%s", of_resource->resource->attributes[0]->key,
        of_resource->resource->attributes[0]->value->string_value);
    if (manner == TAKES || manner == TAKES_ALL_BUT_TWO)
        arrived->spans += of_scope->n_spans;
    if (of_scope->n_spans > arrived->largest)
        arrived->largest = of_scope->n_spans;
    if (manner == HANGS && collector.held_count < HELD_MAX)
        collector.held[collector.held_count++] = call;
    pthread_cond_broadcast(&collector.changed);
    pthread_mutex_unlock(&collector.lock);
    if (manner == HANGS)
        return;
    if (manner == REFUSES) {
        grpc_c_call_fail(call, GRPC_C_INVALID_ARGUMENT, "no");
        return;
    }
    if (manner == IS_AWAY_ONCE) {
        atomic_store(&collector.manner, TAKES);
        grpc_c_call_fail(call, GRPC_C_UNAVAILABLE, "not now");
        return;
    }
    partial.rejected_spans = 2;
    if (manner == TAKES_ALL_BUT_TWO)
        response.partial_success = &partial;
    opentelemetry__proto__collector__trace__v1__trace_service__export__reply(call, &response);
}

static int start_collector(void **state)
{
    static const struct opentelemetry__proto__collector__trace__v1__trace_service__handlers handlers = {
        .export_ = handle_export};
    int port = 0;

    (void)state;
    collector.arrived = (struct arrived){0};
    collector.held_count = 0;
    atomic_store(&collector.manner, TAKES);
    collector.server = grpc_c_server_new(&(struct grpc_c_server_options){.threads = 1});
    opentelemetry__proto__collector__trace__v1__trace_service__add(collector.server, &handlers, NULL);
    if (!grpc_c_server_listen(collector.server, "127.0.0.1:0", &port, NULL) ||
        !grpc_c_server_start(collector.server, NULL))
        return -1;
    snprintf(collector.address, sizeof(collector.address), "127.0.0.1:%d", port);
    return 0;
}

static int stop_collector(void **state)
{
    (void)state;
    pthread_mutex_lock(&collector.lock);
    size_t count = collector.held_count;
    collector.held_count = 0;
    pthread_mutex_unlock(&collector.lock);
    for (size_t i = 0; i < count; i++)
        grpc_c_call_fail(collector.held[i], GRPC_C_UNAVAILABLE, "too late");
    grpc_c_server_free(collector.server);
    return 0;
}

/* Waits until `*count`, of what has arrived, is `value` or more; what it is then. */
static size_t wait_for(const size_t *count, size_t value)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&collector.lock);
    while (*count < value)
        if (pthread_cond_timedwait(&collector.changed, &collector.lock, &until) != 0)
            break;
    size_t got = *count;
    pthread_mutex_unlock(&collector.lock);
    return got;
}

static void wait_for_spans(size_t count)
{
    assert_int_equal(wait_for(&collector.arrived.spans, count), count);
}

static atomic_uint_fast64_t told_failed, told_no_room;

static void observe(const struct tracer_trouble *trouble, void *user)
{
    (void)user;
    atomic_fetch_add(trouble->code == NULL ? &told_no_room : &told_failed, trouble->spans_dropped);
}

static struct tracer *new_tracer(struct tracer_options options)
{
    struct tracer *tracer = NULL;
    struct error error = {0};

    atomic_store(&told_failed, 0);
    atomic_store(&told_no_room, 0);
    if (options.endpoint == NULL)
        options.endpoint = collector.address;
    if (options.timeout_ms == 0)
        options.timeout_ms = PATIENCE_MS; /* what takes longer is sent again, and would be counted twice */
    options.service_version = "1.2.3";
    options.observer = observe;
    if (!tracer_new(&options, &tracer, &error))
        fail_msg("%s", error.text);
    return tracer;
}

static void add_spans(struct tracer *tracer, size_t count)
{
    struct trace_context context = {.is_sampled = true};
    static const char *const names[] = {"first", "second", "third", "fourth"};

    memset(context.trace_id, 7, sizeof(context.trace_id));
    memset(context.span_id, 8, sizeof(context.span_id));
    for (size_t i = 0; i < count; i++) {
        int64_t now_ns = clock_now_ns();
        struct trace_span span = trace_span_within(&context, context.span_id, names[i % 4], now_ns - 5000, now_ns);
        struct uuid id = {{1}};
        trace_span_add_number(&span, "number", -42);
        trace_span_add_text(&span, "text", "a \"text\"");
        trace_span_add_text(&span, "none", NULL);
        trace_span_add_id(&span, "id", &id);
        trace_span_add_id(&span, "no id", &uuid_nil);
        tracer_add(tracer, &span);
    }
}

static struct tracer_statistics statistics_of(struct tracer *tracer)
{
    struct tracer_statistics statistics;

    tracer_statistics(tracer, &statistics);
    return statistics;
}

/* Ends the tracer; what was exported by then, and within which time. */
static int64_t end_within(struct tracer *tracer, int64_t flush_ms, int64_t most_ms)
{
    int64_t since_ns = clock_now_ns();

    tracer_end(tracer, flush_ms);
    int64_t took_ms = (clock_now_ns() - since_ns) / 1000000;
    assert_in_range(took_ms, 0, most_ms);
    tracer_free(tracer);
    return took_ms;
}

static void test_spans_arrive_as_they_were(void **state)
{
    struct tracer *tracer = new_tracer((struct tracer_options){.interval_ms = 20});
    struct timespec now;

    (void)state;
    add_spans(tracer, 4);
    wait_for_spans(4);
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    struct arrived arrived = what_arrived();
    assert_int_equal(arrived.end_ns - arrived.start_ns, 5000);
    assert_true(arrived.end_ns <= now_ns + 1000000000 && now_ns - arrived.end_ns < 60000000000);
    assert_string_equal(arrived.attributes, "number=-42;text=a \"text\";id=01000000-0000-0000-0000-000000000000;");
    assert_string_equal(arrived.source, "service.name=leadrouterd");
    assert_string_equal(arrived.names[0], "first");
    assert_string_equal(arrived.names[3], "fourth");
    end_within(tracer, PATIENCE_MS, PATIENCE_MS);
}

static void test_batches_and_the_flush(void **state)
{
    struct tracer *tracer = new_tracer((struct tracer_options){.batch_spans = 10, .interval_ms = 3600000});

    (void)state;
    add_spans(tracer, 25);
    wait_for_spans(20); /* two are full; the rest waits for company, or for the end */
    assert_int_equal(statistics_of(tracer).dropped, 0);
    end_within(tracer, PATIENCE_MS, PATIENCE_MS);
    assert_int_equal(what_arrived().spans, 25);
    assert_int_equal(what_arrived().largest, 10);
}

static void test_a_collector_that_hangs(void **state)
{
    const size_t count = 100000;

    (void)state;
    atomic_store(&collector.manner, HANGS);
    struct tracer *tracer = new_tracer(
        (struct tracer_options){.batch_spans = 16, .queue_spans = 64, .interval_ms = 1, .timeout_ms = 3600000});
    int64_t since_ns = clock_now_ns();
    add_spans(tracer, count);
    assert_true(clock_now_ns() - since_ns < PATIENCE_MS * INT64_C(1000000)); /* its time would be an hour */
    assert_in_range(statistics_of(tracer).dropped, count - 64 - 16 * 2, count);
    end_within(tracer, 50, PATIENCE_MS);
    assert_int_equal(atomic_load(&told_no_room) + atomic_load(&told_failed), count);
}

static void test_a_collector_that_is_away(void **state)
{
    (void)state;
    struct tracer *tracer =
        new_tracer((struct tracer_options){.endpoint = "127.0.0.1:1", .interval_ms = 1, .timeout_ms = 100});
    add_spans(tracer, 100);
    end_within(tracer, 200, PATIENCE_MS);
    assert_int_equal(atomic_load(&told_no_room) + atomic_load(&told_failed), 100);
}

/* It is not asked again: the same would be refused. */
static void test_a_collector_that_refuses(void **state)
{
    (void)state;
    atomic_store(&collector.manner, REFUSES);
    struct tracer *tracer = new_tracer((struct tracer_options){.interval_ms = 3600000});
    add_spans(tracer, 8);
    end_within(tracer, PATIENCE_MS, PATIENCE_MS);
    assert_int_equal(what_arrived().requests, 1);
    assert_int_equal(atomic_load(&told_failed), 8);
}

static void test_a_collector_that_takes_a_part(void **state)
{
    (void)state;
    atomic_store(&collector.manner, TAKES_ALL_BUT_TWO);
    struct tracer *tracer = new_tracer((struct tracer_options){.interval_ms = 3600000});
    add_spans(tracer, 8);
    end_within(tracer, PATIENCE_MS, PATIENCE_MS);
    assert_int_equal(atomic_load(&told_failed), 2);
}

/* What is sent again after the collector could not take it arrives. */
static void test_a_collector_that_comes_back(void **state)
{
    (void)state;
    atomic_store(&collector.manner, IS_AWAY_ONCE);
    struct tracer *tracer = new_tracer((struct tracer_options){.interval_ms = 3600000, .timeout_ms = PATIENCE_MS});
    add_spans(tracer, 8);
    end_within(tracer, PATIENCE_MS, PATIENCE_MS);
    assert_int_equal(what_arrived().requests, 2);
    assert_int_equal(what_arrived().spans, 8);
    assert_int_equal(atomic_load(&told_failed), 0);
}

/* Nor is it waited for longer than its time: the same is sent again. */
static void test_a_collector_that_hangs_once(void **state)
{
    (void)state;
    for (unsigned timeout_ms = 1500; timeout_ms == 1500 || atomic_load(&told_failed) > 0; timeout_ms *= 3) {
        assert_true(timeout_ms < PATIENCE_MS); /* a busy machine may need more for all that comes after the first */
        atomic_store(&collector.manner, HANGS);
        const size_t requests = what_arrived().requests, spans = what_arrived().spans;
        struct tracer *tracer = new_tracer((struct tracer_options){.interval_ms = 1, .timeout_ms = timeout_ms});
        add_spans(tracer, 8);
        assert_true(wait_for(&collector.arrived.requests, requests + 1) > requests);
        atomic_store(&collector.manner, TAKES);
        end_within(tracer, PATIENCE_MS, 2 * PATIENCE_MS);
        assert_true(
            atomic_load(&told_failed) > 0 || what_arrived().spans >= spans + 8); /* more: an answer came too late */
    }
}

/* --- Which calls -------------------------------------------------------------------------------------------------- */

enum { CALLS = 4000 };

static size_t count_sampled(struct tracer *tracer, bool has_parent, bool is_parent_sampled)
{
    size_t sampled = 0;

    for (size_t i = 0; i < CALLS; i++) {
        struct trace_context context = {.is_parent_sampled = is_parent_sampled};
        if (has_parent)
            context.trace_id[0] = context.parent_id[0] = 1;
        struct trace_context before = context;
        tracer_decide(tracer, &context);
        sampled += context.is_sampled;
        assert_true(!has_parent || memcmp(before.trace_id, context.trace_id, sizeof(before.trace_id)) == 0);
        assert_int_equal(trace_context_is_set(&context), has_parent || context.is_sampled);
        assert_int_equal(memcmp(context.span_id, before.span_id, sizeof(before.span_id)) != 0, context.is_sampled);
    }
    return sampled;
}

static void test_who_is_sampled(void **state)
{
    static const struct {
        unsigned per_mille, parents;
        bool has_parent, is_parent_sampled;
        size_t least, most;
    } cases[] = {
        {0, 0, false, false, 0, 0},
        {1000, 0, false, false, CALLS, CALLS},
        {250, 0, false, false, CALLS / 5, CALLS * 3 / 10},
        {0, 1000000, true, true, CALLS, CALLS},
        {1000, 1000000, true, false, 0, 0}, /* the caller has decided */
        {0, 10, true, true, 10, 10 * 30},   /* some seconds at most */
        {250, 10, true, true, CALLS / 5, CALLS * 3 / 10 + 300},
        {0, 0, true, true, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tracer *tracer = new_tracer(
            (struct tracer_options){.sample_per_mille = cases[i].per_mille, .parents_per_second = cases[i].parents});
        size_t sampled = count_sampled(tracer, cases[i].has_parent, cases[i].is_parent_sampled);
        if (sampled < cases[i].least || sampled > cases[i].most)
            fail_msg("case %zu: %zu of %d", i, sampled, CALLS);
        tracer_free(tracer);
    }
    struct trace_context context = {.is_parent_sampled = true};
    tracer_decide(NULL, &context);
    assert_false(context.is_sampled);
}

static void test_bad_endpoints(void **state)
{
    static const char *const endpoints[] = {
        "", "collector", "192.0.2.1:4317", "127.0.0.1:99999", "http://127.0.0.1:4317"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(endpoints); i++) {
        struct tracer_options options = {.endpoint = endpoints[i], .service_version = "1"};
        struct tracer *tracer = NULL;
        struct error error = {0};
        assert_false(tracer_new(&options, &tracer, &error));
        assert_int_equal(error.code, ERROR_INVALID);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start_collector, stop_collector)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spans_arrive_as_they_were),
        TEST(test_batches_and_the_flush),
        TEST(test_a_collector_that_hangs),
        TEST(test_a_collector_that_is_away),
        TEST(test_a_collector_that_refuses),
        TEST(test_a_collector_that_takes_a_part),
        TEST(test_a_collector_that_comes_back),
        TEST(test_a_collector_that_hangs_once),
        TEST(test_who_is_sampled),
        cmocka_unit_test(test_bad_endpoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
