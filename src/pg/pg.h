/* PostgreSQL for the product: one connection in pipeline mode, binary parameters and rows, deadlines, typed errors.
 *
 * A `struct pg_conn` belongs to one thread at a time. Nothing here knows leads. src/pg/README.md explains the design. */
#ifndef PG_PG_H
#define PG_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/uuid.h"

/* --- Connection ------------------------------------------------------------------------------------------------------ */

/* How to connect. Strings are borrowed for the lifetime of what is made from it. */
struct pg_config {
    const char *url;              /* Required. A libpq connection string or URI; several hosts are allowed */
    const char *role;             /* Optional. SET ROLE after connecting */
    const char *application_name; /* Optional. Shown in pg_stat_activity */
    int connect_timeout_ms;       /* 0 means 5,000 */
    bool unnamed_statements;      /* true: never prepare by name (a transaction pooler is in between) */
};

struct pg_conn;

/* A connection object that is not connected yet. Never fails. */
struct pg_conn *pg_conn_new(const struct pg_config *config);

/* Closes and releases. NULL is fine. */
void pg_conn_free(struct pg_conn *conn);

/* Connects, or does nothing when connected; waits until `deadline_ns` (monotonic) at most. Session settings: TimeZone UTC,
 * client_encoding UTF8. target_session_attrs=read-write unless the URL says otherwise. Errors: ERROR_UNAVAILABLE (nobody
 * there, refused, starting up), ERROR_DEADLINE, ERROR_PERMISSION (login refused), ERROR_INVALID (the URL itself). The text
 * never contains the URL or a password. */
bool pg_conn_open(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

/* Drops the connection; pg_conn_open() may follow. Statements prepared on it are forgotten. */
void pg_conn_close(struct pg_conn *conn);

/* True while a connection is there, as far as is known without asking. */
bool pg_conn_is_open(const struct pg_conn *conn);

/* The socket, or -1; and whether it is readable without a result being due (the server closed it, or a notification). */
int pg_conn_descriptor(const struct pg_conn *conn);

/* Process id of the server's backend; 0 when closed. */
int pg_conn_backend_pid(const struct pg_conn *conn);

/* Asks the server to cancel what runs on this connection, on a connection of its own. Best effort; bounded by 1 s. The only
 * function of this module that another thread may call while the owner is inside another one. */
void pg_conn_cancel(struct pg_conn *conn);

/* --- Statements and parameters --------------------------------------------------------------------------------------- */

enum pg_type {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_FLOAT8 = 701,
    PG_TIMESTAMPTZ = 1184,
    PG_UUID = 2950,
    PG_JSONB = 3802,
    PG_BOOL_ARRAY = 1000,
    PG_INT2_ARRAY = 1005,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_INT8_ARRAY = 1016,
    PG_UUID_ARRAY = 2951,
}; /* object ids from PostgreSQL's pg_type.dat; fixed since they were assigned */

enum { PG_PARAMS_MAX = 24 };

/* A statement: prepared under its name on each connection at first use (unless unnamed_statements). Static and constant. */
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

void pg_params_init(struct pg_params *params, struct arena *arena);
void pg_params_add_null(struct pg_params *params);
void pg_params_add_bool(struct pg_params *params, bool value);
void pg_params_add_int4(struct pg_params *params, int32_t value);
void pg_params_add_int8(struct pg_params *params, int64_t value);
void pg_params_add_text(struct pg_params *params, const char *text); /* borrowed until sent; NULL is SQL NULL */
void pg_params_add_bytes(struct pg_params *params, const void *bytes, size_t size);
void pg_params_add_jsonb(struct pg_params *params, const char *json, size_t size);
void pg_params_add_uuid(struct pg_params *params, const struct uuid *value); /* NULL pointer is SQL NULL */

/* One-dimensional arrays of `count` elements. `nulls` (may be NULL) marks elements that are SQL NULL. For text a NULL
 * pointer is an SQL NULL element. uuid_nil is an ordinary value unless marked. */
void pg_params_add_uuid_array(struct pg_params *params, const struct uuid *values, const bool *nulls, size_t count);
void pg_params_add_int2_array(struct pg_params *params, const int16_t *values, const bool *nulls, size_t count);
void pg_params_add_int4_array(struct pg_params *params, const int32_t *values, const bool *nulls, size_t count);
void pg_params_add_int8_array(struct pg_params *params, const int64_t *values, const bool *nulls, size_t count);
void pg_params_add_bool_array(struct pg_params *params, const bool *values, const bool *nulls, size_t count);
void pg_params_add_text_array(struct pg_params *params, const char *const *values, size_t count);

/* --- Rows ------------------------------------------------------------------------------------------------------------ */

/* Rows of one statement, in binary. Owned by the caller once returned; freed with pg_result_free(). */
struct pg_result;

void pg_result_free(struct pg_result *result); /* NULL is fine */
int pg_result_row_count(const struct pg_result *result);
int64_t pg_result_affected_count(
    const struct pg_result *result); /* rows touched by INSERT, UPDATE, DELETE; 0 otherwise */
bool pg_result_is_null(const struct pg_result *result, int row, int column);

/* Typed access. The column must have that type and must not be NULL (asserted), except: pg_result_text() gives NULL for
 * NULL and pg_result_uuid() gives uuid_nil. Text is borrowed from the result and NUL-terminated; enums and varchar count as
 * text. Timestamps are microseconds since 1970-01-01 UTC, INT64_MAX for infinity. */
bool pg_result_bool(const struct pg_result *result, int row, int column);
int16_t pg_result_int2(const struct pg_result *result, int row, int column);
int32_t pg_result_int4(const struct pg_result *result, int row, int column);
int64_t pg_result_int8(const struct pg_result *result, int row, int column);
double pg_result_float8(const struct pg_result *result, int row, int column);
struct uuid pg_result_uuid(const struct pg_result *result, int row, int column);
const char *pg_result_text(
    const struct pg_result *result, int row, int column); /* text, enum, and jsonb (without its version byte) */
int64_t pg_result_timestamp_us(const struct pg_result *result, int row, int column);

/* --- Pipeline -------------------------------------------------------------------------------------------------------- */

/* Statements queued with pg_pipeline_add() travel together when pg_pipeline_flush() adds a sync point: one round trip.
 * Their results are then taken in the same order with pg_pipeline_next(), one each, and pg_pipeline_end() closes the round
 * trip. Within a round trip the first error aborts the rest (each later result is then ERROR_DATABASE with SQLSTATE ""
 * and the text "skipped after an earlier error").
 *
 * pg_pipeline_add() only queues; `params` are not needed afterwards, `statement` is until its result was taken. Preparing by name, when needed, is put
 * in front in the same round trip and its result is consumed here. */
void pg_pipeline_add(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params);

/* Sends what was queued. Errors: ERROR_UNAVAILABLE when the connection broke (nothing can be said about what arrived). */
bool pg_pipeline_flush(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

/* Result of the next statement in order. `ret_result` may be NULL when rows are not wanted. Errors: ERROR_DATABASE with
 * SQLSTATE (the connection stays good); ERROR_UNAVAILABLE (the connection broke and is closed); ERROR_DEADLINE (time was up:
 * the connection is closed, because results are still on the way). */
bool pg_pipeline_next(
    struct pg_conn *conn, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* Waits for the sync point; results that were not taken are dropped. After an error of a statement the transaction, if one
 * was open, is still open and failed: roll back with pg_execute(). */
bool pg_pipeline_end(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error);

/* One statement in a round trip of its own. As pg_pipeline_next() for errors. `params` may be NULL (none). */
bool pg_execute(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* Text of one or several statements without parameters, by the simple protocol: migrations, BEGIN, ROLLBACK. Rows of the last
 * one only, as text. */
bool pg_execute_script(struct pg_conn *conn, const char *sql, int64_t deadline_ns, struct error *reterr_error);

/* --- What became of a COMMIT ------------------------------------------------------------------------------------------- */

enum pg_transaction_status {
    PG_TRANSACTION_IN_PROGRESS,
    PG_TRANSACTION_COMMITTED,
    PG_TRANSACTION_ABORTED,
    PG_TRANSACTION_FORGOTTEN, /* too old for the server to know */
};

/* Asks pg_xact_status() for a transaction id that pg_current_xact_id() gave (PostgreSQL manual, section 9.27). Use a connection
 * other than the one that broke. */
bool pg_transaction_status(struct pg_conn *conn, uint64_t transaction_id, int64_t deadline_ns,
    enum pg_transaction_status *ret_status, struct error *reterr_error);

/* --- Reconnecting ------------------------------------------------------------------------------------------------------ */

/* Back-off between attempts to connect: 50 ms doubling to 5 s, each with +-20 % jitter. Zeroed struct: start. */
struct pg_backoff {
    unsigned failures;
};

/* Milliseconds to wait after one more failure; and reset after a success. */
int pg_backoff_next_ms(struct pg_backoff *backoff);
void pg_backoff_reset(struct pg_backoff *backoff);

/* --- Pool -------------------------------------------------------------------------------------------------------------- */

/* A bounded set of connections shared by threads. */
struct pg_pool;

/* `connections_max` connections at most, made when first needed. */
struct pg_pool *pg_pool_new(const struct pg_config *config, unsigned connections_max);

/* Closes all; every connection must have been given back. NULL is fine. */
void pg_pool_free(struct pg_pool *pool);

/* Borrows an open connection, waiting for one until `deadline_ns`. Errors: ERROR_FULL (none became free in time),
 * ERROR_UNAVAILABLE, ERROR_DEADLINE. Any thread. */
bool pg_pool_acquire(struct pg_pool *pool, int64_t deadline_ns, struct pg_conn **ret_conn, struct error *reterr_error);

/* Gives a connection back; one that is closed or inside a transaction is closed and made anew when next needed. */
void pg_pool_put(struct pg_pool *pool, struct pg_conn *conn);

#endif
