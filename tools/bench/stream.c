#include "stream.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "grpc_c/client.h"
#include "leadrouter/v1/routing.grpc.h"

/* One lead under way; the index of its request is its place in the array. */
struct slot {
    int64_t begun_ns;
    size_t next_free; /* index + 1; 0: none */
};

struct stream {
    struct run *run;
    struct grpc_c_stream *call;
    struct slot *slots;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    size_t first_free; /* index + 1; 0: all are taken */
    bool is_sending;
    bool is_closed; /* the sending side */
    bool has_ended;
};

static void sent(struct grpc_c_stream *call, bool is_sent, void *user);

/* Sends the next lead when nothing is being sent and a slot is free; closes behind the last. Under the lock. */
static void send_next(struct stream *stream)
{
    const struct workload *workload = stream->run->workload;
    Leadrouter__V1__RouteLeadsRequest request = LEADROUTER__V1__ROUTE_LEADS_REQUEST__INIT;
    Leadrouter__V1__RouteLeadRequest lead = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    char lead_id[UUID_TEXT_SIZE];
    char workspace_id[UUID_TEXT_SIZE];
    size_t index = 0;

    if (stream->is_sending || stream->is_closed || stream->first_free == 0)
        return;
    if (!run_take(stream->run, &index)) {
        stream->is_closed = true;
        grpc_c_stream_close_sending(stream->call);
        return;
    }
    size_t place = stream->first_free - 1;
    stream->first_free = stream->slots[place].next_free;
    stream->slots[place].begun_ns = clock_now_ns();
    request.index = place;
    request.lead = &lead;
    lead.lead_id = uuid_format(&workload->lead_ids[index], lead_id);
    lead.source_workspace_id = uuid_format(&workload->source_workspace_ids[index], workspace_id);
    stream->is_sending = true;
    leadrouter__v1__routing_service__route_leads__send_async(stream->call, &request, sent, stream);
}

static void sent(struct grpc_c_stream *call, bool is_sent, void *user)
{
    struct stream *stream = user;

    (void)call;
    pthread_mutex_lock(&stream->lock);
    stream->is_sending = false;
    if (is_sent)
        send_next(stream);
    else
        stream->is_closed = true; /* the call is over, and its end says why */
    pthread_mutex_unlock(&stream->lock);
}

static void answered(struct grpc_c_stream *call, const Leadrouter__V1__RouteLeadsResponse *response, void *user)
{
    struct stream *stream = user;
    char text[RUN_ERROR_SIZE];

    if (response == NULL)
        return;
    if (response->result != NULL && response->result->outcome > 0 &&
        (unsigned)response->result->outcome < RUN_OUTCOMES) {
        run_report_outcome(
            stream->run, stream->slots[response->index].begun_ns, (enum routing_outcome)response->result->outcome);
    } else {
        snprintf(
            text, sizeof(text), "%s: %s", grpc_c_status_name((enum grpc_c_status)response->code), response->message);
        run_report_error(stream->run, text);
    }
    pthread_mutex_lock(&stream->lock);
    stream->slots[response->index].next_free = stream->first_free;
    stream->first_free = response->index + 1;
    send_next(stream);
    pthread_mutex_unlock(&stream->lock);
    leadrouter__v1__routing_service__route_leads__next_async(call, answered, stream);
}

static void ended(struct grpc_c_stream *call, const struct grpc_c_outcome *outcome, void *user)
{
    struct stream *stream = user;
    char text[RUN_ERROR_SIZE];

    (void)call;
    if (outcome->status != GRPC_C_OK) {
        snprintf(text, sizeof(text), "%s: %s", grpc_c_status_name(outcome->status), outcome->message);
        run_report_error(stream->run, text);
    }
    pthread_mutex_lock(&stream->lock);
    stream->has_ended = true;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

bool stream_run(struct run *run, const char *target, unsigned under_way, struct error *reterr_error)
{
    const struct grpc_c_call_options options = {.wait_for_ready = true};
    struct stream stream = {.run = run};
    struct grpc_c_channel *channel = NULL;

    if (!grpc_c_channel_new(target, NULL, &channel, reterr_error))
        return false;
    pthread_mutex_init(&stream.lock, NULL);
    pthread_cond_init(&stream.changed, NULL);
    stream.slots = memory_new_array(under_way, sizeof(*stream.slots));
    for (size_t i = 0; i < under_way; i++) {
        stream.slots[i].next_free = stream.first_free;
        stream.first_free = i + 1;
    }
    run_begin(run);
    stream.call = leadrouter__v1__routing_service__route_leads__open(channel, &options);
    grpc_c_stream_on_end(stream.call, ended, &stream);
    leadrouter__v1__routing_service__route_leads__next_async(stream.call, answered, &stream);
    pthread_mutex_lock(&stream.lock);
    send_next(&stream);
    while (!stream.has_ended)
        pthread_cond_wait(&stream.changed, &stream.lock);
    pthread_mutex_unlock(&stream.lock);
    grpc_c_stream_free(stream.call);
    grpc_c_channel_free(channel);
    free(stream.slots);
    pthread_cond_destroy(&stream.changed);
    pthread_mutex_destroy(&stream.lock);
    return true;
}
