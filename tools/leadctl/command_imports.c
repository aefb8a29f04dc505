/* leadctl imports: what was imported, how it went, and which rows were rejected. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/leads.grpc.h"
#include "listing.h"

const char *import_state_name(Leadrouter__V1__ImportState state)
{
    static const char *const names[] = {
        "unknown", "running", "pending", "completed", "completed_with_errors", "failed"};

    return (unsigned)state < COUNT_OF(names) ? names[state] : names[0];
}

static json_t *import_json(const Leadrouter__V1__Import *import)
{
    json_t *destinations = json_object();
    json_t *errors = json_array();
    char created[32];
    char updated[32];
    char completed[32];

    for (size_t i = 0; i < import->n_destinations; i++)
        json_object_set_new(destinations, import->destinations[i]->workspace_id,
            json_integer((json_int_t)import->destinations[i]->leads));
    for (size_t i = 0; i < import->n_errors; i++)
        json_array_append_new(errors,
            json_pack("{s:I, s:s}", "row", (json_int_t)import->errors[i]->number, "error", import->errors[i]->error));
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:o, s:s, s:s, s:s}",
        "import_id", import->id, "workspace_id", import->workspace_id, "source", import->source, "state",
        import_state_name(import->state), "is_routed", (int)import->is_routed, "total_rows",
        (json_int_t)import->total_rows, "processed", (json_int_t)import->processed_rows, "created",
        (json_int_t)import->created, "updated", (json_int_t)import->updated, "existing", (json_int_t)import->existing,
        "duplicate_rows", (json_int_t)import->duplicate_rows, "rejected", (json_int_t)import->rejected, "destinations",
        destinations, "duplicate_leads", (json_int_t)import->duplicate_leads, "undecided",
        (json_int_t)(import->unrouted - import->duplicate_leads), "errors", errors, "created_at",
        time_text(import->created_at, created), "updated_at", time_text(import->updated_at, updated), "completed_at",
        time_text(import->completed_at, completed));
}

/* --- list --------------------------------------------------------------------------------------------------------- */

static const struct table_column list_columns[] = {{"IMPORT", TABLE_ID}, {"BEGUN", TABLE_WORD | TABLE_SPARE},
    {"STATE", TABLE_WORD}, {"ROWS", TABLE_NUMBER}, {"CREATED", TABLE_NUMBER | TABLE_SPARE},
    {"REJECTED", TABLE_NUMBER | TABLE_SPARE}, {"SOURCE", TABLE_TEXT}};

static void add_line(struct table *table, const Leadrouter__V1__Import *import)
{
    char created[32];

    table_add(table, import->id);
    table_add(table, minute_text(import->created_at, created));
    table_add(table, import_state_name(import->state));
    table_add_format(table, "%" PRId64, import->processed_rows);
    table_add_format(table, "%" PRId64, import->created);
    table_add_format(table, "%" PRId64, import->rejected);
    table_add(table, import->source);
}

static bool list_page(struct listing *listing, void *context)
{
    Leadrouter__V1__ListImportsRequest *request = context;
    Leadrouter__V1__ListImportsResponse *response = NULL;

    request->page_size = listing->page_size;
    request->page_token = listing->token;
    if (leadrouter__v1__lead_service__list_imports(
            listing->session->channel, request, NULL, &response, &listing->session->outcome) != GRPC_C_OK)
        return false;
    for (size_t i = 0; i < response->n_imports; i++) {
        if (listing->array != NULL)
            json_array_append_new(listing->array, import_json(response->imports[i]));
        else
            add_line(listing->table, response->imports[i]);
    }
    listing_turn(listing, response->n_imports, response->next_page_token);
    leadrouter__v1__list_imports_response__free_unpacked(response, NULL);
    return true;
}

static int list(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListImportsRequest request = LEADROUTER__V1__LIST_IMPORTS_REQUEST__INIT;

    request.workspace_id = borrowed(arguments->workspace);
    return listing_run(&(struct listing_form){.columns = list_columns,
                           .column_count = COUNT_OF(list_columns),
                           .name = "imports",
                           .one = "import",
                           .page = list_page,
                           .context = &request},
        arguments, session);
}

static const struct option_spec list_flags[] = {FLAG_WORKSPACE("whose imports"), FLAG_LIMIT};

const struct command command_imports_list = {
    .name = "imports list",
    .summary = "what was imported into a workspace, the newest first",
    .text =
        "The imports into a workspace, the newest first: how far they are, and how many of their rows became leads.",
    .example = "leadctl imports list --workspace 0b9e…",
    COMMAND_FLAGS(list_flags),
    .run = list,
};

/* --- show --------------------------------------------------------------------------------------------------------- */

static void print_number(const char *label, int64_t number)
{
    printf("%-26s %" PRId64 "\n", label, number);
}

static void print_import(const Leadrouter__V1__Import *import)
{
    char time[32];

    print_row("import", import->id);
    print_row("source", import->source);
    print_row("state", import_state_name(import->state));
    print_row("begun", time_text(import->created_at, time));
    print_row("last rows", time_text(import->updated_at, time));
    print_row("ended", time_text(import->completed_at, time));
    printf("\n");
    print_number("rows that are in", import->processed_rows);
    print_number("leads created", import->created);
    print_number("leads filled in", import->updated);
    print_number("leads that were there", import->existing);
    print_number("rows of an earlier lead", import->duplicate_rows);
    print_number("rows rejected", import->rejected);
    if (import->completed_at != NULL && import->is_routed) {
        print_number("copies of sold leads", import->duplicate_leads);
        print_number("undecided at the end", import->unrouted - import->duplicate_leads);
    }
    if (import->n_destinations > 0)
        printf("\n%-36s  %10s\n", "destination", "leads");
    for (size_t i = 0; i < import->n_destinations; i++)
        printf("%-36s  %10" PRId64 "\n", import->destinations[i]->workspace_id, import->destinations[i]->leads);
    if (import->n_errors > 0)
        printf("\n%10s  %s\n", "row", "rejected because");
    for (size_t i = 0; i < import->n_errors; i++)
        print_line(stdout, "%10" PRId64 "  %s", import->errors[i]->number, import->errors[i]->error);
    if (import->rejected > (int64_t)import->n_errors)
        printf("and %" PRId64 " more (leadctl imports rejected)\n", import->rejected - (int64_t)import->n_errors);
}

static int show(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__GetImportRequest request = LEADROUTER__V1__GET_IMPORT_REQUEST__INIT;
    Leadrouter__V1__GetImportResponse *response = NULL;

    request.workspace_id = borrowed(arguments->workspace);
    request.import_id = borrowed(arguments->operand);
    if (leadrouter__v1__lead_service__get_import(session->channel, &request, NULL, &response, &session->outcome) !=
        GRPC_C_OK)
        return session_failed(session);
    if (arguments->common.json)
        print_json(import_json(response->import));
    else
        print_import(response->import);
    leadrouter__v1__get_import_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec show_flags[] = {FLAG_WORKSPACE("whose import it is")};

const struct command command_imports_show = {
    .name = "imports show",
    .summary = "everything about one import",
    .text = "One import: how far it is, what became of its rows, where its leads went, and why rows were rejected (the "
            "first 100; `imports rejected` has all).",
    .example = "leadctl imports show 7c1f… --workspace 0b9e…",
    .operand = {.name = "IMPORT", .help = "id of the import", .kind = OPTION_ID, .is_needed = true},
    COMMAND_FLAGS(show_flags),
    .run = show,
};

/* --- rejected ----------------------------------------------------------------------------------------------------- */

static const struct table_column rejected_columns[] = {
    {"ROW", TABLE_NUMBER}, {"FIELD", TABLE_WORD}, {"REASON", TABLE_TEXT}};

/* A page; its token is the number of the last row before it. */
static bool rejected_page(struct listing *listing, void *context)
{
    Leadrouter__V1__ListRejectedRowsRequest *request = context;
    Leadrouter__V1__ListRejectedRowsResponse *response = NULL;
    char next[24] = "";

    request->page_size = listing->page_size;
    request->after_row = strtoll(listing->token, NULL, 10);
    if (leadrouter__v1__lead_service__list_rejected_rows(
            listing->session->channel, request, NULL, &response, &listing->session->outcome) != GRPC_C_OK)
        return false;
    for (size_t i = 0; i < response->n_rows; i++) {
        const Leadrouter__V1__RejectedRow *row = response->rows[i];
        if (listing->array != NULL) {
            json_array_append_new(listing->array, json_pack("{s:I, s:s, s:s}", "row", (json_int_t)row->number, "field",
                                                      row->rejection->field, "reason", row->rejection->reason));
            continue;
        }
        table_add_format(listing->table, "%" PRId64, row->number);
        table_add(listing->table, row->rejection->field);
        table_add(listing->table, row->rejection->reason);
    }
    if (response->more && response->n_rows > 0)
        snprintf(next, sizeof(next), "%" PRId64, response->rows[response->n_rows - 1]->number);
    listing_turn(listing, response->n_rows, next);
    leadrouter__v1__list_rejected_rows_response__free_unpacked(response, NULL);
    return true;
}

static int rejected(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListRejectedRowsRequest request = LEADROUTER__V1__LIST_REJECTED_ROWS_REQUEST__INIT;

    request.workspace_id = borrowed(arguments->workspace);
    request.import_id = borrowed(arguments->operand);
    return listing_run(&(struct listing_form){.columns = rejected_columns,
                           .column_count = COUNT_OF(rejected_columns),
                           .name = "rows",
                           .one = "row",
                           .page = rejected_page,
                           .context = &request},
        arguments, session);
}

static const struct option_spec rejected_flags[] = {FLAG_WORKSPACE("whose import it is"), FLAG_LIMIT};

const struct command command_imports_rejected = {
    .name = "imports rejected",
    .summary = "rows of an import that became no leads, and why",
    .text = "Rows that were rejected, in their order, until a week after the import has ended. `import --errors FILE` "
            "has what stood in them.",
    .example = "leadctl imports rejected 7c1f… --workspace 0b9e… --limit 1000",
    .operand = {.name = "IMPORT", .help = "id of the import", .kind = OPTION_ID, .is_needed = true},
    COMMAND_FLAGS(rejected_flags),
    .run = rejected,
};
