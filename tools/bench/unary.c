#include "unary.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "grpc_c/client.h"
#include "leadrouter/v1/routing.grpc.h"

enum { CALL_DEADLINE_MS = 10000, READY_MS = 30000 };

struct unary;

/* One of the calls in flight. */
struct slot {
    struct unary *unary;
    struct slot *next_free;
    size_t index; /* the lead */
    int64_t begun_ns;
};

struct unary {
    struct run *run;
    struct grpc_c_channel *channel;
    const struct unary_options *options;
    bool is_paced; /* calls are begun by the clock, not by the answer before */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot *free_slots; /* under the lock */
    unsigned free_count;     /* under the lock */
};

static void give_back(struct slot *slot)
{
    struct unary *unary = slot->unary;

    pthread_mutex_lock(&unary->lock);
    slot->next_free = unary->free_slots;
    unary->free_slots = slot;
    unary->free_count++;
    pthread_cond_signal(&unary->changed);
    pthread_mutex_unlock(&unary->lock);
}

static void answered(
    const Leadrouter__V1__RouteLeadResponse *response, const struct grpc_c_outcome *outcome, void *user);

/* Begins a call for the lead at `index`. */
static void begin(struct slot *slot, size_t index, int64_t begun_ns)
{
    const struct workload *workload = slot->unary->run->workload;
    const char *const *authorizations = slot->unary->options->authorizations;
    struct grpc_c_metadata metadata = {.key = "authorization"};
    struct grpc_c_call_options options = {.deadline_ms = CALL_DEADLINE_MS, .wait_for_ready = true};
    Leadrouter__V1__RouteLeadRequest request = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    char lead_id[UUID_TEXT_SIZE];
    char workspace_id[UUID_TEXT_SIZE];

    slot->index = index;
    slot->begun_ns = begun_ns;
    if (authorizations != NULL) {
        metadata.value = authorizations[index];
        metadata.size = strlen(metadata.value);
        options.metadata = &metadata;
        options.metadata_count = 1;
    }
    request.lead_id = uuid_format(&workload->lead_ids[index], lead_id);
    request.source_workspace_id = uuid_format(&workload->source_workspace_ids[index], workspace_id);
    leadrouter__v1__routing_service__route_lead__async(slot->unary->channel, &request, &options, answered, slot, NULL);
}

static void answered(
    const Leadrouter__V1__RouteLeadResponse *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct slot *slot = user;
    struct unary *unary = slot->unary;
    atomic_uint_least64_t *refused = unary->options->refused;
    char text[RUN_ERROR_SIZE];
    size_t index = 0;

    if (refused != NULL && outcome->status == GRPC_C_RESOURCE_EXHAUSTED) {
        atomic_fetch_add(refused, 1);
        if (run_is_over(unary->run))
            give_back(slot);
        else
            begin(slot, slot->index, clock_now_ns());
        return;
    }
    if (response != NULL && response->outcome > 0 && (unsigned)response->outcome < RUN_OUTCOMES) {
        run_report_outcome(unary->run, slot->begun_ns, (enum routing_outcome)response->outcome);
    } else {
        snprintf(text, sizeof(text), "%s: %s", grpc_c_status_name(outcome->status), outcome->message);
        run_report_error(unary->run, text);
    }
    if (!unary->is_paced && run_take(unary->run, &index))
        begin(slot, index, clock_now_ns());
    else
        give_back(slot);
}

/* A free slot, waiting for one. */
static struct slot *take_slot(struct unary *unary)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&unary->lock);
    while (unary->free_slots == NULL)
        pthread_cond_wait(&unary->changed, &unary->lock);
    slot = unary->free_slots;
    unary->free_slots = slot->next_free;
    unary->free_count--;
    pthread_mutex_unlock(&unary->lock);
    return slot;
}

static void wait_until_idle(struct unary *unary, unsigned in_flight)
{
    pthread_mutex_lock(&unary->lock);
    while (unary->free_count < in_flight)
        pthread_cond_wait(&unary->changed, &unary->lock);
    pthread_mutex_unlock(&unary->lock);
}

/* Begins calls when they are due. One that finds all slots taken waits, and the wait is part of its latency: a slow
 * server cannot hide behind being asked less. */
static void pace(struct unary *unary)
{
    const struct unary_options *options = unary->options;
    size_t index = 0;

    for (uint64_t i = 0; options->due_ns == NULL || i < unary->run->workload->count; i++) {
        int64_t due_ns =
            unary->run->start_ns +
            (options->due_ns != NULL ? options->due_ns[i] : (int64_t)(i * 1000000000 / options->calls_per_second));
        struct timespec due = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR && !atomic_load(&run_interrupted))
            ;
        struct slot *slot = take_slot(unary);
        if (!run_take(unary->run, &index)) {
            give_back(slot);
            return;
        }
        begin(slot, index, due_ns);
    }
}

/* Fills all slots; from then on each answer begins the next call. */
static void flood(struct unary *unary, unsigned in_flight)
{
    size_t index = 0;

    for (unsigned i = 0; i < in_flight && run_take(unary->run, &index); i++)
        begin(take_slot(unary), index, clock_now_ns());
}

bool unary_run(struct run *run, const struct unary_options *options, struct error *reterr_error)
{
    /* Without the core's retries, unless they are what is wanted: a failed call is counted, and costs nothing before. */
    const struct grpc_c_channel_options channel = {
        .no_retries = options->service_config_json == NULL, .service_config_json = options->service_config_json};
    struct unary unary = {
        .run = run, .options = options, .is_paced = options->calls_per_second > 0 || options->due_ns != NULL};
    struct slot *slots = NULL;
    bool ok = false;

    assert(options->in_flight >= 1);
    pthread_mutex_init(&unary.lock, NULL);
    pthread_cond_init(&unary.changed, NULL);
    if (!grpc_c_channel_new(options->target, &channel, &unary.channel, reterr_error))
        goto cleanup;
    slots = memory_new_array(options->in_flight, sizeof(*slots));
    for (unsigned i = 0; i < options->in_flight; i++) {
        slots[i].unary = &unary;
        give_back(&slots[i]);
    }
    run_begin(run);
    if (unary.is_paced)
        pace(&unary);
    else
        flood(&unary, options->in_flight);
    wait_until_idle(&unary, options->in_flight);
    ok = true;
cleanup:
    grpc_c_channel_free(unary.channel);
    free(slots);
    pthread_cond_destroy(&unary.changed);
    pthread_mutex_destroy(&unary.lock);
    return ok;
}

bool unary_wait_ready(const char *target, const char *token, struct error *reterr_error)
{
    const struct grpc_c_channel_options shown = {.token = token};
    const struct grpc_c_call_options options = {.deadline_ms = READY_MS, .wait_for_ready = true};
    Leadrouter__V1__HealthRequest request = LEADROUTER__V1__HEALTH_REQUEST__INIT;
    Leadrouter__V1__HealthResponse *response = NULL;
    struct grpc_c_channel *channel = NULL;
    struct grpc_c_outcome outcome = {0};
    bool ok = false;

    if (!grpc_c_channel_new(target, &shown, &channel, reterr_error))
        return false;
    ok = leadrouter__v1__routing_service__health(channel, &request, &options, &response, &outcome) == GRPC_C_OK;
    if (ok)
        leadrouter__v1__health_response__free_unpacked(response, NULL);
    else
        error_set(reterr_error, ERROR_UNAVAILABLE, "%s does not answer: %s %s", target,
            grpc_c_status_name(outcome.status), outcome.message == NULL ? "" : outcome.message);
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return ok;
}
