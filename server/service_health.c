/* RoutingService.Health: counts, and a verdict over them.
 *
 * The counts of all workspaces cost the database some work and are asked for by every load balancer at once. They are
 * kept for a second, and whoever asks while they are being counted gets the same answer: one count at a time, and one
 * worker at most, however many ask. */
#include "base/clock.h"
#include "health_reading.h"
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
    message->routed = (int64_t)rates->routed;
    message->duplicates = (int64_t)rates->duplicates;
    message->requeued = (int64_t)rates->requeued;
    message->failed = (int64_t)rates->failed;
    message->expired = (int64_t)rates->expired;
    message->max_us = rates->max_us;
    message->p50_us = rates->p50_us;
    message->p95_us = rates->p95_us;
    message->p99_us = rates->p99_us;
    message->final_decisions = (int64_t)rates->finals;
    message->leads_asked_for = (int64_t)rates->locks;
    message->calls = (int64_t)rates->calls;
    message->calls_failed = (int64_t)rates->calls_failed;
    message->waits = (int64_t)rates->waits;
    message->waits_late_p95 = (int64_t)rates->waits_late_p95;
    message->waits_late_p99 = (int64_t)rates->waits_late_p99;
    return message;
}

static void add_verdict(const struct health_facts *facts, struct service *service, struct arena *arena,
    Leadrouter__V1__HealthResponse *response)
{
    struct health_verdict *verdict = arena_alloc(arena, sizeof(*verdict));

    health_judge_now(service, facts, arena, verdict);
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
    response.stale_locks_age_seconds = counts->stale_mean_seconds;
    response.retries_due_attempt_mean = counts->due_attempt_mean;
    response.retries_due_attempt_max = counts->due_attempt_max;
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

/* Of one workspace. */
static bool count(
    struct health_call *health, int64_t deadline_ns, struct health_counts *ret_counts, struct error *reterr_error)
{
    static const struct service_reading reading = SERVICE_READING(HEALTH_COLUMNS, "health_counts", "($1)", 1, PG_UUID);
    struct pg_result *result = NULL;
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(health->base.call));
    pg_params_add_uuid(&params, &health->base.workspace_id);
    if (!service_read(&health->base, &reading, &params, deadline_ns, &result, reterr_error))
        return false;
    health_take_counts(result, ret_counts);
    pg_result_free(result);
    return true;
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
    bool ok = health_read(service, deadline_ns, &facts, &error);

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
