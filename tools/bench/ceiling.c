#include "ceiling.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"

enum { HANDFUL = 256, CONNECT_MS = 10000, DEADLINE_MS = 30000, DRAIN_MS = 30000 };

struct ceiling;

struct ceiling_slot {
    struct routing_ticket ticket; /* first: the callback gets its address */
    struct ceiling *ceiling;
    struct ceiling_slot *next_free;
    int64_t begun_ns;
};

struct ceiling {
    struct run *run;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ceiling_slot *free_slots; /* under the lock */
    size_t free_count;               /* under the lock */
};

static void give_back(struct ceiling_slot *slot)
{
    struct ceiling *ceiling = slot->ceiling;

    pthread_mutex_lock(&ceiling->lock);
    slot->next_free = ceiling->free_slots;
    ceiling->free_slots = slot;
    ceiling->free_count++;
    if (ceiling->free_count % HANDFUL == 0)
        pthread_cond_signal(&ceiling->changed);
    pthread_mutex_unlock(&ceiling->lock);
}

static void answered(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    struct ceiling_slot *slot = (struct ceiling_slot *)(void *)ticket;

    if (answer->error.code == ERROR_NONE)
        run_report_outcome(slot->ceiling->run, slot->begun_ns, answer->outcome);
    else
        run_report_error(slot->ceiling->run, answer->error.text);
    give_back(slot);
}

/* Waits until `count` slots are free; takes them out into `ret_slots` unless that is NULL. */
static void wait_free(struct ceiling *ceiling, size_t count, struct ceiling_slot **ret_slots)
{
    pthread_mutex_lock(&ceiling->lock);
    while (ceiling->free_count < count)
        pthread_cond_wait(&ceiling->changed, &ceiling->lock);
    for (size_t i = 0; i < count && ret_slots != NULL; i++) {
        ret_slots[i] = ceiling->free_slots;
        ceiling->free_slots = ret_slots[i]->next_free;
        ceiling->free_count--;
    }
    pthread_mutex_unlock(&ceiling->lock);
}

struct probe {
    struct routing_ticket ticket; /* first: the callback gets its address */
    atomic_int code;              /* enum error_code of the answer; -1 before */
};

static void probe_answered(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    atomic_store(&((struct probe *)(void *)ticket)->code, (int)answer->error.code);
}

/* Asks for a lead that is not there until a lane answers so: it is then connected. */
static bool wait_connected(struct routing_engine *engine, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(CONNECT_MS);
    int code = ERROR_UNAVAILABLE;

    while (code != ERROR_NOT_FOUND) {
        struct probe probe = {.ticket = {.callback = probe_answered}, .code = -1};
        if (clock_now_ns() > deadline_ns)
            return error_set(reterr_error, ERROR_UNAVAILABLE, "the engine could not connect");
        probe.ticket.request = (struct routing_request){.lead_id = uuid_random(),
            .source_workspace_id = uuid_random(),
            .max_attempts = ROUTING_MAX_ATTEMPTS_DEFAULT,
            .deadline_ns = deadline_ns};
        if (!routing_engine_submit(engine, &probe.ticket, reterr_error))
            return false;
        while ((code = atomic_load(&probe.code)) == -1)
            poll(NULL, 0, 1);
        if (code != ERROR_NOT_FOUND)
            poll(NULL, 0, 10);
    }
    return true;
}

/* Hands leads over, a handful with one lock, until the run ends. */
static void feed(struct ceiling *ceiling, struct routing_engine *engine)
{
    const struct workload *workload = ceiling->run->workload;
    struct ceiling_slot *slots[HANDFUL];
    struct routing_ticket *tickets[HANDFUL];
    struct error error = {0};
    size_t count = HANDFUL;

    while (count == HANDFUL) {
        size_t index = 0;
        wait_free(ceiling, HANDFUL, slots);
        for (count = 0; count < HANDFUL && run_take(ceiling->run, &index); count++) {
            slots[count]->begun_ns = clock_now_ns();
            slots[count]->ticket.callback = answered;
            slots[count]->ticket.request = (struct routing_request){.lead_id = workload->lead_ids[index],
                .source_workspace_id = workload->source_workspace_ids[index],
                .max_attempts = ROUTING_MAX_ATTEMPTS_DEFAULT,
                .deadline_ns = clock_after_ms(DEADLINE_MS)};
            tickets[count] = &slots[count]->ticket;
        }
        for (size_t i = count; i < HANDFUL; i++)
            give_back(slots[i]);
        if (count > 0 && !routing_engine_submit_many(engine, tickets, count, &error))
            for (size_t i = 0; i < count; i++) {
                run_report_error(ceiling->run, error.text);
                give_back(slots[i]);
            }
    }
}

bool ceiling_run(struct run *run, const struct pg_config *database, struct error *reterr_error)
{
    const struct routing_engine_options options = {.database = database};
    struct ceiling ceiling = {.run = run};
    struct routing_engine *engine = NULL;
    struct ceiling_slot *slots = NULL;
    bool ok = false;

    pthread_mutex_init(&ceiling.lock, NULL);
    pthread_cond_init(&ceiling.changed, NULL);
    if (!routing_engine_new(&options, &engine, reterr_error))
        goto cleanup;
    slots = memory_new_array(CEILING_WAITING, sizeof(*slots));
    for (size_t i = 0; i < CEILING_WAITING; i++) {
        slots[i].ceiling = &ceiling;
        give_back(&slots[i]);
    }
    if (!wait_connected(engine, reterr_error))
        goto cleanup;
    run_begin(run);
    feed(&ceiling, engine);
    wait_free(&ceiling, CEILING_WAITING, NULL);
    ok = true;
cleanup:
    routing_engine_free(engine, DRAIN_MS);
    free(slots);
    pthread_cond_destroy(&ceiling.changed);
    pthread_mutex_destroy(&ceiling.lock);
    return ok;
}
