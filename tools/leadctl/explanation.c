#include "explanation.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"

static const char *result_word(const Leadrouter__V1__RuleExplanation *rule, bool is_copy)
{
    static const char *const words[] = {"?", "takes it", "no", "destination inactive", "off", "not kept"};
    unsigned result = rule->result;

    if (result == LEADROUTER__V1__RULE_RESULT__RULE_RESULT_MATCHED && (!rule->is_reached || is_copy))
        return "would take it";
    return result < COUNT_OF(words) ? words[result] : words[0];
}

static const char *reason_word(Leadrouter__V1__TestReason reason)
{
    static const char *const words[] = {"?", "", "it is missing", "what it is compared with is missing",
        "it is no number", "it is no date or time", "the expression took too many steps", "it holds, under a not",
        "its value is not kept"};

    return (unsigned)reason < COUNT_OF(words) ? words[reason] : words[0];
}

static void print_test(const Leadrouter__V1__FailedTest *test)
{
    const char *reason = reason_word(test->reason);
    const bool has_actual = *test->actual != '\0';

    print_line(stdout, "  %-22s %s: %s %s%s%s%s%s%s%s%s", "", test->path, test->field, test->op,
        *test->expected_json == '\0' ? "" : " ", test->expected_json, has_actual ? "; it is \"" : "", test->actual,
        has_actual ? "\"" : "", *reason == '\0' ? "" : "; ", reason);
}

void explanation_print(const Leadrouter__V1__LeadExplanation *explanation, bool is_copy)
{
    print_line(stdout, "%s", explanation->summary);
    if (!is_copy && *explanation->destination_workspace_id != '\0')
        printf("destination %s\n", explanation->destination_workspace_id);
    if (*explanation->duplicate_lead_id != '\0')
        printf("the same person is lead %s\n", explanation->duplicate_lead_id);
    if (explanation->is_held)
        printf("somebody holds the lead at the moment\n");
    for (size_t i = 0; i < explanation->n_rules; i++) {
        const Leadrouter__V1__RuleExplanation *rule = explanation->rules[i];
        print_line(stdout, "  %-22s %s%s", result_word(rule, is_copy), rule->rule_name,
            rule->is_reached || rule->result == LEADROUTER__V1__RULE_RESULT__RULE_RESULT_INACTIVE ? ""
                                                                                                  : " (not reached)");
        for (size_t k = 0; k < rule->n_failed_tests; k++)
            print_test(rule->failed_tests[k]);
    }
}

/* The name of an enum's value without its prefix; "" for what is not known. */
static const char *short_name(const ProtobufCEnumDescriptor *descriptor, int number, const char *prefix)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

    return value == NULL ? "" : value->name + strlen(prefix);
}

static json_t *rule_json(const Leadrouter__V1__RuleExplanation *rule)
{
    json_t *tests = json_array();

    for (size_t i = 0; i < rule->n_failed_tests; i++) {
        const Leadrouter__V1__FailedTest *test = rule->failed_tests[i];
        json_array_append_new(
            tests, json_pack("{ss, ss, ss, ss, ss, ss}", "path", test->path, "field", test->field, "op", test->op,
                       "expected_json", test->expected_json, "actual", test->actual, "reason",
                       short_name(&leadrouter__v1__test_reason__descriptor, (int)test->reason, "TEST_REASON_")));
    }
    return json_pack("{ss, ss, ss, ss, sb, so}", "rule_id", rule->rule_id, "rule_name", rule->rule_name,
        "destination_workspace_id", rule->destination_workspace_id, "result",
        short_name(&leadrouter__v1__rule_result__descriptor, (int)rule->result, "RULE_RESULT_"), "is_reached",
        (int)rule->is_reached, "failed_tests", tests);
}

json_t *explanation_json(const Leadrouter__V1__LeadExplanation *explanation)
{
    json_t *rules = json_array();

    for (size_t i = 0; i < explanation->n_rules; i++)
        json_array_append_new(rules, rule_json(explanation->rules[i]));
    return json_pack("{ss, ss, ss, ss, ss, ss, sb, so}", "lead_id", explanation->lead_id, "summary",
        explanation->summary, "matched_rule_id", explanation->matched_rule_id, "matched_rule_name",
        explanation->matched_rule_name, "destination_workspace_id", explanation->destination_workspace_id,
        "duplicate_lead_id", explanation->duplicate_lead_id, "is_held", (int)explanation->is_held, "rules", rules);
}
