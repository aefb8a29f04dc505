#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pg/connection.h"

/* --- Entries: what was queued and sent, in order, until its result is taken --------------------------------------- */

static bool has_entries(const struct pg_conn *conn)
{
    return conn->entry_next < conn->entry_count;
}

static void push(struct pg_conn *conn, struct pg_entry entry)
{
    enum { FIRST_CAPACITY = 16 };

    if (!has_entries(conn)) {
        conn->entry_next = 0;
        conn->entry_count = 0;
    }
    if (conn->entry_count == conn->entry_capacity) {
        conn->entry_capacity = conn->entry_capacity == 0 ? FIRST_CAPACITY : conn->entry_capacity * 2;
        conn->entries = memory_resize(conn->entries, conn->entry_capacity, sizeof(*conn->entries));
    }
    conn->entries[conn->entry_count++] = entry;
}

static struct pg_entry pop(struct pg_conn *conn)
{
    assert(has_entries(conn));
    return conn->entries[conn->entry_next++];
}

/* --- Queueing ----------------------------------------------------------------------------------------------------- */

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

static bool send_unnamed(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    if (PQsendQueryParams(conn->handle, statement->sql, statement->param_count, statement->param_types, params->values,
            params->lengths, params->formats, 1) == 0)
        return false;
    push(conn, (struct pg_entry){.kind = PG_ENTRY_EXECUTE, .text = statement->sql});
    return true;
}

static bool send_named(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    bool is_from_before = is_prepared(conn, statement->name);

    if (!is_from_before && !is_being_prepared(conn, statement->name)) {
        if (PQsendPrepare(
                conn->handle, statement->name, statement->sql, statement->param_count, statement->param_types) == 0)
            return false;
        push(conn, (struct pg_entry){.kind = PG_ENTRY_PREPARE, .text = statement->name});
    }
    if (PQsendQueryPrepared(conn->handle, statement->name, statement->param_count, params->values, params->lengths,
            params->formats, 1) == 0)
        return false;
    push(conn, (struct pg_entry){.kind = PG_ENTRY_EXECUTE, .text = statement->sql, .is_from_before = is_from_before});
    return true;
}

void pg_pipeline_add(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params)
{
    static const struct pg_params no_params = {0};
    bool named = statement->name != NULL && !conn->config.unnamed_statements;

    if (params == NULL)
        params = &no_params;
    assert(params->count == statement->param_count);
    /* One round trip at a time: whether a name is prepared is known only when the results before it are. */
    assert(!has_entries(conn) || conn->entries[conn->entry_count - 1].kind != PG_ENTRY_SYNC);
    if (conn->handle == NULL || conn->send_failed ||
        (PQpipelineStatus(conn->handle) == PQ_PIPELINE_OFF && PQenterPipelineMode(conn->handle) == 0))
        conn->send_failed = true;
    else
        conn->send_failed = !(named ? send_named : send_unnamed)(conn, statement, params);
}

/* --- Both ways over the socket ------------------------------------------------------------------------------------ */

/* Waits for the socket and reads what is there. Once the deadline has passed this still takes what has come
 * already. */
static bool receive(struct pg_conn *conn, bool until_writable, int64_t deadline_ns, struct error *reterr_error)
{
    switch (pg_wait(conn->handle, true, until_writable, deadline_ns)) {
    case PG_WAIT_READY:
        return PQconsumeInput(conn->handle) != 0 || pg_conn_broken(conn, reterr_error);
    case PG_WAIT_TIMEOUT:
        return pg_conn_late(conn, reterr_error);
    case PG_WAIT_FAILED:
        break;
    }
    return pg_conn_broken(conn, reterr_error);
}

/* Sends what libpq has buffered. Reads as well while the socket is full, since the server stops reading when we do. */
static bool flush_all(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    bool is_late = false;
    int left = 0;

    while ((left = PQflush(conn->handle)) != 0) {
        if (left < 0)
            return pg_conn_broken(conn, reterr_error);
        if (is_late)
            return pg_conn_late(conn, reterr_error);
        is_late = clock_left_ms(deadline_ns) == 0;
        if (!receive(conn, true, deadline_ns, reterr_error))
            return false;
    }
    return true;
}

/* The next PGresult, or NULL between two statements; false when the connection broke or time was up. */
static bool next_raw(struct pg_conn *conn, int64_t deadline_ns, PGresult **ret_result, struct error *reterr_error)
{
    bool is_late = false;

    while (PQisBusy(conn->handle) != 0) {
        if (is_late)
            return pg_conn_late(conn, reterr_error);
        is_late = clock_left_ms(deadline_ns) == 0;
        if (!receive(conn, false, deadline_ns, reterr_error))
            return false;
    }
    *ret_result = PQgetResult(conn->handle);
    return true;
}

bool pg_pipeline_flush(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    if (conn->handle == NULL || conn->send_failed || PQpipelineSync(conn->handle) == 0)
        return pg_conn_broken(conn, reterr_error);
    push(conn, (struct pg_entry){.kind = PG_ENTRY_SYNC});
    metrics_add(conn->config.metrics, METRIC_ROUND_TRIPS, 0, 0, 1);
    return flush_all(conn, deadline_ns, reterr_error);
}

/* --- Judging results ---------------------------------------------------------------------------------------------- */

/* The server is ending this connection, or can no longer be written to (a standby, after a failover). PostgreSQL
 * manual, appendix A: 57P0x operator intervention, 08 connection exception, 25006 read-only transaction. */
static bool is_going_away(const PGresult *result, const char *sqlstate)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    return (severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)) ||
           strncmp(sqlstate, "57P0", 4) == 0 || strncmp(sqlstate, "08", 2) == 0 || strcmp(sqlstate, "25006") == 0;
}

/* The name is not known any more (26000: somebody deallocated it), or the tables behind it have changed their form
 * since (0A000, "cached plan must not change result type"). A new connection prepares it anew. */
static bool is_outdated(const struct pg_entry *entry, const char *sqlstate)
{
    return entry->is_from_before && (strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "0A000") == 0);
}

/* True when every function on the way to the error is the product's, or a block that we have sent. A host's
 * trigger may say anything, with any SQLSTATE, and make SQL of values. "PL/" is in a line of each function that could,
 * in every language of messages. */
static bool is_ours_alone(const char *context)
{
    while (context != NULL && *context != '\0') {
        size_t size = strcspn(context, "\n");
        if (memmem(context, size, "PL/", strlen("PL/")) != NULL &&
            memmem(context, size, " leadrouter.", strlen(" leadrouter.")) == NULL &&
            memmem(context, size, " inline_code_block ", strlen(" inline_code_block ")) == NULL)
            return false;
        context += size + (context[size] == '\n' ? 1 : 0);
    }
    return true;
}

/* True when the message speaks of names, types and states, and never of values: what our own functions raise, and
 * otherwise by the class of its SQLSTATE (PostgreSQL manual, appendix A). */
static bool has_safe_message(const PGresult *result, const char *sqlstate)
{
    static const char *const classes[] = {"08", "0A", "0L", "0P", "25", "26", "28", "2B", "3B", "3D", "3F", "40", "42",
        "53", "54", "55", "57", "58", "XX"};
    const char *source = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    if (!is_ours_alone(PQresultErrorField(result, PG_DIAG_CONTEXT)))
        return false;
    if (source != NULL && strcmp(source, "exec_stmt_raise") == 0)
        return true;
    for (size_t i = 0; i < COUNT_OF(classes); i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return strcmp(sqlstate, "42601") != 0; /* quotes SQL */
    return false;
}

/* What went wrong, in words that may be logged: messages about data quote it, and what a host's trigger raises may say anything. */
static void set_message(const PGresult *result, const char *sqlstate, struct error *reterr_error)
{
    static const struct {
        int field;
        const char *name;
    } parts[] = {{PG_DIAG_CONSTRAINT_NAME, "constraint"}, {PG_DIAG_TABLE_NAME, "table"},
        {PG_DIAG_COLUMN_NAME, "column"}, {PG_DIAG_DATATYPE_NAME, "type"}};
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char text[ERROR_TEXT_SIZE] = "refused by the database";
    size_t size = strlen(text);

    if (has_safe_message(result, sqlstate)) {
        error_set_sql(reterr_error, ERROR_DATABASE, sqlstate, "%s", message == NULL ? "no message" : message);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const char *value = PQresultErrorField(result, parts[i].field);
        if (value != NULL && size < sizeof(text))
            size += (size_t)snprintf(text + size, sizeof(text) - size, ", %s %s", parts[i].name, value);
    }
    error_set_sql(reterr_error, ERROR_DATABASE, sqlstate, "%s", text);
}

/* Turns a failed result into an error; closes the connection when it is of no further use. */
static void set_result_error(
    struct pg_conn *conn, const PGresult *result, const struct pg_entry *entry, struct error *reterr_error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (sqlstate != NULL)
        metrics_add(conn->config.metrics, METRIC_SQLSTATES, metrics_sqlstate(sqlstate), 0, 1);
    if (sqlstate == NULL) {
        pg_conn_broken(conn, reterr_error);
    } else if (is_going_away(result, sqlstate)) {
        error_set_sql(reterr_error, ERROR_UNAVAILABLE, sqlstate, "%s",
            strcmp(sqlstate, "25006") == 0 ? "the database is read-only" : "the database ended the connection");
        pg_conn_close(conn);
    } else if (is_outdated(entry, sqlstate)) {
        error_set_sql(reterr_error, ERROR_UNAVAILABLE, sqlstate, "a prepared statement is out of date");
        pg_conn_close(conn);
    } else {
        set_message(result, sqlstate, reterr_error);
    }
}

/* Where the statement's first word begins. Comments nest. */
static const char *first_word(const char *sql)
{
    int depth = 0;

    while (*sql != '\0') {
        if (strncmp(sql, "/*", 2) == 0) {
            depth++;
            sql += 2;
        } else if (depth > 0 && strncmp(sql, "*/", 2) == 0) {
            depth--;
            sql += 2;
        } else if (depth == 0 && strncmp(sql, "--", 2) == 0) {
            sql += strcspn(sql, "\n");
        } else if (depth > 0 || isspace((unsigned char)*sql)) {
            sql++;
        } else {
            break;
        }
    }
    return sql;
}

/* A COMMIT of a failed transaction is answered with ROLLBACK, which would pass for success. */
static bool is_refused_commit(PGresult *result, const struct pg_entry *entry)
{
    if (entry->text == NULL || strcmp(PQcmdStatus(result), "ROLLBACK") != 0)
        return false;
    const char *word = first_word(entry->text);
    return strncasecmp(word, "rollback", strlen("rollback")) != 0 && strncasecmp(word, "abort", strlen("abort")) != 0;
}

/* Judges one result of the statement of `entry`; takes it over. `ret_result` may be NULL. */
static bool judge(struct pg_conn *conn, PGresult *result, const struct pg_entry *entry, struct pg_result **ret_result,
    struct error *reterr_error)
{
    bool ok = false;

    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        ok = !is_refused_commit(result, entry);
        if (!ok)
            error_set_sql(reterr_error, ERROR_DATABASE, "25P02", "the transaction was rolled back");
        break;
    case PGRES_PIPELINE_ABORTED:
        error_set(reterr_error, ERROR_DATABASE, "skipped after an earlier error");
        break;
    default:
        set_result_error(conn, result, entry, reterr_error);
        break;
    }
    if (ok && ret_result != NULL)
        *ret_result = pg_result_new(result);
    else
        PQclear(result);
    return ok;
}

/* --- Taking results ----------------------------------------------------------------------------------------------- */

/* Takes the result of one entry that is no sync point, and the NULL after it. */
static bool take(struct pg_conn *conn, const struct pg_entry *entry, int64_t deadline_ns, struct pg_result **ret_result,
    struct error *reterr_error)
{
    PGresult *raw = NULL;
    struct pg_result *result = NULL;

    if (!next_raw(conn, deadline_ns, &raw, reterr_error))
        return false;
    bool ok = judge(conn, raw, entry, ret_result == NULL ? NULL : &result, reterr_error);
    while (conn->handle != NULL) {
        if (!next_raw(conn, deadline_ns, &raw, reterr_error))
            ok = false;
        else if (raw == NULL)
            break;
        else
            PQclear(raw);
    }
    if (ok && ret_result != NULL)
        *ret_result = result;
    else
        pg_result_free(result);
    return ok;
}

bool pg_pipeline_next(
    struct pg_conn *conn, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    struct error prepare_error = {0};

    if (conn->handle == NULL)
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
    struct pg_entry entry = pop(conn);
    if (entry.kind == PG_ENTRY_PREPARE) {
        if (take(conn, &entry, deadline_ns, NULL, &prepare_error)) {
            remember_prepared(conn, entry.text);
        } else if (conn->handle == NULL) {
            if (reterr_error != NULL)
                *reterr_error = prepare_error;
            return false;
        }
        entry = pop(conn);
    }
    assert(entry.kind == PG_ENTRY_EXECUTE);
    if (take(conn, &entry, deadline_ns, ret_result, reterr_error))
        return true;
    /* The statement was skipped because it could not be prepared: that is its error. */
    if (conn->handle != NULL && prepare_error.code != ERROR_NONE && reterr_error != NULL)
        *reterr_error = prepare_error;
    return false;
}

/* Takes the sync point. Without BEGIN the server commits here, and so may fail here (deferred constraints,
 * serialization). */
static bool take_sync(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    static const struct pg_entry no_entry = {.kind = PG_ENTRY_SYNC};
    struct error error = {0};
    PGresult *raw = NULL;

    if (!next_raw(conn, deadline_ns, &raw, reterr_error))
        return false;
    if (PQresultStatus(raw) != PGRES_PIPELINE_SYNC) {
        if (judge(conn, raw, &no_entry, NULL, &error))
            return pg_conn_broken(conn, reterr_error);
        if (conn->handle != NULL && (!next_raw(conn, deadline_ns, &raw, reterr_error) ||
                                        (raw == NULL && !next_raw(conn, deadline_ns, &raw, reterr_error))))
            return false;
    }
    if (conn->handle != NULL) {
        bool is_sync = PQresultStatus(raw) == PGRES_PIPELINE_SYNC;
        PQclear(raw);
        if (!is_sync)
            return pg_conn_broken(conn, reterr_error);
    }
    if (error.code != ERROR_NONE && reterr_error != NULL)
        *reterr_error = error;
    return error.code == ERROR_NONE;
}

bool pg_pipeline_end(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    if (conn->handle == NULL)
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
    if (!has_entries(conn))
        return true;
    assert(conn->entries[conn->entry_count - 1].kind == PG_ENTRY_SYNC); /* flushed */
    while (conn->entries[conn->entry_next].kind != PG_ENTRY_SYNC) {
        struct error error = {0};
        if (!pg_pipeline_next(conn, deadline_ns, NULL, &error) && conn->handle == NULL) {
            if (reterr_error != NULL)
                *reterr_error = error;
            return false;
        }
    }
    pop(conn);
    return take_sync(conn, deadline_ns, reterr_error);
}

/* --- All in one --------------------------------------------------------------------------------------------------- */

bool pg_execute(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    struct pg_result *result = NULL;

    assert(!has_entries(conn));
    pg_pipeline_add(conn, statement, params);
    if (!pg_pipeline_flush(conn, deadline_ns, reterr_error))
        return false;
    bool ok = pg_pipeline_next(conn, deadline_ns, ret_result == NULL ? NULL : &result, reterr_error);
    if (conn->handle != NULL && !pg_pipeline_end(conn, deadline_ns, ok ? reterr_error : NULL))
        ok = false;
    if (ok && ret_result != NULL)
        *ret_result = result;
    else
        pg_result_free(result);
    return ok;
}

bool pg_execute_script(struct pg_conn *conn, const char *sql, int64_t deadline_ns, struct error *reterr_error)
{
    /* In a failed transaction only the first statement can be the COMMIT that is refused: an error ends the script. */
    struct pg_entry entry = {.kind = PG_ENTRY_EXECUTE, .text = sql};
    struct error error = {0};
    PGresult *raw = NULL;
    bool ok = true;

    assert(!has_entries(conn));
    if (conn->handle == NULL || conn->send_failed ||
        (PQpipelineStatus(conn->handle) != PQ_PIPELINE_OFF && PQexitPipelineMode(conn->handle) == 0) ||
        PQsendQuery(conn->handle, sql) == 0)
        return pg_conn_broken(conn, reterr_error);
    metrics_add(conn->config.metrics, METRIC_ROUND_TRIPS, 0, 0, 1);
    if (!flush_all(conn, deadline_ns, reterr_error))
        return false;
    while (conn->handle != NULL) {
        if (!next_raw(conn, deadline_ns, &raw, reterr_error))
            return false;
        if (raw == NULL)
            break;
        if (!judge(conn, raw, &entry, NULL, ok ? &error : NULL))
            ok = false;
        entry.text = NULL;
    }
    if (!ok && reterr_error != NULL)
        *reterr_error = error;
    return ok;
}
