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

/* Some of a batch's leads, in a row. */
struct part {
    Leadrouter__V1__NewLead **leads;
    size_t *lines;
    size_t count;
};

/* Waits before a try, longer each time, and says why on the progress line. */
static void pause_before(struct sender *sender, unsigned tries, const struct grpc_c_outcome *outcome)
{
    struct error error = {0};
    int left_ms = PAUSE_FIRST_MS << (tries - 1);

    describe_failure(sender->options.target, outcome, &error);
    summary_set_note(sender->options.summary, error.text);
    while (left_ms > 0) {
        summary_show_progress(sender->options.summary);
        poll(NULL, 0, PAUSE_FIRST_MS);
        left_ms -= PAUSE_FIRST_MS;
    }
}

/* One call, repeated under one request id until it is carried out or there is no use. */
static enum grpc_c_status call_server(struct sender *sender, const struct part *part,
    Leadrouter__V1__CreateLeadsResponse **ret_response, struct grpc_c_outcome *ret_outcome)
{
    Leadrouter__V1__CreateLeadsRequest request = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;
    struct grpc_c_call_options options = {.deadline_ms = CALL_DEADLINE_MS};
    struct uuid id = uuid_random();
    char request_id[UUID_TEXT_SIZE];
    enum grpc_c_status status = GRPC_C_OK;

    request.workspace_id = (char *)(uintptr_t)sender->options.workspace_id;
    request.leads = part->leads;
    request.n_leads = part->count;
    request.route = sender->options.route;
    request.request_id = uuid_format(&id, request_id);
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        if (tries > 0)
            pause_before(sender, tries, ret_outcome);
        grpc_c_outcome_release(ret_outcome);
        status = leadrouter__v1__lead_service__create_leads(
            sender->options.channel, &request, &options, ret_response, ret_outcome);
        if (!is_worth_another_try(status))
            break;
    }
    summary_set_note(sender->options.summary, NULL);
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

/* Rejects a lead for what the server says of it: "leads[3].email: …", or "leads: …" of a call with this one alone. */
static void reject(struct sender *sender, struct part *part, size_t index, const char *message)
{
    const char *dot = strncmp(message, "leads[", 6) == 0 ? strchr(message, '.') : NULL;
    const char *reason = dot != NULL ? dot + 1 : strncmp(message, "leads: ", 7) == 0 ? message + 7 : message;

    summary_add_rejected(sender->options.summary, part->lines[index], reason);
    part->count--;
    memmove(&part->leads[index], &part->leads[index + 1], (part->count - index) * sizeof(*part->leads));
    memmove(&part->lines[index], &part->lines[index + 1], (part->count - index) * sizeof(*part->lines));
}

static void give_up(struct sender *sender, const struct grpc_c_outcome *outcome)
{
    pthread_mutex_lock(&sender->lock);
    if (sender->error.code == ERROR_NONE)
        describe_failure(sender->options.target, outcome, &sender->error);
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

static bool has_failed(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    bool failed = sender->error.code != ERROR_NONE;
    pthread_mutex_unlock(&sender->lock);
    return failed;
}

/* Sends leads until all are taken or rejected. A refusal that names a lead costs that one; one that only says that
 * there is a bad lead among them ("leads: …") is looked for by halves: a call per level, so at most ten deep. */
static void send_part(struct sender *sender, struct part part)
{
    while (part.count > 0 && !has_failed(sender)) {
        Leadrouter__V1__CreateLeadsResponse *response = NULL;
        struct grpc_c_outcome outcome = {0};
        enum grpc_c_status status = call_server(sender, &part, &response, &outcome);
        bool is_refused = status == GRPC_C_INVALID_ARGUMENT;
        long named = is_refused ? named_lead(outcome.message, part.count) : -1;
        bool is_among_them = is_refused && strncmp(outcome.message, "leads: ", 7) == 0;
        if (status == GRPC_C_OK) {
            summary_add_results(sender->options.summary, response);
            leadrouter__v1__create_leads_response__free_unpacked(response, NULL);
            part.count = 0;
        } else if (named >= 0 || (is_among_them && part.count == 1)) {
            reject(sender, &part, named >= 0 ? (size_t)named : 0, outcome.message);
        } else if (is_among_them) {
            size_t half = part.count / 2;
            send_part(sender, (struct part){part.leads, part.lines, half});
            part = (struct part){part.leads + half, part.lines + half, part.count - half};
        } else {
            give_up(sender, &outcome);
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

static void *send_main(void *argument)
{
    struct sender *sender = argument;
    struct sender_batch *batch = NULL;

    while ((batch = next_batch(sender)) != NULL) {
        send_part(sender, (struct part){batch->leads, batch->lines, batch->count});
        summary_show_progress(sender->options.summary);
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
