#include "routing/decider.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "routing/measure.h"

enum {
    CONNECT_MS = 5000,
    LOOK_UP_MS = 2000,
    LOOK_UP_PAUSE_MS = 20,
    REPEATS_MAX = 10,
    REPEAT_PAUSE_MS_MAX = 50,
    ARENA_BLOCK_SIZE = 256 * 1024,
};

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

void decider_fail_item(struct batch_item *item, enum error_code code, const char *text)
{
    item->answer = (struct routing_answer){.lead_id = item->entry->request.lead_id};
    error_set(&item->answer.error, code, "%s", text);
    item->is_settled = true;
    item->is_held = false;
}

void decider_fail_items(struct batch_item **items, size_t count, enum error_code code, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (!items[i]->is_settled)
            decider_fail_item(items[i], code, text);
}

/* --- Connection --------------------------------------------------------------------------------------------------- */

static void count_connection(struct decider *decider, bool is_connected)
{
    if (decider->connected == NULL)
        return;
    if (is_connected && !decider->is_counted)
        atomic_fetch_add(decider->connected, 1);
    else if (!is_connected && decider->is_counted)
        atomic_fetch_sub(decider->connected, 1);
    metrics_add(decider->metrics, METRIC_LANES_CONNECTED, 0, 0, (int)is_connected - (int)decider->is_counted);
    decider->is_counted = is_connected;
}

bool decider_connect(struct decider *decider)
{
    if (pg_conn_is_open(decider->conn))
        return true;
    if (clock_now_ns() < decider->next_connect_ns)
        return false;
    if (pg_conn_open(decider->conn, clock_after_ms(CONNECT_MS), NULL)) {
        pg_backoff_reset(&decider->backoff);
        count_connection(decider, true);
        return true;
    }
    decider->next_connect_ns = clock_after_ms(pg_backoff_next_ms(&decider->backoff));
    count_connection(decider, false);
    return false;
}

/* --- Deciding ----------------------------------------------------------------------------------------------------- */

/* Moves the unsettled items to the front, the others behind them; those whose deadline has passed are settled. Returns
 * how many are left. */
static size_t keep_unsettled(struct batch_item **items, size_t count)
{
    int64_t now_ns = clock_now_ns();
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = items[i];
        if (!item->is_settled && atomic_load(&item->entry->deadline_ns) <= now_ns)
            decider_fail_item(item, ERROR_DEADLINE, "not decided in time; nothing was done");
        if (!item->is_settled) {
            items[i] = items[kept];
            items[kept++] = item;
        }
    }
    return kept;
}

static void note_resolution(
    struct decider *decider, const struct batch_transaction *transaction, enum batch_result result)
{
    metrics_add(decider->metrics, METRIC_COMMITS_RESOLVED,
        result == BATCH_DONE   ? METRICS_RESOLUTION_COMMITTED
        : result == BATCH_LOST ? METRICS_RESOLUTION_NOT_COMMITTED
                               : METRICS_RESOLUTION_UNRESOLVED,
        0, 1);
    if (result == BATCH_DONE)
        measure_decisions(decider->metrics, transaction);
}

/* Finds out what became of a COMMIT whose answer did not come. Afterwards the items are settled, or the transaction
 * is known not to have happened. It never guesses: who runs out of time is told that the result is unknown. */
static void look_up(struct decider *decider, struct batch_transaction *transaction)
{
    count_connection(decider, false);
    while (true) {
        size_t waiting = 0;
        if (pg_conn_open(decider->conn, clock_after_ms(LOOK_UP_MS), NULL)) {
            count_connection(decider, true);
            transaction->deadline_ns = clock_after_ms(LOOK_UP_MS);
            enum batch_result result = batch_look_up(transaction);
            if (result != BATCH_UNKNOWN) {
                note_resolution(decider, transaction, result);
                return;
            }
        }
        int64_t now_ns = clock_now_ns();
        for (size_t i = 0; i < transaction->decision_count; i++) {
            struct batch_item *item = transaction->decided[i];
            if (item->is_settled)
                continue;
            if (atomic_load(&item->entry->deadline_ns) <= now_ns)
                decider_fail_item(item, ERROR_RESULT_UNKNOWN, "result unknown, asking again is safe");
            else
                waiting++;
        }
        if (waiting == 0) {
            note_resolution(decider, transaction, BATCH_UNKNOWN);
            return;
        }
        pause_ms(LOOK_UP_PAUSE_MS);
    }
}

/* A lead that breaks its own transaction: its failure is written down, so that it is tried again or seen. */
static void record_failure(struct decider *decider, struct batch_transaction *transaction)
{
    struct error cause = transaction->error;
    struct batch_item *item = transaction->items[0];
    char text[ERROR_TEXT_SIZE];
    enum batch_result result = batch_record_failure(transaction, &cause);

    if (result == BATCH_UNKNOWN)
        look_up(decider, transaction);
    if (!item->is_settled) {
        snprintf(text, sizeof(text), "could not be routed now (SQLSTATE %s); nothing was done, asking again is safe",
            cause.sqlstate);
        decider_fail_item(item, ERROR_UNAVAILABLE, text);
        memcpy(item->answer.error.sqlstate, cause.sqlstate, sizeof(cause.sqlstate));
    }
}

static bool reconnect(struct decider *decider)
{
    count_connection(decider, false);
    decider->next_connect_ns = 0;
    return decider_connect(decider);
}

/* Waits a little, differently long each time, so that two transactions that met do not meet again. */
static void pause_before_repeat(struct decider *decider, unsigned repeats)
{
    uint64_t most = 1ULL << (repeats < 6 ? repeats : 6);

    if (most > REPEAT_PAUSE_MS_MAX)
        most = REPEAT_PAUSE_MS_MAX;
    pause_ms((int)random_below(&decider->jitter, most) + 1);
}

/* What went wrong so far. */
struct troubles {
    unsigned repeats;
    unsigned losses;
};

/* Does what the end of a transaction asks for. True when what is left of its items is to be decided by another one. */
static bool deal_with(
    struct decider *decider, struct batch_transaction *transaction, enum batch_result result, struct troubles *troubles)
{
    struct batch_item **items = transaction->items;
    size_t count = transaction->item_count;

    measure_transaction(decider->metrics, transaction, result, clock_now_ns());
    switch (result) {
    case BATCH_DONE:
        break;
    case BATCH_REPEAT:
        if (++troubles->repeats > REPEATS_MAX)
            decider_fail_items(items, count, ERROR_UNAVAILABLE, "met other transactions too often; nothing was done");
        else
            pause_before_repeat(decider, troubles->repeats);
        break;
    case BATCH_BROKEN:
        if (count == 1) {
            record_failure(decider, transaction);
        } else {
            metrics_add(decider->metrics, METRIC_BATCHES_SPLIT, 0, 0, 1);
            decider_decide(decider, items, count / 2);
            decider_decide(decider, items + count / 2, count - count / 2);
        }
        return false;
    case BATCH_LOST:
        if (++troubles->losses > 1 || !reconnect(decider))
            decider_fail_items(items, count, ERROR_UNAVAILABLE, "the database is away; nothing was done");
        break;
    case BATCH_UNKNOWN:
        look_up(decider, transaction);
        break;
    }
    return true;
}

static void decide(struct decider *decider, struct batch_item **items, size_t count, struct troubles *troubles)
{
    bool goes_on = true;

    while (goes_on && (count = keep_unsettled(items, count)) > 0) {
        struct batch_transaction transaction = {.conn = decider->conn,
            .rules = decider->rules,
            .metrics = decider->metrics,
            .arena = decider->arena,
            .items = items,
            .item_count = count,
            .deadline_ns = clock_after_ms(DECIDER_TRANSACTION_MS)};
        enum batch_result result = batch_run(&transaction);
        goes_on = deal_with(decider, &transaction, result, troubles);
    }
}

void decider_decide(struct decider *decider, struct batch_item **items, size_t count)
{
    struct troubles troubles = {0};

    decide(decider, items, count, &troubles);
}

void decider_go_on(struct decider *decider, struct batch_transaction *transaction, enum batch_result result)
{
    struct troubles troubles = {0};

    if (deal_with(decider, transaction, result, &troubles))
        decide(decider, transaction->items, transaction->item_count, &troubles);
}

/* --- Its life ----------------------------------------------------------------------------------------------------- */

void decider_init(struct decider *decider, const struct pg_config *database, struct rule_cache *rules,
    struct metrics *metrics, atomic_uint *connected)
{
    uint64_t seed = 0;

    random_bytes(&seed, sizeof(seed));
    *decider = (struct decider){
        .conn = pg_conn_new(database),
        .rules = rules,
        .metrics = metrics,
        .connected = connected,
        .arena = arena_new(ARENA_BLOCK_SIZE),
        .jitter = random_sequence_from(seed),
    };
}

void decider_release(struct decider *decider)
{
    count_connection(decider, false);
    pg_conn_free(decider->conn);
    arena_free(decider->arena);
}
