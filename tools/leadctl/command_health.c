#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/routing.grpc.h"

static const char usage[] = "Usage: leadctl health [--workspace W]\n\n"
                            "Counts of leads and retries, and what is wrong. Exits with 1 when routing is in a\n"
                            "critical state.\n\n"
                            "Example: leadctl health --json";

static const char *status_name(Leadrouter__V1__HealthStatus status)
{
    static const char *const names[] = {"unknown", "healthy", "degraded", "critical"};

    return (unsigned)status < COUNT_OF(names) ? names[status] : names[0];
}

static json_t *health_json(const Leadrouter__V1__HealthResponse *response)
{
    char time[32];
    json_t *problems = json_array();

    for (size_t i = 0; i < response->n_problems; i++)
        json_array_append_new(problems, json_string(response->problems[i]));
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:i, s:o}", "status",
        status_name(response->status), "pending", (json_int_t)response->pending, "routing",
        (json_int_t)response->routing, "failed", (json_int_t)response->failed, "retry_queue_depth",
        (json_int_t)response->retry_queue_depth, "retries_due", (json_int_t)response->retries_due, "stale_locks",
        (json_int_t)response->stale_locks, "oldest_pending_age_seconds",
        (json_int_t)response->oldest_pending_age_seconds, "counted_at", time_text(response->counted_at, time),
        "server_version", response->server_version, "schema_version", response->schema_version, "problems", problems);
}

static void print_count(const char *label, int64_t count)
{
    printf("%-18s %10lld\n", label, (long long)count);
}

static void print_table(const Leadrouter__V1__HealthResponse *response)
{
    char time[32];

    printf("%-18s %10s\n", "status", status_name(response->status));
    print_count("pending", response->pending);
    print_count("routing", response->routing);
    print_count("failed", response->failed);
    print_count("retries queued", response->retry_queue_depth);
    print_count("retries due", response->retries_due);
    print_count("stale locks", response->stale_locks);
    printf("%-18s %8lld s\n", "oldest pending", (long long)response->oldest_pending_age_seconds);
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
