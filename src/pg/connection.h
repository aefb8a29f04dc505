/* What the module's files share: the inside of a connection. Not for users of src/pg. */
#ifndef PG_CONNECTION_H
#define PG_CONNECTION_H

#include <libpq-fe.h>
#include <pthread.h>

#include "pg/pg.h"

/* What an entry of the pipeline is, so that results can be told apart. */
enum pg_entry_kind { PG_ENTRY_PREPARE, PG_ENTRY_EXECUTE, PG_ENTRY_SYNC };

struct pg_entry {
    enum pg_entry_kind kind;
    const char *text; /* prepare: the statement's name; execute: its SQL, which must live until its result is taken */
};

struct pg_conn {
    struct pg_config config;
    PGconn *handle; /* NULL when closed; changed only under cancel_lock */

    /* for pg_conn_cancel() by other threads */
    pthread_mutex_t cancel_lock;
    PGcancel *cancel;

    /* the owner's thread only */
    const char **prepared; /* names prepared on this connection; static strings */
    size_t prepared_count;
    struct pg_entry *entries; /* sent or queued, results not taken yet: a ring that only grows between sync points */
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

/* Closes the connection and reports that time was up. Returns false. */
bool pg_conn_late(struct pg_conn *conn, struct error *reterr_error);

/* Turns a failed result into an error: ERROR_DATABASE, or ERROR_UNAVAILABLE (and closes) when the server says that it goes away. Returns false. */
bool pg_result_error(struct pg_conn *conn, const PGresult *result, struct error *reterr_error);

/* Wraps a libpq result; takes it over. */
struct pg_result *pg_result_new(PGresult *result);

#endif
