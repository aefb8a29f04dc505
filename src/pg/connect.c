#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pg/connection.h"

/* --- What libpq is told ------------------------------------------------------------------------------------------- */

/* Where the URL is silent. */
static const char *const defaults[][2] = {
    {"target_session_attrs", "read-write"},
    {"keepalives_idle", "30"},
    {"keepalives_interval", "10"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "30000"},
};

/* Keywords and values as PQconnectStartParams() takes them; the strings are borrowed. */
struct settings {
    const char **keys;
    const char **values;
    size_t count;
    size_t capacity;
};

static void settings_add(struct settings *settings, const char *key, const char *value)
{
    assert(settings->count + 1 < settings->capacity); /* a NULL ends the arrays */
    settings->keys[settings->count] = key;
    settings->values[settings->count] = value;
    settings->count++;
}

/* The URL's value for `key`, or NULL; borrowed from `options`. */
static const char *url_value(const PQconninfoOption *options, const char *key)
{
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (strcmp(option->keyword, key) == 0)
            return option->val;
    return NULL;
}

static bool is_ours(const struct pg_config *config, const char *key)
{
    return strcmp(key, "host") == 0 || strcmp(key, "hostaddr") == 0 || strcmp(key, "port") == 0 ||
           strcmp(key, "client_encoding") == 0 ||
           (strcmp(key, "application_name") == 0 && config->application_name != NULL);
}

/* Everything but the host. */
static void settings_init(struct settings *settings, const struct pg_config *config, const PQconninfoOption *options)
{
    enum { HOST_KEYS = 3, OWN_KEYS = 2, END = 1 };
    size_t option_count = 0;

    while (options[option_count].keyword != NULL)
        option_count++;
    settings->count = 0;
    settings->capacity = option_count + COUNT_OF(defaults) + HOST_KEYS + OWN_KEYS + END;
    settings->keys = memory_new_array(settings->capacity, sizeof(*settings->keys));
    settings->values = memory_new_array(settings->capacity, sizeof(*settings->values));
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (option->val != NULL && !is_ours(config, option->keyword))
            settings_add(settings, option->keyword, option->val);
    for (size_t i = 0; i < COUNT_OF(defaults); i++)
        if (url_value(options, defaults[i][0]) == NULL)
            settings_add(settings, defaults[i][0], defaults[i][1]);
    if (config->application_name != NULL)
        settings_add(settings, "application_name", config->application_name);
    settings_add(settings, "client_encoding", "UTF8");
}

static void settings_release(struct settings *settings)
{
    free(settings->keys);
    free(settings->values);
}

/* "password" and "sslpassword": libpq marks what should not be shown so. */
static bool is_secret(const PQconninfoOption *option)
{
    return option->val != NULL && option->val[0] != '\0' && strcmp(option->dispchar, "*") == 0;
}

/* Values that only the database shall know. libpq does not overwrite what PQconninfoParse() has made. */
static void wipe_secrets(PQconninfoOption *options)
{
    for (PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (is_secret(option))
            explicit_bzero(option->val, strlen(option->val));
}

bool pg_url_has_secret(const char *url)
{
    char *ignored = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &ignored);
    bool has_secret = false;

    PQfreemem(ignored);
    if (options == NULL)
        return false;
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        has_secret = has_secret || is_secret(option);
    wipe_secrets(options);
    PQconninfoFree(options);
    return has_secret;
}

/* --- Hosts: lists with commas, as libpq has them ------------------------------------------------------------------ */

static size_t list_count(const char *list)
{
    size_t count = 1;

    if (list == NULL)
        return 0;
    for (const char *comma = strchr(list, ','); comma != NULL; comma = strchr(comma + 1, ','))
        count++;
    return count;
}

/* Element `index`, or the only one; NULL when there is no list. The result is the caller's, released with free(). */
static char *list_element(const char *list, size_t index)
{
    if (list == NULL)
        return NULL;
    if (list_count(list) == 1)
        return memory_copy_string(list);
    for (; index > 0; index--)
        list = strchr(list, ',') + 1;
    size_t size = strcspn(list, ",");
    char *element = memory_new(size + 1);
    memcpy(element, list, size);
    return element;
}

/* How many hosts the URL names, one at least; 0 when its lists do not match. */
static size_t host_count(const PQconninfoOption *options)
{
    size_t hosts = list_count(url_value(options, "host"));
    size_t addresses = list_count(url_value(options, "hostaddr"));
    size_t ports = list_count(url_value(options, "port"));
    size_t count = addresses > 0 ? addresses : hosts > 0 ? hosts : 1;

    if ((hosts > 0 && hosts != count) || (ports > 1 && ports != count))
        return 0;
    return count;
}

/* --- Why it failed ------------------------------------------------------------------------------------------------ */

/* The SQLSTATE in libpq's message about a refused connection, which ends with "FATAL:  28P01" since pg_connect()
 * asks for that form; false when the server did not say. It is the same in every language, unlike the text. */
static bool find_sqlstate(const char *message, char ret_sqlstate[ERROR_SQLSTATE_SIZE])
{
    enum { LENGTH = ERROR_SQLSTATE_SIZE - 1 };
    size_t size = strlen(message);

    while (size > 0 && isspace((unsigned char)message[size - 1]))
        size--;
    if (size < LENGTH + 2 || strncmp(message + size - LENGTH - 2, "  ", 2) != 0)
        return false;
    for (size_t i = size - LENGTH; i < size; i++)
        if (!isdigit((unsigned char)message[i]) && !isupper((unsigned char)message[i]))
            return false;
    memcpy(ret_sqlstate, message + size - LENGTH, LENGTH);
    ret_sqlstate[LENGTH] = '\0';
    return true;
}

/* The server answered and refused. */
static bool refused(const char *sqlstate, struct error *reterr_error)
{
    static const struct {
        const char *sqlstate; /* the beginning of it; PostgreSQL manual, appendix A */
        enum error_code code;
        const char *text;
    } refusals[] = {
        {"28", ERROR_PERMISSION, "the database refused the login"},
        {"42501", ERROR_PERMISSION, "the role may not connect to the database"},
        {"3D000", ERROR_PERMISSION, "the database does not exist"},
        {"57P03", ERROR_UNAVAILABLE, "the database is starting up or shutting down"},
        {"53300", ERROR_UNAVAILABLE, "the database has too many clients"},
        {"", ERROR_UNAVAILABLE, "the database refused the connection"},
    };
    size_t i = 0;

    while (strncmp(sqlstate, refusals[i].sqlstate, strlen(refusals[i].sqlstate)) != 0)
        i++;
    return error_set_sql(reterr_error, refusals[i].code, sqlstate, "%s", refusals[i].text);
}

/* Says why in words of ours: libpq's may quote the URL. */
static bool connect_failed(PGconn *handle, struct error *reterr_error)
{
    static const struct {
        const char *sign; /* libpq's own words, not the server's */
        enum error_code code;
        const char *text;
    } signs[] = {
        {"read-only", ERROR_UNAVAILABLE, "the database is read-only"},
        {"in hot standby", ERROR_UNAVAILABLE, "the database is read-only"},
        {"Connection refused", ERROR_UNAVAILABLE, "could not connect to the database: connection refused"},
        {"No such file or directory", ERROR_UNAVAILABLE,
            "could not connect to the database: nobody listens on the socket"},
        {"could not translate host name", ERROR_UNAVAILABLE, "could not connect to the database: unknown host"},
        {"SSL", ERROR_UNAVAILABLE, "could not connect to the database: no agreement on TLS"},
    };
    const char *message = PQerrorMessage(handle);
    char sqlstate[ERROR_SQLSTATE_SIZE];

    if (find_sqlstate(message, sqlstate))
        return refused(sqlstate, reterr_error);
    if (PQconnectionNeedsPassword(handle) != 0)
        return error_set(reterr_error, ERROR_PERMISSION, "the database wants a password");
    if (strncmp(message, "invalid ", strlen("invalid ")) == 0)
        return error_set(reterr_error, ERROR_INVALID, "the database URL has a value that is not allowed");
    for (size_t i = 0; i < COUNT_OF(signs); i++)
        if (strstr(message, signs[i].sign) != NULL)
            return error_set(reterr_error, signs[i].code, "%s", signs[i].text);
    return error_set(reterr_error, ERROR_UNAVAILABLE, "could not connect to the database");
}

/* --- Connecting --------------------------------------------------------------------------------------------------- */

static void ignore_notice(void *user, const char *message)
{
    (void)user;
    (void)message;
}

static bool poll_connection(PGconn *handle, int64_t deadline_ns, struct error *reterr_error)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    if (PQstatus(handle) == CONNECTION_BAD)
        return connect_failed(handle, reterr_error);
    while (status != PGRES_POLLING_OK) {
        switch (pg_wait(handle, status == PGRES_POLLING_READING, status == PGRES_POLLING_WRITING, deadline_ns)) {
        case PG_WAIT_READY:
            break;
        case PG_WAIT_TIMEOUT:
            return error_set(reterr_error, ERROR_DEADLINE, "could not connect to the database in time");
        case PG_WAIT_FAILED:
            return connect_failed(handle, reterr_error);
        }
        status = PQconnectPoll(handle);
        if (status == PGRES_POLLING_FAILED)
            return connect_failed(handle, reterr_error);
    }
    return true;
}

static bool connect_to_host(const struct settings *common, const PQconninfoOption *options, size_t index,
    int64_t deadline_ns, PGconn **ret_handle, struct error *reterr_error)
{
    static const char *const keys[] = {"host", "hostaddr", "port"};
    char *elements[COUNT_OF(keys)];
    struct settings settings = *common; /* its arrays have room for these */

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        elements[i] = list_element(url_value(options, keys[i]), index);
        if (elements[i] != NULL)
            settings_add(&settings, keys[i], elements[i]);
    }
    settings.keys[settings.count] = NULL;
    PGconn *handle = PQconnectStartParams(settings.keys, settings.values, 0);
    assert(handle != NULL);
    PQsetNoticeProcessor(handle, ignore_notice, NULL);
    PQsetErrorVerbosity(handle, PQERRORS_SQLSTATE);
    bool ok = poll_connection(handle, deadline_ns, reterr_error);
    if (ok)
        *ret_handle = handle;
    else
        PQfinish(handle);
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        free(elements[i]);
    return ok;
}

/* libpq would go through the hosts itself, but when it is polled it gives the first one all the time there is: a
 * host that swallows packets would keep us from ever reaching the next. */
bool pg_connect(const struct pg_config *config, int64_t deadline_ns, PGconn **ret_handle, struct error *reterr_error)
{
    char *ignored = NULL;
    PQconninfoOption *options = PQconninfoParse(config->url, &ignored);
    struct settings settings;
    struct error error = {0};
    bool ok = false;

    PQfreemem(ignored); /* may quote the URL */
    if (options == NULL)
        return error_set(reterr_error, ERROR_INVALID, "the database URL is not a valid connection string");
    settings_init(&settings, config, options);
    size_t count = host_count(options);
    if (count == 0)
        error_set(&error, ERROR_INVALID, "the database URL does not have as many ports or addresses as hosts");
    for (size_t i = 0; i < count && !ok; i++) {
        struct error host_error = {0};
        int left_ms = clock_left_ms(deadline_ns);
        int64_t until_ns = i + 1 == count ? deadline_ns : clock_after_ms(left_ms / (int)(count - i));
        ok = connect_to_host(&settings, options, i, until_ns, ret_handle, &host_error);
        /* Of several reasons a refused login is the one to tell: it needs a person, and the others may pass. */
        if (!ok && error.code != ERROR_PERMISSION)
            error = host_error;
    }
    settings_release(&settings);
    wipe_secrets(options);
    PQconninfoFree(options);
    if (!ok && reterr_error != NULL)
        *reterr_error = error;
    return ok;
}
