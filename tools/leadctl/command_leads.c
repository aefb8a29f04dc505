#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/leads.grpc.h"
#include "listing.h"

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

/* By their numbers, from 1. */
static const char *const status_names[] = {"pending", "routing", "routed", "failed", "expired", NULL};

static const char *status_name(Leadrouter__V1__LeadStatus status)
{
    return status >= 1 && (unsigned)status < COUNT_OF(status_names) ? status_names[status - 1] : "unknown";
}

static json_t *lead_json(const Leadrouter__V1__Lead *lead)
{
    char created[32], decided[32], expires[32], retry[32], erased[32];
    json_t *data = json_object();

    for (size_t i = 0; i < COUNT_OF(data_fields); i++)
        json_object_set_new(data, data_fields[i].label, json_string(data_text(lead->data, i)));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "id", lead->id,
        "status", status_name(lead->status), "workspace_id", lead->workspace_id, "source_workspace_id",
        lead->source_workspace_id, "decided_outcome",
        lead->decided_outcome == 0 ? "" : outcome_name(lead->decided_outcome), "matched_rule_id", lead->matched_rule_id,
        "duplicate_lead_id", lead->duplicate_lead_id, "decision_id", lead->decision_id, "attempts", lead->attempts,
        "error", lead->error, "created_at", time_text(lead->created_at, created), "decided_at",
        time_text(lead->decided_at, decided), "expires_at", time_text(lead->expires_at, expires), "next_retry_at",
        time_text(lead->next_retry_at, retry), "erased_at", time_text(lead->erased_at, erased), "data", data);
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
    print_row("erased", time_text(lead->erased_at, time));
    for (size_t i = 0; i < COUNT_OF(data_fields); i++)
        if (strcmp(data_text(lead->data, i), "{}") != 0)
            print_row(data_fields[i].label, data_text(lead->data, i));
}

static int show(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__GetLeadRequest request = LEADROUTER__V1__GET_LEAD_REQUEST__INIT;
    Leadrouter__V1__GetLeadResponse *response = NULL;

    request.lead_id = borrowed(arguments->operand);
    request.workspace_id = borrowed(arguments->workspace);
    if (leadrouter__v1__lead_service__get_lead(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(lead_json(response->lead));
    else
        print_table(response->lead);
    leadrouter__v1__get_lead_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec show_flags[] = {FLAG_WORKSPACE("the workspace that asks: its source or its owner")};

const struct command command_leads_show = {
    .name = "leads show",
    .summary = "everything about one lead",
    .text = "Everything about one lead, for its source workspace or its owner.",
    .example = "leadctl leads show 6f1c… --workspace 0b9e…",
    .operand = OPERAND_LEAD,
    COMMAND_FLAGS(show_flags),
    .run = show,
};

/* --- erase -------------------------------------------------------------------------------------------------------- */

/* Whether the operator means it; asks on a terminal only. */
static bool is_meant(const struct arguments *arguments)
{
    char answer[8] = "";

    if (arguments->is_sure)
        return true;
    if (isatty(STDIN_FILENO) != 1) {
        fprintf(stderr, "leadctl: leads erase cannot be undone: say --yes\n");
        return false;
    }
    fprintf(stderr, "Erase the person of lead %s for good? Type yes: ", arguments->operand);
    if (fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "yes\n") == 0)
        return true;
    fprintf(stderr, "leadctl: nothing was erased\n");
    return false;
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
    printf("emptied: %d %s of the audit log, %d of the retry queue\n", response->log_rows,
        response->log_rows == 1 ? "row" : "rows", response->queue_rows);
}

static int erase(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__EraseLeadRequest request = LEADROUTER__V1__ERASE_LEAD_REQUEST__INIT;
    Leadrouter__V1__EraseLeadResponse *response = NULL;

    if (!is_meant(arguments))
        return EXIT_USAGE;
    request.lead_id = borrowed(arguments->operand);
    request.workspace_id = borrowed(arguments->workspace);
    request.user_id = borrowed(arguments->user);
    if (leadrouter__v1__lead_service__erase_lead(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    show_erased(response, arguments->operand, arguments->common.json);
    leadrouter__v1__erase_lead_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec erase_flags[] = {
    FLAG_WORKSPACE("the workspace it came in through"),
    FLAG_USER,
    {.name = "yes", .help = "do not ask", .kind = OPTION_SWITCH, .offset = offsetof(struct arguments, is_sure)},
};

const struct command command_leads_erase = {
    .name = "leads erase",
    .summary = "erase the person that a lead is about, for good",
    .text =
        "Erases the person that a lead is about, for good: names, addresses, numbers, attributes, and what the retry "
        "queue "
        "and the audit log keep of it. What was decided stays; an undecided lead expires. Asks first, unless --yes is "
        "given.",
    .example = "leadctl leads erase 6f1c… --workspace 0b9e… --yes",
    .operand = OPERAND_LEAD,
    COMMAND_FLAGS(erase_flags),
    .run = erase,
};

/* --- list --------------------------------------------------------------------------------------------------------- */

/* Whether timegm() left them as they were read: it takes 31 February for 3 March. */
static bool are_same(const struct tm *read, const struct tm *real)
{
    return read->tm_mday == real->tm_mday && read->tm_hour == real->tm_hour && read->tm_sec == real->tm_sec;
}

/* A day, or a moment of one, in UTC. */
static bool read_day(const char *flag, const char *text, Google__Protobuf__Timestamp *ret_time)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"};

    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct tm parts = {0};
        const char *end = strptime(text, forms[i], &parts);
        if (end == NULL || *end != '\0')
            continue;
        struct tm read = parts;
        google__protobuf__timestamp__init(ret_time);
        ret_time->seconds = timegm(&parts);
        if (are_same(&read, &parts))
            return true;
        fprintf(stderr, "leadctl: %s: \"%s\": there is no such day or time\n", flag, text);
        return false;
    }
    fprintf(stderr, "leadctl: %s: \"%s\" is not a day as in 2026-11-28 or 2026-11-28T13:45:00\n", flag, text);
    return false;
}

static const struct table_column list_columns[] = {{"LEAD", TABLE_ID}, {"CREATED", TABLE_WORD}, {"STATUS", TABLE_WORD},
    {"SOURCE", TABLE_TEXT | TABLE_SPARE}, {"WHO", TABLE_TEXT}};

/* What the table says of the person: the e-mail address, or the external id, or that it was erased. */
static const char *who(const Leadrouter__V1__Lead *lead)
{
    if (lead->data->email[0] != '\0')
        return lead->data->email;
    if (lead->data->external_id[0] != '\0')
        return lead->data->external_id;
    return lead->erased_at != NULL ? "(erased)" : "";
}

/* One line of the table. */
static void add_line(struct table *table, const Leadrouter__V1__Lead *lead)
{
    char created[32];

    table_add(table, lead->id);
    table_add(table, minute_text(lead->created_at, created));
    table_add(table, status_name(lead->status));
    table_add(table, lead->data->source);
    table_add(table, who(lead));
}

/* A page, shown as it comes (JSON: added to the array). */
static bool list_page(struct listing *listing, void *context)
{
    Leadrouter__V1__ListLeadsRequest *request = context;
    Leadrouter__V1__ListLeadsResponse *response = NULL;

    request->page_size = listing->page_size;
    request->page_token = listing->token;
    if (leadrouter__v1__lead_service__list_leads(
            listing->session->channel, request, NULL, &response, &listing->session->outcome) != GRPC_C_OK)
        return false;
    for (size_t i = 0; i < response->n_leads; i++) {
        if (listing->array != NULL)
            json_array_append_new(listing->array, lead_json(response->leads[i]));
        else
            add_line(listing->table, response->leads[i]);
    }
    listing_turn(listing, response->n_leads, response->next_page_token);
    leadrouter__v1__list_leads_response__free_unpacked(response, NULL);
    return true;
}

static int list(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListLeadsRequest request = LEADROUTER__V1__LIST_LEADS_REQUEST__INIT;
    Google__Protobuf__Timestamp from, before;

    if ((arguments->from != NULL && !read_day("--from", arguments->from, &from)) ||
        (arguments->before != NULL && !read_day("--before", arguments->before, &before)))
        return EXIT_USAGE;
    if (arguments->status != NULL)
        request.status = (Leadrouter__V1__LeadStatus)(1 + word_index(status_names, arguments->status));
    request.workspace_id = borrowed(arguments->workspace);
    request.side = arguments->is_received ? LEADROUTER__V1__LEAD_SIDE__LEAD_SIDE_RECEIVED
                                          : LEADROUTER__V1__LEAD_SIDE__LEAD_SIDE_SOURCE;
    request.source = borrowed(arguments->source);
    request.external_id = borrowed(arguments->external_id);
    request.email = borrowed(arguments->email);
    request.created_from = arguments->from == NULL ? NULL : &from;
    request.created_before = arguments->before == NULL ? NULL : &before;
    return listing_run(&(struct listing_form){.columns = list_columns,
                           .column_count = COUNT_OF(list_columns),
                           .name = "leads",
                           .one = "lead",
                           .page = list_page,
                           .context = &request},
        arguments, session);
}

static const struct option_spec list_flags[] = {
    FLAG_WORKSPACE("whose leads"),
    {.name = "received",
        .help = "those that it got from others",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_received)},
    {.name = "status",
        .placeholder = "S",
        .help = "only those in a state",
        .kind = OPTION_WORD,
        .offset = offsetof(struct arguments, status),
        .words = status_names},
    {.name = "source",
        .placeholder = "T",
        .help = "where they came from, such as csv",
        .offset = offsetof(struct arguments, source)},
    {.name = "external-id",
        .placeholder = "X",
        .help = "the source's own id",
        .offset = offsetof(struct arguments, external_id)},
    {.name = "email", .placeholder = "E", .help = "the e-mail address", .offset = offsetof(struct arguments, email)},
    {.name = "from", .placeholder = "DAY", .help = "in since then", .offset = offsetof(struct arguments, from)},
    {.name = "before", .placeholder = "DAY", .help = "in before then", .offset = offsetof(struct arguments, before)},
    FLAG_LIMIT,
};

const struct command command_leads_list = {
    .name = "leads list",
    .summary = "leads of a workspace, the newest first",
    .text =
        "Leads that came in through a workspace, or that it got from others, the newest first. Days are 2026-11-28 or "
        "2026-11-28T13:45:00, in UTC.",
    .example = "leadctl leads list --workspace 0b9e… --status failed --from 2026-11-01",
    COMMAND_FLAGS(list_flags),
    .run = list,
};
