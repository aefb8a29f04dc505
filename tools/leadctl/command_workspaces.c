/* leadctl workspaces …, leadctl members …: the tenants, and who belongs to them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/workspaces.grpc.h"

enum { PAGE_SIZE = 1000 };

/* What the commands share; texts are NULL when not given. */
struct workspace_options {
    struct common_options common;
    const char *operand; /* the word that is no flag */
    const char *workspace;
    const char *id;
    const char *name;
    const char *type;
    const char *policy;
    const char *note;
    const char *user;
    const char *role;
    bool is_active;
    bool is_inactive;
};

enum workspace_flags {
    FLAG_WORKSPACE = 1,
    FLAG_ID = 2,
    FLAG_NAME = 4,
    FLAG_PARTS = 8,
    FLAG_ACTIVITY = 16,
    FLAG_NOTE = 32,
    FLAG_ROLE = 64,
};

/* How a command is to be called. */
struct command_form {
    const char *name;
    const char *usage;
    unsigned flags;
    const char *operand; /* what its word is, for messages; NULL: it takes none */
};

/* Reads the command line; `*ret_code` is the exit code when it returns false. */
static bool parse(
    const struct command_form *form, int argc, char **argv, struct workspace_options *options, int *ret_code)
{
    const struct {
        unsigned flag;
        struct option_spec spec;
    } all[] = {
        {FLAG_WORKSPACE, {"workspace", "W", "the workspace (needed)", OPTION_TEXT, &options->workspace, 0, 0}},
        {FLAG_ID, {"id", "W", "its id, so that the command can be repeated", OPTION_TEXT, &options->id, 0, 0}},
        {FLAG_NAME, {"name", "NAME", "its name", OPTION_TEXT, &options->name, 0, 0}},
        {FLAG_PARTS, {"type", "TYPE", "standard or partner", OPTION_TEXT, &options->type, 0, 0}},
        {FLAG_PARTS,
            {"policy", "JSON", "what is done with its leads (docs/rules.md)", OPTION_TEXT, &options->policy, 0, 0}},
        {FLAG_ACTIVITY, {"active", NULL, "route leads from it and to it", OPTION_SWITCH, &options->is_active, 0, 0}},
        {FLAG_PARTS, {"inactive", NULL, "route none", OPTION_SWITCH, &options->is_inactive, 0, 0}},
        {FLAG_NOTE, {"note", "TEXT", "why, for the history", OPTION_TEXT, &options->note, 0, 0}},
        {FLAG_PARTS, {"user", "U", "who asks, for the history; a UUID", OPTION_TEXT, &options->user, 0, 0}},
        {FLAG_ROLE, {"role", "ROLE", "member or admin (default member)", OPTION_TEXT, &options->role, 0, 0}},
    };
    struct option_spec specs[COUNT_OF(all)];
    size_t spec_count = 0;
    size_t operand_count = 0;

    *options = (struct workspace_options){0};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if ((form->flags & all[i].flag) != 0)
            specs[spec_count++] = all[i].spec;
    *ret_code = EXIT_USAGE;
    switch (options_parse(form->usage, specs, spec_count, argc, argv, &options->common, &options->operand,
        form->operand == NULL ? 0 : 1, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        *ret_code = EXIT_DONE;
        return false;
    case OPTIONS_WRONG:
        return false;
    case OPTIONS_OK:
        break;
    }
    const bool lacks_workspace = (form->flags & FLAG_WORKSPACE) != 0 && options->workspace == NULL;
    if (lacks_workspace || (form->operand != NULL && operand_count == 0)) {
        fprintf(stderr, "leadctl: %s needs %s%s%s; see --help\n", form->name,
            form->operand == NULL ? "" : form->operand,
            form->operand != NULL && (form->flags & FLAG_WORKSPACE) != 0 ? " and " : "",
            (form->flags & FLAG_WORKSPACE) != 0 ? "--workspace" : "");
        return false;
    }
    if (options->is_active && options->is_inactive) {
        fprintf(stderr, "leadctl: --active and --inactive exclude each other\n");
        return false;
    }
    *ret_code = EXIT_DONE;
    return true;
}

/* --- Words -------------------------------------------------------------------------------------------------------- */

static const char *const type_names[] = {"?", "standard", "partner"};
static const char *const role_names[] = {"?", "member", "admin"};

static const char *name_of(int value, const char *const names[3])
{
    return names[value == 1 || value == 2 ? value : 0];
}

/* 1 or 2 for a word of the command line; with 0 the reason was written. */
static int value_of(const char *flag, const char *word, const char *const names[3])
{
    const char *nearest = NULL;

    for (int i = 1; i <= 2; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    nearest = nearest_word(word, names + 1, 2);
    fprintf(stderr, "leadctl: --%s %s: must be %s or %s", flag, word, names[1], names[2]);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s?", nearest);
    fputc('\n', stderr);
    return 0;
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

static void print_workspaces(const Leadrouter__V1__ListWorkspacesResponse *page)
{
    for (size_t i = 0; i < page->n_workspaces; i++) {
        const Leadrouter__V1__Workspace *workspace = page->workspaces[i];
        printf("%-36s  %-8s  %-8s  %s\n", workspace->id, name_of((int)workspace->type, type_names),
            workspace->is_active ? "active" : "inactive", workspace->name);
    }
}

int command_workspaces_list(int argc, char **argv)
{
    static const struct command_form form = {.name = "workspaces list",
        .usage = "Usage: leadctl workspaces list\n\n"
                 "The workspaces, the oldest first; with a person's token those that they belong to.\n\n"
                 "Example: leadctl workspaces list"};
    Leadrouter__V1__ListWorkspacesRequest request = LEADROUTER__V1__LIST_WORKSPACES_REQUEST__INIT;
    Leadrouter__V1__ListWorkspacesResponse *page = NULL;
    struct workspace_options options;
    struct session session;
    json_t *all = NULL;
    char *token = NULL;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code) || !session_begin(&session, &options.common, &code))
        return code;
    all = json_array();
    request.page_size = PAGE_SIZE;
    if (!options.common.json)
        printf("%-36s  %-8s  %-8s  %s\n", "WORKSPACE", "TYPE", "STATE", "NAME");
    do {
        if (leadrouter__v1__workspace_service__list_workspaces(
                session.channel, &request, NULL, &page, &session.outcome) != GRPC_C_OK) {
            code = call_failed(options.common.target, &session.outcome);
            break;
        }
        if (!options.common.json)
            print_workspaces(page);
        for (size_t i = 0; options.common.json && i < page->n_workspaces; i++)
            json_array_append_new(all, workspace_json(page->workspaces[i]));
        free(token);
        token = page->next_page_token[0] == '\0' ? NULL : memory_copy_string(page->next_page_token);
        request.page_token = borrowed(token);
        leadrouter__v1__list_workspaces_response__free_unpacked(page, NULL);
        grpc_c_outcome_release(&session.outcome);
    } while (token != NULL);
    if (options.common.json && code == EXIT_DONE)
        print_json(json_incref(all));
    json_decref(all);
    free(token);
    session_end(&session);
    return code;
}

/* The workspace as it is; NULL after a failure, of which it has told. */
static Leadrouter__V1__GetWorkspaceResponse *get(
    struct session *session, const struct workspace_options *options, int *ret_code)
{
    Leadrouter__V1__GetWorkspaceRequest request = LEADROUTER__V1__GET_WORKSPACE_REQUEST__INIT;
    Leadrouter__V1__GetWorkspaceResponse *response = NULL;

    request.workspace_id = borrowed(options->operand);
    if (leadrouter__v1__workspace_service__get_workspace(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        *ret_code = call_failed(options->common.target, &session->outcome);
    grpc_c_outcome_release(&session->outcome);
    return response;
}

int command_workspaces_show(int argc, char **argv)
{
    static const struct command_form form = {.name = "workspaces show",
        .operand = "a workspace",
        .usage = "Usage: leadctl workspaces show W\n\n"
                 "Everything about one workspace.\n\n"
                 "Example: leadctl workspaces show 0b9e…"};
    Leadrouter__V1__GetWorkspaceResponse *response = NULL;
    struct workspace_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code) || !session_begin(&session, &options.common, &code))
        return code;
    response = get(&session, &options, &code);
    if (response != NULL) {
        show(&options.common, response->workspace);
        leadrouter__v1__get_workspace_response__free_unpacked(response, NULL);
    }
    session_end(&session);
    return code;
}

/* Puts what the command line says into a workspace. */
static bool edit(const struct workspace_options *options, Leadrouter__V1__Workspace *workspace)
{
    if (options->name != NULL)
        workspace->name = borrowed(options->name);
    if (options->type != NULL) {
        const int type = value_of("type", options->type, type_names);
        if (type == 0)
            return false;
        workspace->type = (Leadrouter__V1__WorkspaceType)type;
    }
    if (options->policy != NULL)
        workspace->policy_json = borrowed(options->policy);
    if (options->is_active || options->is_inactive)
        workspace->is_active = options->is_active;
    return true;
}

int command_workspaces_create(int argc, char **argv)
{
    static const struct command_form form = {.name = "workspaces create",
        .operand = "a name",
        .flags = FLAG_ID | FLAG_PARTS,
        .usage = "Usage: leadctl workspaces create NAME [--type partner] [--policy JSON]\n\n"
                 "Makes a workspace and shows it. With --id the command can be repeated: it makes one.\n\n"
                 "Example: leadctl workspaces create \"Acme\" --type partner --policy '{\"unmatched\": \"keep\"}'"};
    Leadrouter__V1__CreateWorkspaceRequest request = LEADROUTER__V1__CREATE_WORKSPACE_REQUEST__INIT;
    Leadrouter__V1__CreateWorkspaceResponse *response = NULL;
    Leadrouter__V1__Workspace workspace = LEADROUTER__V1__WORKSPACE__INIT;
    struct workspace_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code))
        return code;
    options.name = options.operand;
    options.is_active = !options.is_inactive;
    if (!edit(&options, &workspace))
        return EXIT_USAGE;
    if (!session_begin(&session, &options.common, &code))
        return code;
    if (options.id != NULL)
        workspace.id = borrowed(options.id);
    request.workspace = &workspace;
    if (options.user != NULL)
        request.user_id = borrowed(options.user);
    if (leadrouter__v1__workspace_service__create_workspace(
            session.channel, &request, NULL, &response, &session.outcome) != GRPC_C_OK) {
        code = call_failed(options.common.target, &session.outcome);
    } else {
        show(&options.common, response->workspace);
        leadrouter__v1__create_workspace_response__free_unpacked(response, NULL);
    }
    session_end(&session);
    return code;
}

int command_workspaces_update(int argc, char **argv)
{
    static const struct command_form form = {.name = "workspaces update",
        .operand = "a workspace",
        .flags = FLAG_NAME | FLAG_PARTS | FLAG_ACTIVITY | FLAG_NOTE,
        .usage = "Usage: leadctl workspaces update W [--name NAME] [--policy JSON] [--active|--inactive] …\n\n"
                 "Changes what is given and leaves the rest; a policy is replaced as a whole. Leads of an inactive\n"
                 "workspace wait, and none is given to it.\n\n"
                 "Example: leadctl workspaces update 0b9e… --inactive --note \"contract ended\""};
    Leadrouter__V1__UpdateWorkspaceRequest request = LEADROUTER__V1__UPDATE_WORKSPACE_REQUEST__INIT;
    Leadrouter__V1__UpdateWorkspaceResponse *response = NULL;
    Leadrouter__V1__GetWorkspaceResponse *old = NULL;
    Leadrouter__V1__Workspace workspace;
    struct workspace_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code) || !session_begin(&session, &options.common, &code))
        return code;
    old = get(&session, &options, &code);
    if (old == NULL)
        goto cleanup;
    workspace = *old->workspace;
    if (!edit(&options, &workspace)) {
        code = EXIT_USAGE;
        goto cleanup;
    }
    request.workspace_id = borrowed(options.operand);
    request.workspace = &workspace;
    request.expected_version = old->workspace->version;
    request.note = borrowed(options.note == NULL ? "" : options.note);
    request.user_id = borrowed(options.user == NULL ? "" : options.user);
    if (leadrouter__v1__workspace_service__update_workspace(
            session.channel, &request, NULL, &response, &session.outcome) != GRPC_C_OK)
        code = call_failed(options.common.target, &session.outcome);
    else
        show(&options.common, response->workspace);
cleanup:
    if (response != NULL)
        leadrouter__v1__update_workspace_response__free_unpacked(response, NULL);
    if (old != NULL)
        leadrouter__v1__get_workspace_response__free_unpacked(old, NULL);
    session_end(&session);
    return code;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

static void add_members(const Leadrouter__V1__ListMembersResponse *page, json_t *all)
{
    for (size_t i = 0; i < page->n_members; i++)
        json_array_append_new(all, json_pack("{ss, ss}", "member_id", page->members[i]->member_id, "role",
                                       name_of((int)page->members[i]->role, role_names)));
}

static void print_members(const json_t *all)
{
    printf("%-36s  %s\n", "MEMBER", "ROLE");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *member = json_array_get(all, i);
        printf("%-36s  %s\n", json_string_value(json_object_get(member, "member_id")),
            json_string_value(json_object_get(member, "role")));
    }
}

int command_members_list(int argc, char **argv)
{
    static const struct command_form form = {.name = "members list",
        .flags = FLAG_WORKSPACE,
        .usage = "Usage: leadctl members list --workspace W\n\n"
                 "Who belongs to a workspace, and what they may do there.\n\n"
                 "Example: leadctl members list --workspace 0b9e…"};
    Leadrouter__V1__ListMembersRequest request = LEADROUTER__V1__LIST_MEMBERS_REQUEST__INIT;
    Leadrouter__V1__ListMembersResponse *page = NULL;
    struct workspace_options options;
    struct session session;
    json_t *all = NULL;
    bool more = true;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code) || !session_begin(&session, &options.common, &code))
        return code;
    all = json_array();
    request.workspace_id = borrowed(options.workspace);
    request.page_size = PAGE_SIZE;
    while (more && code == EXIT_DONE) {
        if (leadrouter__v1__workspace_service__list_members(session.channel, &request, NULL, &page, &session.outcome) !=
            GRPC_C_OK) {
            code = call_failed(options.common.target, &session.outcome);
            break;
        }
        more = page->more;
        add_members(page, all);
        leadrouter__v1__list_members_response__free_unpacked(page, NULL);
        grpc_c_outcome_release(&session.outcome);
        if (more)
            request.after_member_id = borrowed(
                json_string_value(json_object_get(json_array_get(all, json_array_size(all) - 1), "member_id")));
    }
    if (code == EXIT_DONE && options.common.json)
        print_json(json_incref(all));
    else if (code == EXIT_DONE)
        print_members(all);
    json_decref(all);
    session_end(&session);
    return code;
}

int command_members_set(int argc, char **argv)
{
    static const struct command_form form = {.name = "members set",
        .operand = "a member",
        .flags = FLAG_WORKSPACE | FLAG_ROLE,
        .usage = "Usage: leadctl members set MEMBER --workspace W [--role admin]\n\n"
                 "Lets somebody belong to a workspace, or changes what they may do there. MEMBER is the subject\n"
                 "of their tokens, a UUID. It is felt by their next call.\n\n"
                 "Example: leadctl members set 5c3e… --workspace 0b9e… --role admin"};
    Leadrouter__V1__SetMemberRequest request = LEADROUTER__V1__SET_MEMBER_REQUEST__INIT;
    Leadrouter__V1__SetMemberResponse *response = NULL;
    Leadrouter__V1__Member member = LEADROUTER__V1__MEMBER__INIT;
    struct workspace_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code))
        return code;
    member.member_id = borrowed(options.operand);
    member.role =
        (Leadrouter__V1__MemberRole)value_of("role", options.role == NULL ? role_names[1] : options.role, role_names);
    if (member.role == LEADROUTER__V1__MEMBER_ROLE__MEMBER_ROLE_UNSPECIFIED)
        return EXIT_USAGE;
    if (!session_begin(&session, &options.common, &code))
        return code;
    request.workspace_id = borrowed(options.workspace);
    request.member = &member;
    if (leadrouter__v1__workspace_service__set_member(session.channel, &request, NULL, &response, &session.outcome) !=
        GRPC_C_OK) {
        code = call_failed(options.common.target, &session.outcome);
    } else {
        if (options.common.json)
            print_json(json_pack("{sb}", "added", (int)response->added));
        else
            printf("%s is %s%s\n", options.operand, name_of((int)member.role, role_names),
                response->added ? " now" : ", and was in the workspace before");
        leadrouter__v1__set_member_response__free_unpacked(response, NULL);
    }
    session_end(&session);
    return code;
}

int command_members_remove(int argc, char **argv)
{
    static const struct command_form form = {.name = "members remove",
        .operand = "a member",
        .flags = FLAG_WORKSPACE,
        .usage = "Usage: leadctl members remove MEMBER --workspace W\n\n"
                 "Somebody no longer belongs to a workspace. It is felt by their next call.\n\n"
                 "Example: leadctl members remove 5c3e… --workspace 0b9e…"};
    Leadrouter__V1__RemoveMemberRequest request = LEADROUTER__V1__REMOVE_MEMBER_REQUEST__INIT;
    Leadrouter__V1__RemoveMemberResponse *response = NULL;
    struct workspace_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(&form, argc, argv, &options, &code) || !session_begin(&session, &options.common, &code))
        return code;
    request.workspace_id = borrowed(options.workspace);
    request.member_id = borrowed(options.operand);
    if (leadrouter__v1__workspace_service__remove_member(
            session.channel, &request, NULL, &response, &session.outcome) != GRPC_C_OK) {
        code = call_failed(options.common.target, &session.outcome);
    } else {
        if (options.common.json)
            print_json(json_pack("{sb}", "removed", (int)response->removed));
        else
            printf("%s %s\n", options.operand, response->removed ? "is no member now" : "was no member");
        leadrouter__v1__remove_member_response__free_unpacked(response, NULL);
    }
    session_end(&session);
    return code;
}
