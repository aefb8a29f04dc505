/* A private PostgreSQL cluster in a directory (ARCHITECTURE.md, "The embedded database").
 *
 * The directory holds `data` (the cluster), `run` (its socket), `postgres.log` and `lock`. No TCP. This forks; the child only
 * executes PostgreSQL (server/subprocess.h). */
#ifndef SERVER_EMBEDDED_H
#define SERVER_EMBEDDED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct embedded;

/* Zero in a field means its default. */
struct embedded_options {
    const char *directory; /* Required. Made when it is not there; an absolute path is made of it */
    bool disposable; /* for tests: nothing is flushed to disk, and the cluster ends with the process that started it */
};

/* Makes the cluster when there is none, starts it or adopts one left running, and waits until it takes connections,
 * also through a recovery after a crash. One process per directory (lock file). The programs are those of the version
 * that made the cluster, for a new one the newest under /usr/lib/postgresql, or those in LEADROUTER_PG_BINDIR. As root
 * PostgreSQL runs as the user `postgres`. Errors: ERROR_INVALID (no usable path), ERROR_SYSTEM (directory cannot be
 * made, written or entered, belongs to another user, no PostgreSQL installed), ERROR_EXISTS (a cluster is there that is
 * not ours), ERROR_BUSY (another process has this directory), ERROR_UNAVAILABLE (did not start; the text has the last
 * line of its log), ERROR_PERMISSION (its access rules were changed so that they refuse us). */
bool embedded_start(const struct embedded_options *options, struct embedded **ret_embedded, struct error *reterr_error);

/* Connection strings of the database `leadrouter`, borrowed: as the superuser (for migrations), as
 * leadrouter_service (for serving). */
const char *embedded_admin_url(const struct embedded *embedded);
const char *embedded_service_url(const struct embedded *embedded);

/* Process id of the postmaster, 0 when there is none; and its socket's directory, borrowed. For tests and tools. */
int embedded_process_id(const struct embedded *embedded);
const char *embedded_socket_directory(const struct embedded *embedded);

/* Starts the postmaster again after it died; does nothing when it is there. Forks too. Errors as embedded_start(). */
bool embedded_restart(struct embedded *embedded, struct error *reterr_error);

/* Stops PostgreSQL (fast shutdown, waits) and releases. NULL is fine. */
void embedded_stop(struct embedded *embedded);

#endif
