#include "health_reading.h"

#include <stdio.h>

#include "descriptors.h"

void health_take_counts(const struct pg_result *result, struct health_counts *ret_counts)
{
    *ret_counts = (struct health_counts){
        .pending = pg_result_int8(result, 0, 0),
        .routing = pg_result_int8(result, 0, 1),
        .failed = pg_result_int8(result, 0, 2),
        .retry_queue_depth = pg_result_int8(result, 0, 3),
        .retries_due = pg_result_int8(result, 0, 4),
        .stale_locks = pg_result_int8(result, 0, 5),
        .oldest_pending_age_seconds = pg_result_int8(result, 0, 6),
        .counted_us = pg_result_int8(result, 0, 7),
        .held = pg_result_int8(result, 0, 8),
        .oldest_due_age_seconds = pg_result_int8(result, 0, 9),
        .log_days_ahead = pg_result_int4(result, 0, 10),
        .due_attempt_mean = pg_result_float8(result, 0, 11),
        .due_attempt_max = pg_result_int4(result, 0, 12),
        .stale_mean_seconds = pg_result_float8(result, 0, 13),
        .stale_max_seconds = pg_result_float8(result, 0, 14),
    };
}

static bool read_counts(
    struct service *service, int64_t deadline_ns, struct health_counts *ret_counts, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "health_counts_of_all",
        .sql = "select " HEALTH_COLUMNS " from leadrouter.health_counts(null)",
    };
    struct pg_result *result = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    health_take_counts(result, ret_counts);
    pg_result_free(result);
    return true;
}

static bool read_seals(
    struct service *service, int64_t deadline_ns, struct health_counts *ret_counts, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "sample_seals",
        .sql = "select coalesce(sealed_us, 0) from leadrouter.sample_seals()",
    };
    struct pg_result *result = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    ret_counts->sealed_us = pg_result_int8(result, 0, 0);
    pg_result_free(result);
    return true;
}

/* What no seal covers yet. */
static bool read_unsealed(
    struct service *service, int64_t deadline_ns, struct health_counts *ret_counts, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "log_unsealed",
        .sql = "select since_us, is_held from leadrouter.log_unsealed()",
    };
    struct pg_result *result = NULL;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    if (!pg_result_is_null(result, 0, 0))
        ret_counts->unsealed_age_seconds = (ret_counts->counted_us - pg_result_int8(result, 0, 0)) / 1000000;
    ret_counts->is_sealing_held = pg_result_bool(result, 0, 1);
    pg_result_free(result);
    return true;
}

static bool read_jobs(
    struct service *service, int64_t deadline_ns, struct health_facts *facts, struct error *reterr_error)
{
    struct service_job *jobs = NULL;
    struct arena *arena = arena_new(0);
    size_t count = 0;
    int64_t now_us = 0;
    bool ok = service_read_jobs(service, arena, deadline_ns, &jobs, &count, &now_us, reterr_error);

    facts->job_count = count < HEALTH_JOBS_MAX ? count : HEALTH_JOBS_MAX;
    for (size_t i = 0; i < facts->job_count; i++) {
        struct health_job *job = &facts->jobs[i];
        *job = (struct health_job){
            .is_paused = jobs[i].is_paused,
            .is_running = jobs[i].is_running,
            .has_schedule = jobs[i].next_run_us != 0,
            .failures = jobs[i].failures,
            .next_run_us = jobs[i].next_run_us,
            .last_ended_us = jobs[i].last_ended_us,
            .last_done_us = jobs[i].last_done_us,
            .last_duration_ms = jobs[i].last_duration_ms,
            .runs = jobs[i].runs,
        };
        snprintf(job->name, sizeof(job->name), "%s", jobs[i].name);
    }
    arena_free(arena);
    return ok;
}

bool health_read(
    struct service *service, int64_t deadline_ns, struct health_facts *ret_facts, struct error *reterr_error)
{
    struct health_facts facts = {0};

    if (!read_counts(service, deadline_ns, &facts.counts, reterr_error) ||
        !read_seals(service, deadline_ns, &facts.counts, reterr_error) ||
        !read_unsealed(service, deadline_ns, &facts.counts, reterr_error) ||
        !read_jobs(service, deadline_ns, &facts, reterr_error))
        return false;
    routing_engine_rates(service->engine, &facts.rates);
    *ret_facts = facts;
    return true;
}

void health_judge_now(
    struct service *service, const struct health_facts *facts, struct arena *arena, struct health_verdict *ret_verdict)
{
    struct health_facts judged = *facts;

    judged.descriptors_used = descriptors_used(&service->descriptors);
    judged.descriptors_limit = descriptors_limit();
    health_judge(&judged, arena, ret_verdict);
}
