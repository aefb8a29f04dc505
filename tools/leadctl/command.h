/* The commands of leadctl, and what they share. */
#ifndef LEADCTL_COMMAND_H
#define LEADCTL_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "grpc_c/client.h"
#include "leadrouter/v1/leads.pb-c.h"
#include "leadrouter/v1/routing.pb-c.h"
#include "options.h"

/* A connection, and what came of its last call. */
struct session {
    struct grpc_c_channel *channel;
    struct grpc_c_outcome outcome;
    const char *target; /* where it leads, for messages; borrowed */
};

/* A command. Everything that is said of it (--help, the manual, completion, suggestions) comes from here. */
struct command {
    const char *name; /* one or two words: "leads list" */
    const char *summary;
    const char *text;    /* more than that: sentences; paragraphs are parted by an empty line */
    const char *example; /* a line, or several */
    /* The words that are no flags. `name` NULL: it takes none. */
    struct option_spec operand;
    const struct option_spec *flags; /* besides those that every command has */
    size_t flag_count;
    /* Carries it out; returns an exit code. The session was begun and is ended by the caller; NULL if `is_local`. */
    int (*run)(const struct arguments *arguments, struct session *session);
    bool is_local;   /* needs no server, or not always: begins its own session */
    bool is_offline; /* never needs one, nor any setting */
};

/* For the table of a command. */
#define COMMAND_FLAGS(table) .flags = (table), .flag_count = COUNT_OF(table)
#define FLAG_WORKSPACE(text)                                                                                           \
    {                                                                                                                  \
        .name = "workspace", .placeholder = "W", .help = (text), .kind = OPTION_ID,                                    \
        .offset = offsetof(struct arguments, workspace), .is_needed = true, .is_setting = true                         \
    }
#define FLAG_USER                                                                                                      \
    {                                                                                                                  \
        .name = "user", .placeholder = "U", .help = "who asks, for the audit log", .kind = OPTION_ID,                  \
        .offset = offsetof(struct arguments, user)                                                                     \
    }
#define FLAG_NOTE(text)                                                                                                \
    {                                                                                                                  \
        .name = "note", .placeholder = "TEXT", .help = (text), .offset = offsetof(struct arguments, note)              \
    }
#define OPERAND_LEAD                                                                                                   \
    {                                                                                                                  \
        .name = "LEAD", .help = "id of the lead", .kind = OPTION_ID, .is_needed = true                                 \
    }

/* All commands, in the order in which they are listed; the last is NULL. */
extern const struct command *const commands[];

extern const struct command command_route, command_import, command_health, command_slo, command_history, command_token,
    command_completion;
extern const struct command command_imports_list, command_imports_show, command_imports_rejected;
extern const struct command command_leads_list, command_leads_show, command_leads_erase;
extern const struct command command_rules_list, command_rules_show, command_rules_create, command_rules_update,
    command_rules_delete, command_rules_activate, command_rules_deactivate, command_rules_apply, command_rules_export,
    command_rules_test, command_rules_lint, command_rules_versions, command_rules_diff, command_rules_revert;
extern const struct command command_retries_list, command_retries_process, command_retries_cancel;
extern const struct command command_jobs_list, command_jobs_run, command_jobs_pause, command_jobs_resume;
extern const struct command command_workspaces_list, command_workspaces_show, command_workspaces_create,
    command_workspaces_update;
extern const struct command command_members_list, command_members_set, command_members_remove;
extern const struct command command_audit_verify;

/* Finds the command that argv[1…] names, reads the rest and carries it out; the exit code of the process. */
int commands_main(int argc, char **argv);

/* Connects, with TLS if the options say so; on failure the reason was written and `*ret_code` is the exit code, otherwise
 * EXIT_DONE. `common` outlives the session. */
bool session_begin(struct session *session, const struct common_options *common, int *ret_code);

/* Writes why the session's last call failed and makes it ready for another; returns EXIT_FAILED. */
int session_failed(struct session *session);

/* Ends it; zeroed is fine. */
void session_end(struct session *session);

/* A text for a field of a message that is only sent: such fields are no const, and nothing writes to them. "" for NULL. */
char *borrowed(const char *text);

/* Whether a call failed because no server could be talked to, and not by what one has said. */
bool nobody_answers(const struct grpc_c_outcome *outcome);

/* Why a call failed, for people: "NOT_FOUND: no such lead in that workspace", or that nobody answers at `target`. */
void describe_failure(const char *target, const struct grpc_c_outcome *outcome, struct error *ret_error);

/* A line, in which control characters are escaped, for what others wrote. */
void print_line(FILE *output, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A row of a two-column table: a label and what it says; nothing for "" and NULL. */
void print_row(const char *label, const char *text);

/* "ROUTED" for an outcome; the wire name without its prefix. */
const char *outcome_name(Leadrouter__V1__RoutingOutcome outcome);

/* "2026-01-31T12:00:00.000Z", or "" for NULL. `ret_text` has room for 32 bytes. */
const char *time_text(const Google__Protobuf__Timestamp *time, char ret_text[32]);

/* "2026-01-31 12:00", in UTC, for tables; "" for NULL. `ret_text` has room for 32 bytes. */
const char *minute_text(const Google__Protobuf__Timestamp *time, char ret_text[32]);

/* When something happens or happened, seen from `now`: "in 5 min", "3 h ago"; "-" without a time. */
const char *when_text(
    const Google__Protobuf__Timestamp *time, const Google__Protobuf__Timestamp *now, char ret_text[32]);

/* "59 s", "12 min", "5 h", "3 days": the largest unit of which there are at least two. */
const char *age_text(int64_t seconds, char ret_text[16]);

/* "paused" for a state of a job. */
const char *job_state_name(Leadrouter__V1__JobState state);

/* "completed_with_errors" for a state of an import; "unknown" when there is none. */
const char *import_state_name(Leadrouter__V1__ImportState state);

/* Prints a JSON object and a newline, and releases it. */
void print_json(json_t *object);

/* What became of a lead, as JSON. */
json_t *route_json(const Leadrouter__V1__RouteLeadResponse *response);

#endif
