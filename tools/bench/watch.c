#include "watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "grpc_c/client.h"
#include "leadrouter/v1/routing.grpc.h"
#include "pg/pg.h"

enum { INTERVAL_MS = 500, STATEMENT_MS = 30000, ASK_MS = 10000, ASK_AGAIN_MS = 50, SETTLE_MS = 3000 };

static const struct pg_statement statement_look = {
    .sql = "select (select count(*) from public.lead_routing_queue where processed_at is null),"
           " (select count(*) from public.lead_routing_queue where processed_at is null and next_retry_at <= now()),"
           " (select count(*) from public.leads where routing_status = 'routing'"
           "   and routing_locked_at < now() - interval '5 minutes'),"
           " (select count(*) from pg_stat_activity where backend_type = 'client backend'"
           "   and application_name <> 'leadrouter-bench')::float8 / current_setting('max_connections')::float8"};

struct watch {
    struct pg_conn *conn; /* the thread's while it runs */
    pthread_t thread;
    struct watch_figures figures; /* the thread's while it runs */
    struct error error;           /* likewise; of the first look that failed */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_over; /* under the lock */
};

/* --- Looking ------------------------------------------------------------------------------------------------------ */

static void keep_most(int64_t *most, int64_t seen)
{
    if (seen > *most)
        *most = seen;
}

static void look(struct watch *watch)
{
    struct pg_result *row = NULL;
    struct watch_figures *figures = &watch->figures;

    if (watch->error.code != ERROR_NONE ||
        !pg_execute(watch->conn, &statement_look, NULL, clock_after_ms(STATEMENT_MS), &row, &watch->error))
        return;
    keep_most(&figures->queue, pg_result_int8(row, 0, 0));
    keep_most(&figures->due, pg_result_int8(row, 0, 1));
    keep_most(&figures->stale, pg_result_int8(row, 0, 2));
    if (pg_result_float8(row, 0, 3) > figures->sessions)
        figures->sessions = pg_result_float8(row, 0, 3);
    pg_result_free(row);
}

/* Half a second, or until it is over. */
static bool rest(struct watch *watch)
{
    const int64_t until_ns = clock_after_ms(INTERVAL_MS);
    bool is_over = false;

    pthread_mutex_lock(&watch->lock);
    while (!watch->is_over && condition_wait(&watch->changed, &watch->lock, until_ns))
        ;
    is_over = watch->is_over;
    pthread_mutex_unlock(&watch->lock);
    return !is_over;
}

static void *watch_main(void *argument)
{
    struct watch *watch = argument;

    do
        look(watch);
    while (rest(watch));
    look(watch);
    return NULL;
}

/* --- What the server says ----------------------------------------------------------------------------------------- */

static bool ask(struct grpc_c_channel *channel, struct watch_figures *figures, struct error *reterr_error)
{
    const struct grpc_c_call_options options = {.deadline_ms = ASK_MS, .wait_for_ready = true};
    Leadrouter__V1__HealthRequest request = LEADROUTER__V1__HEALTH_REQUEST__INIT;
    Leadrouter__V1__HealthResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    bool ok = leadrouter__v1__routing_service__health(channel, &request, &options, &response, &outcome) == GRPC_C_OK;

    if (ok) {
        figures->locks = response->rates == NULL ? 0 : response->rates->leads_asked_for;
        figures->lock_share = figures->locks == 0 ? 1 : response->rates->lock_share;
        leadrouter__v1__health_response__free_unpacked(response, NULL);
    } else {
        error_set(reterr_error, ERROR_UNAVAILABLE, "Health: %s %s", grpc_c_status_name(outcome.status),
            outcome.message == NULL ? "" : outcome.message);
    }
    grpc_c_outcome_release(&outcome);
    return ok;
}

/* Health is kept for a second: asked again until it knows of all that was answered. */
static bool ask_for_locks(
    const char *target, int64_t answered, struct watch_figures *figures, struct error *reterr_error)
{
    const struct grpc_c_channel_options plain = {0};
    int64_t deadline_ns = clock_after_ms(SETTLE_MS);
    struct grpc_c_channel *channel = NULL;
    bool ok = grpc_c_channel_new(target, &plain, &channel, reterr_error) && ask(channel, figures, reterr_error);

    while (ok && figures->locks < answered && clock_now_ns() < deadline_ns) {
        poll(NULL, 0, ASK_AGAIN_MS);
        ok = ask(channel, figures, reterr_error);
    }
    grpc_c_channel_free(channel);
    return ok;
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

static void watch_free(struct watch *watch)
{
    pg_conn_free(watch->conn);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

bool watch_start(const struct stage *stage, struct watch **ret_watch, struct error *reterr_error)
{
    struct watch *watch = memory_new(sizeof(*watch));

    if (!stage_connect(stage, &watch->conn, reterr_error)) {
        free(watch);
        return false;
    }
    pthread_mutex_init(&watch->lock, NULL);
    condition_init(&watch->changed);
    if (pthread_create(&watch->thread, NULL, watch_main, watch) != 0) {
        watch_free(watch);
        return error_set(reterr_error, ERROR_SYSTEM, "could not start a thread");
    }
    *ret_watch = watch;
    return true;
}

static void stop(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->is_over = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
}

bool watch_end(struct watch *watch, const char *target, int64_t answered, struct watch_figures *ret_figures,
    struct error *reterr_error)
{
    bool ok = false;

    stop(watch);
    if (watch->error.code != ERROR_NONE)
        *reterr_error = watch->error;
    else
        ok = ask_for_locks(target, answered, &watch->figures, reterr_error);
    if (ok)
        *ret_figures = watch->figures;
    watch_free(watch);
    return ok;
}

void watch_abandon(struct watch *watch)
{
    if (watch == NULL)
        return;
    stop(watch);
    watch_free(watch);
}
