/* Taking over the tables that were there before (migrate up --adopt), so that row security keeps workspaces apart on them
 * too. */
#ifndef SERVER_MIGRATE_ADOPT_H
#define SERVER_MIGRATE_ADOPT_H

#include <stdbool.h>

#include "base/error.h"
#include "migrate_runner.h"

/* Says which tables would be taken over and which roles would lose sight of rows by it, before anything is changed;
 * nothing unless `adopt` was asked for. Errors: ERROR_PERMISSION when such a role is not among `adopt_losing` (a dry run
 * says so and goes on), ERROR_INVALID when one of those is no role, those of pg_execute(). */
bool migrate_adopt_ask(struct migrate_runner *runner, struct error *reterr_error);

/* Takes them over in one transaction, which asks again under its locks. Without `adopt`, and in a dry run, says what
 * row security does not guard. Errors as migrate_adopt_ask(). */
bool migrate_adopt(struct migrate_runner *runner, struct error *reterr_error);

/* Says what row security does not guard, if there is a schema. Errors as pg_execute(). */
bool migrate_adopt_tell(struct migrate_runner *runner, struct error *reterr_error);

#endif
