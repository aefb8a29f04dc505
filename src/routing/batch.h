/* A batch: the leads that one lane decides together, and the transaction that does it. Belongs to one thread. */
#ifndef ROUTING_BATCH_H
#define ROUTING_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "metrics/metrics.h"
#include "pg/pg.h"
#include "routing/engine.h"
#include "routing/request_queue.h"
#include "routing/rule_cache.h"
#include "routing/store.h"

/* One lead of a batch. */
struct batch_item {
    struct request_entry *entry;
    bool is_settled;           /* `answer` is final, or `is_held` is set */
    bool is_held;              /* somebody has the lead: to be asked again */
    enum verdict_kind verdict; /* what was to be written for it; NONE: nothing */
    struct routing_answer answer;
};

/* How a transaction ended. */
enum batch_result {
    BATCH_DONE,    /* committed, or nothing was to be written: every item is settled */
    BATCH_REPEAT,  /* rolled back by 40001 or 40P01: the same again may work */
    BATCH_BROKEN,  /* rolled back because of something in it: `error` */
    BATCH_LOST,    /* the connection broke before anything was written */
    BATCH_UNKNOWN, /* the connection broke around COMMIT: look it up with batch_look_up() */
};

/* What a transaction needs, and what is known about it afterwards. */
struct batch_transaction {
    struct pg_conn *conn;      /* Required; open */
    struct rule_cache *rules;  /* Required */
    struct metrics *metrics;   /* or NULL */
    struct arena *arena;       /* Required; texts of the items live in it */
    struct batch_item **items; /* Required; the unsettled items to decide, different leads all */
    size_t item_count;
    int64_t deadline_ns;

    uint64_t transaction_id;
    struct store_decision *decisions; /* what was sent to be written, `decision_count` of them */
    struct batch_item **decided;      /* the items they belong to */
    size_t decision_count;
    int64_t claim_ns;             /* what batch_run_due() took to lock and read */
    struct routing_phases phases; /* all but taken_ns */
    struct error error;
};

/* Runs one transaction over the items: two round trips, three when rules have to be loaded. */
enum batch_result batch_run(struct batch_transaction *transaction);

/* Runs one transaction over leads that are due in the retry queue: two round trips, as batch_run(). Their items, which nobody
 * waits for and whose deadline is `items_deadline_ns`, are made here, in the arena; none, and BATCH_DONE, when nothing was due. `due` is
 * moved on. When claiming itself fails there are no items, and `error` says why. */
enum batch_result batch_run_due(
    struct batch_transaction *transaction, struct store_due *due, int64_t items_deadline_ns);

/* True when a settled item's outcome is that of an attempt made now, rather than one that was recorded before. */
bool batch_item_is_attempt(const struct batch_item *item);

/* Records a failed attempt for the one lead whose transaction broke with `cause`: invalid data fails it for good,
 * anything else is tried again later. Returns as batch_run(). */
enum batch_result batch_record_failure(struct batch_transaction *transaction, const struct error *cause);

/* After BATCH_UNKNOWN, on another connection: BATCH_DONE when it was committed (the items are settled), BATCH_LOST
 * when it was not, BATCH_UNKNOWN when that cannot be said yet, with `error` saying why. */
enum batch_result batch_look_up(struct batch_transaction *transaction);

#endif
