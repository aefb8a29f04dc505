/* The migration runner: brings a database to this build's schema, and takes it away again (sql/README.md). */
#ifndef SERVER_MIGRATE_H
#define SERVER_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "pg/pg.h"

/* The schema version this build needs: the number of the last migration in sql/migrations. */
extern const int migrate_schema_version;

struct migrate_options {
    const char *url; /* Required. A direct connection (no pooler) as a role that may create roles and alter `leads` */
    bool dry_run;    /* print what would be done, change nothing */
    bool yes;        /* down: destroy the audit log without asking */
    FILE *output;    /* Required. What is done, a line per step, for people */
};

/* Applies what is missing. Safe to run by several at once: the others wait. Errors: ERROR_UNAVAILABLE,
 * ERROR_PERMISSION, ERROR_DATABASE, ERROR_EXISTS (the old system's tables are there), ERROR_INVALID (the schema is
 * newer than this build). */
bool migrate_up(const struct migrate_options *options, struct error *reterr_error);

/* Removes exactly what migrate_up() made. ERROR_PERMISSION unless `yes` or the audit log is empty. */
bool migrate_down(const struct migrate_options *options, struct error *reterr_error);

/* Prints the version, the migrations and their state. */
bool migrate_status(const struct migrate_options *options, struct error *reterr_error);

/* What a server checks before it serves: `*ret_version` is the database's schema version, 0 when there is none.
 * Works as leadrouter_service. Errors as pg_conn_open(). */
bool migrate_version(const struct pg_config *database, int *ret_version, struct error *reterr_error);

#endif
