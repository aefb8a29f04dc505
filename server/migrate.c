#include "migrate.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "migrate_adopt.h"
#include "migrate_runner.h"
#include "migrate_steps.h"
#include "pg/pg.h"
#include "sql/sql_steps.h"

enum { CHECK_MS = 10000 };

const int migrate_schema_version = 1;

/* --- Before the first step ---------------------------------------------------------------------------------------- */

/* The old system's tables cannot be told from ours by their names: they are there without our bookkeeping. */
static bool refuse_foreign(struct migrate_runner *runner, struct error *reterr_error)
{
    const char *found = NULL;

    if (runner->has_bookkeeping)
        return true;
    if (!migrate_runner_text(runner, sql_runner_foreign, NULL, &found, reterr_error))
        return false;
    if (found != NULL)
        return error_set(reterr_error, ERROR_EXISTS,
            "this database has routing objects that leadrouter did not make (%s); moving from the old system is not "
            "supported yet",
            found);
    return true;
}

/* What a restore can have lost of a schema that is there: the rest is for making one. */
static bool servers_need(const struct pg_result *needs, int i)
{
    return pg_result_bool(needs, i, 3);
}

/* Prints the statements that make what is needed, each after `indent`, and returns their number. */
static int print_needs(
    const struct migrate_runner *runner, const struct pg_result *needs, bool of_servers, const char *indent)
{
    int count = 0;

    for (int i = 0; i < pg_result_row_count(needs); i++) {
        if (of_servers && !servers_need(needs, i))
            continue;
        fprintf(runner->options->output, "%s%s;\n", indent, pg_result_text(needs, i, 2));
        count++;
    }
    return count;
}

/* Roles and grants that are missing; the result has type, identity (both NULL where the catalogue shows them),
 * statement, and whether servers need it. */
static bool read_needs(struct migrate_runner *runner, struct pg_result **ret_needs, struct error *reterr_error)
{
    return migrate_runner_query(runner, sql_runner_needs, NULL, ret_needs, reterr_error);
}

static bool record_needs(struct migrate_runner *runner, const struct pg_result *needs, struct error *reterr_error)
{
    for (int i = 0; i < pg_result_row_count(needs); i++) {
        if (pg_result_is_null(needs, i, 0))
            continue;
        const char *const object[] = {pg_result_text(needs, i, 0), pg_result_text(needs, i, 1), NULL};
        if (!migrate_runner_query(runner,
                "insert into leadrouter.migration_objects (number, object_type, object_identity) values (0, $1, $2)"
                " on conflict do nothing",
                object, NULL, reterr_error))
            return false;
    }
    return migrate_runner_execute(runner, sql_runner_record, reterr_error);
}

/* Makes what is needed (`argument`, a bool: of servers only) and the bookkeeping, in one transaction: a role that is
 * made is recorded. */
static bool prepare(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    const bool *of_servers = argument;
    struct pg_result *needs = NULL;
    bool ok = false;

    if (!migrate_runner_execute(runner, sql_runner_snapshot, reterr_error) ||
        !migrate_runner_execute(runner, "set local leadrouter.migration = 0", reterr_error) ||
        !read_needs(runner, &needs, reterr_error))
        goto cleanup;
    for (int i = 0; i < pg_result_row_count(needs); i++)
        if ((!*of_servers || servers_need(needs, i)) &&
            !migrate_runner_execute(runner, pg_result_text(needs, i, 2), reterr_error))
            goto cleanup;
    ok = migrate_runner_execute(runner, sql_runner_bookkeeping, reterr_error) &&
         record_needs(runner, needs, reterr_error);
cleanup:
    pg_result_free(needs);
    return ok;
}

/* Says what to run where making it is not allowed. */
static bool explain_needs(struct migrate_runner *runner, bool of_servers, struct error *reterr_error)
{
    struct pg_result *needs = NULL;

    if (reterr_error == NULL || strcmp(reterr_error->sqlstate, "42501") != 0 || !read_needs(runner, &needs, NULL))
        return false;
    if (pg_result_row_count(needs) > 0) {
        fprintf(runner->options->output, "A role that may create roles must run this in the same database first:\n\n");
        print_needs(runner, needs, of_servers, "  ");
        fprintf(runner->options->output, "\n");
        error_set_sql(reterr_error, ERROR_PERMISSION, "42501", "not allowed to make the roles leadrouter needs: %s",
            reterr_error->text);
    }
    pg_result_free(needs);
    return false;
}

/* --- Up ----------------------------------------------------------------------------------------------------------- */

static bool mark_begun(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    const char *const parameters[] = {arena_format(runner->arena, "%d", step->migration), step->migration_name, NULL};

    return migrate_runner_query(runner,
        "insert into leadrouter.migrations (number, name) values ($1::integer, $2) on conflict do nothing", parameters,
        NULL, reterr_error);
}

static bool mark_applied(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    const char *const parameters[] = {arena_format(runner->arena, "%d", step->migration), NULL};

    return migrate_runner_query(runner,
        "update leadrouter.migrations set applied_at = now() where number = $1::integer", parameters, NULL,
        reterr_error);
}

static bool is_first_of_migration(size_t i)
{
    return i == 0 || sql_steps[i - 1].migration != sql_steps[i].migration;
}

static bool is_last_of_migration(size_t i)
{
    return i + 1 == sql_step_count || sql_steps[i + 1].migration != sql_steps[i].migration;
}

static bool run_steps(struct migrate_runner *runner, struct error *reterr_error)
{
    for (size_t i = 0; i < sql_step_count; i++) {
        const struct sql_step *step = &sql_steps[i];
        const char *when = NULL;
        if (step->migration <= runner->version)
            continue;
        if ((is_first_of_migration(i) && !mark_begun(runner, step, reterr_error)) ||
            !migrate_step_when(runner, step, &when, reterr_error) ||
            (when == NULL && !migrate_step_run(runner, step, reterr_error)) ||
            (is_last_of_migration(i) && !mark_applied(runner, step, reterr_error)))
            return false;
    }
    return true;
}

static bool show_up(struct migrate_runner *runner, struct error *reterr_error)
{
    FILE *output = runner->options->output;
    struct pg_result *needs = NULL;

    if (!read_needs(runner, &needs, reterr_error))
        return false;
    fprintf(
        output, "would migrate from version %d to %d; nothing is changed\n", runner->version, migrate_schema_version);
    print_needs(runner, needs, false, "would run: ");
    pg_result_free(needs);
    for (size_t i = 0; i < sql_step_count; i++) {
        const struct sql_step *step = &sql_steps[i];
        const char *when = NULL;
        if (step->migration <= runner->version)
            continue;
        if (!migrate_step_when(runner, step, &when, reterr_error))
            return false;
        if (when == NULL)
            fprintf(output, "would run: migration %d (%s), step %s, %s\n", step->migration, step->migration_name,
                step->name, migrate_step_kind(step));
    }
    return true;
}

/* What a schema of this version has lost that is no part of a database, as in a restore: the limits of the server's
 * role, or what it is a member of. */
static bool keep_up(struct migrate_runner *runner, struct error *reterr_error)
{
    struct pg_result *needs = NULL;
    bool of_servers = true;

    if (!read_needs(runner, &needs, reterr_error))
        return false;
    int missing = print_needs(runner, needs, of_servers, runner->options->dry_run ? "would run: " : "missing: ");
    pg_result_free(needs);
    if (missing > 0 && !runner->options->dry_run &&
        (!migrate_runner_execute(runner, sql_runner_catalogue, reterr_error) ||
            !migrate_runner_transact(runner, NULL, prepare, &of_servers, reterr_error)))
        return explain_needs(runner, of_servers, reterr_error);
    fprintf(runner->options->output, "the schema is up to date at version %d\n", runner->version);
    return true;
}

static bool bring_up(struct migrate_runner *runner, struct error *reterr_error)
{
    FILE *output = runner->options->output;
    bool of_servers = false;

    assert(sql_steps[sql_step_count - 1].migration == migrate_schema_version);
    if (runner->version == migrate_schema_version)
        return keep_up(runner, reterr_error);
    if (runner->options->dry_run)
        return show_up(runner, reterr_error);
    fprintf(output, "migrating from version %d to %d\n", runner->version, migrate_schema_version);
    if (!migrate_runner_execute(runner, sql_runner_catalogue, reterr_error))
        return false;
    if (!migrate_runner_transact(runner, NULL, prepare, &of_servers, reterr_error))
        return explain_needs(runner, of_servers, reterr_error);
    runner->has_bookkeeping = true;
    if (!run_steps(runner, reterr_error))
        return false;
    fprintf(output, "the schema is at version %d\n", migrate_schema_version);
    runner->version = migrate_schema_version;
    return true;
}

/* What taking tables over would take from whom is known, and agreed to, before anything is changed. */
bool migrate_up(const struct migrate_options *options, struct error *reterr_error)
{
    struct migrate_runner runner;
    bool ok = migrate_runner_open(&runner, options, reterr_error) &&
              (options->dry_run || migrate_runner_take_turn(&runner, reterr_error)) &&
              refuse_foreign(&runner, reterr_error) && migrate_adopt_ask(&runner, reterr_error) &&
              bring_up(&runner, reterr_error) && migrate_adopt(&runner, reterr_error);

    migrate_runner_close(&runner);
    return ok;
}

/* --- Down --------------------------------------------------------------------------------------------------------- */

static bool count_log(struct migrate_runner *runner, bool *ret_exists, int64_t *ret_rows, struct error *reterr_error)
{
    int64_t exists = 0;

    *ret_rows = 0;
    if (!migrate_runner_number(runner, "select (to_regclass('public.lead_routing_logs') is not null)::int::bigint",
            NULL, &exists, reterr_error))
        return false;
    *ret_exists = exists != 0;
    return exists == 0 ||
           migrate_runner_number(runner, "select count(*) from public.lead_routing_logs", NULL, ret_rows, reterr_error);
}

/* The log is counted under the lock in whose transaction it goes. */
static bool remove_all(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    bool exists = false;
    int64_t rows = 0;

    (void)argument;
    if (!runner->options->yes && !count_log(runner, &exists, &rows, reterr_error))
        return false;
    if (rows > 0)
        return error_set(reterr_error, ERROR_PERMISSION,
            "the audit log has %lld rows, which would be destroyed; back it up, then say --yes", (long long)rows);
    return migrate_runner_execute(runner, sql_runner_restore, reterr_error) &&
           migrate_runner_execute(runner, sql_runner_remove, reterr_error);
}

static bool show_down(struct migrate_runner *runner, struct error *reterr_error)
{
    FILE *output = runner->options->output;
    struct pg_result *objects = NULL;
    struct pg_result *adopted = NULL;
    bool exists = false;
    int64_t rows = 0;

    if (!count_log(runner, &exists, &rows, reterr_error) ||
        !migrate_runner_query(runner,
            "select table_name, owner::text from leadrouter.adopted_tables order by table_name", NULL, &adopted,
            reterr_error))
        return false;
    if (!migrate_runner_query(runner,
            "select object_type, object_identity from leadrouter.migration_objects order by object_type, "
            "object_identity",
            NULL, &objects, reterr_error)) {
        pg_result_free(adopted);
        return false;
    }
    fprintf(output, "would migrate from version %d to 0; nothing is changed\n", runner->version);
    for (int i = 0; i < pg_result_row_count(objects); i++)
        fprintf(output, "would remove: %s %s\n", pg_result_text(objects, i, 0), pg_result_text(objects, i, 1));
    fprintf(output, "would remove: schema leadrouter\n");
    for (int i = 0; i < pg_result_row_count(adopted); i++)
        fprintf(
            output, "would give back: table %s to %s\n", pg_result_text(adopted, i, 0), pg_result_text(adopted, i, 1));
    pg_result_free(adopted);
    if (rows > 0)
        fprintf(output, "the audit log has %lld rows: this needs --yes\n", (long long)rows);
    pg_result_free(objects);
    return true;
}

/* Names the roles that we made and that something else still needs. */
static bool tell_remaining_roles(
    struct migrate_runner *runner, const struct pg_result *roles, struct error *reterr_error)
{
    for (int i = 0; i < pg_result_row_count(roles); i++) {
        const char *const name[] = {pg_result_text(roles, i, 0), NULL};
        int64_t count = 0;
        if (!migrate_runner_number(
                runner, "select count(*) from pg_roles where rolname = $1", name, &count, reterr_error))
            return false;
        if (count != 0)
            fprintf(runner->options->output,
                "the role %s stays: something else needs it, or only another role may drop it\n", name[0]);
    }
    return true;
}

static bool take_down(struct migrate_runner *runner, struct error *reterr_error)
{
    struct pg_result *roles = NULL;
    bool exists = false;
    int64_t rows = 0;
    bool ok = false;

    if (!runner->has_bookkeeping) {
        fprintf(runner->options->output, "there is nothing to remove: the schema is at version 0\n");
        return true;
    }
    if (runner->options->dry_run)
        return show_down(runner, reterr_error);
    if (!count_log(runner, &exists, &rows, reterr_error) ||
        !migrate_runner_execute(runner, sql_runner_catalogue, reterr_error) ||
        !migrate_runner_execute(runner, sql_runner_adoption, reterr_error) ||
        !migrate_runner_query(runner,
            "select object_identity from leadrouter.migration_objects where object_type = 'role'", NULL, &roles,
            reterr_error) ||
        !migrate_runner_transact(runner, exists ? "lock table public.lead_routing_logs in access exclusive mode" : NULL,
            remove_all, NULL, reterr_error))
        goto cleanup;
    fprintf(runner->options->output, "removed; the schema is at version 0\n");
    ok = tell_remaining_roles(runner, roles, reterr_error);
cleanup:
    pg_result_free(roles);
    return ok;
}

bool migrate_down(const struct migrate_options *options, struct error *reterr_error)
{
    struct migrate_runner runner;
    bool ok = migrate_runner_open(&runner, options, reterr_error) &&
              (options->dry_run || migrate_runner_take_turn(&runner, reterr_error)) && take_down(&runner, reterr_error);

    migrate_runner_close(&runner);
    return ok;
}

/* --- Status ------------------------------------------------------------------------------------------------------- */

static bool print_status(struct migrate_runner *runner, struct error *reterr_error)
{
    FILE *output = runner->options->output;
    bool busy = false;

    if (!migrate_runner_is_busy(runner, &busy, reterr_error))
        return false;
    fprintf(output, "schema version %d, this build needs %d%s%s\n", runner->version, migrate_schema_version,
        runner->version < migrate_schema_version ? ": run leadrouterd migrate up" : "",
        busy ? " (a runner is at work)" : "");
    for (size_t i = 0; i < sql_step_count; i++) {
        const struct sql_step *step = &sql_steps[i];
        const char *when = NULL;
        if (!migrate_step_when(runner, step, &when, reterr_error))
            return false;
        if (is_first_of_migration(i))
            fprintf(output, "\nmigration %d, %s\n", step->migration, step->migration_name);
        fprintf(output, "  %-28s %-22s %s%s%s\n", step->name, migrate_step_kind(step), when == NULL ? "to do" : "done ",
            when == NULL ? "" : when, when == NULL ? "" : " UTC");
    }
    return true;
}

bool migrate_status(const struct migrate_options *options, struct error *reterr_error)
{
    struct migrate_runner runner;
    bool ok = migrate_runner_open(&runner, options, reterr_error) && print_status(&runner, reterr_error) &&
              migrate_adopt_tell(&runner, reterr_error);

    migrate_runner_close(&runner);
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
    if (!pg_conn_open(conn, clock_after_ms(CHECK_MS), reterr_error) ||
        !pg_execute(conn, &exists, NULL, clock_after_ms(CHECK_MS), &result, reterr_error))
        goto cleanup;
    bool is_there = pg_result_int8(result, 0, 0) != 0;
    pg_result_free(result);
    result = NULL;
    if (is_there) {
        if (!pg_execute(conn, &version, NULL, clock_after_ms(CHECK_MS), &result, reterr_error))
            goto cleanup;
        *ret_version = (int)pg_result_int8(result, 0, 0);
    }
    ok = true;
cleanup:
    pg_result_free(result);
    pg_conn_free(conn);
    return ok;
}
