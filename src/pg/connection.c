#include "pg/connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

enum { CONNECT_TIMEOUT_MS = 5000, SETTINGS_MAX = 24, ROLE_SIZE_MAX = 63 /* NAMEDATALEN - 1 */ };

struct pg_conn *pg_conn_new(const struct pg_config *config)
{
    struct pg_conn *conn = memory_new(sizeof(*conn));

    assert(config->url != NULL);
    conn->config = *config;
    pthread_mutex_init(&conn->cancel_lock, NULL);
    return conn;
}

void pg_conn_free(struct pg_conn *conn)
{
    if (conn == NULL)
        return;
    pg_conn_close(conn);
    pthread_mutex_destroy(&conn->cancel_lock);
    free(conn->prepared);
    free(conn->entries);
    free(conn);
}

void pg_conn_close(struct pg_conn *conn)
{
    pthread_mutex_lock(&conn->cancel_lock);
    PQfreeCancel(conn->cancel);
    conn->cancel = NULL;
    PQfinish(conn->handle);
    conn->handle = NULL;
    pthread_mutex_unlock(&conn->cancel_lock);
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

int pg_conn_backend_pid(const struct pg_conn *conn)
{
    return conn->handle == NULL ? 0 : PQbackendPID(conn->handle);
}

void pg_conn_cancel(struct pg_conn *conn)
{
    char ignored[256];

    pthread_mutex_lock(&conn->cancel_lock);
    if (conn->cancel != NULL)
        PQcancel(conn->cancel, ignored, sizeof(ignored));
    pthread_mutex_unlock(&conn->cancel_lock);
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
        if (ready == 0)
            return PG_WAIT_TIMEOUT;
        if (errno != EINTR)
            return PG_WAIT_FAILED;
    }
}

bool pg_conn_broken(struct pg_conn *conn, struct error *reterr_error)
{
    pg_conn_close(conn);
    return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
}

bool pg_conn_late(struct pg_conn *conn, struct error *reterr_error)
{
    pg_conn_cancel(conn);
    pg_conn_close(conn);
    return error_set(reterr_error, ERROR_DEADLINE, "the database did not answer in time");
}

/* --- Connecting ------------------------------------------------------------------------------------------------------ */

struct settings {
    const char *keys[SETTINGS_MAX];
    const char *values[SETTINGS_MAX];
    size_t count;
};

static void settings_add(struct settings *settings, const char *key, const char *value)
{
    assert(settings->count + 1 < SETTINGS_MAX);
    settings->keys[settings->count] = key;
    settings->values[settings->count] = value;
    settings->count++;
}

/* True when the URL itself says something about `key`. */
static bool url_names(const PQconninfoOption *options, const char *key)
{
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (strcmp(option->keyword, key) == 0)
            return option->val != NULL;
    return false;
}

/* Ours come after the URL where they must hold, and only where the URL is silent where they are defaults. */
static bool settings_from(const struct pg_config *config, struct settings *ret_settings, struct error *reterr_error)
{
    static const char *const defaults[][2] = {
        {"target_session_attrs", "read-write"},
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "30000"},
    };
    char *ignored = NULL;
    PQconninfoOption *options = PQconninfoParse(config->url, &ignored);

    PQfreemem(ignored); /* may quote the URL */
    if (options == NULL)
        return error_set(reterr_error, ERROR_INVALID, "the database URL is not a valid connection string");
    *ret_settings = (struct settings){0};
    settings_add(ret_settings, "dbname", config->url);
    for (size_t i = 0; i < COUNT_OF(defaults); i++)
        if (!url_names(options, defaults[i][0]))
            settings_add(ret_settings, defaults[i][0], defaults[i][1]);
    PQconninfoFree(options);
    if (config->application_name != NULL)
        settings_add(ret_settings, "application_name", config->application_name);
    settings_add(ret_settings, "client_encoding", "UTF8");
    return true;
}

static void ignore_notice(void *user, const char *message)
{
    (void)user;
    (void)message;
}

/* libpq has no SQLSTATE for a failed connection, only text, which may quote the URL: the class is taken from it and the text is ours. */
static bool connect_failed(PGconn *handle, struct error *reterr_error)
{
    static const struct {
        const char *sign;
        enum error_code code;
        const char *text;
    } signs[] = {
        {"password authentication failed", ERROR_PERMISSION, "the database refused the login"},
        {"Peer authentication failed", ERROR_PERMISSION, "the database refused the login"},
        {"is not permitted to log in", ERROR_PERMISSION, "the database refused the login"},
        {"no pg_hba.conf entry", ERROR_PERMISSION, "the database refused the login"},
        {"no password supplied", ERROR_PERMISSION, "the database wants a password"},
        {"permission denied for database", ERROR_PERMISSION, "the role may not connect to the database"},
        {"role \"", ERROR_PERMISSION, "the role does not exist in the database"},
        {"database \"", ERROR_PERMISSION, "the database does not exist"},
        {"starting up", ERROR_UNAVAILABLE, "the database is starting up"},
        {"shutting down", ERROR_UNAVAILABLE, "the database is shutting down"},
        {"too many clients", ERROR_UNAVAILABLE, "the database has too many clients"},
        {"remaining connection slots", ERROR_UNAVAILABLE, "the database has too many clients"},
        {"read-only", ERROR_UNAVAILABLE, "the database is read-only"},
        {"Connection refused", ERROR_UNAVAILABLE, "could not connect to the database: connection refused"},
        {"No such file or directory", ERROR_UNAVAILABLE,
            "could not connect to the database: nobody listens on the socket"},
        {"could not translate host name", ERROR_UNAVAILABLE, "could not connect to the database: unknown host"},
    };
    const char *message = PQerrorMessage(handle);

    for (size_t i = 0; i < COUNT_OF(signs); i++)
        if (strstr(message, signs[i].sign) != NULL)
            return error_set(reterr_error, signs[i].code, "%s", signs[i].text);
    return error_set(reterr_error, ERROR_UNAVAILABLE, "could not connect to the database");
}

static bool poll_connection(PGconn *handle, int64_t deadline_ns, struct error *reterr_error)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    while (true) {
        if (PQstatus(handle) == CONNECTION_BAD)
            return connect_failed(handle, reterr_error);
        switch (pg_wait(handle, status == PGRES_POLLING_READING, status == PGRES_POLLING_WRITING, deadline_ns)) {
        case PG_WAIT_READY:
            break;
        case PG_WAIT_TIMEOUT:
            return error_set(reterr_error, ERROR_DEADLINE, "could not connect to the database in time");
        case PG_WAIT_FAILED:
            return connect_failed(handle, reterr_error);
        }
        status = PQconnectPoll(handle);
        if (status == PGRES_POLLING_OK)
            return true;
        if (status == PGRES_POLLING_FAILED)
            return connect_failed(handle, reterr_error);
    }
}

/* A name as an SQL identifier. */
static bool quote_role(PGconn *handle, const char *role, char *ret_sql, size_t size, struct error *reterr_error)
{
    if (strlen(role) > ROLE_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "the role's name is longer than %d bytes", ROLE_SIZE_MAX);
    char *quoted = PQescapeIdentifier(handle, role, strlen(role));
    if (quoted == NULL)
        return error_set(reterr_error, ERROR_INVALID, "the role's name cannot be quoted");
    snprintf(ret_sql, size, "set timezone = 'UTC'; set role %s", quoted);
    PQfreemem(quoted);
    return true;
}

static bool set_session(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    char sql[256] = "set timezone = 'UTC'";

    if (conn->config.role != NULL && !quote_role(conn->handle, conn->config.role, sql, sizeof(sql), reterr_error))
        return false;
    return pg_execute_script(conn, sql, deadline_ns, reterr_error);
}

bool pg_conn_open(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    struct settings settings;
    int timeout_ms = conn->config.connect_timeout_ms == 0 ? CONNECT_TIMEOUT_MS : conn->config.connect_timeout_ms;
    int64_t until_ns = clock_after_ms(timeout_ms);

    if (conn->handle != NULL)
        return true;
    if (!settings_from(&conn->config, &settings, reterr_error))
        return false;
    if (deadline_ns < until_ns)
        until_ns = deadline_ns;
    PGconn *handle = PQconnectStartParams(settings.keys, settings.values, 1);
    assert(handle != NULL);
    PQsetNoticeProcessor(handle, ignore_notice, NULL);
    if (!poll_connection(handle, until_ns, reterr_error)) {
        PQfinish(handle);
        return false;
    }
    if (PQsetnonblocking(handle, 1) != 0) {
        PQfinish(handle);
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the connection to the database broke");
    }
    pthread_mutex_lock(&conn->cancel_lock);
    conn->handle = handle;
    conn->cancel = PQgetCancel(handle);
    pthread_mutex_unlock(&conn->cancel_lock);
    if (!set_session(conn, until_ns, reterr_error)) {
        pg_conn_close(conn);
        return false;
    }
    return true;
}
