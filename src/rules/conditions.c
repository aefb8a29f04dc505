#include "rules/conditions.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "rules/json_object.h"
#include "rules/rules.h"

enum { PATH_SIZE_MAX = 256 };

enum list_kind {
    LIST_VALUES, /* texts, compared with one field of the lead */
    LIST_STATES,
    LIST_REGIONS,
};

/* The lists of the simple form. */
struct list {
    const char *key;
    enum list_kind kind;
    enum rule_field field; /* of LIST_VALUES */
};
static const struct list lists[] = {
    {"industries", LIST_VALUES, RULE_FIELD_INDUSTRY},
    {"company_sizes", LIST_VALUES, RULE_FIELD_SIZE},
    {"revenue_ranges", LIST_VALUES, RULE_FIELD_REVENUE},
    {"countries", LIST_VALUES, RULE_FIELD_COUNTRY},
    {"us_states", LIST_STATES, RULE_FIELD_COUNT},
    {"regions", LIST_REGIONS, RULE_FIELD_COUNT},
};

static const struct list *find_list(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (strcmp(lists[i].key, key) == 0) {
            return &lists[i];
        }
    }
    return NULL;
}

bool rule_value_make(
    enum rule_field field, const char *text, size_t size, char *ret_text, size_t capacity, size_t *ret_size)
{
    size_t folded_size = 0;
    if (!text_normalize(text, size, TEXT_FOLD, ret_text, capacity, &folded_size) || folded_size == 0) {
        return false;
    }
    const char *code = field == RULE_FIELD_COUNTRY ? place_country_code(ret_text) : NULL;
    if (code != NULL) {
        folded_size = strlen(code);
        assert(folded_size < capacity);
        memcpy(ret_text, code, folded_size + 1);
    }
    *ret_size = folded_size;
    return true;
}

/* A text in quotes, escaped, for an error. */
static const char *quote(struct buffer *buffer, const char *text)
{
    buffer_clear(buffer);
    if (!buffer_append_json_string(buffer, text, strlen(text))) {
        return "(a long text)";
    }
    return buffer_text(buffer);
}

static bool unknown_key(const char *key, struct error *reterr_error)
{
    struct buffer quoted = {0};
    buffer_init(&quoted, PATH_SIZE_MAX);
    (void)error_set(reterr_error, ERROR_INVALID, "$[%s]: unknown condition", quote(&quoted, key));
    buffer_release(&quoted);
    return false;
}

/* What is read into, and the list at hand. */
struct reader {
    struct arena *arena;
    struct rule_conditions conditions;
    size_t value_count; /* in all lists so far */
    const struct list *list;
    place_states states; /* that the list at hand names */
};

static bool unknown_place(const struct reader *reader, size_t index, const char *text, struct error *reterr_error)
{
    struct buffer quoted = {0};
    buffer_init(&quoted, PATH_SIZE_MAX);
    (void)error_set(reterr_error, ERROR_INVALID, "$.%s[%zu]: unknown %s %s", reader->list->key, index,
        reader->list->kind == LIST_STATES ? "state" : "region", quote(&quoted, text));
    buffer_release(&quoted);
    return false;
}

static bool read_value(struct reader *reader, size_t index, const json_t *value, struct error *reterr_error)
{
    const struct list *list = reader->list;
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    char made[RULE_VALUE_CAPACITY(RULE_VALUE_SIZE_MAX)];
    size_t made_size = 0;

    if (text == NULL) {
        return error_set(reterr_error, ERROR_INVALID, "$.%s[%zu]: must be a text", list->key, index);
    }
    if (size > RULE_VALUE_SIZE_MAX) {
        return error_set(
            reterr_error, ERROR_INVALID, "$.%s[%zu]: longer than %d bytes", list->key, index, RULE_VALUE_SIZE_MAX);
    }
    if (!rule_value_make(list->field, text, size, made, sizeof(made), &made_size)) {
        return error_set(reterr_error, ERROR_INVALID, "$.%s[%zu]: must not be blank", list->key, index);
    }
    if (list->kind == LIST_VALUES) {
        struct rule_conditions *conditions = &reader->conditions;
        size_t count = conditions->value_counts[list->field]++;
        conditions->values[list->field][count] =
            (struct rule_value){arena_copy(reader->arena, made, made_size), made_size};
        return true;
    }
    place_states found = list->kind == LIST_STATES ? place_state(made) : place_region(made);
    reader->states |= found;
    return found != 0 || unknown_place(reader, index, text, reterr_error);
}

static bool read_list(struct reader *reader, const struct list *list, const json_t *array, struct error *reterr_error)
{
    struct rule_conditions *conditions = &reader->conditions;
    size_t count = json_array_size(array);
    if (!json_is_array(array)) {
        return error_set(reterr_error, ERROR_INVALID, "$.%s: must be a list of texts", list->key);
    }
    reader->list = list;
    reader->states = 0;
    reader->value_count += count;
    if (reader->value_count > RULE_VALUES_MAX) {
        return error_set(
            reterr_error, ERROR_INVALID, "$.%s: more than %d values in one rule", list->key, RULE_VALUES_MAX);
    }
    if (list->kind == LIST_VALUES && count > 0) {
        conditions->values[list->field] = arena_alloc_array(reader->arena, count, sizeof(struct rule_value));
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_value(reader, i, json_array_get(array, i), reterr_error)) {
            return false;
        }
    }
    if (list->kind != LIST_VALUES && count > 0) {
        conditions->states = conditions->restricts_states ? conditions->states & reader->states : reader->states;
        conditions->restricts_states = true;
    }
    return true;
}

bool rule_conditions_parse(
    const char *json, struct arena *arena, struct rule_conditions *ret_conditions, struct error *reterr_error)
{
    struct reader reader = {.arena = arena};
    const char *key = NULL;
    json_t *value = NULL;
    bool ok = false;

    json_t *root = json_object_read(json, RULE_CONDITIONS_SIZE_MAX, reterr_error);
    if (root == NULL) {
        goto cleanup;
    }
    json_object_foreach(root, key, value)
    {
        const struct list *list = find_list(key);
        ok = list == NULL ? unknown_key(key, reterr_error) : read_list(&reader, list, value, reterr_error);
        if (!ok) {
            goto cleanup;
        }
    }
    *ret_conditions = reader.conditions;
    ok = true;
cleanup:
    json_decref(root);
    return ok;
}

bool rule_conditions_check(const char *conditions_json, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct rule_conditions conditions;
    bool ok = rule_conditions_parse(conditions_json, arena, &conditions, reterr_error);
    arena_free(arena);
    return ok;
}
