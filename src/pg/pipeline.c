#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "pg/connection.h"

static const struct pg_params no_params = {0};

/* --- Queueing -------------------------------------------------------------------------------------------------------- */

static bool is_prepared(const struct pg_conn *conn, const char *name)
{
    for (size_t i = 0; i < conn->prepared_count; i++)
        if (strcmp(conn->prepared[i], name) == 0)
            return true;
    return false;
}

static void remember_prepared(struct pg_conn *conn, const char *name)
{
    conn->prepared = memory_resize(conn->prepared, conn->prepared_count + 1, sizeof(*conn->prepared));
    conn->prepared[conn->prepared_count++] = name;
}

static bool is_being_prepared(const struct pg_conn *conn, const char *name)
{
    for (size_t i = conn->entry_next; i < conn->entry_count; i++)
        if (conn->entries[i].kind == PG_ENTRY_PREPARE && strcmp(conn->entries[i].text, name) == 0)
            return true;
    return false;
}

static void push(struct pg_conn *conn, enum pg_entry_kind kind, const char *text)
{
    if (conn->entry_next == conn->entry_count) {
        conn->entry_next = 0;
        conn->entry_count = 0;
    }
    if (conn->entry_count == conn->entry_capacity) {
        conn->entry_capacity = conn->entry_capacity == 0 ? 16 : conn->entry_capacity * 2;
        conn->entries = memory_resize(conn->entries, conn->entry_capacity, sizeof(*conn->entries));
    }
    conn->entries[conn->entry_count++] = (struct pg_entry){kind, text};
}

static bool send_unnamed(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    return PQsendQueryParams(conn->handle, statement->sql, statement->param_count, statement->param_types,
               params->values, params->lengths, params->formats, 1) != 0;
}

static bool send_named(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    if (!is_prepared(conn, statement->name) && !is_being_prepared(conn, statement->name)) {
        if (PQsendPrepare(
                conn->handle, statement->name, statement->sql, statement->param_count, statement->param_types) == 0)
            return false;
        push(conn, PG_ENTRY_PREPARE, statement->name);
    }
    return PQsendQueryPrepared(conn->handle, statement->name, statement->param_count, params->values, params->lengths,
               params->formats, 1) != 0;
}

void pg_pipeline_add(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    bool named = statement->name != NULL && !conn->config.unnamed_statements;

    if (params == NULL)
        params = &no_params;
    assert(params->count == statement->param_count);
    if (conn->handle == NULL || conn->send_failed) {
        conn->send_failed = true;
        return;
    }
    if (PQpipelineStatus(conn->handle) == PQ_PIPELINE_OFF && PQenterPipelineMode(conn->handle) == 0) {
        conn->send_failed = true;
        return;
    }
    if (!(named ? send_named(conn, statement, params) : send_unnamed(conn, statement, params)))
        conn->send_failed = true;
    else
        push(conn, PG_ENTRY_EXECUTE, statement->sql);
}

/* Sends what libpq has buffered. Reads as well while the socket is full, since the server stops reading when we do. */
static bool flush_all(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    while (true) {
        int left = PQflush(conn->handle);
        if (left == 0)
            return true;
        if (left < 0)
            return pg_conn_broken(conn, reterr_error);
        switch (pg_wait(conn->handle, true, true, deadline_ns)) {
        case PG_WAIT_READY:
            break;
        case PG_WAIT_TIMEOUT:
            return pg_conn_late(conn, reterr_error);
        case PG_WAIT_FAILED:
            return pg_conn_broken(conn, reterr_error);
        }
        if (PQconsumeInput(conn->handle) == 0)
            return pg_conn_broken(conn, reterr_error);
    }
}

bool pg_pipeline_flush(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    if (conn->handle == NULL || conn->send_failed || PQpipelineSync(conn->handle) == 0)
        return pg_conn_broken(conn, reterr_error);
    push(conn, PG_ENTRY_SYNC, NULL);
    return flush_all(conn, deadline_ns, reterr_error);
}

/* --- Results --------------------------------------------------------------------------------------------------------- */

/* The next PGresult, or NULL between two statements; false when the connection broke or time was up. */
static bool next_raw(struct pg_conn *conn, int64_t deadline_ns, PGresult **ret_result, struct error *reterr_error)
{
    while (PQisBusy(conn->handle) != 0) {
        switch (pg_wait(conn->handle, true, false, deadline_ns)) {
        case PG_WAIT_READY:
            break;
        case PG_WAIT_TIMEOUT:
            return pg_conn_late(conn, reterr_error);
        case PG_WAIT_FAILED:
            return pg_conn_broken(conn, reterr_error);
        }
        if (PQconsumeInput(conn->handle) == 0)
            return pg_conn_broken(conn, reterr_error);
    }
    *ret_result = PQgetResult(conn->handle);
    return true;
}

/* SQLSTATEs by which a server says that it, or this connection, is going away (PostgreSQL manual, appendix A). */
static bool is_going_away(const char *sqlstate)
{
    static const char *const states[] = {"57P01", "57P02", "57P03", "57P05", "25006"};

    for (size_t i = 0; i < COUNT_OF(states); i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return strncmp(sqlstate, "08", 2) == 0;
}

bool pg_result_error(struct pg_conn *conn, const PGresult *result, struct error *reterr_error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (sqlstate == NULL || PQstatus(conn->handle) == CONNECTION_BAD)
        return pg_conn_broken(conn, reterr_error);
    if (is_going_away(sqlstate)) {
        error_set_sql(reterr_error, ERROR_UNAVAILABLE, sqlstate, "the database is going away");
        pg_conn_close(conn);
        return false;
    }
    return error_set_sql(reterr_error, ERROR_DATABASE, sqlstate, "%s", message == NULL ? "no message" : message);
}

/* A COMMIT of a failed transaction is answered with ROLLBACK, which would pass for success. */
static bool is_refused_commit(PGresult *result, const char *sql)
{
    return strncasecmp(sql, "commit", 6) == 0 && strcmp(PQcmdStatus(result), "ROLLBACK") == 0;
}

/* Judges one result of the statement `sql`; takes it over. */
static bool judge(
    struct pg_conn *conn, PGresult *result, const char *sql, struct pg_result **ret_result, struct error *reterr_error)
{
    bool ok = false;

    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        if (is_refused_commit(result, sql)) {
            error_set_sql(reterr_error, ERROR_DATABASE, "25P02", "the transaction was rolled back");
            break;
        }
        if (ret_result != NULL) {
            *ret_result = pg_result_new(result);
            result = NULL;
        }
        ok = true;
        break;
    case PGRES_PIPELINE_ABORTED:
        error_set(reterr_error, ERROR_DATABASE, "skipped after an earlier error");
        break;
    default:
        pg_result_error(conn, result, reterr_error);
        break;
    }
    PQclear(result);
    return ok;
}

/* Takes the NULL that follows each statement's result. */
static bool skip_separator(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    PGresult *result = NULL;

    do {
        PQclear(result);
        if (!next_raw(conn, deadline_ns, &result, reterr_error))
            return false;
    } while (result != NULL);
    return true;
}

/* Takes the result of a PREPARE that went along; its failure is the failure of the statement, whose own result is then "skipped". */
static bool take_prepare(
    struct pg_conn *conn, const char *name, int64_t deadline_ns, bool *ret_ok, struct error *reterr_error)
{
    PGresult *result = NULL;
    struct error error = {0};

    if (!next_raw(conn, deadline_ns, &result, reterr_error))
        return false;
    *ret_ok = judge(conn, result, "", NULL, &error);
    if (*ret_ok)
        remember_prepared(conn, name);
    else if (reterr_error != NULL)
        *reterr_error = error;
    if (conn->handle == NULL)
        return false;
    return skip_separator(conn, deadline_ns, reterr_error);
}

bool pg_pipeline_next(
    struct pg_conn *conn, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    struct pg_result *wrapped = NULL;
    struct error error = {0};
    PGresult *result = NULL;
    bool prepared = true;

    if (conn->handle == NULL)
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
    assert(conn->entry_next < conn->entry_count && conn->entries[conn->entry_next].kind != PG_ENTRY_SYNC);
    if (conn->entries[conn->entry_next].kind == PG_ENTRY_PREPARE) {
        const char *name = conn->entries[conn->entry_next++].text;
        if (!take_prepare(conn, name, deadline_ns, &prepared, reterr_error))
            return false;
    }
    const char *sql = conn->entries[conn->entry_next++].text;
    if (!next_raw(conn, deadline_ns, &result, reterr_error))
        return false;
    bool ok = judge(conn, result, sql, ret_result == NULL ? NULL : &wrapped, &error);
    if (conn->handle != NULL && !skip_separator(conn, deadline_ns, ok ? &error : NULL))
        ok = false;
    if (ok) {
        if (ret_result != NULL)
            *ret_result = wrapped;
        return true;
    }
    pg_result_free(wrapped);
    if (prepared && reterr_error != NULL)
        *reterr_error = error;
    return false;
}

bool pg_pipeline_end(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    if (conn->handle == NULL)
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
    while (conn->entry_next < conn->entry_count && conn->entries[conn->entry_next].kind != PG_ENTRY_SYNC) {
        if (!pg_pipeline_next(conn, deadline_ns, NULL, reterr_error) && conn->handle == NULL)
            return false;
    }
    assert(conn->entry_next < conn->entry_count);
    conn->entry_next++;
    PGresult *result = NULL;
    if (!next_raw(conn, deadline_ns, &result, reterr_error))
        return false;
    bool is_sync = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
    return is_sync || pg_conn_broken(conn, reterr_error);
}

bool pg_execute(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    struct pg_result *result = NULL;

    pg_pipeline_add(conn, statement, params);
    if (!pg_pipeline_flush(conn, deadline_ns, reterr_error))
        return false;
    bool ok = pg_pipeline_next(conn, deadline_ns, ret_result == NULL ? NULL : &result, reterr_error);
    if (conn->handle != NULL && !pg_pipeline_end(conn, deadline_ns, ok ? reterr_error : NULL))
        ok = false;
    if (!ok) {
        pg_result_free(result);
        return false;
    }
    if (ret_result != NULL)
        *ret_result = result;
    return true;
}

bool pg_execute_script(struct pg_conn *conn, const char *sql, int64_t deadline_ns, struct error *reterr_error)
{
    struct error error = {0};
    PGresult *result = NULL;
    bool ok = true;

    if (conn->handle == NULL ||
        (PQpipelineStatus(conn->handle) != PQ_PIPELINE_OFF && PQexitPipelineMode(conn->handle) == 0) ||
        PQsendQuery(conn->handle, sql) == 0)
        return pg_conn_broken(conn, reterr_error);
    if (!flush_all(conn, deadline_ns, reterr_error))
        return false;
    while (true) {
        if (!next_raw(conn, deadline_ns, &result, reterr_error))
            return false;
        if (result == NULL)
            break;
        if (!judge(conn, result, "", NULL, ok ? &error : NULL))
            ok = false;
        if (conn->handle == NULL)
            break;
    }
    if (!ok && reterr_error != NULL)
        *reterr_error = error;
    return ok;
}
