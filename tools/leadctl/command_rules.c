/* leadctl rules …: the rules of a workspace. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "command.h"
#include "explanation.h"
#include "leadrouter/v1/rules.grpc.h"
#include "rules_file.h"
#include "table.h"

#define FLAG_VERSION                                                                                                   \
    {                                                                                                                  \
        .name = "version", .placeholder = "N", .help = "an earlier version of the rules", .kind = OPTION_NUMBER,       \
        .offset = offsetof(struct arguments, version), .least = 1, .most = INT32_MAX                                   \
    }
#define FLAG_DRAFT                                                                                                     \
    {                                                                                                                  \
        .name = "file", .placeholder = "FILE", .help = "take the rules of this file instead", .kind = OPTION_FILE,     \
        .offset = offsetof(struct arguments, file)                                                                     \
    }

/* Reads the rules of a file, or none for NULL; on failure the reason was written. */
static bool load(const char *path, struct rules_file *ret_file)
{
    struct error error = {0};

    *ret_file = (struct rules_file){0};
    if (path == NULL || rules_file_load(path, ret_file, &error))
        return true;
    print_line(stderr, "leadctl: %s", error.text);
    rules_file_release(ret_file);
    return false;
}

/* --- list, export ------------------------------------------------------------------------------------------------- */

/* The rules of a version; NULL after a failure, of which it has told. */
static Leadrouter__V1__ListRulesResponse *read_rules(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListRulesRequest request = LEADROUTER__V1__LIST_RULES_REQUEST__INIT;
    Leadrouter__V1__ListRulesResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.version = arguments->version;
    if (leadrouter__v1__rule_service__list_rules(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        (void)session_failed(session);
    return response;
}

static void print_rules(const Leadrouter__V1__ListRulesResponse *response)
{
    static const struct table_column columns[] = {
        {"PRIORITY", TABLE_NUMBER}, {"RULE", TABLE_ID}, {"DESTINATION", TABLE_ID}, {"NAME", TABLE_TEXT}};
    struct table *table = table_new(columns, COUNT_OF(columns));

    for (size_t i = 0; i < response->n_rules; i++) {
        const Leadrouter__V1__Rule *rule = response->rules[i];
        table_add_format(table, "%d", rule->priority);
        table_add(table, rule->id);
        table_add(table, rule->destination_workspace_id);
        table_add_format(table, "%s%s", rule->name,
            !rule->is_active               ? " (off)"
            : !rule->destination_is_active ? " (destination inactive)"
                                           : "");
    }
    table_print(table);
    table_free(table);
    printf("%zu %s, %zu %s, version %" PRId64 "\n", response->n_rules, response->n_rules == 1 ? "rule" : "rules",
        response->n_sets, response->n_sets == 1 ? "set" : "sets", response->version);
}

static int list(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListRulesResponse *response = read_rules(arguments, session);

    if (response == NULL)
        return EXIT_FAILED;
    if (arguments->common.json) {
        json_t *value = rules_file_value(response);
        json_object_set_new(value, "version", json_integer(response->version));
        print_json(value);
    } else {
        print_rules(response);
    }
    leadrouter__v1__list_rules_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec list_flags[] = {FLAG_WORKSPACE("whose rules"), FLAG_VERSION};

const struct command command_rules_list = {
    .name = "rules list",
    .summary = "the rules of a workspace, in the order in which they are asked",
    .text = "The rules of a workspace in the order in which they are asked.",
    .example = "leadctl rules list --workspace 0b9e…",
    COMMAND_FLAGS(list_flags),
    .run = list,
};

static int export(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListRulesResponse *response = read_rules(arguments, session);
    json_t *value = NULL;
    int code = EXIT_DONE;

    if (response == NULL)
        return EXIT_FAILED;
    value = rules_file_value(response);
    leadrouter__v1__list_rules_response__free_unpacked(response, NULL);
    if (arguments->common.json) {
        print_json(value);
        return EXIT_DONE;
    }
    if (!rules_file_write(stdout, value)) {
        fprintf(stderr, "leadctl: the rules could not be written\n");
        code = EXIT_FAILED;
    }
    json_decref(value);
    return code;
}

const struct command command_rules_export = {
    .name = "rules export",
    .summary = "write all rules as a file for rules apply",
    .text = "The rules and sets of a workspace as a file for rules apply: YAML, or JSON with --json.",
    .example = "leadctl rules export --workspace 0b9e… > rules.yaml",
    COMMAND_FLAGS(list_flags),
    .run = export,
};

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
    struct buffer line = {0};

    buffer_init(&line, SIZE_MAX / 8);
    for (size_t i = 0; i < count; i++) {
        const Leadrouter__V1__RuleChange *change = changes[i];
        buffer_clear(&line);
        buffer_append_format(&line, "%c %s \"%s\"",
            signs[(unsigned)change->kind < sizeof(signs) - 1 ? change->kind : 0], change->is_set ? "set" : "rule",
            change->name);
        for (size_t k = 0; k < change->n_parts; k++)
            buffer_append_format(&line, "%s%s", k == 0 ? ": " : ", ", change->parts[k]);
        print_line(stdout, "%s", buffer_text(&line));
    }
    buffer_release(&line);
}

static void print_closing(size_t count, int64_t version, bool is_dry)
{
    if (count == 0)
        printf("nothing to change; version %" PRId64 "\n", version);
    else if (is_dry)
        printf("%zu %s to version %" PRId64 ", not made\n", count, count == 1 ? "change" : "changes", version);
    else
        printf("%zu %s made: version %" PRId64 "\n", count, count == 1 ? "change" : "changes", version);
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
    const bool has_other = *finding->other_rule_name != '\0';

    print_line(stdout, "%-7s rule \"%s\": %s%s%s%s", finding->is_error ? "error" : "warning", finding->rule_name,
        kind < COUNT_OF(texts) ? texts[kind] : texts[0], has_other ? " \"" : "", finding->other_rule_name,
        has_other ? "\"" : "");
    if (*finding->witness_json != '\0')
        print_line(stdout, "        for example %s", finding->witness_json);
}

/* One call; NULL after a failure, of which it has told. */
static Leadrouter__V1__ApplyRulesResponse *apply_once(const struct arguments *arguments, struct session *session,
    const struct rules_file *file, bool is_dry, int64_t expected_version)
{
    Leadrouter__V1__ApplyRulesRequest request = LEADROUTER__V1__APPLY_RULES_REQUEST__INIT;
    Leadrouter__V1__ApplyRulesResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.note = borrowed(arguments->note);
    request.dry_run = is_dry;
    request.expected_version = expected_version;
    request.n_rules = file->rule_count;
    request.rules = file->rule_pointers;
    request.n_sets = file->set_count;
    request.sets = file->set_pointers;
    if (leadrouter__v1__rule_service__apply_rules(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        (void)session_failed(session);
    grpc_c_outcome_release(&session->outcome); /* the next call writes another */
    return response;
}

/* Shows the difference, and then makes it: to the version that was shown, or not at all. */
static int apply_file(const struct arguments *arguments, struct session *session, const struct rules_file *file)
{
    Leadrouter__V1__ApplyRulesResponse *planned = apply_once(arguments, session, file, true, 0);
    Leadrouter__V1__ApplyRulesResponse *made = NULL;
    int code = EXIT_FAILED;

    if (planned == NULL)
        goto cleanup;
    if (!arguments->common.json) {
        print_lines(planned->changes, planned->n_changes);
        fflush(stdout);
    }
    if (!arguments->is_dry && planned->n_changes > 0) {
        made = apply_once(arguments, session, file, false, planned->version);
        if (made == NULL)
            goto cleanup;
    }
    const Leadrouter__V1__ApplyRulesResponse *last = made != NULL ? made : planned;
    if (arguments->common.json)
        print_json(changes_json(last->changes, last->n_changes, last->version));
    else
        print_closing(planned->n_changes, last->version, arguments->is_dry);
    for (size_t i = 0; i < last->n_findings && !arguments->common.json; i++)
        print_finding(last->findings[i]);
    code = EXIT_DONE;
cleanup:
    if (planned != NULL)
        leadrouter__v1__apply_rules_response__free_unpacked(planned, NULL);
    if (made != NULL)
        leadrouter__v1__apply_rules_response__free_unpacked(made, NULL);
    return code;
}

static int apply(const struct arguments *arguments, struct session *session)
{
    struct rules_file file;

    if (!load(arguments->operand, &file))
        return EXIT_USAGE;
    int code = apply_file(arguments, session, &file);
    rules_file_release(&file);
    return code;
}

static const struct option_spec apply_flags[] = {
    FLAG_WORKSPACE("whose rules"),
    {.name = "dry-run",
        .help = "only show what would change",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_dry)},
    FLAG_NOTE("why, for the history"),
};

const struct command command_rules_apply = {
    .name = "rules apply",
    .summary = "make all rules equal to those of a file",
    .text = "Makes the rules and sets of a workspace equal to those of a file (YAML or JSON; -: standard input), in "
            "one step, "
            "and shows what changes. Rules are told apart by their names.",
    .example = "leadctl rules apply rules.yaml --workspace 0b9e… --dry-run",
    .operand = {.name = "FILE", .help = "file with the rules", .kind = OPTION_FILE, .is_needed = true},
    COMMAND_FLAGS(apply_flags),
    .run = apply,
};

static int revert(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__RevertRulesRequest request = LEADROUTER__V1__REVERT_RULES_REQUEST__INIT;
    Leadrouter__V1__RevertRulesResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.version = arguments->version;
    request.note = borrowed(arguments->note);
    if (leadrouter__v1__rule_service__revert_rules(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json) {
        print_json(changes_json(response->changes, response->n_changes, response->version));
    } else {
        print_lines(response->changes, response->n_changes);
        print_closing(response->n_changes, response->version, false);
    }
    leadrouter__v1__revert_rules_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec revert_flags[] = {
    FLAG_WORKSPACE("whose rules"),
    {.name = "version",
        .placeholder = "N",
        .help = "the version to go back to; leadctl rules versions lists them",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, version),
        .is_needed = true,
        .least = 1,
        .most = INT32_MAX},
    FLAG_NOTE("why, for the history"),
};

const struct command command_rules_revert = {
    .name = "rules revert",
    .summary = "go back to an earlier version of the rules",
    .text = "Brings the rules and sets of an earlier version back, as a new version.",
    .example = "leadctl rules revert --workspace 0b9e… --version 41",
    COMMAND_FLAGS(revert_flags),
    .run = revert,
};

/* --- diff --------------------------------------------------------------------------------------------------------- */

static int diff(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__DiffRuleVersionsRequest request = LEADROUTER__V1__DIFF_RULE_VERSIONS_REQUEST__INIT;
    Leadrouter__V1__DiffRuleVersionsResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.from_version = strtoll(arguments->operand, NULL, 10);
    request.to_version = arguments->version;
    if (leadrouter__v1__rule_service__diff_rule_versions(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json) {
        print_json(changes_json(response->changes, response->n_changes, response->to_version));
    } else {
        print_lines(response->changes, response->n_changes);
        printf("%zu %s from version %" PRId64 " to %" PRId64 "\n", response->n_changes,
            response->n_changes == 1 ? "change" : "changes", request.from_version, response->to_version);
    }
    leadrouter__v1__diff_rule_versions_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec diff_flags[] = {
    FLAG_WORKSPACE("whose rules"),
    {.name = "version",
        .placeholder = "TO",
        .help = "until this version; else until now",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, version),
        .least = 1,
        .most = INT32_MAX},
};

const struct command command_rules_diff = {
    .name = "rules diff",
    .summary = "what changed from one version of the rules to another",
    .text = "What changed from one version of a workspace's rules to another, or to now.",
    .example = "leadctl rules diff 41 --workspace 0b9e… --version 44",
    .operand = {.name = "FROM-VERSION",
        .help = "the earlier version; leadctl rules versions lists them",
        .kind = OPTION_NUMBER,
        .is_needed = true,
        .least = 1,
        .most = INT32_MAX},
    COMMAND_FLAGS(diff_flags),
    .run = diff,
};

/* --- versions ----------------------------------------------------------------------------------------------------- */

static void print_versions(const Leadrouter__V1__ListRuleVersionsResponse *response)
{
    static const struct table_column columns[] = {{"VERSION", TABLE_NUMBER}, {"MADE", TABLE_WORD},
        {"RULES", TABLE_NUMBER}, {"SETS", TABLE_NUMBER}, {"NOTE", TABLE_TEXT}};
    struct table *table = table_new(columns, COUNT_OF(columns));
    char time[32];

    for (size_t i = 0; i < response->n_versions; i++) {
        const Leadrouter__V1__RuleVersion *version = response->versions[i];
        table_add_format(table, "%" PRId64, version->version);
        table_add(table, minute_text(version->created_at, time));
        table_add_format(table, "%d", version->rules_changed);
        table_add_format(table, "%d", version->sets_changed);
        table_add(table, version->note);
    }
    table_print(table);
    table_free(table);
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

static int versions(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListRuleVersionsRequest request = LEADROUTER__V1__LIST_RULE_VERSIONS_REQUEST__INIT;
    Leadrouter__V1__ListRuleVersionsResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    if (leadrouter__v1__rule_service__list_rule_versions(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(versions_json(response));
    else
        print_versions(response);
    leadrouter__v1__list_rule_versions_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec versions_flags[] = {FLAG_WORKSPACE("whose rules")};

const struct command command_rules_versions = {
    .name = "rules versions",
    .summary = "the versions of the rules that there were",
    .text = "The last 50 versions of a workspace's rules, the newest first: when each was made and how many rules and "
            "sets it "
            "changed.",
    .example = "leadctl rules versions --workspace 0b9e…",
    COMMAND_FLAGS(versions_flags),
    .run = versions,
};

/* --- test --------------------------------------------------------------------------------------------------------- */

static int test_draft(const struct arguments *arguments, struct session *session, const struct rules_file *file)
{
    Leadrouter__V1__TestRulesRequest request = LEADROUTER__V1__TEST_RULES_REQUEST__INIT;
    Leadrouter__V1__TestRulesResponse *response = NULL;
    char *lead = borrowed(arguments->operand);

    request.workspace_id = borrowed(arguments->workspace);
    request.version = arguments->version;
    request.n_lead_ids = 1;
    request.lead_ids = &lead;
    request.n_draft_rules = file->rule_count;
    request.draft_rules = file->rule_pointers;
    request.n_draft_sets = file->set_count;
    request.draft_sets = file->set_pointers;
    if (leadrouter__v1__rule_service__test_rules(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(explanation_json(response->leads[0]));
    else
        explanation_print(response->leads[0], false);
    leadrouter__v1__test_rules_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static int test(const struct arguments *arguments, struct session *session)
{
    struct rules_file file;

    if (!load(arguments->file, &file))
        return EXIT_USAGE;
    int code = test_draft(arguments, session, &file);
    rules_file_release(&file);
    return code;
}

static const struct option_spec draft_flags[] = {FLAG_WORKSPACE("whose rules"), FLAG_VERSION, FLAG_DRAFT};

const struct command command_rules_test = {
    .name = "rules test",
    .summary = "what each rule would do with a lead, and why",
    .text = "What each rule would do with a lead, and why: those of now, of an earlier version, or of a file. Changes "
            "nothing.",
    .example = "leadctl rules test 6f1c… --workspace 0b9e… --file rules.yaml",
    .operand = OPERAND_LEAD,
    COMMAND_FLAGS(draft_flags),
    .run = test,
};

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

static int lint_draft(const struct arguments *arguments, struct session *session, const struct rules_file *file)
{
    Leadrouter__V1__LintRulesRequest request = LEADROUTER__V1__LINT_RULES_REQUEST__INIT;
    Leadrouter__V1__LintRulesResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.version = arguments->version;
    request.n_draft_rules = file->rule_count;
    request.draft_rules = file->rule_pointers;
    request.n_draft_sets = file->set_count;
    request.draft_sets = file->set_pointers;
    if (leadrouter__v1__rule_service__lint_rules(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    int code = show_findings(response, arguments->common.json);
    leadrouter__v1__lint_rules_response__free_unpacked(response, NULL);
    return code;
}

static int lint(const struct arguments *arguments, struct session *session)
{
    struct rules_file file;

    if (!load(arguments->file, &file))
        return EXIT_USAGE;
    int code = lint_draft(arguments, session, &file);
    rules_file_release(&file);
    return code;
}

const struct command command_rules_lint = {
    .name = "rules lint",
    .summary = "what is wrong with rules before any lead comes",
    .text =
        "What is wrong with rules before any lead comes: those that no lead can meet, those that others always take "
        "the "
        "leads of, those that disagree about a lead. Exits with 1 when there are errors. Each finding is proven, or a "
        "lead shows it.",
    .example = "leadctl rules lint --workspace 0b9e… --file rules.yaml",
    COMMAND_FLAGS(draft_flags),
    .run = lint,
};
