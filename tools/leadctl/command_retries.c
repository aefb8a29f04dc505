/* leadctl retries …: the retry queue. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"
#include "leadrouter/v1/maintenance.grpc.h"
#include "leadrouter/v1/routing.grpc.h"
#include "progress.h"

enum {
    LIST_MAX = 100000,
    PAGE_MAX = 1000, /* rows that the server gives at once */
    PROCESS_MAX = 10000,
    PROCESS_STEP = 500, /* in one call, so that progress shows and no call comes near its deadline */
    CALL_DEADLINE_MS = 30000,
    ERRORS_MAX = 100,
    CANCELS_MAX = 1000,
    LIMIT_DEFAULT = 100,
};

/* --- list --------------------------------------------------------------------------------------------------------- */

static json_t *retry_json(const Leadrouter__V1__Retry *retry)
{
    char next[32], created[32];

    return json_pack("{ss, ss, si, si, ss, sb, ss, ss, ss}", "lead_id", retry->lead_id, "source_workspace_id",
        retry->source_workspace_id, "attempt", (int)retry->attempt, "max_attempts", (int)retry->max_attempts,
        "next_retry_at", time_text(retry->next_retry_at, next), "is_due", (int)retry->is_due, "error_class",
        retry->error_class, "last_error", retry->last_error, "created_at", time_text(retry->created_at, created));
}

/* In how long it is tried again; "-": only new rules bring it back. */
static const char *due_text(
    const Leadrouter__V1__Retry *retry, const Google__Protobuf__Timestamp *now, char ret_text[16])
{
    if (retry->is_due)
        return "due";
    if (retry->next_retry_at == NULL || now == NULL)
        return "-";
    return age_text(retry->next_retry_at->seconds - now->seconds, ret_text);
}

/* One line; of a list for one workspace with the reason in place of that workspace. */
static void print_retry(
    const Leadrouter__V1__Retry *retry, const Google__Protobuf__Timestamp *now, bool is_one_workspace)
{
    char due[16];
    char tried[16];

    snprintf(tried, sizeof(tried), "%" PRId32 "/%" PRId32, retry->attempt, retry->max_attempts);
    printf("%-36s  %-5s %-7s  ", retry->lead_id, tried, due_text(retry, now, due));
    if (is_one_workspace)
        printf("%-17s  %s\n", retry->error_class, retry->last_error);
    else
        printf("%-36s  %s\n", retry->source_workspace_id, retry->error_class);
}

static void print_head(bool is_one_workspace)
{
    if (is_one_workspace)
        printf("%-36s  %-5s %-7s  %-17s  %s\n", "LEAD", "TRIED", "IN", "CLASS", "WHY");
    else
        printf("%-36s  %-5s %-7s  %-36s  %s\n", "LEAD", "TRIED", "IN", "WORKSPACE", "CLASS");
}

/* Pages until there are `limit` rows or no more, each shown as it comes (JSON: added to `array`). */
static int list_pages(struct grpc_c_channel *channel, const char *target, Leadrouter__V1__ListRetriesRequest *request,
    int limit, json_t *array, int *ret_shown, bool *ret_more)
{
    char *token = NULL;
    int code = EXIT_DONE;

    *ret_shown = 0;
    *ret_more = true;
    while (*ret_more && *ret_shown < limit && code == EXIT_DONE) {
        Leadrouter__V1__ListRetriesResponse *response = NULL;
        struct grpc_c_outcome outcome = {0};
        request->page_size = limit - *ret_shown < PAGE_MAX ? limit - *ret_shown : PAGE_MAX;
        request->page_token = token == NULL ? borrowed("") : token;
        if (leadrouter__v1__maintenance_service__list_retries(channel, request, NULL, &response, &outcome) !=
            GRPC_C_OK) {
            code = call_failed(target, &outcome);
        } else {
            for (size_t i = 0; i < response->n_retries; i++) {
                if (array != NULL)
                    json_array_append_new(array, retry_json(response->retries[i]));
                else
                    print_retry(response->retries[i], response->now, request->workspace_id[0] != '\0');
            }
            *ret_shown += (int)response->n_retries;
            free(token);
            token = memory_copy_string(response->next_page_token);
            *ret_more = token[0] != '\0';
            leadrouter__v1__list_retries_response__free_unpacked(response, NULL);
        }
        grpc_c_outcome_release(&outcome);
    }
    free(token);
    return code;
}

int command_retries_list(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl retries list [--workspace W] [--due] [--limit N]\n\n"
        "Leads that wait for another attempt, those due soonest first; those that only new rules\n"
        "bring back (IN: -) come last. The reason is shown for one workspace, and with --json.\n\n"
        "Example: leadctl retries list --due";
    Leadrouter__V1__ListRetriesRequest request = LEADROUTER__V1__LIST_RETRIES_REQUEST__INIT;
    const char *workspace = "";
    bool due_only = false;
    int limit = LIMIT_DEFAULT;
    const struct option_spec specs[] = {
        {"workspace", "W", "only leads that came in through this workspace", OPTION_TEXT, &workspace, 0, 0},
        {"due", NULL, "only those that are due", OPTION_SWITCH, &due_only, 0, 0},
        {"limit", "N", "how many at most; default 100", OPTION_NUMBER, &limit, 1, LIST_MAX},
    };
    struct common_options common;
    size_t operand_count = 0;
    struct grpc_c_channel *channel = NULL;
    json_t *array = NULL;
    int shown = 0;
    bool more = false;
    int code = EXIT_DONE;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, NULL, 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    channel = connect_to(&common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.workspace_id = borrowed(workspace);
    request.due_only = due_only;
    if (common.json)
        array = json_array();
    else
        print_head(workspace[0] != '\0');
    code = list_pages(channel, common.target, &request, limit, array, &shown, &more);
    if (code == EXIT_DONE && array != NULL)
        print_json(json_pack("{sO, sb}", "retries", array, "more", (int)more));
    else if (code == EXIT_DONE)
        printf("%d %s%s\n", shown, shown == 1 ? "retry" : "retries", more ? ", and there are more: --limit" : "");
    json_decref(array);
    grpc_c_channel_free(channel);
    return code;
}

/* --- process ------------------------------------------------------------------------------------------------------ */

/* What some calls of ProcessRetries did together. */
struct totals {
    int processed, routed, duplicates, requeued, failed, expired, held, errors;
    bool more;
    json_t *error_list;
};

static void add_totals(struct totals *totals, const Leadrouter__V1__ProcessRetriesResponse *response)
{
    totals->processed += response->processed;
    totals->routed += response->routed;
    totals->duplicates += response->duplicates;
    totals->requeued += response->requeued;
    totals->failed += response->failed;
    totals->expired += response->expired;
    totals->held += response->held;
    totals->errors += (int)response->n_errors;
    totals->more = response->more;
    for (size_t i = 0; i < response->n_errors; i++)
        json_array_append_new(totals->error_list,
            json_pack("{ss, ss}", "lead_id", response->errors[i]->lead_id, "error", response->errors[i]->error));
}

/* One call after the other until the limit is reached or nothing is left. What could not be looked at stays due and would come again: the
 * first call that meets such leads is the last. */
static int process(
    struct grpc_c_channel *channel, const char *target, const char *workspace, int limit, struct totals *totals)
{
    const struct grpc_c_call_options call_options = {.deadline_ms = CALL_DEADLINE_MS};
    Leadrouter__V1__ProcessRetriesRequest request = LEADROUTER__V1__PROCESS_RETRIES_REQUEST__INIT;
    struct progress *progress = progress_new();
    bool goes_on = true;
    int code = EXIT_DONE;

    request.workspace_id = borrowed(workspace);
    while (goes_on && totals->processed < limit) {
        Leadrouter__V1__ProcessRetriesResponse *response = NULL;
        struct grpc_c_outcome outcome = {0};
        int left = limit - totals->processed;
        request.limit = left < PROCESS_STEP ? left : PROCESS_STEP;
        progress_set(progress, "%d of at most %d retries processed", totals->processed, limit);
        if (leadrouter__v1__routing_service__process_retries(channel, &request, &call_options, &response, &outcome) !=
            GRPC_C_OK) {
            progress_free(progress);
            progress = NULL;
            code = call_failed(target, &outcome);
            goes_on = false;
        } else {
            add_totals(totals, response);
            goes_on = response->more && response->processed > 0 && response->n_errors == 0;
            leadrouter__v1__process_retries_response__free_unpacked(response, NULL);
        }
        grpc_c_outcome_release(&outcome);
    }
    progress_free(progress);
    return code;
}

static void print_count(const char *label, int count)
{
    printf("%-18s %10d\n", label, count);
}

static void show_totals(const struct totals *totals, bool is_json)
{
    if (is_json) {
        print_json(json_pack("{si, si, si, si, si, si, si, sb, sO}", "processed", totals->processed, "routed",
            totals->routed, "duplicates", totals->duplicates, "requeued", totals->requeued, "failed", totals->failed,
            "expired", totals->expired, "held", totals->held, "more", (int)totals->more, "errors", totals->error_list));
        return;
    }
    print_count("processed", totals->processed);
    print_count("routed", totals->routed);
    print_count("duplicates", totals->duplicates);
    print_count("requeued", totals->requeued);
    print_count("failed", totals->failed);
    print_count("expired", totals->expired);
    print_count("held", totals->held);
    print_count("errors", totals->errors);
    if (totals->more)
        printf("more may be due: --limit, or once more\n");
}

static void print_errors(const struct totals *totals)
{
    size_t index = 0;
    json_t *value = NULL;

    json_array_foreach(totals->error_list, index, value) fprintf(stderr, "leadctl: %s: %s\n",
        json_string_value(json_object_get(value, "lead_id")), json_string_value(json_object_get(value, "error")));
}

int command_retries_process(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl retries process [--workspace W] [--limit N]\n\n"
        "Tries leads again that are due, now, also while retries are paused. Exits with 1 when some\n"
        "of them could not be looked at; those stay due.\n\n"
        "Example: leadctl retries process --limit 1000";
    const char *workspace = "";
    int limit = LIMIT_DEFAULT;
    const struct option_spec specs[] = {
        {"workspace", "W", "only leads that came in through this workspace", OPTION_TEXT, &workspace, 0, 0},
        {"limit", "N", "how many at most; default 100", OPTION_NUMBER, &limit, 1, PROCESS_MAX},
    };
    struct totals totals = {0};
    struct common_options common;
    size_t operand_count = 0;
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_DONE;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, NULL, 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    channel = connect_to(&common);
    if (channel == NULL)
        return EXIT_USAGE;
    totals.error_list = json_array();
    code = process(channel, common.target, workspace, limit, &totals);
    if (code == EXIT_DONE || totals.processed > 0)
        show_totals(&totals, common.json);
    print_errors(&totals);
    if (totals.errors > 0)
        code = EXIT_FAILED;
    json_decref(totals.error_list);
    grpc_c_channel_free(channel);
    return code;
}

/* --- cancel ------------------------------------------------------------------------------------------------------- */

static const char *cancel_text(Leadrouter__V1__CancelResult result)
{
    static const char *const texts[] = {
        "unknown result", "cancelled", "not found, or nothing to cancel", "held by somebody: try again"};

    return (unsigned)result < COUNT_OF(texts) ? texts[result] : texts[0];
}

/* Shows what became of each lead; true when all are cancelled. */
static bool show_cancelled(
    const Leadrouter__V1__CancelRetriesResponse *response, const char *const *leads, bool is_json)
{
    static const char *const words[] = {"unspecified", "cancelled", "not_found", "busy"};
    json_t *results = json_array();
    bool are_all = true;

    for (size_t i = 0; i < response->n_results; i++) {
        unsigned result = response->results[i];
        are_all = are_all && response->results[i] == LEADROUTER__V1__CANCEL_RESULT__CANCEL_RESULT_CANCELLED;
        json_array_append_new(results,
            json_pack("{ss, ss}", "lead_id", leads[i], "result", words[result < COUNT_OF(words) ? result : 0]));
        if (!is_json)
            printf("%s  %s\n", leads[i], cancel_text(response->results[i]));
    }
    if (is_json)
        print_json(json_pack("{sO}", "results", results));
    json_decref(results);
    return are_all;
}

static int cancel(const struct common_options *common, Leadrouter__V1__CancelRetriesRequest *request,
    const char *const *leads, size_t count, const char *workspace)
{
    Leadrouter__V1__LeadKey *keys = memory_new_array(count, sizeof(*keys));
    Leadrouter__V1__LeadKey **pointers = memory_new_array(count, sizeof(Leadrouter__V1__LeadKey *));
    Leadrouter__V1__CancelRetriesResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = connect_to(common);
    int code = EXIT_USAGE;

    if (channel == NULL)
        goto cleanup;
    for (size_t i = 0; i < count; i++) {
        leadrouter__v1__lead_key__init(&keys[i]);
        keys[i].lead_id = borrowed(leads[i]);
        keys[i].source_workspace_id = borrowed(workspace);
        pointers[i] = &keys[i];
    }
    request->leads = pointers;
    request->n_leads = count;
    if (leadrouter__v1__maintenance_service__cancel_retries(channel, request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = call_failed(common->target, &outcome);
        goto cleanup;
    }
    code = show_cancelled(response, leads, common->json) ? EXIT_DONE : EXIT_FAILED;
    leadrouter__v1__cancel_retries_response__free_unpacked(response, NULL);
cleanup:
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    free(pointers);
    free(keys);
    return code;
}

/* Whether the words are ids; says which is none. */
static bool are_ids(const char *const *words, size_t count)
{
    struct uuid id;

    for (size_t i = 0; i < count; i++)
        if (!uuid_parse(words[i], &id)) {
            fprintf(stderr, "leadctl: \"%s\" is not a UUID\n", words[i]);
            return false;
        }
    return true;
}

int command_retries_cancel(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl retries cancel LEAD... --workspace W [--reason TEXT] [--user U]\n\n"
        "Gives leads up: they fail at once and are not tried again, unless RouteLead is told to by\n"
        "force. Exits with 1 when one of them could not be cancelled.\n\n"
        "Example: leadctl retries cancel 6f1c… --workspace 0b9e… --reason \"test data\"";
    Leadrouter__V1__CancelRetriesRequest request = LEADROUTER__V1__CANCEL_RETRIES_REQUEST__INIT;
    const char *leads[CANCELS_MAX];
    const char *workspace = NULL;
    const char *reason = "";
    const char *user = "";
    const struct option_spec specs[] = {
        {"workspace", "W", "the workspace they came in through (needed)", OPTION_TEXT, &workspace, 0, 0},
        {"reason", "TEXT", "why, for the audit log", OPTION_TEXT, &reason, 0, 0},
        {"user", "U", "who asks, for the audit log; a UUID", OPTION_TEXT, &user, 0, 0},
    };
    struct common_options common;
    size_t count = 0;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, leads, CANCELS_MAX, &count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    if (count == 0 || workspace == NULL) {
        fprintf(stderr, "leadctl: retries cancel needs leads and --workspace; see --help\n");
        return EXIT_USAGE;
    }
    if (!are_ids(leads, count) || !are_ids(&workspace, 1))
        return EXIT_USAGE;
    request.reason = borrowed(reason);
    request.user_id = borrowed(user);
    return cancel(&common, &request, leads, count, workspace);
}
