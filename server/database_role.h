/* As whom the server works in the database. */
#ifndef SERVER_DATABASE_ROLE_H
#define SERVER_DATABASE_ROLE_H

#include <stdbool.h>

#include "base/error.h"
#include "pg/pg.h"

/* Refuses a login that row security does not bind: a superuser, a role that bypasses it, the owner of the schema or of a table of
 * leads, workspaces or members, one that can make itself one of these or gets at the database's files, and whoever may act as one of
 * these; unless it is `allowed` (may be NULL). Errors: ERROR_INVALID
 * naming role and reason; those of pg_conn_open() and pg_execute(). Waits until `deadline_ns` at most. */
bool database_role_check(
    const struct pg_config *database, const char *allowed, int64_t deadline_ns, struct error *reterr_error);

#endif
