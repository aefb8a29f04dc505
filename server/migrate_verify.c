#include "migrate.h"

#include <stdio.h>

#include "base/buffer.h"
#include "migrate_runner.h"
#include "sql/sql_steps.h"

/* Prints what was found; the number of things that are not so. */
static int print_findings(const struct pg_result *findings, FILE *output)
{
    int wrong = 0;

    for (int i = 0; i < pg_result_row_count(findings); i++) {
        bool is_told = pg_result_is_null(findings, i, 1);
        bool is_so = is_told || pg_result_bool(findings, i, 1);
        fprintf(output, "%-5s %s: %s\n",
            is_told ? "-"
            : is_so ? "ok"
                    : "WRONG",
            pg_result_text(findings, i, 0), pg_result_text(findings, i, 2));
        wrong += !is_so;
    }
    return wrong;
}

static bool look(struct migrate_runner *runner, struct error *reterr_error)
{
    struct buffer steps;
    struct pg_result *findings = NULL;
    int wrong = 0;

    buffer_init(&steps, 16 << 20);
    for (size_t i = 0; i < sql_step_count; i++)
        buffer_append_string(&steps, sql_steps[i].text);
    buffer_append(&steps, "", 1);
    const char *const parameters[] = {(const char *)steps.data, NULL};
    bool ok = migrate_runner_execute(runner, sql_runner_catalogue, reterr_error) &&
              migrate_runner_execute(runner, sql_runner_verification, reterr_error) &&
              migrate_runner_query(runner, "select what, is_so, found from pg_temp.migrate_verification($1)",
                  parameters, &findings, reterr_error);
    buffer_release(&steps);
    if (!ok)
        return false;
    wrong = print_findings(findings, runner->options->output);
    pg_result_free(findings);
    return wrong == 0 || error_set(reterr_error, ERROR_INVALID, "%d %s not as migrate up makes it", wrong,
                             wrong == 1 ? "thing is" : "things are");
}

static bool verify(struct migrate_runner *runner, struct error *reterr_error)
{
    if (!runner->has_bookkeeping || runner->version != migrate_schema_version)
        return error_set(reterr_error, ERROR_INVALID,
            "the schema is at version %d, this build needs %d: run leadrouterd migrate up", runner->version,
            migrate_schema_version);
    return look(runner, reterr_error);
}

bool migrate_verify(const struct migrate_options *options, struct error *reterr_error)
{
    struct migrate_runner runner;
    bool ok = migrate_runner_open(&runner, options, reterr_error) && verify(&runner, reterr_error);

    migrate_runner_close(&runner);
    return ok;
}
