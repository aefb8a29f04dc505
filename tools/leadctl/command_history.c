/* leadctl history: what became of a lead, and why. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "explanation.h"
#include "leadrouter/v1/rules.grpc.h"

static void print_attempt(const Leadrouter__V1__RoutingAttempt *attempt)
{
    char time[32];
    char number[16];
    char version[24];

    snprintf(number, sizeof(number), "%d", attempt->attempt);
    snprintf(version, sizeof(version), "%" PRId64, attempt->rules_version);
    print_row("when", time_text(attempt->created_at, time));
    print_row("result", attempt->result);
    print_row("attempt", number);
    print_row("reason", attempt->reason);
    print_row("destination", attempt->destination_workspace_id);
    print_row("duplicate of", attempt->duplicate_lead_id);
    print_row("next retry", time_text(attempt->next_retry_at, time));
    print_row("asked by", attempt->user_id);
    print_row("decision", attempt->id);
    if (attempt->rules_version != 0)
        print_row("rules version", version);
    if (attempt->explanation != NULL)
        explanation_print(attempt->explanation, strcmp(attempt->result, "duplicate") == 0);
}

static json_t *attempt_json(const Leadrouter__V1__RoutingAttempt *attempt)
{
    char time[32];
    char retry[32];
    json_t *value = json_pack("{ss, ss, ss, si, ss, ss, ss, ss, ss, sI}", "id", attempt->id, "created_at",
        time_text(attempt->created_at, time), "result", attempt->result, "attempt", (int)attempt->attempt, "reason",
        attempt->reason, "destination_workspace_id", attempt->destination_workspace_id, "duplicate_lead_id",
        attempt->duplicate_lead_id, "next_retry_at", time_text(attempt->next_retry_at, retry), "user_id",
        attempt->user_id, "rules_version", (json_int_t)attempt->rules_version);

    if (attempt->explanation != NULL)
        json_object_set_new(value, "explanation", explanation_json(attempt->explanation));
    return value;
}

static void show(const Leadrouter__V1__GetRoutingHistoryResponse *response, bool is_json)
{
    json_t *attempts = json_array();

    for (size_t i = 0; i < response->n_attempts; i++) {
        if (is_json) {
            json_array_append_new(attempts, attempt_json(response->attempts[i]));
            continue;
        }
        if (i > 0)
            printf("\n");
        print_attempt(response->attempts[i]);
    }
    if (is_json)
        print_json(json_pack("{sO}", "attempts", attempts));
    else if (response->n_attempts == 0)
        printf("nothing has been tried yet, or the log no longer has it\n");
    json_decref(attempts);
}

static int run(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__GetRoutingHistoryRequest request = LEADROUTER__V1__GET_ROUTING_HISTORY_REQUEST__INIT;
    Leadrouter__V1__GetRoutingHistoryResponse *response = NULL;

    request.lead_id = borrowed(arguments->operand);
    request.workspace_id = borrowed(arguments->workspace);
    if (leadrouter__v1__rule_service__get_routing_history(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return session_failed(session);
    show(response, arguments->common.json);
    leadrouter__v1__get_routing_history_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec flags[] = {FLAG_WORKSPACE("the workspace that asks: its source or its owner")};

const struct command command_history = {
    .name = "history",
    .summary = "what became of one lead, and why",
    .text =
        "What became of a lead, attempt by attempt, with the rules of then: which took it, and why the others did not.",
    .example = "leadctl history 6f1c… --workspace 0b9e…",
    .operand = OPERAND_LEAD,
    COMMAND_FLAGS(flags),
    .run = run,
};
