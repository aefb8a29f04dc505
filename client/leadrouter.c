#include "leadrouter.h"

#include <stdio.h>

#include "base/error.h"
#include "base/uuid.h"
#include "grpc_c/client.h"

_Static_assert((int)LEADROUTER_REQUEST_ID_SIZE == (int)UUID_TEXT_SIZE, "a request id is a UUID as text");

/* gRPC's service config (github.com/grpc/grpc/blob/master/doc/service_config.md). A method's own entry goes before its
 * service's, a service's before the one for all. */
#define RETRY_POLICY(codes)                                                                                            \
    "\"retryPolicy\":{\"maxAttempts\":5,\"initialBackoff\":\"0.1s\",\"maxBackoff\":\"2s\",\"backoffMultiplier\":2,"    \
    "\"retryableStatusCodes\":[" codes "]}"
/* CANCELLED: what the core makes of a call that comes in the instant in which its server stops. One that the program cancels is not made
 * again. */
#define ASK_AGAIN "\"UNAVAILABLE\",\"RESOURCE_EXHAUSTED\",\"CANCELLED\""
#define METHOD(service, method) "{\"service\":\"leadrouter.v1." service "\",\"method\":\"" method "\"}"
#define FOR(names, codes) "{\"name\":[" names "]," RETRY_POLICY(codes) "}"
/* A second time makes a second one, whatever is in the request of a rule; a workspace may have an id. */
#define MAKE_ANOTHER METHOD("RuleService", "CreateRule") "," METHOD("WorkspaceService", "CreateWorkspace")
#define INSERT_LEADS METHOD("LeadService", "CreateLeads")
#define NOTHING_WAS_DONE "\"RESOURCE_EXHAUSTED\""

static const char retry_config[] =
    "{\"methodConfig\":[" FOR("{}", ASK_AGAIN) "," FOR(MAKE_ANOTHER "," INSERT_LEADS, NOTHING_WAS_DONE) "]}";
static const char retry_config_repeatable[] =
    "{\"methodConfig\":[" FOR("{}", ASK_AGAIN) "," FOR(MAKE_ANOTHER, NOTHING_WAS_DONE) "]}";

static const char *service_config(const struct leadrouter_options *options)
{
    if (options->no_retries)
        return NULL;
    return options->creates_are_repeatable ? retry_config_repeatable : retry_config;
}

static void tell(struct leadrouter_error *ret_error, const struct error *error)
{
    if (ret_error == NULL)
        return;
    ret_error->status = error->code == ERROR_INVALID ? GRPC_C_INVALID_ARGUMENT : GRPC_C_INTERNAL;
    snprintf(ret_error->text, sizeof(ret_error->text), "%s", error->text);
}

bool leadrouter_connect(const char *target, const struct leadrouter_options *options,
    struct grpc_c_channel **ret_channel, struct leadrouter_error *ret_error)
{
    static const struct leadrouter_options defaults;
    const struct leadrouter_options *chosen = options != NULL ? options : &defaults;
    const struct grpc_c_channel_tls tls = {
        .ca_file = chosen->ca_file,
        .certificate_file = chosen->certificate_file,
        .key_file = chosen->key_file,
        .server_name = chosen->server_name,
    };
    const struct grpc_c_channel_options channel_options = {
        .message_size_max = chosen->message_size_max,
        .threads = chosen->threads,
        .tls = chosen->ca_file != NULL ? &tls : NULL,
        .service_config_json = service_config(chosen),
        .no_retries = chosen->no_retries,
    };
    struct error error = {0};

    if (chosen->ca_file == NULL &&
        (chosen->certificate_file != NULL || chosen->key_file != NULL || chosen->server_name != NULL)) {
        error_set(&error, ERROR_INVALID, "certificate_file, key_file and server_name need a ca_file");
        tell(ret_error, &error);
        return false;
    }
    if (!grpc_c_channel_new(target, &channel_options, ret_channel, &error)) {
        tell(ret_error, &error);
        return false;
    }
    return true;
}

void leadrouter_close(struct grpc_c_channel *channel)
{
    grpc_c_channel_free(channel);
}

const char *leadrouter_status_name(enum grpc_c_status status)
{
    return grpc_c_status_name(status);
}

const char *leadrouter_version(void)
{
    return LEADROUTER_VERSION;
}

const char *leadrouter_new_request_id(char ret_text[LEADROUTER_REQUEST_ID_SIZE])
{
    const struct uuid id = uuid_random();

    return uuid_format(&id, ret_text);
}

void leadrouter_outcome_release(struct grpc_c_outcome *outcome)
{
    grpc_c_outcome_release(outcome);
}

void leadrouter_pending_cancel(struct grpc_c_pending *pending)
{
    grpc_c_pending_cancel(pending);
}

void leadrouter_pending_unref(struct grpc_c_pending *pending)
{
    grpc_c_pending_unref(pending);
}

void leadrouter_stream_close_sending(struct grpc_c_stream *stream)
{
    grpc_c_stream_close_sending(stream);
}

enum grpc_c_status leadrouter_stream_finish(struct grpc_c_stream *stream, struct grpc_c_outcome *ret_outcome)
{
    return grpc_c_stream_finish(stream, ret_outcome);
}

void leadrouter_stream_on_end(struct grpc_c_stream *stream, grpc_c_stream_end_callback *callback, void *user)
{
    grpc_c_stream_on_end(stream, callback, user);
}

void leadrouter_stream_cancel(struct grpc_c_stream *stream)
{
    grpc_c_stream_cancel(stream);
}

void leadrouter_stream_free(struct grpc_c_stream *stream)
{
    grpc_c_stream_free(stream);
}
