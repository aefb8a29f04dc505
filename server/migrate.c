#include "migrate.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "migrate_objects.h"
#include "pg/pg.h"
#include "sql/sql_steps.h"

enum {
    CONNECT_MS = 10000,
    STATEMENT_MS = 24 * 3600 * 1000, /* an index on a large table takes as long as it takes */
    LOCK_WAIT_MS = 10 * 60 * 1000,   /* how long another runner is waited for */
    LOCK_POLL_MS = 200,
    STEP_TRIES_MAX = 100,
    STEP_PAUSE_MS_MAX = 2000,
};

const int migrate_schema_version = 1;

/* Any number will do as long as every runner uses it. */
#define RUNNER_LOCK "7263541890123"

struct runner {
    struct pg_config config;
    struct pg_conn *conn;
    struct arena *arena;
    const struct migrate_options *options;
    int version;          /* applied in the database; 0: none */
    bool has_bookkeeping; /* the schema leadrouter is ours */
};

/* --- Talking to the database -------------------------------------------------------------------------------------- */

static int64_t statement_deadline(void)
{
    return clock_after_ms(STATEMENT_MS);
}

static bool run(struct runner *runner, const char *sql, struct error *reterr_error)
{
    return pg_execute_script(runner->conn, sql, statement_deadline(), reterr_error);
}

static bool run_text(struct runner *runner, const char *sql, const char *parameter, struct error *reterr_error)
{
    struct pg_statement statement = {.sql = sql, .param_count = 1, .param_types = {PG_TEXT}};
    struct pg_params params;

    pg_params_init(&params, runner->arena);
    pg_params_add_text(&params, parameter);
    return pg_execute(runner->conn, &statement, &params, statement_deadline(), NULL, reterr_error);
}

/* A query that gives one bigint; `parameter` may be NULL for none. */
static bool number(
    struct runner *runner, const char *sql, const char *parameter, int64_t *ret_number, struct error *reterr_error)
{
    struct pg_statement statement = {.sql = sql, .param_count = parameter == NULL ? 0 : 1, .param_types = {PG_TEXT}};
    struct pg_params params;
    struct pg_result *result = NULL;

    pg_params_init(&params, runner->arena);
    if (parameter != NULL)
        pg_params_add_text(&params, parameter);
    if (!pg_execute(runner->conn, &statement, &params, statement_deadline(), &result, reterr_error))
        return false;
    bool ok = pg_result_row_count(result) == 1 && !pg_result_is_null(result, 0, 0);
    if (ok)
        *ret_number = pg_result_int8(result, 0, 0);
    pg_result_free(result);
    return ok || error_set(reterr_error, ERROR_INTERNAL, "a query of the migration runner gave no number");
}

static bool text(struct runner *runner, const char *sql, const char **ret_text, struct error *reterr_error)
{
    struct pg_statement statement = {.sql = sql};
    struct pg_result *result = NULL;

    if (!pg_execute(runner->conn, &statement, NULL, statement_deadline(), &result, reterr_error))
        return false;
    const char *value = pg_result_row_count(result) == 0 ? NULL : pg_result_text(result, 0, 0);
    *ret_text = value == NULL ? NULL : arena_copy_string(runner->arena, value);
    pg_result_free(result);
    return true;
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

static bool read_version(struct runner *runner, struct error *reterr_error)
{
    int64_t value = 0;

    if (!number(runner, "select (to_regclass('leadrouter.migrations') is not null)::int::bigint", NULL, &value,
            reterr_error))
        return false;
    runner->has_bookkeeping = value != 0;
    runner->version = 0;
    if (!runner->has_bookkeeping)
        return true;
    if (!number(runner,
            "select coalesce(max(number), 0)::bigint from leadrouter.migrations where applied_at is not null", NULL,
            &value, reterr_error))
        return false;
    runner->version = (int)value;
    return true;
}

static bool open_runner(struct runner *runner, const struct migrate_options *options, struct error *reterr_error)
{
    *runner = (struct runner){.options = options, .arena = arena_new(0)};
    runner->config = (struct pg_config){.url = options->url, .application_name = "leadrouterd migrate"};
    runner->conn = pg_conn_new(&runner->config);
    return pg_conn_open(runner->conn, clock_after_ms(CONNECT_MS), reterr_error) && read_version(runner, reterr_error);
}

static void close_runner(struct runner *runner)
{
    pg_conn_free(runner->conn);
    arena_free(runner->arena);
}

/* Polls: a runner that waited inside pg_advisory_lock() would hold a snapshot for which CREATE INDEX CONCURRENTLY
 * of the other one waits. */
static bool lock_out_others(struct runner *runner, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(LOCK_WAIT_MS);
    bool told = false;

    while (true) {
        int64_t locked = 0;
        if (!number(runner, "select pg_try_advisory_lock(" RUNNER_LOCK ")::int::bigint", NULL, &locked, reterr_error))
            return false;
        if (locked != 0)
            return read_version(runner, reterr_error);
        if (clock_now_ns() > deadline_ns)
            return error_set(reterr_error, ERROR_BUSY, "another migration runner is at work on this database");
        if (!told)
            fprintf(runner->options->output, "waiting for another migration runner\n");
        told = true;
        poll(NULL, 0, LOCK_POLL_MS);
    }
}

static bool refuse_newer(const struct runner *runner, struct error *reterr_error)
{
    if (runner->version > migrate_schema_version)
        return error_set(reterr_error, ERROR_INVALID, "the schema is at version %d, this build knows versions up to %d",
            runner->version, migrate_schema_version);
    return true;
}

/* The old system's tables cannot be told from ours by their names: they are there without our bookkeeping. */
static bool refuse_old_system(struct runner *runner, struct error *reterr_error)
{
    const char *found = NULL;

    if (runner->has_bookkeeping)
        return true;
    if (!text(runner,
            "select string_agg(what, ', ') from (select 'table ' || t as what from unnest(array['lead_routing_queue',"
            " 'lead_routing_logs', 'lead_routing_rules', 'lead_dedupe_claims']) t where to_regclass('public.' || t) is "
            "not null"
            " union all select 'column leads.routing_status' from pg_attribute where attrelid = "
            "to_regclass('public.leads')"
            " and attname = 'routing_status' and not attisdropped) found",
            &found, reterr_error))
        return false;
    if (found != NULL)
        return error_set(reterr_error, ERROR_EXISTS,
            "this database has routing tables that leadrouter did not make (%s); moving from the old system is not "
            "supported yet",
            found);
    return true;
}

/* --- Roles -------------------------------------------------------------------------------------------------------- */

static const char *const roles[][2] = {
    {"leadrouter_owner", "create role leadrouter_owner nologin noinherit"},
    {"leadrouter_service", "create role leadrouter_service login noinherit"},
};

/* Makes the roles that are missing, and makes the one who migrates a member of the owner. Says what to run where
 * that is not allowed. */
static bool make_roles(struct runner *runner, bool *ret_made, struct error *reterr_error)
{
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        int64_t count = 0;
        if (!number(runner, "select count(*) from pg_roles where rolname = $1", roles[i][0], &count, reterr_error))
            return false;
        ret_made[i] = count == 0;
        if (count != 0)
            continue;
        if (runner->options->dry_run) {
            fprintf(runner->options->output, "would run: %s\n", roles[i][1]);
            continue;
        }
        if (run(runner, roles[i][1], reterr_error))
            continue;
        if (reterr_error != NULL && strcmp(reterr_error->sqlstate, "42501") == 0) {
            fprintf(runner->options->output, "a role that may create roles must run:\n  %s;\n  %s;\n", roles[0][1],
                roles[1][1]);
            fprintf(runner->options->output, "  grant leadrouter_owner to the role that migrates;\n");
            return error_set_sql(
                reterr_error, ERROR_PERMISSION, "42501", "not allowed to create the role %s", roles[i][0]);
        }
        return false;
    }
    return runner->options->dry_run ||
           run(runner,
               "do $$ begin if not pg_has_role(current_user, 'leadrouter_owner', 'member')"
               " then execute format('grant leadrouter_owner to %I', current_user); end if; end $$",
               reterr_error);
}

static bool begin_bookkeeping(struct runner *runner, const bool *made_roles, struct error *reterr_error)
{
    if (!run(runner, "begin; create schema if not exists leadrouter", reterr_error) ||
        !run(runner, migrate_sql_bookkeeping, reterr_error))
        goto undo;
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (made_roles[i] &&
            !run_text(runner,
                "insert into leadrouter.migration_objects (number, object_type, object_identity) values (0, 'role', $1)"
                " on conflict do nothing",
                roles[i][0], reterr_error))
            goto undo;
    if (!run(runner, "commit", reterr_error))
        goto undo;
    runner->has_bookkeeping = true;
    return true;
undo:
    if (pg_conn_is_open(runner->conn))
        run(runner, "rollback", NULL);
    return false;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static bool is_worth_another_try(const struct error *error)
{
    return strcmp(error->sqlstate, "55P03") == 0 || error_is_transaction_retryable(error);
}

/* Says in which step it went wrong. */
static bool step_failed(const struct sql_step *step, struct error *reterr_error)
{
    return error_add_context(reterr_error, "migration %d, step %s", step->migration, step->name);
}

static bool step_done(struct runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "insert into leadrouter.migration_steps (number, step) values (%d, '%s')",
        step->migration, step->name);
    return run(runner, sql, reterr_error);
}

/* One try of a step in one transaction: what it made is recorded in it. */
static bool try_transaction(struct runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    char begin[128];
    bool ok = false;

    snprintf(begin, sizeof(begin), "begin; set local lock_timeout = '500ms'; set local leadrouter.migration = %d",
        step->migration);
    ok = run(runner, begin, reterr_error) && run(runner, migrate_sql_snapshot, reterr_error) &&
         run(runner, "set local search_path = public", reterr_error) && run(runner, step->text, reterr_error) &&
         run(runner, migrate_sql_record, reterr_error) && step_done(runner, step, reterr_error) &&
         run(runner, "commit", reterr_error);
    if (!ok && pg_conn_is_open(runner->conn))
        run(runner, "rollback", NULL);
    return ok;
}

typedef bool try_function(struct runner *runner, const struct sql_step *step, struct error *reterr_error);

/* Repeats what failed because a lock was not had in time: waiting longer would make everybody behind us wait too. */
static bool with_tries(
    struct runner *runner, const struct sql_step *step, try_function *attempt, struct error *reterr_error)
{
    struct error error = {0};

    for (unsigned tries = 0; tries < STEP_TRIES_MAX; tries++) {
        if (attempt(runner, step, &error))
            return true;
        if (!pg_conn_is_open(runner->conn) || !is_worth_another_try(&error))
            break;
        int pause_ms = 50 << (tries < 6 ? tries : 6);
        poll(NULL, 0, pause_ms > STEP_PAUSE_MS_MAX ? STEP_PAUSE_MS_MAX : pause_ms);
    }
    if (reterr_error != NULL)
        *reterr_error = error;
    return false;
}

static bool try_batch(struct runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    struct pg_statement statement = {.sql = step->text};
    struct pg_result *result = NULL;
    int32_t handled = 0;

    do {
        if (!pg_execute(runner->conn, &statement, NULL, statement_deadline(), &result, reterr_error))
            return false;
        handled = pg_result_int4(result, 0, 0);
        pg_result_free(result);
    } while (handled > 0);
    return true;
}

/* --- Indexes, built concurrently ---------------------------------------------------------------------------------- */

/* The words after IF NOT EXISTS: the index's name. `ret_name` has room for 64 bytes. */
static bool index_name(const char *statement, char ret_name[64])
{
    static const char before[] = "if not exists ";
    const char *name = strstr(statement, before);
    size_t size = 0;

    if (name == NULL)
        return false;
    name += strlen(before);
    size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (size == 0 || size > 63)
        return false;
    memcpy(ret_name, name, size);
    ret_name[size] = '\0';
    return true;
}

/* Builds one index: recorded before it is begun, so that a killed runner leaves nothing that `down` does not know;
 * an invalid leftover of an earlier try is dropped. An index of that name which was there before us is the host's
 * and left alone. */
static bool build_index(struct runner *runner, int migration, const char *statement, struct error *reterr_error)
{
    char name[64];
    char sql[256];
    int64_t valid = 0;
    int64_t invalid = 0;

    if (!index_name(statement, name))
        return error_set(
            reterr_error, ERROR_INTERNAL, "a concurrent step may only create indexes if they do not exist");
    if (!number(runner, "select count(*) from pg_index where indexrelid = to_regclass('public.' || $1) and indisvalid",
            name, &valid, reterr_error) ||
        !number(runner,
            "select count(*) from pg_index where indexrelid = to_regclass('public.' || $1) and not indisvalid", name,
            &invalid, reterr_error))
        return false;
    if (valid != 0)
        return true;
    snprintf(sql, sizeof(sql), "drop index concurrently if exists public.%s", name);
    if (invalid != 0 && !run(runner, sql, reterr_error))
        return false;
    snprintf(sql, sizeof(sql),
        "insert into leadrouter.migration_objects (number, object_type, object_identity, parent) values"
        " (%d, 'index', 'public.%s', 'public.leads') on conflict do nothing",
        migration, name);
    return run(runner, sql, reterr_error) && run(runner, statement, reterr_error);
}

static bool try_concurrent(struct runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    char *script = arena_copy_string(runner->arena, step->text);
    char *rest = script;
    char *statement = NULL;

    while ((statement = strsep(&rest, ";")) != NULL) {
        char *create = strstr(statement, "create ");
        if (create != NULL && !build_index(runner, step->migration, create, reterr_error))
            return false;
    }
    return true;
}

/* --- Up ----------------------------------------------------------------------------------------------------------- */

static const char *kind_name(enum sql_step_kind kind)
{
    static const char *const names[] = {"one transaction", "indexes, concurrently", "in batches"};

    return names[kind];
}

static bool is_step_done(struct runner *runner, const struct sql_step *step, bool *ret_done, struct error *reterr_error)
{
    char sql[200];
    int64_t count = 0;

    *ret_done = false;
    if (!runner->has_bookkeeping)
        return true;
    snprintf(sql, sizeof(sql), "select count(*) from leadrouter.migration_steps where number = %d and step = $1",
        step->migration);
    if (!number(runner, sql, step->name, &count, reterr_error))
        return false;
    *ret_done = count != 0;
    return true;
}

static bool run_step(struct runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    int64_t start_ns = clock_now_ns();
    bool ok = false;

    switch (step->kind) {
    case SQL_STEP_TRANSACTION:
        ok = with_tries(runner, step, try_transaction, reterr_error);
        break;
    case SQL_STEP_CONCURRENT:
        ok = with_tries(runner, step, try_concurrent, reterr_error) && step_done(runner, step, reterr_error);
        break;
    case SQL_STEP_BATCHES:
        ok = with_tries(runner, step, try_batch, reterr_error) && step_done(runner, step, reterr_error);
        break;
    }
    if (!ok)
        return step_failed(step, reterr_error);
    fprintf(runner->options->output, "  %-28s %-22s %6.1f s\n", step->name, kind_name(step->kind),
        (double)(clock_now_ns() - start_ns) / 1e9);
    fflush(runner->options->output);
    return true;
}

static bool mark_migration(struct runner *runner, const struct sql_step *step, bool applied, struct error *reterr_error)
{
    char sql[256];

    if (applied)
        snprintf(
            sql, sizeof(sql), "update leadrouter.migrations set applied_at = now() where number = %d", step->migration);
    else
        snprintf(sql, sizeof(sql),
            "insert into leadrouter.migrations (number, name) values (%d, '%s') on conflict do nothing",
            step->migration, step->migration_name);
    return run(runner, sql, reterr_error);
}

static bool is_last_of_migration(size_t i)
{
    return i + 1 == sql_step_count || sql_steps[i + 1].migration != sql_steps[i].migration;
}

static bool run_steps(struct runner *runner, struct error *reterr_error)
{
    FILE *output = runner->options->output;

    for (size_t i = 0; i < sql_step_count; i++) {
        const struct sql_step *step = &sql_steps[i];
        bool done = false;
        if (step->migration <= runner->version)
            continue;
        if (!is_step_done(runner, step, &done, reterr_error))
            return false;
        if (runner->options->dry_run) {
            if (!done)
                fprintf(output, "would run: migration %d (%s), step %s, %s\n", step->migration, step->migration_name,
                    step->name, kind_name(step->kind));
            continue;
        }
        if (!done && (!mark_migration(runner, step, false, reterr_error) || !run_step(runner, step, reterr_error)))
            return false;
        if (is_last_of_migration(i) && !mark_migration(runner, step, true, reterr_error))
            return false;
    }
    return true;
}

bool migrate_up(const struct migrate_options *options, struct error *reterr_error)
{
    struct runner runner;
    bool made_roles[COUNT_OF(roles)] = {false};
    bool ok = false;

    if (!open_runner(&runner, options, reterr_error) ||
        (!options->dry_run && !lock_out_others(&runner, reterr_error)) || !refuse_newer(&runner, reterr_error))
        goto cleanup;
    if (runner.version == migrate_schema_version) {
        fprintf(options->output, "the schema is up to date at version %d\n", runner.version);
        ok = true;
        goto cleanup;
    }
    if (!refuse_old_system(&runner, reterr_error) || !make_roles(&runner, made_roles, reterr_error))
        goto cleanup;
    if (!options->dry_run) {
        fprintf(options->output, "migrating from version %d to %d\n", runner.version, migrate_schema_version);
        if (!begin_bookkeeping(&runner, made_roles, reterr_error) ||
            !run(&runner, "set lock_timeout = '500ms'", reterr_error))
            goto cleanup;
    }
    ok = run_steps(&runner, reterr_error);
    if (ok && !options->dry_run)
        fprintf(options->output, "the schema is at version %d\n", migrate_schema_version);
cleanup:
    close_runner(&runner);
    return ok;
}

/* --- Down --------------------------------------------------------------------------------------------------------- */

static bool try_remove(struct runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    (void)step;
    if (run(runner, "begin; set local lock_timeout = '500ms'", reterr_error) &&
        run(runner, migrate_sql_remove, reterr_error) &&
        run(runner, "drop owned by leadrouter_service, leadrouter_owner", reterr_error) &&
        run(runner, "commit", reterr_error))
        return true;
    if (pg_conn_is_open(runner->conn))
        run(runner, "rollback", NULL);
    return false;
}

/* Roles that the migration made go with it, unless another database of this cluster needs them. */
static void remove_roles(struct runner *runner, const bool *made_roles)
{
    run(runner,
        "do $$ begin execute format('alter role leadrouter_service in database %I reset all', current_database()); end "
        "$$",
        NULL);
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "drop role %s", roles[i][0]);
        if (made_roles[i] && !run(runner, sql, NULL))
            fprintf(runner->options->output, "the role %s stays: another database needs it\n", roles[i][0]);
    }
}

static bool audit_log_may_go(struct runner *runner, struct error *reterr_error)
{
    int64_t exists = 0;
    int64_t rows = 0;

    if (runner->options->yes)
        return true;
    if (!number(runner, "select (to_regclass('public.lead_routing_logs') is not null)::int::bigint", NULL, &exists,
            reterr_error))
        return false;
    if (exists != 0 && !number(runner, "select count(*) from public.lead_routing_logs", NULL, &rows, reterr_error))
        return false;
    if (rows > 0)
        return error_set(reterr_error, ERROR_PERMISSION,
            "the audit log has %lld rows, which would be destroyed; back it up, then say --yes", (long long)rows);
    return true;
}

bool migrate_down(const struct migrate_options *options, struct error *reterr_error)
{
    struct runner runner;
    bool made_roles[COUNT_OF(roles)] = {false};
    bool ok = false;

    if (!open_runner(&runner, options, reterr_error) ||
        (!options->dry_run && !lock_out_others(&runner, reterr_error)) || !refuse_newer(&runner, reterr_error))
        goto cleanup;
    if (!runner.has_bookkeeping) {
        fprintf(options->output, "there is nothing to remove: the schema is at version 0\n");
        ok = true;
        goto cleanup;
    }
    if (!audit_log_may_go(&runner, reterr_error))
        goto cleanup;
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        int64_t count = 0;
        if (!number(&runner,
                "select count(*) from leadrouter.migration_objects where object_type = 'role' and object_identity = $1",
                roles[i][0], &count, reterr_error))
            goto cleanup;
        made_roles[i] = count != 0;
    }
    if (options->dry_run) {
        fprintf(options->output,
            "would remove everything that leadrouter.migration_objects lists, and the schema leadrouter\n");
        ok = true;
        goto cleanup;
    }
    if (!with_tries(&runner, NULL, try_remove, reterr_error))
        goto cleanup;
    remove_roles(&runner, made_roles);
    fprintf(options->output, "removed; the schema is at version 0\n");
    ok = true;
cleanup:
    close_runner(&runner);
    return ok;
}

/* --- Status ------------------------------------------------------------------------------------------------------- */

bool migrate_status(const struct migrate_options *options, struct error *reterr_error)
{
    struct runner runner;
    bool ok = false;

    if (!open_runner(&runner, options, reterr_error))
        goto cleanup;
    fprintf(options->output, "schema version %d, this build needs %d\n", runner.version, migrate_schema_version);
    for (size_t i = 0; i < sql_step_count; i++) {
        const struct sql_step *step = &sql_steps[i];
        bool done = step->migration <= runner.version;
        if (!done && !is_step_done(&runner, step, &done, reterr_error))
            goto cleanup;
        if (i == 0 || sql_steps[i - 1].migration != step->migration)
            fprintf(options->output, "migration %d, %s\n", step->migration, step->migration_name);
        fprintf(options->output, "  %-28s %-22s %s\n", step->name, kind_name(step->kind), done ? "done" : "to do");
    }
    ok = true;
cleanup:
    close_runner(&runner);
    return ok;
}

bool migrate_version(const struct pg_config *database, int *ret_version, struct error *reterr_error)
{
    static const struct pg_statement exists = {
        .sql = "select (to_regproc('leadrouter.schema_version') is not null)::int::bigint"};
    static const struct pg_statement version = {.sql = "select leadrouter.schema_version()::bigint"};
    struct pg_conn *conn = pg_conn_new(database);
    struct pg_result *result = NULL;
    bool ok = false;

    *ret_version = 0;
    if (!pg_conn_open(conn, clock_after_ms(CONNECT_MS), reterr_error) ||
        !pg_execute(conn, &exists, NULL, clock_after_ms(CONNECT_MS), &result, reterr_error))
        goto cleanup;
    bool is_there = pg_result_int8(result, 0, 0) != 0;
    pg_result_free(result);
    result = NULL;
    if (is_there) {
        if (!pg_execute(conn, &version, NULL, clock_after_ms(CONNECT_MS), &result, reterr_error))
            goto cleanup;
        *ret_version = (int)pg_result_int8(result, 0, 0);
    }
    ok = true;
cleanup:
    pg_result_free(result);
    pg_conn_free(conn);
    return ok;
}
