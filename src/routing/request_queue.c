#include "routing/request_queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"

enum {
    HELD_FIRST_MS = 5,
    HELD_STEP_MAX = 3,        /* 5, 10, 20, 40 ms and no longer */
    FREE_ENTRIES_MAX = 16384, /* entries kept for the next use */
    COMPANY_LEADS = 24,       /* so many must wait before a second taker helps the first */
    COMPANY_MS = 5,           /* or one of them for so long */
};

struct entry_list {
    struct request_entry *first;
    struct request_entry **end;
};

struct request_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something waits, or the queue was closed; monotonic clock */

    /* under the lock */
    struct hash_table by_lead;
    struct entry_list waiting; /* in order of arrival */
    struct entry_list held;    /* in no order: few, and looked through */
    struct request_entry *free_entries;
    size_t free_count;
    size_t waiting_count;
    size_t taken_count; /* entries that are being decided */
    size_t ticket_count;
    size_t tickets_max;
    unsigned sleepers;
    bool closed;
};

static void list_init(struct entry_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_append(struct entry_list *list, struct request_entry *entry)
{
    entry->next = NULL;
    *list->end = entry;
    list->end = &entry->next;
}

static struct request_entry *list_take_first(struct entry_list *list)
{
    struct request_entry *entry = list->first;

    list->first = entry->next;
    if (list->first == NULL)
        list->end = &list->first;
    entry->next = NULL;
    return entry;
}

static void list_remove(struct entry_list *list, struct request_entry **link)
{
    struct request_entry *entry = *link;

    *link = entry->next;
    if (list->end == &entry->next)
        list->end = link;
    entry->next = NULL;
}

struct request_queue *request_queue_new(size_t tickets_max)
{
    struct request_queue *queue = memory_new(sizeof(*queue));

    assert(tickets_max > 0);
    pthread_mutex_init(&queue->lock, NULL);
    condition_init(&queue->changed);
    hash_table_init(&queue->by_lead, 1024);
    list_init(&queue->waiting);
    list_init(&queue->held);
    queue->tickets_max = tickets_max;
    return queue;
}

void request_queue_free(struct request_queue *queue)
{
    if (queue == NULL)
        return;
    assert(queue->by_lead.count == 0);
    while (queue->free_entries != NULL) {
        struct request_entry *next = queue->free_entries->next;
        free(queue->free_entries);
        queue->free_entries = next;
    }
    hash_table_release(&queue->by_lead);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static uint64_t request_hash(const struct routing_request *request)
{
    return uuid_hash(&request->lead_id) ^ (uuid_hash(&request->source_workspace_id) * 0x9e3779b97f4a7c15U);
}

static struct request_entry *entry_find(const struct request_queue *queue, const struct routing_request *request)
{
    struct hash_node *node = hash_table_first(&queue->by_lead, request_hash(request));

    for (; node != NULL; node = hash_table_next(node)) {
        struct request_entry *entry = HASH_TABLE_MEMBER(node, struct request_entry, node);
        if (uuid_equal(&entry->request.lead_id, &request->lead_id) &&
            uuid_equal(&entry->request.source_workspace_id, &request->source_workspace_id))
            return entry;
    }
    return NULL;
}

static struct request_entry *entry_new(struct request_queue *queue)
{
    struct request_entry *entry = queue->free_entries;

    if (entry == NULL)
        return memory_new(sizeof(*entry));
    queue->free_entries = entry->next;
    queue->free_count--;
    *entry = (struct request_entry){0};
    return entry;
}

static void entry_recycle(struct request_queue *queue, struct request_entry *entry)
{
    if (queue->free_count >= FREE_ENTRIES_MAX) {
        free(entry);
        return;
    }
    entry->next = queue->free_entries;
    queue->free_entries = entry;
    queue->free_count++;
}

static void ticket_append(struct routing_ticket ***end, struct routing_ticket *ticket)
{
    ticket->next = NULL;
    **end = ticket;
    *end = &ticket->next;
}

/* Whether one answer does for both: not for two people, of whom one may be no member. */
static bool is_for_same(const struct routing_request *left, const struct routing_request *right)
{
    return uuid_equal(&left->member_id, &right->member_id);
}

/* Adds one ticket; true when it joined another. Under the lock. */
static bool add_locked(struct request_queue *queue, struct routing_ticket *ticket)
{
    struct request_entry *entry = entry_find(queue, &ticket->request);

    if (entry == NULL) {
        entry = entry_new(queue);
        entry->request = ticket->request;
        atomic_store(&entry->deadline_ns, ticket->request.deadline_ns);
        entry->tickets_end = &entry->tickets;
        entry->later_end = &entry->later;
        entry->state = REQUEST_WAITING;
        ticket_append(&entry->tickets_end, ticket);
        entry->due_ns = clock_now_ns();
        hash_table_add(&queue->by_lead, &entry->node, request_hash(&ticket->request));
        list_append(&queue->waiting, entry);
        queue->waiting_count++;
        return false;
    }
    if (!is_for_same(&entry->request, &ticket->request) ||
        (entry->state == REQUEST_TAKEN && ticket->request.force && !entry->request.force)) {
        ticket_append(&entry->later_end, ticket);
        return false;
    }
    ticket_append(&entry->tickets_end, ticket);
    if (entry->state != REQUEST_TAKEN)
        entry->request.force = entry->request.force || ticket->request.force;
    if (ticket->request.deadline_ns > atomic_load(&entry->deadline_ns))
        atomic_store(&entry->deadline_ns, ticket->request.deadline_ns);
    return true;
}

/* Wakes a sleeping taker when what was added makes a difference to it: the first entry (it may be left to another taker,
 * but only for a time), and enough for two. Waking it for each entry would cost a switch of threads per lead. Under
 * the lock. */
static void wake_taker(struct request_queue *queue, size_t waiting_before)
{
    if (queue->sleepers == 0 || queue->waiting_count == waiting_before)
        return;
    if (queue->taken_count == 0 || waiting_before == 0 ||
        (waiting_before < COMPANY_LEADS && queue->waiting_count >= COMPANY_LEADS))
        pthread_cond_signal(&queue->changed);
}

bool request_queue_add(struct request_queue *queue, struct routing_ticket *const *tickets, size_t count,
    size_t *ret_joined, struct error *reterr_error)
{
    bool ok = false;
    size_t joined = 0;

    pthread_mutex_lock(&queue->lock);
    size_t waiting_before = queue->waiting_count;
    if (queue->closed) {
        error_set(reterr_error, ERROR_UNAVAILABLE, "the server is stopping");
    } else if (count > queue->tickets_max - queue->ticket_count) {
        error_set(reterr_error, ERROR_FULL, "%zu requests are waiting already, the bound is %zu", queue->ticket_count,
            queue->tickets_max);
    } else {
        for (size_t i = 0; i < count; i++)
            joined += add_locked(queue, tickets[i]) ? 1 : 0;
        queue->ticket_count += count;
        ok = true;
        *ret_joined = joined;
        wake_taker(queue, waiting_before);
    }
    pthread_mutex_unlock(&queue->lock);
    return ok;
}

/* Moves tickets that nobody waits for any more from the entry to `*dropped_end`; false when none is left. Under the
 * lock. */
static bool prune(
    struct request_queue *queue, struct request_entry *entry, int64_t now_ns, struct routing_ticket ***dropped_end)
{
    struct routing_ticket **link = &entry->tickets;

    while (*link != NULL) {
        struct routing_ticket *ticket = *link;
        if (!atomic_load(&ticket->abandoned) && ticket->request.deadline_ns > now_ns) {
            link = &ticket->next;
            continue;
        }
        *link = ticket->next;
        ticket_append(dropped_end, ticket);
        queue->ticket_count--;
    }
    entry->tickets_end = link;
    return entry->tickets != NULL;
}

static void ask_anew(struct request_queue *queue, struct routing_ticket *tickets);

/* Hands an entry out, or forgets it when all its tickets were dropped. Under the lock. */
static bool hand_out(
    struct request_queue *queue, struct request_entry *entry, int64_t now_ns, struct routing_ticket ***dropped_end)
{
    if (prune(queue, entry, now_ns, dropped_end)) {
        entry->state = REQUEST_TAKEN;
        queue->taken_count++;
        return true;
    }
    struct routing_ticket *later = entry->later;
    hash_table_remove(&queue->by_lead, &entry->node);
    entry_recycle(queue, entry);
    ask_anew(queue, later);
    return false;
}

/* True when another taker is at work and will come for what waits: two small transactions cost nearly twice as much
 * as one of both. It is not waited for when there is enough for two, nor for long. `*ret_next_ns` gets the time to
 * look again. Under the lock. */
static bool is_left_to_other(const struct request_queue *queue, int64_t now_ns, int64_t *ret_next_ns)
{
    if (queue->taken_count == 0 || queue->waiting_count >= COMPANY_LEADS || queue->waiting.first == NULL ||
        queue->closed)
        return false;
    int64_t until_ns = queue->waiting.first->due_ns + (int64_t)COMPANY_MS * 1000000;
    if (until_ns <= now_ns)
        return false;
    *ret_next_ns = until_ns;
    return true;
}

/* Takes what is ready: held leads whose time has come first, since they have waited longest. `ret_next_ns` gets the
 * time of the next held one. Under the lock. */
static size_t take_locked(struct request_queue *queue, struct request_entry **ret_entries, size_t max,
    struct routing_ticket ***dropped_end, int64_t *ret_next_ns)
{
    int64_t now_ns = clock_now_ns();
    struct request_entry **link = &queue->held.first;
    size_t count = 0;

    *ret_next_ns = CLOCK_NEVER;
    if (is_left_to_other(queue, now_ns, ret_next_ns))
        return 0;
    while (*link != NULL) {
        struct request_entry *entry = *link;
        if (count < max && entry->due_ns <= now_ns) {
            list_remove(&queue->held, link);
            if (hand_out(queue, entry, now_ns, dropped_end))
                ret_entries[count++] = entry;
            continue;
        }
        if (entry->due_ns < *ret_next_ns)
            *ret_next_ns = entry->due_ns;
        link = &entry->next;
    }
    while (count < max && queue->waiting.first != NULL) {
        struct request_entry *entry = list_take_first(&queue->waiting);
        queue->waiting_count--;
        if (hand_out(queue, entry, now_ns, dropped_end))
            ret_entries[count++] = entry;
    }
    return count;
}

/* Whoever gives out the last ticket of a closed queue, answered or dropped, wakes all who wait for more. Under the lock. */
static void tell_drained(struct request_queue *queue)
{
    if (queue->closed && queue->ticket_count == 0 && queue->sleepers > 0)
        pthread_cond_broadcast(&queue->changed);
}

static void wait_locked(struct request_queue *queue, int64_t until_ns)
{
    queue->sleepers++;
    (void)condition_wait(&queue->changed, &queue->lock, until_ns);
    queue->sleepers--;
}

size_t request_queue_take(struct request_queue *queue, struct request_entry **ret_entries, size_t max, int64_t until_ns,
    struct routing_ticket **ret_dropped)
{
    struct routing_ticket **dropped_end = ret_dropped;
    int64_t next_ns = CLOCK_NEVER;
    size_t count = 0;

    *ret_dropped = NULL;
    pthread_mutex_lock(&queue->lock);
    while (true) {
        count = take_locked(queue, ret_entries, max, &dropped_end, &next_ns);
        if (count > 0 || *ret_dropped != NULL)
            break;
        if (queue->closed && queue->ticket_count == 0)
            break;
        if (clock_now_ns() >= until_ns)
            break;
        wait_locked(queue, next_ns < until_ns ? next_ns : until_ns);
    }
    if (queue->waiting.first != NULL && queue->sleepers > 0)
        pthread_cond_signal(&queue->changed);
    tell_drained(queue);
    pthread_mutex_unlock(&queue->lock);
    return count;
}

/* Makes a new entry of the tickets that asked for an attempt of their own while another was under way. Under the
 * lock. */
static void ask_anew(struct request_queue *queue, struct routing_ticket *tickets)
{
    while (tickets != NULL) {
        struct routing_ticket *next = tickets->next;
        add_locked(queue, tickets);
        tickets = next;
    }
}

void request_queue_finish(struct request_queue *queue, struct request_entry *const *entries, size_t count,
    struct routing_ticket **ret_tickets)
{
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < count; i++) {
        struct request_entry *entry = entries[i];
        struct routing_ticket *later = entry->later;
        assert(entry->state == REQUEST_TAKEN);
        queue->taken_count--;
        ret_tickets[i] = entry->tickets;
        for (struct routing_ticket *ticket = entry->tickets; ticket != NULL; ticket = ticket->next)
            queue->ticket_count--;
        hash_table_remove(&queue->by_lead, &entry->node);
        entry_recycle(queue, entry);
        ask_anew(queue, later);
    }
    if (queue->waiting.first != NULL && queue->sleepers > 0)
        pthread_cond_broadcast(&queue->changed);
    tell_drained(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* Gives an attempt that will be made to those who asked for one of their own: what another person asked for waits on. Under the lock. */
static void join_later(struct request_entry *entry)
{
    struct routing_ticket *ticket = entry->later;

    entry->later = NULL;
    entry->later_end = &entry->later;
    while (ticket != NULL) {
        struct routing_ticket *next = ticket->next;
        if (is_for_same(&entry->request, &ticket->request)) {
            entry->request.force = entry->request.force || ticket->request.force;
            ticket_append(&entry->tickets_end, ticket);
        } else {
            ticket_append(&entry->later_end, ticket);
        }
        ticket = next;
    }
}

bool request_queue_put_back(struct request_queue *queue, struct request_entry *entry)
{
    int64_t now_ns = clock_now_ns();
    unsigned step = entry->held_count < HELD_STEP_MAX ? entry->held_count : HELD_STEP_MAX;

    assert(entry->state == REQUEST_TAKEN);
    if (entry->held_since_ns == 0)
        entry->held_since_ns = now_ns;
    entry->held_count++;
    if (now_ns - entry->held_since_ns >= (int64_t)REQUEST_HELD_MS_MAX * 1000000)
        return false;
    pthread_mutex_lock(&queue->lock);
    entry->due_ns = entry->is_let_go ? now_ns : now_ns + ((int64_t)HELD_FIRST_MS << step) * 1000000;
    entry->is_let_go = false;
    entry->state = REQUEST_HELD;
    queue->taken_count--;
    list_append(&queue->held, entry);
    join_later(entry);
    if (queue->sleepers > 0)
        pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return true;
}

void request_queue_let_go(struct request_queue *queue, const struct routing_request *const *requests, size_t count)
{
    int64_t now_ns = clock_now_ns();
    bool is_any = false;

    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < count && queue->by_lead.count > 0; i++) {
        struct request_entry *entry = entry_find(queue, requests[i]);
        if (entry != NULL && entry->state == REQUEST_TAKEN) {
            entry->is_let_go = true; /* its taker may have found it held just before */
        } else if (entry != NULL && entry->state == REQUEST_HELD) {
            entry->due_ns = now_ns;
            is_any = true;
        }
    }
    if (is_any && queue->sleepers > 0)
        pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void request_queue_close(struct request_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

bool request_queue_is_drained(struct request_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool drained = queue->closed && queue->ticket_count == 0;
    pthread_mutex_unlock(&queue->lock);
    return drained;
}

size_t request_queue_count(struct request_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t count = queue->ticket_count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}
