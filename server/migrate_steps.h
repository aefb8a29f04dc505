/* The steps of the migrations, each executed as its first line says (sql/README.md) and recorded when it is done. */
#ifndef SERVER_MIGRATE_STEPS_H
#define SERVER_MIGRATE_STEPS_H

#include <stdbool.h>

#include "base/error.h"
#include "migrate_runner.h"
#include "sql/sql_steps.h"

/* "one transaction" and the like, for people. Static storage. */
const char *migrate_step_kind(const struct sql_step *step);

/* When the step was done, as text; NULL in `*ret_when` when it is to do. The text lives as long as the runner. */
bool migrate_step_when(
    struct migrate_runner *runner, const struct sql_step *step, const char **ret_when, struct error *reterr_error);

/* Executes one step that is to do, and says so. Errors: ERROR_DATABASE (the text names the step), ERROR_EXISTS (an
 * index of that name is there and not ours), those of pg_execute(). What a failed step did is undone, or done anew
 * by the next try. */
bool migrate_step_run(struct migrate_runner *runner, const struct sql_step *step, struct error *reterr_error);

#endif
