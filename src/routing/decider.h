/* What decides leads: one connection, and what is done about everything that can go wrong with a transaction on it.
 * Belongs to one thread at a time; the lanes of callers have one each, and so has each struct routing_retries. */
#ifndef ROUTING_DECIDER_H
#define ROUTING_DECIDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/random.h"
#include "metrics/metrics.h"
#include "pg/pg.h"
#include "routing/batch.h"
#include "routing/rule_cache.h"

enum { DECIDER_TRANSACTION_MS = 10000 /* above the statements' own limits, which end them first */ };

struct decider {
    /* set by decider_init() */
    struct pg_conn *conn;
    struct rule_cache *rules; /* borrowed */
    struct metrics *metrics;  /* borrowed */
    atomic_uint *connected;   /* deciders of this kind with a connection; borrowed, or NULL: not counted */
    struct arena *arena;      /* texts of the leads under way; the owner clears it between batches */

    /* its own */
    struct pg_backoff backoff;
    int64_t next_connect_ns; /* monotonic; no attempt before */
    bool is_counted;         /* in *connected */
    struct random_sequence jitter;
};

/* Makes a decider that is not connected; all pointers outlive it. */
void decider_init(struct decider *decider, const struct pg_config *database, struct rule_cache *rules,
    struct metrics *metrics, atomic_uint *connected);
void decider_release(struct decider *decider);

/* True when there is a connection; tries to make one unless the last try was a moment ago. */
bool decider_connect(struct decider *decider);

/* Decides different leads: as one transaction; divided where one of them breaks it; again where it met another. Every item is
 * settled afterwards, some of them perhaps as held. */
void decider_decide(struct decider *decider, struct batch_item **items, size_t count);

/* Goes on with leads whose transaction was run by the caller and ended with `result`; as decider_decide(). */
void decider_go_on(struct decider *decider, struct batch_transaction *transaction, enum batch_result result);

/* Settles an item, or all that are not yet, with a failure. */
void decider_fail_item(struct batch_item *item, enum error_code code, const char *text);
void decider_fail_items(struct batch_item **items, size_t count, enum error_code code, const char *text);

#endif
