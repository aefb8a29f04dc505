#include "migrate_runner.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "sql/sql_steps.h"

enum {
    CONNECT_MS = 10000,
    STATEMENT_MS = 24 * 3600 * 1000, /* an index on a large table takes as long as it takes */
    TURN_MS = 10 * 60 * 1000,        /* how long another runner is waited for */
    TURN_POLL_MS = 200,
    TRIES_MAX = 100,
    PAUSE_MS = 50,
    PAUSE_MS_MAX = 2000,
    PARAMETERS_MAX = 4,
};

/* Any number will do as long as every runner uses it; its two halves are what pg_locks shows. */
#define TURN_HIGH "1691"
#define TURN_LOW "541890123"

/* --- Talking to the database -------------------------------------------------------------------------------------- */

static int64_t statement_deadline(void)
{
    return clock_after_ms(STATEMENT_MS);
}

bool migrate_runner_execute(struct migrate_runner *runner, const char *sql, struct error *reterr_error)
{
    return pg_execute_script(runner->conn, sql, statement_deadline(), reterr_error);
}

bool migrate_runner_query(struct migrate_runner *runner, const char *sql, const char *const *parameters,
    struct pg_result **ret_result, struct error *reterr_error)
{
    struct pg_statement statement = {.sql = sql};
    struct pg_params params;

    pg_params_init(&params, runner->arena);
    for (int i = 0; parameters != NULL && parameters[i] != NULL; i++) {
        assert(i < PARAMETERS_MAX);
        statement.param_types[statement.param_count++] = PG_TEXT;
        pg_params_add_text(&params, parameters[i]);
    }
    return pg_execute(runner->conn, &statement, &params, statement_deadline(), ret_result, reterr_error);
}

bool migrate_runner_text(struct migrate_runner *runner, const char *sql, const char *const *parameters,
    const char **ret_text, struct error *reterr_error)
{
    struct pg_result *result = NULL;

    if (!migrate_runner_query(runner, sql, parameters, &result, reterr_error))
        return false;
    const char *value = pg_result_row_count(result) == 0 ? NULL : pg_result_text(result, 0, 0);
    *ret_text = value == NULL ? NULL : arena_copy_string(runner->arena, value);
    pg_result_free(result);
    return true;
}

bool migrate_runner_number(struct migrate_runner *runner, const char *sql, const char *const *parameters,
    int64_t *ret_number, struct error *reterr_error)
{
    struct pg_result *result = NULL;

    if (!migrate_runner_query(runner, sql, parameters, &result, reterr_error))
        return false;
    *ret_number = pg_result_row_count(result) == 0 ? 0 : pg_result_int8(result, 0, 0);
    pg_result_free(result);
    return true;
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

static bool read_version(struct migrate_runner *runner, struct error *reterr_error)
{
    int64_t version = 0;
    int64_t has_bookkeeping = 0;

    if (!migrate_runner_number(runner, "select (to_regclass('leadrouter.migrations') is not null)::int::bigint", NULL,
            &has_bookkeeping, reterr_error))
        return false;
    if (has_bookkeeping != 0 &&
        !migrate_runner_number(runner,
            "select coalesce(max(number), 0)::bigint from leadrouter.migrations where applied_at is not null", NULL,
            &version, reterr_error))
        return false;
    runner->has_bookkeeping = has_bookkeeping != 0;
    runner->version = (int)version;
    if (runner->version > migrate_schema_version)
        return error_set(reterr_error, ERROR_INVALID,
            "the schema is at version %d, this build knows versions up to %d: use a newer leadrouterd", runner->version,
            migrate_schema_version);
    return true;
}

bool migrate_runner_open(
    struct migrate_runner *runner, const struct migrate_options *options, struct error *reterr_error)
{
    *runner = (struct migrate_runner){.options = options, .arena = arena_new(0)};
    runner->config = (struct pg_config){.url = options->url, .application_name = "leadrouterd migrate"};
    runner->conn = pg_conn_new(&runner->config);
    return pg_conn_open(runner->conn, clock_after_ms(CONNECT_MS), reterr_error) &&
           migrate_runner_execute(runner, sql_runner_session, reterr_error) && read_version(runner, reterr_error);
}

void migrate_runner_close(struct migrate_runner *runner)
{
    pg_conn_free(runner->conn);
    arena_free(runner->arena);
}

/* Polls: a runner that waited inside pg_advisory_lock() would hold a snapshot for which CREATE INDEX CONCURRENTLY
 * of the other one waits. */
bool migrate_runner_take_turn(struct migrate_runner *runner, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(TURN_MS);
    bool told = false;

    while (true) {
        int64_t locked = 0;
        if (!migrate_runner_number(runner,
                "select pg_try_advisory_lock((" TURN_HIGH "::bigint << 32) | " TURN_LOW ")::int::bigint", NULL, &locked,
                reterr_error))
            return false;
        if (locked != 0)
            return read_version(runner, reterr_error);
        if (clock_now_ns() > deadline_ns)
            return error_set(reterr_error, ERROR_BUSY, "another migration runner is at work on this database");
        if (!told)
            fprintf(runner->options->output, "waiting for another migration runner\n");
        fflush(runner->options->output);
        told = true;
        poll(NULL, 0, TURN_POLL_MS);
    }
}

bool migrate_runner_is_busy(struct migrate_runner *runner, bool *ret_busy, struct error *reterr_error)
{
    int64_t count = 0;

    if (!migrate_runner_number(runner,
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database where l.locktype = 'advisory'"
            " and d.datname = current_database() and l.classid = " TURN_HIGH " and l.objid = " TURN_LOW
            " and l.granted",
            NULL, &count, reterr_error))
        return false;
    *ret_busy = count != 0;
    return true;
}

/* --- Trying again ------------------------------------------------------------------------------------------------- */

/* A lock not had in time, or what two transactions do to one another: also two runners, on two databases of one
 * cluster, that make the same role. */
static bool is_worth_another_try(const struct error *error)
{
    static const struct {
        const char *state;
        const char *words; /* in the text */
    } passing[] = {
        {"55P03", ""},
        {"42710", "role "},
        {"23505", "pg_authid"},
        {"23505", "pg_auth_members"},
        {"23505", "pg_db_role_setting"},
        {"XX000", "tuple concurrently updated"},
    };

    for (size_t i = 0; i < COUNT_OF(passing); i++)
        if (strcmp(error->sqlstate, passing[i].state) == 0 && strstr(error->text, passing[i].words) != NULL)
            return true;
    return error_is_transaction_retryable(error);
}

bool migrate_runner_try(struct migrate_runner *runner, migrate_work *work, void *argument, struct error *reterr_error)
{
    struct error error = {0};

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        if (work(runner, argument, &error))
            return true;
        if (!pg_conn_is_open(runner->conn) || !is_worth_another_try(&error))
            break;
        int pause_ms = PAUSE_MS << (tries < 6 ? tries : 6);
        poll(NULL, 0, pause_ms > PAUSE_MS_MAX ? PAUSE_MS_MAX : pause_ms);
    }
    if (reterr_error != NULL)
        *reterr_error = error;
    return false;
}

struct transaction {
    const char *begin;
    migrate_work *work;
    void *argument;
};

static bool try_transaction(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    const struct transaction *transaction = argument;

    if (migrate_runner_execute(runner, "begin isolation level repeatable read", reterr_error) &&
        (transaction->begin == NULL || migrate_runner_execute(runner, transaction->begin, reterr_error)) &&
        transaction->work(runner, transaction->argument, reterr_error) &&
        migrate_runner_execute(runner, "commit", reterr_error))
        return true;
    if (pg_conn_is_open(runner->conn))
        migrate_runner_execute(runner, "rollback", NULL);
    return false;
}

bool migrate_runner_transact(
    struct migrate_runner *runner, const char *begin, migrate_work *work, void *argument, struct error *reterr_error)
{
    struct transaction transaction = {.begin = begin, .work = work, .argument = argument};

    return migrate_runner_try(runner, try_transaction, &transaction, reterr_error);
}
