#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/secret_file.h"
#include "command.h"

/* Reads the file with the token, of which the first word counts; on failure the reason was written. */
static bool read_token(const char *path, struct secret_file *ret_file)
{
    struct error error = {0};
    struct secret_file file = {0};
    bool ok = secret_file_read(path, &file, &error) && secret_file_check(&file, path, &error);

    if (ok) {
        file.text[strcspn(file.text, " \t\r\n")] = '\0';
        ok = file.text[0] != '\0' || error_set(&error, ERROR_INVALID, "no token in %s", path);
    }
    if (ok) {
        *ret_file = file;
        return true;
    }
    fprintf(stderr, "leadctl: --token-file: %s\n", error.text);
    secret_file_wipe(&file);
    return false;
}

struct grpc_c_channel *connect_to(const struct common_options *common)
{
    const struct grpc_c_channel_tls tls = {.ca_file = common->tls_ca,
        .certificate_file = common->tls_certificate,
        .key_file = common->tls_key,
        .server_name = common->tls_server_name};
    bool has_tls =
        tls.ca_file != NULL || tls.certificate_file != NULL || tls.key_file != NULL || tls.server_name != NULL;
    struct grpc_c_channel_options options = {.tls = has_tls ? &tls : NULL};
    struct secret_file token = {0};
    struct grpc_c_channel *channel = NULL;
    struct error error = {0};

    if (common->token_file != NULL && !read_token(common->token_file, &token))
        return NULL;
    options.token = token.text;
    bool ok = grpc_c_channel_new(common->target, &options, &channel, &error);
    secret_file_wipe(&token);
    if (ok)
        return channel;
    fprintf(stderr, "leadctl: %s: %s\n", has_tls ? "--tls-ca" : "--target", error.text);
    return NULL;
}

bool session_begin(struct session *session, const struct common_options *common, int *ret_code)
{
    *session = (struct session){.channel = connect_to(common)};
    *ret_code = session->channel == NULL ? EXIT_USAGE : EXIT_DONE;
    return session->channel != NULL;
}

void session_end(struct session *session)
{
    grpc_c_outcome_release(&session->outcome);
    grpc_c_channel_free(session->channel);
}

char *borrowed(const char *text)
{
    return (char *)(uintptr_t)text;
}

void describe_failure(const char *target, const struct grpc_c_outcome *outcome, struct error *ret_error)
{
    /* The core's words; a server's own, about its database, are another thing. */
    if (outcome->status == GRPC_C_UNAVAILABLE &&
        (strstr(outcome->message, "handshake") != NULL || strstr(outcome->message, "peer certificate") != NULL))
        error_set(ret_error, ERROR_UNAVAILABLE, "no agreement on TLS with %s: %s", target, outcome->message);
    else if (outcome->status == GRPC_C_UNAVAILABLE &&
             strstr(outcome->message, "failed to connect to all addresses") != NULL)
        error_set(
            ret_error, ERROR_UNAVAILABLE, "nobody answers at %s (is leadrouterd running? --target says where)", target);
    else
        error_set(ret_error, ERROR_UNAVAILABLE, "%s: %s", grpc_c_status_name(outcome->status), outcome->message);
}

int call_failed(const char *target, const struct grpc_c_outcome *outcome)
{
    struct error error = {0};

    describe_failure(target, outcome, &error);
    fprintf(stderr, "leadctl: %s\n", error.text);
    return EXIT_FAILED;
}

void print_row(const char *label, const char *text)
{
    if (text != NULL && text[0] != '\0')
        printf("%-18s %s\n", label, text);
}

const char *outcome_name(Leadrouter__V1__RoutingOutcome outcome)
{
    static const char prefix[] = "ROUTING_OUTCOME_";
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&leadrouter__v1__routing_outcome__descriptor, (int)outcome);

    return value == NULL ? "UNKNOWN" : value->name + strlen(prefix);
}

const char *time_text(const Google__Protobuf__Timestamp *time, char ret_text[32])
{
    if (time == NULL) {
        ret_text[0] = '\0';
        return ret_text;
    }
    return clock_format_us(time->seconds * 1000000 + time->nanos / 1000, ret_text);
}

const char *age_text(int64_t seconds, char ret_text[16])
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "days"}, {3600, "h"}, {60, "min"}, {0, "s"}};
    size_t unit = 0;

    while (seconds < 2 * units[unit].seconds)
        unit++;
    snprintf(ret_text, 16, "%d %s", (int)(units[unit].seconds == 0 ? seconds : seconds / units[unit].seconds),
        units[unit].name);
    return ret_text;
}

const char *job_state_name(Leadrouter__V1__JobState state)
{
    static const char *const names[] = {"unknown", "waiting", "running", "paused", "failing"};

    return (unsigned)state < COUNT_OF(names) ? names[state] : names[0];
}

void print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(object);
}

json_t *route_json(const Leadrouter__V1__RouteLeadResponse *response)
{
    char time[32];

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s}", "outcome",
        outcome_name(response->outcome), "lead_id", response->lead_id, "destination_workspace_id",
        response->destination_workspace_id, "matched_rule_id", response->matched_rule_id, "matched_rule_name",
        response->matched_rule_name, "reason", response->reason, "duplicate_lead_id", response->duplicate_lead_id,
        "attempt", response->attempt, "next_retry_at", time_text(response->next_retry_at, time), "decision_id",
        response->decision_id, "decided_outcome",
        response->decided_outcome == 0 ? "" : outcome_name(response->decided_outcome));
}
