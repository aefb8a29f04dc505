#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/leads.grpc.h"

static const char usage[] = "Usage: leadctl leads show LEAD --workspace W\n\n"
                            "Everything about one lead, for its source workspace or its owner.\n\n"
                            "Example: leadctl leads show 6f1c… --workspace 0b9e…";

/* The lead's own fields, in the order people read them. */
static const struct {
    const char *label;
    size_t offset;
} data_fields[] = {
    {"external_id", offsetof(Leadrouter__V1__NewLead, external_id)},
    {"email", offsetof(Leadrouter__V1__NewLead, email)},
    {"phone", offsetof(Leadrouter__V1__NewLead, phone)},
    {"first_name", offsetof(Leadrouter__V1__NewLead, first_name)},
    {"last_name", offsetof(Leadrouter__V1__NewLead, last_name)},
    {"company_name", offsetof(Leadrouter__V1__NewLead, company_name)},
    {"company_industry", offsetof(Leadrouter__V1__NewLead, company_industry)},
    {"company_size", offsetof(Leadrouter__V1__NewLead, company_size)},
    {"company_revenue", offsetof(Leadrouter__V1__NewLead, company_revenue)},
    {"country", offsetof(Leadrouter__V1__NewLead, country)},
    {"state", offsetof(Leadrouter__V1__NewLead, state)},
    {"city", offsetof(Leadrouter__V1__NewLead, city)},
    {"postal_code", offsetof(Leadrouter__V1__NewLead, postal_code)},
    {"source", offsetof(Leadrouter__V1__NewLead, source)},
    {"attributes", offsetof(Leadrouter__V1__NewLead, attributes_json)},
};

static const char *data_text(const Leadrouter__V1__NewLead *data, size_t i)
{
    return *(char *const *)(const void *)((const char *)data + data_fields[i].offset);
}

static const char *status_name(Leadrouter__V1__LeadStatus status)
{
    static const char *const names[] = {"unknown", "pending", "routing", "routed", "failed", "expired"};

    return (unsigned)status < COUNT_OF(names) ? names[status] : names[0];
}

static json_t *lead_json(const Leadrouter__V1__Lead *lead)
{
    char created[32], decided[32], expires[32], retry[32];
    json_t *data = json_object();

    for (size_t i = 0; i < COUNT_OF(data_fields); i++)
        json_object_set_new(data, data_fields[i].label, json_string(data_text(lead->data, i)));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:o}", "id", lead->id,
        "status", status_name(lead->status), "workspace_id", lead->workspace_id, "source_workspace_id",
        lead->source_workspace_id, "decided_outcome",
        lead->decided_outcome == 0 ? "" : outcome_name(lead->decided_outcome), "matched_rule_id", lead->matched_rule_id,
        "duplicate_lead_id", lead->duplicate_lead_id, "decision_id", lead->decision_id, "attempts", lead->attempts,
        "error", lead->error, "created_at", time_text(lead->created_at, created), "decided_at",
        time_text(lead->decided_at, decided), "expires_at", time_text(lead->expires_at, expires), "next_retry_at",
        time_text(lead->next_retry_at, retry), "data", data);
}

static void print_table(const Leadrouter__V1__Lead *lead)
{
    char time[32];
    char attempts[16];

    snprintf(attempts, sizeof(attempts), "%d", lead->attempts);
    print_row("lead", lead->id);
    print_row("status", status_name(lead->status));
    if (lead->decided_outcome != 0)
        print_row("decided as", outcome_name(lead->decided_outcome));
    print_row("owner", lead->workspace_id);
    print_row("source workspace", lead->source_workspace_id);
    print_row("rule id", lead->matched_rule_id);
    print_row("duplicate of", lead->duplicate_lead_id);
    print_row("decision", lead->decision_id);
    print_row("attempts", attempts);
    print_row("error", lead->error);
    print_row("created", time_text(lead->created_at, time));
    print_row("decided", time_text(lead->decided_at, time));
    print_row("expires", time_text(lead->expires_at, time));
    print_row("next retry", time_text(lead->next_retry_at, time));
    for (size_t i = 0; i < COUNT_OF(data_fields); i++)
        if (strcmp(data_text(lead->data, i), "{}") != 0)
            print_row(data_fields[i].label, data_text(lead->data, i));
}

static int show(const struct common_options *common, const char *lead_id, const char *workspace)
{
    Leadrouter__V1__GetLeadRequest request = LEADROUTER__V1__GET_LEAD_REQUEST__INIT;
    Leadrouter__V1__GetLeadResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = connect_to(common);
    int code = EXIT_DONE;

    if (channel == NULL)
        return EXIT_USAGE;
    request.lead_id = (char *)(uintptr_t)lead_id;
    request.workspace_id = (char *)(uintptr_t)workspace;
    if (leadrouter__v1__lead_service__get_lead(channel, &request, NULL, &response, &outcome) != GRPC_C_OK)
        code = call_failed(common->target, &outcome);
    else if (common->json)
        print_json(lead_json(response->lead));
    else
        print_table(response->lead);
    if (response != NULL)
        leadrouter__v1__get_lead_response__free_unpacked(response, NULL);
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

int command_leads_show(int argc, char **argv)
{
    const char *workspace = NULL;
    const char *lead = NULL;
    const struct option_spec specs[] = {
        {"workspace", "W", "the workspace that asks: its source or its owner (needed)", OPTION_TEXT, &workspace, 0, 0}};
    struct common_options common;
    size_t operand_count = 0;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, &lead, 1, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    if (operand_count == 0 || workspace == NULL) {
        fprintf(stderr, "leadctl: leads show needs a lead and --workspace; see --help\n");
        return EXIT_USAGE;
    }
    return show(&common, lead, workspace);
}

/* --- erase -------------------------------------------------------------------------------------------------------- */

static const char erase_usage[] =
    "Usage: leadctl leads erase LEAD --workspace W [--yes]\n\n"
    "Erases the person that a lead is about, for good: names, addresses, numbers, attributes, and\n"
    "what the retry queue and the audit log keep of it. What was decided stays; an undecided lead\n"
    "expires. Asks first, unless --yes is given.\n\n"
    "Example: leadctl leads erase 6f1c… --workspace 0b9e… --yes";

/* Whether the operator means it; asks on a terminal only. */
static bool is_meant(const char *lead, bool yes)
{
    char answer[8] = "";

    if (yes)
        return true;
    if (isatty(STDIN_FILENO) != 1) {
        fprintf(stderr, "leadctl: leads erase cannot be undone: say --yes\n");
        return false;
    }
    fprintf(stderr, "Erase the person of lead %s for good? Type yes: ", lead);
    return fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "yes\n") == 0;
}

static void show_erased(const Leadrouter__V1__EraseLeadResponse *response, const char *lead, bool is_json)
{
    if (is_json) {
        print_json(json_pack("{ss, sb, sb, si, si}", "lead_id", lead, "erased", (int)response->erased, "expired",
            (int)response->expired, "log_rows", (int)response->log_rows, "queue_rows", (int)response->queue_rows));
        return;
    }
    if (!response->erased) {
        printf("nothing personal was left of lead %s\n", lead);
        return;
    }
    printf("the person of lead %s is erased%s\n", lead, response->expired ? "; it was undecided and has expired" : "");
    printf("emptied: %d rows of the audit log, %d of the retry queue\n", response->log_rows, response->queue_rows);
}

int command_leads_erase(int argc, char **argv)
{
    Leadrouter__V1__EraseLeadRequest request = LEADROUTER__V1__ERASE_LEAD_REQUEST__INIT;
    Leadrouter__V1__EraseLeadResponse *response = NULL;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    const char *workspace = NULL;
    const char *user = "";
    const char *lead = NULL;
    bool yes = false;
    const struct option_spec specs[] = {
        {"workspace", "W", "the workspace it came in through (needed)", OPTION_TEXT, &workspace, 0, 0},
        {"user", "U", "who asks, for the audit log; a UUID", OPTION_TEXT, &user, 0, 0},
        {"yes", NULL, "do not ask", OPTION_SWITCH, &yes, 0, 0}};
    struct common_options common;
    size_t operand_count = 0;
    int code = EXIT_DONE;

    switch (options_parse(erase_usage, specs, COUNT_OF(specs), argc, argv, &common, &lead, 1, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    if (operand_count == 0 || workspace == NULL) {
        fprintf(stderr, "leadctl: leads erase needs a lead and --workspace; see --help\n");
        return EXIT_USAGE;
    }
    if (!is_meant(lead, yes))
        return EXIT_USAGE;
    channel = connect_to(&common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.lead_id = (char *)(uintptr_t)lead;
    request.workspace_id = (char *)(uintptr_t)workspace;
    request.user_id = (char *)(uintptr_t)user;
    if (leadrouter__v1__lead_service__erase_lead(channel, &request, NULL, &response, &outcome) == GRPC_C_OK)
        show_erased(response, lead, common.json);
    else
        code = call_failed(common.target, &outcome);
    if (response != NULL)
        leadrouter__v1__erase_lead_response__free_unpacked(response, NULL);
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

/* --- list --------------------------------------------------------------------------------------------------------- */

enum { LIST_DEFAULT = 100, LIST_MAX = 100000, LIST_PAGE_MAX = 1000 /* leads that the server gives at once */ };

static const char list_usage[] =
    "Usage: leadctl leads list --workspace W [--received] [--status S] [--source T] [--external-id X]\n"
    "       [--email E] [--from DAY] [--before DAY] [--limit N]\n\n"
    "Leads that came in through a workspace, or that it got from others, the newest first. Days are\n"
    "2026-11-28 or 2026-11-28T13:45:00, in UTC.\n\n"
    "Example: leadctl leads list --workspace 0b9e… --status failed --from 2026-11-01";

/* A day, or a moment of one, in UTC. */
static bool read_day(const char *flag, const char *text, Google__Protobuf__Timestamp *ret_time)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"};

    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct tm parts = {0};
        const char *end = strptime(text, forms[i], &parts);
        if (end == NULL || *end != '\0')
            continue;
        google__protobuf__timestamp__init(ret_time);
        ret_time->seconds = timegm(&parts);
        return true;
    }
    fprintf(stderr, "leadctl: %s: \"%s\" is not a day as in 2026-11-28 or 2026-11-28T13:45:00\n", flag, text);
    return false;
}

static bool read_status(const char *text, Leadrouter__V1__LeadStatus *ret_status)
{
    for (unsigned i = 1; i <= LEADROUTER__V1__LEAD_STATUS__LEAD_STATUS_EXPIRED; i++) {
        if (strcmp(text, status_name((Leadrouter__V1__LeadStatus)i)) == 0) {
            *ret_status = (Leadrouter__V1__LeadStatus)i;
            return true;
        }
    }
    fprintf(stderr, "leadctl: --status: \"%s\" is none of pending, routing, routed, failed, expired\n", text);
    return false;
}

/* One line of the table; what it says of the person is the e-mail address, or the external id. */
static void print_line(const Leadrouter__V1__Lead *lead)
{
    char created[32];
    const char *who = lead->data->email[0] != '\0' ? lead->data->email : lead->data->external_id;

    printf("%-36s  %-20.20s  %-8s  %-10s  %s\n", lead->id, time_text(lead->created_at, created),
        status_name(lead->status), lead->data->source, who);
}

/* Pages until there are `limit` leads or no more, each shown as it comes (JSON: added to `array`). */
static int list_leads(struct grpc_c_channel *channel, const char *target, Leadrouter__V1__ListLeadsRequest *request,
    int limit, json_t *array, int *ret_shown, bool *ret_more)
{
    char *token = NULL;
    int code = EXIT_DONE;

    *ret_shown = 0;
    *ret_more = true;
    while (*ret_more && *ret_shown < limit && code == EXIT_DONE) {
        Leadrouter__V1__ListLeadsResponse *response = NULL;
        struct grpc_c_outcome outcome = {0};
        request->page_size = limit - *ret_shown < LIST_PAGE_MAX ? limit - *ret_shown : LIST_PAGE_MAX;
        request->page_token = token == NULL ? borrowed("") : token;
        if (leadrouter__v1__lead_service__list_leads(channel, request, NULL, &response, &outcome) != GRPC_C_OK) {
            code = call_failed(target, &outcome);
        } else {
            for (size_t i = 0; i < response->n_leads; i++) {
                if (array != NULL)
                    json_array_append_new(array, lead_json(response->leads[i]));
                else
                    print_line(response->leads[i]);
            }
            *ret_shown += (int)response->n_leads;
            free(token);
            token = memory_copy_string(response->next_page_token);
            *ret_more = token[0] != '\0';
            leadrouter__v1__list_leads_response__free_unpacked(response, NULL);
        }
        grpc_c_outcome_release(&outcome);
    }
    free(token);
    return code;
}

static int list(const struct common_options *common, Leadrouter__V1__ListLeadsRequest *request, int limit)
{
    struct grpc_c_channel *channel = connect_to(common);
    json_t *array = common->json ? json_array() : NULL;
    int shown = 0;
    bool more = false;
    int code = EXIT_USAGE;

    if (channel != NULL) {
        if (array == NULL)
            printf("%-36s  %-20s  %-8s  %-10s  %s\n", "LEAD", "CREATED", "STATUS", "SOURCE", "WHO");
        code = list_leads(channel, common->target, request, limit, array, &shown, &more);
    }
    if (code == EXIT_DONE && array != NULL)
        print_json(json_pack("{sO, sb}", "leads", array, "more", (int)more));
    else if (code == EXIT_DONE)
        printf("%d %s%s\n", shown, shown == 1 ? "lead" : "leads", more ? ", and there are more: --limit" : "");
    json_decref(array);
    grpc_c_channel_free(channel);
    return code;
}

int command_leads_list(int argc, char **argv)
{
    const char *workspace = NULL, *status = NULL, *source = "", *external_id = "", *email = "", *from = NULL,
               *before = NULL;
    bool is_received = false;
    int limit = LIST_DEFAULT;
    const struct option_spec specs[] = {
        {"workspace", "W", "whose leads (needed)", OPTION_TEXT, &workspace, 0, 0},
        {"received", NULL, "those that it got from others", OPTION_SWITCH, &is_received, 0, 0},
        {"status", "S", "pending, routing, routed, failed or expired", OPTION_TEXT, &status, 0, 0},
        {"source", "T", "where they came from, such as csv", OPTION_TEXT, &source, 0, 0},
        {"external-id", "X", "the source's own id", OPTION_TEXT, &external_id, 0, 0},
        {"email", "E", "the e-mail address", OPTION_TEXT, &email, 0, 0},
        {"from", "DAY", "in since then", OPTION_TEXT, &from, 0, 0},
        {"before", "DAY", "in before then", OPTION_TEXT, &before, 0, 0},
        {"limit", "N", "how many at most; default 100", OPTION_NUMBER, &limit, 1, LIST_MAX},
    };
    Leadrouter__V1__ListLeadsRequest request = LEADROUTER__V1__LIST_LEADS_REQUEST__INIT;
    Google__Protobuf__Timestamp from_time, before_time;
    struct common_options common;
    size_t operand_count = 0;

    switch (options_parse(list_usage, specs, COUNT_OF(specs), argc, argv, &common, NULL, 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    if (workspace == NULL) {
        fprintf(stderr, "leadctl: leads list needs --workspace; see --help\n");
        return EXIT_USAGE;
    }
    if ((status != NULL && !read_status(status, &request.status)) ||
        (from != NULL && !read_day("--from", from, &from_time)) ||
        (before != NULL && !read_day("--before", before, &before_time)))
        return EXIT_USAGE;
    request.workspace_id = borrowed(workspace);
    request.side =
        is_received ? LEADROUTER__V1__LEAD_SIDE__LEAD_SIDE_RECEIVED : LEADROUTER__V1__LEAD_SIDE__LEAD_SIDE_SOURCE;
    request.source = borrowed(source);
    request.external_id = borrowed(external_id);
    request.email = borrowed(email);
    request.created_from = from == NULL ? NULL : &from_time;
    request.created_before = before == NULL ? NULL : &before_time;
    return list(&common, &request, limit);
}
