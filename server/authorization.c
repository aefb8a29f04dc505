#include "authorization.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "routing/engine.h"
#include "service.h"
#include "tracing.h"

/* --- The table ---------------------------------------------------------------------------------------------------- */

#define ROUTING "/leadrouter.v1.RoutingService/"
#define LEADS "/leadrouter.v1.LeadService/"
#define RULES "/leadrouter.v1.RuleService/"
#define MAINTENANCE "/leadrouter.v1.MaintenanceService/"
#define WORKSPACES "/leadrouter.v1.WorkspaceService/"
#define HEALTH "/grpc.health.v1.Health/"
#define REFLECTION "/grpc.reflection."

static const char workspace_id[] = "workspace_id";
static const char source_workspace_id[] = "source_workspace_id";

static const struct authorization_rule rules[] = {
    {ROUTING "RouteLead", RIGHT_MEMBER, source_workspace_id},
    {ROUTING "RouteLeads", RIGHT_SERVICE, NULL}, /* for every lead on the stream another workspace */
    {ROUTING "ProcessRetries", RIGHT_ADMIN, workspace_id},
    {ROUTING "Health", RIGHT_MEMBER, workspace_id},

    {LEADS "CreateLeads", RIGHT_MEMBER, workspace_id},
    {LEADS "GetLead", RIGHT_MEMBER, workspace_id},
    {LEADS "EraseLead", RIGHT_ADMIN, workspace_id},
    {LEADS "ListLeads", RIGHT_MEMBER, workspace_id},
    {LEADS "ImportLeads", RIGHT_MEMBER,
        NULL}, /* the workspace is in the first message: authorization_need_workspace() */
    {LEADS "GetImport", RIGHT_MEMBER, workspace_id},
    {LEADS "ListImports", RIGHT_MEMBER, workspace_id},
    {LEADS "ListRejectedRows", RIGHT_MEMBER, workspace_id},

    {RULES "CreateRule", RIGHT_ADMIN, workspace_id},
    {RULES "GetRule", RIGHT_MEMBER, workspace_id},
    {RULES "ListRules", RIGHT_MEMBER, workspace_id},
    {RULES "UpdateRule", RIGHT_ADMIN, workspace_id},
    {RULES "DeleteRule", RIGHT_ADMIN, workspace_id},
    {RULES "ApplyRules", RIGHT_ADMIN, workspace_id},
    {RULES "RevertRules", RIGHT_ADMIN, workspace_id},
    {RULES "DiffRuleVersions", RIGHT_MEMBER, workspace_id},
    {RULES "ListRuleVersions", RIGHT_MEMBER, workspace_id},
    {RULES "TestRules", RIGHT_MEMBER, workspace_id},
    {RULES "LintRules", RIGHT_MEMBER, workspace_id},
    {RULES "GetRoutingHistory", RIGHT_MEMBER, workspace_id},

    {MAINTENANCE "ReleaseStaleLocks", RIGHT_SERVICE, NULL},
    {MAINTENANCE "ExpireLeads", RIGHT_ADMIN, workspace_id},
    {MAINTENANCE "ListJobs", RIGHT_SERVICE, NULL},
    {MAINTENANCE "RunJob", RIGHT_SERVICE, NULL},
    {MAINTENANCE "PauseJob", RIGHT_SERVICE, NULL},
    {MAINTENANCE "ResumeJob", RIGHT_SERVICE, NULL},
    {MAINTENANCE "ListRetries", RIGHT_MEMBER, workspace_id},
    {MAINTENANCE "CancelRetries", RIGHT_SERVICE, NULL}, /* for every lead another workspace */
    {MAINTENANCE "VerifyAudit", RIGHT_SERVICE, NULL},

    {WORKSPACES "CreateWorkspace", RIGHT_SERVICE, NULL},
    {WORKSPACES "GetWorkspace", RIGHT_MEMBER, workspace_id},
    {WORKSPACES "ListWorkspaces", RIGHT_CALLER, NULL}, /* a person's own */
    {WORKSPACES "UpdateWorkspace", RIGHT_ADMIN, workspace_id},
    {WORKSPACES "ListMembers", RIGHT_MEMBER, workspace_id},
    {WORKSPACES "SetMember", RIGHT_ADMIN, workspace_id},
    {WORKSPACES "RemoveMember", RIGHT_ADMIN, workspace_id},

    /* What looks after a server has no token, and learns nothing of leads; the protocol is for whoever may call at all. */
    {HEALTH "Check", RIGHT_ANYONE, NULL},
    {HEALTH "Watch", RIGHT_ANYONE, NULL},
    {REFLECTION "v1.ServerReflection/ServerReflectionInfo", RIGHT_CALLER, NULL},
    {REFLECTION "v1alpha.ServerReflection/ServerReflectionInfo", RIGHT_CALLER, NULL},
};

const struct authorization_rule *authorization_find(const char *method)
{
    for (size_t i = 0; i < COUNT_OF(rules); i++)
        if (strcmp(rules[i].method, method) == 0)
            return &rules[i];
    return NULL;
}

const struct authorization_rule *authorization_rule_at(size_t index)
{
    return index < COUNT_OF(rules) ? &rules[index] : NULL;
}

/* --- Refusing ----------------------------------------------------------------------------------------------------- */

static bool refuse(struct grpc_c_call *call, enum grpc_c_status status, const char *text)
{
    struct call_context_texts texts;
    struct log_field about_call[CALL_CONTEXT_FIELDS];
    char peer[GRPC_C_PEER_SIZE];

    call_context_fields(authorization_context(call), NULL, &texts, about_call);
    const struct log_field fields[] = {
        LOG_STRING("method", grpc_c_call_method(call)),
        LOG_STRING("code", grpc_c_status_name(status)),
        LOG_STRING("error", text),
        LOG_STRING("peer", grpc_c_call_peer(call, peer)),
        about_call[0],
        about_call[1],
        about_call[2],
        LOG_END,
    };

    log_write_limited(LOG_LEVEL_WARNING, "rpc.refused", "the caller may not", fields, 3);
    grpc_c_call_fail(call, status, text);
    return false;
}

static bool refuse_error(struct grpc_c_call *call, const struct error *error)
{
    service_add_pushback(call, error);
    return refuse(call, service_status(error), service_text(error));
}

const char *authorization_refusal(enum right right)
{
    static const char *const texts[] = {
        [RIGHT_ANYONE] = "nobody may call this",
        [RIGHT_CALLER] = "only callers that are known may call this",
        [RIGHT_MEMBER] = ROUTING_NO_MEMBER_TEXT,
        [RIGHT_ADMIN] = ROUTING_NO_ADMIN_TEXT,
        [RIGHT_SERVICE] = "only services may call this",
    };

    return texts[right];
}

static bool refuse_right(struct grpc_c_call *call, enum right right)
{
    return refuse(call, GRPC_C_PERMISSION_DENIED, authorization_refusal(right));
}

/* --- Who calls ---------------------------------------------------------------------------------------------------- */

/* What the gate keeps of a call; in its arena. */
struct gated {
    struct caller caller;
    struct authorization_need need; /* of a person's call */
    bool has_need;
    struct limits_hold hold;
    struct limits_hold import; /* of a stream that is one */
    struct call_context context;
};

static bool admit(struct grpc_c_call *call, void *user)
{
    const struct authorization *authorization = user;
    const struct authorization_rule *rule = authorization_find(grpc_c_call_method(call));
    struct error error = {0};
    struct caller *caller = NULL;

    if (rule == NULL)
        return refuse_right(call, RIGHT_ANYONE);
    struct gated *gated = arena_alloc(grpc_c_call_arena(call), sizeof(*gated));
    caller = &gated->caller;
    call_context_read(&gated->context, call);
    if (rule->right != RIGHT_ANYONE) /* those look after the server, and often */
        tracer_decide(authorization->tracer, &gated->context.trace);
    grpc_c_call_set_caller(call, gated);
    if (rule->right == RIGHT_ANYONE)
        return true;
    if (!authentication_identify(authorization->authentication, call, caller, &error))
        return refuse(call, GRPC_C_UNAUTHENTICATED, error.text);
    if (caller->kind == CALLER_NOBODY)
        return refuse(call, GRPC_C_UNAUTHENTICATED, "a token or the certificate of a service is needed");
    if (rule->right == RIGHT_SERVICE && caller->kind != CALLER_SERVICE)
        return refuse_right(call, RIGHT_SERVICE);
    return true;
}

static bool stays(struct grpc_c_call *call, struct error *reterr_error, void *user)
{
    const struct authorization *authorization = user;
    struct gated *gated = grpc_c_call_caller(call);

    return authentication_stays(authorization->authentication, &gated->caller, reterr_error);
}

/* --- Who may ------------------------------------------------------------------------------------------------------ */

/* Where a text of the request stands; NULL when it has no such field. */
static char **find_text(ProtobufCMessage *request, const char *name)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(request->descriptor, name);

    if (field == NULL || field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED)
        return NULL;
    return (char **)(void *)((char *)request + field->offset);
}

static const char other_user[] = "user_id: must be the caller's";

/* Whoever acts is the caller, and the record of it says so. */
static bool set_user(struct grpc_c_call *call, ProtobufCMessage *request, const struct caller *caller)
{
    char **text = find_text(request, "user_id");
    struct uuid id = uuid_nil;

    if (text == NULL)
        return true;
    if ((*text)[0] == '\0') {
        *text = service_id(grpc_c_call_arena(call), &caller->user_id);
        return true;
    }
    if (!uuid_parse(*text, &id))
        return refuse(call, GRPC_C_INVALID_ARGUMENT, "user_id: not a UUID");
    if (!uuid_equal(&id, &caller->user_id))
        return refuse(call, GRPC_C_PERMISSION_DENIED, other_user);
    return true;
}

/* Whether there is such a workspace, and what the person is there, is found out where the call's work is done. */
static bool find_workspace(
    const struct authorization_rule *rule, ProtobufCMessage *request, struct uuid *ret_id, struct error *reterr_error)
{
    const char *text = NULL;

    *ret_id = uuid_nil;
    if (rule->workspace_field == NULL)
        return true;
    text = *find_text(request, rule->workspace_field);
    if (text[0] == '\0')
        return error_set(
            reterr_error, ERROR_INVALID, "%s: missing; only services may leave it out", rule->workspace_field);
    return service_parse_id(rule->workspace_field, text, false, ret_id, reterr_error);
}

/* --- How much ----------------------------------------------------------------------------------------------------- */

/* One line for a workspace whose calls are refused, and not one for each of them: they may be many. */
static void report_refusals(const struct grpc_c_call *call, const struct limits_hold *hold, const struct error *error)
{
    char id[UUID_TEXT_SIZE], peer[GRPC_C_PEER_SIZE];
    const struct log_field fields[] = {
        LOG_STRING("method", grpc_c_call_method(call)),
        LOG_STRING("error", error->text),
        LOG_STRING("workspace_id", uuid_format(&hold->workspace_id, id)),
        LOG_INTEGER("calls", hold->refused),
        LOG_STRING("peer", grpc_c_call_peer(call, peer)),
        LOG_END,
    };

    if (hold->refused > 0)
        log_write(LOG_LEVEL_WARNING, "limits.reached", "calls of a workspace are refused", fields);
}

/* Whether the limits of the workspace in the request leave room for this call. A request without one, or with none that could be, is for
 * the handler to judge. */
static bool is_within_limits(struct authorization *authorization, const struct authorization_rule *rule,
    struct grpc_c_call *call, ProtobufCMessage *request)
{
    struct gated *gated = grpc_c_call_caller(call);
    const struct uuid *person = gated->caller.kind == CALLER_PERSON ? &gated->caller.user_id : NULL;
    struct uuid id = uuid_nil;
    struct error error = {0};

    if (rule->workspace_field == NULL || request == NULL ||
        !uuid_parse(*find_text(request, rule->workspace_field), &id))
        return true;
    if (limits_enter(authorization->limits, &id, person, clock_now_ns(), &gated->hold, &error))
        return true;
    report_refusals(call, &gated->hold, &error);
    call_refusals_tell(authorization->refusals, call, &error, gated->hold.tell_ns);
    return false;
}

static void ended(struct grpc_c_call *call, enum grpc_c_status status, void *user)
{
    struct authorization *authorization = user;
    struct gated *gated = grpc_c_call_caller(call);

    tracing_call_ended(authorization->tracer, &gated->context, grpc_c_call_method(call), status);
    limits_leave_import(authorization->limits, &gated->import);
    limits_leave(authorization->limits, &gated->hold,
        status == GRPC_C_OK                  ? LIMITS_END_MEMBER
        : status == GRPC_C_PERMISSION_DENIED ? LIMITS_END_STRANGER
                                             : LIMITS_END_UNSAID);
}

/* --- The gate ----------------------------------------------------------------------------------------------------- */

static bool pass(struct grpc_c_call *call, ProtobufCMessage *request, void *user)
{
    const struct authorization_rule *rule = authorization_find(grpc_c_call_method(call));
    struct gated *gated = grpc_c_call_caller(call);
    struct error error = {0};

    assert(rule != NULL); /* or it was not admitted */
    if (!is_within_limits(user, rule, call, request))
        return false;
    if (gated->caller.kind != CALLER_PERSON)
        return true;
    if (request != NULL && !set_user(call, request, &gated->caller))
        return false;
    gated->has_need = true;
    gated->need = (struct authorization_need){.user_id = gated->caller.user_id, .is_admin = rule->right == RIGHT_ADMIN};
    return find_workspace(rule, request, &gated->need.workspace_id, &error) || refuse_error(call, &error);
}

void authorization_guard(struct grpc_c_server *server, struct authorization *authorization)
{
    const struct grpc_c_gate gate = {
        .admit = admit, .pass = pass, .ended = ended, .stays = stays, .user = authorization};

    grpc_c_server_set_gate(server, &gate);
}

const struct authorization_need *authorization_need(const struct grpc_c_call *call)
{
    const struct gated *gated = grpc_c_call_caller(call);

    assert(gated != NULL && (gated->caller.kind != CALLER_PERSON || gated->has_need));
    return gated->has_need ? &gated->need : NULL;
}

bool authorization_need_workspace(
    struct grpc_c_call *call, const struct uuid *id, struct uuid *user_id, struct error *reterr_error)
{
    struct gated *gated = grpc_c_call_caller(call);

    if (gated->caller.kind != CALLER_PERSON)
        return true;
    if (!uuid_is_nil(user_id) && !uuid_equal(user_id, &gated->caller.user_id))
        return error_set(reterr_error, ERROR_FORBIDDEN, "%s", other_user);
    *user_id = gated->caller.user_id;
    gated->need.workspace_id = *id;
    return true;
}

bool authorization_count_stream(
    struct grpc_c_call *call, struct limits *limits, const struct uuid *id, struct error *reterr_error)
{
    struct gated *gated = grpc_c_call_caller(call);
    const struct uuid *person = gated->caller.kind == CALLER_PERSON ? &gated->caller.user_id : NULL;

    if (limits_enter(limits, id, person, clock_now_ns(), &gated->hold, reterr_error))
        return true;
    report_refusals(call, &gated->hold, reterr_error);
    return false;
}

bool authorization_count_import(struct grpc_c_call *call, struct limits *limits, struct error *reterr_error)
{
    struct gated *gated = grpc_c_call_caller(call);

    if (limits_enter_import(limits, &gated->hold.workspace_id, clock_now_ns(), &gated->import, reterr_error))
        return true;
    report_refusals(call, &gated->import, reterr_error);
    return false;
}

bool authorization_count_more(struct grpc_c_call *call, struct limits *limits, struct error *reterr_error)
{
    struct gated *gated = grpc_c_call_caller(call);

    return limits_spend(limits, &gated->hold, clock_now_ns(), reterr_error);
}

const struct call_context *authorization_context(const struct grpc_c_call *call)
{
    const struct gated *gated = grpc_c_call_caller(call);

    return gated == NULL ? NULL : &gated->context;
}

bool authorization_is_service(const struct grpc_c_call *call)
{
    const struct gated *gated = grpc_c_call_caller(call);

    return gated->caller.kind == CALLER_SERVICE;
}

struct uuid authorization_person(const struct grpc_c_call *call)
{
    const struct gated *gated = grpc_c_call_caller(call);

    return gated->caller.kind == CALLER_PERSON ? gated->caller.user_id : uuid_nil;
}
