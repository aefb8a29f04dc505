#include "service.h"

#include <stdio.h>
#include <string.h>

#include "authorization.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

enum { PUSHBACK_MS = 100, REQUEST_TEXT_MAX = 1000, KEY_FIELDS = 4 /* of a line: what makes it like others */ };

void service_init(struct service *service)
{
    const struct grpc_c_service *const services[] = {&leadrouter__v1__routing_service__grpc_service,
        &leadrouter__v1__lead_service__grpc_service, &leadrouter__v1__rule_service__grpc_service,
        &leadrouter__v1__maintenance_service__grpc_service, &leadrouter__v1__workspace_service__grpc_service};

    pthread_mutex_init(&service->counts_lock, NULL);
    pthread_mutex_init(&service->retries_lock, NULL);
    pthread_mutex_init(&service->streams_lock, NULL);
    service->privacy = privacy_new(services, COUNT_OF(services));
    service->health = grpc_c_health_new();
}

void service_release(struct service *service)
{
    pthread_mutex_destroy(&service->counts_lock);
    pthread_mutex_destroy(&service->retries_lock);
    pthread_mutex_destroy(&service->streams_lock);
    grpc_c_health_free(service->health);
    grpc_c_reflection_free(service->reflection);
    privacy_free(service->privacy);
}

/* --- What callers are told ---------------------------------------------------------------------------------------- */

/* Errors of the database that are neither the caller's fault nor ours: beginnings of SQLSTATEs (PostgreSQL manual,
 * appendix A). Any other one is our bug. */
static const struct database_fault {
    const char *sqlstate;
    enum grpc_c_status status;
    const char *text;
} database_faults[] = {
    {"40001", GRPC_C_ABORTED, "others change the same rows; nothing was done, asking again is safe"},
    {"40P01", GRPC_C_ABORTED, "others change the same rows; nothing was done, asking again is safe"},
    {"55P03", GRPC_C_ABORTED, "others hold the same rows; nothing was done, asking again is safe"},
    {"57014", GRPC_C_UNAVAILABLE, "the database took too long; nothing was done, asking again is safe"},
    {"53", GRPC_C_UNAVAILABLE, "the database is out of resources; nothing was done, asking again is safe"},
    {"58", GRPC_C_UNAVAILABLE, "the database's machine has a fault; nothing was done, asking again is safe"},
    {"42501", GRPC_C_UNAVAILABLE, "the database does not let this server work"},
    {"3F000", GRPC_C_UNAVAILABLE, "the database no longer has the schema of this server"},
    {"42P01", GRPC_C_UNAVAILABLE, "the database no longer has the schema of this server"},
    {"42703", GRPC_C_UNAVAILABLE, "the database no longer has the schema of this server"},
    {"42883", GRPC_C_UNAVAILABLE, "the database no longer has the schema of this server"},
};

static const struct database_fault *find_fault(const struct error *error)
{
    if (error->code == ERROR_DATABASE)
        for (size_t i = 0; i < COUNT_OF(database_faults); i++)
            if (strncmp(error->sqlstate, database_faults[i].sqlstate, strlen(database_faults[i].sqlstate)) == 0)
                return &database_faults[i];
    return NULL;
}

enum grpc_c_status service_status(const struct error *error)
{
    const struct database_fault *fault = find_fault(error);

    if (fault != NULL)
        return fault->status;
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
    case ERROR_PRECONDITION:
        return GRPC_C_FAILED_PRECONDITION;
    case ERROR_DEADLINE:
        return GRPC_C_DEADLINE_EXCEEDED;
    case ERROR_CANCELLED:
        return GRPC_C_CANCELLED;
    case ERROR_UNAUTHENTICATED:
        return GRPC_C_UNAUTHENTICATED;
    case ERROR_FORBIDDEN:
        return GRPC_C_PERMISSION_DENIED;
    case ERROR_SYSTEM:
    case ERROR_DATABASE:
    case ERROR_INTERNAL:
        break;
    }
    return GRPC_C_INTERNAL;
}

const char *service_text(const struct error *error)
{
    const struct database_fault *fault = find_fault(error);

    if (fault != NULL)
        return fault->text;
    switch (error->code) {
    case ERROR_DATABASE: /* may quote rows */
    case ERROR_SYSTEM:
    case ERROR_INTERNAL:
        return "internal error; the server's log has the reason";
    case ERROR_PERMISSION:
        return "the database is away";
    default:
        return error->text;
    }
}

/* --- A call's beginning and end ----------------------------------------------------------------------------------- */

/* What may be seen of the request, as JSON; NULL when the client streams. In the buffer, which the caller has made. */
static const char *safe_request(const struct service_call *call, struct buffer *buffer)
{
    const ProtobufCMessage *request = grpc_c_call_request(call->call);

    if (request == NULL)
        return NULL;
    privacy_append_safe(call->service->privacy, request, buffer);
    return buffer_text(buffer);
}

static void log_call(const struct service_call *call)
{
    struct buffer request = {.size_max = REQUEST_TEXT_MAX};
    char peer[GRPC_C_PEER_SIZE];
    const struct log_field fields[] = {
        LOG_STRING("method", grpc_c_call_method(call->call)),
        LOG_STRING("request", safe_request(call, &request)),
        LOG_STRING("peer", grpc_c_call_peer(call->call, peer)),
        LOG_END,
    };

    log_write(LOG_LEVEL_DEBUG, "rpc.called", "a call has come", fields);
    buffer_release(&request);
}

void service_begin(struct service_call *ret_call, struct grpc_c_call *call, void *user)
{
    const struct call_context *context = authorization_context(call);

    *ret_call = (struct service_call){.call = call, .service = user, .started_ns = clock_now_ns()};
    if (context != NULL)
        ret_call->context = *context;
    atomic_fetch_add_explicit(&ret_call->service->calls, 1, memory_order_relaxed);
    if (log_is_on(LOG_LEVEL_DEBUG))
        log_call(ret_call);
}

int64_t service_work_deadline_ns(const struct service_call *call)
{
    int64_t now_ns = clock_now_ns();
    int64_t left_ns = grpc_c_call_deadline_ns(call->call) - now_ns;

    return now_ns + left_ns - left_ns / 10;
}

/* NULL, which the log leaves out, for no id. */
static const char *id_text(const struct uuid *id, char ret_text[UUID_TEXT_SIZE])
{
    return uuid_is_nil(id) ? NULL : uuid_format(id, ret_text);
}

static void log_failure(const struct service_call *call, const struct error *error)
{
    enum grpc_c_status status = service_status(error);
    char workspace[UUID_TEXT_SIZE], lead[UUID_TEXT_SIZE], peer[GRPC_C_PEER_SIZE];
    struct buffer message = {.size_max = REQUEST_TEXT_MAX};
    struct call_context_texts texts;
    struct log_field about_call[CALL_CONTEXT_FIELDS];

    call_context_fields(&call->context, &call->request_id, &texts, about_call);
    const struct log_field fields[] = {
        LOG_STRING("method", grpc_c_call_method(call->call)),
        LOG_STRING("code", grpc_c_status_name(status)),
        LOG_STRING("error", error->text),
        LOG_STRING("sqlstate", error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_STRING("workspace_id", id_text(&call->workspace_id, workspace)),
        LOG_STRING("lead_id", id_text(&call->lead_id, lead)),
        about_call[0],
        about_call[1],
        about_call[2],
        LOG_STRING("request", safe_request(call, &message)),
        LOG_STRING("peer", grpc_c_call_peer(call->call, peer)),
        LOG_INTEGER("duration_us", (clock_now_ns() - call->started_ns) / 1000),
        LOG_END,
    };

    log_write_limited(status == GRPC_C_INTERNAL ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "rpc.failed", "request failed",
        fields, KEY_FIELDS);
    buffer_release(&message);
}

bool service_find_limit(struct error *error)
{
    if (strcmp(error->sqlstate, "LR429") != 0)
        return false;
    error->code = ERROR_FULL;
    error->retry_after_ms = -1;
    return true;
}

int32_t service_pushback_ms(const struct error *error)
{
    if (service_status(error) != GRPC_C_RESOURCE_EXHAUSTED)
        return 0;
    return error->retry_after_ms == 0 ? PUSHBACK_MS : error->retry_after_ms;
}

void service_add_pushback(struct grpc_c_call *call, const struct error *error)
{
    char pushback[16];

    if (service_status(error) != GRPC_C_RESOURCE_EXHAUSTED)
        return;
    int size = snprintf(pushback, sizeof(pushback), "%d", (int)service_pushback_ms(error));
    grpc_c_call_add_trailing_metadata(call, "grpc-retry-pushback-ms", pushback, (size_t)size);
}

void service_fail_unlogged(struct service_call *call, const struct error *error)
{
    atomic_fetch_add_explicit(&call->service->failures, 1, memory_order_relaxed);
    service_add_pushback(call->call, error);
    grpc_c_call_fail(call->call, service_status(error), service_text(error));
}

void service_fail(struct service_call *call, const struct error *error)
{
    log_failure(call, error);
    service_fail_unlogged(call, error);
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

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

/* --- Registering -------------------------------------------------------------------------------------------------- */

static void log_refusal(const char *method, enum grpc_c_status status, const char *message, void *user)
{
    const struct log_field fields[] = {
        LOG_STRING("method", authorization_find(method) == NULL ? "(unknown)" : method),
        LOG_STRING("code", grpc_c_status_name(status)),
        LOG_STRING("error", message),
        LOG_END,
    };
    struct service *service = user;

    atomic_fetch_add_explicit(&service->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&service->failures, 1, memory_order_relaxed);
    log_write_limited(LOG_LEVEL_WARNING, "rpc.failed", "request refused", fields, 3);
}

void service_register(struct grpc_c_server *server, struct service *service)
{
    leadrouter__v1__routing_service__add(server, &service_routing_handlers, service);
    leadrouter__v1__lead_service__add(server, &service_lead_handlers, service);
    leadrouter__v1__rule_service__add(server, &service_rule_handlers, service);
    leadrouter__v1__maintenance_service__add(server, &service_maintenance_handlers, service);
    leadrouter__v1__workspace_service__add(server, &service_workspace_handlers, service);
    grpc_c_health_add(server, service->health);
    service->reflection = grpc_c_reflection_add(server);
    grpc_c_server_observe_refusals(server, log_refusal, service);
}

void service_tell_health(struct service *service)
{
    bool is_serving = routing_engine_is_connected(service->engine);

    grpc_c_health_set(service->health, "", is_serving);
    grpc_c_health_set(service->health, leadrouter__v1__routing_service__grpc_service.name, is_serving);
    grpc_c_health_set(service->health, leadrouter__v1__lead_service__grpc_service.name, is_serving);
    grpc_c_health_set(service->health, leadrouter__v1__rule_service__grpc_service.name, is_serving);
    grpc_c_health_set(service->health, leadrouter__v1__maintenance_service__grpc_service.name, is_serving);
    grpc_c_health_set(service->health, leadrouter__v1__workspace_service__grpc_service.name, is_serving);
}

void service_stop_health(struct service *service)
{
    grpc_c_health_stop(service->health);
}
