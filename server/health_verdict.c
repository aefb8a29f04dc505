#include "health_verdict.h"

#include <assert.h>
#include <inttypes.h>

#include "descriptors.h"
#include "levels/levels.h"

/* Where the bands begin is in src/levels; docs/operations.md has them as a table. */
static enum health_status status_of(enum band band, double value)
{
    static const enum health_status statuses[] = {
        [BAND_WELL] = HEALTH_HEALTHY, [BAND_DEGRADED] = HEALTH_DEGRADED, [BAND_CRITICAL] = HEALTH_CRITICAL};

    return statuses[band_judge(band, value)];
}

/* The bound that was crossed. */
static double edge_of(enum band band, enum health_status status)
{
    return status == HEALTH_CRITICAL ? bands_table[band].critical : bands_table[band].degraded;
}

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
    enum band band = facts->is_one_workspace ? BAND_RETRIES_DUE_OF_ONE : BAND_RETRIES_DUE;
    enum health_status due = status_of(band, (double)counts->retries_due);
    enum health_status age = status_of(BAND_DUE_AGE, (double)counts->oldest_due_age_seconds);

    if (due > HEALTH_HEALTHY)
        add(verdict, due,
            arena_format(
                arena, "%" PRId64 " retries are due, more than %.0f", counts->retries_due, edge_of(band, due)));
    if (age > HEALTH_HEALTHY)
        add(verdict, age,
            arena_format(arena, "a retry has been due for %s", age_text(arena, counts->oldest_due_age_seconds)));
}

static void judge_leads(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    const struct health_counts *counts = &facts->counts;
    enum health_status stale = status_of(BAND_STALE_LOCKS, (double)counts->stale_locks);
    enum health_status pending = status_of(BAND_PENDING_AGE, (double)counts->oldest_pending_age_seconds);

    if (stale > HEALTH_HEALTHY)
        add(verdict, stale,
            arena_format(arena, "%" PRId64 " %s held for more than five minutes", counts->stale_locks,
                counts->stale_locks == 1 ? "lead is" : "leads are"));
    if (pending > HEALTH_HEALTHY && counts->held == 0)
        add(verdict, pending,
            arena_format(arena, "the oldest pending lead has been there for %s",
                age_text(arena, counts->oldest_pending_age_seconds)));
}

/* Every server looks after the jobs, so that one which is late has nobody, or a run that does not end. */
static void judge_job(const struct health_job *job, int64_t now_us, struct arena *arena, struct health_verdict *verdict)
{
    int64_t late_s = (now_us - job->next_run_us) / 1000000;
    enum health_status late = status_of(BAND_JOB_LATE, (double)late_s);

    if (job->failures > 0)
        add(verdict, HEALTH_DEGRADED,
            job->failures == 1 ? arena_format(arena, "job %s has failed", job->name)
                               : arena_format(arena, "job %s has failed %d times in a row", job->name, job->failures));
    if (job->is_paused)
        add(verdict, HEALTH_DEGRADED, arena_format(arena, "job %s is paused", job->name));
    else if (job->has_schedule && !job->is_running && late > HEALTH_HEALTHY)
        add(verdict, late, arena_format(arena, "job %s should have begun %s ago", job->name, age_text(arena, late_s)));
}

static void judge_rates(const struct routing_rates *rates, struct arena *arena, struct health_verdict *verdict)
{
    enum health_status failed = status_of(BAND_SUCCESS, rates->success_share);
    enum health_status held = status_of(BAND_LOCKS, rates->lock_share);
    enum health_status late = status_of(BAND_P95, (double)rates->p95_us / 1e6);

    if (rates->finals >= bands_table[BAND_SUCCESS].events_min && failed > HEALTH_HEALTHY)
        add(verdict, failed,
            arena_format(arena,
                "%.1f %% of this server's decisions within the last hour were failures, more than %g %%",
                100 * (1 - rates->success_share), 100 * (1 - edge_of(BAND_SUCCESS, failed))));
    if (rates->locks >= bands_table[BAND_LOCKS].events_min && held > HEALTH_HEALTHY)
        add(verdict, held,
            arena_format(arena, "%.1f %% of the leads that this server was asked for were held by somebody else",
                100 * (1 - rates->lock_share)));
    if (rates->waits >= bands_table[BAND_P95].events_min && late > HEALTH_HEALTHY)
        add(verdict, late,
            arena_format(
                arena, "of this server's calls 5 %% waited for more than %.1f s", (double)rates->p95_us / 1e6));
}

static void judge_server(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    enum health_status days = status_of(BAND_DAYS_AHEAD, facts->counts.log_days_ahead);

    /* A server short of descriptors answers those it has, but should get no more connections: one too many may cost it
     * the listener (SECURITY.md). */
    if (descriptors_are_short(facts->descriptors_used, facts->descriptors_limit))
        add(verdict, HEALTH_CRITICAL,
            arena_format(arena, "%" PRId64 " of %" PRId64 " file descriptors are in use, more than %g %%",
                facts->descriptors_used, facts->descriptors_limit, 100 * bands_table[BAND_DESCRIPTORS].critical));
    if (days > HEALTH_HEALTHY)
        add(verdict, days,
            arena_format(arena, "the audit log has room for today and %d more %s only", facts->counts.log_days_ahead,
                facts->counts.log_days_ahead == 1 ? "day" : "days"));
}

static void judge_seals(const struct health_facts *facts, struct arena *arena, struct health_verdict *verdict)
{
    const struct health_counts *counts = &facts->counts;
    enum health_status age = status_of(BAND_UNSEALED_AGE, (double)counts->unsealed_age_seconds);

    if (age > HEALTH_HEALTHY)
        add(verdict, age,
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
