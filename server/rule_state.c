#include "rule_state.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/memory.h"
#include "base/text.h"

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static const char *text_of(const struct pg_result *rows, struct arena *arena, int row, int column)
{
    const char *text = pg_result_text(rows, row, column);

    return text == NULL ? NULL : arena_copy_string(arena, text);
}

static struct rule_item item_of(const struct pg_result *rows, struct arena *arena, int row)
{
    return (struct rule_item){
        .source =
            {
                .id = pg_result_uuid(rows, row, 3),
                .name = text_of(rows, arena, row, 4),
                .priority = pg_result_int4(rows, row, 5),
                .conditions_json = text_of(rows, arena, row, 6),
                .destination_workspace_id = pg_result_uuid(rows, row, 7),
                .destination_is_active = pg_result_bool(rows, row, 8),
                .created_at_us = pg_result_int8(rows, row, 10),
            },
        .is_active = pg_result_bool(rows, row, 9),
    };
}

static bool read_rows(
    const struct pg_result *rows, struct arena *arena, struct rule_state *ret_state, struct error *reterr_error)
{
    int row_count = pg_result_row_count(rows);
    struct rule_state state = {.version = pg_result_int8(rows, 0, 0), .read_at_us = pg_result_int8(rows, 0, 13)};
    const char **values = arena_alloc_array(arena, (size_t)row_count, sizeof(*values));
    size_t value_count = 0;

    if (!rule_policy_parse(pg_result_text(rows, 0, 1), &state.policy, reterr_error))
        return false;
    state.policy.fallback_is_active = pg_result_bool(rows, 0, 2);
    state.items = arena_alloc_array(arena, (size_t)row_count, sizeof(*state.items));
    state.sets = arena_alloc_array(arena, (size_t)row_count, sizeof(*state.sets));
    for (int row = 0; row < row_count; row++) {
        const char *set_name = pg_result_text(rows, row, 11);
        if (!pg_result_is_null(rows, row, 3))
            state.items[state.item_count++] = item_of(rows, arena, row);
        if (set_name == NULL)
            continue;
        if (state.set_count == 0 || strcmp(state.sets[state.set_count - 1].name, set_name) != 0)
            state.sets[state.set_count++] =
                (struct rule_named_set){.name = arena_copy_string(arena, set_name), .values = values + value_count};
        if (!pg_result_is_null(rows, row, 12)) {
            values[value_count++] = text_of(rows, arena, row, 12);
            state.sets[state.set_count - 1].count++;
        }
    }
    *ret_state = state;
    return true;
}

static const struct service_reading reading = SERVICE_READING(
    "rules_version, routing_config, fallback_is_active, rule_id, rule_name, priority, conditions,"
    " destination_workspace_id, destination_is_active, is_active, created_us, set_name, set_value, now_us",
    "rule_set_at", "($1, nullif($2, 0))", 2, PG_UUID, PG_INT8);

static void add_version(struct pg_params *params, struct arena *arena, const struct uuid *workspace_id, int64_t version)
{
    pg_params_init(params, arena);
    pg_params_add_uuid(params, workspace_id);
    pg_params_add_int8(params, version);
}

/* Takes the rows, and releases them. */
static bool take_rows(struct pg_result *rows, struct arena *arena, int64_t version, struct rule_state *ret_state,
    struct error *reterr_error)
{
    bool ok = false;

    if (pg_result_row_count(rows) == 0)
        error_set(reterr_error, ERROR_NOT_FOUND, version == 0 ? "no such workspace" : "no such workspace or version");
    else
        ok = read_rows(rows, arena, ret_state, reterr_error);
    pg_result_free(rows);
    return ok;
}

bool rule_state_load(const struct service_call *call, struct arena *arena, const struct uuid *workspace_id,
    int64_t version, int64_t deadline_ns, struct rule_state *ret_state, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *rows = NULL;

    add_version(&params, arena, workspace_id, version);
    return service_read(call, &reading, &params, deadline_ns, &rows, reterr_error) &&
           take_rows(rows, arena, version, ret_state, reterr_error);
}

bool rule_state_load_written(struct service *service, struct arena *arena, const struct uuid *workspace_id,
    int64_t version, int64_t deadline_ns, struct rule_state *ret_state, struct error *reterr_error)
{
    struct pg_params params;
    struct pg_result *rows = NULL;

    add_version(&params, arena, workspace_id, version);
    return service_query_unasked(service, &reading.for_services, &params, deadline_ns, &rows, reterr_error) &&
           take_rows(rows, arena, version, ret_state, reterr_error);
}

/* --- From messages ------------------------------------------------------------------------------------------------ */

bool rule_state_read_rule(
    const Leadrouter__V1__Rule *message, const char *field, struct rule_item *ret_item, struct error *reterr_error)
{
    struct error error = {0};
    struct uuid destination = uuid_nil;

    if (message == NULL)
        return error_set(reterr_error, ERROR_INVALID, "%s: missing", field);
    if (text_is_blank(message->name) || strlen(message->name) > RULE_STATE_NAME_SIZE_MAX)
        return error_set(
            reterr_error, ERROR_INVALID, "%s.name: must have 1 to %d bytes", field, RULE_STATE_NAME_SIZE_MAX);
    if (!uuid_parse(message->destination_workspace_id, &destination))
        return error_set(reterr_error, ERROR_INVALID, "%s.destination_workspace_id: %s", field,
            *message->destination_workspace_id == '\0' ? "missing" : "not a UUID");
    if (!rule_conditions_check(message->conditions_json, &error))
        return error_set(reterr_error, ERROR_INVALID, "%s.conditions_json: %s", field, error.text);
    *ret_item = (struct rule_item){
        .source = {.name = message->name,
            .priority = message->priority,
            .conditions_json = message->conditions_json,
            .destination_workspace_id = destination,
            .destination_is_active = true},
        .is_active = message->is_active != 0,
    };
    return true;
}

/* --- As a whole --------------------------------------------------------------------------------------------------- */

struct rule_set_source rule_state_source(
    const struct rule_state *state, const struct uuid *workspace_id, struct arena *arena)
{
    struct rule_source *sources = arena_alloc_array(arena, state->item_count, sizeof(*sources));
    struct rule_set_source source = {
        .workspace_id = *workspace_id,
        .version = state->version,
        .policy = &state->policy,
        .rules = sources,
        .sets = state->sets,
        .set_count = state->set_count,
    };

    for (size_t i = 0; i < state->item_count; i++) {
        if (state->items[i].is_active)
            sources[source.rule_count++] = state->items[i].source;
    }
    return source;
}

bool rule_state_check(
    const struct rule_state *state, const struct uuid *workspace_id, struct arena *arena, struct error *reterr_error)
{
    const struct rule_set_source source = rule_state_source(state, workspace_id, arena);
    struct rule_set *set = NULL;
    bool ok = rule_set_compile(&source, &set, reterr_error);

    rule_set_unref(set);
    return ok;
}

/* --- Differences -------------------------------------------------------------------------------------------------- */

struct diff {
    struct arena *arena;
    struct rule_state_change *changes;
    size_t count;
    json_t *json; /* what change_rules() takes */
};

static void add_change(struct diff *diff, Leadrouter__V1__RuleChangeKind kind, const char *name, bool is_set)
{
    diff->changes[diff->count++] =
        (struct rule_state_change){.kind = kind, .name = arena_copy_string(diff->arena, name), .is_set = is_set};
}

static void add_json(struct diff *diff, const char *list, json_t *item)
{
    json_t *items = json_object_get(diff->json, list);

    if (items == NULL) {
        items = json_array();
        json_object_set_new(diff->json, list, items);
    }
    json_array_append_new(items, item);
}

static json_t *json_of_item(const struct rule_item *item)
{
    char id[UUID_TEXT_SIZE];
    char destination[UUID_TEXT_SIZE];

    return json_pack("{ss, ss, si, so, ss, sb}", "id", uuid_format(&item->source.id, id), "rule_name",
        item->source.name, "priority", (int)item->source.priority, "conditions",
        json_loads(item->source.conditions_json, 0, NULL), "destination_workspace_id",
        uuid_format(&item->source.destination_workspace_id, destination), "is_active", (int)item->is_active);
}

const struct rule_item *rule_state_find(const struct rule_state *state, const struct uuid *id)
{
    for (size_t i = 0; i < state->item_count; i++) {
        if (uuid_equal(&state->items[i].source.id, id))
            return &state->items[i];
    }
    return NULL;
}

static bool is_same_json(const char *left, const char *right)
{
    json_t *a = json_loads(left, 0, NULL);
    json_t *b = json_loads(right, 0, NULL);
    bool is_same = a != NULL && b != NULL && json_equal(a, b);

    json_decref(a);
    json_decref(b);
    return is_same;
}

static void diff_item(struct diff *diff, const struct rule_item *from, const struct rule_item *to)
{
    const char *parts[4] = {0};
    size_t count = 0;
    bool is_renamed = strcmp(from->source.name, to->source.name) != 0;

    if (from->source.priority != to->source.priority)
        parts[count++] = "priority";
    if (!is_same_json(from->source.conditions_json, to->source.conditions_json))
        parts[count++] = "conditions";
    if (!uuid_equal(&from->source.destination_workspace_id, &to->source.destination_workspace_id))
        parts[count++] = "destination";
    if (from->is_active != to->is_active)
        parts[count++] = "is_active";
    if (count == 0 && !is_renamed)
        return;
    add_change(diff, LEADROUTER__V1__RULE_CHANGE_KIND__RULE_CHANGE_KIND_CHANGED, to->source.name, false);
    memcpy(diff->changes[diff->count - 1].parts, parts, sizeof(parts));
    add_json(diff, "update", json_of_item(to));
}

static void diff_items(struct diff *diff, const struct rule_state *from, struct rule_state *to)
{
    char id[UUID_TEXT_SIZE];

    for (size_t i = 0; i < to->item_count; i++) {
        struct rule_item *item = &to->items[i];
        const struct rule_item *before = uuid_is_nil(&item->source.id) ? NULL : rule_state_find(from, &item->source.id);
        if (before != NULL) {
            diff_item(diff, before, item);
            continue;
        }
        if (uuid_is_nil(&item->source.id))
            item->source.id = uuid_random();
        add_change(diff, LEADROUTER__V1__RULE_CHANGE_KIND__RULE_CHANGE_KIND_ADDED, item->source.name, false);
        add_json(diff, "create", json_of_item(item));
    }
    for (size_t i = 0; i < from->item_count; i++) {
        if (rule_state_find(to, &from->items[i].source.id) != NULL)
            continue;
        add_change(diff, LEADROUTER__V1__RULE_CHANGE_KIND__RULE_CHANGE_KIND_REMOVED, from->items[i].source.name, false);
        add_json(diff, "delete", json_string(uuid_format(&from->items[i].source.id, id)));
    }
}

static const struct rule_named_set *find_set(const struct rule_state *state, const char *name)
{
    for (size_t i = 0; i < state->set_count; i++) {
        if (strcmp(state->sets[i].name, name) == 0)
            return &state->sets[i];
    }
    return NULL;
}

static bool is_same_set(const struct rule_named_set *left, const struct rule_named_set *right)
{
    for (size_t i = 0; i < left->count && i < right->count; i++) {
        if (strcmp(left->values[i], right->values[i]) != 0)
            return false;
    }
    return left->count == right->count;
}

static void diff_sets(struct diff *diff, const struct rule_state *from, const struct rule_state *to)
{
    for (size_t i = 0; i < to->set_count; i++) {
        const struct rule_named_set *set = &to->sets[i];
        const struct rule_named_set *before = find_set(from, set->name);
        json_t *values = NULL;
        if (before != NULL && is_same_set(before, set))
            continue;
        values = json_array();
        for (size_t k = 0; k < set->count; k++)
            json_array_append_new(values, json_string(set->values[k]));
        add_change(diff,
            before == NULL ? LEADROUTER__V1__RULE_CHANGE_KIND__RULE_CHANGE_KIND_ADDED
                           : LEADROUTER__V1__RULE_CHANGE_KIND__RULE_CHANGE_KIND_CHANGED,
            set->name, true);
        add_json(diff, "put_sets", json_pack("{ss, so}", "name", set->name, "values", values));
    }
    for (size_t i = 0; i < from->set_count; i++) {
        if (find_set(to, from->sets[i].name) != NULL)
            continue;
        add_change(diff, LEADROUTER__V1__RULE_CHANGE_KIND__RULE_CHANGE_KIND_REMOVED, from->sets[i].name, true);
        add_json(diff, "delete_sets", json_string(from->sets[i].name));
    }
}

void rule_state_diff(const struct rule_state *from, struct rule_state *to, struct arena *arena,
    struct rule_state_change **ret_changes, size_t *ret_count, const char **ret_json)
{
    size_t room = from->item_count + to->item_count + from->set_count + to->set_count;
    struct diff diff = {.arena = arena, .json = json_object()};
    char *text = NULL;

    diff.changes = arena_alloc_array(arena, room, sizeof(*diff.changes));
    diff_items(&diff, from, to);
    diff_sets(&diff, from, to);
    text = json_dumps(diff.json, JSON_COMPACT);
    *ret_json = arena_copy_string(arena, text);
    *ret_changes = diff.changes;
    *ret_count = diff.count;
    free(text);
    json_decref(diff.json);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

bool rule_state_write(const struct service_call *call, struct arena *arena, const struct uuid *workspace_id,
    int64_t version, const struct rule_state_author *author, const char *changes_json, int64_t deadline_ns,
    int64_t *ret_version, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "change_rules",
        .sql = "select leadrouter.change_rules($1, $2, $3, $4, $5::jsonb, nullif($6, 0))",
        .param_count = 6,
        .param_types = {PG_UUID, PG_INT8, PG_UUID, PG_TEXT, PG_TEXT, PG_INT4},
    };
    static const struct {
        const char *sqlstate;
        enum error_code code;
    } refusals[] = {{"LR404", ERROR_NOT_FOUND}, {"LR412", ERROR_BUSY}, {"LR422", ERROR_INVALID}};
    struct pg_params params;
    struct pg_result *rows = NULL;
    struct error error = {0};

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, workspace_id);
    pg_params_add_int8(&params, version);
    pg_params_add_uuid(&params, uuid_is_nil(&author->user_id) ? NULL : &author->user_id);
    pg_params_add_text(&params, author->note);
    pg_params_add_text(&params, changes_json);
    pg_params_add_int4(&params, call->service->rules_max);
    if (!service_query(call, &statement, &params, deadline_ns, &rows, &error)) {
        for (size_t i = 0; i < COUNT_OF(refusals); i++) {
            if (strcmp(error.sqlstate, refusals[i].sqlstate) == 0)
                error.code = refusals[i].code;
        }
        service_find_limit(&error);
        if (reterr_error != NULL)
            *reterr_error = error;
        return false;
    }
    *ret_version = pg_result_int8(rows, 0, 0);
    pg_result_free(rows);
    return true;
}
