#include "naive.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"

enum { CONNECT_MS = 10000, STATEMENT_MS = 10000 };

static const struct pg_statement statement_acquire = {.name = "naive_acquire",
    .sql = "select public.acquire_routing_lock($1, $2)",
    .param_count = 2,
    .param_types = {PG_UUID, PG_UUID}};

static const struct pg_statement statement_lead = {.name = "naive_lead",
    .sql = "select company_industry, company_size, country, state, dedupe_hash from public.leads where id = $1",
    .param_count = 1,
    .param_types = {PG_UUID}};

static const struct pg_statement statement_rule = {.name = "naive_rule",
    .sql = WORKLOAD_RULE_FOR("$1", "$2", "$3", "$4", "$5"),
    .param_count = 5,
    .param_types = {PG_UUID, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT}};

static const struct pg_statement statement_duplicate = {.name = "naive_duplicate",
    .sql = "select duplicate_lead_id from public.check_cross_partner_duplicate($1, $2)",
    .param_count = 2,
    .param_types = {PG_TEXT, PG_UUID}};

static const struct pg_statement statement_complete = {.name = "naive_complete",
    .sql = "select public.complete_routing($1, $2, $3, $4)",
    .param_count = 4,
    .param_types = {PG_UUID, PG_UUID, PG_UUID, PG_UUID}};

struct naive_worker {
    struct run *run;
    struct pg_conn *conn;
    pthread_t thread;
};

/* Runs a statement that gives a boolean and demands true. */
static bool demand_true(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    struct error *reterr_error)
{
    struct pg_result *result = NULL;
    bool ok = false;

    if (!pg_execute(conn, statement, params, clock_after_ms(STATEMENT_MS), &result, reterr_error))
        return false;
    ok = pg_result_row_count(result) == 1 && pg_result_bool(result, 0, 0);
    pg_result_free(result);
    return ok || error_set(reterr_error, ERROR_BUSY, "%s: not held", statement->name);
}

static bool acquire(struct pg_conn *conn, struct arena *arena, const struct uuid *lead_id, const struct uuid *owner,
    struct error *reterr_error)
{
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, lead_id);
    pg_params_add_uuid(&params, owner);
    return demand_true(conn, &statement_acquire, &params, reterr_error);
}

struct naive_choice {
    struct uuid rule_id;
    struct uuid destination_id;
    bool is_duplicate;
};

static bool find_rule(struct pg_conn *conn, struct arena *arena, const struct uuid *workspace_id,
    const struct pg_result *lead, struct naive_choice *ret_choice, struct error *reterr_error)
{
    struct pg_result *result = NULL;
    struct pg_params params;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, workspace_id);
    for (int column = 0; column < 4; column++)
        pg_params_add_text(&params, pg_result_text(lead, 0, column));
    if (!pg_execute(conn, &statement_rule, &params, clock_after_ms(STATEMENT_MS), &result, reterr_error))
        return false;
    ok = pg_result_row_count(result) == 1;
    if (ok) {
        ret_choice->rule_id = pg_result_uuid(result, 0, 0);
        ret_choice->destination_id = pg_result_uuid(result, 0, 1);
    }
    pg_result_free(result);
    return ok || error_set(reterr_error, ERROR_NOT_FOUND, "no rule takes the lead");
}

static bool find_duplicate(struct pg_conn *conn, struct arena *arena, const struct uuid *workspace_id, const char *hash,
    struct naive_choice *ret_choice, struct error *reterr_error)
{
    struct pg_result *result = NULL;
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_text(&params, hash);
    pg_params_add_uuid(&params, workspace_id);
    if (!pg_execute(conn, &statement_duplicate, &params, clock_after_ms(STATEMENT_MS), &result, reterr_error))
        return false;
    ret_choice->is_duplicate = pg_result_row_count(result) > 0 && !pg_result_is_null(result, 0, 0);
    pg_result_free(result);
    return true;
}

/* complete_routing() decides a duplicate by itself, in the transaction: it is called for both. */
static bool complete(struct pg_conn *conn, struct arena *arena, const struct uuid *lead_id, const struct uuid *owner,
    const struct naive_choice *choice, struct error *reterr_error)
{
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, lead_id);
    pg_params_add_uuid(&params, &choice->destination_id);
    pg_params_add_uuid(&params, &choice->rule_id);
    pg_params_add_uuid(&params, owner);
    return demand_true(conn, &statement_complete, &params, reterr_error);
}

static bool route(struct pg_conn *conn, struct arena *arena, const struct uuid *lead_id,
    const struct uuid *workspace_id, enum routing_outcome *ret_outcome, struct error *reterr_error)
{
    const struct uuid owner = uuid_random();
    struct naive_choice choice = {0};
    struct pg_result *lead = NULL;
    struct pg_params params;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, lead_id);
    ok = acquire(conn, arena, lead_id, &owner, reterr_error) &&
         pg_execute(conn, &statement_lead, &params, clock_after_ms(STATEMENT_MS), &lead, reterr_error) &&
         (pg_result_row_count(lead) == 1 || error_set(reterr_error, ERROR_NOT_FOUND, "the lead is gone")) &&
         find_rule(conn, arena, workspace_id, lead, &choice, reterr_error) &&
         find_duplicate(conn, arena, workspace_id, pg_result_text(lead, 0, 4), &choice, reterr_error) &&
         complete(conn, arena, lead_id, &owner, &choice, reterr_error);
    if (ok)
        *ret_outcome = choice.is_duplicate ? ROUTING_OUTCOME_DUPLICATE : ROUTING_OUTCOME_ROUTED;
    pg_result_free(lead);
    return ok;
}

static void *work(void *user)
{
    struct naive_worker *worker = user;
    const struct workload *workload = worker->run->workload;
    struct arena *arena = arena_new(0);
    size_t index = 0;

    while (run_take(worker->run, &index)) {
        enum routing_outcome outcome = ROUTING_OUTCOME_NONE;
        struct error error = {0};
        int64_t begun_ns = clock_now_ns();
        if (route(worker->conn, arena, &workload->lead_ids[index], &workload->source_workspace_ids[index], &outcome,
                &error))
            run_report_outcome(worker->run, begun_ns, outcome);
        else
            run_report_error(worker->run, error.text);
        arena_clear(arena);
        if (!pg_conn_is_open(worker->conn))
            break;
    }
    arena_free(arena);
    return NULL;
}

bool naive_run(struct run *run, const struct pg_config *database, unsigned connections, struct error *reterr_error)
{
    struct naive_worker *workers = memory_new_array(connections, sizeof(*workers));
    unsigned started = 0;
    bool ok = true;

    for (unsigned i = 0; i < connections && ok; i++) {
        workers[i].run = run;
        workers[i].conn = pg_conn_new(database);
        ok = pg_conn_open(workers[i].conn, clock_after_ms(CONNECT_MS), reterr_error);
    }
    run_begin(run);
    for (; started < connections && ok; started++)
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0) {
            ok = error_set(reterr_error, ERROR_SYSTEM, "could not start a thread");
            break;
        }
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < connections; i++)
        pg_conn_free(workers[i].conn);
    free(workers);
    return ok;
}
