#include "server_metrics.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "authorization.h"
#include "base/clock.h"
#include "base/memory.h"
#include "health_verdict.h"
#include "jobs/jobs.h"
#include "version.h"

enum { CODES = GRPC_C_UNAUTHENTICATED + 1 };

/* Behind all methods: what no method was known of. */
static size_t method_other(void)
{
    size_t count = 0;

    while (authorization_rule_at(count) != NULL)
        count++;
    return count;
}

void server_metrics_make(struct server_metrics *ret_metrics, int schema_version)
{
    const char *methods[SERVER_METRICS_METHODS_MAX];
    const char *codes[CODES];
    const char *jobs[HEALTH_JOBS_MAX];
    static const char *const versions[] = {SERVER_VERSION};
    const char *const schema_versions[] = {ret_metrics->version_text};
    size_t method_count = 0;
    size_t job_count = 0;

    for (; authorization_rule_at(method_count) != NULL; method_count++) {
        assert(method_count < COUNT_OF(methods) - 1);
        methods[method_count] = authorization_rule_at(method_count)->method + 1; /* without the slash */
        ret_metrics->are_standard[method_count] = strncmp(methods[method_count], "grpc.", 5) == 0;
    }
    methods[method_count++] = "other";
    for (size_t i = 0; i < CODES; i++)
        codes[i] = grpc_c_status_name((enum grpc_c_status)i);
    for (; jobs_describe(job_count) != NULL; job_count++) {
        assert(job_count < COUNT_OF(jobs));
        jobs[job_count] = jobs_describe(job_count)->name;
    }
    snprintf(ret_metrics->version_text, sizeof(ret_metrics->version_text), "%d", schema_version);
    const struct metrics_values values[] = {
        {METRICS_LABEL_METHOD, methods, method_count},
        {METRICS_LABEL_CODE, codes, CODES},
        {METRICS_LABEL_JOB, jobs, job_count},
        {METRICS_LABEL_VERSION, versions, 1},
        {METRICS_LABEL_SCHEMA_VERSION, schema_versions, 1},
    };
    ret_metrics->metrics = metrics_new(values, COUNT_OF(values));
    metrics_set(ret_metrics->metrics, METRIC_BUILD, 0, 0, 1);
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

static size_t place_of(const struct server_metrics *metrics, const struct grpc_c_call *call)
{
    size_t number = grpc_c_call_method_number(call);

    return number == GRPC_C_METHOD_UNKNOWN ? method_other() : metrics->places[number];
}

static void came(struct grpc_c_call *call, void *user)
{
    const struct server_metrics *metrics = user;
    size_t place = place_of(metrics, call);

    metrics_add(metrics->metrics, METRIC_RPC_STARTED, place, 0, 1);
    metrics_add(metrics->metrics, METRIC_RPC_IN_FLIGHT, place, 0, 1);
}

/* Answers that the caller could not have avoided: those of the service level. */
static bool is_failure(enum grpc_c_status status)
{
    return status == GRPC_C_UNAVAILABLE || status == GRPC_C_INTERNAL || status == GRPC_C_UNKNOWN ||
           status == GRPC_C_DEADLINE_EXCEEDED;
}

static void ended(struct grpc_c_call *call, enum grpc_c_status status, void *user)
{
    const struct server_metrics *metrics = user;
    size_t place = place_of(metrics, call);
    size_t code = (unsigned)status < CODES ? (size_t)status : GRPC_C_UNKNOWN;

    metrics_add(metrics->metrics, METRIC_RPC_HANDLED, place, code, 1);
    metrics_add(metrics->metrics, METRIC_RPC_IN_FLIGHT, place, 0, -1);
    if (!metrics->are_standard[place])
        routing_engine_add_call(metrics->engine, is_failure(status));
    metrics_observe(metrics->metrics, METRIC_RPC_DURATION, place, 0, clock_now_ns() - grpc_c_call_came_ns(call));
}

static size_t find_place(const char *path)
{
    for (size_t i = 0; authorization_rule_at(i) != NULL; i++)
        if (strcmp(authorization_rule_at(i)->method, path) == 0)
            return i;
    return method_other();
}

void server_metrics_watch(struct server_metrics *metrics, struct grpc_c_server *server)
{
    const struct grpc_c_watcher watcher = {.came = came, .ended = ended, .user = metrics};
    const struct grpc_c_service *const *services = NULL;
    size_t service_count = grpc_c_server_services(server, &services);
    size_t number = 0;

    for (size_t i = 0; i < service_count; i++)
        for (size_t method = 0; method < services[i]->method_count; method++) {
            assert(number < SERVER_METRICS_METHODS_MAX);
            metrics->places[number++] = find_place(services[i]->methods[method].path);
        }
    grpc_c_server_set_watcher(server, &watcher);
}
