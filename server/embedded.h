/* A private PostgreSQL cluster in a directory, run as a child (design: "embedded default" in ARCHITECTURE.md). */
#ifndef SERVER_EMBEDDED_H
#define SERVER_EMBEDDED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct embedded;

struct embedded_options {
    const char *directory; /* Required. Made when it is not there */
    bool fast_unsafe;      /* fsync off: for tests that throw the cluster away. Never a default */
};

/* Makes the cluster when there is none, starts it or adopts one left running, and waits until it takes connections. One process per directory
 * (lock file). As root PostgreSQL runs as the user `postgres`. Errors: ERROR_SYSTEM (directory cannot be written or entered, no PostgreSQL installed),
 * ERROR_BUSY (another server has this directory), ERROR_UNAVAILABLE (did not start; the text has the last line of its log). */
bool embedded_start(const struct embedded_options *options, struct embedded **ret_embedded, struct error *reterr_error);

/* Connection strings, borrowed: as the superuser (for migrations) and as leadrouter_service (for serving). */
const char *embedded_admin_url(const struct embedded *embedded);
const char *embedded_service_url(const struct embedded *embedded);

/* Stops PostgreSQL (fast shutdown) and releases. NULL is fine. */
void embedded_stop(struct embedded *embedded);

#endif
