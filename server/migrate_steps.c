#include "migrate_steps.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { NAME_SIZE = 64 };

const char *migrate_step_kind(const struct sql_step *step)
{
    static const char *const names[] = {"one transaction", "indexes, concurrently", "in batches"};

    return names[step->kind];
}

bool migrate_step_when(
    struct migrate_runner *runner, const struct sql_step *step, const char **ret_when, struct error *reterr_error)
{
    const char *const parameters[] = {arena_format(runner->arena, "%d", step->migration), step->name, NULL};

    *ret_when = NULL;
    if (!runner->has_bookkeeping)
        return true;
    return migrate_runner_text(runner,
        "select to_char(done_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from leadrouter.migration_steps"
        " where number = $1::integer and step = $2",
        parameters, ret_when, reterr_error);
}

static bool mark_done(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    const char *const parameters[] = {arena_format(runner->arena, "%d", step->migration), step->name, NULL};

    return migrate_runner_query(runner,
        "insert into leadrouter.migration_steps (number, step) values ($1::integer, $2)", parameters, NULL,
        reterr_error);
}

/* --- One transaction ---------------------------------------------------------------------------------------------- */

/* What the step made is recorded with it, and so is that it is done. */
static bool run_transaction(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    const struct sql_step *step = *(const struct sql_step *const *)argument;
    const char *number = arena_format(runner->arena, "set local leadrouter.migration = %d", step->migration);

    return migrate_runner_execute(runner, sql_runner_snapshot, reterr_error) &&
           migrate_runner_execute(runner, number, reterr_error) &&
           migrate_runner_execute(runner, "set local search_path = public", reterr_error) &&
           migrate_runner_execute(runner, step->text, reterr_error) &&
           migrate_runner_execute(runner, sql_runner_record, reterr_error) && mark_done(runner, step, reterr_error);
}

/* --- Batches ------------------------------------------------------------------------------------------------------ */

struct batch {
    const struct sql_step *step;
    int handled;
};

static bool run_batch(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    struct batch *batch = argument;
    struct pg_result *result = NULL;

    if (!migrate_runner_query(runner, batch->step->text, NULL, &result, reterr_error))
        return false;
    batch->handled = pg_result_int4(result, 0, 0);
    pg_result_free(result);
    return true;
}

static bool run_batches(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    struct batch batch = {.step = step};

    do {
        if (!migrate_runner_try(runner, run_batch, &batch, reterr_error))
            return false;
    } while (batch.handled > 0);
    return true;
}

/* --- Indexes, built concurrently ---------------------------------------------------------------------------------- */

struct index_build {
    const struct sql_step *step;
    const char *statement;
    char name[NAME_SIZE];
};

/* The next statement: up to a semicolon at the end of a line, without the comments in front of it. Ends it with NUL
 * and moves `*rest` behind it; NULL at the end. */
static char *next_statement(char **rest)
{
    char *start = *rest;
    char *end = NULL;

    while (true) {
        start += strspn(start, " \n");
        if (strncmp(start, "--", 2) != 0)
            break;
        start += strcspn(start, "\n");
    }
    if (*start == '\0')
        return NULL;
    end = strstr(start, ";\n");
    if (end == NULL)
        end = start + strlen(start);
    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return start;
}

/* The word after IF NOT EXISTS. */
static bool find_name(const char *statement, char ret_name[NAME_SIZE])
{
    static const char before[] = " index concurrently if not exists ";
    const char *name = strstr(statement, before);
    size_t size = 0;

    if (name == NULL)
        return false;
    name += strlen(before);
    size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (size == 0 || size >= NAME_SIZE)
        return false;
    memcpy(ret_name, name, size);
    ret_name[size] = '\0';
    return true;
}

/* Recorded before it is begun, so that a killed runner leaves nothing that `down` does not know; the invalid
 * leftover of an earlier try is dropped. Waits for locks as long as it takes: nobody who reads or writes waits
 * behind it. */
static bool build_index(struct migrate_runner *runner, void *argument, struct error *reterr_error)
{
    const struct index_build *build = argument;
    const char *const parameters[] = {build->name, arena_format(runner->arena, "%d", build->step->migration), NULL};
    const char *const name[] = {build->name, NULL};
    const char *state = NULL;

    if (!migrate_runner_text(runner,
            "select case when o.id is null then 'foreign' when x.indisvalid then 'done' else 'broken' end"
            " from pg_class c left join pg_index x on x.indexrelid = c.oid left join leadrouter.migration_objects o"
            " on o.object_type = 'index' and o.object_identity = 'public.' || $1"
            " where c.oid = to_regclass('public.' || $1)",
            name, &state, reterr_error))
        return false;
    if (state != NULL && strcmp(state, "done") == 0)
        return true;
    if (state != NULL && strcmp(state, "foreign") == 0)
        return error_set(reterr_error, ERROR_EXISTS,
            "public.%s is there already and leadrouter did not make it: rename it and run this again", build->name);
    if (state != NULL &&
        !migrate_runner_execute(
            runner, arena_format(runner->arena, "drop index concurrently public.%s", build->name), reterr_error))
        return false;
    return migrate_runner_query(runner,
               "insert into leadrouter.migration_objects (number, object_type, object_identity, parent)"
               " values ($2::integer, 'index', 'public.' || $1, 'public.leads') on conflict do nothing",
               parameters, NULL, reterr_error) &&
           migrate_runner_execute(runner, build->statement, reterr_error);
}

static bool run_concurrent(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    char *rest = arena_copy_string(runner->arena, step->text);
    struct index_build build = {.step = step};
    bool ok = migrate_runner_execute(runner, "set lock_timeout = 0", reterr_error);

    while (ok && (build.statement = next_statement(&rest)) != NULL) {
        if (!find_name(build.statement, build.name))
            return error_set(
                reterr_error, ERROR_INTERNAL, "a concurrent step may only create indexes if they do not exist");
        ok = migrate_runner_try(runner, build_index, &build, reterr_error);
    }
    return ok && migrate_runner_execute(runner, sql_runner_session, reterr_error);
}

/* --- A step ------------------------------------------------------------------------------------------------------- */

bool migrate_step_run(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error)
{
    int64_t start_ns = clock_now_ns();
    FILE *output = runner->options->output;
    bool ok = false;

    fprintf(output, "  %-28s %-22s ", step->name, migrate_step_kind(step));
    fflush(output);
    switch (step->kind) {
    case SQL_STEP_TRANSACTION:
        ok = migrate_runner_transact(runner, NULL, run_transaction, &step, reterr_error);
        break;
    case SQL_STEP_CONCURRENT:
        ok = run_concurrent(runner, step, reterr_error) && mark_done(runner, step, reterr_error);
        break;
    case SQL_STEP_BATCHES:
        ok = run_batches(runner, step, reterr_error) && mark_done(runner, step, reterr_error);
        break;
    }
    if (!ok) {
        fprintf(output, "failed\n");
        return error_add_context(reterr_error, "migration %d, step %s", step->migration, step->name);
    }
    fprintf(output, "%6.1f s\n", (double)(clock_now_ns() - start_ns) / 1e9);
    fflush(output);
    return true;
}
