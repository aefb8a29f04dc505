/* LeadService: imports as they are, GetImport, ListImports and ListRejectedRows. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "page.h"
#include "service.h"

/* One call; in its arena. */
struct imports_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    struct uuid import_id;
    struct page page;
    int64_t after_row; /* of rejected rows */
};

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static Leadrouter__V1__ImportState state_of(const char *name)
{
    static const char *const names[] = {"", "processing", "pending", "completed", "completed_with_errors", "failed"};

    for (size_t i = 1; i < COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (Leadrouter__V1__ImportState)i;
    return LEADROUTER__V1__IMPORT_STATE__IMPORT_STATE_UNSPECIFIED;
}

/* The array of {"row", "error"}. */
static void add_errors(struct arena *arena, Leadrouter__V1__Import *import, const char *text)
{
    json_t *errors = json_loads(text, 0, NULL);
    json_t *entry = NULL;
    size_t i = 0;

    import->errors = arena_alloc_array(arena, json_array_size(errors), sizeof(*import->errors));
    json_array_foreach(errors, i, entry)
    {
        const char *reason = json_string_value(json_object_get(entry, "error"));
        Leadrouter__V1__ImportError *error = arena_alloc(arena, sizeof(*error));
        leadrouter__v1__import_error__init(error);
        error->number = json_integer_value(json_object_get(entry, "row"));
        error->error = arena_copy_string(arena, reason == NULL ? "" : reason);
        import->errors[import->n_errors++] = error;
    }
    json_decref(errors);
}

static int by_leads(const void *left, const void *right)
{
    const Leadrouter__V1__ImportDestination *const *a = left;
    const Leadrouter__V1__ImportDestination *const *b = right;

    if ((*a)->leads != (*b)->leads)
        return (*a)->leads > (*b)->leads ? -1 : 1;
    return strcmp((*a)->workspace_id, (*b)->workspace_id);
}

static void add_summary(struct arena *arena, Leadrouter__V1__Import *import, const char *text)
{
    json_t *summary = json_loads(text, 0, NULL);
    json_t *routed = json_object_get(summary, "routed_workspaces");
    const char *id = NULL;
    json_t *leads = NULL;

    import->unrouted = json_integer_value(json_object_get(summary, "unrouted_count"));
    import->duplicate_leads = json_integer_value(json_object_get(summary, "duplicate_count"));
    import->destinations = arena_alloc_array(arena, json_object_size(routed), sizeof(*import->destinations));
    json_object_foreach(routed, id, leads)
    {
        Leadrouter__V1__ImportDestination *destination = arena_alloc(arena, sizeof(*destination));
        leadrouter__v1__import_destination__init(destination);
        destination->workspace_id = arena_copy_string(arena, id);
        destination->leads = json_integer_value(leads);
        import->destinations[import->n_destinations++] = destination;
    }
    if (import->n_destinations > 1)
        qsort(import->destinations, import->n_destinations, sizeof(*import->destinations), by_leads);
    json_decref(summary);
}

static Google__Protobuf__Timestamp *time_of(struct arena *arena, const struct pg_result *result, int row, int column)
{
    return pg_result_is_null(result, row, column) ? NULL : service_time(arena, pg_result_int8(result, row, column));
}

static Leadrouter__V1__Import *import_message(struct arena *arena, const struct pg_result *result, int row)
{
    Leadrouter__V1__Import *import = arena_alloc(arena, sizeof(*import));
    struct uuid id = pg_result_uuid(result, row, 0);
    struct uuid workspace_id = pg_result_uuid(result, row, 1);

    leadrouter__v1__import__init(import);
    import->id = service_id(arena, &id);
    import->workspace_id = service_id(arena, &workspace_id);
    import->source = arena_copy_string(arena, pg_result_text(result, row, 2));
    import->state = state_of(pg_result_text(result, row, 3));
    import->is_routed = pg_result_bool(result, row, 4);
    import->total_rows = pg_result_int8(result, row, 5);
    import->processed_rows = pg_result_int8(result, row, 6);
    import->created = pg_result_int8(result, row, 7);
    import->updated = pg_result_int8(result, row, 8);
    import->existing = pg_result_int8(result, row, 9);
    import->duplicate_rows = pg_result_int8(result, row, 10);
    import->rejected = pg_result_int8(result, row, 11);
    add_errors(arena, import, pg_result_text(result, row, 12));
    add_summary(arena, import, pg_result_text(result, row, 13));
    import->created_at = time_of(arena, result, row, 14);
    import->updated_at = time_of(arena, result, row, 15);
    import->completed_at = time_of(arena, result, row, 16);
    return import;
}

/* One import, or with uuid_nil a page of them and one more when there is another page. */
static bool read_rows(const struct service_call *call, const struct uuid *import_id, const struct page *page,
    struct arena *arena, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error)
{
    static const struct service_reading reading =
        SERVICE_READING("id, workspace_id, source, status, is_routed, total, processed, created, updated, existing,"
                        " duplicates, rejected, errors, routing_summary, created_us, updated_us, completed_us, now_us",
            "read_imports", "($1, $2, $3, $4, $5)", 5, PG_UUID, PG_UUID, PG_INT8, PG_UUID, PG_INT4);
    struct pg_params params;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &call->workspace_id);
    pg_params_add_uuid(&params, uuid_is_nil(import_id) ? NULL : import_id);
    page_add_params(page, &params);
    return service_read(call, &reading, &params, deadline_ns, ret_result, reterr_error);
}

bool service_read_import(const struct service_call *call, const struct uuid *import_id, struct arena *arena,
    int64_t deadline_ns, Leadrouter__V1__Import **ret_import, Google__Protobuf__Timestamp **ret_now,
    struct error *reterr_error)
{
    const struct page one = {0};
    struct pg_result *result = NULL;
    bool ok = read_rows(call, import_id, &one, arena, deadline_ns, &result, reterr_error);

    if (ok && pg_result_row_count(result) == 0)
        ok = error_set(reterr_error, ERROR_NOT_FOUND, "no such import in that workspace");
    if (ok) {
        *ret_import = import_message(arena, result, 0);
        *ret_now = time_of(arena, result, 0, 17);
    }
    pg_result_free(result);
    return ok;
}

/* --- GetImport ---------------------------------------------------------------------------------------------------- */

static void run_get(struct work *work)
{
    struct imports_call *call = (struct imports_call *)(void *)work;
    Leadrouter__V1__GetImportResponse response = LEADROUTER__V1__GET_IMPORT_RESPONSE__INIT;
    struct error error = {0};

    if (service_read_import(&call->base, &call->import_id, grpc_c_call_arena(call->base.call),
            grpc_c_call_deadline_ns(call->base.call), &response.import, &response.now, &error))
        leadrouter__v1__lead_service__get_import__reply(call->base.call, &response);
    else
        service_fail(&call->base, &error);
}

static struct imports_call *begin_call(struct grpc_c_call *call, void *user, void (*run)(struct work *work))
{
    struct imports_call *imports = arena_alloc(grpc_c_call_arena(call), sizeof(*imports));

    service_begin(&imports->base, call, user);
    imports->work.run = run;
    return imports;
}

void service_handle_get_import(struct grpc_c_call *call, const Leadrouter__V1__GetImportRequest *request, void *user)
{
    struct imports_call *imports = begin_call(call, user, run_get);
    struct error error = {0};

    if (!service_parse_id("workspace_id", request->workspace_id, false, &imports->base.workspace_id, &error) ||
        !service_parse_id("import_id", request->import_id, false, &imports->import_id, &error) ||
        !worker_pool_submit(imports->base.service->workers, &imports->work, &error))
        service_fail(&imports->base, &error);
}

/* --- ListImports -------------------------------------------------------------------------------------------------- */

static void run_list(struct work *work)
{
    struct imports_call *call = (struct imports_call *)(void *)work;
    Leadrouter__V1__ListImportsResponse response = LEADROUTER__V1__LIST_IMPORTS_RESPONSE__INIT;
    struct arena *arena = grpc_c_call_arena(call->base.call);
    const int size = call->page.size;
    struct pg_result *result = NULL;
    struct error error = {0};
    int rows = 0;

    if (!read_rows(
            &call->base, &uuid_nil, &call->page, arena, grpc_c_call_deadline_ns(call->base.call), &result, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    rows = pg_result_row_count(result);
    response.imports = arena_alloc_array(arena, (size_t)size, sizeof(*response.imports));
    for (int row = 0; row < rows && row < size; row++)
        response.imports[response.n_imports++] = import_message(arena, result, row);
    if (rows > 0)
        response.now = time_of(arena, result, 0, 17);
    if (rows > size) {
        const struct page_place last = {
            .time_us = pg_result_int8(result, size - 1, 14), .id = pg_result_uuid(result, size - 1, 0)};
        response.next_page_token = page_next(&call->page, &last, arena);
    }
    pg_result_free(result);
    leadrouter__v1__lead_service__list_imports__reply(call->base.call, &response);
}

void service_handle_list_imports(
    struct grpc_c_call *call, const Leadrouter__V1__ListImportsRequest *request, void *user)
{
    struct imports_call *imports = begin_call(call, user, run_list);
    char workspace[UUID_TEXT_SIZE];
    const char *list = NULL;
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &imports->base.workspace_id, &error);

    list = arena_format(grpc_c_call_arena(call), "ListImports %s", uuid_format(&imports->base.workspace_id, workspace));
    if (!ok || !page_read(&imports->page, request->page_size, request->page_token, list, &error) ||
        !worker_pool_submit(imports->base.service->workers, &imports->work, &error))
        service_fail(&imports->base, &error);
}

/* --- ListRejectedRows --------------------------------------------------------------------------------------------- */

static Leadrouter__V1__RejectedRow *rejected_row(struct arena *arena, const struct pg_result *result, int row)
{
    Leadrouter__V1__RejectedRow *rejected = arena_alloc(arena, sizeof(*rejected));

    leadrouter__v1__rejected_row__init(rejected);
    rejected->number = pg_result_int8(result, row, 0);
    rejected->rejection = arena_alloc(arena, sizeof(*rejected->rejection));
    leadrouter__v1__import_rejection__init(rejected->rejection);
    rejected->rejection->field = arena_copy_string(arena, pg_result_text(result, row, 1));
    rejected->rejection->reason = arena_copy_string(arena, pg_result_text(result, row, 2));
    return rejected;
}

/* A page of them, and one more when there is another page. Without any the import itself may not be there: ERROR_NOT_FOUND. */
static bool read_rejected(const struct imports_call *call, struct arena *arena, int64_t deadline_ns,
    struct pg_result **ret_result, struct error *reterr_error)
{
    static const struct service_reading reading = SERVICE_READING(
        "row_number, field, reason", "read_rejected_rows", "($1, $2, $3, $4)", 4, PG_UUID, PG_UUID, PG_INT8, PG_INT4);
    struct pg_params params;
    struct pg_result *result = NULL;
    Leadrouter__V1__Import *import = NULL;
    Google__Protobuf__Timestamp *now = NULL;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &call->base.workspace_id);
    pg_params_add_uuid(&params, &call->import_id);
    pg_params_add_int8(&params, call->after_row);
    pg_params_add_int4(&params, call->page.size + 1);
    if (!service_read(&call->base, &reading, &params, deadline_ns, &result, reterr_error))
        return false;
    if (pg_result_row_count(result) == 0 &&
        !service_read_import(&call->base, &call->import_id, arena, deadline_ns, &import, &now, reterr_error)) {
        pg_result_free(result);
        return false;
    }
    *ret_result = result;
    return true;
}

static void run_rejected(struct work *work)
{
    struct imports_call *call = (struct imports_call *)(void *)work;
    Leadrouter__V1__ListRejectedRowsResponse response = LEADROUTER__V1__LIST_REJECTED_ROWS_RESPONSE__INIT;
    struct arena *arena = grpc_c_call_arena(call->base.call);
    struct pg_result *result = NULL;
    struct error error = {0};

    if (!read_rejected(call, arena, grpc_c_call_deadline_ns(call->base.call), &result, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    response.more = pg_result_row_count(result) > call->page.size;
    response.rows = arena_alloc_array(arena, (size_t)call->page.size, sizeof(*response.rows));
    for (int row = 0; row < pg_result_row_count(result) && row < call->page.size; row++)
        response.rows[response.n_rows++] = rejected_row(arena, result, row);
    pg_result_free(result);
    leadrouter__v1__lead_service__list_rejected_rows__reply(call->base.call, &response);
}

void service_handle_list_rejected_rows(
    struct grpc_c_call *call, const Leadrouter__V1__ListRejectedRowsRequest *request, void *user)
{
    struct imports_call *imports = begin_call(call, user, run_rejected);
    struct error error = {0};
    bool ok = service_parse_id("workspace_id", request->workspace_id, false, &imports->base.workspace_id, &error) &&
              service_parse_id("import_id", request->import_id, false, &imports->import_id, &error) &&
              page_size_read(request->page_size, &imports->page.size, &error);

    imports->after_row = request->after_row;
    if (ok && request->after_row < 0)
        ok = error_set(&error, ERROR_INVALID, "after_row: must not be negative");
    if (!ok || !worker_pool_submit(imports->base.service->workers, &imports->work, &error))
        service_fail(&imports->base, &error);
}
