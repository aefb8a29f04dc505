/* What the module's files share: the inside of a connection. Not for users of src/pg. */
#ifndef PG_CONNECTION_H
#define PG_CONNECTION_H

#include <libpq-fe.h>

#include "pg/pg.h"

/* What an entry of the pipeline is, so that results can be told apart. */
enum pg_entry_kind { PG_ENTRY_PREPARE, PG_ENTRY_EXECUTE, PG_ENTRY_SYNC };

struct pg_entry {
    enum pg_entry_kind kind;
    const char *text; /* prepare: the statement's name; execute: its SQL, which must live until its result is taken */
    bool is_from_before; /* execute: by a name that an earlier round trip prepared, so its plan may be out of date */
};

struct pg_conn {
    struct pg_config config;

    /* the owner's thread only */
    PGconn *handle;        /* NULL when closed */
    const char **prepared; /* names prepared on this connection; static strings */
    size_t prepared_count;
    struct pg_entry *entries; /* queued or sent, results not taken yet: entry_next to entry_count; reset when empty */
    size_t entry_count;
    size_t entry_next;
    size_t entry_capacity;
    bool send_failed; /* queueing failed: the connection is broken; told by the next flush */
};

/* Waits until the socket is readable (and writable, when `write` is set) or the deadline. */
enum pg_wait { PG_WAIT_READY, PG_WAIT_TIMEOUT, PG_WAIT_FAILED };
enum pg_wait pg_wait(PGconn *handle, bool read, bool write, int64_t deadline_ns);

/* Closes the connection and reports that it broke. Returns false. */
bool pg_conn_broken(struct pg_conn *conn, struct error *reterr_error);

/* Has the server cancel what runs, without waiting for that, closes the connection and reports that time was up.
 * Returns false. */
bool pg_conn_late(struct pg_conn *conn, struct error *reterr_error);

/* Connects by the configuration, host by host, each within its share of the time. `ret_handle` is the caller's.
 * Errors as pg_conn_open(). */
bool pg_connect(const struct pg_config *config, int64_t deadline_ns, PGconn **ret_handle, struct error *reterr_error);

/* Wraps a libpq result; takes it over. */
struct pg_result *pg_result_new(PGresult *result);

/* Asks the server to cancel what runs on a connection, which may be closed at once; does not wait for it, and says
 * nothing when it fails. NULL is fine. */
void pg_cancel_send(PGconn *handle);

#endif
