/* leadrouterd serve: puts the parts together, waits for a signal, takes them apart in order. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin_pages.h"
#include "authentication.h"
#include "authorization.h"
#include "background.h"
#include "base/clock.h"
#include "base/log.h"
#include "call_limits_loader.h"
#include "command.h"
#include "config.h"
#include "database_role.h"
#include "decision_log.h"
#include "embedded.h"
#include "grpc_c/log.h"
#include "migrate.h"
#include "recent_errors.h"
#include "self_probe.h"
#include "server_metrics.h"
#include "service.h"
#include "supervisor.h"
#include "tracing.h"
#include "transport_security.h"
#include "version.h"

enum {
    WORKERS = 4,
    WORKERS_WAITING_MAX = 1000,
    LIMITS_READERS = 1,
    SAMPLERS = 1,
    DATABASE_WAIT_MS = 5000,
    DATABASE_POLL_MS = 100,
    KEEPING_MS = 500, /* how often everything is looked after */
    PARTITION_DAYS = 30,
    PARTITIONS_MS = 10000,
    PROBE_PATIENCE_MS = 5000,
    ADDRESS_SIZE = 128,
    LOG_QUEUE_SIZE = 1024 * 1024,
    LOG_END_MS = 1000, /* what a reader of the log who does not read is waited for */
};

const char command_serve_usage[] = "Usage: leadrouterd serve\n"
                                   "           (--database URL | --database-file FILE | --embedded DIR) [SETTINGS]\n\n"
                                   "Serves gRPC until SIGTERM or SIGINT, then lets the calls under way end. A\n"
                                   "second signal ends them at once. The database must have the schema of this\n"
                                   "build (leadrouterd migrate up); the URL should log in as leadrouter_service.\n"
                                   "A database that does not answer within 5 s ends the start; one that goes away\n"
                                   "later is waited for. Certificates are read again on SIGHUP and when their files\n"
                                   "change, keys of tokens too. Logs are JSON, a line each, on standard error.\n\n"
                                   "Example: leadrouterd serve --embedded /var/lib/leadrouter";

/* Everything a server has; taken apart in reverse. */
struct serving {
    struct config config;
    struct embedded *embedded;
    struct pg_config database;
    struct service service;
    struct background background;
    struct decision_log decision_log;
    struct tracer *tracer; /* NULL: no spans are wanted */
    struct authentication *authentication;
    struct authorization authorization;
    struct limits_loader *limits_loader;
    struct call_refusals *refusals;
    struct grpc_c_server *server;
    struct transport_security security;
    struct self_probe *probe; /* NULL: none is wanted */
    struct sampler *sampler;  /* NULL, as the next: no admin listener is wanted */
    struct live_history *history;
    struct admin_listener *admin;
    struct admin_pages pages;
    struct server_metrics metrics;
    int64_t started_s;
    int64_t descriptors_limit;
    sigset_t watched;           /* blocked, and waited for: SIGTERM, SIGINT, SIGCHLD, with TLS SIGHUP */
    char address[ADDRESS_SIZE]; /* with the real port */
};

static void log_error(enum log_level level, const char *event, const char *message, const struct error *error)
{
    const struct log_field fields[] = {
        LOG_STRING("error", error->text),
        LOG_STRING("sqlstate", error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_END,
    };

    log_write(level, event, message, fields);
}

/* --- The database ------------------------------------------------------------------------------------------------- */

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

/* Days that the audit log has no room for yet. The migration made thirty, so a failure here is not the end. */
static void make_partitions(struct serving *serving)
{
    static const struct pg_statement statement = {
        .sql = "select leadrouter.make_log_partitions($1)", .param_count = 1, .param_types = {PG_INT4}};
    struct pg_params params;
    struct error error = {0};

    pg_params_init(&params, NULL);
    params.arena = arena_new(0);
    pg_params_add_int4(&params, PARTITION_DAYS);
    if (!service_query_unasked(&serving->service, &statement, &params, clock_after_ms(PARTITIONS_MS), NULL, &error))
        log_error(LOG_LEVEL_WARNING, "partitions.failed", "the audit log's next days could not be made", &error);
    arena_free(params.arena);
}

/* Tables of a host application that were not taken over: the server goes on, and says so. */
static bool warn_of_unprotected(struct serving *serving, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    const char *tables = NULL;
    bool ok = migrate_unprotected(&serving->database, arena, &tables, reterr_error);

    if (ok && tables != NULL) {
        const struct log_field fields[] = {LOG_STRING("tables", tables), LOG_END};
        log_write(LOG_LEVEL_WARNING, "tenancy.not_enforced",
            "row security does not keep workspaces apart on all tables; see leadrouterd migrate up --adopt", fields);
    }
    arena_free(arena);
    return ok;
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
    return check_schema(serving, reterr_error) &&
           database_role_check(
               &serving->database, serving->config.allow_role, clock_after_ms(DATABASE_WAIT_MS), reterr_error) &&
           warn_of_unprotected(serving, reterr_error);
}

/* PostgreSQL ends in ways that are not ours: killed for memory, by hand, by a fault of its own. It is started again;
 * meanwhile calls are answered UNAVAILABLE, and connections come back by themselves. */
static void keep_database(struct serving *serving)
{
    struct error error = {0};

    if (embedded_process_id(serving->embedded) != 0)
        return;
    log_write(LOG_LEVEL_ERROR, "database.ended", "the embedded database has ended and is started again", NULL);
    if (embedded_restart(serving->embedded, &error))
        log_write(LOG_LEVEL_INFO, "database.started", "the embedded database is back", NULL);
    else
        log_error(LOG_LEVEL_ERROR, "database.failed", "the embedded database could not be started", &error);
}

/* --- Up and down -------------------------------------------------------------------------------------------------- */

static bool start_limits(struct serving *serving, struct error *reterr_error)
{
    const struct config *config = &serving->config;
    const struct limits_values standard = {.calls_per_second = config->workspace_calls_per_second,
        .calls_burst = config->workspace_calls_burst,
        .calls_in_flight = config->workspace_calls_in_flight,
        .imports = config->workspace_imports};

    serving->service.rules_max = config->workspace_rules;
    return call_refusals_new(&serving->refusals, reterr_error) &&
           limits_loader_new(
               &standard, serving->service.pool, &serving->limits_loader, &serving->service.limits, reterr_error);
}

static bool start_service(struct serving *serving, struct error *reterr_error)
{
    const struct config *config = &serving->config;
    struct service *service = &serving->service;
    struct routing_engine_options options = {.database = &serving->database,
        .lanes = (unsigned)config->lanes,
        .batch_leads_max = (unsigned)config->batch_leads_max,
        .waiting_max = (unsigned)config->waiting_max,
        .observer = decision_log_observe,
        .observer_user = &serving->decision_log};
    struct pg_config people = {0};

    serving->decision_log = (struct decision_log){.sample_per_mille = (unsigned)config->log_sample_per_mille,
        .slow_ns = config->log_slow_ms * INT64_C(1000000),
        .tracer = serving->tracer};
    server_metrics_make(&serving->metrics, service->schema_version);
    service->metrics = serving->metrics.metrics;
    if (config->no_metrics)
        metrics_turn_off(service->metrics);
    serving->database.metrics = service->metrics;
    options.metrics = service->metrics;
    service->pool = pg_pool_new(
        &serving->database, WORKERS + SERVICE_LONG_WORKERS + SERVICE_IMPORTS_MAX + LIMITS_READERS + SAMPLERS);
    people = serving->database;
    people.pool = METRICS_POOL_PEOPLE;
    service->read_pool = pg_pool_new(&people, WORKERS);
    make_partitions(serving);
    if (!worker_pool_new(WORKERS, WORKERS_WAITING_MAX, &service->workers, reterr_error) ||
        !worker_pool_new(SERVICE_LONG_WORKERS, SERVICE_LONG_WAITING_MAX, &service->long_workers, reterr_error) ||
        !worker_pool_new(SERVICE_IMPORTS_MAX, SERVICE_IMPORTS_MAX, &service->import_workers, reterr_error) ||
        !routing_engine_new(&options, &service->engine, reterr_error) || !start_limits(serving, reterr_error) ||
        !background_start(&serving->background, config, &serving->database, service->engine, reterr_error))
        return false;
    service->jobs = serving->background.jobs;
    serving->authorization = (struct authorization){.authentication = serving->authentication,
        .limits = service->limits,
        .refusals = serving->refusals,
        .tracer = serving->tracer};
    return true;
}

static bool start_server(struct serving *serving, struct error *reterr_error)
{
    const char *colon = strrchr(serving->config.listen, ':');
    int port = 0;

    /* Calls are an eighth of the work; the database, on the same machine or not, and the lanes are the rest. A thread
     * too many costs more in switches than it adds. */
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const struct grpc_c_server_options options = {
        .threads = cores < 4 ? 1 : (unsigned)cores / 2,
        .connection_age_max_ms = serving->config.connection_age_s * INT64_C(1000),
        .connection_streams_max = (unsigned)serving->config.streams_max,
    };
    serving->server = grpc_c_server_new(&options);
    service_register(serving->server, &serving->service);
    authorization_guard(serving->server, &serving->authorization);
    serving->metrics.engine = serving->service.engine;
    server_metrics_watch(&serving->metrics, serving->server);
    if (!transport_security_listen(&serving->security, &serving->config, serving->server, &port, reterr_error))
        return false;
    snprintf(serving->address, sizeof(serving->address), "%.*s:%d", (int)(colon - serving->config.listen),
        serving->config.listen, port);
    return grpc_c_server_start(serving->server, reterr_error);
}

/* The listener is lost, and nothing in this process can bring it back: whoever supervises us starts us again. Decisions are
 * transactions, so that calls under way lose nothing that their callers cannot ask for again. */
static void on_listener_lost(const struct error *error, void *user)
{
    (void)user;
    log_error(LOG_LEVEL_ERROR, "listener.lost", "new connections are not answered; ending", error);
    log_flush(clock_after_ms(LOG_END_MS));
    _exit(EXIT_FAILED);
}

static bool start_probe(struct serving *serving, struct error *reterr_error)
{
    const struct self_probe_options options = {
        .address = serving->address,
        .is_tls = transport_security_is_on(&serving->config),
        .interval_ms = serving->config.self_probe_ms,
        .patience_ms = PROBE_PATIENCE_MS,
        .observer = on_listener_lost,
    };

    return serving->config.self_probe_ms == 0 || self_probe_new(&options, &serving->probe, reterr_error);
}

static bool start_admin(struct serving *serving, struct error *reterr_error)
{
    const struct config *config = &serving->config;
    const struct admin_listener_options options = {
        .address = config->admin_listen,
        .certificate_file = config->tls_certificate,
        .key_file = config->tls_key,
        .token_file = config->admin_token_file,
        .routes = admin_routes,
        .route_count = admin_route_count,
        .user = &serving->pages,
        .metrics = serving->service.metrics,
    };

    if (config->admin_listen == NULL)
        return true;
    serving->pages = (struct admin_pages){
        .service = &serving->service,
        .refusals = serving->refusals,
        .probe = serving->probe,
        .security = &serving->security,
        .own_listener = {.address = serving->address, .is_tls = transport_security_is_on(config)},
        .started_s = serving->started_s,
        .is_counting = !config->no_metrics,
        .tracer = serving->tracer,
    };
    if (!sampler_new(&serving->service, &serving->sampler, reterr_error) ||
        !live_history_new(serving->service.metrics, &serving->history, reterr_error))
        return false;
    serving->pages.sampler = serving->sampler;
    serving->pages.history = serving->history;
    return admin_listener_new(&options, &serving->admin, reterr_error);
}

/* No new calls; those under way are answered by the engine and the workers, which must therefore outlive the server. */
static void take_apart(struct serving *serving)
{
    struct service *service = &serving->service;

    admin_listener_free(serving->admin);
    live_history_free(serving->history);
    sampler_free(serving->sampler);
    self_probe_free(serving->probe);
    call_refusals_hurry(serving->refusals);
    grpc_c_server_free(serving->server);
    worker_pool_free(service->workers);
    worker_pool_free(service->long_workers);
    worker_pool_free(service->import_workers);
    service_release_retries(service);
    background_stop(&serving->background);
    routing_engine_free(service->engine, serving->config.drain_ms);
    tracing_stop(serving->tracer, &serving->config);
    call_refusals_free(serving->refusals);
    limits_loader_free(serving->limits_loader);
    pg_pool_free(service->pool);
    pg_pool_free(service->read_pool);
    authentication_free(serving->authentication);
    service_release(service);
    embedded_stop(serving->embedded);
    metrics_free(service->metrics);
    config_wipe(&serving->config);
}

/* --- Serving ------------------------------------------------------------------------------------------------------ */

static void log_started(const struct serving *serving)
{
    const struct log_field fields[] = {
        LOG_STRING("version", SERVER_VERSION),
        LOG_STRING("listen", serving->address),
        LOG_STRING("admin", serving->admin == NULL ? NULL : admin_listener_address(serving->admin)),
        LOG_STRING("security", !transport_security_is_on(&serving->config) ? "plain text"
                               : serving->config.no_client_certificates    ? "TLS"
                                                                           : "mutual TLS"),
        LOG_STRING("callers", authentication_is_on(serving->authentication)
                                  ? "tokens or certificates"
                                  : "anyone on this machine: neither tokens nor certificates are asked for"),
        LOG_STRING("database", serving->embedded == NULL ? "external" : "embedded"),
        LOG_STRING("directory", serving->config.embedded),
        LOG_INTEGER("schema_version", serving->service.schema_version),
        LOG_INTEGER("lanes", serving->config.lanes),
        LOG_STRING("jobs", serving->config.no_jobs ? "by hand only" : "on"),
        LOG_INTEGER("descriptors_max", serving->descriptors_limit),
        LOG_END,
    };

    log_write(LOG_LEVEL_INFO, "server.started", "serving", fields);
}

static void log_stopped(struct serving *serving, int signal_number)
{
    struct service *service = &serving->service;
    struct routing_statistics statistics;

    routing_engine_statistics(service->engine, &statistics);
    const struct log_field fields[] = {
        LOG_STRING("signal", signal_number == SIGTERM ? "SIGTERM" : "SIGINT"),
        LOG_INTEGER("calls", atomic_load(&service->calls)),
        LOG_INTEGER("calls_failed", atomic_load(&service->failures)),
        LOG_INTEGER("calls_over_limit", limits_refused(service->limits)),
        LOG_INTEGER("batches", statistics.batches),
        LOG_INTEGER("leads", statistics.leads),
        LOG_INTEGER("transaction_retries", statistics.transaction_retries),
        LOG_INTEGER("unknown_commits", statistics.unknown_commits),
        LOG_INTEGER("log_lines_lost", log_lost()),
        LOG_END,
    };
    log_write(LOG_LEVEL_INFO, "server.stopped", "all calls are answered", fields);
}

/* Waits for a signal to stop; meanwhile looks after the database and the certificates. */
static int wait_for_signal(struct serving *serving)
{
    const struct timespec pause = {.tv_sec = KEEPING_MS / 1000, .tv_nsec = KEEPING_MS % 1000 * 1000000L};
    bool has_tls = transport_security_is_on(&serving->config);
    int64_t look_ns = clock_after_ms(TRANSPORT_LOOK_MS);

    for (;;) {
        service_tell_health(&serving->service);
        int number = sigtimedwait(&serving->watched, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            return number;
        if (serving->embedded != NULL)
            keep_database(serving);
        if (number == SIGHUP)
            transport_security_reload(&serving->security, serving->server, serving->admin);
        if (clock_now_ns() >= look_ns) {
            if (has_tls)
                transport_security_look(&serving->security, serving->server, serving->admin);
            authentication_look(serving->authentication);
            look_ns = clock_after_ms(TRANSPORT_LOOK_MS);
        }
    }
}

/* On a thread of its own while calls end: a second signal means that there is no time for that. What is under way is
 * one transaction or another, so PostgreSQL rolls it back, and its caller asks again. */
static void *hurry(void *argument)
{
    struct serving *serving = argument;
    int number = 0;

    do
        sigwait(&serving->watched, &number);
    while (number == SIGCHLD || number == SIGHUP);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    log_write(LOG_LEVEL_WARNING, "server.hurried", "a second signal: calls under way are cut off", NULL);
    embedded_stop(serving->embedded);
    log_flush(clock_after_ms(LOG_END_MS));
    _exit(EXIT_FAILED);
}

/* No new calls; those under way get their time. */
static void drain(struct serving *serving)
{
    pthread_t thread;
    bool is_watched = pthread_create(&thread, NULL, hurry, serving) == 0;

    call_refusals_hurry(serving->refusals);
    grpc_c_server_stop(serving->server, serving->config.drain_ms);
    if (is_watched) {
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
}

static void serve(struct serving *serving)
{
    int signal_number = 0;

    log_started(serving);
    supervisor_tell("READY=1");
    signal_number = wait_for_signal(serving);
    log_write(LOG_LEVEL_INFO, "server.stopping", "taking no more calls", NULL);
    supervisor_tell("STOPPING=1");
    atomic_store(&serving->service.is_draining, true);
    self_probe_stop(serving->probe);
    service_stop_health(&serving->service);
    service_end_streams(&serving->service);
    jobs_stop(serving->background.jobs);
    drain(serving);
    log_stopped(serving, signal_number);
}

/* --- The command -------------------------------------------------------------------------------------------------- */

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

/* The exit code for what is wrong with the settings, EXIT_DONE for nothing. Who supervises does not start again what they are wrong for; a
 * name that could not be looked up is no fault of theirs. */
static int check_config(const struct config *config, enum log_level *ret_level)
{
    struct error error = {0};

    if (!config_has_database(config)) {
        fprintf(stderr, "leadrouterd: serve needs one of --database, --database-file and --embedded; see --help\n");
        return EXIT_USAGE;
    }
    if (!parse_level(config->log_level, ret_level)) {
        fprintf(stderr, "leadrouterd: --log-level: \"%s\" is not debug, info, warning or error\n", config->log_level);
        return EXIT_USAGE;
    }
    if (!transport_security_check(config, &error) || !authentication_check(config, &error) ||
        !tracing_check(config, &error)) {
        fprintf(stderr, "leadrouterd: %s\n", error.text);
        return error.code == ERROR_UNAVAILABLE ? EXIT_FAILED : EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* The core's own lines, of use to whoever looks for a fault in a connection. */
static void log_core(bool is_error, const char *message, uint64_t dropped, void *user)
{
    const struct log_field fields[] = {LOG_STRING("text", message), LOG_INTEGER("dropped", dropped), LOG_END};

    (void)is_error;
    (void)user;
    log_write(LOG_LEVEL_DEBUG, "grpc.core", "a line of the gRPC core", fields);
}

/* What belongs to the process rather than to a part of it. The signals are blocked in every thread made later. */
static bool set_up_process(struct serving *serving, enum log_level level, struct error *reterr_error)
{
    log_setup(STDERR_FILENO, level);
    recent_errors_watch();
    grpc_c_log_observe(level == LOG_LEVEL_DEBUG ? log_core : NULL, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&serving->watched);
    sigaddset(&serving->watched, SIGTERM);
    sigaddset(&serving->watched, SIGINT);
    sigaddset(&serving->watched, SIGCHLD);
    if (transport_security_is_on(&serving->config)) /* otherwise it means what it always does: the terminal is gone */
        sigaddset(&serving->watched, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &serving->watched, NULL);
    /* A listener that runs out of descriptors once is dead for good (SECURITY.md). */
    serving->descriptors_limit = descriptors_raise();
    return log_writer_begin(LOG_QUEUE_SIZE, reterr_error);
}

int command_serve(int argc, char **argv)
{
    struct serving serving = {0};
    const char *operand = NULL;
    enum log_level level = LOG_LEVEL_INFO;
    struct error error = {0};
    int code = EXIT_DONE;

    switch (config_parse(CONFIG_SERVE, command_serve_usage, argc, argv, false, &serving.config, &operand)) {
    case CONFIG_HELP_SHOWN:
        return EXIT_DONE;
    case CONFIG_WRONG:
        return EXIT_USAGE;
    case CONFIG_OK:
        break;
    }
    code = check_config(&serving.config, &level);
    if (code != EXIT_DONE)
        return code;
    serving.started_s = time(NULL);
    service_init(&serving.service);
    if (set_up_process(&serving, level, &error) && config_read_files(&serving.config, &error) &&
        authentication_new(&serving.config, &serving.authentication, &error) &&
        tracing_start(&serving.config, &serving.tracer, &error) && open_database(&serving, &error) &&
        start_service(&serving, &error) && start_server(&serving, &error) && start_probe(&serving, &error) &&
        start_admin(&serving, &error)) {
        serve(&serving);
    } else {
        log_error(LOG_LEVEL_ERROR, "server.failed", "could not start", &error);
        code = EXIT_FAILED;
    }
    take_apart(&serving);
    log_writer_end(clock_after_ms(LOG_END_MS));
    return code;
}
