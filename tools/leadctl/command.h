/* The commands of leadctl, and what they share. Each command takes its own argv ([0] is its name) and returns an
 * exit code. */
#ifndef LEADCTL_COMMAND_H
#define LEADCTL_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "grpc_c/client.h"
#include "leadrouter/v1/routing.pb-c.h"
#include "options.h"

/* Routes one lead and shows what became of it. */
int command_route(int argc, char **argv);

/* Takes the rows of a CSV file in as leads. */
int command_import(int argc, char **argv);

/* Shows how routing is doing; 1 when it is critical. */
int command_health(int argc, char **argv);

/* The background jobs. */
int command_jobs_list(int argc, char **argv);
int command_jobs_run(int argc, char **argv);
int command_jobs_pause(int argc, char **argv);
int command_jobs_resume(int argc, char **argv);

/* The retry queue. */
int command_retries_list(int argc, char **argv);
int command_retries_process(int argc, char **argv);
int command_retries_cancel(int argc, char **argv);

/* The workspaces and their members. */
int command_workspaces_list(int argc, char **argv);
int command_workspaces_show(int argc, char **argv);
int command_workspaces_create(int argc, char **argv);
int command_workspaces_update(int argc, char **argv);
int command_members_list(int argc, char **argv);
int command_members_set(int argc, char **argv);
int command_members_remove(int argc, char **argv);

/* Holds the audit log against its seals; 1 when something is wrong. */
int command_audit_verify(int argc, char **argv);

/* Shows one lead; erases the person it is about. */
int command_leads_show(int argc, char **argv);
int command_leads_erase(int argc, char **argv);
int command_leads_list(int argc, char **argv);

/* Prints a token for development. */
int command_token(int argc, char **argv);

/* Shows what became of a lead, attempt by attempt, and why. */
int command_history(int argc, char **argv);

/* Reads, changes and tries the rules of a workspace. */
int command_rules_list(int argc, char **argv);
int command_rules_show(int argc, char **argv);
int command_rules_create(int argc, char **argv);
int command_rules_update(int argc, char **argv);
int command_rules_delete(int argc, char **argv);
int command_rules_activate(int argc, char **argv);
int command_rules_deactivate(int argc, char **argv);
int command_rules_export(int argc, char **argv);
int command_rules_apply(int argc, char **argv);
int command_rules_revert(int argc, char **argv);
int command_rules_diff(int argc, char **argv);
int command_rules_versions(int argc, char **argv);
int command_rules_test(int argc, char **argv);
int command_rules_lint(int argc, char **argv);

/* A channel to the server, with TLS if the options say so; on failure the reason was written and NULL is given. Freed
 * with grpc_c_channel_free(). */
struct grpc_c_channel *connect_to(const struct common_options *common);

/* A connection, and what came of its last call. */
struct session {
    struct grpc_c_channel *channel;
    struct grpc_c_outcome outcome;
};

/* Connects; on failure the reason was written and `*ret_code` is the exit code, otherwise EXIT_DONE. */
bool session_begin(struct session *session, const struct common_options *common, int *ret_code);

/* Ends it. */
void session_end(struct session *session);

/* A text for a field of a message that is only sent: such fields are no const, and nothing writes to them. */
char *borrowed(const char *text);

/* Why a call failed, for people: "NOT_FOUND: no such lead in that workspace", or that nobody answers at `target`. */
void describe_failure(const char *target, const struct grpc_c_outcome *outcome, struct error *ret_error);

/* Writes why a call failed, as in "leadctl: NOT_FOUND: no such lead in that workspace"; returns EXIT_FAILED. */
int call_failed(const char *target, const struct grpc_c_outcome *outcome);

/* A row of a two-column table: a label and what it says; nothing for "" and NULL. */
void print_row(const char *label, const char *text);

/* "ROUTED" for an outcome; the wire name without its prefix. */
const char *outcome_name(Leadrouter__V1__RoutingOutcome outcome);

/* "2026-01-31T12:00:00.000Z", or "" for NULL. `ret_text` has room for 32 bytes. */
const char *time_text(const Google__Protobuf__Timestamp *time, char ret_text[32]);

/* "59 s", "12 min", "5 h", "3 days": the largest unit of which there are at least two. */
const char *age_text(int64_t seconds, char ret_text[16]);

/* "paused" for a state of a job. */
const char *job_state_name(Leadrouter__V1__JobState state);

/* Prints a JSON object and a newline, and releases it. */
void print_json(json_t *object);

/* What became of a lead, as JSON. */
json_t *route_json(const Leadrouter__V1__RouteLeadResponse *response);

#endif
