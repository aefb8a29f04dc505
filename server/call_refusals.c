#include "call_refusals.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "base/thread.h"
#include "service.h"

enum { NS_PER_MS = 1000000 };

/* A call that waits; in its arena, which lives as long as the call's caller may still be seen to go. */
struct late_call {
    struct call_refusals *refusals;
    struct grpc_c_call *call;
    struct error error;
    int64_t due_ns;
    /* under the lock */
    size_t place; /* among those that wait, from 1; 0: it is not there. Who takes it away ends the call */
    bool is_gone; /* its caller has gone */
};

struct call_refusals {
    struct thread thread;
    /* under its lock */
    struct late_call *waiting[CALL_REFUSALS_MAX + 1]; /* a heap: the one at n is due before those at 2n and 2n + 1 */
    size_t count;
    uint64_t late;
    bool is_hurrying;
};

/* --- Those that wait ---------------------------------------------------------------------------------------------- */

static void put_at(struct call_refusals *refusals, size_t place, struct late_call *late)
{
    refusals->waiting[place] = late;
    late->place = place;
}

/* Puts a call where it belongs, on the way from a free place to the first or to the last. Under the lock. */
static void settle(struct call_refusals *refusals, size_t place, struct late_call *late)
{
    struct late_call **waiting = refusals->waiting;

    for (; place > 1 && waiting[place / 2]->due_ns > late->due_ns; place /= 2)
        put_at(refusals, place, waiting[place / 2]);
    for (size_t next = place * 2; next <= refusals->count; next = place * 2) {
        if (next < refusals->count && waiting[next + 1]->due_ns < waiting[next]->due_ns)
            next++;
        if (waiting[next]->due_ns >= late->due_ns)
            break;
        put_at(refusals, place, waiting[next]);
        place = next;
    }
    put_at(refusals, place, late);
}

/* False when there is no room, or no reason to wait. */
static bool add(struct call_refusals *refusals, struct late_call *late)
{
    pthread_mutex_lock(&refusals->thread.lock);
    bool ok = refusals->count < CALL_REFUSALS_MAX && !refusals->is_hurrying && !late->is_gone;
    if (ok) {
        refusals->late++;
        settle(refusals, ++refusals->count, late);
        if (late->place == 1)
            pthread_cond_signal(&refusals->thread.changed);
    }
    pthread_mutex_unlock(&refusals->thread.lock);
    return ok;
}

/* Under the lock. */
static void take_away(struct call_refusals *refusals, struct late_call *late)
{
    size_t place = late->place;
    struct late_call *last = refusals->waiting[refusals->count--];

    late->place = 0;
    if (last != late)
        settle(refusals, place, last);
}

/* --- Telling ------------------------------------------------------------------------------------------------------ */

static void tell(struct grpc_c_call *call, const struct error *error)
{
    service_add_pushback(call, error);
    grpc_c_call_fail(call, service_status(error), service_text(error));
}

/* The next that is due, waited for; NULL when there will be none. */
static struct late_call *next_call(struct call_refusals *refusals)
{
    struct late_call *late = NULL;

    pthread_mutex_lock(&refusals->thread.lock);
    for (;;) {
        late = refusals->count == 0 ? NULL : refusals->waiting[1];
        if (late != NULL && (refusals->is_hurrying || late->due_ns <= clock_now_ns()))
            break;
        if (late == NULL && refusals->thread.is_stopping)
            break;
        (void)condition_wait(
            &refusals->thread.changed, &refusals->thread.lock, late == NULL ? CLOCK_NEVER : late->due_ns);
    }
    if (late != NULL)
        take_away(refusals, late);
    pthread_mutex_unlock(&refusals->thread.lock);
    return late;
}

static void *tell_main(void *argument)
{
    struct call_refusals *refusals = argument;
    struct late_call *late = NULL;

    while ((late = next_call(refusals)) != NULL)
        tell(late->call, &late->error);
    return NULL;
}

/* Its place is free for others; nobody hears the answer. */
static void caller_gone(struct grpc_c_call *call, void *user)
{
    struct late_call *late = user;
    struct call_refusals *refusals = late->refusals;

    pthread_mutex_lock(&refusals->thread.lock);
    bool was_waiting = late->place != 0;
    if (was_waiting)
        take_away(refusals, late);
    late->is_gone = true;
    pthread_mutex_unlock(&refusals->thread.lock);
    if (was_waiting)
        tell(call, &late->error);
}

/* What is told later comes so much nearer to the time to come back. */
static struct error error_at(const struct error *error, int64_t late_ns)
{
    struct error changed = *error;
    int64_t left_ms = changed.retry_after_ms - late_ns / NS_PER_MS;

    if (changed.retry_after_ms > 0)
        changed.retry_after_ms = left_ms < 1 ? 1 : (int32_t)left_ms;
    return changed;
}

void call_refusals_tell(
    struct call_refusals *refusals, struct grpc_c_call *call, const struct error *error, int64_t tell_ns)
{
    int64_t now_ns = clock_now_ns();
    /* A caller who has run out of time learns nothing of limits. */
    int64_t latest_ns = now_ns + (grpc_c_call_deadline_ns(call) - now_ns) / 10 * 9;
    int64_t due_ns = tell_ns < latest_ns ? tell_ns : latest_ns;

    if (due_ns <= now_ns) {
        tell(call, error);
        return;
    }
    struct late_call *late = arena_alloc(grpc_c_call_arena(call), sizeof(*late));
    *late = (struct late_call){
        .refusals = refusals, .call = call, .error = error_at(error, due_ns - now_ns), .due_ns = due_ns};
    grpc_c_call_on_gone(call, caller_gone, late); /* first: once it waits somebody else may end it */
    if (!add(refusals, late))
        tell(call, error);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

bool call_refusals_new(struct call_refusals **ret_refusals, struct error *reterr_error)
{
    struct call_refusals *refusals = memory_new(sizeof(*refusals));

    if (!thread_begin(
            &refusals->thread, tell_main, refusals, "could not start the thread that refuses calls", reterr_error)) {
        free(refusals);
        return false;
    }
    *ret_refusals = refusals;
    return true;
}

void call_refusals_hurry(struct call_refusals *refusals)
{
    if (refusals == NULL)
        return;
    pthread_mutex_lock(&refusals->thread.lock);
    refusals->is_hurrying = true;
    pthread_cond_signal(&refusals->thread.changed);
    pthread_mutex_unlock(&refusals->thread.lock);
}

void call_refusals_count(struct call_refusals *refusals, size_t *ret_waiting, uint64_t *ret_late)
{
    pthread_mutex_lock(&refusals->thread.lock);
    *ret_waiting = refusals->count;
    *ret_late = refusals->late;
    pthread_mutex_unlock(&refusals->thread.lock);
}

void call_refusals_free(struct call_refusals *refusals)
{
    if (refusals == NULL)
        return;
    pthread_mutex_lock(&refusals->thread.lock);
    assert(refusals->count == 0);
    pthread_mutex_unlock(&refusals->thread.lock);
    thread_end(&refusals->thread);
    free(refusals);
}
