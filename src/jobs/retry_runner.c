/* The lanes of the retry queue, and who wakes them: the time of the next row, a change of rules, and, behind both, a look
 * twice a second. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "jobs/internal.h"

enum {
    POLL_MS = 500,
    THOROUGH_MS = 60000, /* how often all workspaces are looked at for changed rules */
    CALLERS_MS = 1000,
    BATCH_MAX = 256,
    LISTEN_CONNECT_MS = 5000,
    LISTEN_CHECK_MS = 30000,
    ALL_FAIL_MIN = 8,     /* leads, none of which could be looked at: it is not the leads, so the lane waits */
    BURST_MS_MAX = 10000, /* a longer one is told in parts */
};

struct retry_lane {
    struct retry_runner *runner;
    unsigned index; /* lane 0 is always at work, the others when it asks for them */
    pthread_t thread;
    struct routing_retries *retries;
    struct retry_pace pace;
    int64_t callers_seen_ns;
    bool is_away; /* and has said so */
};

struct retry_runner {
    struct jobs *jobs;
    struct retry_policy_limits limits;
    struct retry_lane *lanes;
    unsigned lane_count; /* started */

    bool has_listener;
    pthread_t listener;
    int stop_fd; /* an eventfd: ends the listener's wait */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic clock */
    /* under the lock */
    bool is_stopping;
    bool is_hinted; /* rules have changed, perhaps */
    unsigned lanes_wanted;
    struct error failure; /* of the first lane; its code is ERROR_NONE while all is well */
    struct retry_burst burst;
    int64_t burst_began_ns; /* 0: none */
    bool burst_is_over;
};

/* --- A lane's work ------------------------------------------------------------------------------------------------ */

static void tell_database(struct retry_lane *lane, const struct error *error)
{
    const struct jobs_event event = {.kind = JOBS_EVENT_DATABASE, .job = "retries", .detail = "{}", .error = error};

    if (error != NULL && !lane->is_away)
        jobs_tell(lane->runner->jobs, &event);
    lane->is_away = error != NULL;
    if (lane->index == 0) {
        pthread_mutex_lock(&lane->runner->lock);
        lane->runner->failure = error == NULL ? (struct error){0} : *error;
        pthread_mutex_unlock(&lane->runner->lock);
    }
}

bool retry_runner_failure(struct retry_runner *runner, struct error *ret_error)
{
    pthread_mutex_lock(&runner->lock);
    *ret_error = runner->failure;
    pthread_mutex_unlock(&runner->lock);
    return ret_error->code != ERROR_NONE;
}

static void add_report(struct routing_retries_report *sum, const struct routing_retries_report *report)
{
    sum->processed += report->processed;
    sum->routed += report->routed;
    sum->duplicates += report->duplicates;
    sum->requeued += report->requeued;
    sum->failed += report->failed;
    sum->expired += report->expired;
    sum->held += report->held;
    sum->errors += report->errors;
}

/* Keeps what a batch did, and how many lanes are to work on. */
static void note_batch(struct retry_lane *lane, const struct routing_retries_report *report)
{
    struct retry_runner *runner = lane->runner;

    pthread_mutex_lock(&runner->lock);
    if (report->processed > 0) {
        if (runner->burst_began_ns == 0)
            runner->burst_began_ns = clock_now_ns();
        runner->burst_is_over = false;
        add_report(&runner->burst.report, report);
    }
    if (lane->index == 0 && runner->lanes_wanted != lane->pace.lanes) {
        runner->lanes_wanted = lane->pace.lanes;
        pthread_cond_broadcast(&runner->changed);
    }
    pthread_mutex_unlock(&runner->lock);
}

/* One batch of a kind. True when there may be more of it. */
static bool run_batch(struct retry_lane *lane, enum routing_retries_kind kind, bool is_thorough,
    struct routing_retries_report *ret_report, struct error *reterr_error)
{
    struct retry_runner *runner = lane->runner;
    const struct routing_retries_order order = {
        .kind = kind,
        .limit = lane->pace.batch,
        .is_thorough = is_thorough,
        .deadline_ns = clock_after_ms(10000),
    };
    int64_t began_ns = clock_now_ns();

    *ret_report = (struct routing_retries_report){0};
    if (!routing_retries_run(lane->retries, &order, ret_report, NULL, NULL, reterr_error))
        return false;
    if (routing_engine_load(runner->jobs->options.engine) > 0)
        lane->callers_seen_ns = clock_now_ns();
    if (ret_report->processed > 0 || !ret_report->is_short) {
        const struct retry_observation seen = {
            .was_full = !ret_report->is_short,
            .duration_ns = clock_now_ns() - began_ns,
            .callers_are_here =
                lane->callers_seen_ns != 0 && clock_now_ns() - lane->callers_seen_ns < (int64_t)CALLERS_MS * 1000000,
        };
        lane->pace = retry_pace_next(&runner->limits, lane->pace, &seen);
    }
    note_batch(lane, ret_report);
    if (ret_report->errors >= ALL_FAIL_MIN && ret_report->errors == ret_report->processed)
        return error_set(reterr_error, ERROR_UNAVAILABLE, "none of %u leads could be looked at", ret_report->errors);
    return !ret_report->is_short;
}

static bool is_wanted(struct retry_lane *lane)
{
    pthread_mutex_lock(&lane->runner->lock);
    bool is = lane->index < lane->runner->lanes_wanted;
    pthread_mutex_unlock(&lane->runner->lock);
    return is;
}

/* Batches of both kinds in turn, so that neither keeps the other waiting, until both came back short or the lane is no longer wanted.
 * `*ret_next_due_in_us` as in the report. False when the database failed, or every lead of a batch did. */
static bool run_until_short(struct retry_lane *lane, bool is_thorough, int64_t *ret_next_due_in_us)
{
    bool has_more[] = {[ROUTING_RETRIES_DUE] = true, [ROUTING_RETRIES_OUTDATED] = true};
    struct routing_retries_report report = {0};
    struct error error = {0};

    *ret_next_due_in_us = -1;
    while ((has_more[0] || has_more[1]) && is_wanted(lane)) {
        for (int kind = ROUTING_RETRIES_DUE; kind <= ROUTING_RETRIES_OUTDATED; kind++) {
            if (!has_more[kind])
                continue;
            has_more[kind] = run_batch(lane, (enum routing_retries_kind)kind, is_thorough, &report, &error);
            if (error.code != ERROR_NONE) {
                tell_database(lane, &error);
                return false;
            }
            if (kind == ROUTING_RETRIES_DUE && report.is_short)
                *ret_next_due_in_us = report.next_due_in_us;
        }
        if (jobs_are_stopping(lane->runner->jobs))
            return false;
    }
    tell_database(lane, NULL);
    return true;
}

/* --- Threads ------------------------------------------------------------------------------------------------------ */

/* Ends a burst, and waits until there is something to do again. `*ret_is_hinted`: rules have changed, perhaps. False when
 * it is time to stop. */
static bool wait_for_work(struct retry_runner *runner, int64_t until_ns, bool *ret_is_hinted)
{
    pthread_mutex_lock(&runner->lock);
    if (runner->burst_began_ns != 0 && !runner->burst_is_over) {
        runner->burst.duration_ms = (clock_now_ns() - runner->burst_began_ns) / 1000000;
        runner->burst_is_over = true;
    }
    while (!runner->is_stopping && !runner->is_hinted && clock_now_ns() < until_ns)
        (void)condition_wait(&runner->changed, &runner->lock, until_ns);
    *ret_is_hinted = runner->is_hinted;
    runner->is_hinted = false;
    bool goes_on = !runner->is_stopping;
    pthread_mutex_unlock(&runner->lock);
    return goes_on;
}

static void *first_lane_main(void *argument)
{
    struct retry_lane *lane = argument;
    struct pg_backoff backoff = {0};
    int64_t thorough_ns = 0;
    int64_t until_ns = 0;
    bool is_hinted = false;

    while (wait_for_work(lane->runner, until_ns, &is_hinted)) {
        int64_t next_due_in_us = -1;
        bool is_thorough = clock_now_ns() >= thorough_ns;
        bool ok = run_until_short(lane, is_thorough, &next_due_in_us);
        if (ok)
            pg_backoff_reset(&backoff);
        until_ns = clock_after_ms(ok ? POLL_MS : POLL_MS + pg_backoff_next_ms(&backoff));
        if (ok && is_thorough)
            thorough_ns = clock_after_ms(THOROUGH_MS);
        if (ok && next_due_in_us >= 0 && clock_now_ns() + next_due_in_us * 1000 < until_ns)
            until_ns = clock_now_ns() + next_due_in_us * 1000;
    }
    return NULL;
}

/* Waits until so many lanes are wanted; false when it is time to stop. */
static bool wait_until_wanted(struct retry_lane *lane)
{
    struct retry_runner *runner = lane->runner;

    pthread_mutex_lock(&runner->lock);
    while (!runner->is_stopping && lane->index >= runner->lanes_wanted)
        pthread_cond_wait(&runner->changed, &runner->lock);
    bool goes_on = !runner->is_stopping;
    pthread_mutex_unlock(&runner->lock);
    return goes_on;
}

static void *further_lane_main(void *argument)
{
    struct retry_lane *lane = argument;

    while (wait_until_wanted(lane)) {
        int64_t ignored_us = 0;
        lane->pace.batch = lane->runner->limits.batch_max;
        run_until_short(lane, false, &ignored_us);
        pthread_mutex_lock(&lane->runner->lock);
        lane->runner->lanes_wanted = 1; /* until the first lane asks again */
        pthread_mutex_unlock(&lane->runner->lock);
    }
    return NULL;
}

/* --- The listener ------------------------------------------------------------------------------------------------- */

/* Waits for a notification, the stop, or half a minute. */
static bool listen_once(struct retry_runner *runner, struct pg_conn *conn)
{
    struct pollfd polls[] = {
        {.fd = pg_conn_descriptor(conn), .events = POLLIN}, {.fd = runner->stop_fd, .events = POLLIN}};
    bool is_notified = false;

    if (poll(polls, COUNT_OF(polls), LISTEN_CHECK_MS) < 0 && errno != EINTR)
        return false;
    if (polls[1].revents != 0)
        return false;
    if (polls[0].revents != 0 && !pg_conn_take_notifications(conn, &is_notified, NULL))
        return false;
    if (is_notified) {
        pthread_mutex_lock(&runner->lock);
        runner->is_hinted = true;
        pthread_cond_broadcast(&runner->changed);
        pthread_mutex_unlock(&runner->lock);
    }
    return true;
}

static void *listener_main(void *argument)
{
    struct retry_runner *runner = argument;
    struct pg_conn *conn = pg_conn_new(runner->jobs->options.listen_database);
    struct pg_backoff backoff = {0};
    struct pollfd stop = {.fd = runner->stop_fd, .events = POLLIN};

    while (!jobs_are_stopping(runner->jobs)) {
        if (pg_conn_open(conn, clock_after_ms(LISTEN_CONNECT_MS), NULL) &&
            pg_execute_script(conn, "listen leadrouter_rules", clock_after_ms(LISTEN_CONNECT_MS), NULL)) {
            pg_backoff_reset(&backoff);
            while (listen_once(runner, conn))
                continue;
        }
        pg_conn_close(conn);
        poll(&stop, 1, pg_backoff_next_ms(&backoff)); /* looks at the queue go on meanwhile, twice a second */
    }
    pg_conn_free(conn);
    return NULL;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static bool start_lanes(struct retry_runner *runner, struct error *reterr_error)
{
    for (unsigned i = 0; i < runner->limits.lanes_max; i++) {
        struct retry_lane *lane = &runner->lanes[i];
        lane->runner = runner;
        lane->index = i;
        lane->pace = retry_pace_first(&runner->limits);
        lane->retries = routing_retries_new(runner->jobs->options.engine);
        int failure = pthread_create(&lane->thread, NULL, i == 0 ? first_lane_main : further_lane_main, lane);
        if (failure != 0) {
            routing_retries_free(lane->retries);
            return error_set(reterr_error, ERROR_SYSTEM, "could not start a retry lane: %s", strerror(failure));
        }
        runner->lane_count++;
    }
    return true;
}

static bool start_listener(struct retry_runner *runner, struct error *reterr_error)
{
    int failure = 0;

    if (runner->jobs->options.listen_database == NULL)
        return true;
    runner->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (runner->stop_fd < 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not make an eventfd: %s", strerror(errno));
    failure = pthread_create(&runner->listener, NULL, listener_main, runner);
    runner->has_listener = failure == 0;
    return failure == 0 || error_set(reterr_error, ERROR_SYSTEM, "could not start the listener: %s", strerror(failure));
}

bool retry_runner_new(struct jobs *jobs, struct retry_runner **ret_runner, struct error *reterr_error)
{
    struct retry_runner *runner = memory_new(sizeof(*runner));

    runner->jobs = jobs;
    runner->limits = (struct retry_policy_limits){.batch_max = BATCH_MAX, .lanes_max = jobs->options.retry_lanes_max};
    runner->lanes = memory_new_array(runner->limits.lanes_max, sizeof(*runner->lanes));
    runner->lanes_wanted = 1;
    runner->stop_fd = -1;
    pthread_mutex_init(&runner->lock, NULL);
    condition_init(&runner->changed);
    if (start_lanes(runner, reterr_error) && start_listener(runner, reterr_error)) {
        *ret_runner = runner;
        return true;
    }
    pthread_mutex_lock(&jobs->lock);
    jobs->is_stopping = true;
    pthread_mutex_unlock(&jobs->lock);
    retry_runner_free(runner);
    return false;
}

void retry_runner_free(struct retry_runner *runner)
{
    uint64_t one = 1;

    if (runner == NULL)
        return;
    pthread_mutex_lock(&runner->lock);
    runner->is_stopping = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    for (unsigned i = 0; i < runner->lane_count; i++) {
        pthread_join(runner->lanes[i].thread, NULL);
        routing_retries_free(runner->lanes[i].retries);
    }
    if (runner->has_listener && write(runner->stop_fd, &one, sizeof(one)) == sizeof(one))
        pthread_join(runner->listener, NULL);
    if (runner->stop_fd >= 0)
        close(runner->stop_fd);
    free(runner->lanes);
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    free(runner);
}

bool retry_runner_take_burst(struct retry_runner *runner, struct retry_burst *ret_burst)
{
    pthread_mutex_lock(&runner->lock);
    int64_t lasted_ms = (clock_now_ns() - runner->burst_began_ns) / 1000000;
    bool is_over = runner->burst_is_over || (runner->burst_began_ns != 0 && lasted_ms > BURST_MS_MAX);
    if (is_over) {
        if (!runner->burst_is_over)
            runner->burst.duration_ms = lasted_ms;
        *ret_burst = runner->burst;
        runner->burst = (struct retry_burst){0};
        runner->burst_began_ns = 0;
        runner->burst_is_over = false;
    }
    pthread_mutex_unlock(&runner->lock);
    return is_over;
}

/* --- By hand ------------------------------------------------------------------------------------------------------ */

/* The job `retries`, run by hand: everything that is due now, whether paused or not. */
bool job_drain_retries(struct job_run *run, struct error *reterr_error)
{
    struct routing_retries *retries = routing_retries_new(run->jobs->options.engine);
    struct routing_retries_report report = {0};
    bool is_paused = false;
    bool ok = true;

    for (int kind = ROUTING_RETRIES_DUE; ok && kind <= ROUTING_RETRIES_OUTDATED; kind++) {
        const struct routing_retries_order order = {.kind = (enum routing_retries_kind)kind,
            .by_hand = true,
            .is_thorough = true,
            .deadline_ns = run->deadline_ns};
        do
            ok = routing_retries_run(retries, &order, &report, NULL, NULL, reterr_error) &&
                 job_run_goes_on(run, &is_paused, reterr_error);
        while (ok && !report.is_short);
    }
    job_run_count(run, "processed", report.processed);
    job_run_count(run, "routed", report.routed);
    job_run_count(run, "duplicates", report.duplicates);
    job_run_count(run, "requeued", report.requeued);
    job_run_count(run, "failed", report.failed);
    job_run_count(run, "expired", report.expired);
    job_run_count(run, "held", report.held);
    job_run_count(run, "errors", report.errors);
    routing_retries_free(retries);
    return ok;
}
