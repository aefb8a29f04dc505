#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/routing.grpc.h"
#include "levels/levels.h"
#include "screen.h"

static const char *status_name(Leadrouter__V1__HealthStatus status)
{
    static const char *const names[] = {"unknown", "healthy", "degraded", "critical"};

    return (unsigned)status < COUNT_OF(names) ? names[status] : names[0];
}

static json_t *jobs_json(const Leadrouter__V1__HealthResponse *response)
{
    json_t *jobs = json_array();
    char time[32];

    for (size_t i = 0; i < response->n_jobs; i++) {
        const Leadrouter__V1__JobHealth *job = response->jobs[i];
        json_array_append_new(
            jobs, json_pack("{ss, ss, si, ss}", "name", job->name, "state", job_state_name(job->state), "failures",
                      (int)job->failures, "last_ended_at", time_text(job->last_ended_at, time)));
    }
    return jobs;
}

static json_t *rates_json(const Leadrouter__V1__ServerRates *rates)
{
    if (rates == NULL)
        return json_null();
    return json_pack("{sI, sI, sf, sf, sf, sf, sI, sI, sI, sI, sI, sI, sI}", "period_seconds",
        (json_int_t)rates->period_seconds, "decisions", (json_int_t)rates->decisions, "success_share",
        rates->success_share, "duplicate_share", rates->duplicate_share, "expired_share", rates->expired_share,
        "lock_share", rates->lock_share, "p50_us", (json_int_t)rates->p50_us, "p95_us", (json_int_t)rates->p95_us,
        "p99_us", (json_int_t)rates->p99_us, "final_decisions", (json_int_t)rates->final_decisions, "leads_asked_for",
        (json_int_t)rates->leads_asked_for, "calls", (json_int_t)rates->calls, "calls_failed",
        (json_int_t)rates->calls_failed);
}

static json_t *health_json(const Leadrouter__V1__HealthResponse *response)
{
    char time[32];
    json_t *problems = json_array();

    for (size_t i = 0; i < response->n_problems; i++)
        json_array_append_new(problems, json_string(response->problems[i]));
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:i, s:o, s:o, s:o}", "status",
        status_name(response->status), "pending", (json_int_t)response->pending, "routing",
        (json_int_t)response->routing, "failed", (json_int_t)response->failed, "retry_queue_depth",
        (json_int_t)response->retry_queue_depth, "retries_due", (json_int_t)response->retries_due, "stale_locks",
        (json_int_t)response->stale_locks, "oldest_pending_age_seconds",
        (json_int_t)response->oldest_pending_age_seconds, "oldest_due_age_seconds",
        (json_int_t)response->oldest_due_age_seconds, "held", (json_int_t)response->held, "counted_at",
        time_text(response->counted_at, time), "server_version", response->server_version, "schema_version",
        response->schema_version, "problems", problems, "jobs", jobs_json(response), "rates",
        rates_json(response->rates));
}

static void print_count(const char *label, int64_t count)
{
    printf("%-18s %10lld\n", label, (long long)count);
}

/* A word to the right, in its colour. */
static void print_word(const char *word)
{
    enum { WIDTH = 10 };

    printf("%*s", (int)strlen(word) < WIDTH ? WIDTH - (int)strlen(word) : 0, "");
    screen_put_word(stdout, word);
}

/* What this server alone has seen. Shares are as exact as their service levels want them. */
static void print_rates(const Leadrouter__V1__ServerRates *rates)
{
    char share[LEVEL_TEXT_SIZE];
    char age[16];

    printf("%-18s %10lld  within the last %s, by this server\n", "attempts", (long long)rates->decisions,
        age_text(rates->period_seconds, age));
    if (rates->decisions == 0)
        return;
    if (rates->final_decisions > 0)
        printf("%-18s %10s  of %" PRId64 " final decisions; duplicates %.1f %%\n", "success",
            level_format(LEVEL_SUCCESS, rates->success_share, share), rates->final_decisions,
            100 * rates->duplicate_share);
    else
        printf("%-18s %10s  no final decisions yet\n", "success", "-");
    printf("%-18s %8.1f %%  of attempts\n", "expired", 100 * rates->expired_share);
    if (rates->leads_asked_for > 0)
        printf(
            "%-18s %10s  of leads asked for were free\n", "locks", level_format(LEVEL_LOCKS, rates->lock_share, share));
    printf("%-18s %7.1f ms  p95 %.1f ms, p99 %.1f ms\n", "wait p50", (double)rates->p50_us / 1000,
        (double)rates->p95_us / 1000, (double)rates->p99_us / 1000);
}

static void print_jobs(const Leadrouter__V1__HealthResponse *response)
{
    for (size_t i = 0; i < response->n_jobs; i++) {
        const Leadrouter__V1__JobHealth *job = response->jobs[i];
        char age[16];
        printf("job %-14s ", job->name);
        print_word(job_state_name(job->state));
        if (job->last_ended_at != NULL && response->counted_at != NULL) {
            int64_t seconds = response->counted_at->seconds - job->last_ended_at->seconds;
            printf("  ended %s ago", age_text(seconds < 0 ? 0 : seconds, age));
        }
        if (job->failures > 0)
            printf("  failed %d %s", (int)job->failures, job->failures == 1 ? "time" : "times in a row");
        printf("\n");
    }
}

static void print_table(const Leadrouter__V1__HealthResponse *response)
{
    char time[32];
    char age[16];

    printf("%-18s ", "status");
    print_word(status_name(response->status));
    printf("\n");
    for (size_t i = 0; i < response->n_problems; i++)
        print_row(i == 0 ? "problems" : "", response->problems[i]);
    print_count("pending", response->pending);
    print_count("  of them held", response->held);
    print_count("routing", response->routing);
    print_count("failed", response->failed);
    print_count("retries queued", response->retry_queue_depth);
    print_count("retries due", response->retries_due);
    print_count("stale locks", response->stale_locks);
    printf("%-18s %10s\n", "oldest pending",
        response->pending == 0 ? "-" : age_text(response->oldest_pending_age_seconds, age));
    printf("%-18s %10s\n", "oldest due",
        response->retries_due == 0 ? "-" : age_text(response->oldest_due_age_seconds, age));
    if (response->rates != NULL)
        print_rates(response->rates);
    if (response->n_jobs > 0)
        print_jobs(response);
    printf("counted %s by server %s, schema version %d\n", time_text(response->counted_at, time),
        response->server_version, response->schema_version);
}

static int run(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__HealthRequest request = LEADROUTER__V1__HEALTH_REQUEST__INIT;
    Leadrouter__V1__HealthResponse *response = NULL;
    int code = EXIT_DONE;

    request.workspace_id = borrowed(arguments->workspace);
    if (leadrouter__v1__routing_service__health(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(health_json(response));
    else
        print_table(response);
    code = response->status == LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_CRITICAL ? EXIT_FAILED : EXIT_DONE;
    leadrouter__v1__health_response__free_unpacked(response, NULL);
    return code;
}

static const struct option_spec flags[] = {
    {.name = "workspace",
        .placeholder = "W",
        .help = "count only this workspace",
        .kind = OPTION_ID,
        .offset = offsetof(struct arguments, workspace)},
};

const struct command command_health = {
    .name = "health",
    .summary = "how routing is doing",
    .text = "Counts of leads and retries, what the server that is asked did within the last hour, the background jobs, "
            "and what "
            "is wrong. Exits with 1 when routing is in a critical state.",
    .example = "leadctl health --json",
    COMMAND_FLAGS(flags),
    .run = run,
};
