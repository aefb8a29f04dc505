#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/routing.grpc.h"

static const char usage[] = "Usage: leadctl health [--workspace W]\n\n"
                            "Counts of leads and retries, what the server that is asked did within the last hour, the\n"
                            "background jobs, and what is wrong. Exits with 1 when routing is in a critical state.\n\n"
                            "Example: leadctl health --json";

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
    return json_pack("{sI, sI, sf, sf, sf, sf, sI, sI, sI}", "period_seconds", (json_int_t)rates->period_seconds,
        "decisions", (json_int_t)rates->decisions, "success_share", rates->success_share, "duplicate_share",
        rates->duplicate_share, "expired_share", rates->expired_share, "lock_share", rates->lock_share, "p50_us",
        (json_int_t)rates->p50_us, "p95_us", (json_int_t)rates->p95_us, "p99_us", (json_int_t)rates->p99_us);
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

/* What this server alone has seen. */
static void print_rates(const Leadrouter__V1__ServerRates *rates)
{
    char age[16];

    printf("%-18s %10lld  within the last %s, by this server\n", "attempts", (long long)rates->decisions,
        age_text(rates->period_seconds, age));
    if (rates->decisions == 0)
        return;
    printf("%-18s %8.1f %%  of final decisions; duplicates %.1f %%\n", "success", 100 * rates->success_share,
        100 * rates->duplicate_share);
    printf("%-18s %8.1f %%  of attempts\n", "expired", 100 * rates->expired_share);
    printf("%-18s %8.1f %%  of leads asked for were free\n", "locks", 100 * rates->lock_share);
    printf("%-18s %7.1f ms  p95 %.1f ms, p99 %.1f ms\n", "wait p50", (double)rates->p50_us / 1000,
        (double)rates->p95_us / 1000, (double)rates->p99_us / 1000);
}

static void print_jobs(const Leadrouter__V1__HealthResponse *response)
{
    for (size_t i = 0; i < response->n_jobs; i++) {
        const Leadrouter__V1__JobHealth *job = response->jobs[i];
        char age[16];
        printf("job %-14s %10s", job->name, job_state_name(job->state));
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

    printf("%-18s %10s\n", "status", status_name(response->status));
    print_count("pending", response->pending);
    print_count("  of them held", response->held);
    print_count("routing", response->routing);
    print_count("failed", response->failed);
    print_count("retries queued", response->retry_queue_depth);
    print_count("retries due", response->retries_due);
    print_count("stale locks", response->stale_locks);
    printf("%-18s %10s\n", "oldest pending", age_text(response->oldest_pending_age_seconds, age));
    printf("%-18s %10s\n", "oldest due", age_text(response->oldest_due_age_seconds, age));
    if (response->rates != NULL)
        print_rates(response->rates);
    if (response->n_jobs > 0)
        print_jobs(response);
    for (size_t i = 0; i < response->n_problems; i++)
        print_row(i == 0 ? "problems" : "", response->problems[i]);
    printf("counted %s by server %s, schema version %d\n", time_text(response->counted_at, time),
        response->server_version, response->schema_version);
}

int command_health(int argc, char **argv)
{
    Leadrouter__V1__HealthRequest request = LEADROUTER__V1__HEALTH_REQUEST__INIT;
    Leadrouter__V1__HealthResponse *response = NULL;
    const char *workspace = "";
    const char *operand = NULL;
    const struct option_spec specs[] = {{"workspace", "W", "count only this workspace", OPTION_TEXT, &workspace, 0, 0}};
    struct common_options common;
    struct grpc_c_outcome outcome = {0};
    size_t operand_count = 0;
    int code = EXIT_DONE;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, &operand, 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    request.workspace_id = (char *)(uintptr_t)workspace;
    struct grpc_c_channel *channel = connect_to(&common);
    if (channel == NULL)
        return EXIT_USAGE;
    if (leadrouter__v1__routing_service__health(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(common.target, &outcome);
    } else {
        if (common.json)
            print_json(health_json(response));
        else
            print_table(response);
        code = response->status == LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_CRITICAL ? EXIT_FAILED : EXIT_DONE;
        leadrouter__v1__health_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}
