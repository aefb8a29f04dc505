/* leadctl rules …: the rules of a workspace. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "explanation.h"
#include "leadrouter/v1/rules.grpc.h"
#include "rules_file.h"

/* What the commands about rules share. */
struct rules_options {
    struct common_options common;
    const char *workspace;
    const char *operand; /* the word that is no flag, or NULL */
    int version;
    const char *note;
    bool is_dry;
    const char *file;
};

enum rules_flags { FLAG_VERSION = 1, FLAG_NOTE = 2, FLAG_DRY_RUN = 4, FLAG_FILE = 8 };

/* Reads flags and at most one operand; `*ret_code` is the exit code when it returns false. */
static bool parse(const char *usage, const char *command, unsigned flags, bool needs_operand, int argc, char **argv,
    struct rules_options *options, int *ret_code)
{
    const struct option_spec all[] = {
        {"workspace", "W", "whose rules (needed)", OPTION_TEXT, &options->workspace, 0, 0},
        {"version", "N", "an earlier version of the rules", OPTION_NUMBER, &options->version, 1, INT32_MAX},
        {"note", "TEXT", "why, for the history", OPTION_TEXT, &options->note, 0, 0},
        {"dry-run", NULL, "only show what would change", OPTION_SWITCH, &options->is_dry, 0, 0},
        {"file", "FILE", "try the rules of this file instead", OPTION_TEXT, &options->file, 0, 0},
    };
    const unsigned wanted[] = {0, FLAG_VERSION, FLAG_NOTE, FLAG_DRY_RUN, FLAG_FILE};
    struct option_spec specs[COUNT_OF(all)];
    size_t spec_count = 0;
    size_t operand_count = 0;

    *options = (struct rules_options){.note = ""};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (i == 0 || (flags & wanted[i]) != 0)
            specs[spec_count++] = all[i];
    }
    *ret_code = EXIT_USAGE;
    switch (options_parse(usage, specs, spec_count, argc, argv, &options->common, &options->operand,
        needs_operand ? 1 : 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        *ret_code = EXIT_DONE;
        return false;
    case OPTIONS_WRONG:
        return false;
    case OPTIONS_OK:
        break;
    }
    if (options->workspace == NULL || (needs_operand && operand_count == 0)) {
        fprintf(stderr, "leadctl: %s needs %s--workspace; see --help\n", command, needs_operand ? "a word and " : "");
        return false;
    }
    *ret_code = EXIT_DONE;
    return true;
}

/* --- list, export ------------------------------------------------------------------------------------------------- */

/* The rules of a version; NULL after a failure, of which it has told. */
static Leadrouter__V1__ListRulesResponse *list(const struct rules_options *options, int *ret_code)
{
    Leadrouter__V1__ListRulesRequest request = LEADROUTER__V1__LIST_RULES_REQUEST__INIT;
    Leadrouter__V1__ListRulesResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = connect_to(&options->common);

    *ret_code = EXIT_USAGE;
    if (channel == NULL)
        return NULL;
    *ret_code = EXIT_DONE;
    request.workspace_id = borrowed(options->workspace);
    request.version = options->version;
    if (leadrouter__v1__rule_service__list_rules(channel, &request, NULL, &response, &outcome) != GRPC_C_OK)
        *ret_code = call_failed(options->common.target, &outcome);
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return response;
}

int command_rules_list(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules list --workspace W [--version N]\n\n"
                                "The rules of a workspace in the order in which they are asked.\n\n"
                                "Example: leadctl rules list --workspace 0b9e…";
    struct rules_options options;
    Leadrouter__V1__ListRulesResponse *response = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "rules list", FLAG_VERSION, false, argc, argv, &options, &code))
        return code;
    response = list(&options, &code);
    if (response == NULL)
        return code;
    if (options.common.json) {
        json_t *value = rules_file_value(response);
        json_object_set_new(value, "version", json_integer(response->version));
        print_json(value);
    } else {
        printf("%8s  %-36s  %-36s  %s\n", "PRIORITY", "RULE", "DESTINATION", "NAME");
        for (size_t i = 0; i < response->n_rules; i++) {
            const Leadrouter__V1__Rule *rule = response->rules[i];
            printf("%8d  %-36s  %-36s  %s%s\n", rule->priority, rule->id, rule->destination_workspace_id, rule->name,
                !rule->is_active               ? " (off)"
                : !rule->destination_is_active ? " (destination inactive)"
                                               : "");
        }
        printf("%zu rules, %zu sets, version %" PRId64 "\n", response->n_rules, response->n_sets, response->version);
    }
    leadrouter__v1__list_rules_response__free_unpacked(response, NULL);
    return code;
}

int command_rules_export(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl rules export --workspace W [--version N]\n\n"
        "The rules and sets of a workspace as a file for rules apply: YAML, or JSON with --json.\n\n"
        "Example: leadctl rules export --workspace 0b9e… > rules.yaml";
    struct rules_options options;
    Leadrouter__V1__ListRulesResponse *response = NULL;
    json_t *value = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "rules export", FLAG_VERSION, false, argc, argv, &options, &code))
        return code;
    response = list(&options, &code);
    if (response == NULL)
        return code;
    value = rules_file_value(response);
    leadrouter__v1__list_rules_response__free_unpacked(response, NULL);
    if (options.common.json) {
        print_json(value);
        return code;
    }
    if (!rules_file_write(stdout, value) || fflush(stdout) != 0) {
        fprintf(stderr, "leadctl: the rules could not be written\n");
        code = EXIT_FAILED;
    }
    json_decref(value);
    return code;
}

/* --- apply, revert ------------------------------------------------------------------------------------------------ */

static json_t *changes_json(Leadrouter__V1__RuleChange *const *changes, size_t count, int64_t version)
{
    static const char *const kinds[] = {"unspecified", "added", "changed", "removed"};
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *parts = json_array();
        for (size_t k = 0; k < changes[i]->n_parts; k++)
            json_array_append_new(parts, json_string(changes[i]->parts[k]));
        json_array_append_new(
            array, json_pack("{ss, ss, ss, so}", "change",
                       kinds[(unsigned)changes[i]->kind < COUNT_OF(kinds) ? changes[i]->kind : 0], "what",
                       changes[i]->is_set ? "set" : "rule", "name", changes[i]->name, "parts", parts));
    }
    return json_pack("{so, sI}", "changes", array, "version", (json_int_t)version);
}

static void print_lines(Leadrouter__V1__RuleChange *const *changes, size_t count)
{
    static const char signs[] = "?+~-";

    for (size_t i = 0; i < count; i++) {
        const Leadrouter__V1__RuleChange *change = changes[i];
        printf("%c %s \"%s\"", signs[(unsigned)change->kind < sizeof(signs) - 1 ? change->kind : 0],
            change->is_set ? "set" : "rule", change->name);
        for (size_t k = 0; k < change->n_parts; k++)
            printf("%s%s", k == 0 ? ": " : ", ", change->parts[k]);
        printf("\n");
    }
}

static void print_closing(size_t count, int64_t version, bool is_dry)
{
    if (count == 0)
        printf("nothing to change; version %" PRId64 "\n", version);
    else if (is_dry)
        printf("%zu changes to version %" PRId64 ", not made\n", count, version);
    else
        printf("%zu changes made: version %" PRId64 "\n", count, version);
}

static void print_finding(const Leadrouter__V1__LintFinding *finding)
{
    static const char *const texts[] = {
        "unknown finding",
        "no lead can meet its conditions",
        "never reached: every lead that meets it is taken by",
        "of one priority with, and giving the same leads to another workspace than,",
        "its destination is inactive or gone",
        "no lead was found that meets its conditions",
        "part of a circle of workspaces with",
    };
    unsigned kind = finding->kind;

    printf("%-7s rule \"%s\": %s", finding->is_error ? "error" : "warning", finding->rule_name,
        kind < COUNT_OF(texts) ? texts[kind] : texts[0]);
    if (*finding->other_rule_name != '\0')
        printf(" \"%s\"", finding->other_rule_name);
    printf("\n");
    if (*finding->witness_json != '\0')
        printf("        for example %s\n", finding->witness_json);
}

/* One call; NULL after a failure, of which it has told. */
static Leadrouter__V1__ApplyRulesResponse *apply_once(struct grpc_c_channel *channel,
    const struct rules_options *options, const struct rules_file *file, bool is_dry, int64_t expected_version)
{
    Leadrouter__V1__ApplyRulesRequest request = LEADROUTER__V1__APPLY_RULES_REQUEST__INIT;
    Leadrouter__V1__ApplyRulesResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};

    request.workspace_id = borrowed(options->workspace);
    request.note = borrowed(options->note);
    request.dry_run = is_dry;
    request.expected_version = expected_version;
    request.n_rules = file->rule_count;
    request.rules = file->rule_pointers;
    request.n_sets = file->set_count;
    request.sets = file->set_pointers;
    if (leadrouter__v1__rule_service__apply_rules(channel, &request, NULL, &response, &outcome) != GRPC_C_OK)
        (void)call_failed(options->common.target, &outcome);
    grpc_c_outcome_release(&outcome);
    return response;
}

/* Shows the difference, and then makes it: to the version that was shown, or not at all. */
static int apply(const struct rules_options *options, const struct rules_file *file)
{
    Leadrouter__V1__ApplyRulesResponse *planned = NULL;
    Leadrouter__V1__ApplyRulesResponse *made = NULL;
    struct grpc_c_channel *channel = connect_to(&options->common);
    int code = EXIT_FAILED;

    if (channel == NULL)
        return EXIT_USAGE;
    planned = apply_once(channel, options, file, true, 0);
    if (planned == NULL)
        goto cleanup;
    if (!options->common.json) {
        print_lines(planned->changes, planned->n_changes);
        fflush(stdout);
    }
    if (!options->is_dry && planned->n_changes > 0) {
        made = apply_once(channel, options, file, false, planned->version);
        if (made == NULL)
            goto cleanup;
    }
    const Leadrouter__V1__ApplyRulesResponse *last = made != NULL ? made : planned;
    if (options->common.json)
        print_json(changes_json(last->changes, last->n_changes, last->version));
    else
        print_closing(planned->n_changes, last->version, options->is_dry);
    for (size_t i = 0; i < last->n_findings && !options->common.json; i++)
        print_finding(last->findings[i]);
    code = EXIT_DONE;
cleanup:
    if (planned != NULL)
        leadrouter__v1__apply_rules_response__free_unpacked(planned, NULL);
    if (made != NULL)
        leadrouter__v1__apply_rules_response__free_unpacked(made, NULL);
    grpc_c_channel_free(channel);
    return code;
}

int command_rules_apply(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl rules apply FILE --workspace W [--dry-run] [--note TEXT]\n\n"
        "Makes the rules and sets of a workspace equal to those of a file (YAML or JSON; -: standard\n"
        "input), in one step, and shows what changes. Rules are told apart by their names.\n\n"
        "Example: leadctl rules apply rules.yaml --workspace 0b9e… --dry-run";
    struct rules_options options;
    struct rules_file file;
    struct error error = {0};
    int code = EXIT_DONE;

    if (!parse(usage, "rules apply", FLAG_NOTE | FLAG_DRY_RUN, true, argc, argv, &options, &code))
        return code;
    if (rules_file_load(options.operand, &file, &error)) {
        code = apply(&options, &file);
    } else {
        fprintf(stderr, "leadctl: %s\n", error.text);
        code = EXIT_USAGE;
    }
    rules_file_release(&file);
    return code;
}

int command_rules_revert(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules revert --workspace W --version N [--note TEXT]\n\n"
                                "Brings the rules and sets of an earlier version back, as a new version.\n\n"
                                "Example: leadctl rules revert --workspace 0b9e… --version 41";
    Leadrouter__V1__RevertRulesRequest request = LEADROUTER__V1__REVERT_RULES_REQUEST__INIT;
    Leadrouter__V1__RevertRulesResponse *response = NULL;
    struct rules_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "rules revert", FLAG_VERSION | FLAG_NOTE, false, argc, argv, &options, &code))
        return code;
    if (options.version == 0) {
        fprintf(stderr, "leadctl: rules revert needs --version; leadctl rules versions lists them\n");
        return EXIT_USAGE;
    }
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.workspace_id = borrowed(options.workspace);
    request.version = options.version;
    request.note = borrowed(options.note);
    if (leadrouter__v1__rule_service__revert_rules(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(options.common.target, &outcome);
    } else {
        if (options.common.json)
            print_json(changes_json(response->changes, response->n_changes, response->version));
        else
            print_lines(response->changes, response->n_changes);
        if (!options.common.json)
            print_closing(response->n_changes, response->version, false);
        leadrouter__v1__revert_rules_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

/* --- diff --------------------------------------------------------------------------------------------------------- */

int command_rules_diff(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl rules diff FROM-VERSION --workspace W [--version TO]\n\n"
                                "What changed from one version of a workspace's rules to another, or to now.\n\n"
                                "Example: leadctl rules diff 41 --workspace 0b9e… --version 44";
    Leadrouter__V1__DiffRuleVersionsRequest request = LEADROUTER__V1__DIFF_RULE_VERSIONS_REQUEST__INIT;
    Leadrouter__V1__DiffRuleVersionsResponse *response = NULL;
    struct rules_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    char *end = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "rules diff", FLAG_VERSION, true, argc, argv, &options, &code))
        return code;
    request.from_version = strtoll(options.operand, &end, 10);
    if (*end != '\0' || request.from_version < 1) {
        fprintf(stderr, "leadctl: \"%s\" is no version\n", options.operand);
        return EXIT_USAGE;
    }
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.workspace_id = borrowed(options.workspace);
    request.to_version = options.version;
    if (leadrouter__v1__rule_service__diff_rule_versions(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(options.common.target, &outcome);
    } else {
        if (options.common.json)
            print_json(changes_json(response->changes, response->n_changes, response->to_version));
        else
            print_lines(response->changes, response->n_changes);
        if (!options.common.json)
            printf("%zu changes from version %" PRId64 " to %" PRId64 "\n", response->n_changes, request.from_version,
                response->to_version);
        leadrouter__v1__diff_rule_versions_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

/* --- versions ----------------------------------------------------------------------------------------------------- */

static void print_versions(const Leadrouter__V1__ListRuleVersionsResponse *response)
{
    char time[32];

    printf("%8s  %-24s  %5s  %5s  %s\n", "VERSION", "MADE", "RULES", "SETS", "NOTE");
    for (size_t i = 0; i < response->n_versions; i++) {
        const Leadrouter__V1__RuleVersion *version = response->versions[i];
        printf("%8" PRId64 "  %-24s  %5d  %5d  %s\n", version->version, time_text(version->created_at, time),
            version->rules_changed, version->sets_changed, version->note);
    }
}

static json_t *versions_json(const Leadrouter__V1__ListRuleVersionsResponse *response)
{
    json_t *array = json_array();
    char time[32];

    for (size_t i = 0; i < response->n_versions; i++) {
        const Leadrouter__V1__RuleVersion *version = response->versions[i];
        json_array_append_new(
            array, json_pack("{sI, ss, ss, ss, si, si}", "version", (json_int_t)version->version, "created_at",
                       time_text(version->created_at, time), "user_id", version->user_id, "note", version->note,
                       "rules_changed", (int)version->rules_changed, "sets_changed", (int)version->sets_changed));
    }
    return json_pack("{so}", "versions", array);
}

int command_rules_versions(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl rules versions --workspace W\n\n"
        "The last 50 versions of a workspace's rules, the newest first: when each was made and\n"
        "how many rules and sets it changed.\n\n"
        "Example: leadctl rules versions --workspace 0b9e…";
    Leadrouter__V1__ListRuleVersionsRequest request = LEADROUTER__V1__LIST_RULE_VERSIONS_REQUEST__INIT;
    Leadrouter__V1__ListRuleVersionsResponse *response = NULL;
    struct rules_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "rules versions", 0, false, argc, argv, &options, &code))
        return code;
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.workspace_id = borrowed(options.workspace);
    if (leadrouter__v1__rule_service__list_rule_versions(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(options.common.target, &outcome);
    } else {
        if (options.common.json)
            print_json(versions_json(response));
        else
            print_versions(response);
        leadrouter__v1__list_rule_versions_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

/* --- test --------------------------------------------------------------------------------------------------------- */

static int test(const struct rules_options *options, const struct rules_file *file)
{
    Leadrouter__V1__TestRulesRequest request = LEADROUTER__V1__TEST_RULES_REQUEST__INIT;
    Leadrouter__V1__TestRulesResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = connect_to(&options->common);
    char *lead = borrowed(options->operand);
    int code = EXIT_DONE;

    if (channel == NULL)
        return EXIT_USAGE;
    request.workspace_id = borrowed(options->workspace);
    request.version = options->version;
    request.n_lead_ids = 1;
    request.lead_ids = &lead;
    request.n_draft_rules = file->rule_count;
    request.draft_rules = file->rule_pointers;
    request.n_draft_sets = file->set_count;
    request.draft_sets = file->set_pointers;
    if (leadrouter__v1__rule_service__test_rules(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(options->common.target, &outcome);
    } else {
        if (options->common.json)
            print_json(explanation_json(response->leads[0]));
        else
            explanation_print(response->leads[0]);
        leadrouter__v1__test_rules_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

int command_rules_test(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl rules test LEAD --workspace W [--version N | --file FILE]\n\n"
        "What each rule would do with a lead, and why: those of now, of an earlier version, or of\n"
        "a file. Changes nothing.\n\n"
        "Example: leadctl rules test 6f1c… --workspace 0b9e… --file rules.yaml";
    struct rules_options options;
    struct rules_file file = {0};
    struct error error = {0};
    int code = EXIT_DONE;

    if (!parse(usage, "rules test", FLAG_VERSION | FLAG_FILE, true, argc, argv, &options, &code))
        return code;
    if (options.file == NULL || rules_file_load(options.file, &file, &error)) {
        code = test(&options, &file);
    } else {
        fprintf(stderr, "leadctl: %s\n", error.text);
        code = EXIT_USAGE;
    }
    rules_file_release(&file);
    return code;
}

/* --- lint --------------------------------------------------------------------------------------------------------- */

static json_t *findings_json(const Leadrouter__V1__LintRulesResponse *response)
{
    json_t *array = json_array();

    for (size_t i = 0; i < response->n_findings; i++) {
        const Leadrouter__V1__LintFinding *finding = response->findings[i];
        const ProtobufCEnumValue *kind =
            protobuf_c_enum_descriptor_get_value(&leadrouter__v1__lint_finding_kind__descriptor, (int)finding->kind);
        json_t *witness = json_loads(finding->witness_json, 0, NULL);
        json_array_append_new(array,
            json_pack("{ss, sb, ss, ss, so}", "kind", kind == NULL ? "" : kind->name + strlen("LINT_FINDING_KIND_"),
                "is_error", (int)finding->is_error, "rule", finding->rule_name, "other_rule", finding->other_rule_name,
                "witness", witness == NULL ? json_null() : witness));
    }
    return json_pack("{so, sI}", "findings", array, "version", (json_int_t)response->version);
}

/* Shows the findings; 1 when one of them is an error. */
static int show_findings(const Leadrouter__V1__LintRulesResponse *response, bool is_json)
{
    size_t errors = 0;

    for (size_t i = 0; i < response->n_findings; i++) {
        errors += response->findings[i]->is_error ? 1 : 0;
        if (!is_json)
            print_finding(response->findings[i]);
    }
    if (is_json)
        print_json(findings_json(response));
    else
        printf("%zu errors, %zu warnings\n", errors, response->n_findings - errors);
    return errors > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int lint(const struct rules_options *options, const struct rules_file *file)
{
    Leadrouter__V1__LintRulesRequest request = LEADROUTER__V1__LINT_RULES_REQUEST__INIT;
    Leadrouter__V1__LintRulesResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = connect_to(&options->common);
    int code = EXIT_DONE;

    if (channel == NULL)
        return EXIT_USAGE;
    request.workspace_id = borrowed(options->workspace);
    request.version = options->version;
    request.n_draft_rules = file->rule_count;
    request.draft_rules = file->rule_pointers;
    request.n_draft_sets = file->set_count;
    request.draft_sets = file->set_pointers;
    if (leadrouter__v1__rule_service__lint_rules(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(options->common.target, &outcome);
    } else {
        code = show_findings(response, options->common.json);
        leadrouter__v1__lint_rules_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

int command_rules_lint(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl rules lint --workspace W [--version N | --file FILE]\n\n"
        "What is wrong with rules before any lead comes: those that no lead can meet, those that\n"
        "others always take the leads of, those that disagree about a lead. Exits with 1 when there\n"
        "are errors. Each finding is proven, or a lead shows it.\n\n"
        "Example: leadctl rules lint --workspace 0b9e… --file rules.yaml";
    struct rules_options options;
    struct rules_file file = {0};
    struct error error = {0};
    int code = EXIT_DONE;

    if (!parse(usage, "rules lint", FLAG_VERSION | FLAG_FILE, false, argc, argv, &options, &code))
        return code;
    if (options.file == NULL || rules_file_load(options.file, &file, &error)) {
        code = lint(&options, &file);
    } else {
        fprintf(stderr, "leadctl: %s\n", error.text);
        code = EXIT_USAGE;
    }
    rules_file_release(&file);
    return code;
}
