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
    atomic_fetch_add(&engine->shared.counters.joined, joined);
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
    free(engine);
}

void routing_engine_statistics(struct routing_engine *engine, struct routing_statistics *ret_statistics)
{
    struct lane_counters *counters = &engine->shared.counters;

    *ret_statistics = (struct routing_statistics){
        .batches = atomic_load(&counters->deciders.batches),
        .leads = atomic_load(&counters->deciders.leads),
        .transaction_retries = atomic_load(&counters->deciders.transaction_retries),
        .batches_split = atomic_load(&counters->deciders.batches_split),
        .rule_loads = atomic_load(&counters->deciders.rule_loads),
        .held_again = atomic_load(&counters->held_again),
        .unknown_commits = atomic_load(&counters->deciders.unknown_commits),
        .joined = atomic_load(&counters->joined),
    };
}

void routing_engine_rates(struct routing_engine *engine, struct routing_rates *ret_rates)
{
    statistics_read(engine->shared.statistics, clock_now_ns(), ret_rates);
}
