/* The jobs that there are: what a server does without being asked. A batch of 200 leads is done in some 20 ms: a caller who
 * asks for one of them waits for up to 100. */
#include <string.h>

#include "base/memory.h"
#include "jobs/internal.h"

enum { MINUTE_S = 60, HOUR_S = 3600, GRACE_MS = 30000 };

/* tidy: table. In order of the names. */
const struct job_entry jobs_catalogue[] = {
    {
        .base = {"expiry",
            "Marks leads past their time to live as expired, and forgets identities that are free again.",
            {JOB_DAILY, 2 * HOUR_S}},
        .is_long = true,
        .grace_ms = GRACE_MS,
        .steps = {{"expired", "select leadrouter.expire_leads(null, 200)", JOB_STEP_REPEAT, JOB_PARAMETER_NONE},
            {"claims_removed", "select removed, next_page from leadrouter.sweep_claims($1, 256)", JOB_STEP_SWEEP,
                JOB_PARAMETER_NONE},
            {"leads_left", "select leadrouter.check_expired_leads()", JOB_STEP_ONCE, JOB_PARAMETER_NONE}},
    },
    {
        .base = {"health_check", "Looks for what is wrong with routing, and says so in the log.", {JOB_EVERY, HOUR_S}},
        .grace_ms = GRACE_MS,
        .run = job_check_health,
    },
    {
        .base = {"lost_leads", "Queues pending leads that nobody has asked for a minute after they came in.",
            {JOB_EVERY, MINUTE_S / 2}},
        .grace_ms = GRACE_MS,
        .steps = {{"queued", "select queued, next_after from leadrouter.queue_lost_leads(60, $1, 200, $2)",
            JOB_STEP_WALK, JOB_PARAMETER_LOST_WINDOW}},
    },
    {
        .base = {"retention", "Makes the audit log's next days, and removes what has been kept for long enough.",
            {JOB_DAILY, 3 * HOUR_S}},
        .is_long = true,
        .grace_ms = GRACE_MS,
        .steps = {{"partitions_made", "select leadrouter.make_log_partitions(30)", JOB_STEP_ONCE, JOB_PARAMETER_NONE},
            {"partitions_dropped", "select leadrouter.drop_log_partitions($1)", JOB_STEP_REPEAT,
                JOB_PARAMETER_LOG_KEEP_DAYS},
            {"queue_rows_removed", "select removed, next_page from leadrouter.sweep_queue(7, $1, 256)", JOB_STEP_SWEEP,
                JOB_PARAMETER_NONE},
            {"rule_versions_removed", "select leadrouter.prune_rule_versions($1, 1000)", JOB_STEP_REPEAT,
                JOB_PARAMETER_LOG_KEEP_DAYS},
            {"imports_removed", "select leadrouter.prune_imports(7, 365, 1000)::integer", JOB_STEP_REPEAT,
                JOB_PARAMETER_NONE},
            {"partitions_left", "select leadrouter.check_log_partitions($1)", JOB_STEP_ONCE,
                JOB_PARAMETER_LOG_KEEP_DAYS}},
    },
    {
        .base = {"retries", "Tries leads again whose time has come or whose rules have changed.", {JOB_WHEN_DUE, 0}},
        .grace_ms = GRACE_MS,
        .run = job_drain_retries,
    },
    {
        .base = {"seal", "Seals the rows that the audit log got, so that a change of them is found.",
            {JOB_EVERY, MINUTE_S / 2}},
        .grace_ms = GRACE_MS,
        .steps = {{"rows_sealed", "select leadrouter.seal_log(10000)", JOB_STEP_REPEAT, JOB_PARAMETER_NONE}},
    },
    {
        .base = {"stale_locks", "Releases leads that a worker has held for over five minutes, and queues them.",
            {JOB_EVERY, 10 * MINUTE_S}},
        .grace_ms = GRACE_MS,
        .steps = {{"released", "select leadrouter.release_stale_locks(300, 200)", JOB_STEP_REPEAT, JOB_PARAMETER_NONE}},
    },
};
const size_t jobs_catalogue_count = COUNT_OF(jobs_catalogue);

const struct job_entry *jobs_entry(const char *name)
{
    for (size_t i = 0; i < jobs_catalogue_count; i++)
        if (strcmp(jobs_catalogue[i].base.name, name) == 0)
            return &jobs_catalogue[i];
    return NULL;
}

const struct job_description *jobs_describe(size_t index)
{
    return index < jobs_catalogue_count ? &jobs_catalogue[index].base : NULL;
}

const struct job_description *jobs_find(const char *name)
{
    const struct job_entry *entry = jobs_entry(name);

    return entry == NULL ? NULL : &entry->base;
}
