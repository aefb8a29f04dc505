#include "routing/lane.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "routing/decider.h"
#include "routing/measure.h"

enum { AWAY_PAUSE_MS = 50 };

struct lane {
    struct lane_shared *shared;
    pthread_t thread;

    /* the lane's thread only */
    struct decider decider;
    struct request_entry **entries;
    struct routing_ticket **tickets;
    struct batch_item *items;
    struct batch_item **pending;
    int64_t taken_ns; /* when it took up what it has */
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void answer_ticket(const struct lane_shared *shared, int64_t now_ns, struct routing_ticket *ticket,
    bool is_joined, const struct routing_answer *answer)
{
    const struct routing_finished finished = {
        .request = &ticket->request, .ticket = ticket, .is_joined = is_joined, .answer = answer};

    measure_answer(shared->metrics, answer, ticket->submitted_ns, now_ns);
    if (shared->observer != NULL)
        shared->observer(shared->observer_user, &finished);
    ticket->callback(ticket, answer);
}

static void answer_tickets(const struct lane_shared *shared, int64_t now_ns, struct routing_ticket *tickets,
    const struct routing_answer *answer)
{
    bool is_joined = false;

    while (tickets != NULL) {
        struct routing_ticket *ticket = tickets;
        tickets = ticket->next;
        ticket->next = NULL;
        if (answer->error.code == ERROR_NONE)
            statistics_add_wait(shared->statistics, now_ns, ticket->submitted_ns);
        if (answer->error.code == ERROR_DEADLINE && ticket->request.deadline_ns > clock_now_ns()) {
            /* It joined in the moment in which time was up for the others: it has time left, and may ask again. */
            struct routing_answer again = {.lead_id = answer->lead_id, .phases = answer->phases};
            error_set(&again.error, ERROR_UNAVAILABLE, "not decided; nothing was done, asking again is safe");
            answer_ticket(shared, now_ns, ticket, is_joined, &again);
        } else {
            answer_ticket(shared, now_ns, ticket, is_joined, answer);
        }
        is_joined = true;
    }
}

/* Tickets that left the queue undecided: their caller has gone, or their time is up. */
static void answer_dropped(const struct lane_shared *shared, struct routing_ticket *tickets)
{
    while (tickets != NULL) {
        struct routing_ticket *ticket = tickets;
        struct routing_answer answer = {.lead_id = ticket->request.lead_id};
        tickets = ticket->next;
        ticket->next = NULL;
        if (atomic_load(&ticket->abandoned))
            error_set(&answer.error, ERROR_CANCELLED, "the caller has gone");
        else
            error_set(&answer.error, ERROR_DEADLINE, "not decided in time; nothing was done");
        answer_ticket(shared, clock_now_ns(), ticket, false, &answer);
    }
}

/* Counts what a transaction made of an item; a lead that is asked for again was counted the first time. */
static void count_item(const struct lane_shared *shared, int64_t now_ns, const struct batch_item *item)
{
    bool is_attempt = !item->is_held && batch_item_is_attempt(item);

    if (is_attempt) {
        statistics_add_attempt(shared->statistics, now_ns, item->answer.outcome);
        measure_attempt(shared->metrics, METRICS_ORIGIN_CALL, item->answer.outcome);
    }
    if (item->entry->held_count == 0 && (is_attempt || item->is_held)) {
        statistics_add_lock(shared->statistics, now_ns, !item->is_held);
        metrics_add(
            shared->metrics, METRIC_LOCKS, item->is_held ? METRICS_LOCK_PASSED_OVER : METRICS_LOCK_ACQUIRED, 0, 1);
    }
}

/* Gives every item's answer to those who wait for it; held leads go back into the queue. */
static void finish(struct lane *lane, size_t count)
{
    struct request_queue *queue = lane->shared->queue;
    int64_t now_ns = clock_now_ns();
    size_t finished_count = 0;

    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &lane->items[i];
        assert(item->is_settled);
        count_item(lane->shared, now_ns, item);
        if (item->is_held) {
            metrics_add(lane->shared->metrics, METRIC_HELD_AGAIN, 0, 0, 1);
            if (request_queue_put_back(queue, item->entry))
                continue;
            decider_fail_item(item, ERROR_BUSY, "the lead is held by somebody else");
        }
        item->answer.phases.taken_ns = lane->taken_ns;
        lane->pending[finished_count] = item;
        lane->entries[finished_count] = item->entry;
        finished_count++;
    }
    request_queue_finish(queue, lane->entries, finished_count, lane->tickets);
    for (size_t i = 0; i < finished_count; i++)
        answer_tickets(lane->shared, now_ns, lane->tickets[i], &lane->pending[i]->answer);
}

static void run_batch(struct lane *lane, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &lane->items[i];
        item->entry = lane->entries[i];
        item->is_settled = false;
        item->is_held = false;
        item->verdict = VERDICT_NONE;
        lane->pending[i] = item;
    }
    lane->taken_ns = clock_now_ns();
    if (lane->taken_ns >= atomic_load(&lane->shared->drain_until_ns))
        decider_fail_items(lane->pending, count, ERROR_UNAVAILABLE, "the server is stopping; nothing was done");
    else if (!pg_conn_is_open(lane->decider.conn))
        decider_fail_items(lane->pending, count, ERROR_UNAVAILABLE, "the database is away; nothing was done");
    else
        decider_decide(&lane->decider, lane->pending, count);
    finish(lane, count);
    arena_clear(lane->decider.arena);
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

static void take_and_run(struct lane *lane, int64_t until_ns)
{
    struct routing_ticket *dropped = NULL;
    size_t count =
        request_queue_take(lane->shared->queue, lane->entries, lane->shared->batch_leads_max, until_ns, &dropped);

    answer_dropped(lane->shared, dropped);
    if (count == 0)
        return;
    metrics_add(lane->shared->metrics, METRIC_LANES_BUSY, 0, 0, 1);
    run_batch(lane, count);
    metrics_add(lane->shared->metrics, METRIC_LANES_BUSY, 0, 0, -1);
}

static void *lane_main(void *argument)
{
    struct lane *lane = argument;

    while (!request_queue_is_drained(lane->shared->queue)) {
        if (decider_connect(&lane->decider))
            take_and_run(lane, CLOCK_NEVER);
        else if (atomic_load(&lane->shared->connected) == 0)
            take_and_run(lane, lane->decider.next_connect_ns); /* nobody else can: say so at once */
        else
            poll(NULL, 0, AWAY_PAUSE_MS);
    }
    return NULL;
}

bool lane_new(struct lane_shared *shared, struct lane **ret_lane, struct error *reterr_error)
{
    struct lane *lane = memory_new(sizeof(*lane));
    int failure = 0;

    lane->shared = shared;
    decider_init(&lane->decider, shared->database, shared->rules, shared->metrics, &shared->connected);
    lane->entries = memory_new_array(shared->batch_leads_max, sizeof(struct request_entry *));
    lane->tickets = memory_new_array(shared->batch_leads_max, sizeof(struct routing_ticket *));
    lane->items = memory_new_array(shared->batch_leads_max, sizeof(*lane->items));
    lane->pending = memory_new_array(shared->batch_leads_max, sizeof(struct batch_item *));
    failure = pthread_create(&lane->thread, NULL, lane_main, lane);
    if (failure != 0) {
        lane->shared = NULL;
        lane_free(lane);
        return error_set(reterr_error, ERROR_SYSTEM, "could not start a lane's thread: %s", strerror(failure));
    }
    *ret_lane = lane;
    return true;
}

void lane_free(struct lane *lane)
{
    if (lane == NULL)
        return;
    if (lane->shared != NULL)
        pthread_join(lane->thread, NULL);
    decider_release(&lane->decider);
    free(lane->entries);
    free(lane->tickets);
    free(lane->items);
    free(lane->pending);
    free(lane);
}
