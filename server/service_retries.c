/* RoutingService.ProcessRetries: leads whose retries are due, decided as part of the call. */
#include <string.h>

#include "authorization.h"
#include "base/clock.h"
#include "routing/retries.h"
#include "service.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 10000, ERRORS_MAX = 100, STEP_FIRST = 32 /* leads; twice as many each time */ };

/* One call; in its arena. */
struct retries_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    unsigned limit;
    int64_t deadline_ns;
    unsigned step;      /* leads in the next transaction, at most */
    int64_t longest_ns; /* that a transaction took so far */

    /* what came of it */
    struct routing_retries_report report;
    bool is_ended; /* nothing is due any more */
    Leadrouter__V1__RetryError *errors[ERRORS_MAX];
    size_t error_count;
};

/* --- Connections -------------------------------------------------------------------------------------------------- */

/* One for this call alone: one that is idle, or a new one. There are never more than there are threads for long calls. */
static struct routing_retries *take_retries(struct service *service)
{
    struct routing_retries *retries = NULL;

    pthread_mutex_lock(&service->retries_lock);
    if (service->retries_idle_count > 0)
        retries = service->retries_idle[--service->retries_idle_count];
    pthread_mutex_unlock(&service->retries_lock);
    return retries == NULL ? routing_retries_new(service->engine) : retries;
}

static void give_back(struct service *service, struct routing_retries *retries)
{
    pthread_mutex_lock(&service->retries_lock);
    if (service->retries_idle_count < SERVICE_LONG_WORKERS) {
        service->retries_idle[service->retries_idle_count++] = retries;
        retries = NULL;
    }
    pthread_mutex_unlock(&service->retries_lock);
    routing_retries_free(retries);
}

void service_release_retries(struct service *service)
{
    while (service->retries_idle_count > 0)
        routing_retries_free(service->retries_idle[--service->retries_idle_count]);
}

/* --- Deciding ----------------------------------------------------------------------------------------------------- */

static bool is_told(const struct retries_call *call, const char *lead_id)
{
    for (size_t i = 0; i < call->error_count; i++)
        if (strcmp(call->errors[i]->lead_id, lead_id) == 0)
            return true;
    return false;
}

/* A lead that could not be looked at stays due, so that it may come up again in this call: it counts once. */
static void on_error(void *user, const struct uuid *lead_id, const struct error *error)
{
    struct retries_call *call = user;
    struct arena *arena = grpc_c_call_arena(call->base.call);
    char *id = service_id(arena, lead_id);

    if (is_told(call, id)) {
        call->report.processed--;
        call->report.errors--;
        return;
    }
    if (call->error_count == ERRORS_MAX)
        return;
    Leadrouter__V1__RetryError *message = arena_alloc(arena, sizeof(*message));
    leadrouter__v1__retry_error__init(message);
    message->lead_id = id;
    message->error = arena_copy_string(arena, service_text(error));
    call->errors[call->error_count++] = message;
}

/* Whether the call goes on: there is room under its limit, time for a transaction three times as long as the longest so far (it is twice
 * as large, and may be slower), somebody who wants to know, and not every lead fails. */
static bool goes_on(const struct retries_call *call)
{
    return call->report.processed < call->limit && call->error_count < ERRORS_MAX &&
           clock_now_ns() + 3 * call->longest_ns < call->deadline_ns && !grpc_c_call_is_cancelled(call->base.call);
}

/* One transaction of at most so many leads as the call still may, and as it has found out that there is time for. */
static bool run_step(struct retries_call *call, struct routing_retries *retries, struct routing_retries_order *order,
    struct error *reterr_error)
{
    unsigned left = call->limit - call->report.processed;
    int64_t began_ns = clock_now_ns();
    bool ok = false;

    order->limit = left < call->step ? left : call->step;
    ok = routing_retries_run(retries, order, &call->report, on_error, call, reterr_error);
    call->step = call->step < LIMIT_MAX ? 2 * call->step : LIMIT_MAX;
    if (clock_now_ns() - began_ns > call->longest_ns)
        call->longest_ns = clock_now_ns() - began_ns;
    return ok;
}

/* Decides what is due in one way, transaction by transaction. `*ret_is_ended`: nothing is left. */
static bool run_kind(struct retries_call *call, struct routing_retries *retries, enum routing_retries_kind kind,
    bool *ret_is_ended, struct error *reterr_error)
{
    struct routing_retries_order order = {
        .kind = kind,
        .workspace_id = call->base.workspace_id,
        .by_hand = true,
        .is_thorough = true,
        .deadline_ns = call->deadline_ns,
    };
    const struct authorization_need *need = authorization_need(call->base.call);

    if (need != NULL) {
        order.member_id = need->user_id;
        order.member_is_admin = need->is_admin;
    }
    *ret_is_ended = false;
    while (goes_on(call)) {
        unsigned before = call->report.processed;
        if (!run_step(call, retries, &order, reterr_error))
            return reterr_error->code == ERROR_DEADLINE && clock_now_ns() >= call->deadline_ns;
        *ret_is_ended = call->report.is_short;
        if (*ret_is_ended || call->report.processed == before) /* others have what is left */
            break;
    }
    return true;
}

static void reply(struct retries_call *call)
{
    const struct routing_retries_report *report = &call->report;
    Leadrouter__V1__ProcessRetriesResponse response = LEADROUTER__V1__PROCESS_RETRIES_RESPONSE__INIT;

    response.processed = (int32_t)report->processed;
    response.routed = (int32_t)report->routed;
    response.duplicates = (int32_t)report->duplicates;
    response.requeued = (int32_t)report->requeued;
    response.failed = (int32_t)report->failed;
    response.expired = (int32_t)report->expired;
    response.held = (int32_t)report->held;
    response.errors = call->errors;
    response.n_errors = call->error_count;
    response.more = !call->is_ended;
    leadrouter__v1__routing_service__process_retries__reply(call->base.call, &response);
}

/* Those whose time has come, then those that new rules may help: who wants it soonest is whom an operator thinks of. */
static void run_process_retries(struct work *work)
{
    struct retries_call *call = (struct retries_call *)(void *)work;
    struct service *service = call->base.service;
    struct routing_retries *retries = NULL;
    struct error error = {0};
    bool is_due_ended = false;
    bool is_outdated_ended = false;
    bool ok = false;

    call->step = STEP_FIRST;
    call->deadline_ns = service_work_deadline_ns(&call->base);
    retries = take_retries(service);
    ok = run_kind(call, retries, ROUTING_RETRIES_DUE, &is_due_ended, &error) &&
         run_kind(call, retries, ROUTING_RETRIES_OUTDATED, &is_outdated_ended, &error);
    give_back(service, retries);
    call->is_ended = is_due_ended && is_outdated_ended;
    service_know_denied(&error);
    if (ok)
        reply(call);
    else
        service_fail(&call->base, &error);
}

void service_handle_process_retries(
    struct grpc_c_call *call, const Leadrouter__V1__ProcessRetriesRequest *request, void *user)
{
    struct retries_call *retries = arena_alloc(grpc_c_call_arena(call), sizeof(*retries));
    struct service_call *base = &retries->base;
    struct error error = {0};
    bool ok = false;

    service_begin(base, call, user);
    retries->work.run = run_process_retries;
    retries->limit = request->limit == 0 ? LIMIT_DEFAULT : (unsigned)request->limit;
    if (request->limit < 0 || request->limit > LIMIT_MAX)
        error_set(&error, ERROR_INVALID, "limit: must be from 1 to %d, or 0 for %d", LIMIT_MAX, LIMIT_DEFAULT);
    else
        ok = service_parse_id("workspace_id", request->workspace_id, true, &base->workspace_id, &error) &&
             worker_pool_submit(base->service->long_workers, &retries->work, &error);
    if (!ok)
        service_fail(base, &error);
}
