#include "routing/statistics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/histogram.h"
#include "base/memory.h"
#include "levels/levels.h"

enum { MINUTES = 60, OUTCOMES = ROUTING_OUTCOME_EXPIRED + 1, LATE = 2 };

static const double us_per_s = 1e6;
static const int64_t SECOND_NS = 1000000000;
static const int64_t MINUTE_NS = 60 * INT64_C(1000000000);

/* What happened in one minute. Its place is used again an hour later. */
struct minute {
    atomic_int_fast64_t number; /* since the start; -1: never used. Changed under the lock */
    atomic_uint_fast64_t attempts[OUTCOMES];
    atomic_uint_fast64_t locks_had;
    atomic_uint_fast64_t locks_held; /* by somebody else */
    atomic_uint_fast64_t calls;
    atomic_uint_fast64_t calls_failed;
    atomic_uint_fast64_t late[LATE]; /* waits that reached the level of p95, and of p99 */
    struct histogram waits;          /* microseconds */
};

struct statistics {
    int64_t started_ns;
    int64_t late_us[LATE]; /* from here on a wait is late */
    pthread_mutex_t lock;  /* a minute begins, or somebody reads: so that nobody reads a minute half emptied */
    struct minute minutes[MINUTES];
};

struct statistics *statistics_new(int64_t now_ns)
{
    struct statistics *statistics = memory_new(sizeof(*statistics));

    statistics->started_ns = now_ns;
    statistics->late_us[0] = (int64_t)(levels_table[LEVEL_P95].target * us_per_s);
    statistics->late_us[1] = (int64_t)(levels_table[LEVEL_P99].target * us_per_s);
    pthread_mutex_init(&statistics->lock, NULL);
    for (size_t i = 0; i < MINUTES; i++)
        atomic_init(&statistics->minutes[i].number, -1);
    return statistics;
}

void statistics_free(struct statistics *statistics)
{
    if (statistics == NULL)
        return;
    pthread_mutex_destroy(&statistics->lock);
    free(statistics);
}

/* --- Adding ------------------------------------------------------------------------------------------------------- */

static int64_t minute_number(const struct statistics *statistics, int64_t now_ns)
{
    assert(now_ns >= statistics->started_ns);
    return (now_ns - statistics->started_ns) / MINUTE_NS;
}

static void clear(struct minute *minute)
{
    for (size_t i = 0; i < OUTCOMES; i++)
        atomic_store_explicit(&minute->attempts[i], 0, memory_order_relaxed);
    atomic_store_explicit(&minute->locks_had, 0, memory_order_relaxed);
    atomic_store_explicit(&minute->locks_held, 0, memory_order_relaxed);
    atomic_store_explicit(&minute->calls, 0, memory_order_relaxed);
    atomic_store_explicit(&minute->calls_failed, 0, memory_order_relaxed);
    for (size_t i = 0; i < LATE; i++)
        atomic_store_explicit(&minute->late[i], 0, memory_order_relaxed);
    histogram_clear(&minute->waits);
}

/* The first of a minute makes room for it. One who comes an hour late counts in the minute that is there. */
static void begin_minute(struct statistics *statistics, struct minute *minute, int64_t number)
{
    pthread_mutex_lock(&statistics->lock);
    if (atomic_load_explicit(&minute->number, memory_order_relaxed) < number) {
        clear(minute);
        atomic_store_explicit(&minute->number, number, memory_order_release);
    }
    pthread_mutex_unlock(&statistics->lock);
}

static struct minute *minute_at(struct statistics *statistics, int64_t now_ns)
{
    int64_t number = minute_number(statistics, now_ns);
    struct minute *minute = &statistics->minutes[number % MINUTES];

    if (atomic_load_explicit(&minute->number, memory_order_acquire) != number)
        begin_minute(statistics, minute, number);
    return minute;
}

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void statistics_add_attempt(struct statistics *statistics, int64_t now_ns, enum routing_outcome outcome)
{
    assert(outcome > ROUTING_OUTCOME_NONE && outcome <= ROUTING_OUTCOME_EXPIRED);
    assert(outcome != ROUTING_OUTCOME_ALREADY_ROUTED);
    count(&minute_at(statistics, now_ns)->attempts[outcome]);
}

void statistics_add_lock(struct statistics *statistics, int64_t now_ns, bool was_had)
{
    struct minute *minute = minute_at(statistics, now_ns);

    count(was_had ? &minute->locks_had : &minute->locks_held);
}

void statistics_add_call(struct statistics *statistics, int64_t now_ns, bool has_failed)
{
    struct minute *minute = minute_at(statistics, now_ns);

    count(&minute->calls);
    if (has_failed)
        count(&minute->calls_failed);
}

void statistics_add_wait(struct statistics *statistics, int64_t now_ns, int64_t since_ns)
{
    int64_t waited_us = now_ns > since_ns ? (now_ns - since_ns) / 1000 : 0;
    struct minute *minute = minute_at(statistics, now_ns);

    histogram_add(&minute->waits, (uint64_t)waited_us);
    for (size_t i = 0; i < LATE; i++)
        if (waited_us >= statistics->late_us[i])
            count(&minute->late[i]);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct sums {
    uint64_t attempts[OUTCOMES];
    uint64_t locks_had;
    uint64_t locks_held;
    uint64_t calls;
    uint64_t calls_failed;
    uint64_t late[LATE];
    struct histogram waits;
};

static void add_minute(struct sums *sums, const struct minute *minute)
{
    for (size_t i = 0; i < OUTCOMES; i++)
        sums->attempts[i] += atomic_load_explicit(&minute->attempts[i], memory_order_relaxed);
    sums->locks_had += atomic_load_explicit(&minute->locks_had, memory_order_relaxed);
    sums->locks_held += atomic_load_explicit(&minute->locks_held, memory_order_relaxed);
    sums->calls += atomic_load_explicit(&minute->calls, memory_order_relaxed);
    sums->calls_failed += atomic_load_explicit(&minute->calls_failed, memory_order_relaxed);
    for (size_t i = 0; i < LATE; i++)
        sums->late[i] += atomic_load_explicit(&minute->late[i], memory_order_relaxed);
    histogram_merge(&sums->waits, &minute->waits);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

/* How long the minutes are that are summed up: whole ones before the one under way, and what has passed of that. */
static int64_t period_seconds(const struct statistics *statistics, int64_t now_ns)
{
    int64_t passed_ns = now_ns - statistics->started_ns;
    int64_t longest_ns = (MINUTES - 1) * MINUTE_NS + passed_ns % MINUTE_NS;

    return (passed_ns < longest_ns ? passed_ns : longest_ns) / SECOND_NS;
}

void statistics_read(struct statistics *statistics, int64_t now_ns, struct routing_rates *ret_rates)
{
    struct sums *sums = memory_new(sizeof(*sums));
    int64_t now_number = minute_number(statistics, now_ns);
    uint64_t finals = 0;
    uint64_t all = 0;

    pthread_mutex_lock(&statistics->lock);
    for (size_t i = 0; i < MINUTES; i++) {
        int64_t number = atomic_load_explicit(&statistics->minutes[i].number, memory_order_relaxed);
        if (number >= 0 && number > now_number - MINUTES)
            add_minute(sums, &statistics->minutes[i]);
    }
    pthread_mutex_unlock(&statistics->lock);
    for (size_t i = 0; i < OUTCOMES; i++)
        all += sums->attempts[i];
    finals = sums->attempts[ROUTING_OUTCOME_ROUTED] + sums->attempts[ROUTING_OUTCOME_DUPLICATE] +
             sums->attempts[ROUTING_OUTCOME_FAILED];
    *ret_rates = (struct routing_rates){
        .period_seconds = period_seconds(statistics, now_ns),
        .attempts = all,
        .finals = finals,
        .success_share = share(finals - sums->attempts[ROUTING_OUTCOME_FAILED], finals),
        .duplicate_share = share(sums->attempts[ROUTING_OUTCOME_DUPLICATE], finals),
        .expired_share = share(sums->attempts[ROUTING_OUTCOME_EXPIRED], all),
        .lock_share = share(sums->locks_had, sums->locks_had + sums->locks_held),
        .locks = sums->locks_had + sums->locks_held,
        .calls = sums->calls,
        .calls_failed = sums->calls_failed,
        .waits = histogram_count(&sums->waits),
        .waits_late_p95 = sums->late[0],
        .waits_late_p99 = sums->late[1],
        .routed = sums->attempts[ROUTING_OUTCOME_ROUTED],
        .duplicates = sums->attempts[ROUTING_OUTCOME_DUPLICATE],
        .requeued = sums->attempts[ROUTING_OUTCOME_QUEUED_FOR_RETRY],
        .failed = sums->attempts[ROUTING_OUTCOME_FAILED],
        .expired = sums->attempts[ROUTING_OUTCOME_EXPIRED],
        .max_us = (int64_t)histogram_max(&sums->waits),
        .p50_us = (int64_t)histogram_quantile(&sums->waits, 500),
        .p95_us = (int64_t)histogram_quantile(&sums->waits, 950),
        .p99_us = (int64_t)histogram_quantile(&sums->waits, 990),
    };
    free(sums);
}
