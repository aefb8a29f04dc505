/* LeadService: CreateLeads, GetLead, ListLeads and EraseLead. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "lead_input.h"
#include "page.h"
#include "service.h"

/* --- CreateLeads -------------------------------------------------------------------------------------------------- */

enum { CREATES_MAX = 64 /* calls under way: each may hold megabytes */ };

struct create_call;

/* One lead of a call. */
struct create_lead {
    struct routing_ticket ticket; /* first: tickets come back as addresses of these */
    struct create_call *create;
    struct uuid lead_id;
    bool created;
    struct routing_answer answer;
};

/* One call; in its arena. */
struct create_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const Leadrouter__V1__CreateLeadsRequest *request;
    struct uuid actor_id;
    struct create_lead *leads;
    size_t lead_count;
    bool is_replay;
    bool is_routed;
    atomic_size_t left; /* leads whose answer has not come */
};

/* A repeated call answers as the first one did: what that one decided is not "already routed" to its caller. */
static void as_first_answered(struct routing_answer *answer)
{
    if (answer->outcome != ROUTING_OUTCOME_ALREADY_ROUTED)
        return;
    answer->outcome = answer->decided_outcome;
    answer->decided_outcome = ROUTING_OUTCOME_NONE;
}

static Leadrouter__V1__CreateLeadsResult *create_result(struct create_call *create, struct create_lead *lead)
{
    struct arena *arena = grpc_c_call_arena(create->base.call);
    Leadrouter__V1__CreateLeadsResult *result = arena_alloc(arena, sizeof(*result));

    leadrouter__v1__create_leads_result__init(result);
    result->lead_id = service_id(arena, &lead->lead_id);
    result->created = lead->created;
    if (!create->is_routed)
        return result;
    if (lead->answer.error.code == ERROR_NONE) {
        if (create->is_replay && lead->created)
            as_first_answered(&lead->answer);
        result->routing = service_route_response(arena, &lead->answer);
    } else {
        result->routing_status = (int32_t)service_status(&lead->answer.error);
        result->routing_message = arena_copy_string(arena, service_text(&lead->answer.error));
    }
    return result;
}

/* The call succeeded, for the leads are stored; that some were not routed is for the log all the same. */
static void log_unrouted(const struct create_call *create)
{
    const struct error *error = NULL;
    char workspace[UUID_TEXT_SIZE];
    size_t count = 0;

    for (size_t i = 0; create->is_routed && i < create->lead_count; i++)
        if (create->leads[i].answer.error.code != ERROR_NONE) {
            error = error == NULL ? &create->leads[i].answer.error : error;
            count++;
        }
    if (count == 0)
        return;
    const struct log_field fields[] = {
        LOG_INTEGER("leads", count),
        LOG_STRING("code", grpc_c_status_name(service_status(error))),
        LOG_STRING("error", error->text),
        LOG_STRING("workspace_id", uuid_format(&create->base.workspace_id, workspace)),
        LOG_END,
    };
    log_write(LOG_LEVEL_WARNING, "leads.unrouted", "leads were taken in but not routed", fields);
}

static void create_reply(struct create_call *create)
{
    struct arena *arena = grpc_c_call_arena(create->base.call);
    Leadrouter__V1__CreateLeadsResponse response = LEADROUTER__V1__CREATE_LEADS_RESPONSE__INIT;

    log_unrouted(create);
    response.n_results = create->lead_count;
    response.results = arena_alloc_array(arena, create->lead_count, sizeof(*response.results));
    for (size_t i = 0; i < create->lead_count; i++) {
        response.results[i] = create_result(create, &create->leads[i]);
        response.created += create->leads[i].created ? 1 : 0;
    }
    response.existing = (int32_t)create->lead_count - response.created;
    atomic_fetch_sub(&create->base.service->creates, 1);
    leadrouter__v1__lead_service__create_leads__reply(create->base.call, &response);
}

static void create_fail(struct create_call *create, const struct error *error)
{
    atomic_fetch_sub(&create->base.service->creates, 1);
    service_fail(&create->base, error);
}

static void lead_answered(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    struct create_lead *lead = (struct create_lead *)(void *)ticket;

    lead->answer = *answer;
    if (atomic_fetch_sub(&lead->create->left, 1) == 1)
        create_reply(lead->create);
}

/* Asks the engine for all of them. When it has no room the leads are there all the same, and the answer says that
 * they were not routed. A caller that goes away does not stop it: its leads are in, and waiting for a decision. */
static void route_created(struct create_call *create)
{
    struct arena *arena = grpc_c_call_arena(create->base.call);
    struct routing_ticket **tickets = arena_alloc_array(arena, create->lead_count, sizeof(struct routing_ticket *));
    int64_t deadline_ns =
        service_work_deadline_ns(&create->base); /* to be told what was not routed says more than that time is up */
    struct error error = {0};

    for (size_t i = 0; i < create->lead_count; i++) {
        struct create_lead *lead = &create->leads[i];
        lead->create = create;
        lead->ticket = (struct routing_ticket){.callback = lead_answered, .context = &create->base};
        lead->ticket.request = (struct routing_request){.lead_id = lead->lead_id,
            .source_workspace_id = create->base.workspace_id,
            .actor_id = create->actor_id,
            .max_attempts = ROUTING_MAX_ATTEMPTS_DEFAULT,
            .deadline_ns = deadline_ns};
        service_ask_as_caller(&create->base, &lead->ticket.request);
        tickets[i] = &lead->ticket;
    }
    create->is_routed = true;
    atomic_store(&create->left, create->lead_count);
    if (routing_engine_submit_many(create->base.service->engine, tickets, create->lead_count, &error))
        return; /* the last answer replies */
    for (size_t i = 0; i < create->lead_count; i++)
        create->leads[i].answer.error = error;
    create_reply(create);
}

/* What the database's refusal means to the caller. A host application's own constraints on `leads` count too; what
 * they say may quote the lead, so only the SQLSTATE is passed on. */
static bool create_refused(struct error *error)
{
    if (strcmp(error->sqlstate, "LR404") == 0)
        return error_set(error, ERROR_NOT_FOUND, "workspace_id: no such workspace");
    if (service_find_limit(error))
        return false;
    if (strcmp(error->sqlstate, "LR409") == 0)
        return error_set(error, ERROR_INVALID, "request_id: used within 24 hours with other leads");
    if (strncmp(error->sqlstate, "22", 2) == 0 || strncmp(error->sqlstate, "23", 2) == 0)
        return error_set_sql(error, ERROR_INVALID, error->sqlstate,
            "leads: a value does not fit the database's own types or constraints (SQLSTATE %s)", error->sqlstate);
    if (error->code == ERROR_UNAVAILABLE)
        return error_set_sql(error, ERROR_RESULT_UNKNOWN, error->sqlstate,
            "the database is away and the result unknown; asking again is safe for leads with an external_id, or under"
            " the same request_id");
    return false;
}

static bool insert_leads(
    struct create_call *create, const char *json, const unsigned char *hash, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "create_leads",
        .sql = "select ord, lead_id, created, replayed from leadrouter.create_leads($1, $2, $3, $4)",
        .param_count = 4,
        .param_types = {PG_UUID, PG_JSONB, PG_UUID, PG_BYTEA},
    };
    const struct service_call *base = &create->base;
    struct arena *arena = grpc_c_call_arena(base->call);
    struct pg_params params;
    struct pg_result *result = NULL;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &base->workspace_id);
    pg_params_add_jsonb(&params, json, strlen(json));
    pg_params_add_uuid(&params, uuid_is_nil(&base->request_id) ? NULL : &base->request_id);
    pg_params_add_bytes(&params, hash, LEAD_INPUT_HASH_SIZE);
    if (!service_query(base, &statement, &params, grpc_c_call_deadline_ns(base->call), &result, reterr_error))
        return create_refused(reterr_error);
    create->lead_count = (size_t)pg_result_row_count(result);
    create->leads = arena_alloc_array(arena, create->lead_count, sizeof(*create->leads));
    for (int row = 0; row < pg_result_row_count(result); row++) {
        struct create_lead *lead = &create->leads[pg_result_int4(result, row, 0) - 1];
        lead->lead_id = pg_result_uuid(result, row, 1);
        lead->created = pg_result_bool(result, row, 2);
        create->is_replay = pg_result_bool(result, row, 3);
    }
    pg_result_free(result);
    return true;
}

static void run_create(struct work *work)
{
    struct create_call *create = (struct create_call *)(void *)work;
    unsigned char hash[LEAD_INPUT_HASH_SIZE];
    struct error error = {0};
    char *json = NULL;
    bool ok = lead_input_json(create->request, &json, hash, &error) && insert_leads(create, json, hash, &error);

    free(json);
    if (!ok)
        create_fail(create, &error);
    else if (create->request->route)
        route_created(create);
    else
        create_reply(create);
}

static void handle_create_leads(struct grpc_c_call *call, const Leadrouter__V1__CreateLeadsRequest *request, void *user)
{
    struct create_call *create = arena_alloc(grpc_c_call_arena(call), sizeof(*create));
    struct service_call *base = &create->base;
    struct error error = {0};
    bool ok = false;

    service_begin(base, call, user);
    create->work.run = run_create;
    create->request = request;
    if (atomic_fetch_add(&base->service->creates, 1) >= CREATES_MAX)
        error_set(&error, ERROR_FULL, "%d calls take leads in already", CREATES_MAX);
    else
        ok = service_parse_id("workspace_id", request->workspace_id, false, &base->workspace_id, &error) &&
             service_parse_id("request_id", request->request_id, true, &base->request_id, &error) &&
             service_parse_id("user_id", request->user_id, true, &create->actor_id, &error) &&
             worker_pool_submit(base->service->workers, &create->work, &error);
    if (!ok)
        create_fail(create, &error);
}

/* --- GetLead ------------------------------------------------------------------------------------------------------ */

struct get_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
};

Leadrouter__V1__LeadStatus service_lead_status(const char *name)
{
    static const char *const names[] = {"", "pending", "routing", "routed", "failed", "expired"};

    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return (Leadrouter__V1__LeadStatus)i;
    return LEADROUTER__V1__LEAD_STATUS__LEAD_STATUS_UNSPECIFIED;
}

static Leadrouter__V1__RoutingOutcome decided_of(const char *name)
{
    if (name == NULL)
        return LEADROUTER__V1__ROUTING_OUTCOME__ROUTING_OUTCOME_UNSPECIFIED;
    return strcmp(name, "duplicate") == 0 ? LEADROUTER__V1__ROUTING_OUTCOME__ROUTING_OUTCOME_DUPLICATE
                                          : LEADROUTER__V1__ROUTING_OUTCOME__ROUTING_OUTCOME_ROUTED;
}

static char *column_text(const struct pg_result *result, struct arena *arena, int row, int column)
{
    return arena_copy_string(arena, pg_result_text(result, row, column));
}

static char *column_id(const struct pg_result *result, struct arena *arena, int row, int column)
{
    struct uuid id = pg_result_uuid(result, row, column);

    return service_id(arena, &id);
}

static Google__Protobuf__Timestamp *column_time(
    const struct pg_result *result, struct arena *arena, int row, int column)
{
    return pg_result_is_null(result, row, column) ? NULL : service_time(arena, pg_result_int8(result, row, column));
}

static Leadrouter__V1__NewLead *lead_data(const struct pg_result *result, struct arena *arena, int row)
{
    Leadrouter__V1__NewLead *data = arena_alloc(arena, sizeof(*data));

    leadrouter__v1__new_lead__init(data);
    data->external_id = column_text(result, arena, row, 3);
    data->email = column_text(result, arena, row, 4);
    data->phone = column_text(result, arena, row, 5);
    data->first_name = column_text(result, arena, row, 6);
    data->last_name = column_text(result, arena, row, 7);
    data->company_name = column_text(result, arena, row, 8);
    data->company_industry = column_text(result, arena, row, 9);
    data->company_size = column_text(result, arena, row, 10);
    data->company_revenue = column_text(result, arena, row, 11);
    data->country = column_text(result, arena, row, 12);
    data->state = column_text(result, arena, row, 13);
    data->city = column_text(result, arena, row, 14);
    data->postal_code = column_text(result, arena, row, 15);
    data->source = column_text(result, arena, row, 16);
    data->attributes_json = column_text(result, arena, row, 17);
    return data;
}

static Leadrouter__V1__Lead *lead_message(const struct pg_result *result, struct arena *arena, int row)
{
    Leadrouter__V1__Lead *lead = arena_alloc(arena, sizeof(*lead));

    leadrouter__v1__lead__init(lead);
    lead->id = column_id(result, arena, row, 0);
    lead->workspace_id = column_id(result, arena, row, 1);
    lead->source_workspace_id = column_id(result, arena, row, 2);
    lead->data = lead_data(result, arena, row);
    lead->status = service_lead_status(pg_result_text(result, row, 18));
    lead->decided_outcome = decided_of(pg_result_text(result, row, 19));
    lead->matched_rule_id = column_id(result, arena, row, 20);
    lead->duplicate_lead_id = column_id(result, arena, row, 21);
    lead->decision_id = column_id(result, arena, row, 22);
    lead->attempts = pg_result_int4(result, row, 23);
    lead->error = column_text(result, arena, row, 24);
    lead->created_at = column_time(result, arena, row, 25);
    lead->decided_at = column_time(result, arena, row, 26);
    lead->expires_at = column_time(result, arena, row, 27);
    lead->next_retry_at = column_time(result, arena, row, 28);
    lead->erased_at = column_time(result, arena, row, 29);
    return lead;
}

static void get_reply(struct get_call *get, const struct pg_result *result)
{
    Leadrouter__V1__GetLeadResponse response = LEADROUTER__V1__GET_LEAD_RESPONSE__INIT;

    response.lead = lead_message(result, grpc_c_call_arena(get->base.call), 0);
    leadrouter__v1__lead_service__get_lead__reply(get->base.call, &response);
}

#define LEAD_COLUMNS                                                                                                   \
    "id, workspace_id, source_workspace_id, external_id, email, phone, first_name, last_name, company_name,"           \
    " company_industry, company_size, company_revenue, country, state, city, postal_code, source, attributes,"         \
    " routing_status, decided_outcome, matched_rule_id, duplicate_lead_id, decision_id, routing_attempts,"             \
    " routing_error, created_us, decided_us, lead_expires_us, next_retry_us, erased_us"

static void run_get(struct work *work)
{
    static const struct service_reading reading =
        SERVICE_READING(LEAD_COLUMNS, "get_lead", "($1, $2)", 2, PG_UUID, PG_UUID);
    struct get_call *get = (struct get_call *)(void *)work;
    struct service_call *base = &get->base;
    struct pg_result *result = NULL;
    struct pg_params params;
    struct error error = {0};

    pg_params_init(&params, grpc_c_call_arena(base->call));
    pg_params_add_uuid(&params, &base->lead_id);
    pg_params_add_uuid(&params, &base->workspace_id);
    bool ok = service_read(base, &reading, &params, grpc_c_call_deadline_ns(base->call), &result, &error);
    if (ok && pg_result_row_count(result) == 0)
        ok = error_set(&error, ERROR_NOT_FOUND, "no such lead in that workspace");
    if (ok)
        get_reply(get, result);
    else
        service_fail(base, &error);
    pg_result_free(result);
}

static void handle_get_lead(struct grpc_c_call *call, const Leadrouter__V1__GetLeadRequest *request, void *user)
{
    struct get_call *get = arena_alloc(grpc_c_call_arena(call), sizeof(*get));
    struct service_call *base = &get->base;
    struct error error = {0};

    service_begin(base, call, user);
    get->work.run = run_get;
    if (!service_parse_id("lead_id", request->lead_id, false, &base->lead_id, &error) ||
        !service_parse_id("workspace_id", request->workspace_id, false, &base->workspace_id, &error) ||
        !worker_pool_submit(base->service->workers, &get->work, &error))
        service_fail(base, &error);
}

/* --- EraseLead ---------------------------------------------------------------------------------------------------- */

struct erase_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    struct uuid actor_id;
};

static bool erase_refused(struct error *error)
{
    if (strcmp(error->sqlstate, "LR404") == 0)
        return error_set(error, ERROR_NOT_FOUND, "no such lead in that workspace");
    if (strcmp(error->sqlstate, "LR423") == 0)
        return error_set(error, ERROR_BUSY, "a worker holds the lead; asking again is safe");
    return false;
}

static void run_erase(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "erase_lead",
        .sql = "select was_done, has_expired, log_rows, queue_rows from leadrouter.erase_lead($1, $2, $3)",
        .param_count = 3,
        .param_types = {PG_UUID, PG_UUID, PG_UUID},
    };
    struct erase_call *erase = (struct erase_call *)(void *)work;
    struct service_call *base = &erase->base;
    Leadrouter__V1__EraseLeadResponse response = LEADROUTER__V1__ERASE_LEAD_RESPONSE__INIT;
    struct pg_result *result = NULL;
    struct pg_params params;
    struct error error = {0};

    pg_params_init(&params, grpc_c_call_arena(base->call));
    pg_params_add_uuid(&params, &base->lead_id);
    pg_params_add_uuid(&params, &base->workspace_id);
    pg_params_add_uuid(&params, uuid_is_nil(&erase->actor_id) ? NULL : &erase->actor_id);
    if (!service_query(base, &statement, &params, grpc_c_call_deadline_ns(base->call), &result, &error)) {
        erase_refused(&error);
        service_fail(base, &error);
        return;
    }
    response.erased = pg_result_bool(result, 0, 0);
    response.expired = pg_result_bool(result, 0, 1);
    response.log_rows = pg_result_int4(result, 0, 2);
    response.queue_rows = pg_result_int4(result, 0, 3);
    pg_result_free(result);
    leadrouter__v1__lead_service__erase_lead__reply(base->call, &response);
}

static void handle_erase_lead(struct grpc_c_call *call, const Leadrouter__V1__EraseLeadRequest *request, void *user)
{
    struct erase_call *erase = arena_alloc(grpc_c_call_arena(call), sizeof(*erase));
    struct service_call *base = &erase->base;
    struct error error = {0};

    service_begin(base, call, user);
    erase->work.run = run_erase;
    if (!service_parse_id("lead_id", request->lead_id, false, &base->lead_id, &error) ||
        !service_parse_id("workspace_id", request->workspace_id, false, &base->workspace_id, &error) ||
        !service_parse_id("user_id", request->user_id, true, &erase->actor_id, &error) ||
        !worker_pool_submit(base->service->workers, &erase->work, &error))
        service_fail(base, &error);
}

/* --- ListLeads ---------------------------------------------------------------------------------------------------- */

enum { PAGE_SCAN = 10000 /* leads that a page looks at */, FILTER_SIZE_MAX = 1000 };

/* One call; in its arena. */
struct list_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const Leadrouter__V1__ListLeadsRequest *request;
    struct page page;
};

static void add_text(struct pg_params *params, const char *text)
{
    pg_params_add_text(params, text[0] == '\0' ? NULL : text);
}

/* Microseconds since 1970; what lies before or after all times is as good as its nearest. */
static void add_time(struct pg_params *params, const Google__Protobuf__Timestamp *time)
{
    if (time == NULL)
        pg_params_add_null(params);
    else
        pg_params_add_int8(params, time->seconds * 1000000 + time->nanos / 1000);
}

static bool read_leads(struct list_call *list, struct pg_result **ret_result, struct error *reterr_error)
{
    static const char *const statuses[] = {"", "pending", "routing", "routed", "failed", "expired"};
    static const struct service_reading reading = SERVICE_READING(LEAD_COLUMNS ", place_us, place_id", "list_leads",
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", 12, PG_UUID, PG_BOOL, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT,
        PG_INT8, PG_INT8, PG_INT8, PG_UUID, PG_INT4, PG_INT4);
    const Leadrouter__V1__ListLeadsRequest *request = list->request;
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(list->base.call));
    pg_params_add_uuid(&params, &list->base.workspace_id);
    pg_params_add_bool(&params, request->side == LEADROUTER__V1__LEAD_SIDE__LEAD_SIDE_RECEIVED);
    add_text(&params, statuses[request->status]);
    add_text(&params, request->source);
    add_text(&params, request->external_id);
    add_text(&params, request->email);
    add_time(&params, request->created_from);
    add_time(&params, request->created_before);
    page_add_params(&list->page, &params);
    pg_params_add_int4(&params, PAGE_SCAN);
    return service_read(
        &list->base, &reading, &params, grpc_c_call_deadline_ns(list->base.call), ret_result, reterr_error);
}

/* Where the page ended: its last lead when there is one more behind it, or where looking ended. */
static char *next_token(const struct list_call *list, const struct pg_result *result, int shown)
{
    int row = shown - 1;
    struct page_place place;

    if (pg_result_row_count(result) == shown)
        return arena_copy_string(grpc_c_call_arena(list->base.call), "");
    if (pg_result_is_null(result, shown, 0))
        row = shown;
    place = (struct page_place){.time_us = pg_result_int8(result, row, 30), .id = pg_result_uuid(result, row, 31)};
    return page_next(&list->page, &place, grpc_c_call_arena(list->base.call));
}

static void run_list(struct work *work)
{
    struct list_call *list = (struct list_call *)(void *)work;
    struct arena *arena = grpc_c_call_arena(list->base.call);
    Leadrouter__V1__ListLeadsResponse response = LEADROUTER__V1__LIST_LEADS_RESPONSE__INIT;
    struct pg_result *result = NULL;
    struct error error = {0};
    int row = 0;

    if (!read_leads(list, &result, &error)) {
        service_fail(&list->base, &error);
        return;
    }
    response.leads = arena_alloc_array(arena, (size_t)list->page.size, sizeof(*response.leads));
    for (; row < pg_result_row_count(result) && row < list->page.size && !pg_result_is_null(result, row, 0); row++)
        response.leads[response.n_leads++] = lead_message(result, arena, row);
    response.next_page_token = next_token(list, result, row);
    pg_result_free(result);
    leadrouter__v1__lead_service__list_leads__reply(list->base.call, &response);
}

static bool check_time(const char *field, const Google__Protobuf__Timestamp *time, struct error *reterr_error)
{
    static const int64_t least_s = -62135596800, most_s = 253402300799; /* timestamp.proto: the years 1 to 9999 */

    if (time != NULL &&
        (time->seconds < least_s || time->seconds > most_s || time->nanos < 0 || time->nanos > 999999999))
        return error_set(reterr_error, ERROR_INVALID, "%s: not a time of the years 1 to 9999", field);
    return true;
}

/* A number that tells times apart; of none one that no time has. */
static long long time_number(const Google__Protobuf__Timestamp *time)
{
    return time == NULL ? -1 : (long long)(time->seconds * 1000000 + time->nanos / 1000);
}

/* The list that a page of this call belongs to: everything but the page. Texts behind their sizes, so that none runs into the next. */
static const char *list_of(const struct list_call *list)
{
    const Leadrouter__V1__ListLeadsRequest *request = list->request;
    char workspace[UUID_TEXT_SIZE];

    return arena_format(grpc_c_call_arena(list->base.call), "ListLeads %s %d %d %zu:%s %zu:%s %zu:%s %lld %lld",
        uuid_format(&list->base.workspace_id, workspace), (int)request->side, (int)request->status,
        strlen(request->source), request->source, strlen(request->external_id), request->external_id,
        strlen(request->email), request->email, time_number(request->created_from),
        time_number(request->created_before));
}

static bool check_text(const char *field, const char *text, struct error *reterr_error)
{
    return strlen(text) <= FILTER_SIZE_MAX ||
           error_set(reterr_error, ERROR_INVALID, "%s: more than %d bytes", field, FILTER_SIZE_MAX);
}

static bool read_list_request(struct list_call *list, struct error *reterr_error)
{
    const Leadrouter__V1__ListLeadsRequest *request = list->request;

    if (!service_parse_id("workspace_id", request->workspace_id, false, &list->base.workspace_id, reterr_error))
        return false;
    if (request->side < 0 || request->side > LEADROUTER__V1__LEAD_SIDE__LEAD_SIDE_RECEIVED)
        return error_set(reterr_error, ERROR_INVALID, "side: not one that is known");
    if (request->status < 0 || request->status > LEADROUTER__V1__LEAD_STATUS__LEAD_STATUS_EXPIRED)
        return error_set(reterr_error, ERROR_INVALID, "status: not one that is known");
    if (!check_text("source", request->source, reterr_error) ||
        !check_text("external_id", request->external_id, reterr_error) ||
        !check_text("email", request->email, reterr_error) ||
        !check_time("created_from", request->created_from, reterr_error) ||
        !check_time("created_before", request->created_before, reterr_error))
        return false;
    return page_read(&list->page, request->page_size, request->page_token, list_of(list), reterr_error);
}

static void handle_list_leads(struct grpc_c_call *call, const Leadrouter__V1__ListLeadsRequest *request, void *user)
{
    struct list_call *list = arena_alloc(grpc_c_call_arena(call), sizeof(*list));
    struct error error = {0};

    service_begin(&list->base, call, user);
    list->work.run = run_list;
    list->request = request;
    if (!read_list_request(list, &error) || !worker_pool_submit(list->base.service->workers, &list->work, &error))
        service_fail(&list->base, &error);
}

const struct leadrouter__v1__lead_service__handlers service_lead_handlers = {
    .create_leads = handle_create_leads,
    .get_lead = handle_get_lead,
    .erase_lead = handle_erase_lead,
    .list_leads = handle_list_leads,
    .import_leads = service_handle_import_leads,
    .get_import = service_handle_get_import,
    .list_imports = service_handle_list_imports,
    .list_rejected_rows = service_handle_list_rejected_rows,
};
