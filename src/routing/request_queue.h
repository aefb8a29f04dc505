/* What waits for a lane: tickets grouped by lead, so that one lead is in at most one batch of this server at any
 * time.
 *
 * A later ticket for a lead that waits or is being decided joins it and gets the same answer, unless it stands on another
 * person's membership: then it comes up after it. Leads that somebody else holds are put back and come up again after
 * 5, 10, 20, 40 ms, or when whoever held them says that it is done. All functions may be called by any thread; callbacks
 * are never called here. */
#ifndef ROUTING_REQUEST_QUEUE_H
#define ROUTING_REQUEST_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash_table.h"
#include "routing/engine.h"

enum { REQUEST_HELD_MS_MAX = 100 /* how long a held lead is asked for again */ };

struct request_queue;

enum request_state { REQUEST_WAITING, REQUEST_HELD, REQUEST_TAKEN };

/* A lead on its way, with everybody who asked for it. Owned by the queue. While it is taken, the taker may read all
 * fields but the ticket lists and the last, which change under the queue's lock. */
struct request_entry {
    struct hash_node node;      /* by (lead, source workspace) */
    struct request_entry *next; /* in the list of its state */
    enum request_state state;
    struct routing_request request;  /* the first ticket's; `force` if any that joined before it was taken has it */
    atomic_int_fast64_t deadline_ns; /* the latest of its tickets'; moved on by whoever joins */
    struct routing_ticket *tickets;  /* answered together, in order of arrival */
    struct routing_ticket **tickets_end;
    struct routing_ticket
        *later; /* came with `force` when the attempt under way had none, or for others: asked for anew */
    struct routing_ticket **later_end;
    int64_t held_since_ns; /* when it was first found held; 0: never */
    int64_t due_ns;        /* held: when it comes up again; waiting: when it came */
    unsigned held_count;   /* how often it was found held */
    bool is_let_go;        /* by who held it, while it was taken; under the queue's lock */
};

/* A queue for at most `tickets_max` tickets that are not answered yet. Released with request_queue_free() when it
 * is empty. */
struct request_queue *request_queue_new(size_t tickets_max);
void request_queue_free(struct request_queue *queue);

/* Adds all tickets or none. Errors: ERROR_FULL, ERROR_UNAVAILABLE (closed). `ret_joined` gets the number that
 * joined another ticket. */
bool request_queue_add(struct request_queue *queue, struct routing_ticket *const *tickets, size_t count,
    size_t *ret_joined, struct error *reterr_error);

/* Takes up to `max` leads that wait or whose time to be asked again has come; waits for one until `until_ns`, or
 * until the queue is closed. Tickets that were abandoned or whose deadline has passed are taken out: `ret_dropped`
 * gets them as a list, to be answered by the caller. While another taker is at work, leads are left to it until 24 wait or
 * one has waited for 5 ms. Returns the number of entries, 0 when there was none in time. */
size_t request_queue_take(struct request_queue *queue, struct request_entry **ret_entries, size_t max, int64_t until_ns,
    struct routing_ticket **ret_dropped);

/* Ends taken entries: gives their tickets (in `ret_tickets[i]`, a list each) to the caller, to be answered, and
 * forgets the entries. */
void request_queue_finish(struct request_queue *queue, struct request_entry *const *entries, size_t count,
    struct routing_ticket **ret_tickets);

/* Puts a taken entry back because somebody holds the lead. False, and nothing done, when 100 ms are over: finish it
 * then. */
bool request_queue_put_back(struct request_queue *queue, struct request_entry *entry);

/* Says that these leads are held by others no longer: those that were put back come up again at once, and so do those that are about to
 * be, once. */
void request_queue_let_go(struct request_queue *queue, const struct routing_request *const *requests, size_t count);

/* Takes no more tickets; wakes everybody who waits. */
void request_queue_close(struct request_queue *queue);

/* True when it is closed and every ticket has been given out to be answered. */
bool request_queue_is_drained(struct request_queue *queue);

/* Tickets not yet given out. */
size_t request_queue_count(struct request_queue *queue);

#endif
