/* What the database knows about routing, read in one go: for Health, and for the sampler behind metrics and the admin listener. */
#ifndef SERVER_HEALTH_READING_H
#define SERVER_HEALTH_READING_H

#include "health_verdict.h"
#include "service.h"

/* The columns of health_counts() that health_take_counts() wants. */
#define HEALTH_COLUMNS                                                                                                 \
    "pending, routing, failed, retry_queue_depth, retries_due, stale_locks, oldest_pending_age_seconds, counted_us, "  \
    "held, oldest_due_age_seconds, leadrouter.log_partition_days_ahead(), due_attempt_mean, due_attempt_max, "         \
    "stale_mean_seconds, stale_max_seconds"

/* Takes the counts out of a row of HEALTH_COLUMNS. */
void health_take_counts(const struct pg_result *result, struct health_counts *ret_counts);

/* Reads what is known of all workspaces, all but the descriptors, and adds this server's rates. Waits: for workers and threads of
 * their own only. Errors: those of service_query(). */
bool health_read(
    struct service *service, int64_t deadline_ns, struct health_facts *ret_facts, struct error *reterr_error);

/* The facts, with the descriptors of this moment, judged. */
void health_judge_now(
    struct service *service, const struct health_facts *facts, struct arena *arena, struct health_verdict *ret_verdict);

#endif
