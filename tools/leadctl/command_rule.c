/* leadctl rules show, create, update, delete, activate, deactivate: one rule. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/rules.grpc.h"

/* What the commands about one rule share. */
struct rule_options {
    struct common_options common;
    const char *workspace;
    const char *rule; /* the word that is no flag, or NULL */
    const char *name; /* this one and the rest: NULL, or INT_MIN, when not given */
    const char *destination;
    const char *conditions;
    int priority;
    const char *note;
};

enum { PRIORITY_NOT_GIVEN = INT32_MIN, PRIORITY_MAX = 1000000000 };

/* Reads flags and, when `needs_rule`, the rule; `*ret_code` is the exit code when it returns false. */
static bool parse(const char *usage, const char *command, bool needs_rule, bool has_parts, int argc, char **argv,
    struct rule_options *options, int *ret_code)
{
    const struct option_spec specs[] = {
        {"workspace", "W", "whose rule (needed)", OPTION_TEXT, &options->workspace, 0, 0},
        {"note", "TEXT", "why, for the history", OPTION_TEXT, &options->note, 0, 0},
        {"name", "NAME", "its name", OPTION_TEXT, &options->name, 0, 0},
        {"destination", "D", "the workspace that gets the leads", OPTION_TEXT, &options->destination, 0, 0},
        {"conditions", "JSON", "what a lead must meet (docs/rules.md)", OPTION_TEXT, &options->conditions, 0, 0},
        {"priority", "N", "higher is asked first", OPTION_NUMBER, &options->priority, -PRIORITY_MAX, PRIORITY_MAX},
    };
    enum { WITHOUT_PARTS = 2 };
    size_t operand_count = 0;

    *options = (struct rule_options){.note = "", .priority = PRIORITY_NOT_GIVEN};
    *ret_code = EXIT_USAGE;
    switch (options_parse(usage, specs, has_parts ? COUNT_OF(specs) : WITHOUT_PARTS, argc, argv, &options->common,
        &options->rule, needs_rule ? 1 : 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        *ret_code = EXIT_DONE;
        return false;
    case OPTIONS_WRONG:
        return false;
    case OPTIONS_OK:
        break;
    }
    if (options->workspace == NULL || (needs_rule && operand_count == 0)) {
        fprintf(stderr, "leadctl: %s needs %s--workspace; see --help\n", command, needs_rule ? "a rule and " : "");
        return false;
    }
    *ret_code = EXIT_DONE;
    return true;
}

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
static Leadrouter__V1__GetRuleResponse *get(struct session *session, const struct rule_options *options, int *ret_code)
{
    Leadrouter__V1__GetRuleRequest request = LEADROUTER__V1__GET_RULE_REQUEST__INIT;
    Leadrouter__V1__GetRuleResponse *response = NULL;

    request.workspace_id = borrowed(options->workspace);
    request.rule_id = borrowed(options->rule);
    if (leadrouter__v1__rule_service__get_rule(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        *ret_code = call_failed(options->common.target, &session->outcome);
    grpc_c_outcome_release(&session->outcome);
    return response;
}

int command_rules_show(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules show RULE --workspace W\n\n"
                                "Everything about one rule.\n\n"
                                "Example: leadctl rules show 9a1d… --workspace 0b9e…";
    Leadrouter__V1__GetRuleResponse *response = NULL;
    struct rule_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(usage, "rules show", true, false, argc, argv, &options, &code) ||
        !session_begin(&session, &options.common, &code))
        return code;
    response = get(&session, &options, &code);
    if (response != NULL) {
        show(&options.common, response->rule, response->version);
        leadrouter__v1__get_rule_response__free_unpacked(response, NULL);
    }
    session_end(&session);
    return code;
}

int command_rules_create(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl rules create --workspace W --name NAME --destination D --conditions JSON [--priority N]\n\n"
        "Adds one rule.\n\n"
        "Example: leadctl rules create --workspace 0b9e… --name Germans --destination 77c0… \\\n"
        "           --conditions '{\"countries\": [\"DE\"]}'";
    Leadrouter__V1__CreateRuleRequest request = LEADROUTER__V1__CREATE_RULE_REQUEST__INIT;
    Leadrouter__V1__CreateRuleResponse *response = NULL;
    Leadrouter__V1__Rule rule = LEADROUTER__V1__RULE__INIT;
    struct rule_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(usage, "rules create", false, true, argc, argv, &options, &code))
        return code;
    if (options.name == NULL || options.destination == NULL || options.conditions == NULL) {
        fprintf(stderr, "leadctl: rules create needs --name, --destination and --conditions; see --help\n");
        return EXIT_USAGE;
    }
    if (!session_begin(&session, &options.common, &code))
        return code;
    rule.name = borrowed(options.name);
    rule.destination_workspace_id = borrowed(options.destination);
    rule.conditions_json = borrowed(options.conditions);
    rule.priority = options.priority == PRIORITY_NOT_GIVEN ? 0 : options.priority;
    rule.is_active = true;
    request.workspace_id = borrowed(options.workspace);
    request.note = borrowed(options.note);
    request.rule = &rule;
    if (leadrouter__v1__rule_service__create_rule(session.channel, &request, NULL, &response, &session.outcome) ==
        GRPC_C_OK) {
        show(&options.common, response->rule, response->version);
        leadrouter__v1__create_rule_response__free_unpacked(response, NULL);
    } else {
        code = call_failed(options.common.target, &session.outcome);
    }
    session_end(&session);
    return code;
}

/* Reads the rule, has the options change it, and writes it if nobody has changed the rules meanwhile. `is_active` below
 * zero: as it is. */
static int update(const struct rule_options *options, int is_active)
{
    Leadrouter__V1__UpdateRuleRequest request = LEADROUTER__V1__UPDATE_RULE_REQUEST__INIT;
    Leadrouter__V1__UpdateRuleResponse *response = NULL;
    Leadrouter__V1__GetRuleResponse *before = NULL;
    Leadrouter__V1__Rule rule;
    struct session session;
    int code = EXIT_DONE;

    if (!session_begin(&session, &options->common, &code))
        return code;
    before = get(&session, options, &code);
    if (before == NULL)
        goto cleanup;
    rule = *before->rule;
    if (options->name != NULL)
        rule.name = borrowed(options->name);
    if (options->destination != NULL)
        rule.destination_workspace_id = borrowed(options->destination);
    if (options->conditions != NULL)
        rule.conditions_json = borrowed(options->conditions);
    if (options->priority != PRIORITY_NOT_GIVEN)
        rule.priority = options->priority;
    if (is_active >= 0)
        rule.is_active = is_active;
    request.workspace_id = borrowed(options->workspace);
    request.note = borrowed(options->note);
    request.rule = &rule;
    request.expected_version = before->version;
    if (leadrouter__v1__rule_service__update_rule(session.channel, &request, NULL, &response, &session.outcome) ==
        GRPC_C_OK) {
        show(&options->common, response->rule, response->version);
        leadrouter__v1__update_rule_response__free_unpacked(response, NULL);
    } else {
        code = call_failed(options->common.target, &session.outcome);
    }
    leadrouter__v1__get_rule_response__free_unpacked(before, NULL);
cleanup:
    session_end(&session);
    return code;
}

int command_rules_update(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules update RULE --workspace W [--name NAME] [--destination D] "
                                "[--conditions JSON] [--priority N]\n\n"
                                "Changes parts of one rule; the others stay.\n\n"
                                "Example: leadctl rules update 9a1d… --workspace 0b9e… --priority 200";
    struct rule_options options;
    int code = EXIT_DONE;

    if (!parse(usage, "rules update", true, true, argc, argv, &options, &code))
        return code;
    if (options.name == NULL && options.destination == NULL && options.conditions == NULL &&
        options.priority == PRIORITY_NOT_GIVEN) {
        fprintf(stderr, "leadctl: rules update needs something to change; see --help\n");
        return EXIT_USAGE;
    }
    return update(&options, -1);
}

int command_rules_activate(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules activate RULE --workspace W\n\n"
                                "Switches one rule on.\n\n"
                                "Example: leadctl rules activate 9a1d… --workspace 0b9e…";
    struct rule_options options;
    int code = EXIT_DONE;

    return parse(usage, "rules activate", true, false, argc, argv, &options, &code) ? update(&options, 1) : code;
}

int command_rules_deactivate(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules deactivate RULE --workspace W\n\n"
                                "Switches one rule off; it stays where it is.\n\n"
                                "Example: leadctl rules deactivate 9a1d… --workspace 0b9e…";
    struct rule_options options;
    int code = EXIT_DONE;

    return parse(usage, "rules deactivate", true, false, argc, argv, &options, &code) ? update(&options, 0) : code;
}

int command_rules_delete(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules delete RULE --workspace W\n\n"
                                "Removes one rule; leadctl rules revert can bring it back.\n\n"
                                "Example: leadctl rules delete 9a1d… --workspace 0b9e…";
    Leadrouter__V1__DeleteRuleRequest request = LEADROUTER__V1__DELETE_RULE_REQUEST__INIT;
    Leadrouter__V1__DeleteRuleResponse *response = NULL;
    struct rule_options options;
    struct session session;
    int code = EXIT_DONE;

    if (!parse(usage, "rules delete", true, false, argc, argv, &options, &code) ||
        !session_begin(&session, &options.common, &code))
        return code;
    request.workspace_id = borrowed(options.workspace);
    request.rule_id = borrowed(options.rule);
    request.note = borrowed(options.note);
    if (leadrouter__v1__rule_service__delete_rule(session.channel, &request, NULL, &response, &session.outcome) ==
        GRPC_C_OK) {
        if (options.common.json)
            print_json(json_pack("{sI}", "version", (json_int_t)response->version));
        else
            printf("removed: version %" PRId64 "\n", response->version);
        leadrouter__v1__delete_rule_response__free_unpacked(response, NULL);
    } else {
        code = call_failed(options.common.target, &session.outcome);
    }
    session_end(&session);
    return code;
}
