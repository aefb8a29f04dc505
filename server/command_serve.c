/* leadrouterd serve: puts the parts together, waits for a signal, takes them apart in order. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "command.h"
#include "config.h"
#include "embedded.h"
#include "migrate.h"
#include "service.h"
#include "version.h"

enum {
    WORKERS = 4,
    WORKERS_WAITING_MAX = 1000,
    DATABASE_WAIT_MS = 5000,
    DATABASE_POLL_MS = 100,
    ADDRESS_SIZE = 128,
};

static const char usage[] =
    "Usage: leadrouterd serve (--database URL | --embedded DIR) [SETTINGS]\n\n"
    "Serves gRPC until SIGTERM or SIGINT, then lets the calls under way end. A second signal ends it at once.\n"
    "The database must have the schema of this build (leadrouterd migrate up); the URL should log in as\n"
    "leadrouter_service. Logs are JSON, a line each, on standard error.";

/* Everything a server has; taken apart in reverse. */
struct serving {
    struct config config;
    struct embedded *embedded;
    struct pg_config database;
    struct service service;
    struct grpc_c_server *server;
    char address[ADDRESS_SIZE]; /* with the real port */
};

static int fail(const struct error *error)
{
    const struct log_field fields[] = {
        LOG_STRING("error", error->text),
        LOG_STRING("sqlstate", error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_END,
    };

    log_write(LOG_LEVEL_ERROR, "server.failed", "could not start", fields);
    return EXIT_FAILED;
}

/* --- The database
 * ----------------------------------------------------------------------------------------------------------- */

static bool start_embedded(struct serving *serving, struct error *reterr_error)
{
    struct embedded_options options = {.directory = serving->config.embedded, .disposable = serving->config.disposable};
    FILE *quiet = NULL;
    bool ok = false;

    if (!embedded_start(&options, &serving->embedded, reterr_error))
        return false;
    quiet = fopen("/dev/null", "we");
    if (quiet == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "could not open /dev/null");
    struct migrate_options migrate = {.url = embedded_admin_url(serving->embedded), .output = quiet};
    ok = migrate_up(&migrate, reterr_error);
    fclose(quiet);
    return ok;
}

/* Waits a little for a database that is just starting; whoever supervises us starts us again when it takes longer. */
static bool check_schema(struct serving *serving, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(DATABASE_WAIT_MS);
    int version = 0;

    while (!migrate_version(&serving->database, &version, reterr_error)) {
        if (reterr_error->code != ERROR_UNAVAILABLE && reterr_error->code != ERROR_DEADLINE)
            return false;
        if (clock_now_ns() > deadline_ns)
            return error_add_context(reterr_error, "the database is away");
        poll(NULL, 0, DATABASE_POLL_MS);
    }
    serving->service.schema_version = version;
    if (version < migrate_schema_version)
        return error_set(reterr_error, ERROR_INVALID,
            "the database has schema version %d, this build needs %d: run leadrouterd migrate up", version,
            migrate_schema_version);
    if (version > migrate_schema_version)
        return error_set(reterr_error, ERROR_INVALID,
            "the database has schema version %d, this build knows only %d: run a newer leadrouterd", version,
            migrate_schema_version);
    return true;
}

static bool open_database(struct serving *serving, struct error *reterr_error)
{
    if (serving->config.embedded != NULL && !start_embedded(serving, reterr_error))
        return false;
    serving->database = (struct pg_config){
        .url = serving->embedded == NULL ? serving->config.database : embedded_service_url(serving->embedded),
        .role = "leadrouter_service",
        .application_name = "leadrouterd",
        .unnamed_statements = serving->config.unnamed_statements,
    };
    return check_schema(serving, reterr_error);
}

/* --- Up and down
 * -------------------------------------------------------------------------------------------------------------- */

static bool start_service(struct serving *serving, struct error *reterr_error)
{
    const struct config *config = &serving->config;
    struct service *service = &serving->service;
    struct routing_engine_options options = {.database = &serving->database,
        .lanes = (unsigned)config->lanes,
        .batch_leads_max = (unsigned)config->batch_leads_max,
        .waiting_max = (unsigned)config->waiting_max};

    pthread_mutex_init(&service->counts_lock, NULL);
    service->pool = pg_pool_new(&serving->database, WORKERS);
    return worker_pool_new(WORKERS, WORKERS_WAITING_MAX, &service->workers, reterr_error) &&
           routing_engine_new(&options, &service->engine, reterr_error);
}

static bool start_server(struct serving *serving, struct error *reterr_error)
{
    const char *colon = strrchr(serving->config.listen, ':');
    int port = 0;

    serving->server = grpc_c_server_new(NULL);
    service_register(serving->server, &serving->service);
    if (!grpc_c_server_listen(serving->server, serving->config.listen, &port, reterr_error))
        return false;
    snprintf(serving->address, sizeof(serving->address), "%.*s:%d", (int)(colon - serving->config.listen),
        serving->config.listen, port);
    return grpc_c_server_start(serving->server, reterr_error);
}

/* No new calls; those under way are answered by the engine and the workers, which must therefore outlive the server. */
static void take_apart(struct serving *serving)
{
    struct service *service = &serving->service;

    grpc_c_server_free(serving->server);
    worker_pool_free(service->workers);
    routing_engine_free(service->engine, serving->config.drain_ms);
    pg_pool_free(service->pool);
    if (service->pool != NULL)
        pthread_mutex_destroy(&service->counts_lock);
    embedded_stop(serving->embedded);
}

/* --- The command
 * ---------------------------------------------------------------------------------------------------------------- */

static bool parse_level(const char *name, enum log_level *ret_level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    return false;
}

static void log_started(const struct serving *serving)
{
    const struct log_field fields[] = {
        LOG_STRING("version", SERVER_VERSION),
        LOG_STRING("listen", serving->address),
        LOG_STRING("database", serving->embedded == NULL ? "external" : "embedded"),
        LOG_STRING("directory", serving->config.embedded),
        LOG_INTEGER("schema_version", serving->service.schema_version),
        LOG_INTEGER("lanes", serving->config.lanes),
        LOG_END,
    };

    log_write(LOG_LEVEL_INFO, "server.started", "serving", fields);
}

static void log_stopped(struct serving *serving, int signal_number)
{
    struct routing_statistics statistics;

    routing_engine_statistics(serving->service.engine, &statistics);
    const struct log_field fields[] = {
        LOG_STRING("signal", signal_number == SIGTERM ? "SIGTERM" : "SIGINT"),
        LOG_INTEGER("batches", statistics.batches),
        LOG_INTEGER("leads", statistics.leads),
        LOG_INTEGER("transaction_retries", statistics.transaction_retries),
        LOG_INTEGER("unknown_commits", statistics.unknown_commits),
        LOG_END,
    };
    log_write(LOG_LEVEL_INFO, "server.stopped", "all calls are answered", fields);
}

/* Serves until a signal comes, then drains. */
static void serve(struct serving *serving, const sigset_t *stops)
{
    int signal_number = 0;

    log_started(serving);
    sigwait(stops, &signal_number);
    log_write(LOG_LEVEL_INFO, "server.stopping", "taking no more calls", NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, stops, NULL); /* a second one is meant */
    grpc_c_server_stop(serving->server, serving->config.drain_ms);
    log_stopped(serving, signal_number);
}

static bool check_config(const struct config *config, enum log_level *ret_level)
{
    if ((config->database == NULL) == (config->embedded == NULL)) {
        fprintf(stderr, "leadrouterd: serve needs either --database or --embedded; see --help\n");
        return false;
    }
    if (!parse_level(config->log_level, ret_level)) {
        fprintf(stderr, "leadrouterd: log-level: \"%s\" is not debug, info, warning or error\n", config->log_level);
        return false;
    }
    return true;
}

int command_serve(int argc, char **argv)
{
    struct serving serving = {0};
    const char *operand = NULL;
    enum log_level level = LOG_LEVEL_INFO;
    struct error error = {0};
    sigset_t stops;
    int code = EXIT_DONE;

    switch (config_parse(CONFIG_SERVE, usage, argc, argv, false, &serving.config, &operand)) {
    case CONFIG_HELP_SHOWN:
        return EXIT_DONE;
    case CONFIG_WRONG:
        return EXIT_USAGE;
    case CONFIG_OK:
        break;
    }
    if (!check_config(&serving.config, &level))
        return EXIT_USAGE;
    log_setup(2, level);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    if (open_database(&serving, &error) && start_service(&serving, &error) && start_server(&serving, &error))
        serve(&serving, &stops);
    else
        code = fail(&error);
    take_apart(&serving);
    return code;
}
