/* PostgreSQL for the product: one connection in pipeline mode, binary parameters and rows, deadlines, typed errors.
 *
 * A `struct pg_conn` belongs to one thread at a time. Nothing here knows leads. src/pg/README.md explains the
 * design. */
#ifndef PG_PG_H
#define PG_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/uuid.h"
#include "metrics/metrics.h"

/* --- Connection --------------------------------------------------------------------------------------------------- */

/* How to connect. Strings are borrowed for the lifetime of what is made from it. */
struct pg_config {
    const char *url;              /* Required. A libpq connection string or URI; several hosts are allowed */
    const char *role;             /* Optional. SET ROLE after connecting */
    const char *application_name; /* Optional. Shown in pg_stat_activity */
    int connect_timeout_ms;       /* 0 means 5,000 */
    struct metrics *metrics;      /* Optional. Counts round trips, errors, connections; of a pool, what it lends */
    enum metrics_pool pool;       /* of a pool: which it is in the metrics */
    bool unnamed_statements;      /* true: never prepare by name (a transaction pooler is in between) */
};

/* True for a connection string or URI with a password in it, or with the pass phrase of a key; false also for what is neither. */
bool pg_url_has_secret(const char *url);

struct pg_conn;

/* A connection object that is not connected yet. Never fails. */
struct pg_conn *pg_conn_new(const struct pg_config *config);

/* Closes and releases. NULL is fine. */
void pg_conn_free(struct pg_conn *conn);

/* Connects, or does nothing when connected; waits until `deadline_ns` (monotonic) at most, except for the system's
 * resolver of host names, which cannot be bounded. Several hosts are tried in order, each with its share of the
 * time. Session settings: TimeZone UTC, client_encoding UTF8. target_session_attrs=read-write unless the URL says
 * otherwise. Errors: ERROR_UNAVAILABLE (nobody there, refused, starting up, no answer within connect_timeout_ms),
 * ERROR_DEADLINE (`deadline_ns` came first), ERROR_PERMISSION (login, database or role refused), ERROR_INVALID (the
 * URL itself), ERROR_DATABASE (the session could not be set up). With the SQLSTATE when the server gave one. The
 * text never contains the URL or a password. */
bool pg_conn_open(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

/* Drops the connection; pg_conn_open() may follow. Statements prepared on it are forgotten. */
void pg_conn_close(struct pg_conn *conn);

/* True while a connection is there, as far as is known without asking. */
bool pg_conn_is_open(const struct pg_conn *conn);

/* The socket, or -1 when closed. Between round trips it becomes readable when the server closes its side. */
int pg_conn_descriptor(const struct pg_conn *conn);

/* Takes the notifications that have come (after LISTEN) and tells whether there were any, without waiting: wait until the socket
 * is readable first. Between round trips. Errors: ERROR_UNAVAILABLE when the connection broke; it is closed. */
bool pg_conn_take_notifications(struct pg_conn *conn, bool *ret_any, struct error *reterr_error);

/* Process id of the server's backend; 0 when closed. */
int pg_conn_backend_pid(const struct pg_conn *conn);

/* --- Statements and parameters ------------------------------------------------------------------------------------ */

enum pg_type {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_TID = 27,
    PG_FLOAT8 = 701,
    PG_TIMESTAMPTZ = 1184,
    PG_UUID = 2950,
    PG_JSONB = 3802,
    PG_BOOL_ARRAY = 1000,
    PG_INT2_ARRAY = 1005,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_TID_ARRAY = 1010,
    PG_INT8_ARRAY = 1016,
    PG_UUID_ARRAY = 2951,
}; /* object ids from PostgreSQL's pg_type.dat; fixed since they were assigned */

enum { PG_PARAMS_MAX = 24 };

/* Where a version of a row lies in its table (ctid). Good as long as nobody can change the row: while a transaction has it locked. */
struct pg_tid {
    uint32_t block;
    uint16_t offset; /* 0: nowhere */
};

/* A statement: prepared under its name on each connection at first use (unless unnamed_statements). Static and
 * constant. */
struct pg_statement {
    const char *name; /* unique in the program; NULL: never prepared by name */
    const char *sql;
    int param_count;
    uint32_t param_types[PG_PARAMS_MAX]; /* enum pg_type */
};

/* Binary parameters for one execution, built in order; memory comes from the arena given to pg_params_init(). */
struct pg_params {
    struct arena *arena;
    int count;
    const char *values[PG_PARAMS_MAX]; /* NULL is SQL NULL */
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
};

/* The arena lives until the statement was queued; it may be NULL when nothing but nulls, text and bytes are added. */
void pg_params_init(struct pg_params *params, struct arena *arena);

/* Each adds the next parameter; more than PG_PARAMS_MAX are a bug (asserted). Text and bytes are borrowed until the
 * statement was queued; a NULL pointer is SQL NULL, `size` 0 behind another pointer is an empty value. Everything
 * else is copied. */
void pg_params_add_null(struct pg_params *params);
void pg_params_add_bool(struct pg_params *params, bool value);
void pg_params_add_int4(struct pg_params *params, int32_t value);
void pg_params_add_int8(struct pg_params *params, int64_t value);
void pg_params_add_text(struct pg_params *params, const char *text);
void pg_params_add_bytes(struct pg_params *params, const void *bytes, size_t size);
void pg_params_add_jsonb(struct pg_params *params, const char *json, size_t size);
void pg_params_add_uuid(struct pg_params *params, const struct uuid *value);

/* One-dimensional arrays of `count` elements. `nulls` (may be NULL) marks elements that are SQL NULL. For text a NULL
 * pointer is an SQL NULL element, for places "nowhere". uuid_nil is an ordinary value unless marked. */
void pg_params_add_uuid_array(struct pg_params *params, const struct uuid *values, const bool *nulls, size_t count);
void pg_params_add_int2_array(struct pg_params *params, const int16_t *values, const bool *nulls, size_t count);
void pg_params_add_int4_array(struct pg_params *params, const int32_t *values, const bool *nulls, size_t count);
void pg_params_add_int8_array(struct pg_params *params, const int64_t *values, const bool *nulls, size_t count);
void pg_params_add_bool_array(struct pg_params *params, const bool *values, const bool *nulls, size_t count);
void pg_params_add_text_array(struct pg_params *params, const char *const *values, size_t count);
void pg_params_add_tid_array(struct pg_params *params, const struct pg_tid *values, size_t count);

/* --- Rows --------------------------------------------------------------------------------------------------------- */

/* Rows of one statement, in binary. Owned by the caller once returned; freed with pg_result_free(). Independent of
 * its connection; read by any number of threads. */
struct pg_result;

/* NULL is fine. */
void pg_result_free(struct pg_result *result);

/* Rows returned; and rows touched by INSERT, UPDATE, DELETE or MERGE, 0 for anything else. */
int pg_result_row_count(const struct pg_result *result);

/* Rows and columns count from 0 and must exist (asserted). */
bool pg_result_is_null(const struct pg_result *result, int row, int column);

/* Typed access. The column must have that type and must not be NULL (asserted), except: pg_result_text() gives NULL
 * for NULL, pg_result_uuid() gives uuid_nil and pg_result_tid() nowhere. Text is borrowed from the result and NUL-terminated; enums and
 * varchar count as text, and jsonb comes without its version byte. */
bool pg_result_bool(const struct pg_result *result, int row, int column);
int16_t pg_result_int2(const struct pg_result *result, int row, int column);
int32_t pg_result_int4(const struct pg_result *result, int row, int column);
int64_t pg_result_int8(const struct pg_result *result, int row, int column);
double pg_result_float8(const struct pg_result *result, int row, int column);
struct uuid pg_result_uuid(const struct pg_result *result, int row, int column);
struct pg_tid pg_result_tid(const struct pg_result *result, int row, int column);
const char *pg_result_text(const struct pg_result *result, int row, int column);

/* --- Pipeline ----------------------------------------------------------------------------------------------------- */

/* Statements queued with pg_pipeline_add() travel together when pg_pipeline_flush() adds a sync point: one round
 * trip. Their results are then taken in the same order with pg_pipeline_next(), one each, and pg_pipeline_end()
 * closes the round trip. Within a round trip the first error aborts the rest (each later result is then
 * ERROR_DATABASE with SQLSTATE "" and the text "skipped after an earlier error").
 *
 * One round trip at a time: pg_pipeline_add() after a flush only once pg_pipeline_end() was called (asserted).
 * Without BEGIN the whole round trip is one transaction, which commits at the sync point.
 *
 * pg_pipeline_add() only queues, and never fails: a broken connection is reported by the flush. `params` are not
 * needed afterwards, `statement` is until its result was taken. Preparing by name, when needed, is put in front in
 * the same round trip and its result is consumed here. */
void pg_pipeline_add(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params);

/* Sends what was queued. Errors: ERROR_UNAVAILABLE when the connection broke (nothing can be said about what
 * arrived). */
bool pg_pipeline_flush(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

/* Result of the next statement in order. `ret_result` may be NULL when rows are not wanted. Errors:
 * - ERROR_DATABASE with SQLSTATE and the server's message, or without it where it may quote data: the connection stays
 *   good. A COMMIT that the server answered
 *   with ROLLBACK, since the transaction had failed, is such an error too (25P02).
 * - ERROR_UNAVAILABLE: the connection broke and is closed. With the SQLSTATE when the server said why: it shuts down, or
 *   is read-only after a failover. Also when a statement prepared in an earlier round trip no longer fits the tables.
 * - ERROR_DEADLINE: time was up. The server is asked to cancel and the connection is closed, since results are on the
 *   way. */
bool pg_pipeline_next(
    struct pg_conn *conn, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* Waits for the sync point; results that were not taken are dropped, with their errors. Does nothing when no round
 * trip is open. Without BEGIN this is where the server commits: ERROR_DATABASE when that fails, and nothing was
 * done. After an error of a statement the transaction, if one was open, is still open and failed: roll back with
 * pg_execute(). Other errors as pg_pipeline_next(). */
bool pg_pipeline_end(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

/* One statement in a round trip of its own; true means that it is committed, unless inside BEGIN. Errors as
 * pg_pipeline_next(). `params` may be NULL (none), and so may `ret_result`. */
bool pg_execute(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* Text of one or several statements without parameters, by the simple protocol: migrations, BEGIN, ROLLBACK. Rows
 * are dropped. Ends at the first error. COPY is not supported: it closes the connection. Errors as
 * pg_pipeline_next(). */
bool pg_execute_script(struct pg_conn *conn, const char *sql, int64_t deadline_ns, struct error *reterr_error);

/* --- What became of a COMMIT -------------------------------------------------------------------------------------- */

enum pg_transaction_status {
    PG_TRANSACTION_IN_PROGRESS,
    PG_TRANSACTION_COMMITTED,
    PG_TRANSACTION_ABORTED,
    PG_TRANSACTION_FORGOTTEN, /* too old for the server to know */
};

/* Asks pg_xact_status() for a transaction id that pg_current_xact_id() gave (PostgreSQL manual, section 9.27). Use
 * a connection other than the one that broke. Errors as pg_execute(); 22023 for an id that the server has not given
 * out yet. */
bool pg_transaction_status(struct pg_conn *conn, uint64_t transaction_id, int64_t deadline_ns,
    enum pg_transaction_status *ret_status, struct error *reterr_error);

/* --- Reconnecting ------------------------------------------------------------------------------------------------- */

/* Back-off between attempts to connect: 50 ms doubling to 5 s, each with +-20 % jitter. Zeroed struct: start. */
struct pg_backoff {
    unsigned failures;
};

/* Milliseconds to wait after one more failure; and reset after a success. */
int pg_backoff_next_ms(struct pg_backoff *backoff);
void pg_backoff_reset(struct pg_backoff *backoff);

/* --- Pool --------------------------------------------------------------------------------------------------------- */

/* A bounded set of connections shared by threads. */
struct pg_pool;

/* `connections_max` connections at most, made when first needed. */
struct pg_pool *pg_pool_new(const struct pg_config *config, unsigned connections_max);

/* Closes all; every connection must have been given back. NULL is fine. */
void pg_pool_free(struct pg_pool *pool);

/* Borrows an open connection, waiting for one until `deadline_ns`. Errors: ERROR_FULL (none became free in time),
 * and those of pg_conn_open(). Any thread. */
bool pg_pool_acquire(struct pg_pool *pool, int64_t deadline_ns, struct pg_conn **ret_conn, struct error *reterr_error);

/* Gives a connection back; one that is closed or inside a transaction is closed and made anew when next
 * needed. Any thread. */
void pg_pool_put(struct pg_pool *pool, struct pg_conn *conn);

#endif
