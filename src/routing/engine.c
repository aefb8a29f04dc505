#include "routing/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "routing/lane.h"

enum {
    LANES_DEFAULT = 2,
    BATCH_LEADS_DEFAULT = 256,
    WAITING_DEFAULT = 10000,
    RULE_WORKSPACES_MAX = 10000,
};

struct routing_engine {
    struct lane_shared shared;
    struct metrics *own_metrics; /* or NULL */
    struct lane **lanes;
    unsigned lane_count;
};

struct lane_shared *routing_engine_shared(struct routing_engine *engine)
{
    return &engine->shared;
}

static unsigned or_default(unsigned value, unsigned otherwise)
{
    return value == 0 ? otherwise : value;
}

bool routing_engine_new(
    const struct routing_engine_options *options, struct routing_engine **ret_engine, struct error *reterr_error)
{
    struct routing_engine *engine = memory_new(sizeof(*engine));
    unsigned lane_count = or_default(options->lanes, LANES_DEFAULT);
    bool ok = false;

    assert(options->database != NULL);
    engine->shared.database = options->database;
    engine->shared.queue = request_queue_new(or_default(options->waiting_max, WAITING_DEFAULT));
    engine->shared.rules = rule_cache_new(RULE_WORKSPACES_MAX);
    engine->shared.statistics = statistics_new(clock_now_ns());
    engine->shared.batch_leads_max = or_default(options->batch_leads_max, BATCH_LEADS_DEFAULT);
    if (options->metrics == NULL)
        engine->own_metrics = metrics_new(NULL, 0);
    engine->shared.metrics = options->metrics == NULL ? engine->own_metrics : options->metrics;
    metrics_set(engine->shared.metrics, METRIC_LANES, 0, 0, lane_count);
    engine->shared.observer = options->observer;
    engine->shared.observer_user = options->observer_user;
    atomic_store(&engine->shared.drain_until_ns, CLOCK_NEVER);
    engine->lanes = memory_new_array(lane_count, sizeof(struct lane *));
    while (engine->lane_count < lane_count) {
        if (!lane_new(&engine->shared, &engine->lanes[engine->lane_count], reterr_error))
            goto cleanup;
        engine->lane_count++;
    }
    *ret_engine = engine;
    engine = NULL;
    ok = true;
cleanup:
    routing_engine_free(engine, 0);
    return ok;
}

bool routing_engine_submit_many(
    struct routing_engine *engine, struct routing_ticket *const *tickets, size_t count, struct error *reterr_error)
{
    size_t joined = 0;
    int64_t now_ns = clock_now_ns();

    for (size_t i = 0; i < count; i++) {
        const struct routing_request *request = &tickets[i]->request;
        assert(request->max_attempts >= 1 && request->max_attempts <= ROUTING_MAX_ATTEMPTS_LIMIT);
        assert(tickets[i]->callback != NULL);
        (void)request;
        tickets[i]->submitted_ns = now_ns;
    }
    if (!request_queue_add(engine->shared.queue, tickets, count, &joined, reterr_error))
        return false;
    if (joined > 0)
        metrics_add(engine->shared.metrics, METRIC_JOINED, 0, 0, (int64_t)joined);
    return true;
}

bool routing_engine_submit(struct routing_engine *engine, struct routing_ticket *ticket, struct error *reterr_error)
{
    return routing_engine_submit_many(engine, &ticket, 1, reterr_error);
}

bool routing_engine_is_connected(struct routing_engine *engine)
{
    return atomic_load(&engine->shared.connected) > 0;
}

size_t routing_engine_load(struct routing_engine *engine)
{
    return request_queue_count(engine->shared.queue);
}

void routing_engine_free(struct routing_engine *engine, int64_t drain_ms)
{
    if (engine == NULL)
        return;
    atomic_store(&engine->shared.drain_until_ns, clock_after_ms(drain_ms));
    request_queue_close(engine->shared.queue);
    for (unsigned i = 0; i < engine->lane_count; i++)
        lane_free(engine->lanes[i]);
    free(engine->lanes);
    request_queue_free(engine->shared.queue);
    rule_cache_free(engine->shared.rules);
    statistics_free(engine->shared.statistics);
    metrics_free(engine->own_metrics);
    free(engine);
}

void routing_engine_statistics(struct routing_engine *engine, struct routing_statistics *ret_statistics)
{
    struct metrics *metrics = engine->shared.metrics;

    *ret_statistics = (struct routing_statistics){
        .batches = (uint64_t)metrics_observations(metrics, METRIC_BATCH_LEADS, METRICS_ALL, 0),
        .leads = (uint64_t)metrics_sum(metrics, METRIC_BATCH_LEADS, METRICS_ALL, 0),
        .transaction_retries = (uint64_t)metrics_sum(metrics, METRIC_TRANSACTION_REPEATS, 0, 0),
        .batches_split = (uint64_t)metrics_sum(metrics, METRIC_BATCHES_SPLIT, 0, 0),
        .rule_loads = (uint64_t)metrics_observations(metrics, METRIC_RULES_COMPILATION, 0, 0),
        .held_again = (uint64_t)metrics_sum(metrics, METRIC_HELD_AGAIN, 0, 0),
        .unknown_commits = (uint64_t)metrics_sum(metrics, METRIC_COMMITS_UNKNOWN, 0, 0),
        .unknown_committed = (uint64_t)metrics_sum(metrics, METRIC_COMMITS_RESOLVED, METRICS_RESOLUTION_COMMITTED, 0),
        .unknown_not_committed =
            (uint64_t)metrics_sum(metrics, METRIC_COMMITS_RESOLVED, METRICS_RESOLUTION_NOT_COMMITTED, 0),
        .joined = (uint64_t)metrics_sum(metrics, METRIC_JOINED, 0, 0),
    };
}

void routing_engine_add_call(struct routing_engine *engine, bool has_failed)
{
    statistics_add_call(engine->shared.statistics, clock_now_ns(), has_failed);
}

void routing_engine_rates(struct routing_engine *engine, struct routing_rates *ret_rates)
{
    statistics_read(engine->shared.statistics, clock_now_ns(), ret_rates);
}
