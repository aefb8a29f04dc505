#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pg/connection.h"

enum { CONNECT_TIMEOUT_MS = 5000, ROLE_SIZE_MAX = 63 /* NAMEDATALEN - 1 */ };

struct pg_conn *pg_conn_new(const struct pg_config *config)
{
    struct pg_conn *conn = memory_new(sizeof(*conn));

    assert(config->url != NULL && config->connect_timeout_ms >= 0);
    conn->config = *config;
    return conn;
}

void pg_conn_free(struct pg_conn *conn)
{
    if (conn == NULL)
        return;
    pg_conn_close(conn);
    free(conn->prepared);
    free(conn->entries);
    free(conn);
}

void pg_conn_close(struct pg_conn *conn)
{
    PQfinish(conn->handle);
    conn->handle = NULL;
    conn->prepared_count = 0;
    conn->entry_count = 0;
    conn->entry_next = 0;
    conn->send_failed = false;
}

bool pg_conn_is_open(const struct pg_conn *conn)
{
    return conn->handle != NULL;
}

int pg_conn_descriptor(const struct pg_conn *conn)
{
    return conn->handle == NULL ? -1 : PQsocket(conn->handle);
}

bool pg_conn_take_notifications(struct pg_conn *conn, bool *ret_any, struct error *reterr_error)
{
    PGnotify *notification = NULL;

    *ret_any = false;
    if (conn->handle == NULL || PQconsumeInput(conn->handle) == 0)
        return pg_conn_broken(conn, reterr_error);
    while ((notification = PQnotifies(conn->handle)) != NULL) {
        *ret_any = true;
        PQfreemem(notification);
    }
    return true;
}

int pg_conn_backend_pid(const struct pg_conn *conn)
{
    return conn->handle == NULL ? 0 : PQbackendPID(conn->handle);
}

enum pg_wait pg_wait(PGconn *handle, bool read, bool write, int64_t deadline_ns)
{
    struct pollfd poll_one = {.fd = PQsocket(handle), .events = (short)((read ? POLLIN : 0) | (write ? POLLOUT : 0))};

    if (poll_one.fd < 0)
        return PG_WAIT_FAILED;
    while (true) {
        int ready = poll(&poll_one, 1, clock_left_ms(deadline_ns));
        if (ready > 0)
            return PG_WAIT_READY;
        if (ready < 0 && errno != EINTR)
            return PG_WAIT_FAILED;
        if (ready == 0 && clock_left_ms(deadline_ns) == 0)
            return PG_WAIT_TIMEOUT;
    }
}

bool pg_conn_broken(struct pg_conn *conn, struct error *reterr_error)
{
    pg_conn_close(conn);
    return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
}

bool pg_conn_late(struct pg_conn *conn, struct error *reterr_error)
{
    pg_cancel_send(conn->handle);
    pg_conn_close(conn);
    return error_set(reterr_error, ERROR_DEADLINE, "the database did not answer in time");
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

/* Time zone and role, in one round trip. */
static bool set_session(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    const char *role = conn->config.role;
    char sql[256] = "set timezone = 'UTC'";
    struct error error = {0};

    if (role != NULL) {
        if (strlen(role) > ROLE_SIZE_MAX)
            return error_set(reterr_error, ERROR_INVALID, "the role's name is longer than %d bytes", ROLE_SIZE_MAX);
        char *quoted = PQescapeIdentifier(conn->handle, role, strlen(role));
        if (quoted == NULL)
            return error_set(reterr_error, ERROR_INVALID, "the role's name is not valid text");
        snprintf(sql, sizeof(sql), "set timezone = 'UTC'; set role %s", quoted);
        PQfreemem(quoted);
    }
    if (pg_execute_script(conn, sql, deadline_ns, &error))
        return true;
    /* 42501: may not become that role; 22023: there is no such role. */
    if (strcmp(error.sqlstate, "42501") == 0 || strcmp(error.sqlstate, "22023") == 0)
        error.code = ERROR_PERMISSION;
    if (reterr_error != NULL)
        *reterr_error = error;
    return false;
}

bool pg_conn_open(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    int timeout_ms = conn->config.connect_timeout_ms == 0 ? CONNECT_TIMEOUT_MS : conn->config.connect_timeout_ms;
    int64_t until_ns = clock_after_ms(timeout_ms);
    struct error error = {0};

    if (conn->handle != NULL)
        return true;
    conn->send_failed = false;
    if (deadline_ns < until_ns)
        until_ns = deadline_ns;
    if (pg_connect(&conn->config, until_ns, &conn->handle, &error)) {
        if (PQsetnonblocking(conn->handle, 1) != 0)
            return pg_conn_broken(conn, reterr_error);
        if (set_session(conn, until_ns, &error)) {
            metrics_add(conn->config.metrics, METRIC_CONNECTS, METRICS_RESULT_OK, 0, 1);
            return true;
        }
        pg_conn_close(conn);
    } else if (error.sqlstate[0] != '\0') {
        metrics_add(conn->config.metrics, METRIC_SQLSTATES, metrics_sqlstate(error.sqlstate), 0, 1);
    }
    metrics_add(conn->config.metrics, METRIC_CONNECTS, METRICS_RESULT_FAILED, 0, 1);
    /* A server that says nothing for the time that connecting may take is away; the caller's own time may not be
     * over. */
    if (error.code == ERROR_DEADLINE && clock_left_ms(deadline_ns) > 0)
        error.code = ERROR_UNAVAILABLE;
    if (reterr_error != NULL)
        *reterr_error = error;
    return false;
}
