/* WorkspaceService: workspaces, their policies and their members. */
#include <string.h>

#include "authorization.h"
#include "base/memory.h"
#include "base/text.h"
#include "page.h"
#include "rules/rules.h"
#include "service.h"

enum {
    NAME_SIZE_MAX = 200,
    NOTE_SIZE_MAX = 1000,
};

/* One call; in its arena. */
struct workspace_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const void *request; /* the message, valid until the call is answered */
    struct uuid user_id;
    struct uuid member_id;
    struct page page;
};

static struct arena *arena_of(const struct workspace_call *call)
{
    return grpc_c_call_arena(call->base.call);
}

/* Whose rights are to be looked at: those of services are not. */
static bool is_person(const struct workspace_call *call)
{
    return !authorization_is_service(call->base.call);
}

static struct workspace_call *begin(
    struct grpc_c_call *call, const void *request, void *user, void (*run)(struct work *work))
{
    struct workspace_call *workspace = arena_alloc(grpc_c_call_arena(call), sizeof(*workspace));

    service_begin(&workspace->base, call, user);
    workspace->request = request;
    workspace->work.run = run;
    return workspace;
}

/* Hands the call to a worker, if all was well. */
static void submit(struct workspace_call *call, bool ok, struct error *error)
{
    if (!ok || !worker_pool_submit(call->base.service->workers, &call->work, error))
        service_fail(&call->base, error);
}

/* Says in our words what the functions refuse. Returns false. */
static bool explain(struct error *error)
{
    static const struct {
        const char *sqlstate;
        enum error_code code;
    } refusals[] = {
        {"LR403", ERROR_FORBIDDEN},
        {"LR404", ERROR_NOT_FOUND},
        {"LR409", ERROR_EXISTS},
        {"LR412", ERROR_BUSY},
        {"LR423", ERROR_PRECONDITION},
    };

    for (size_t i = 0; i < COUNT_OF(refusals); i++)
        if (strcmp(error->sqlstate, refusals[i].sqlstate) == 0)
            error->code = refusals[i].code;
    if (strcmp(error->sqlstate, "LR422") == 0) {
        error->code = ERROR_INVALID;
        error_add_context(error, "workspace.policy_json");
    }
    if (strncmp(error->sqlstate, "23", 2) == 0) /* a host's own constraint */
        error_set_sql(error, ERROR_INVALID, error->sqlstate,
            "a value does not fit the database's own constraints (SQLSTATE %s)", error->sqlstate);
    return false;
}

static bool query(struct workspace_call *call, const struct pg_statement *statement, const struct pg_params *params,
    struct pg_result **ret_result, struct error *reterr_error)
{
    int64_t deadline_ns = grpc_c_call_deadline_ns(call->base.call);

    return service_query(&call->base, statement, params, deadline_ns, ret_result, reterr_error) ||
           explain(reterr_error);
}

static void add_id(struct pg_params *params, const struct uuid *id)
{
    pg_params_add_uuid(params, uuid_is_nil(id) ? NULL : id);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static const char *const type_names[] = {
    [LEADROUTER__V1__WORKSPACE_TYPE__WORKSPACE_TYPE_STANDARD] = "standard",
    [LEADROUTER__V1__WORKSPACE_TYPE__WORKSPACE_TYPE_PARTNER] = "partner",
};

/* A type that only a host's table knows is given as none. */
static Leadrouter__V1__WorkspaceType type_of(const char *name)
{
    for (unsigned i = 1; i < COUNT_OF(type_names); i++)
        if (strcmp(name, type_names[i]) == 0)
            return (Leadrouter__V1__WorkspaceType)i;
    return LEADROUTER__V1__WORKSPACE_TYPE__WORKSPACE_TYPE_UNSPECIFIED;
}

static Leadrouter__V1__Workspace *workspace_message(struct arena *arena, const struct pg_result *result, int row)
{
    Leadrouter__V1__Workspace *message = arena_alloc(arena, sizeof(*message));
    struct uuid id = pg_result_uuid(result, row, 0);

    leadrouter__v1__workspace__init(message);
    message->id = service_id(arena, &id);
    message->name = arena_copy_string(arena, pg_result_text(result, row, 1));
    message->type = type_of(pg_result_text(result, row, 2));
    message->is_active = pg_result_bool(result, row, 3);
    message->policy_json = arena_copy_string(arena, pg_result_text(result, row, 4));
    message->version = pg_result_int8(result, row, 5);
    message->created_at = service_time(arena, pg_result_int8(result, row, 6));
    message->updated_at = service_time(arena, pg_result_int8(result, row, 7));
    return message;
}

static const struct service_reading reading =
    SERVICE_READING("id, name, workspace_type, is_active, routing_config, version, created_us, updated_us",
        "read_workspaces", "($1, $2, $3, $4, $5)", 5, PG_UUID, PG_UUID, PG_INT8, PG_UUID, PG_INT4);

/* One workspace when there is an id, or a page and one row more when there is another page. */
static void add_choice(
    struct pg_params *params, const struct workspace_call *call, const struct uuid *id, const struct uuid *member_id)
{
    pg_params_init(params, arena_of(call));
    add_id(params, id);
    add_id(params, member_id);
    page_add_params(&call->page, params);
}

/* Takes the workspace of the call from the rows, and releases them. Errors: ERROR_NOT_FOUND. */
static bool take_one(struct workspace_call *call, struct pg_result *result, Leadrouter__V1__Workspace **ret_message,
    struct error *reterr_error)
{
    bool ok = pg_result_row_count(result) > 0 || error_set(reterr_error, ERROR_NOT_FOUND, "no such workspace");

    if (ok)
        *ret_message = workspace_message(arena_of(call), result, 0);
    pg_result_free(result);
    return ok;
}

static bool read_one(struct workspace_call *call, Leadrouter__V1__Workspace **ret_message, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *result = NULL;

    add_choice(&params, call, &call->base.workspace_id, &uuid_nil);
    return service_read(
               &call->base, &reading, &params, grpc_c_call_deadline_ns(call->base.call), &result, reterr_error) &&
           take_one(call, result, ret_message, reterr_error);
}

/* After it was written by this call: who was let write it is told what was written, whatever happened since. */
static bool read_written(
    struct workspace_call *call, Leadrouter__V1__Workspace **ret_message, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *result = NULL;

    add_choice(&params, call, &call->base.workspace_id, &uuid_nil);
    return service_query_unasked(call->base.service, &reading.for_services, &params,
               grpc_c_call_deadline_ns(call->base.call), &result, reterr_error) &&
           take_one(call, result, ret_message, reterr_error);
}

/* --- Input -------------------------------------------------------------------------------------------------------- */

/* An empty policy is {}. */
static const char *policy_of(const Leadrouter__V1__Workspace *workspace)
{
    return workspace->policy_json[0] == '\0' ? "{}" : workspace->policy_json;
}

/* What the caller gives of a workspace. */
static bool check_workspace(const Leadrouter__V1__Workspace *workspace, struct error *reterr_error)
{
    struct rule_policy policy;

    if (workspace == NULL)
        return error_set(reterr_error, ERROR_INVALID, "workspace: missing");
    if (text_is_blank(workspace->name) || strlen(workspace->name) > NAME_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "workspace.name: must have 1 to %d bytes", NAME_SIZE_MAX);
    if (workspace->type < 0 || workspace->type >= (int)COUNT_OF(type_names))
        return error_set(reterr_error, ERROR_INVALID, "workspace.type: not one that is known");
    if (!rule_policy_parse(policy_of(workspace), &policy, reterr_error))
        return error_add_context(reterr_error, "workspace.policy_json");
    return true;
}

static void add_workspace(struct pg_params *params, const Leadrouter__V1__Workspace *workspace)
{
    const char *type = type_names[workspace->type];

    pg_params_add_text(params, workspace->name);
    pg_params_add_text(
        params, type == NULL ? type_names[LEADROUTER__V1__WORKSPACE_TYPE__WORKSPACE_TYPE_STANDARD] : type);
    pg_params_add_bool(params, workspace->is_active != 0);
    pg_params_add_text(params, policy_of(workspace));
}

/* --- CreateWorkspace, UpdateWorkspace ----------------------------------------------------------------------------- */

static void run_create(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "create_workspace",
        .sql = "select leadrouter.create_workspace($1, $2, $3, $4, $5::jsonb, $6)",
        .param_count = 6,
        .param_types = {PG_UUID, PG_TEXT, PG_TEXT, PG_BOOL, PG_TEXT, PG_UUID},
    };
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    const Leadrouter__V1__CreateWorkspaceRequest *request = call->request;
    Leadrouter__V1__CreateWorkspaceResponse response = LEADROUTER__V1__CREATE_WORKSPACE_RESPONSE__INIT;
    struct pg_params params;
    struct pg_result *result = NULL;
    struct error error = {0};

    pg_params_init(&params, arena_of(call));
    pg_params_add_uuid(&params, &call->base.workspace_id);
    add_workspace(&params, request->workspace);
    add_id(&params, &call->user_id);
    if (query(call, &statement, &params, &result, &error) && read_written(call, &response.workspace, &error)) {
        response.created = pg_result_bool(result, 0, 0);
        leadrouter__v1__workspace_service__create_workspace__reply(call->base.call, &response);
    } else {
        service_fail(&call->base, &error);
    }
    pg_result_free(result);
}

static void handle_create(struct grpc_c_call *call, const Leadrouter__V1__CreateWorkspaceRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_create);
    struct uuid *id = &workspace->base.workspace_id;
    struct error error = {0};
    bool ok = check_workspace(request->workspace, &error) &&
              service_parse_id("workspace.id", request->workspace->id, true, id, &error) &&
              service_parse_id("user_id", request->user_id, true, &workspace->user_id, &error);

    if (ok && uuid_is_nil(id))
        *id = uuid_random();
    submit(workspace, ok, &error);
}

static void run_update(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "update_workspace",
        .sql = "select leadrouter.update_workspace($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9)",
        .param_count = 9,
        .param_types = {PG_UUID, PG_TEXT, PG_TEXT, PG_BOOL, PG_TEXT, PG_INT8, PG_BOOL, PG_UUID, PG_TEXT},
    };
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    const Leadrouter__V1__UpdateWorkspaceRequest *request = call->request;
    Leadrouter__V1__UpdateWorkspaceResponse response = LEADROUTER__V1__UPDATE_WORKSPACE_RESPONSE__INIT;
    struct pg_params params;
    struct pg_result *result = NULL;
    struct error error = {0};

    pg_params_init(&params, arena_of(call));
    pg_params_add_uuid(&params, &call->base.workspace_id);
    add_workspace(&params, request->workspace);
    pg_params_add_int8(&params, request->expected_version);
    pg_params_add_bool(&params, is_person(call));
    add_id(&params, &call->user_id);
    pg_params_add_text(&params, request->note);
    if (query(call, &statement, &params, &result, &error) && read_written(call, &response.workspace, &error))
        leadrouter__v1__workspace_service__update_workspace__reply(call->base.call, &response);
    else
        service_fail(&call->base, &error);
    pg_result_free(result);
}

static void handle_update(struct grpc_c_call *call, const Leadrouter__V1__UpdateWorkspaceRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_update);
    struct uuid id = uuid_nil;
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &workspace->base.workspace_id, &error) &&
              check_workspace(request->workspace, &error) &&
              service_parse_id("workspace.id", request->workspace->id, true, &id, &error) &&
              service_parse_id("user_id", request->user_id, true, &workspace->user_id, &error);

    if (ok && !uuid_is_nil(&id) && !uuid_equal(&id, &workspace->base.workspace_id))
        ok = error_set(&error, ERROR_INVALID, "workspace.id: must be workspace_id, or empty");
    if (ok && request->expected_version < 0)
        ok = error_set(&error, ERROR_INVALID, "expected_version: must not be negative");
    if (ok && strlen(request->note) > NOTE_SIZE_MAX)
        ok = error_set(&error, ERROR_INVALID, "note: more than %d bytes", NOTE_SIZE_MAX);
    submit(workspace, ok, &error);
}

/* --- GetWorkspace, ListWorkspaces --------------------------------------------------------------------------------- */

static void run_get(struct work *work)
{
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    Leadrouter__V1__GetWorkspaceResponse response = LEADROUTER__V1__GET_WORKSPACE_RESPONSE__INIT;
    struct error error = {0};

    if (read_one(call, &response.workspace, &error))
        leadrouter__v1__workspace_service__get_workspace__reply(call->base.call, &response);
    else
        service_fail(&call->base, &error);
}

static void handle_get(struct grpc_c_call *call, const Leadrouter__V1__GetWorkspaceRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_get);
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &workspace->base.workspace_id, &error);

    submit(workspace, ok, &error);
}

static void run_list(struct work *work)
{
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    struct arena *arena = arena_of(call);
    Leadrouter__V1__ListWorkspacesResponse response = LEADROUTER__V1__LIST_WORKSPACES_RESPONSE__INIT;
    const int size = call->page.size;
    struct pg_params params;
    struct pg_result *result = NULL;
    struct error error = {0};
    int rows = 0;

    add_choice(&params, call, &uuid_nil, &call->user_id);
    if (!service_read(&call->base, &reading, &params, grpc_c_call_deadline_ns(call->base.call), &result, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    rows = pg_result_row_count(result);
    response.workspaces = arena_alloc_array(arena, (size_t)size, sizeof(*response.workspaces));
    for (int row = 0; row < rows && row < size; row++)
        response.workspaces[response.n_workspaces++] = workspace_message(arena, result, row);
    if (rows > size) {
        const struct page_place last = {
            .time_us = pg_result_int8(result, size - 1, 6), .id = pg_result_uuid(result, size - 1, 0)};
        response.next_page_token = page_next(&call->page, &last, arena);
    }
    pg_result_free(result);
    leadrouter__v1__workspace_service__list_workspaces__reply(call->base.call, &response);
}

static void handle_list(struct grpc_c_call *call, const Leadrouter__V1__ListWorkspacesRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_list);
    char person[UUID_TEXT_SIZE];
    struct error error = {0};
    const char *list = NULL;

    if (is_person(workspace))
        workspace->user_id = authorization_person(call);
    list = arena_format(grpc_c_call_arena(call), "ListWorkspaces %s", uuid_format(&workspace->user_id, person));
    submit(workspace, page_read(&workspace->page, request->page_size, request->page_token, list, &error), &error);
}

/* --- Members ------------------------------------------------------------------------------------------------------ */

static void run_list_members(struct work *work)
{
    static const struct service_reading members =
        SERVICE_READING("user_id, is_admin", "list_members", "($1, $2, $3)", 3, PG_UUID, PG_UUID, PG_INT4);
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    struct arena *arena = arena_of(call);
    Leadrouter__V1__ListMembersResponse response = LEADROUTER__V1__LIST_MEMBERS_RESPONSE__INIT;
    struct pg_params params;
    struct pg_result *result = NULL;
    struct error error = {0};

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &call->base.workspace_id);
    add_id(&params, &call->member_id);
    pg_params_add_int4(&params, call->page.size + 1);
    if (!service_read(&call->base, &members, &params, grpc_c_call_deadline_ns(call->base.call), &result, &error)) {
        explain(&error);
        service_fail(&call->base, &error);
        return;
    }
    response.more = pg_result_row_count(result) > call->page.size;
    response.members = arena_alloc_array(arena, (size_t)call->page.size, sizeof(*response.members));
    for (int row = 0; row < pg_result_row_count(result) && row < call->page.size; row++) {
        Leadrouter__V1__Member *member = arena_alloc(arena, sizeof(*member));
        struct uuid id = pg_result_uuid(result, row, 0);
        leadrouter__v1__member__init(member);
        member->member_id = service_id(arena, &id);
        member->role = pg_result_bool(result, row, 1) ? LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_ADMIN
                                                      : LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_MEMBER;
        response.members[response.n_members++] = member;
    }
    pg_result_free(result);
    leadrouter__v1__workspace_service__list_members__reply(call->base.call, &response);
}

static void handle_list_members(struct grpc_c_call *call, const Leadrouter__V1__ListMembersRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_list_members);
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &workspace->base.workspace_id, &error) &&
              service_parse_id("after_member_id", request->after_member_id, true, &workspace->member_id, &error) &&
              page_size_read(request->page_size, &workspace->page.size, &error);

    submit(workspace, ok, &error);
}

/* A change of a member: `statement` takes the workspace, the member, `role` unless that is NULL, and whether a person asks. */
static bool change_member(struct workspace_call *call, const struct pg_statement *statement, const char *role,
    bool *ret_changed, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *result = NULL;

    pg_params_init(&params, arena_of(call));
    pg_params_add_uuid(&params, &call->base.workspace_id);
    pg_params_add_uuid(&params, &call->member_id);
    if (role != NULL)
        pg_params_add_text(&params, role);
    pg_params_add_bool(&params, is_person(call));
    if (!query(call, statement, &params, &result, reterr_error))
        return false;
    *ret_changed = pg_result_bool(result, 0, 0);
    pg_result_free(result);
    return true;
}

static void run_set_member(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "set_member",
        .sql = "select leadrouter.set_member($1, $2, $3, $4)",
        .param_count = 4,
        .param_types = {PG_UUID, PG_UUID, PG_TEXT, PG_BOOL},
    };
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    const Leadrouter__V1__SetMemberRequest *request = call->request;
    const bool is_admin = request->member->role == LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_ADMIN;
    Leadrouter__V1__SetMemberResponse response = LEADROUTER__V1__SET_MEMBER_RESPONSE__INIT;
    struct error error = {0};
    bool added = false;

    if (change_member(call, &statement, is_admin ? "admin" : "member", &added, &error)) {
        response.added = added;
        leadrouter__v1__workspace_service__set_member__reply(call->base.call, &response);
    } else {
        service_fail(&call->base, &error);
    }
}

static void handle_set_member(struct grpc_c_call *call, const Leadrouter__V1__SetMemberRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_set_member);
    const Leadrouter__V1__Member *member = request->member;
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &workspace->base.workspace_id, &error) &&
              service_parse_id("user_id", request->user_id, true, &workspace->user_id, &error);

    if (ok && member == NULL)
        ok = error_set(&error, ERROR_INVALID, "member: missing");
    ok = ok && service_parse_id("member.member_id", member->member_id, false, &workspace->member_id, &error);
    if (ok && member->role != LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_MEMBER &&
        member->role != LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_ADMIN)
        ok = error_set(&error, ERROR_INVALID, "member.role: must be member or admin");
    submit(workspace, ok, &error);
}

static void run_remove_member(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "remove_member",
        .sql = "select leadrouter.remove_member($1, $2, $3)",
        .param_count = 3,
        .param_types = {PG_UUID, PG_UUID, PG_BOOL},
    };
    struct workspace_call *call = (struct workspace_call *)(void *)work;
    Leadrouter__V1__RemoveMemberResponse response = LEADROUTER__V1__REMOVE_MEMBER_RESPONSE__INIT;
    struct error error = {0};
    bool removed = false;

    if (change_member(call, &statement, NULL, &removed, &error)) {
        response.removed = removed;
        leadrouter__v1__workspace_service__remove_member__reply(call->base.call, &response);
    } else {
        service_fail(&call->base, &error);
    }
}

static void handle_remove_member(
    struct grpc_c_call *call, const Leadrouter__V1__RemoveMemberRequest *request, void *user)
{
    struct workspace_call *workspace = begin(call, request, user, run_remove_member);
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &workspace->base.workspace_id, &error) &&
              service_parse_id("member_id", request->member_id, false, &workspace->member_id, &error) &&
              service_parse_id("user_id", request->user_id, true, &workspace->user_id, &error);

    submit(workspace, ok, &error);
}

const struct leadrouter__v1__workspace_service__handlers service_workspace_handlers = {
    .create_workspace = handle_create,
    .get_workspace = handle_get,
    .list_workspaces = handle_list,
    .update_workspace = handle_update,
    .list_members = handle_list_members,
    .set_member = handle_set_member,
    .remove_member = handle_remove_member,
};
