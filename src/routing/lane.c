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
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void answer_tickets(
    struct statistics *statistics, int64_t now_ns, struct routing_ticket *tickets, const struct routing_answer *answer)
{
    while (tickets != NULL) {
        struct routing_ticket *ticket = tickets;
        tickets = ticket->next;
        ticket->next = NULL;
        if (answer->error.code == ERROR_NONE)
            statistics_add_wait(statistics, now_ns, ticket->submitted_ns);
        if (answer->error.code == ERROR_DEADLINE && ticket->request.deadline_ns > clock_now_ns()) {
            /* It joined in the moment in which time was up for the others: it has time left, and may ask again. */
            struct routing_answer again = {.lead_id = answer->lead_id};
            error_set(&again.error, ERROR_UNAVAILABLE, "not decided; nothing was done, asking again is safe");
            ticket->callback(ticket, &again);
        } else {
            ticket->callback(ticket, answer);
        }
    }
}

/* Tickets that left the queue undecided: their caller has gone, or their time is up. */
static void answer_dropped(struct routing_ticket *tickets)
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
        ticket->callback(ticket, &answer);
    }
}

/* Counts what a transaction made of an item; a lead that is asked for again was counted the first time. */
static void count_item(struct statistics *statistics, int64_t now_ns, const struct batch_item *item)
{
    bool is_attempt = !item->is_held && batch_item_is_attempt(item);

    if (is_attempt)
        statistics_add_attempt(statistics, now_ns, item->answer.outcome);
    if (item->entry->held_count == 0 && (is_attempt || item->is_held))
        statistics_add_lock(statistics, now_ns, !item->is_held);
}

/* Gives every item's answer to those who wait for it; held leads go back into the queue. */
static void finish(struct lane *lane, size_t count)
{
    struct request_queue *queue = lane->shared->queue;
    struct statistics *statistics = lane->shared->statistics;
    int64_t now_ns = clock_now_ns();
    size_t finished_count = 0;

    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &lane->items[i];
        assert(item->is_settled);
        count_item(statistics, now_ns, item);
        if (item->is_held) {
            atomic_fetch_add(&lane->shared->counters.held_again, 1);
            if (request_queue_put_back(queue, item->entry))
                continue;
            decider_fail_item(item, ERROR_BUSY, "the lead is held by somebody else");
        }
        lane->pending[finished_count] = item;
        lane->entries[finished_count] = item->entry;
        finished_count++;
    }
    request_queue_finish(queue, lane->entries, finished_count, lane->tickets);
    for (size_t i = 0; i < finished_count; i++)
        answer_tickets(statistics, now_ns, lane->tickets[i], &lane->pending[i]->answer);
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
    if (clock_now_ns() >= atomic_load(&lane->shared->drain_until_ns))
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

    answer_dropped(dropped);
    if (count > 0)
        run_batch(lane, count);
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
    decider_init(&lane->decider, shared->database, shared->rules, &shared->counters.deciders, &shared->connected);
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
