#include "health_verdict.h"

#include <assert.h>
#include <inttypes.h>

#include "descriptors.h"

/* The thresholds; docs/operations.md has them as a table. */
enum {
    DUE_DEGRADED = 100,
    DUE_DEGRADED_OF_ONE_WORKSPACE = 50,
    DUE_CRITICAL = 500,
    DUE_AGE_DEGRADED_S = 300,
    DUE_AGE_CRITICAL_S = 3600,
    STALE_CRITICAL = 10,
    PENDING_AGE_DEGRADED_S = 24 * 3600, /* twenty attempts, the most that there are, end within 18 hours */
    JOB_LATE_S = 300,
    FINALS_MIN = 20, /* fewer say little about shares */
    FAILED_PERCENT_MAX = 10,
    LOCKS_MIN = 100,
    LOCKED_PERCENT_MIN = 90,
    WAITS_MIN = 100,
    WAIT_P95_MS_MAX = 2000,
    LOG_DAYS_MIN = 2,
    UNSEALED_AGE_DEGRADED_S = 300,
};

static void add(struct health_verdict *verdict, enum health_status status, char *text)
{
    assert(verdict->problem_count < HEALTH_PROBLEMS_MAX);
    if (status > verdict->status)
        verdict->status = status;
    verdict->problems[verdict->problem_count++] = text;
}

/* "90 s", "6 min", "3 h", "4 days": the largest unit of which there are at least two. */
static const char *age_text(struct arena *arena, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "days"}, {3600, "h"}, {60, "min"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (seconds >= 2 * units[i].seconds)
            return arena_format(arena, "%" PRId64 " %s", seconds / units[i].seconds, units[i].name);
    return arena_format(arena, "%" PRId64 " s", seconds);
}

static void judge_retries(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    const struct health_counts *counts = &facts->counts;
    int64_t most = facts->is_one_workspace ? DUE_DEGRADED_OF_ONE_WORKSPACE : DUE_DEGRADED;

    if (counts->retries_due > DUE_CRITICAL)
        add(verdict, HEALTH_CRITICAL,
            arena_format(arena, "%" PRId64 " retries are due, more than %d", counts->retries_due, DUE_CRITICAL));
    else if (counts->retries_due > most)
        add(verdict, HEALTH_DEGRADED,
            arena_format(arena, "%" PRId64 " retries are due, more than %" PRId64, counts->retries_due, most));
    if (counts->oldest_due_age_seconds > DUE_AGE_DEGRADED_S)
        add(verdict, counts->oldest_due_age_seconds > DUE_AGE_CRITICAL_S ? HEALTH_CRITICAL : HEALTH_DEGRADED,
            arena_format(arena, "a retry has been due for %s", age_text(arena, counts->oldest_due_age_seconds)));
}

static void judge_leads(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    const struct health_counts *counts = &facts->counts;

    if (counts->stale_locks > 0)
        add(verdict, counts->stale_locks > STALE_CRITICAL ? HEALTH_CRITICAL : HEALTH_DEGRADED,
            arena_format(arena, "%" PRId64 " %s held for more than five minutes", counts->stale_locks,
                counts->stale_locks == 1 ? "lead is" : "leads are"));
    if (counts->oldest_pending_age_seconds > PENDING_AGE_DEGRADED_S && counts->held == 0)
        add(verdict, HEALTH_DEGRADED,
            arena_format(arena, "the oldest pending lead has been there for %s",
                age_text(arena, counts->oldest_pending_age_seconds)));
}

/* Every server looks after the jobs, so that one which is late has nobody, or a run that does not end. */
static void judge_job(const struct health_job *job, int64_t now_us, struct arena *arena, struct health_verdict *verdict)
{
    int64_t late_s = (now_us - job->next_run_us) / 1000000;

    if (job->failures > 0)
        add(verdict, HEALTH_DEGRADED,
            job->failures == 1 ? arena_format(arena, "job %s has failed", job->name)
                               : arena_format(arena, "job %s has failed %d times in a row", job->name, job->failures));
    if (job->is_paused)
        add(verdict, HEALTH_DEGRADED, arena_format(arena, "job %s is paused", job->name));
    else if (job->has_schedule && !job->is_running && late_s > JOB_LATE_S)
        add(verdict, HEALTH_DEGRADED,
            arena_format(arena, "job %s should have begun %s ago", job->name, age_text(arena, late_s)));
}

static void judge_rates(const struct routing_rates *rates, struct arena *arena, struct health_verdict *verdict)
{
    double failed_percent = 100 * (1 - rates->success_share);
    double locked_percent = 100 * rates->lock_share;

    if (rates->finals >= FINALS_MIN && failed_percent > FAILED_PERCENT_MAX)
        add(verdict, HEALTH_DEGRADED,
            arena_format(arena,
                "%.1f %% of this server's decisions within the last hour were failures, more than %d %%",
                failed_percent, FAILED_PERCENT_MAX));
    if (rates->locks >= LOCKS_MIN && locked_percent < LOCKED_PERCENT_MIN)
        add(verdict, HEALTH_DEGRADED,
            arena_format(arena, "%.1f %% of the leads that this server was asked for were held by somebody else",
                100 - locked_percent));
    if (rates->waits >= WAITS_MIN && rates->p95_us > WAIT_P95_MS_MAX * INT64_C(1000))
        add(verdict, HEALTH_DEGRADED,
            arena_format(
                arena, "of this server's calls 5 %% waited for more than %.1f s", (double)rates->p95_us / 1e6));
}

static void judge_server(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    /* A server short of descriptors answers those it has, but should get no more connections: one too many may cost it
     * the listener (SECURITY.md). */
    if (descriptors_are_short(facts->descriptors_used, facts->descriptors_limit))
        add(verdict, HEALTH_CRITICAL,
            arena_format(arena, "%" PRId64 " of %" PRId64 " file descriptors are in use, more than %d %%",
                facts->descriptors_used, facts->descriptors_limit, DESCRIPTORS_USED_PERCENT_MAX));
    if (facts->counts.log_days_ahead < LOG_DAYS_MIN)
        add(verdict, HEALTH_CRITICAL,
            arena_format(arena, "the audit log has room for today and %d more %s only", facts->counts.log_days_ahead,
                facts->counts.log_days_ahead == 1 ? "day" : "days"));
}

static void judge_seals(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    const struct health_counts *counts = &facts->counts;

    if (counts->unsealed_age_seconds > UNSEALED_AGE_DEGRADED_S)
        add(verdict, HEALTH_DEGRADED,
            arena_format(arena, "the audit log has not been sealed for %s%s",
                age_text(arena, counts->unsealed_age_seconds),
                counts->is_sealing_held ? ": a transaction has been under way for as long" : ""));
}

void health_judge(const struct health_facts *facts, struct arena *arena, struct health_verdict *ret_verdict)
{
    assert(facts->job_count <= HEALTH_JOBS_MAX);
    *ret_verdict = (struct health_verdict){.status = HEALTH_HEALTHY};
    judge_retries(facts, arena, ret_verdict);
    judge_leads(facts, arena, ret_verdict);
    if (!facts->is_one_workspace) {
        judge_seals(facts, arena, ret_verdict);
        for (size_t i = 0; i < facts->job_count; i++)
            judge_job(&facts->jobs[i], facts->counts.counted_us, arena, ret_verdict);
        judge_rates(&facts->rates, arena, ret_verdict);
    }
    judge_server(facts, arena, ret_verdict);
}
