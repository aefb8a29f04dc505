/* leadctl workspaces …, leadctl members …: the tenants, and who belongs to them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/workspaces.grpc.h"
#include "listing.h"

/* --- Words -------------------------------------------------------------------------------------------------------- */

/* By their numbers, from 1. */
static const char *const type_names[] = {"standard", "partner", NULL};
static const char *const role_names[] = {"member", "admin", NULL};

static const char *name_of(int value, const char *const names[3])
{
    return value == 1 || value == 2 ? names[value - 1] : "?";
}

/* --- Showing ------------------------------------------------------------------------------------------------------ */

static json_t *workspace_json(const Leadrouter__V1__Workspace *workspace)
{
    char created[32], updated[32];
    json_t *policy = json_loads(workspace->policy_json, 0, NULL);

    return json_pack("{ss, ss, ss, sb, so, sI, ss, ss}", "id", workspace->id, "name", workspace->name, "type",
        name_of((int)workspace->type, type_names), "active", (int)workspace->is_active, "policy",
        policy == NULL ? json_object() : policy, "version", (json_int_t)workspace->version, "created_at",
        time_text(workspace->created_at, created), "updated_at", time_text(workspace->updated_at, updated));
}

static void show(const struct common_options *common, const Leadrouter__V1__Workspace *workspace)
{
    char number[24];
    char time[32];

    if (common->json) {
        print_json(workspace_json(workspace));
        return;
    }
    print_row("workspace", workspace->id);
    print_row("name", workspace->name);
    print_row("type", name_of((int)workspace->type, type_names));
    print_row("state", workspace->is_active ? "active" : "inactive");
    print_row("policy", workspace->policy_json);
    snprintf(number, sizeof(number), "%" PRId64, workspace->version);
    print_row("rules version", number);
    print_row("created", time_text(workspace->created_at, time));
    print_row("changed", time_text(workspace->updated_at, time));
}

/* --- workspaces --------------------------------------------------------------------------------------------------- */

static const struct table_column list_columns[] = {
    {"WORKSPACE", TABLE_ID}, {"TYPE", TABLE_WORD}, {"STATE", TABLE_WORD}, {"NAME", TABLE_TEXT}};

static void add_line(struct table *table, const Leadrouter__V1__Workspace *workspace)
{
    table_add(table, workspace->id);
    table_add(table, name_of((int)workspace->type, type_names));
    table_add(table, workspace->is_active ? "active" : "inactive");
    table_add(table, workspace->name);
}

static bool list_page(struct listing *listing, void *context)
{
    Leadrouter__V1__ListWorkspacesRequest request = LEADROUTER__V1__LIST_WORKSPACES_REQUEST__INIT;
    Leadrouter__V1__ListWorkspacesResponse *response = NULL;

    (void)context;
    request.page_size = listing->page_size;
    request.page_token = listing->token;
    if (leadrouter__v1__workspace_service__list_workspaces(
            listing->session->channel, &request, NULL, &response, &listing->session->outcome) != GRPC_C_OK)
        return false;
    for (size_t i = 0; i < response->n_workspaces; i++) {
        if (listing->array != NULL)
            json_array_append_new(listing->array, workspace_json(response->workspaces[i]));
        else
            add_line(listing->table, response->workspaces[i]);
    }
    listing_turn(listing, response->n_workspaces, response->next_page_token);
    leadrouter__v1__list_workspaces_response__free_unpacked(response, NULL);
    return true;
}

static int list(const struct arguments *arguments, struct session *session)
{
    return listing_run(&(struct listing_form){.columns = list_columns,
                           .column_count = COUNT_OF(list_columns),
                           .name = "workspaces",
                           .one = "workspace",
                           .page = list_page},
        arguments, session);
}

const struct command command_workspaces_list = {
    .name = "workspaces list",
    .summary = "the workspaces",
    .text = "The workspaces, the oldest first; with a person's token those that they belong to.",
    .example = "leadctl workspaces list",
    .run = list,
};

/* The workspace as it is; NULL after a failure, of which it has told. */
static Leadrouter__V1__GetWorkspaceResponse *get(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__GetWorkspaceRequest request = LEADROUTER__V1__GET_WORKSPACE_REQUEST__INIT;
    Leadrouter__V1__GetWorkspaceResponse *response = NULL;

    request.workspace_id = borrowed(arguments->operand);
    if (leadrouter__v1__workspace_service__get_workspace(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        (void)session_failed(session);
    grpc_c_outcome_release(&session->outcome); /* the next call writes another */
    return response;
}

#define OPERAND_WORKSPACE                                                                                              \
    {                                                                                                                  \
        .name = "W", .help = "id of the workspace; leadctl workspaces list shows them", .kind = OPTION_ID,             \
        .is_needed = true                                                                                              \
    }
#define FLAG_TYPE                                                                                                      \
    {                                                                                                                  \
        .name = "type", .placeholder = "TYPE", .help = "its type", .kind = OPTION_WORD,                                \
        .offset = offsetof(struct arguments, type), .words = type_names                                                \
    }
#define FLAG_POLICY                                                                                                    \
    {                                                                                                                  \
        .name = "policy", .placeholder = "JSON", .help = "what is done with its leads (docs/rules.md)",                \
        .offset = offsetof(struct arguments, policy)                                                                   \
    }
#define FLAG_INACTIVE                                                                                                  \
    {                                                                                                                  \
        .name = "inactive", .help = "route none", .kind = OPTION_SWITCH,                                               \
        .offset = offsetof(struct arguments, is_inactive)                                                              \
    }

static int workspace_show(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__GetWorkspaceResponse *response = get(arguments, session);

    if (response == NULL)
        return EXIT_FAILED;
    show(&arguments->common, response->workspace);
    leadrouter__v1__get_workspace_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

const struct command command_workspaces_show = {
    .name = "workspaces show",
    .summary = "everything about one workspace, with its policy",
    .text = "Everything about one workspace.",
    .example = "leadctl workspaces show 0b9e…",
    .operand = OPERAND_WORKSPACE,
    .run = workspace_show,
};

/* Puts what the command line says into a workspace. */
static void edit(const struct arguments *arguments, Leadrouter__V1__Workspace *workspace)
{
    if (arguments->name != NULL)
        workspace->name = borrowed(arguments->name);
    if (arguments->type != NULL)
        workspace->type = (Leadrouter__V1__WorkspaceType)(1 + word_index(type_names, arguments->type));
    if (arguments->policy != NULL)
        workspace->policy_json = borrowed(arguments->policy);
    if (arguments->is_active || arguments->is_inactive)
        workspace->is_active = arguments->is_active;
}

static int create(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__CreateWorkspaceRequest request = LEADROUTER__V1__CREATE_WORKSPACE_REQUEST__INIT;
    Leadrouter__V1__CreateWorkspaceResponse *response = NULL;
    Leadrouter__V1__Workspace workspace = LEADROUTER__V1__WORKSPACE__INIT;

    workspace.is_active = true;
    edit(arguments, &workspace);
    workspace.id = borrowed(arguments->id);
    workspace.name = borrowed(arguments->operand);
    request.workspace = &workspace;
    request.user_id = borrowed(arguments->user);
    if (leadrouter__v1__workspace_service__create_workspace(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return session_failed(session);
    show(&arguments->common, response->workspace);
    leadrouter__v1__create_workspace_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec create_flags[] = {
    FLAG_TYPE,
    FLAG_POLICY,
    FLAG_INACTIVE,
    {.name = "id",
        .placeholder = "W",
        .help = "its id, so that the command can be repeated",
        .kind = OPTION_ID,
        .offset = offsetof(struct arguments, id)},
    FLAG_USER,
};

const struct command command_workspaces_create = {
    .name = "workspaces create",
    .summary = "make a workspace",
    .text = "Makes a workspace and shows it. With --id the command can be repeated: it makes one.",
    .example = "leadctl workspaces create \"Acme\" --type partner --policy '{\"unmatched\": \"keep\"}'",
    .operand = {.name = "NAME", .help = "its name", .is_needed = true},
    COMMAND_FLAGS(create_flags),
    .run = create,
};

static int update(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__UpdateWorkspaceRequest request = LEADROUTER__V1__UPDATE_WORKSPACE_REQUEST__INIT;
    Leadrouter__V1__UpdateWorkspaceResponse *response = NULL;
    Leadrouter__V1__GetWorkspaceResponse *old = NULL;
    Leadrouter__V1__Workspace workspace;
    int code = EXIT_DONE;

    if (arguments->is_active && arguments->is_inactive) {
        fprintf(stderr, "leadctl: --active and --inactive exclude each other\n");
        return EXIT_USAGE;
    }
    if (arguments->name == NULL && arguments->type == NULL && arguments->policy == NULL && !arguments->is_active &&
        !arguments->is_inactive) {
        fprintf(stderr, "leadctl: workspaces update needs something to change; see leadctl workspaces update --help\n");
        return EXIT_USAGE;
    }
    old = get(arguments, session);
    if (old == NULL)
        return EXIT_FAILED;
    workspace = *old->workspace;
    edit(arguments, &workspace);
    request.workspace_id = borrowed(arguments->operand);
    request.workspace = &workspace;
    request.expected_version = old->workspace->version;
    request.note = borrowed(arguments->note);
    request.user_id = borrowed(arguments->user);
    if (leadrouter__v1__workspace_service__update_workspace(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK) {
        code = session_failed(session);
    } else {
        show(&arguments->common, response->workspace);
        leadrouter__v1__update_workspace_response__free_unpacked(response, NULL);
    }
    leadrouter__v1__get_workspace_response__free_unpacked(old, NULL);
    return code;
}

static const struct option_spec update_flags[] = {
    {.name = "name", .placeholder = "NAME", .help = "its name", .offset = offsetof(struct arguments, name)},
    FLAG_TYPE,
    FLAG_POLICY,
    {.name = "active",
        .help = "route leads from it and to it",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_active)},
    FLAG_INACTIVE,
    FLAG_NOTE("why, for the history"),
    FLAG_USER,
};

const struct command command_workspaces_update = {
    .name = "workspaces update",
    .summary = "change a workspace's name, type or policy, or switch it on or off",
    .text = "Changes what is given and leaves the rest; a policy is replaced as a whole. Leads of an inactive "
            "workspace wait, "
            "and none is given to it.",
    .example = "leadctl workspaces update 0b9e… --inactive --note \"contract ended\"",
    .operand = OPERAND_WORKSPACE,
    COMMAND_FLAGS(update_flags),
    .run = update,
};

/* --- members ------------------------------------------------------------------------------------------------------ */

static const struct table_column member_columns[] = {{"MEMBER", TABLE_ID}, {"ROLE", TABLE_WORD}};

static bool members_page(struct listing *listing, void *context)
{
    Leadrouter__V1__ListMembersRequest *request = context;
    Leadrouter__V1__ListMembersResponse *response = NULL;

    request->page_size = listing->page_size;
    request->after_member_id = listing->token;
    if (leadrouter__v1__workspace_service__list_members(
            listing->session->channel, request, NULL, &response, &listing->session->outcome) != GRPC_C_OK)
        return false;
    for (size_t i = 0; i < response->n_members; i++) {
        const Leadrouter__V1__Member *member = response->members[i];
        const char *role = name_of((int)member->role, role_names);
        if (listing->array != NULL) {
            json_array_append_new(listing->array, json_pack("{ss, ss}", "member_id", member->member_id, "role", role));
            continue;
        }
        table_add(listing->table, member->member_id);
        table_add(listing->table, role);
    }
    listing_turn(listing, response->n_members,
        response->more && response->n_members > 0 ? response->members[response->n_members - 1]->member_id : "");
    leadrouter__v1__list_members_response__free_unpacked(response, NULL);
    return true;
}

static int members_list(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListMembersRequest request = LEADROUTER__V1__LIST_MEMBERS_REQUEST__INIT;

    request.workspace_id = borrowed(arguments->workspace);
    return listing_run(&(struct listing_form){.columns = member_columns,
                           .column_count = COUNT_OF(member_columns),
                           .name = "members",
                           .one = "member",
                           .page = members_page,
                           .context = &request},
        arguments, session);
}

static const struct option_spec members_list_flags[] = {FLAG_WORKSPACE("the workspace")};

const struct command command_members_list = {
    .name = "members list",
    .summary = "who belongs to a workspace",
    .text = "Who belongs to a workspace, and what they may do there.",
    .example = "leadctl members list --workspace 0b9e…",
    COMMAND_FLAGS(members_list_flags),
    .run = members_list,
};

#define OPERAND_MEMBER                                                                                                 \
    {                                                                                                                  \
        .name = "MEMBER", .help = "the subject of their tokens", .kind = OPTION_ID, .is_needed = true                  \
    }

static int members_set(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__SetMemberRequest request = LEADROUTER__V1__SET_MEMBER_REQUEST__INIT;
    Leadrouter__V1__SetMemberResponse *response = NULL;
    Leadrouter__V1__Member member = LEADROUTER__V1__MEMBER__INIT;
    const char *role = arguments->role == NULL ? role_names[0] : arguments->role;

    member.member_id = borrowed(arguments->operand);
    member.role = (Leadrouter__V1__MemberRole)(1 + word_index(role_names, role));
    request.workspace_id = borrowed(arguments->workspace);
    request.member = &member;
    if (leadrouter__v1__workspace_service__set_member(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(json_pack("{sb}", "added", (int)response->added));
    else
        printf("%s is %s%s%s\n", arguments->operand, response->added ? "now " : "",
            member.role == LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_ADMIN ? "an admin" : "a member",
            response->added ? "" : ", and was in the workspace before");
    leadrouter__v1__set_member_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec set_flags[] = {
    FLAG_WORKSPACE("the workspace"),
    {.name = "role",
        .placeholder = "ROLE",
        .help = "what they may do; member if not given",
        .kind = OPTION_WORD,
        .offset = offsetof(struct arguments, role),
        .words = role_names},
};

const struct command command_members_set = {
    .name = "members set",
    .summary = "let somebody belong to a workspace, as member or administrator",
    .text = "Lets somebody belong to a workspace, or changes what they may do there. MEMBER is the subject of their "
            "tokens, a "
            "UUID. It is felt by their next call.",
    .example = "leadctl members set 5c3e… --workspace 0b9e… --role admin",
    .operand = OPERAND_MEMBER,
    COMMAND_FLAGS(set_flags),
    .run = members_set,
};

static int members_remove(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__RemoveMemberRequest request = LEADROUTER__V1__REMOVE_MEMBER_REQUEST__INIT;
    Leadrouter__V1__RemoveMemberResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.member_id = borrowed(arguments->operand);
    if (leadrouter__v1__workspace_service__remove_member(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(json_pack("{sb}", "removed", (int)response->removed));
    else
        printf("%s %s\n", arguments->operand, response->removed ? "is no longer a member" : "was not a member");
    leadrouter__v1__remove_member_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec remove_flags[] = {FLAG_WORKSPACE("the workspace")};

const struct command command_members_remove = {
    .name = "members remove",
    .summary = "end that somebody belongs to a workspace",
    .text = "Somebody no longer belongs to a workspace. It is felt by their next call.",
    .example = "leadctl members remove 5c3e… --workspace 0b9e…",
    .operand = OPERAND_MEMBER,
    COMMAND_FLAGS(remove_flags),
    .run = members_remove,
};
