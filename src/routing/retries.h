/* Retries: leads whose rows in the retry queue are due, claimed and decided in one transaction, as callers' leads are
 * (src/routing/README.md). Who runs them, when, and how many at a time is for src/jobs and ProcessRetries to say. */
#ifndef ROUTING_RETRIES_H
#define ROUTING_RETRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "routing/engine.h"

/* One connection that decides leads whose retries are due. Belongs to one thread at a time. */
struct routing_retries;

/* Makes one that connects when it is used. The engine, whose rule sets and counters it shares, must outlive it. */
struct routing_retries *routing_retries_new(struct routing_engine *engine);
void routing_retries_free(struct routing_retries *retries); /* NULL is fine */

enum routing_retries_kind {
    ROUTING_RETRIES_DUE,      /* their time has come */
    ROUTING_RETRIES_OUTDATED, /* an older version of the rules refused them */
};

/* What to do; zero in a field means its default. */
struct routing_retries_order {
    enum routing_retries_kind kind;
    struct uuid workspace_id; /* only leads that came in through it; uuid_nil: all */
    unsigned limit;           /* leads in this transaction; default and most: the engine's batch_leads_max */
    struct uuid member_id;    /* who must be a member of the workspace, as in struct routing_request */
    bool member_is_admin;
    bool by_hand;        /* also while retries are paused */
    bool is_thorough;    /* OUTDATED: looks at all workspaces, not only those whose rules changed within five minutes */
    int64_t deadline_ns; /* monotonic, Required; nothing is begun after it, and repeats end */
};

/* What came of it. Added to, so that a report can be of many transactions: zero it first. */
struct routing_retries_report {
    unsigned processed; /* leads looked at: the sum of those below */
    unsigned routed, duplicates, requeued, failed, expired;
    unsigned held;    /* wait for their workspace; not counted as an attempt */
    unsigned errors;  /* could not be looked at; they stay due, but lanes leave them alone for a while */
    int64_t claim_ns; /* of all that, how long claiming took: the round trips that lock and read */

    /* Set by each transaction. */
    bool is_short;          /* fewer were due than the limit; what others hold at this moment does not count */
    bool is_paused;         /* only when short: retries are paused */
    int64_t next_due_in_us; /* only when short, of kind DUE: until the next one's time comes; -1: none has a time */
};

/* Told each lead that could not be looked at. */
typedef void routing_retries_observer(void *user, const struct uuid *lead_id, const struct error *error);

/* Runs one transaction, or more when it has to be repeated or divided. False when nothing could be claimed: the database is
 * away (ERROR_UNAVAILABLE), the deadline has passed (ERROR_DEADLINE), or what the database said (LR401, LR430: the member
 * is none). `observer` may be NULL. */
bool routing_retries_run(struct routing_retries *retries, const struct routing_retries_order *order,
    struct routing_retries_report *report, routing_retries_observer *observer, void *user, struct error *reterr_error);

#endif
