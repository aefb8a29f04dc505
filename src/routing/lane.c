#include "routing/lane.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "routing/batch.h"

enum {
    CONNECT_MS = 5000,
    TRANSACTION_MS = 10000, /* above the statement's own limits, which end it first */
    LOOK_UP_MS = 2000,
    LOOK_UP_PAUSE_MS = 20,
    AWAY_PAUSE_MS = 50,
    REPEATS_MAX = 10,
    REPEAT_PAUSE_MS_MAX = 50,
    ARENA_BLOCK_SIZE = 256 * 1024,
};

struct lane {
    struct lane_shared *shared;
    pthread_t thread;

    /* the lane's thread only */
    struct pg_conn *conn;
    struct pg_backoff backoff;
    int64_t next_connect_ns;
    bool is_counted; /* in shared->connected */
    struct arena *arena;
    struct random_sequence jitter;
    struct request_entry **entries;
    struct routing_ticket **tickets;
    struct batch_item *items;
    struct batch_item **pending;
};

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* --- Answers
 * --------------------------------------------------------------------------------------------------------- */

static void answer_tickets(struct routing_ticket *tickets, const struct routing_answer *answer)
{
    while (tickets != NULL) {
        struct routing_ticket *ticket = tickets;
        tickets = ticket->next;
        ticket->next = NULL;
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

static void settle_with_error(struct batch_item *item, enum error_code code, const char *text)
{
    item->answer = (struct routing_answer){.lead_id = item->entry->request.lead_id};
    error_set(&item->answer.error, code, "%s", text);
    item->is_settled = true;
    item->is_held = false;
}

static void settle_all_with_error(struct batch_item **items, size_t count, enum error_code code, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (!items[i]->is_settled)
            settle_with_error(items[i], code, text);
}

/* Gives every item's answer to those who wait for it; held leads go back into the queue. */
static void finish(struct lane *lane, size_t count)
{
    struct request_queue *queue = lane->shared->queue;
    size_t finished_count = 0;

    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &lane->items[i];
        assert(item->is_settled);
        if (item->is_held) {
            atomic_fetch_add(&lane->shared->counters.held_again, 1);
            if (request_queue_put_back(queue, item->entry))
                continue;
            settle_with_error(item, ERROR_BUSY, "the lead is held by somebody else");
        }
        lane->pending[finished_count] = item;
        lane->entries[finished_count] = item->entry;
        finished_count++;
    }
    request_queue_finish(queue, lane->entries, finished_count, lane->tickets);
    for (size_t i = 0; i < finished_count; i++)
        answer_tickets(lane->tickets[i], &lane->pending[i]->answer);
}

/* --- Connection
 * ------------------------------------------------------------------------------------------------------ */

static void count_connection(struct lane *lane, bool is_connected)
{
    if (is_connected && !lane->is_counted)
        atomic_fetch_add(&lane->shared->connected, 1);
    else if (!is_connected && lane->is_counted)
        atomic_fetch_sub(&lane->shared->connected, 1);
    lane->is_counted = is_connected;
}

/* True when there is a connection; tries to make one unless the last try was a moment ago. */
static bool connect_lane(struct lane *lane)
{
    if (pg_conn_is_open(lane->conn))
        return true;
    if (clock_now_ns() < lane->next_connect_ns)
        return false;
    if (pg_conn_open(lane->conn, clock_after_ms(CONNECT_MS), NULL)) {
        pg_backoff_reset(&lane->backoff);
        count_connection(lane, true);
        return true;
    }
    lane->next_connect_ns = clock_after_ms(pg_backoff_next_ms(&lane->backoff));
    count_connection(lane, false);
    return false;
}

/* --- Deciding
 * -------------------------------------------------------------------------------------------------------- */

/* Moves the unsettled items to the front; those whose deadline has passed are settled. Returns how many are left. */
static size_t keep_unsettled(struct batch_item **items, size_t count)
{
    int64_t now_ns = clock_now_ns();
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = items[i];
        if (!item->is_settled && atomic_load(&item->entry->deadline_ns) <= now_ns)
            settle_with_error(item, ERROR_DEADLINE, "not decided in time; nothing was done");
        if (!item->is_settled)
            items[kept++] = item;
    }
    return kept;
}

/* Finds out what became of a COMMIT whose answer did not come. Afterwards the items are settled, or the transaction
 * is known not to have happened. It never guesses: who runs out of time is told that the result is unknown. */
static void look_up(struct lane *lane, struct batch_transaction *transaction)
{
    atomic_fetch_add(&lane->shared->counters.unknown_commits, 1);
    count_connection(lane, false);
    while (true) {
        size_t waiting = 0;
        if (pg_conn_open(lane->conn, clock_after_ms(LOOK_UP_MS), NULL)) {
            count_connection(lane, true);
            transaction->deadline_ns = clock_after_ms(LOOK_UP_MS);
            if (batch_look_up(transaction) != BATCH_UNKNOWN)
                return;
        }
        int64_t now_ns = clock_now_ns();
        for (size_t i = 0; i < transaction->decision_count; i++) {
            struct batch_item *item = transaction->decided[i];
            if (item->is_settled)
                continue;
            if (atomic_load(&item->entry->deadline_ns) <= now_ns)
                settle_with_error(item, ERROR_RESULT_UNKNOWN, "result unknown, asking again is safe");
            else
                waiting++;
        }
        if (waiting == 0)
            return;
        pause_ms(LOOK_UP_PAUSE_MS);
    }
}

/* A lead that breaks its own transaction: its failure is written down, so that it is tried again or seen. */
static void record_failure(struct lane *lane, struct batch_transaction *transaction)
{
    struct error cause = transaction->error;
    struct batch_item *item = transaction->items[0];
    char text[ERROR_TEXT_SIZE];
    enum batch_result result = batch_record_failure(transaction, &cause);

    if (result == BATCH_UNKNOWN)
        look_up(lane, transaction);
    if (!item->is_settled) {
        snprintf(text, sizeof(text), "could not be routed now (SQLSTATE %s); nothing was done, asking again is safe",
            cause.sqlstate);
        settle_with_error(item, ERROR_UNAVAILABLE, text);
    }
}

static bool reconnect(struct lane *lane)
{
    count_connection(lane, false);
    lane->next_connect_ns = 0;
    return connect_lane(lane);
}

/* Waits a little, differently long each time, so that two transactions that met do not meet again. */
static void pause_before_repeat(struct lane *lane, unsigned repeats)
{
    uint64_t most = 1ULL << (repeats < 6 ? repeats : 6);

    if (most > REPEAT_PAUSE_MS_MAX)
        most = REPEAT_PAUSE_MS_MAX;
    pause_ms((int)random_below(&lane->jitter, most) + 1);
}

/* Decides the items: as one transaction; divided where one of them breaks it; again where it met another. Every
 * item is settled afterwards. */
static void decide_items(struct lane *lane, struct batch_item **items, size_t count)
{
    struct lane_counters *counters = &lane->shared->counters;
    unsigned repeats = 0;
    unsigned losses = 0;

    while ((count = keep_unsettled(items, count)) > 0) {
        struct batch_transaction transaction = {.conn = lane->conn,
            .rules = lane->shared->rules,
            .arena = lane->arena,
            .items = items,
            .item_count = count,
            .deadline_ns = clock_after_ms(TRANSACTION_MS)};
        enum batch_result result = batch_run(&transaction);
        atomic_fetch_add(&counters->batches, 1);
        atomic_fetch_add(&counters->leads, count);
        atomic_fetch_add(&counters->rule_loads, transaction.rule_loads);
        switch (result) {
        case BATCH_DONE:
            break;
        case BATCH_REPEAT:
            atomic_fetch_add(&counters->transaction_retries, 1);
            if (++repeats > REPEATS_MAX)
                settle_all_with_error(
                    items, count, ERROR_UNAVAILABLE, "met other transactions too often; nothing was done");
            else
                pause_before_repeat(lane, repeats);
            break;
        case BATCH_BROKEN:
            if (count == 1) {
                record_failure(lane, &transaction);
            } else {
                atomic_fetch_add(&counters->batches_split, 1);
                decide_items(lane, items, count / 2);
                decide_items(lane, items + count / 2, count - count / 2);
            }
            return;
        case BATCH_LOST:
            if (++losses > 1 || !reconnect(lane))
                settle_all_with_error(items, count, ERROR_UNAVAILABLE, "the database is away; nothing was done");
            break;
        case BATCH_UNKNOWN:
            look_up(lane, &transaction);
            break;
        }
    }
}

static void run_batch(struct lane *lane, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &lane->items[i];
        item->entry = lane->entries[i];
        item->is_settled = false;
        item->is_held = false;
        lane->pending[i] = item;
    }
    if (clock_now_ns() >= atomic_load(&lane->shared->drain_until_ns))
        settle_all_with_error(lane->pending, count, ERROR_UNAVAILABLE, "the server is stopping; nothing was done");
    else if (!pg_conn_is_open(lane->conn))
        settle_all_with_error(lane->pending, count, ERROR_UNAVAILABLE, "the database is away; nothing was done");
    else
        decide_items(lane, lane->pending, count);
    finish(lane, count);
    arena_clear(lane->arena);
}

/* --- The thread
 * ------------------------------------------------------------------------------------------------------ */

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
        if (connect_lane(lane))
            take_and_run(lane, CLOCK_NEVER);
        else if (atomic_load(&lane->shared->connected) == 0)
            take_and_run(lane, lane->next_connect_ns); /* nobody else can: say so at once */
        else
            pause_ms(AWAY_PAUSE_MS);
    }
    return NULL;
}

bool lane_new(struct lane_shared *shared, struct lane **ret_lane, struct error *reterr_error)
{
    struct lane *lane = memory_new(sizeof(*lane));
    uint64_t seed = 0;
    int failure = 0;

    random_bytes(&seed, sizeof(seed));
    lane->shared = shared;
    lane->conn = pg_conn_new(shared->database);
    lane->arena = arena_new(ARENA_BLOCK_SIZE);
    lane->jitter = random_sequence_from(seed);
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
    if (lane->shared != NULL) {
        pthread_join(lane->thread, NULL);
        count_connection(lane, false);
    }
    pg_conn_free(lane->conn);
    arena_free(lane->arena);
    free(lane->entries);
    free(lane->tickets);
    free(lane->items);
    free(lane->pending);
    free(lane);
}
