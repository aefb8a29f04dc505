/* leadctl retries …: the retry queue. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/maintenance.grpc.h"
#include "leadrouter/v1/routing.grpc.h"
#include "listing.h"
#include "progress.h"

enum {
    PROCESS_MAX = 10000,
    PROCESS_STEP = 500, /* in one call, so that progress shows and no call comes near its deadline */
    CALL_DEADLINE_MS = 30000,
    CANCELS_MAX = 1000,
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

static const struct table_column one_workspace_columns[] = {
    {"LEAD", TABLE_ID}, {"TRIED", TABLE_WORD}, {"IN", TABLE_WORD}, {"CLASS", TABLE_TEXT}, {"WHY", TABLE_TEXT}};
static const struct table_column all_columns[] = {
    {"LEAD", TABLE_ID}, {"TRIED", TABLE_WORD}, {"IN", TABLE_WORD}, {"WORKSPACE", TABLE_ID}, {"CLASS", TABLE_TEXT}};

/* One line; of a list for one workspace with the reason in place of that workspace. */
static void add_line(struct table *table, const Leadrouter__V1__Retry *retry, const Google__Protobuf__Timestamp *now,
    bool is_one_workspace)
{
    char due[16];

    table_add(table, retry->lead_id);
    table_add_format(table, "%" PRId32 "/%" PRId32, retry->attempt, retry->max_attempts);
    table_add(table, due_text(retry, now, due));
    table_add(table, is_one_workspace ? retry->error_class : retry->source_workspace_id);
    table_add(table, is_one_workspace ? retry->last_error : retry->error_class);
}

/* A page, shown as it comes (JSON: added to the array). */
static bool list_page(struct listing *listing, void *context)
{
    Leadrouter__V1__ListRetriesRequest *request = context;
    Leadrouter__V1__ListRetriesResponse *response = NULL;

    request->page_size = listing->page_size;
    request->page_token = listing->token;
    if (leadrouter__v1__maintenance_service__list_retries(
            listing->session->channel, request, NULL, &response, &listing->session->outcome) != GRPC_C_OK)
        return false;
    for (size_t i = 0; i < response->n_retries; i++) {
        if (listing->array != NULL)
            json_array_append_new(listing->array, retry_json(response->retries[i]));
        else
            add_line(listing->table, response->retries[i], response->now, request->workspace_id[0] != '\0');
    }
    listing_turn(listing, response->n_retries, response->next_page_token);
    leadrouter__v1__list_retries_response__free_unpacked(response, NULL);
    return true;
}

static int list(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListRetriesRequest request = LEADROUTER__V1__LIST_RETRIES_REQUEST__INIT;

    request.workspace_id = borrowed(arguments->workspace);
    request.due_only = arguments->is_due;
    return listing_run(
        &(struct listing_form){.columns = arguments->workspace == NULL ? all_columns : one_workspace_columns,
            .column_count = COUNT_OF(all_columns),
            .name = "retries",
            .one = "retry",
            .page = list_page,
            .context = &request},
        arguments, session);
}

#define FLAG_ONE_WORKSPACE                                                                                             \
    {                                                                                                                  \
        .name = "workspace", .placeholder = "W", .help = "only leads that came in through this workspace",             \
        .kind = OPTION_ID, .offset = offsetof(struct arguments, workspace)                                             \
    }

static const struct option_spec list_flags[] = {
    FLAG_ONE_WORKSPACE,
    {.name = "due",
        .help = "only those that are due",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_due)},
    FLAG_LIMIT,
};

const struct command command_retries_list = {
    .name = "retries list",
    .summary = "leads that wait for another attempt",
    .text = "Leads that wait for another attempt, those due soonest first; those that only new rules bring back (IN: "
            "-) come "
            "last. The reason is shown for one workspace, and with --json.",
    .example = "leadctl retries list --due",
    COMMAND_FLAGS(list_flags),
    .run = list,
};

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
static int process_all(const struct arguments *arguments, struct session *session, struct totals *totals)
{
    const struct grpc_c_call_options call_options = {.deadline_ms = CALL_DEADLINE_MS};
    Leadrouter__V1__ProcessRetriesRequest request = LEADROUTER__V1__PROCESS_RETRIES_REQUEST__INIT;
    struct progress *progress = progress_new();
    bool goes_on = true;
    int code = EXIT_DONE;

    request.workspace_id = borrowed(arguments->workspace);
    while (goes_on && totals->processed < arguments->limit) {
        Leadrouter__V1__ProcessRetriesResponse *response = NULL;
        int left = arguments->limit - totals->processed;
        request.limit = left < PROCESS_STEP ? left : PROCESS_STEP;
        progress_set(progress, "%d of at most %d retries processed", totals->processed, arguments->limit);
        if (leadrouter__v1__routing_service__process_retries(
                session->channel, &request, &call_options, &response, &session->outcome) != GRPC_C_OK) {
            progress_free(progress);
            progress = NULL;
            code = session_failed(session);
            goes_on = false;
        } else {
            add_totals(totals, response);
            goes_on = response->more && response->processed > 0 && response->n_errors == 0;
            leadrouter__v1__process_retries_response__free_unpacked(response, NULL);
        }
        grpc_c_outcome_release(&session->outcome);
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

    json_array_foreach(totals->error_list, index, value) print_line(stderr, "leadctl: %s: %s",
        json_string_value(json_object_get(value, "lead_id")), json_string_value(json_object_get(value, "error")));
}

static int process(const struct arguments *arguments, struct session *session)
{
    struct totals totals = {.error_list = json_array()};
    int code = process_all(arguments, session, &totals);

    if (code == EXIT_DONE || totals.processed > 0)
        show_totals(&totals, arguments->common.json);
    print_errors(&totals);
    if (totals.errors > 0)
        code = EXIT_FAILED;
    json_decref(totals.error_list);
    return code;
}

static const struct option_spec process_flags[] = {
    FLAG_ONE_WORKSPACE,
    {.name = "limit",
        .placeholder = "N",
        .help = "how many at most",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, limit),
        .least = 1,
        .most = PROCESS_MAX,
        .standard = 100},
};

const struct command command_retries_process = {
    .name = "retries process",
    .summary = "try leads that are due now",
    .text = "Tries leads again that are due, now, also while retries are paused. Exits with 1 when some of them could "
            "not be "
            "looked at; those stay due.",
    .example = "leadctl retries process --limit 1000",
    COMMAND_FLAGS(process_flags),
    .run = process,
};

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

static int cancel(const struct arguments *arguments, struct session *session)
{
    size_t count = arguments->operand_count;
    Leadrouter__V1__CancelRetriesRequest request = LEADROUTER__V1__CANCEL_RETRIES_REQUEST__INIT;
    Leadrouter__V1__LeadKey *keys = memory_new_array(count, sizeof(*keys));
    Leadrouter__V1__LeadKey **pointers = memory_new_array(count, sizeof(Leadrouter__V1__LeadKey *));
    Leadrouter__V1__CancelRetriesResponse *response = NULL;
    int code = EXIT_DONE;

    for (size_t i = 0; i < count; i++) {
        leadrouter__v1__lead_key__init(&keys[i]);
        keys[i].lead_id = borrowed(arguments->operands[i]);
        keys[i].source_workspace_id = borrowed(arguments->workspace);
        pointers[i] = &keys[i];
    }
    request.leads = pointers;
    request.n_leads = count;
    request.reason = borrowed(arguments->reason);
    request.user_id = borrowed(arguments->user);
    if (leadrouter__v1__maintenance_service__cancel_retries(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK) {
        code = session_failed(session);
    } else {
        code = show_cancelled(response, arguments->operands, arguments->common.json) ? EXIT_DONE : EXIT_FAILED;
        leadrouter__v1__cancel_retries_response__free_unpacked(response, NULL);
    }
    free(pointers);
    free(keys);
    return code;
}

static const struct option_spec cancel_flags[] = {
    FLAG_WORKSPACE("the workspace they came in through"),
    {.name = "reason",
        .placeholder = "TEXT",
        .help = "why, for the audit log",
        .offset = offsetof(struct arguments, reason)},
    FLAG_USER,
};

const struct command command_retries_cancel = {
    .name = "retries cancel",
    .summary = "give waiting leads up",
    .text = "Gives leads up: they fail at once and are not tried again, unless leadctl route --force does. Exits with "
            "1 when "
            "one of them could not be cancelled.",
    .example = "leadctl retries cancel 6f1c… --workspace 0b9e… --reason \"test data\"",
    .operand =
        {.name = "LEAD", .help = "ids of the leads", .kind = OPTION_ID, .is_needed = true, .words_max = CANCELS_MAX},
    COMMAND_FLAGS(cancel_flags),
    .run = cancel,
};
