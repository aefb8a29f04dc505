/* What the last hour was like: calls, attempts by outcome, locks, and how long callers waited, by minute. Adding takes a few atomic
 * increments and no lock; any thread. The time is the caller's: nanoseconds of the monotonic clock. */
#ifndef ROUTING_STATISTICS_H
#define ROUTING_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "routing/engine.h"

struct statistics;

/* Empty ones, as of `now_ns`; about a megabyte. Never fails. */
struct statistics *statistics_new(int64_t now_ns);
void statistics_free(struct statistics *statistics); /* NULL is fine */

/* An attempt ended: ROUTED, DUPLICATE, QUEUED_FOR_RETRY, FAILED or EXPIRED. What was only looked up is none. */
void statistics_add_attempt(struct statistics *statistics, int64_t now_ns, enum routing_outcome outcome);

/* A lead was asked for that could be decided: its lock was had at once, or somebody held it. */
void statistics_add_lock(struct statistics *statistics, int64_t now_ns, bool was_had);

/* A call was answered; it failed if whoever called could not have done better (docs/monitoring.md, availability). */
void statistics_add_call(struct statistics *statistics, int64_t now_ns, bool has_failed);

/* A call got its outcome that was submitted at `since_ns`. */
void statistics_add_wait(struct statistics *statistics, int64_t now_ns, int64_t since_ns);

/* The sums over the last 59 minutes and the one under way. Costs tens of microseconds. */
void statistics_read(struct statistics *statistics, int64_t now_ns, struct routing_rates *ret_rates);

#endif
