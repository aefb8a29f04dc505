#include "sender.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"
#include "leadrouter/v1/leads.grpc.h"

enum { THREADS = 4, WAITING_MAX = 4, TRIES_MAX = 8, PAUSE_FIRST_MS = 100, CALL_DEADLINE_MS = 30000 };

struct sender {
    struct sender_options options;
    pthread_t threads[THREADS];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct sender_batch *first;
    struct sender_batch **end;
    size_t waiting;
    bool is_closed;
    struct error error; /* why sending has ended early */
};

struct sender_batch *sender_batch_new(size_t leads_max)
{
    struct sender_batch *batch = memory_new(sizeof(*batch));

    batch->arena = arena_new(64 * 1024);
    batch->leads = memory_new_array(leads_max, sizeof(Leadrouter__V1__NewLead *));
    batch->lines = memory_new_array(leads_max, sizeof(*batch->lines));
    return batch;
}

void sender_batch_free(struct sender_batch *batch)
{
    if (batch == NULL)
        return;
    arena_free(batch->arena);
    free(batch->leads);
    free(batch->lines);
    free(batch);
}

static bool is_worth_another_try(enum grpc_c_status status)
{
    return status == GRPC_C_UNAVAILABLE || status == GRPC_C_RESOURCE_EXHAUSTED || status == GRPC_C_DEADLINE_EXCEEDED;
}

/* One call, repeated under one request id until it is carried out or there is no use. */
static enum grpc_c_status call_server(struct sender *sender, struct sender_batch *batch,
    Leadrouter__V1__CreateLeadsResponse **ret_response, struct grpc_c_outcome *ret_outcome)
{
    Leadrouter__V1__CreateLeadsRequest request = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;
    struct grpc_c_call_options options = {.deadline_ms = CALL_DEADLINE_MS};
    struct uuid id = uuid_random();
    char request_id[UUID_TEXT_SIZE];
    enum grpc_c_status status = GRPC_C_OK;

    request.workspace_id = (char *)(uintptr_t)sender->options.workspace_id;
    request.leads = batch->leads;
    request.n_leads = batch->count;
    request.route = sender->options.route;
    request.request_id = uuid_format(&id, request_id);
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        grpc_c_outcome_release(ret_outcome);
        if (tries > 0)
            poll(NULL, 0, PAUSE_FIRST_MS << (tries - 1));
        status = leadrouter__v1__lead_service__create_leads(
            sender->options.channel, &request, &options, ret_response, ret_outcome);
        if (!is_worth_another_try(status))
            break;
    }
    return status;
}

/* The lead that the server's message names, as in "leads[3].email: …"; -1 when it names none. */
static long named_lead(const char *message, size_t count)
{
    unsigned long index = 0;

    if (sscanf(message, "leads[%lu]", &index) != 1 || index >= count)
        return -1;
    return (long)index;
}

static void drop_lead(struct sender_batch *batch, size_t index)
{
    batch->count--;
    memmove(&batch->leads[index], &batch->leads[index + 1], (batch->count - index) * sizeof(*batch->leads));
    memmove(&batch->lines[index], &batch->lines[index + 1], (batch->count - index) * sizeof(*batch->lines));
}

static void give_up(struct sender *sender, const struct grpc_c_outcome *outcome)
{
    pthread_mutex_lock(&sender->lock);
    if (sender->error.code == ERROR_NONE)
        describe_failure(sender->options.target, outcome, &sender->error);
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

static void send_batch(struct sender *sender, struct sender_batch *batch)
{
    while (batch->count > 0) {
        Leadrouter__V1__CreateLeadsResponse *response = NULL;
        struct grpc_c_outcome outcome = {0};
        enum grpc_c_status status = call_server(sender, batch, &response, &outcome);
        long refused = status == GRPC_C_INVALID_ARGUMENT ? named_lead(outcome.message, batch->count) : -1;
        if (status == GRPC_C_OK) {
            summary_add_results(sender->options.summary, response);
            leadrouter__v1__create_leads_response__free_unpacked(response, NULL);
            batch->count = 0;
        } else if (refused >= 0) {
            const char *reason = strchr(outcome.message, '.');
            summary_add_rejected(
                sender->options.summary, batch->lines[refused], reason == NULL ? outcome.message : reason + 1);
            drop_lead(batch, (size_t)refused);
        } else {
            give_up(sender, &outcome);
            batch->count = 0;
        }
        grpc_c_outcome_release(&outcome);
    }
}

/* The next batch, or NULL when there will be none. */
static struct sender_batch *next_batch(struct sender *sender)
{
    struct sender_batch *batch = NULL;

    pthread_mutex_lock(&sender->lock);
    while (sender->first == NULL && !sender->is_closed)
        pthread_cond_wait(&sender->changed, &sender->lock);
    batch = sender->first;
    if (batch != NULL) {
        sender->first = batch->next;
        if (sender->first == NULL)
            sender->end = &sender->first;
        sender->waiting--;
        pthread_cond_broadcast(&sender->changed);
    }
    pthread_mutex_unlock(&sender->lock);
    return batch;
}

static bool has_failed(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    bool failed = sender->error.code != ERROR_NONE;
    pthread_mutex_unlock(&sender->lock);
    return failed;
}

static void *send_main(void *argument)
{
    struct sender *sender = argument;
    struct sender_batch *batch = NULL;

    while ((batch = next_batch(sender)) != NULL) {
        if (!has_failed(sender))
            send_batch(sender, batch);
        sender_batch_free(batch);
    }
    return NULL;
}

struct sender *sender_new(const struct sender_options *options)
{
    struct sender *sender = memory_new(sizeof(*sender));

    sender->options = *options;
    sender->end = &sender->first;
    pthread_mutex_init(&sender->lock, NULL);
    pthread_cond_init(&sender->changed, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&sender->threads[i], NULL, send_main, sender) != 0)
            abort(); /* four threads: a system without them has no use for us */
    return sender;
}

bool sender_send(struct sender *sender, struct sender_batch *batch)
{
    bool ok = false;

    pthread_mutex_lock(&sender->lock);
    while (sender->waiting >= WAITING_MAX && sender->error.code == ERROR_NONE)
        pthread_cond_wait(&sender->changed, &sender->lock);
    ok = sender->error.code == ERROR_NONE;
    batch->next = NULL;
    *sender->end = batch;
    sender->end = &batch->next;
    sender->waiting++;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    return ok;
}

bool sender_finish(struct sender *sender, struct error *reterr_error)
{
    bool ok = false;

    pthread_mutex_lock(&sender->lock);
    sender->is_closed = true;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(sender->threads[i], NULL);
    ok = sender->error.code == ERROR_NONE;
    if (!ok)
        *reterr_error = sender->error;
    pthread_cond_destroy(&sender->changed);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
    return ok;
}
