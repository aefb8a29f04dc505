/* A lane: one thread with one connection that takes everything waiting and decides it in one transaction after the
 * other. */
#ifndef ROUTING_LANE_H
#define ROUTING_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "pg/pg.h"
#include "routing/decider.h"
#include "routing/request_queue.h"
#include "routing/rule_cache.h"
#include "routing/statistics.h"

/* What the lanes of one engine share. Outlives them. */
struct lane_shared {
    const struct pg_config *database;
    struct request_queue *queue;
    struct rule_cache *rules;
    size_t batch_leads_max;
    struct metrics *metrics;
    struct statistics *statistics;
    routing_observer *observer; /* NULL: none */
    void *observer_user;
    atomic_uint connected; /* lanes with a connection */
    atomic_int_fast64_t
        drain_until_ns; /* monotonic; after it everything is answered ERROR_UNAVAILABLE; CLOCK_NEVER while serving */
};

/* What the engine shares with those who decide in its name. */
struct lane_shared *routing_engine_shared(struct routing_engine *engine);

struct lane;

/* Starts a lane. Errors: ERROR_SYSTEM when the thread cannot be made. */
bool lane_new(struct lane_shared *shared, struct lane **ret_lane, struct error *reterr_error);

/* Waits for the lane to end, which it does once the queue is closed and drained; releases it. NULL is fine. */
void lane_free(struct lane *lane);

#endif
