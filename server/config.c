#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/display.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "base/roff.h"
#include "pg/pg.h"
#include "rules/rules.h"

/* SETTING_URL: text that is refused when there is a password in it. */
enum setting_kind { SETTING_TEXT, SETTING_URL, SETTING_NUMBER, SETTING_SWITCH };

/* One setting. Everything that is known about it stands here. */
struct setting {
    const char *flag;
    const char *variable;
    const char *placeholder; /* NULL for switches */
    const char *standard;    /* default, as text; NULL: none */
    const char *help;
    enum setting_kind kind;
    unsigned commands;
    size_t offset; /* in struct config */
    int least;
    int most;
};

#define FIELD(name) offsetof(struct config, name)

static const struct setting settings[] = {
    {"listen", "LEADROUTER_LISTEN", "HOST:PORT", "127.0.0.1:7450",
        "address for gRPC; port 0 takes a free one; loopback only, unless there is TLS", SETTING_TEXT, CONFIG_SERVE,
        FIELD(listen), 0, 0},
    {"tls-certificate", "LEADROUTER_TLS_CERTIFICATE", "FILE", NULL,
        "serve TLS with this certificate and its chain, in PEM form", SETTING_TEXT, CONFIG_SERVE,
        FIELD(tls_certificate), 0, 0},
    {"tls-key", "LEADROUTER_TLS_KEY", "FILE", NULL, "its private key, in PEM form and without a pass phrase",
        SETTING_TEXT, CONFIG_SERVE, FIELD(tls_key), 0, 0},
    {"tls-client-ca", "LEADROUTER_TLS_CLIENT_CA", "FILE", NULL,
        "serve only clients with a certificate that one of these signed", SETTING_TEXT, CONFIG_SERVE,
        FIELD(tls_client_ca), 0, 0},
    {"no-client-certificates", "LEADROUTER_NO_CLIENT_CERTIFICATES", NULL, NULL,
        "serve whoever reaches the address, without a client certificate", SETTING_SWITCH, CONFIG_SERVE,
        FIELD(no_client_certificates), 0, 0},
    {"token-keys", "LEADROUTER_TOKEN_KEYS", "FILE,...", NULL,
        "let callers in who show a token (JWT) that one of the keys in these files verifies: JWKS, or public keys in "
        "PEM form",
        SETTING_TEXT, CONFIG_SERVE, FIELD(token_keys), 0, 0},
    {"token-audience", "LEADROUTER_TOKEN_AUDIENCE", "TEXT", NULL, "whom tokens must be meant for (aud)", SETTING_TEXT,
        CONFIG_SERVE, FIELD(token_audience), 0, 0},
    {"token-issuer", "LEADROUTER_TOKEN_ISSUER", "TEXT", NULL, "who must have issued them (iss); anybody unless given",
        SETTING_TEXT, CONFIG_SERVE, FIELD(token_issuer), 0, 0},
    {"token-service-role", "LEADROUTER_TOKEN_SERVICE_ROLE", "ROLE", "service_role",
        "the role claim of services; people have authenticated", SETTING_TEXT, CONFIG_SERVE, FIELD(token_service_role),
        0, 0},
    {"service-names", "LEADROUTER_SERVICE_NAMES", "NAME,...", NULL,
        "names in client certificates that are services, as uri:spiffe://example.com/crm or dns:crm.example.com; *: "
        "all "
        "certificates",
        SETTING_TEXT, CONFIG_SERVE, FIELD(service_names), 0, 0},
    {"database", "LEADROUTER_DATABASE", "URL", NULL,
        "PostgreSQL 15 or later, as a libpq connection string without a password", SETTING_URL,
        CONFIG_SERVE | CONFIG_MIGRATE, FIELD(database), 0, 0},
    {"database-file", "LEADROUTER_DATABASE_FILE", "FILE", NULL, "the same, read from a file, password included",
        SETTING_TEXT, CONFIG_SERVE | CONFIG_MIGRATE, FIELD(database_file), 0, 0},
    {"embedded", "LEADROUTER_EMBEDDED", "DIR", NULL, "make and run a private PostgreSQL in DIR instead", SETTING_TEXT,
        CONFIG_SERVE | CONFIG_MIGRATE | CONFIG_CLUSTER, FIELD(embedded), 0, 0},
    {"allow-role", "LEADROUTER_ALLOW_ROLE", "ROLE", NULL,
        "work as this role of the database although it is a superuser, bypasses row security or owns the schema",
        SETTING_TEXT, CONFIG_SERVE, FIELD(allow_role), 0, 0},
    {"lanes", "LEADROUTER_LANES", "N", "2", "connections that route leads", SETTING_NUMBER, CONFIG_SERVE, FIELD(lanes),
        1, 64},
    {"batch-leads-max", "LEADROUTER_BATCH_LEADS_MAX", "N", "256", "leads decided in one transaction at most",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(batch_leads_max), 1, 10000},
    {"waiting-max", "LEADROUTER_WAITING_MAX", "N", "10000", "leads that may wait before calls are refused",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(waiting_max), 1, 1000000},
    {"retry-lanes", "LEADROUTER_RETRY_LANES", "N", "2",
        "connections that decide retries, at most; one works all the time", SETTING_NUMBER, CONFIG_SERVE,
        FIELD(retry_lanes), 1, 64},
    {"listen-database", "LEADROUTER_LISTEN_DATABASE", "URL", NULL,
        "where to hear of changed rules at once; the database unless there is a pooler in front of it", SETTING_URL,
        CONFIG_SERVE, FIELD(listen_database), 0, 0},
    {"listen-database-file", "LEADROUTER_LISTEN_DATABASE_FILE", "FILE", NULL, "the same, read from a file",
        SETTING_TEXT, CONFIG_SERVE, FIELD(listen_database_file), 0, 0},
    {"log-keep-days", "LEADROUTER_LOG_KEEP_DAYS", "DAYS", "90", "how long the audit log is kept", SETTING_NUMBER,
        CONFIG_SERVE, FIELD(log_keep_days), 1, 36500},
    {"no-jobs", "LEADROUTER_NO_JOBS", NULL, NULL, "leave retries and all other background work to other servers",
        SETTING_SWITCH, CONFIG_SERVE, FIELD(no_jobs), 0, 0},
    {"drain-ms", "LEADROUTER_DRAIN_MS", "MS", "10000", "how long calls under way may take once the server stops",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(drain_ms), 0, 600000},
    {"admin-listen", "LEADROUTER_ADMIN_LISTEN", "HOST:PORT", NULL,
        "serve metrics and health over HTTP there, 127.0.0.1:7451 for example; loopback only, unless there are TLS and "
        "--admin-token-file",
        SETTING_TEXT, CONFIG_SERVE, FIELD(admin_listen), 0, 0},
    {"admin-token-file", "LEADROUTER_ADMIN_TOKEN_FILE", "FILE", NULL,
        "show metrics and health to those only who show the token in this file (Authorization: Bearer)", SETTING_TEXT,
        CONFIG_SERVE, FIELD(admin_token_file), 0, 0},
    {"no-metrics", "LEADROUTER_NO_METRICS", NULL, NULL,
        "count nothing: /metrics then shows what is read from the database only; to measure what counting costs",
        SETTING_SWITCH, CONFIG_SERVE, FIELD(no_metrics), 0, 0},
    {"self-probe-ms", "LEADROUTER_SELF_PROBE_MS", "MS", "5000",
        "how often to try a new connection to ourselves; two failures in a row end the process; 0: never",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(self_probe_ms), 0, 3600000},
    {"connection-age-s", "LEADROUTER_CONNECTION_AGE_S", "S", "1800",
        "how old a connection may get, more or less a tenth; clients then open another", SETTING_NUMBER, CONFIG_SERVE,
        FIELD(connection_age_s), 1, 86400},
    {"streams-max", "LEADROUTER_STREAMS_MAX", "N", "1024", "calls under way on one connection at most", SETTING_NUMBER,
        CONFIG_SERVE, FIELD(streams_max), 1, 65536},
    {"workspace-calls-per-second", "LEADROUTER_WORKSPACE_CALLS_PER_SECOND", "N", "0",
        "calls a second of a workspace whose routing_config says nothing else, on each server; 0: no limit",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(workspace_calls_per_second), 0, RULE_LIMIT_MAX},
    {"workspace-calls-burst", "LEADROUTER_WORKSPACE_CALLS_BURST", "N", "0",
        "calls of it that may come at once; 0: as many as in a second", SETTING_NUMBER, CONFIG_SERVE,
        FIELD(workspace_calls_burst), 0, RULE_LIMIT_MAX},
    {"workspace-calls-in-flight", "LEADROUTER_WORKSPACE_CALLS_IN_FLIGHT", "N", "1024",
        "calls of it that may be under way; 0: no limit", SETTING_NUMBER, CONFIG_SERVE,
        FIELD(workspace_calls_in_flight), 0, RULE_LIMIT_MAX},
    {"workspace-imports", "LEADROUTER_WORKSPACE_IMPORTS", "N", "2",
        "imports of it that may run at once, of the four that a server has room for; 0: no limit", SETTING_NUMBER,
        CONFIG_SERVE, FIELD(workspace_imports), 0, RULE_LIMIT_MAX},
    {"workspace-rules", "LEADROUTER_WORKSPACE_RULES", "N", "0", "rules of it that RuleService makes; 0: no limit",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(workspace_rules), 0, RULE_LIMIT_MAX},
    {"unnamed-statements", "LEADROUTER_UNNAMED_STATEMENTS", NULL, NULL,
        "prepare nothing by name: for a pooler in transaction mode in front of the database", SETTING_SWITCH,
        CONFIG_SERVE, FIELD(unnamed_statements), 0, 0},
    {"log-level", "LEADROUTER_LOG_LEVEL", "LEVEL", "info", "debug, info, warning or error", SETTING_TEXT, CONFIG_SERVE,
        FIELD(log_level), 0, 0},
    {"log-sample-per-mille", "LEADROUTER_LOG_SAMPLE_PER_MILLE", "N", "10",
        "of a thousand leads routed without trouble, how many get a line; what failed, was slow or a duplicate always "
        "has one",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(log_sample_per_mille), 0, 1000},
    {"log-slow-ms", "LEADROUTER_LOG_SLOW_MS", "MS", "1000", "a decision that takes so long is slow", SETTING_NUMBER,
        CONFIG_SERVE, FIELD(log_slow_ms), 1, 3600000},
    {"trace-endpoint", "LEADROUTER_TRACE_ENDPOINT", "HOST:PORT", NULL,
        "export spans by OTLP over gRPC to this collector; loopback only, unless there is TLS; none without it",
        SETTING_TEXT, CONFIG_SERVE, FIELD(trace_endpoint), 0, 0},
    {"trace-tls-ca", "LEADROUTER_TRACE_TLS_CA", "FILE", NULL,
        "reach the collector by TLS, its certificate signed by one of these", SETTING_TEXT, CONFIG_SERVE,
        FIELD(trace_tls_ca), 0, 0},
    {"trace-tls-certificate", "LEADROUTER_TRACE_TLS_CERTIFICATE", "FILE", NULL,
        "show the collector this certificate, in PEM form", SETTING_TEXT, CONFIG_SERVE, FIELD(trace_tls_certificate), 0,
        0},
    {"trace-tls-key", "LEADROUTER_TRACE_TLS_KEY", "FILE", NULL, "its private key", SETTING_TEXT, CONFIG_SERVE,
        FIELD(trace_tls_key), 0, 0},
    {"trace-headers-file", "LEADROUTER_TRACE_HEADERS_FILE", "FILE", NULL,
        "send the collector what is in this file with each export, lines of the form name: value", SETTING_TEXT,
        CONFIG_SERVE, FIELD(trace_headers_file), 0, 0},
    {"trace-sample-per-mille", "LEADROUTER_TRACE_SAMPLE_PER_MILLE", "N", "10",
        "of a thousand calls whose callers trace nothing, how many have spans", SETTING_NUMBER, CONFIG_SERVE,
        FIELD(trace_sample_per_mille), 0, 1000},
    {"trace-parents-per-second", "LEADROUTER_TRACE_PARENTS_PER_SECOND", "N", "100",
        "calls a second that have spans because their callers say so (traceparent); others as above", SETTING_NUMBER,
        CONFIG_SERVE, FIELD(trace_parents_per_second), 0, 1000000},
    {"trace-batch-spans", "LEADROUTER_TRACE_BATCH_SPANS", "N", "512", "spans in one export at most", SETTING_NUMBER,
        CONFIG_SERVE, FIELD(trace_batch_spans), 1, 10000},
    {"trace-queue-spans", "LEADROUTER_TRACE_QUEUE_SPANS", "N", "4096", "spans that may wait; more are dropped",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(trace_queue_spans), 1, 1000000},
    {"trace-interval-ms", "LEADROUTER_TRACE_INTERVAL_MS", "MS", "1000", "what a span waits for others at most",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(trace_interval_ms), 1, 600000},
    {"trace-timeout-ms", "LEADROUTER_TRACE_TIMEOUT_MS", "MS", "5000", "how long the collector may take for an export",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(trace_timeout_ms), 1, 600000},
    {"trace-flush-ms", "LEADROUTER_TRACE_FLUSH_MS", "MS", "2000",
        "how long the server, once it has ended all calls, waits for the collector", SETTING_NUMBER, CONFIG_SERVE,
        FIELD(trace_flush_ms), 0, 600000},
    {"migrate", NULL, NULL, NULL, "bring the schema up to date first", SETTING_SWITCH, CONFIG_CLUSTER, FIELD(migrate),
        0, 0},
    {"disposable", NULL, NULL, NULL, "for tests: flush nothing to disk, and end with the process that started it",
        SETTING_SWITCH, CONFIG_CLUSTER | CONFIG_SERVE, FIELD(disposable), 0, 0},
    {"adopt", NULL, NULL, NULL,
        "up: take over workspaces, user_workspaces and leads that were there before, so that row security keeps "
        "workspaces apart on them too",
        SETTING_SWITCH, CONFIG_MIGRATE, FIELD(adopt), 0, 0},
    {"adopt-losing", NULL, "ROLE,...", NULL,
        "roles that may lose sight of rows by that, for want of a policy; public: all others", SETTING_TEXT,
        CONFIG_MIGRATE, FIELD(adopt_losing), 0, 0},
    {"yes", NULL, NULL, NULL, "down: destroy the audit log without asking", SETTING_SWITCH, CONFIG_MIGRATE, FIELD(yes),
        0, 0},
    {"dry-run", NULL, NULL, NULL, "say what would be done and change nothing", SETTING_SWITCH, CONFIG_MIGRATE,
        FIELD(dry_run), 0, 0},
};

/* Settings of which one makes the others pointless: when a flag gives one, variables for the others do not count. */
static const struct {
    const char *variable;
    size_t offset;
} databases[] = {{"LEADROUTER_DATABASE", FIELD(database)}, {"LEADROUTER_DATABASE_FILE", FIELD(database_file)},
    {"LEADROUTER_EMBEDDED", FIELD(embedded)}};

/* --- Values ------------------------------------------------------------------------------------------------------- */

static bool set_switch(bool *place, const char *source, const char *value)
{
    static const struct {
        const char *text;
        bool is_on;
    } words[] = {{"1", true}, {"true", true}, {"yes", true}, {"on", true}, {"0", false}, {"false", false},
        {"no", false}, {"off", false}};

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(value, words[i].text) == 0) {
            *place = words[i].is_on;
            return true;
        }
    fprintf(stderr, "leadrouterd: %s: \"%s\" is not 1, true, yes, on, 0, false, no or off\n", source, value);
    return false;
}

static bool set_number(int *place, const struct setting *setting, const char *source, const char *value)
{
    char *end = NULL;

    errno = 0;
    long number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < setting->least || number > setting->most) {
        fprintf(stderr, "leadrouterd: %s: \"%s\" is not a number from %d to %d\n", source, value, setting->least,
            setting->most);
        return false;
    }
    *place = (int)number;
    return true;
}

/* Arguments are seen by everybody on the machine, variables by whoever may look at the process, and by its children. */
static bool set_url(const char **place, const struct setting *setting, const char *source, const char *value)
{
    *place = value;
    if (!pg_url_has_secret(value))
        return true;
    fprintf(stderr,
        "leadrouterd: %s: there is a password in it, which others can see there: put the URL into a file "
        "(--%s-file FILE), or the password (passfile=FILE)\n",
        source, setting->flag);
    return false;
}

/* Puts one value in its place; false, with the reason written, when it is not one. `source` is the flag with its
 * dashes, or the variable. */
static bool set(struct config *config, const struct setting *setting, const char *source, const char *value)
{
    void *place = (char *)config + setting->offset;

    switch (setting->kind) {
    case SETTING_SWITCH:
        return set_switch(place, source, value);
    case SETTING_NUMBER:
        return set_number(place, setting, source, value);
    case SETTING_URL:
        return set_url(place, setting, source, value);
    case SETTING_TEXT:
        *(const char **)place = value;
        break;
    }
    return true;
}

static bool set_defaults(enum config_command command, struct config *config)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *setting = &settings[i];
        const char *value = setting->variable == NULL ? NULL : getenv(setting->variable);
        if ((setting->commands & command) == 0)
            continue;
        if (setting->standard != NULL && !set(config, setting, setting->flag, setting->standard))
            return false;
        if (value != NULL && value[0] != '\0' && !set(config, setting, setting->variable, value))
            return false;
    }
    return true;
}

/* libpq takes a password from this variable. */
static bool check_environment(const struct config *config)
{
    const char *password = getenv("PGPASSWORD");

    if (password == NULL || password[0] == '\0' || (config->database == NULL && config->database_file == NULL))
        return true;
    fprintf(
        stderr, "leadrouterd: PGPASSWORD: passwords are read from files only (--database-file FILE, passfile=FILE)\n");
    return false;
}

/* A variable that is nobody's but nearly one of ours was meant to be it, and would change nothing without a word. Others may begin alike:
 * leadctl's, and those that Kubernetes makes for a service called leadrouter. */
static bool check_variables(void)
{
    static const char prefix[] = "LEADROUTER_";
    const char *names[COUNT_OF(settings)];
    size_t name_count = 0;

    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (settings[i].variable != NULL)
            names[name_count++] = settings[i].variable;
    for (char **entry = environ; *entry != NULL; entry++) {
        char name[NEAREST_WORD_MAX + 1];
        size_t size = strcspn(*entry, "=");
        if (strncmp(*entry, prefix, strlen(prefix)) != 0 || size >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)size, *entry);
        const char *nearest = nearest_word(name, names, name_count);
        if (nearest != NULL && strcmp(nearest, name) != 0) {
            fprintf(stderr, "leadrouterd: %s: no such variable; did you mean %s?\n", name, nearest);
            return false;
        }
    }
    return true;
}

/* --- Help --------------------------------------------------------------------------------------------------------- */

enum { HELP_INDENT = 2, HELP_FLAG_WIDTH = 24, HELP_COLUMNS = 80 };

/* A line or two on a setting: the flag, what it is for, and below that where else it is taken from. */
static void put_setting(const struct setting *setting)
{
    const size_t column = HELP_INDENT + HELP_FLAG_WIDTH + 1;
    char flag[64];

    snprintf(flag, sizeof(flag), "--%s%s%s", setting->flag, setting->placeholder == NULL ? "" : " ",
        setting->placeholder == NULL ? "" : setting->placeholder);
    if (strlen(flag) > HELP_FLAG_WIDTH)
        printf("%*s%s\n%*s", HELP_INDENT, "", flag, (int)column, "");
    else
        printf("%*s%-*s ", HELP_INDENT, "", HELP_FLAG_WIDTH, flag);
    display_wrap(stdout, setting->help, column, column, HELP_COLUMNS);
    if (setting->variable != NULL)
        printf("\n%*s%s%s%s", (int)column, "", setting->variable, setting->standard == NULL ? "" : ", default ",
            setting->standard == NULL ? "" : setting->standard);
    putchar('\n');
}

static void show_help(enum config_command command, const char *usage)
{
    printf("%s\n\nSettings (flag, environment variable, default):\n", usage);
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if ((settings[i].commands & command) != 0)
            put_setting(&settings[i]);
    printf("%*s%-*s %s\n", HELP_INDENT, "", HELP_FLAG_WIDTH, "--help", "show this");
}

void config_put_manual(enum config_command command, FILE *output)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *setting = &settings[i];
        if ((setting->commands & command) == 0)
            continue;
        roff_put_flag(output, setting->flag, setting->placeholder);
        roff_put(output, setting->help);
        if (setting->variable != NULL)
            fprintf(output, "; \\fB%s\\fR", setting->variable);
        if (setting->standard != NULL) {
            fputs("; default ", output);
            roff_put(output, setting->standard);
        }
        fputs(".\n", output);
    }
    roff_put_flag(output, "help", NULL);
    fputs("show this.\n", output);
}

/* --- Flags -------------------------------------------------------------------------------------------------------- */

/* The setting of this command whose flag is these `size` bytes, in full: an abbreviation would mean something else
 * once there is another setting. */
static const struct setting *find_setting(enum config_command command, const char *flag, size_t size)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if ((settings[i].commands & command) != 0 && strlen(settings[i].flag) == size &&
            strncmp(settings[i].flag, flag, size) == 0)
            return &settings[i];
    return NULL;
}

/* A flag was given that says where the database is: what variables said about that is forgotten. */
static void forget_variables(struct config *config, const struct setting *setting)
{
    for (size_t i = 0; i < COUNT_OF(databases); i++) {
        const char **place = (const char **)(void *)((char *)config + databases[i].offset);
        if (databases[i].offset != setting->offset && *place != NULL && *place == getenv(databases[i].variable))
            *place = NULL;
    }
}

/* The reason, with what may have been meant. */
static void wrong_flag(enum config_command command, const char *typed)
{
    const char *names[COUNT_OF(settings)];
    size_t name_count = 0;
    const char *nearest = NULL;

    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if ((settings[i].commands & command) != 0)
            names[name_count++] = settings[i].flag;
    nearest = nearest_word(typed + strspn(typed, "-"), names, name_count);
    if (nearest != NULL)
        fprintf(stderr, "leadrouterd: %s: no such flag; did you mean --%s?\n", typed, nearest);
    else
        fprintf(stderr, "leadrouterd: %s: no such flag; see --help\n", typed);
}

/* Takes the flag at argv[*index], and the word after it when that is its value. */
static bool take_flag(enum config_command command, int argc, char **argv, int *index, struct config *config)
{
    const char *word = argv[*index];
    const char *value = strchr(word, '=');
    size_t size = value == NULL ? strlen(word) : (size_t)(value - word);
    const struct setting *setting = find_setting(command, word + 2, size - 2);
    char source[64];

    snprintf(source, sizeof(source), "%.*s", (int)size, word);
    if (setting == NULL) {
        wrong_flag(command, source);
        return false;
    }
    if (value != NULL)
        value++;
    else if (setting->kind == SETTING_SWITCH)
        value = "1";
    else if (*index + 1 < argc)
        value = argv[++*index];
    if (value == NULL || (value[0] == '\0' && setting->kind != SETTING_NUMBER)) {
        fprintf(stderr, "leadrouterd: %s: needs a value; see --help\n", source);
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(databases); i++)
        if (setting->offset == databases[i].offset)
            forget_variables(config, setting);
    return set(config, setting, source, value);
}

enum config_result config_parse(enum config_command command, const char *usage, int argc, char **argv,
    bool wants_operand, struct config *ret_config, const char **ret_operand)
{
    *ret_config = (struct config){0};
    *ret_operand = NULL;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            show_help(command, usage);
            return CONFIG_HELP_SHOWN;
        }
    if (!set_defaults(command, ret_config))
        return CONFIG_WRONG;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0') {
            if (!take_flag(command, argc, argv, &i, ret_config))
                return CONFIG_WRONG;
        } else if (wants_operand && *ret_operand == NULL && argv[i][0] != '-') {
            *ret_operand = argv[i];
        } else {
            fprintf(stderr, "leadrouterd: %s: not expected here; see --help\n", argv[i]);
            return CONFIG_WRONG;
        }
    }
    return check_variables() && check_environment(ret_config) ? CONFIG_OK : CONFIG_WRONG;
}

/* --- The database ------------------------------------------------------------------------------------------------- */

bool config_has_database(const struct config *config)
{
    return (config->database != NULL) + (config->database_file != NULL) + (config->embedded != NULL) == 1;
}

static bool read_url(const char *path, struct secret_file *file, const char **ret_url, struct error *reterr_error)
{
    if (!secret_file_read(path, file, reterr_error) || !secret_file_check(file, path, reterr_error))
        return false;
    size_t size = strlen(file->text);
    while (size > 0 && isspace((unsigned char)file->text[size - 1]))
        file->text[--size] = '\0';
    if (size == 0)
        return error_set(reterr_error, ERROR_INVALID, "%s: no connection string in it", path);
    *ret_url = file->text;
    return true;
}

bool config_read_files(struct config *config, struct error *reterr_error)
{
    const struct {
        const char *path;
        const char **url;
    } files[CONFIG_FILES] = {
        {config->database_file, &config->database}, {config->listen_database_file, &config->listen_database}};

    for (size_t i = 0; i < COUNT_OF(files); i++)
        if (files[i].path != NULL && !read_url(files[i].path, &config->files[i], files[i].url, reterr_error))
            return false;
    return true;
}

void config_wipe(struct config *config)
{
    for (size_t i = 0; i < COUNT_OF(config->files); i++)
        secret_file_wipe(&config->files[i]);
    if (config->database_file != NULL)
        config->database = NULL;
    if (config->listen_database_file != NULL)
        config->listen_database = NULL;
}
