#include "service.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { PUSHBACK_MS = 100 };

enum grpc_c_status service_status(const struct error *error)
{
    switch (error->code) {
    case ERROR_NONE:
        return GRPC_C_OK;
    case ERROR_INVALID:
        return GRPC_C_INVALID_ARGUMENT;
    case ERROR_NOT_FOUND:
        return GRPC_C_NOT_FOUND;
    case ERROR_EXISTS:
        return GRPC_C_ALREADY_EXISTS;
    case ERROR_BUSY:
        return GRPC_C_ABORTED;
    case ERROR_FULL:
        return GRPC_C_RESOURCE_EXHAUSTED;
    case ERROR_UNAVAILABLE:
    case ERROR_RESULT_UNKNOWN:
    case ERROR_PERMISSION: /* the database's: nothing the caller can mend */
        return GRPC_C_UNAVAILABLE;
    case ERROR_DEADLINE:
        return GRPC_C_DEADLINE_EXCEEDED;
    case ERROR_CANCELLED:
        return GRPC_C_CANCELLED;
    case ERROR_UNAUTHENTICATED:
        return GRPC_C_UNAUTHENTICATED;
    case ERROR_SYSTEM:
    case ERROR_DATABASE:
    case ERROR_INTERNAL:
        break;
    }
    return GRPC_C_INTERNAL;
}

static void log_failure(const struct grpc_c_call *call, const struct error *error, int64_t started_ns)
{
    enum grpc_c_status status = service_status(error);
    const struct log_field fields[] = {
        LOG_STRING("method", grpc_c_call_method(call)),
        LOG_STRING("code", grpc_c_status_name(status)),
        LOG_STRING("error", error->text),
        LOG_STRING("sqlstate", error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_STRING("peer", grpc_c_call_peer(call)),
        LOG_INTEGER("duration_us", (clock_now_ns() - started_ns) / 1000),
        LOG_END,
    };

    log_write(status == GRPC_C_INTERNAL ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "rpc.failed", "request failed", fields);
}

/* What the database said goes to the log only: it may quote rows. */
static const char *text_for_caller(const struct error *error)
{
    switch (error->code) {
    case ERROR_DATABASE:
    case ERROR_SYSTEM:
    case ERROR_INTERNAL:
        return "internal error; the server's log has the reason";
    case ERROR_PERMISSION:
        return "the database is away";
    default:
        return error->text;
    }
}

void service_fail(struct grpc_c_call *call, const struct error *error, int64_t started_ns)
{
    enum grpc_c_status status = service_status(error);

    log_failure(call, error, started_ns);
    if (status == GRPC_C_RESOURCE_EXHAUSTED) {
        char pushback[16];
        int size = snprintf(pushback, sizeof(pushback), "%d", PUSHBACK_MS);
        grpc_c_call_add_trailing_metadata(call, "grpc-retry-pushback-ms", pushback, (size_t)size);
    }
    grpc_c_call_fail(call, status, text_for_caller(error));
}

bool service_parse_id(
    const char *field, const char *text, bool is_optional, struct uuid *ret_id, struct error *reterr_error)
{
    if (is_optional && text[0] == '\0') {
        *ret_id = uuid_nil;
        return true;
    }
    if (!uuid_parse(text, ret_id))
        return error_set(reterr_error, ERROR_INVALID, "%s: %s", field, text[0] == '\0' ? "missing" : "not a UUID");
    return true;
}

char *service_id(struct arena *arena, const struct uuid *id)
{
    char *text = arena_alloc(arena, UUID_TEXT_SIZE);

    return uuid_is_nil(id) ? text : uuid_format(id, text);
}

Google__Protobuf__Timestamp *service_time(struct arena *arena, int64_t unix_us)
{
    Google__Protobuf__Timestamp *time = NULL;

    if (unix_us == 0 || unix_us == INT64_MAX || unix_us == INT64_MIN)
        return NULL;
    time = arena_alloc(arena, sizeof(*time));
    google__protobuf__timestamp__init(time);
    time->seconds = unix_us / 1000000;
    time->nanos = (int32_t)(unix_us % 1000000) * 1000;
    if (time->nanos < 0) {
        time->seconds--;
        time->nanos += 1000000000;
    }
    return time;
}

static void log_refusal(const char *method, enum grpc_c_status status, const char *message, void *user)
{
    const struct log_field fields[] = {
        LOG_STRING("method", method),
        LOG_STRING("code", grpc_c_status_name(status)),
        LOG_STRING("error", message),
        LOG_END,
    };

    (void)user;
    log_write(LOG_LEVEL_WARNING, "rpc.failed", "request refused", fields);
}

void service_register(struct grpc_c_server *server, struct service *service)
{
    leadrouter__v1__routing_service__add(server, &service_routing_handlers, service);
    leadrouter__v1__lead_service__add(server, &service_lead_handlers, service);
    grpc_c_server_observe_refusals(server, log_refusal, NULL);
}
