/* leadctl rules show, create, update, delete, activate, deactivate: one rule. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/rules.grpc.h"

enum { PRIORITY_MAX = 1000000000 };

static void show(const struct common_options *common, const Leadrouter__V1__Rule *rule, int64_t version)
{
    char number[24];
    char time[32];

    if (common->json) {
        print_json(json_pack("{ss, ss, si, ss, sb, sb, ss, so, sI}", "id", rule->id, "name", rule->name, "priority",
            (int)rule->priority, "destination", rule->destination_workspace_id, "active", (int)rule->is_active,
            "destination_active", (int)rule->destination_is_active, "created_at", time_text(rule->created_at, time),
            "conditions", json_loads(rule->conditions_json, 0, NULL), "version", (json_int_t)version));
        return;
    }
    print_row("rule", rule->id);
    print_row("name", rule->name);
    snprintf(number, sizeof(number), "%d", rule->priority);
    print_row("priority", number);
    print_row("destination", rule->destination_workspace_id);
    print_row("state", !rule->is_active              ? "off"
                       : rule->destination_is_active ? "on"
                                                     : "on, but its destination is inactive");
    print_row("conditions", rule->conditions_json);
    print_row("created", time_text(rule->created_at, time));
    snprintf(number, sizeof(number), "%" PRId64, version);
    print_row("rules version", number);
}

/* The rule as it is; NULL after a failure, of which it has told. */
static Leadrouter__V1__GetRuleResponse *get(struct session *session, const struct arguments *arguments)
{
    Leadrouter__V1__GetRuleRequest request = LEADROUTER__V1__GET_RULE_REQUEST__INIT;
    Leadrouter__V1__GetRuleResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.rule_id = borrowed(arguments->operand);
    if (leadrouter__v1__rule_service__get_rule(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        (void)session_failed(session);
    grpc_c_outcome_release(&session->outcome); /* the next call writes another */
    return response;
}

#define OPERAND_RULE                                                                                                   \
    {                                                                                                                  \
        .name = "RULE", .help = "id of the rule; leadctl rules list shows them", .kind = OPTION_ID, .is_needed = true  \
    }
#define FLAG_PART(flag, shown, text, field)                                                                            \
    {                                                                                                                  \
        .name = (flag), .placeholder = (shown), .help = (text), .offset = offsetof(struct arguments, field)            \
    }
#define FLAG_PRIORITY                                                                                                  \
    {                                                                                                                  \
        .name = "priority", .placeholder = "N", .help = "higher is asked first", .kind = OPTION_NUMBER,                \
        .offset = offsetof(struct arguments, priority), .least = -PRIORITY_MAX, .most = PRIORITY_MAX,                  \
        .standard = NOT_GIVEN                                                                                          \
    }
#define FLAG_DESTINATION                                                                                               \
    .name = "destination", .placeholder = "D", .help = "the workspace that gets the leads", .kind = OPTION_ID,         \
    .offset = offsetof(struct arguments, destination)

/* --- show --------------------------------------------------------------------------------------------------------- */

static int rule_show(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__GetRuleResponse *response = get(session, arguments);

    if (response == NULL)
        return EXIT_FAILED;
    show(&arguments->common, response->rule, response->version);
    leadrouter__v1__get_rule_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec show_flags[] = {FLAG_WORKSPACE("whose rule")};

const struct command command_rules_show = {
    .name = "rules show",
    .summary = "everything about one rule",
    .text = "Everything about one rule.",
    .example = "leadctl rules show 9a1d… --workspace 0b9e…",
    .operand = OPERAND_RULE,
    COMMAND_FLAGS(show_flags),
    .run = rule_show,
};

/* --- create ------------------------------------------------------------------------------------------------------- */

static int create(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__CreateRuleRequest request = LEADROUTER__V1__CREATE_RULE_REQUEST__INIT;
    Leadrouter__V1__CreateRuleResponse *response = NULL;
    Leadrouter__V1__Rule rule = LEADROUTER__V1__RULE__INIT;

    rule.name = borrowed(arguments->name);
    rule.destination_workspace_id = borrowed(arguments->destination);
    rule.conditions_json = borrowed(arguments->conditions);
    rule.priority = arguments->priority == NOT_GIVEN ? 0 : arguments->priority;
    rule.is_active = true;
    request.workspace_id = borrowed(arguments->workspace);
    request.note = borrowed(arguments->note);
    request.rule = &rule;
    if (leadrouter__v1__rule_service__create_rule(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    show(&arguments->common, response->rule, response->version);
    leadrouter__v1__create_rule_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec create_flags[] = {
    FLAG_WORKSPACE("whose rule"),
    {.name = "name",
        .placeholder = "NAME",
        .help = "its name",
        .offset = offsetof(struct arguments, name),
        .is_needed = true},
    {FLAG_DESTINATION, .is_needed = true},
    {.name = "conditions",
        .placeholder = "JSON",
        .help = "what a lead must meet (docs/rules.md)",
        .offset = offsetof(struct arguments, conditions),
        .is_needed = true},
    FLAG_PRIORITY,
    FLAG_NOTE("why, for the history"),
};

const struct command command_rules_create = {
    .name = "rules create",
    .summary = "add a rule",
    .text = "Adds one rule, switched on. Without --priority it has 0.",
    .example = "leadctl rules create --workspace 0b9e… --name Germans --destination 77c0… \\\n"
               "  --conditions '{\"countries\": [\"DE\"]}'",
    COMMAND_FLAGS(create_flags),
    .run = create,
};

/* --- update, activate, deactivate --------------------------------------------------------------------------------- */

/* Reads the rule, has the arguments change it, and writes it if nobody has changed the rules meanwhile. `is_active` below
 * zero: as it is. */
static int change(const struct arguments *arguments, struct session *session, int is_active)
{
    Leadrouter__V1__UpdateRuleRequest request = LEADROUTER__V1__UPDATE_RULE_REQUEST__INIT;
    Leadrouter__V1__UpdateRuleResponse *response = NULL;
    Leadrouter__V1__GetRuleResponse *before = get(session, arguments);
    Leadrouter__V1__Rule rule;
    int code = EXIT_DONE;

    if (before == NULL)
        return EXIT_FAILED;
    rule = *before->rule;
    if (arguments->name != NULL)
        rule.name = borrowed(arguments->name);
    if (arguments->destination != NULL)
        rule.destination_workspace_id = borrowed(arguments->destination);
    if (arguments->conditions != NULL)
        rule.conditions_json = borrowed(arguments->conditions);
    if (arguments->priority != NOT_GIVEN)
        rule.priority = arguments->priority;
    if (is_active >= 0)
        rule.is_active = is_active;
    request.workspace_id = borrowed(arguments->workspace);
    request.note = borrowed(arguments->note);
    request.rule = &rule;
    request.expected_version = before->version;
    if (leadrouter__v1__rule_service__update_rule(session->channel, &request, NULL, &response, &session->outcome) ==
        GRPC_C_OK) {
        show(&arguments->common, response->rule, response->version);
        leadrouter__v1__update_rule_response__free_unpacked(response, NULL);
    } else {
        code = session_failed(session);
    }
    leadrouter__v1__get_rule_response__free_unpacked(before, NULL);
    return code;
}

static int update(const struct arguments *arguments, struct session *session)
{
    if (arguments->name == NULL && arguments->destination == NULL && arguments->conditions == NULL &&
        arguments->priority == NOT_GIVEN) {
        fprintf(stderr, "leadctl: rules update needs something to change; see leadctl rules update --help\n");
        return EXIT_USAGE;
    }
    return change(arguments, session, -1);
}

static const struct option_spec update_flags[] = {
    FLAG_WORKSPACE("whose rule"),
    FLAG_PART("name", "NAME", "its name", name),
    {FLAG_DESTINATION},
    FLAG_PART("conditions", "JSON", "what a lead must meet (docs/rules.md)", conditions),
    FLAG_PRIORITY,
    FLAG_NOTE("why, for the history"),
};

const struct command command_rules_update = {
    .name = "rules update",
    .summary = "change a rule",
    .text = "Changes parts of one rule; the others stay.",
    .example = "leadctl rules update 9a1d… --workspace 0b9e… --priority 200",
    .operand = OPERAND_RULE,
    COMMAND_FLAGS(update_flags),
    .run = update,
};

static int activate(const struct arguments *arguments, struct session *session)
{
    return change(arguments, session, 1);
}

static int deactivate(const struct arguments *arguments, struct session *session)
{
    return change(arguments, session, 0);
}

static const struct option_spec small_flags[] = {FLAG_WORKSPACE("whose rule"), FLAG_NOTE("why, for the history")};

const struct command command_rules_activate = {
    .name = "rules activate",
    .summary = "switch a rule on",
    .text = "Switches one rule on.",
    .example = "leadctl rules activate 9a1d… --workspace 0b9e…",
    .operand = OPERAND_RULE,
    COMMAND_FLAGS(small_flags),
    .run = activate,
};

const struct command command_rules_deactivate = {
    .name = "rules deactivate",
    .summary = "switch a rule off",
    .text = "Switches one rule off; it stays where it is.",
    .example = "leadctl rules deactivate 9a1d… --workspace 0b9e…",
    .operand = OPERAND_RULE,
    COMMAND_FLAGS(small_flags),
    .run = deactivate,
};

/* --- delete ------------------------------------------------------------------------------------------------------- */

static int delete (const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__DeleteRuleRequest request = LEADROUTER__V1__DELETE_RULE_REQUEST__INIT;
    Leadrouter__V1__DeleteRuleResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.rule_id = borrowed(arguments->operand);
    request.note = borrowed(arguments->note);
    if (leadrouter__v1__rule_service__delete_rule(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(json_pack("{sI}", "version", (json_int_t)response->version));
    else
        printf("rule %s is removed: version %" PRId64 "\n", arguments->operand, response->version);
    leadrouter__v1__delete_rule_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

const struct command command_rules_delete = {
    .name = "rules delete",
    .summary = "remove a rule",
    .text = "Removes one rule; leadctl rules revert can bring it back.",
    .example = "leadctl rules delete 9a1d… --workspace 0b9e…",
    .operand = OPERAND_RULE,
    COMMAND_FLAGS(small_flags),
    .run = delete,
};
