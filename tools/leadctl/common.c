#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/display.h"
#include "base/memory.h"
#include "base/secret_file.h"
#include "command.h"
#include "screen.h"

/* What TLS lacks, in the words of our flags. */
static const char *const lacks[] = {
    [GRPC_C_TLS_LACKS_CA] = "TLS needs the CA of the server's certificate (--tls-ca)",
    [GRPC_C_TLS_LACKS_HALF] = "--tls-certificate and --tls-key go together",
};

static struct grpc_c_channel *connect_to(const struct common_options *common)
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
    const char *lack = has_tls ? lacks[grpc_c_channel_tls_lack(&tls)] : NULL;
    struct error error = {0};

    if (lack != NULL) {
        fprintf(stderr, "leadctl: %s\n", lack);
        return NULL;
    }
    if (common->token_file != NULL && !secret_file_read_word(common->token_file, &token, &error)) {
        fprintf(stderr, "leadctl: --token-file: %s\n", error.text);
        return NULL;
    }
    options.token = token.text;
    bool ok = grpc_c_channel_new(common->target, &options, &channel, &error);
    secret_file_wipe(&token);
    if (ok)
        return channel;
    fprintf(stderr, "leadctl: %s%s\n", has_tls ? "" : "--target: ", error.text);
    return NULL;
}

bool session_begin(struct session *session, const struct common_options *common, int *ret_code)
{
    *session = (struct session){.channel = connect_to(common), .target = common->target};
    *ret_code = session->channel == NULL ? EXIT_USAGE : EXIT_DONE;
    return session->channel != NULL;
}

int session_failed(struct session *session)
{
    struct error error = {0};

    describe_failure(session->target, &session->outcome, &error);
    print_line(stderr, "leadctl: %s", error.text);
    grpc_c_outcome_release(&session->outcome);
    return EXIT_FAILED;
}

void session_end(struct session *session)
{
    grpc_c_outcome_release(&session->outcome);
    grpc_c_channel_free(session->channel);
}

char *borrowed(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

/* The core's words; a server's own, about its database, are another thing. */
static bool has_no_tls(const struct grpc_c_outcome *outcome)
{
    return outcome->status == GRPC_C_UNAVAILABLE &&
           (strstr(outcome->message, "handshake") != NULL || strstr(outcome->message, "peer certificate") != NULL);
}

/* Somebody is there, and ended the connection before it was one. A server that asks for TLS or for another certificate does so: under TLS
 * 1.3 the client's own handshake is over before the server has looked. */
static bool was_hung_up_on(const struct grpc_c_outcome *outcome)
{
    return nobody_answers(outcome) && (strstr(outcome->message, "Socket closed") != NULL ||
                                          strstr(outcome->message, "Connection reset by peer") != NULL);
}

bool nobody_answers(const struct grpc_c_outcome *outcome)
{
    return has_no_tls(outcome) || (outcome->status == GRPC_C_UNAVAILABLE &&
                                      strstr(outcome->message, "failed to connect to all addresses") != NULL);
}

void describe_failure(const char *target, const struct grpc_c_outcome *outcome, struct error *ret_error)
{
    if (has_no_tls(outcome))
        error_set(ret_error, ERROR_UNAVAILABLE, "no agreement on TLS with %s: %s", target, outcome->message);
    else if (was_hung_up_on(outcome))
        error_set(ret_error, ERROR_UNAVAILABLE,
            "%s hung up at once: it wants TLS (--tls-ca), or a certificate that it knows (--tls-certificate, "
            "--tls-key), or is "
            "no leadrouterd",
            target);
    else if (nobody_answers(outcome))
        error_set(
            ret_error, ERROR_UNAVAILABLE, "nobody answers at %s (is leadrouterd running? --target says where)", target);
    else
        error_set(ret_error, ERROR_UNAVAILABLE, "%s: %s", grpc_c_status_name(outcome->status), outcome->message);
}

void print_line(FILE *output, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = memory_format_list(format, arguments);
    va_end(arguments);
    char *safe = display_safe(text);
    fprintf(output, "%s\n", safe);
    free(safe);
    free(text);
}

void print_row(const char *label, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    char *safe = display_safe(text);
    printf("%-18s ", label);
    screen_put_word(stdout, safe);
    fputc('\n', stdout);
    free(safe);
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

const char *minute_text(const Google__Protobuf__Timestamp *time, char ret_text[32])
{
    enum { DAY_SIZE = 10, MINUTE_SIZE = 16 };

    if (time_text(time, ret_text)[0] == '\0')
        return ret_text;
    ret_text[DAY_SIZE] = ' ';
    ret_text[MINUTE_SIZE] = '\0';
    return ret_text;
}

const char *when_text(
    const Google__Protobuf__Timestamp *time, const Google__Protobuf__Timestamp *now, char ret_text[32])
{
    char age[16];
    int64_t seconds = time == NULL || now == NULL ? 0 : time->seconds - now->seconds;

    if (time == NULL || now == NULL)
        snprintf(ret_text, 32, "-");
    else if (seconds > 0)
        snprintf(ret_text, 32, "in %s", age_text(seconds, age));
    else
        snprintf(ret_text, 32, "%s ago", age_text(-seconds, age));
    return ret_text;
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
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
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
