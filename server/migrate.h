/* The migration runner: brings a database to this build's schema, and takes it away again (sql/README.md). */
#ifndef SERVER_MIGRATE_H
#define SERVER_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/pg.h"

/* The schema version this build needs: the number of the last migration in sql/migrations. */
extern const int migrate_schema_version;

struct migrate_options {
    const char *url; /* Required. A direct connection (no pooler) as a role that may create roles and alter `leads` */
    bool dry_run;    /* print what would be done, object by object for down; change nothing, wait for nobody */
    bool yes;        /* down: destroy the audit log without asking */
    bool adopt;      /* up: take over the tables that were there before */
    const char *adopt_losing; /* roles that may lose sight of rows by that, with commas between them; NULL: nobody */
    FILE *output;             /* Required. What is done, a line per step, for people */
};

/* Applies what is missing, and takes over what `adopt` asks for. On a schema of this version it makes what servers need
 * beside it and a restored database may not have: the limits of their role. Safe to run by several at once: the others wait. A
 * runner that was killed is taken up where it stopped. Errors: ERROR_UNAVAILABLE, ERROR_BUSY (another runner took too
 * long), ERROR_PERMISSION (not allowed to make the roles: the statements have been printed; or roles would lose sight of
 * rows that `adopt_losing` does not name), ERROR_DATABASE, ERROR_EXISTS (names that we need are taken: by the old system's
 * tables, or by another index), ERROR_INVALID (the schema is newer than this build; `adopt_losing` names a role that is
 * not there). */
bool migrate_up(const struct migrate_options *options, struct error *reterr_error);

/* Removes exactly what migrate_up() made, in one transaction. ERROR_PERMISSION unless `yes` or the audit log is empty;
 * ERROR_DATABASE with 2BP01 when something that is not ours would go too (the text names it); else as migrate_up(). */
bool migrate_down(const struct migrate_options *options, struct error *reterr_error);

/* Prints the version, the migrations and when their steps were done. Errors as migrate_up(). */
bool migrate_status(const struct migrate_options *options, struct error *reterr_error);

/* Prints, line by line, whether the database is what migrate_up() makes of it: objects, functions, row security, the
 * server's role, hashes and claims, what a stranger sees; and counts of leads. Changes nothing. ERROR_INVALID when
 * something is not so, or the schema is of another version; else as migrate_up(). */
bool migrate_verify(const struct migrate_options *options, struct error *reterr_error);

/* Tables of workspaces' rows that row security does not guard as it was made, each with the reason, as one text in `arena`; NULL
 * when there are none. Works as leadrouter_service. Errors as pg_conn_open(). */
bool migrate_unprotected(
    const struct pg_config *database, struct arena *arena, const char **ret_tables, struct error *reterr_error);

/* What a server checks before it serves: `*ret_version` is the database's schema version, 0 when there is none.
 * Works as leadrouter_service. Errors as pg_conn_open(). */
bool migrate_version(const struct pg_config *database, int *ret_version, struct error *reterr_error);

#endif
