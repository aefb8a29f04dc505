/* RoutingService.Health: counts, and a verdict over them.
 *
 * The counts of all workspaces cost the database some work and are asked for by every load balancer at once. They are
 * kept for a second, and whoever asks while they are being counted gets the same answer: one count at a time, and one
 * worker at most, however many ask. */
#include <stdio.h>

#include "base/clock.h"
#include "service.h"
#include "version.h"

enum { COUNTS_AGE_MS_MAX = 1000, COUNT_MS_MAX = 5000 };

/* One call; in its arena. */
struct health_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    struct health_call *next;
};

/* --- The answer --------------------------------------------------------------------------------------------------- */

static void add_jobs(const struct health_facts *facts, struct arena *arena, Leadrouter__V1__HealthResponse *response)
{
    response->jobs = arena_alloc_array(arena, facts->job_count, sizeof(*response->jobs));
    for (size_t i = 0; i < facts->job_count; i++) {
        const struct health_job *job = &facts->jobs[i];
        Leadrouter__V1__JobHealth *message = arena_alloc(arena, sizeof(*message));
        leadrouter__v1__job_health__init(message);
        message->name = arena_copy_string(arena, job->name);
        message->state = service_job_state(job->is_running, job->is_paused, job->failures);
        message->failures = job->failures;
        message->last_ended_at = service_time(arena, job->last_ended_us);
        response->jobs[response->n_jobs++] = message;
    }
}

static Leadrouter__V1__ServerRates *rates_message(const struct routing_rates *rates, struct arena *arena)
{
    Leadrouter__V1__ServerRates *message = arena_alloc(arena, sizeof(*message));

    leadrouter__v1__server_rates__init(message);
    message->period_seconds = rates->period_seconds;
    message->decisions = (int64_t)rates->attempts;
    message->success_share = rates->success_share;
    message->duplicate_share = rates->duplicate_share;
    message->expired_share = rates->expired_share;
    message->lock_share = rates->lock_share;
    message->p50_us = rates->p50_us;
    message->p95_us = rates->p95_us;
    message->p99_us = rates->p99_us;
    return message;
}

/* The descriptors are those of this moment, the rest is what was counted. */
static void add_verdict(const struct health_facts *facts, struct service *service, struct arena *arena,
    Leadrouter__V1__HealthResponse *response)
{
    struct health_verdict *verdict = arena_alloc(arena, sizeof(*verdict));
    struct health_facts judged = *facts;

    judged.descriptors_used = descriptors_used(&service->descriptors);
    judged.descriptors_limit = descriptors_limit();
    health_judge(&judged, arena, verdict);
    response->status = (Leadrouter__V1__HealthStatus)verdict->status;
    response->problems = verdict->problems;
    response->n_problems = verdict->problem_count;
}

static void answer(struct health_call *health, const struct health_facts *facts)
{
    struct arena *arena = grpc_c_call_arena(health->base.call);
    const struct health_counts *counts = &facts->counts;
    Leadrouter__V1__HealthResponse response = LEADROUTER__V1__HEALTH_RESPONSE__INIT;

    response.pending = counts->pending;
    response.routing = counts->routing;
    response.failed = counts->failed;
    response.retry_queue_depth = counts->retry_queue_depth;
    response.retries_due = counts->retries_due;
    response.stale_locks = counts->stale_locks;
    response.oldest_pending_age_seconds = counts->oldest_pending_age_seconds;
    response.oldest_due_age_seconds = counts->oldest_due_age_seconds;
    response.held = counts->held;
    response.counted_at = service_time(arena, counts->counted_us);
    response.server_version = arena_copy_string(arena, SERVER_VERSION);
    response.schema_version = health->base.service->schema_version;
    if (!facts->is_one_workspace) {
        add_jobs(facts, arena, &response);
        response.rates = rates_message(&facts->rates, arena);
    }
    add_verdict(facts, health->base.service, arena, &response);
    leadrouter__v1__routing_service__health__reply(health->base.call, &response);
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

static bool count(
    struct health_call *health, int64_t deadline_ns, struct health_counts *ret_counts, struct error *reterr_error)
{
    static const struct service_reading reading =
        SERVICE_READING("pending, routing, failed, retry_queue_depth, retries_due, stale_locks, "
                        "oldest_pending_age_seconds, counted_us, held, oldest_due_age_seconds, "
                        "leadrouter.log_partition_days_ahead()",
            "health_counts", "($1)", 1, PG_UUID);
    const struct uuid *workspace_id = &health->base.workspace_id;
    struct pg_result *result = NULL;
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(health->base.call));
    pg_params_add_uuid(&params, uuid_is_nil(workspace_id) ? NULL : workspace_id);
    if (!service_read(&health->base, &reading, &params, deadline_ns, &result, reterr_error))
        return false;
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
    };
    pg_result_free(result);
    return true;
}

/* What no seal covers yet. */
static bool read_unsealed(
    struct health_call *health, int64_t deadline_ns, struct health_counts *ret_counts, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "log_unsealed",
        .sql = "select since_us, is_held from leadrouter.log_unsealed()",
    };
    struct pg_result *result = NULL;

    if (!service_query_unasked(health->base.service, &statement, NULL, deadline_ns, &result, reterr_error))
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
        };
        snprintf(job->name, sizeof(job->name), "%s", jobs[i].name);
    }
    arena_free(arena);
    return ok;
}

/* Ends counting: keeps what was counted (NULL: it failed) and answers everybody who waited. */
static void settle(struct service *service, const struct health_facts *facts, int64_t began_ns, struct error *error)
{
    struct health_call *waiting = NULL;

    pthread_mutex_lock(&service->counts_lock);
    service->is_counting = false;
    service->has_counts = facts != NULL;
    if (facts != NULL)
        service->counts = *facts;
    service->counted_ns = began_ns;
    waiting = service->counts_wanted;
    service->counts_wanted = NULL;
    pthread_mutex_unlock(&service->counts_lock);
    while (waiting != NULL) {
        struct health_call *next = waiting->next; /* the call's memory ends with its answer */
        if (facts != NULL)
            answer(waiting, facts);
        else
            service_fail(&waiting->base, error);
        waiting = next;
    }
}

/* All workspaces: for everybody who waits, so not bound by the deadline of the call that happened to come first. */
static void run_count_all(struct work *work)
{
    struct health_call *health = (struct health_call *)(void *)work;
    struct service *service = health->base.service;
    int64_t began_ns = clock_now_ns();
    int64_t deadline_ns = clock_after_ms(COUNT_MS_MAX);
    struct health_facts facts = {0};
    struct error error = {0};
    bool ok = count(health, deadline_ns, &facts.counts, &error) &&
              read_unsealed(health, deadline_ns, &facts.counts, &error) &&
              read_jobs(service, deadline_ns, &facts, &error);

    routing_engine_rates(service->engine, &facts.rates);
    settle(service, ok ? &facts : NULL, began_ns, &error);
}

static void run_count_one(struct work *work)
{
    struct health_call *health = (struct health_call *)(void *)work;
    struct health_facts facts = {.is_one_workspace = true};
    struct error error = {0};

    if (count(health, grpc_c_call_deadline_ns(health->base.call), &facts.counts, &error))
        answer(health, &facts);
    else
        service_fail(&health->base, &error);
}

/* Answers with counts that are young enough, or waits for those to come. */
static void want_counts(struct health_call *health)
{
    struct service *service = health->base.service;
    int64_t oldest_ns = clock_now_ns() - (int64_t)COUNTS_AGE_MS_MAX * 1000000;
    struct health_facts facts;
    struct error error = {0};
    bool is_there = false;
    bool is_first = false;

    pthread_mutex_lock(&service->counts_lock);
    is_there = service->has_counts && service->counted_ns >= oldest_ns;
    if (is_there) {
        facts = service->counts;
    } else {
        is_first = !service->is_counting;
        service->is_counting = true;
        health->next = service->counts_wanted;
        service->counts_wanted = health;
    }
    pthread_mutex_unlock(&service->counts_lock);
    if (is_there)
        answer(health, &facts);
    else if (is_first && !worker_pool_submit(service->workers, &health->work, &error))
        settle(service, NULL, 0, &error);
}

void service_handle_health(struct grpc_c_call *call, const Leadrouter__V1__HealthRequest *request, void *user)
{
    struct health_call *health = arena_alloc(grpc_c_call_arena(call), sizeof(*health));
    struct error error = {0};

    service_begin(&health->base, call, user);
    if (!service_parse_id("workspace_id", request->workspace_id, true, &health->base.workspace_id, &error)) {
        service_fail(&health->base, &error);
    } else if (uuid_is_nil(&health->base.workspace_id)) {
        health->work.run = run_count_all;
        want_counts(health);
    } else {
        health->work.run = run_count_one;
        if (!worker_pool_submit(health->base.service->workers, &health->work, &error))
            service_fail(&health->base, &error);
    }
}
