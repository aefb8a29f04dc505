/* Reads the limits of workspaces from the database, in the background: calls never wait for it. */
#ifndef SERVER_CALL_LIMITS_LOADER_H
#define SERVER_CALL_LIMITS_LOADER_H

#include <stdbool.h>

#include "base/error.h"
#include "call_limits.h"
#include "pg/pg.h"

struct limits_loader;

/* Starts a thread that reads what limits_wanted() names whenever it is told to, and makes the limits that it fills: `*ret_limits` is
 * borrowed until limits_loader_free(). `pool` is borrowed; it lends one connection for the time of a query. While the database is away
 * the values last read hold. Errors: ERROR_SYSTEM. */
bool limits_loader_new(const struct limits_values *standard, struct pg_pool *pool, struct limits_loader **ret_loader,
    struct limits **ret_limits, struct error *reterr_error);

/* Ends the thread and frees the limits; once no call holds anything of them. NULL is fine. */
void limits_loader_free(struct limits_loader *loader);

#endif
