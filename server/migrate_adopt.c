#include "migrate_adopt.h"

#include <stdio.h>

#include "base/clock.h"
#include "migrate.h"
#include "sql/sql_steps.h"

enum { LOOK_MS = 10000 };

/* --- Who would lose what ------------------------------------------------------------------------------------------ */

static const char *named(const struct migrate_runner *runner)
{
    return runner->options->adopt_losing == NULL ? "" : runner->options->adopt_losing;
}

static bool refuse_unknown_roles(struct migrate_runner *runner, struct error *reterr_error)
{
    const char *const names[] = {named(runner), NULL};
    const char *unknown = NULL;

    if (!migrate_runner_text(runner,
            "select string_agg(n, ', ') from unnest(string_to_array($1, ',')) n"
            " where n <> 'public' and not exists (select from pg_roles r where r.rolname = n)",
            names, &unknown, reterr_error))
        return false;
    return unknown == NULL || error_set(reterr_error, ERROR_INVALID, "--adopt-losing: there is no role %s", unknown);
}

/* Prints, if that is wanted, who would lose which rights; the names of those that nobody has agreed to are in
 * `*ret_unnamed`, NULL for none. */
static bool find_losers(
    struct migrate_runner *runner, bool is_printed, const char **ret_unnamed, struct error *reterr_error)
{
    const char *const names[] = {named(runner), NULL};
    struct pg_result *losers = NULL;
    const char *unnamed = NULL;

    if (!migrate_runner_query(runner,
            "select role_name, table_name, privileges, role_name = any (string_to_array($1, ','))"
            " from pg_temp.migrate_losers()",
            names, &losers, reterr_error))
        return false;
    for (int i = 0; i < pg_result_row_count(losers); i++) {
        bool is_named = pg_result_bool(losers, i, 3);
        if (is_printed)
            fprintf(runner->options->output, "  no policy would give %s what it may on %s: %s%s\n",
                pg_result_text(losers, i, 0), pg_result_text(losers, i, 1), pg_result_text(losers, i, 2),
                is_named ? " (agreed to)" : "");
        if (!is_named)
            unnamed = arena_format(runner->arena, "%s%s%s on %s", unnamed == NULL ? "" : unnamed,
                unnamed == NULL ? "" : ", ", pg_result_text(losers, i, 0), pg_result_text(losers, i, 1));
    }
    pg_result_free(losers);
    *ret_unnamed = unnamed;
    return true;
}

static bool refuse_losers(const char *unnamed, struct error *reterr_error)
{
    return unnamed == NULL || error_set(reterr_error, ERROR_PERMISSION,
                                  "roles would lose sight of rows (%s): make a policy for each, or name those that may "
                                  "with --adopt-losing",
                                  unnamed);
}

bool migrate_adopt_ask(struct migrate_runner *runner, struct error *reterr_error)
{
    FILE *output = runner->options->output;
    struct pg_result *tables = NULL;
    const char *unnamed = NULL;

    if (!runner->options->adopt)
        return true;
    if (!migrate_runner_execute(runner, sql_runner_adoption, reterr_error) ||
        !refuse_unknown_roles(runner, reterr_error) ||
        !migrate_runner_query(runner,
            "select name, owner::text, case when not has_row_security then 'off' when is_forced then 'forced' else "
            "'on' end"
            " from pg_temp.migrate_adoptable()",
            NULL, &tables, reterr_error))
        return false;
    if (pg_result_row_count(tables) == 0)
        fprintf(output, "there is no table to take over\n");
    for (int i = 0; i < pg_result_row_count(tables); i++)
        fprintf(output, "%s %s, which belongs to %s and has row security %s\n",
            runner->options->dry_run ? "would take over" : "to take over:", pg_result_text(tables, i, 0),
            pg_result_text(tables, i, 1), pg_result_text(tables, i, 2));
    pg_result_free(tables);
    if (!find_losers(runner, true, &unnamed, reterr_error))
        return false;
    if (unnamed != NULL && runner->options->dry_run) {
        fprintf(output, "  this needs a policy for each, or --adopt-losing\n");
        return true;
    }
    return refuse_losers(unnamed, reterr_error);
}

/* --- Taking over -------------------------------------------------------------------------------------------------- */

/* What others changed since the question was asked is found under the locks. */
static bool take_over(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    const char *unnamed = NULL;

    (void)argument;
    return migrate_runner_execute(runner, sql_runner_snapshot, reterr_error) &&
           migrate_runner_execute(runner,
               arena_format(runner->arena, "set local leadrouter.migration = %d", migrate_schema_version),
               reterr_error) &&
           migrate_runner_execute(runner, "set local search_path = ''", reterr_error) &&
           find_losers(runner, false, &unnamed, reterr_error) && refuse_losers(unnamed, reterr_error) &&
           migrate_runner_execute(runner, sql_runner_adopt, reterr_error) &&
           migrate_runner_execute(runner, sql_runner_record, reterr_error);
}

bool migrate_adopt(struct migrate_runner *runner, struct error *reterr_error)
{
    const char *tables = NULL;
    const char *lock = NULL;

    if (!runner->options->adopt || runner->options->dry_run)
        return migrate_adopt_tell(runner, reterr_error);
    /* Leads before workspaces, as whoever inserts leads locks them: triggers look at the workspace. The other way round we would meet
     * every insert crosswise, and give way each time. */
    if (!migrate_runner_text(
            runner, "select string_agg(name, ', ') from pg_temp.migrate_adoptable()", NULL, &tables, reterr_error) ||
        !migrate_runner_text(runner,
            "select format('lock table %s in access exclusive mode', string_agg(name, ', ' order by name))"
            " from pg_temp.migrate_adoptable()",
            NULL, &lock, reterr_error))
        return false;
    if (tables == NULL)
        return migrate_adopt_tell(runner, reterr_error);
    if (!migrate_runner_execute(runner, sql_runner_bookkeeping, reterr_error) ||
        !migrate_runner_execute(runner, sql_runner_catalogue, reterr_error) ||
        !migrate_runner_transact(runner, lock, take_over, NULL, reterr_error))
        return error_add_context(reterr_error, "taking over %s", tables);
    fprintf(runner->options->output, "taken over: %s\n", tables);
    return migrate_adopt_tell(runner, reterr_error);
}

/* --- What is not guarded ------------------------------------------------------------------------------------------ */

#define UNPROTECTED                                                                                                    \
    "select string_agg(format('%s (%s)', table_name, reason), ', ') from leadrouter.unprotected_tables()"

bool migrate_adopt_tell(struct migrate_runner *runner, struct error *reterr_error)
{
    const char *tables = NULL;

    if (runner->options->dry_run || runner->version < migrate_schema_version)
        return true;
    if (!migrate_runner_text(runner, UNPROTECTED, NULL, &tables, reterr_error))
        return false;
    if (tables != NULL)
        fprintf(runner->options->output,
            "\nrow security does not keep workspaces apart on %s; leadrouterd migrate up --adopt takes over tables "
            "that were there before\n",
            tables);
    return true;
}

bool migrate_unprotected(
    const struct pg_config *database, struct arena *arena, const char **ret_tables, struct error *reterr_error)
{
    static const struct pg_statement statement = {.sql = UNPROTECTED};
    struct pg_conn *conn = pg_conn_new(database);
    struct pg_result *result = NULL;
    bool ok = pg_conn_open(conn, clock_after_ms(LOOK_MS), reterr_error) &&
              pg_execute(conn, &statement, NULL, clock_after_ms(LOOK_MS), &result, reterr_error);

    if (ok)
        *ret_tables = pg_result_is_null(result, 0, 0) ? NULL : arena_copy_string(arena, pg_result_text(result, 0, 0));
    pg_result_free(result);
    pg_conn_free(conn);
    return ok;
}
