/* RoutingService.Health: counts, and a verdict over them.
 *
 * The counts of all workspaces cost the database some work and are asked for by every load balancer at once. They are
 * kept for a second, and whoever asks while they are being counted gets the same answer: one count at a time, and one
 * worker at most, however many ask. */
#include "base/clock.h"
#include "service.h"
#include "version.h"

enum {
    COUNTS_AGE_MS_MAX = 1000,
    COUNT_MS_MAX = 5000,
    PROBLEMS_MAX = 4,
    DUE_DEGRADED = 100,
    DUE_DEGRADED_OF_ONE_WORKSPACE = 50,
    DUE_CRITICAL = 500,
    STALE_CRITICAL = 10,
};

/* One call; in its arena. */
struct health_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    struct health_call *next;
};

/* --- The answer --------------------------------------------------------------------------------------------------- */

static void add_problem(Leadrouter__V1__HealthResponse *response, bool is_critical, char *text)
{
    Leadrouter__V1__HealthStatus status = is_critical ? LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_CRITICAL
                                                      : LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_DEGRADED;

    if (status > response->status)
        response->status = status;
    if (response->n_problems < PROBLEMS_MAX)
        response->problems[response->n_problems++] = text;
}

static void judge(const struct health_call *health, const struct service_counts *counts, struct arena *arena,
    Leadrouter__V1__HealthResponse *response)
{
    bool is_one = !uuid_is_nil(&health->base.workspace_id);
    int64_t due_degraded = is_one ? DUE_DEGRADED_OF_ONE_WORKSPACE : DUE_DEGRADED;

    response->status = LEADROUTER__V1__HEALTH_STATUS__HEALTH_STATUS_HEALTHY;
    response->problems = arena_alloc_array(arena, PROBLEMS_MAX, sizeof(char *));
    if (counts->retries_due > due_degraded)
        add_problem(response, counts->retries_due > DUE_CRITICAL,
            arena_format(arena, "%lld retries are due, more than %lld", (long long)counts->retries_due,
                (long long)(counts->retries_due > DUE_CRITICAL ? DUE_CRITICAL : due_degraded)));
    if (counts->stale_locks > 0)
        add_problem(response, counts->stale_locks > STALE_CRITICAL,
            arena_format(arena, "%lld %s held for more than five minutes", (long long)counts->stale_locks,
                counts->stale_locks == 1 ? "lead is" : "leads are"));
}

/* A server short of descriptors answers those it has, but should get no more connections: one too many may cost it the
 * listener (SECURITY.md). */
static void judge_descriptors(struct service *service, struct arena *arena, Leadrouter__V1__HealthResponse *response)
{
    int64_t used = descriptors_used(&service->descriptors);
    int64_t limit = descriptors_limit();

    if (descriptors_are_short(used, limit))
        add_problem(response, true,
            arena_format(arena, "%lld of %lld file descriptors are in use, more than %d %%", (long long)used,
                (long long)limit, DESCRIPTORS_USED_PERCENT_MAX));
}

static void answer(struct health_call *health, const struct service_counts *counts)
{
    struct arena *arena = grpc_c_call_arena(health->base.call);
    Leadrouter__V1__HealthResponse response = LEADROUTER__V1__HEALTH_RESPONSE__INIT;

    response.pending = counts->pending;
    response.routing = counts->routing;
    response.failed = counts->failed;
    response.retry_queue_depth = counts->retry_queue_depth;
    response.retries_due = counts->retries_due;
    response.stale_locks = counts->stale_locks;
    response.oldest_pending_age_seconds = counts->oldest_pending_age_seconds;
    response.counted_at = service_time(arena, counts->counted_us);
    response.server_version = arena_copy_string(arena, SERVER_VERSION);
    response.schema_version = health->base.service->schema_version;
    judge(health, counts, arena, &response);
    judge_descriptors(health->base.service, arena, &response);
    leadrouter__v1__routing_service__health__reply(health->base.call, &response);
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

static bool count(
    struct health_call *health, int64_t deadline_ns, struct service_counts *ret_counts, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "health_counts",
        .sql = "select pending, routing, failed, retry_queue_depth, retries_due, stale_locks, "
               "oldest_pending_age_seconds, counted_us from leadrouter.health_counts($1)",
        .param_count = 1,
        .param_types = {PG_UUID},
    };
    const struct uuid *workspace_id = &health->base.workspace_id;
    struct pg_result *result = NULL;
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(health->base.call));
    pg_params_add_uuid(&params, uuid_is_nil(workspace_id) ? NULL : workspace_id);
    if (!service_query(health->base.service, &statement, &params, deadline_ns, &result, reterr_error))
        return false;
    *ret_counts = (struct service_counts){
        .pending = pg_result_int8(result, 0, 0),
        .routing = pg_result_int8(result, 0, 1),
        .failed = pg_result_int8(result, 0, 2),
        .retry_queue_depth = pg_result_int8(result, 0, 3),
        .retries_due = pg_result_int8(result, 0, 4),
        .stale_locks = pg_result_int8(result, 0, 5),
        .oldest_pending_age_seconds = pg_result_int8(result, 0, 6),
        .counted_us = pg_result_int8(result, 0, 7),
    };
    pg_result_free(result);
    return true;
}

/* Ends counting: keeps what was counted (NULL: it failed) and answers everybody who waited. */
static void settle(struct service *service, const struct service_counts *counts, int64_t began_ns, struct error *error)
{
    struct health_call *waiting = NULL;

    pthread_mutex_lock(&service->counts_lock);
    service->is_counting = false;
    service->has_counts = counts != NULL;
    if (counts != NULL)
        service->counts = *counts;
    service->counted_ns = began_ns;
    waiting = service->counts_wanted;
    service->counts_wanted = NULL;
    pthread_mutex_unlock(&service->counts_lock);
    while (waiting != NULL) {
        struct health_call *next = waiting->next; /* the call's memory ends with its answer */
        if (counts != NULL)
            answer(waiting, counts);
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
    struct service_counts counts;
    struct error error = {0};
    bool ok = count(health, clock_after_ms(COUNT_MS_MAX), &counts, &error);

    settle(service, ok ? &counts : NULL, began_ns, &error);
}

static void run_count_one(struct work *work)
{
    struct health_call *health = (struct health_call *)(void *)work;
    struct service_counts counts;
    struct error error = {0};

    if (count(health, grpc_c_call_deadline_ns(health->base.call), &counts, &error))
        answer(health, &counts);
    else
        service_fail(&health->base, &error);
}

/* Answers with counts that are young enough, or waits for those to come. */
static void want_counts(struct health_call *health)
{
    struct service *service = health->base.service;
    int64_t oldest_ns = clock_now_ns() - (int64_t)COUNTS_AGE_MS_MAX * 1000000;
    struct service_counts counts = {0};
    struct error error = {0};
    bool is_there = false;
    bool is_first = false;

    pthread_mutex_lock(&service->counts_lock);
    is_there = service->has_counts && service->counted_ns >= oldest_ns;
    if (is_there) {
        counts = service->counts;
    } else {
        is_first = !service->is_counting;
        service->is_counting = true;
        health->next = service->counts_wanted;
        service->counts_wanted = health;
    }
    pthread_mutex_unlock(&service->counts_lock);
    if (is_there)
        answer(health, &counts);
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
