/* RoutingService.RouteLeads: one stream, many leads under way. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service.h"

enum {
    WINDOW = 512,    /* leads of a stream under way: two full batches */
    LEAD_MS = 30000, /* what each lead is given */
    ARENA_SIZE = 2048,
};

/* One lead of a stream: waiting for the engine, or answered and waiting to be sent. */
struct stream_lead {
    struct routing_ticket ticket;
    struct route_stream *stream;
    uint64_t index;
    struct limits_hold hold; /* until it is answered */
    struct routing_answer answer;
    struct stream_lead *next; /* on one of the stream's lists */
    struct stream_lead *previous;
};

/* A stream. Reading and writing go on side by side: a read is asked for while fewer than WINDOW leads are under way, so
 * that who does not read its answers is not read from. On the heap: whoever finds that all is done ends the call. */
struct route_stream {
    struct service_call base;

    pthread_mutex_t lock;
    /* under the lock */
    struct stream_lead *deciding; /* the engine's */
    struct stream_lead *answered; /* to be sent, in this order */
    struct stream_lead **answered_end;
    struct stream_lead *free_leads;
    size_t lead_count; /* under way: deciding, answered, or being sent */
    bool is_reading;
    bool is_writing;
    bool has_ended;   /* no more will be read */
    bool is_gone;     /* nobody is left who reads, or the call ends badly */
    bool is_ending;   /* the server stops: what was read is answered, and nothing more is read */
    bool is_answered; /* the call, while a read was under way */
    struct arena *arena;

    struct route_stream *next; /* of the service's streams; under its lock */
    struct route_stream *previous;
};

/* --- All streams -------------------------------------------------------------------------------------------------- */

static void enlist(struct route_stream *stream)
{
    struct service *service = stream->base.service;

    pthread_mutex_lock(&service->streams_lock);
    stream->is_ending = service->streams_are_ending;
    stream->next = service->streams;
    if (stream->next != NULL)
        stream->next->previous = stream;
    service->streams = stream;
    pthread_mutex_unlock(&service->streams_lock);
}

static void delist(struct route_stream *stream)
{
    struct service *service = stream->base.service;

    pthread_mutex_lock(&service->streams_lock);
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        service->streams = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    pthread_mutex_unlock(&service->streams_lock);
}

/* --- One ---------------------------------------------------------------------------------------------------------- */

static void stream_free(struct route_stream *stream)
{
    while (stream->free_leads != NULL) {
        struct stream_lead *lead = stream->free_leads;
        stream->free_leads = lead->next;
        free(lead);
    }
    arena_free(stream->arena);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

static struct stream_lead *lead_take(struct route_stream *stream)
{
    struct stream_lead *lead = stream->free_leads;

    if (lead != NULL)
        stream->free_leads = lead->next;
    else
        lead = memory_new(sizeof(*lead));
    *lead = (struct stream_lead){.stream = stream};
    stream->lead_count++;
    return lead;
}

static void lead_put(struct route_stream *stream, struct stream_lead *lead)
{
    lead->next = stream->free_leads;
    stream->free_leads = lead;
    stream->lead_count--;
}

static void append_answered(struct route_stream *stream, struct stream_lead *lead)
{
    lead->next = NULL;
    *stream->answered_end = lead;
    stream->answered_end = &lead->next;
}

/* Leads that nobody waits for any more are dropped where they are; those in a transaction still come back. */
static void abandon(struct route_stream *stream)
{
    stream->is_gone = true;
    stream->has_ended = true;
    for (struct stream_lead *lead = stream->deciding; lead != NULL; lead = lead->next)
        atomic_store(&lead->ticket.abandoned, true);
    while (stream->answered != NULL) {
        struct stream_lead *lead = stream->answered;
        stream->answered = lead->next;
        lead_put(stream, lead);
    }
    stream->answered_end = &stream->answered;
}

static grpc_c_write_callback written;
static void request_read(
    struct grpc_c_call *call, enum grpc_c_read result, const Leadrouter__V1__RouteLeadsRequest *message, void *user);

/* Sends the first of the answers that wait. */
static void send_next(struct route_stream *stream)
{
    Leadrouter__V1__RouteLeadsResponse response = LEADROUTER__V1__ROUTE_LEADS_RESPONSE__INIT;
    struct stream_lead *lead = stream->answered;
    const struct routing_answer *answer = &lead->answer;

    stream->answered = lead->next;
    if (stream->answered == NULL)
        stream->answered_end = &stream->answered;
    response.index = lead->index;
    if (answer->error.code == ERROR_NONE) {
        response.result = service_route_response(stream->arena, answer);
    } else {
        response.code = (int32_t)service_status(&answer->error);
        response.message = arena_copy_string(stream->arena, service_text(&answer->error));
        response.retry_after_ms = service_pushback_ms(&answer->error);
    }
    stream->is_writing = true;
    leadrouter__v1__routing_service__route_leads__write(stream->base.call, &response, written, stream);
    arena_clear(stream->arena); /* packed already */
    lead_put(stream, lead);
}

static void end_for_stop(struct grpc_c_call *call)
{
    grpc_c_call_fail(call, GRPC_C_UNAVAILABLE,
        "the server is stopping; leads that have no answer were not looked at, asking again is safe");
}

/* Does what can be done now, but for the end; under the lock. */
static void move_on(struct route_stream *stream)
{
    struct grpc_c_call *call = stream->base.call;

    if (stream->answered != NULL && !stream->is_writing)
        send_next(stream);
    if (!stream->has_ended && !stream->is_ending && !stream->is_reading && stream->lead_count < WINDOW) {
        stream->is_reading = true;
        leadrouter__v1__routing_service__route_leads__read(call, request_read, stream);
    }
    /* The client may never send or close: the read that waits for it comes back when the call has been answered. */
    if (stream->is_ending && !stream->has_ended && !stream->is_answered && stream->is_reading &&
        stream->lead_count == 0 && !stream->is_writing) {
        stream->is_answered = true;
        end_for_stop(call);
    }
}

/* Does what can be done now, and gives up the lock. Ends the call when nothing is left to do. */
static void go_on(struct route_stream *stream)
{
    struct grpc_c_call *call = stream->base.call;

    move_on(stream);
    bool is_gone = stream->is_gone;
    bool is_answered = stream->is_answered;
    bool has_ended = stream->has_ended;
    bool is_done =
        (has_ended || stream->is_ending) && stream->lead_count == 0 && !stream->is_reading && !stream->is_writing;
    pthread_mutex_unlock(&stream->lock);
    if (!is_done)
        return;
    delist(stream);
    stream_free(stream);
    if (is_answered)
        return;
    if (is_gone)
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "the stream was broken off; leads under way may have been routed");
    else if (has_ended)
        grpc_c_call_finish(call);
    else
        end_for_stop(call);
}

static void written(struct grpc_c_call *call, bool is_sent, void *user)
{
    struct route_stream *stream = user;

    (void)call;
    pthread_mutex_lock(&stream->lock);
    stream->is_writing = false;
    if (!is_sent)
        abandon(stream);
    go_on(stream);
}

/* A lane's thread. */
static void lead_answered(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    struct stream_lead *lead = ticket->user;
    struct route_stream *stream = lead->stream;

    limits_leave(stream->base.service->limits, &lead->hold, LIMITS_END_UNSAID);
    pthread_mutex_lock(&stream->lock);
    if (lead->previous != NULL)
        lead->previous->next = lead->next;
    else
        stream->deciding = lead->next;
    if (lead->next != NULL)
        lead->next->previous = lead->previous;
    if (stream->is_gone) {
        lead_put(stream, lead);
    } else {
        lead->answer = *answer;
        append_answered(stream, lead);
    }
    go_on(stream);
}

/* Hands one lead to the engine; what cannot be handed over is answered at once. */
static void submit(struct route_stream *stream, const Leadrouter__V1__RouteLeadsRequest *message)
{
    static const Leadrouter__V1__RouteLeadRequest no_lead = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    struct service *service = stream->base.service;
    struct stream_lead *lead = lead_take(stream);
    struct error *error = &lead->answer.error;

    lead->index = message->index;
    lead->ticket.callback = lead_answered;
    lead->ticket.user = lead;
    lead->ticket.context = &stream->base;
    lead->ticket.request.deadline_ns = clock_after_ms(LEAD_MS);
    lead->next = stream->deciding;
    if (lead->next != NULL)
        lead->next->previous = lead;
    stream->deciding = lead;
    if (service_route_request(message->lead == NULL ? &no_lead : message->lead, &lead->ticket.request, error) &&
        limits_enter(
            service->limits, &lead->ticket.request.source_workspace_id, NULL, clock_now_ns(), &lead->hold, error) &&
        routing_engine_submit(service->engine, &lead->ticket, error))
        return;
    limits_leave(service->limits, &lead->hold, LIMITS_END_UNSAID);
    stream->deciding = lead->next;
    if (lead->next != NULL)
        lead->next->previous = NULL;
    append_answered(stream, lead);
}

static void request_read(
    struct grpc_c_call *call, enum grpc_c_read result, const Leadrouter__V1__RouteLeadsRequest *message, void *user)
{
    struct route_stream *stream = user;

    (void)call;
    pthread_mutex_lock(&stream->lock);
    stream->is_reading = false;
    switch (result) {
    case GRPC_C_READ_MESSAGE:
        submit(stream, message);
        break;
    case GRPC_C_READ_END:
        stream->has_ended = true;
        break;
    case GRPC_C_READ_BAD: /* the client is told why; what it sent before may be decided all the same */
    case GRPC_C_READ_GONE:
        abandon(stream);
        break;
    }
    go_on(stream);
}

void service_handle_route_leads(struct grpc_c_call *call, void *user)
{
    struct route_stream *stream = memory_new(sizeof(*stream));

    service_begin(&stream->base, call, user);
    pthread_mutex_init(&stream->lock, NULL);
    stream->answered_end = &stream->answered;
    stream->arena = arena_new(ARENA_SIZE);
    enlist(stream);
    pthread_mutex_lock(&stream->lock);
    go_on(stream);
}

/* Those that are idle are ended here, up to the read that waits, which comes back on another thread; the others end themselves. */
void service_end_streams(struct service *service)
{
    pthread_mutex_lock(&service->streams_lock);
    service->streams_are_ending = true;
    for (struct route_stream *stream = service->streams; stream != NULL; stream = stream->next) {
        pthread_mutex_lock(&stream->lock);
        stream->is_ending = true;
        move_on(stream);
        pthread_mutex_unlock(&stream->lock);
    }
    pthread_mutex_unlock(&service->streams_lock);
}
