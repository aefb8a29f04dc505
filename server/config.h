/* Settings of leadrouterd: one table of flags and environment variables, from which parsing and help come. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "base/secret_file.h"

/* Which command a setting belongs to; bits. */
enum config_command { CONFIG_SERVE = 1, CONFIG_MIGRATE = 2, CONFIG_CLUSTER = 4 };

/* Exit codes of every program of the product. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum { CONFIG_FILES = 2 };

/* What was asked for. Strings point into argv or the environment. */
struct config {
    const char *listen;
    const char *database;      /* NULL: none */
    const char *database_file; /* NULL: none; config_read_files() makes `database` of it */
    const char *embedded;      /* NULL: none */
    const char *log_level;
    int log_sample_per_mille;
    int log_slow_ms;
    const char *trace_endpoint; /* NULL: no spans */
    const char *trace_tls_ca;   /* NULL: plain text */
    const char *trace_tls_certificate;
    const char *trace_tls_key;
    const char *trace_headers_file; /* NULL: none */
    int trace_sample_per_mille;
    int trace_parents_per_second;
    int trace_batch_spans;
    int trace_queue_spans;
    int trace_interval_ms;
    int trace_timeout_ms;
    int trace_flush_ms;
    const char *tls_certificate; /* NULL: plain text */
    const char *tls_key;
    const char *tls_client_ca;
    bool no_client_certificates;
    const char *token_keys;     /* files, with commas between them; NULL: no tokens */
    const char *token_audience; /* NULL: no tokens */
    const char *token_issuer;   /* NULL: any */
    const char *token_service_role;
    const char *service_names; /* with commas between them; NULL: no certificate is a service's */
    const char *allow_role;    /* NULL: none */
    int lanes;
    int batch_leads_max;
    int waiting_max;
    int retry_lanes;
    const char *listen_database;      /* NULL: as `database` */
    const char *listen_database_file; /* NULL: none; as `database_file` */
    int log_keep_days;
    bool no_jobs;
    int drain_ms;
    const char *admin_listen;     /* NULL: none */
    const char *admin_token_file; /* NULL: none */
    bool no_metrics;
    int self_probe_ms; /* 0: no probes */
    int connection_age_s;
    int streams_max;
    int workspace_calls_per_second; /* 0: no limit; so for the next four */
    int workspace_calls_burst;
    int workspace_calls_in_flight;
    int workspace_imports;
    int workspace_rules;
    bool unnamed_statements;
    bool disposable;
    bool migrate;
    bool yes;
    bool dry_run;
    bool adopt;
    const char *adopt_losing;               /* with commas between them; NULL: nobody */
    struct secret_file files[CONFIG_FILES]; /* what config_read_files() has read */
};

enum config_result { CONFIG_OK, CONFIG_HELP_SHOWN, CONFIG_WRONG };

/* Reads the environment, then the flags of argv[1…]. On CONFIG_WRONG the reason has been written to standard error;
 * on CONFIG_HELP_SHOWN help has been written to standard output. `*ret_operand` is the one word that is no flag
 * (migrate's up, down, status), or NULL; `wants_operand` says whether there may be one. */
enum config_result config_parse(enum config_command command, const char *usage, int argc, char **argv,
    bool wants_operand, struct config *ret_config, const char **ret_operand);

/* Writes the settings of a command as entries of a manual page. */
void config_put_manual(enum config_command command, FILE *output);

/* True when exactly one place was named where the database is. */
bool config_has_database(const struct config *config);

/* Reads the files that hold URLs of databases; from here on `database` and `listen_database` are what is in them, until config_wipe().
 * Errors: ERROR_SYSTEM, ERROR_INVALID; they name the file, never what is in it. */
bool config_read_files(struct config *config, struct error *reterr_error);

/* Overwrites what was read from files; when nobody connects any more. */
void config_wipe(struct config *config);

#endif
