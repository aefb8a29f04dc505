/* A migration runner at work: its connection, its turn, and transactions that are tried again. Used by one thread. */
#ifndef SERVER_MIGRATE_RUNNER_H
#define SERVER_MIGRATE_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "migrate.h"
#include "pg/pg.h"

struct migrate_runner {
    const struct migrate_options *options; /* borrowed */
    struct pg_config config;
    struct pg_conn *conn;
    struct arena *arena;  /* what queries give, until the end of the runner */
    int version;          /* of the database; 0: none */
    bool has_bookkeeping; /* the schema leadrouter is there and ours */
};

/* Connects and reads the version. To be closed in any case. Errors as pg_conn_open(), ERROR_INVALID (the schema is
 * newer than this build). */
bool migrate_runner_open(
    struct migrate_runner *runner, const struct migrate_options *options, struct error *reterr_error);

/* Releases everything; the turn, too, ends with the connection. */
void migrate_runner_close(struct migrate_runner *runner);

/* Waits for this runner's turn and reads the version again. Errors: ERROR_BUSY (another one took longer than ten
 * minutes), those of pg_execute(). */
bool migrate_runner_take_turn(struct migrate_runner *runner, struct error *reterr_error);

/* True in `*ret_busy` when some runner has its turn. Errors as pg_execute(). */
bool migrate_runner_is_busy(struct migrate_runner *runner, bool *ret_busy, struct error *reterr_error);

/* Statements without parameters and rows. Errors as pg_execute_script(). */
bool migrate_runner_execute(struct migrate_runner *runner, const char *sql, struct error *reterr_error);

/* One statement with the text `parameters`, up to a NULL (NULL alone: none). `*ret_result` is the caller's; it may
 * be NULL. Errors as pg_execute(). */
bool migrate_runner_query(struct migrate_runner *runner, const char *sql, const char *const *parameters,
    struct pg_result **ret_result, struct error *reterr_error);

/* One text, or NULL for no row or NULL; lives as long as the runner. Errors as pg_execute(). */
bool migrate_runner_text(struct migrate_runner *runner, const char *sql, const char *const *parameters,
    const char **ret_text, struct error *reterr_error);

/* One bigint; 0 for no row. Errors as pg_execute(). */
bool migrate_runner_number(struct migrate_runner *runner, const char *sql, const char *const *parameters,
    int64_t *ret_number, struct error *reterr_error);

/* What is done in one try; false with the reason when it failed. Called again, in a new transaction, when that may
 * help. */
typedef bool migrate_work(struct migrate_runner *runner, void *argument, struct error *reterr_error);

/* Does `work`, and again after growing pauses, for some three minutes, when a lock was not had in time or two
 * transactions met crosswise: waiting for a lock instead would make everybody behind us wait too. Errors: those of the
 * last try. */
bool migrate_runner_try(struct migrate_runner *runner, migrate_work *work, void *argument, struct error *reterr_error);

/* The same in a transaction, which sees the catalogue as it was at its beginning and what it did itself (repeatable
 * read). `begin` (may be NULL) are statements that come before the first look, to lock. Errors: those of the last try. */
bool migrate_runner_transact(
    struct migrate_runner *runner, const char *begin, migrate_work *work, void *argument, struct error *reterr_error);

#endif
