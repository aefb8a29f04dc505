/* Rows to leads by a compiled mapping. */
#include "ingest/mapping.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "ingest/json_path.h"
#include "ingest/mapping_apply.h"
#include "ingest/mapping_internal.h"

enum { COLUMN_LIST_SIZE = 300 };

static const char original_key[] = "original";

enum ingest_format ingest_mapping_format(const struct ingest_mapping *mapping)
{
    return mapping->format;
}

const char *const *ingest_mapping_unwrap(const struct ingest_mapping *mapping)
{
    return mapping->unwrap;
}

bool ingest_mapping_builtin(const char *name, struct ingest_mapping **ret_mapping, struct error *reterr_error)
{
    char known[COLUMN_LIST_SIZE] = "";

    for (size_t i = 0; i < ingest_builtin_count; i++) {
        size_t used = strlen(known);
        if (ingest_name_is_like(name, ingest_builtins[i].name, strlen(ingest_builtins[i].name)))
            return ingest_mapping_parse(
                ingest_builtins[i].text, strlen(ingest_builtins[i].text), name, ret_mapping, reterr_error);
        (void)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", ingest_builtins[i].name);
    }
    return error_set(reterr_error, ERROR_NOT_FOUND, "no mapping \"%.60s\" is built in; there are %s", name, known);
}

/* --- Binding --------------------------------------------------------------------------------------------------------- */

static bool find_column(
    struct ingest_binding *binding, const struct ingest_source *source, size_t ref, struct error *reterr_error)
{
    const char *name = binding->mapping->refs[ref];
    int like = MAPPING_NO_REF;

    binding->columns[ref] = MAPPING_NO_REF;
    for (size_t i = 0; i < source->column_count; i++)
        if (strcmp(source->columns[i], name) == 0) {
            binding->columns[ref] = (int)i;
            return true;
        }
    for (size_t i = 0; i < source->column_count; i++) {
        if (!ingest_name_is_like(source->columns[i], name, strlen(name)))
            continue;
        if (like != MAPPING_NO_REF)
            return error_set(reterr_error, ERROR_INVALID, "\"%.60s\" fits two columns, \"%.60s\" and \"%.60s\"", name,
                source->columns[like], source->columns[i]);
        like = (int)i;
    }
    binding->columns[ref] = like;
    return true;
}

/* The first column that a spec names; `*ret_is_there` when the file has one of them, or none is named. */
static const char *first_name(const struct ingest_binding *binding, const struct mapping_spec *spec, bool *ret_is_there)
{
    const char *first = NULL;

    if (spec->ref != MAPPING_NO_REF) {
        *ret_is_there = *ret_is_there || binding->columns[spec->ref] != MAPPING_NO_REF;
        return binding->mapping->refs[spec->ref];
    }
    *ret_is_there = *ret_is_there || spec->constant != NULL;
    for (size_t i = 0; i < spec->from_count; i++) {
        const char *name = first_name(binding, spec->from[i], ret_is_there);
        first = first == NULL ? name : first;
    }
    return first;
}

static bool check_columns(const struct ingest_binding *binding, const struct mapping_spec *spec, const char *what,
    const struct ingest_source *source, struct error *reterr_error)
{
    struct buffer known = {0};
    bool is_there = false;
    const char *name = spec == NULL ? NULL : first_name(binding, spec, &is_there);

    if (spec == NULL || is_there)
        return true;
    buffer_init(&known, COLUMN_LIST_SIZE);
    for (size_t i = 0; i < source->column_count; i++)
        if (!buffer_append_format(&known, "%s%s", i == 0 ? "" : ", ", source->columns[i]))
            break;
    (void)error_set(reterr_error, ERROR_NOT_FOUND, "%s: the file has no column \"%.60s\"%s; it has %s%s", what, name,
        spec->from_count > 1 ? " nor one of the others" : "", buffer_text(&known), known.overflowed ? " and more" : "");
    buffer_release(&known);
    return false;
}

static bool bind_columns(struct ingest_binding *binding, const struct ingest_source *source, struct error *reterr_error)
{
    const struct ingest_mapping *mapping = binding->mapping;

    for (size_t i = 0; i < mapping->ref_count; i++)
        if (!find_column(binding, source, i, reterr_error))
            return false;
    if (mapping->has_optional_columns)
        return true;
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        if (!check_columns(binding, mapping->fields[i], ingest_field_name(i), source, reterr_error))
            return false;
    for (size_t i = 0; i < mapping->attribute_count; i++)
        if (!check_columns(binding, mapping->attributes[i].spec, mapping->attributes[i].name, source, reterr_error))
            return false;
    return true;
}

bool ingest_binding_new(const struct ingest_mapping *mapping, const struct ingest_source *source,
    struct ingest_binding **ret_binding, struct error *reterr_error)
{
    struct ingest_binding *binding = memory_new(sizeof(*binding));

    binding->mapping = mapping;
    binding->column_count = source->column_count;
    binding->columns = memory_new_array(mapping->ref_count + 1, sizeof(*binding->columns));
    if (source->format == INGEST_FORMAT_CSV && !bind_columns(binding, source, reterr_error)) {
        ingest_binding_free(binding);
        return false;
    }
    *ret_binding = binding;
    return true;
}

void ingest_binding_free(struct ingest_binding *binding)
{
    if (binding == NULL)
        return;
    free(binding->columns);
    free(binding);
}

/* --- Fields ---------------------------------------------------------------------------------------------------------- */

static bool reject(struct application *app, const char *field, const char *reason)
{
    app->rejection->field = field;
    (void)snprintf(app->rejection->reason, sizeof(app->rejection->reason), "%s", reason);
    return false;
}

static bool reject_length(struct application *app, const char *field, int size_max)
{
    char reason[INGEST_REASON_SIZE];

    (void)snprintf(reason, sizeof(reason), "longer than %d bytes", size_max);
    return reject(app, field, reason);
}

static bool handle_invalid(struct application *app, enum ingest_field field, enum mapping_invalid policy,
    const char *trimmed, const char **ret_text)
{
    if (policy == MAPPING_INVALID_BY_FIELD)
        policy = field == INGEST_FIELD_PHONE ? MAPPING_INVALID_DROP : MAPPING_INVALID_REJECT;
    *ret_text = policy == MAPPING_INVALID_KEEP ? trimmed : "";
    if (policy != MAPPING_INVALID_REJECT)
        return true;
    return reject(app, ingest_field_name(field),
        field == INGEST_FIELD_EMAIL   ? "is not an e-mail address"
        : field == INGEST_FIELD_PHONE ? "is not a phone number"
                                      : "is not valid UTF-8");
}

/* What came, if more of it was changed than its white space. */
static void keep_original(struct application *app, enum ingest_field field, const char *original, const char *text)
{
    size_t capacity = 0;
    char *trimmed = NULL;
    size_t ignored = 0;

    if (original == NULL || text_is_blank(original))
        return;
    if (strlen(original) > INGEST_TEXT_SIZE_MAX) {
        app->originals[field] = original;
        return;
    }
    capacity = TEXT_CAPACITY(strlen(original));
    trimmed = arena_alloc(app->arena, capacity);
    if (!text_normalize(original, strlen(original), TEXT_EXACT, trimmed, capacity, &ignored) ||
        strcmp(trimmed, text) != 0)
        app->originals[field] = original;
}

static bool apply_field(struct application *app, enum ingest_field field, struct ingest_lead *lead)
{
    const struct mapping_spec *spec = app->binding->mapping->fields[field];
    struct mapping_found found = {0};
    const char *text = "";

    lead->fields[field] = "";
    if (spec == NULL)
        return true;
    app->wants_text = true;
    if (!mapping_find(app, spec, &found))
        return reject(app, ingest_field_name(field), "has a value that the mapping does not know");
    if (found.text == NULL || found.text[0] == '\0')
        found = (struct mapping_found){.text = spec->fallback != NULL ? spec->fallback : ""};
    if (strlen(found.text) > INGEST_TEXT_SIZE_MAX)
        return reject_length(app, ingest_field_name(field), INGEST_FIELD_SIZE_MAX);
    if (!ingest_normalize(field, found.text, lead->fields[INGEST_FIELD_COUNTRY], lead->fields[INGEST_FIELD_STATE],
            app->arena, &text) &&
        !handle_invalid(app, field, spec->invalid, text, &text))
        return false;
    if (strlen(text) > INGEST_FIELD_SIZE_MAX)
        return reject_length(app, ingest_field_name(field), INGEST_FIELD_SIZE_MAX);
    keep_original(app, field, found.original, text);
    lead->fields[field] = text;
    return true;
}

static bool apply_fields(struct application *app, struct ingest_lead *lead)
{
    /* Postal codes depend on the state and both on the country. */
    static const enum ingest_field first[] = {INGEST_FIELD_COUNTRY, INGEST_FIELD_STATE};

    lead->fields[INGEST_FIELD_COUNTRY] = "";
    lead->fields[INGEST_FIELD_STATE] = "";
    for (size_t i = 0; i < COUNT_OF(first); i++)
        if (!apply_field(app, first[i], lead))
            return false;
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        if (i != INGEST_FIELD_COUNTRY && i != INGEST_FIELD_STATE && !apply_field(app, i, lead))
            return false;
    return true;
}

static bool check_required(struct application *app, const struct ingest_lead *lead)
{
    const struct ingest_mapping *mapping = app->binding->mapping;

    for (size_t i = 0; i < mapping->required_count; i++) {
        const struct mapping_required *required = &mapping->required[i];
        char reason[INGEST_REASON_SIZE] = "";
        enum ingest_field first = INGEST_FIELD_COUNT;
        bool is_there = false;
        for (size_t k = 0; k < required->count; k++) {
            enum ingest_field field = INGEST_FIELD_COUNT;
            bool ok = ingest_field_find(required->names[k], strlen(required->names[k]), &field);
            assert(ok);
            first = k == 0 ? field : first;
            is_there = is_there || lead->fields[field][0] != '\0';
            size_t used = strlen(reason);
            (void)snprintf(reason + used, sizeof(reason) - used, "%s%s", k == 0 ? "" : ", ", required->names[k]);
        }
        if (is_there)
            continue;
        if (required->count == 1)
            return reject(app, ingest_field_name(first), "is missing");
        char sentence[INGEST_REASON_SIZE];
        (void)snprintf(sentence, sizeof(sentence), "one of these must be there: %.200s", reason);
        return reject(app, ingest_field_name(first), sentence);
    }
    return true;
}

/* --- Attributes ------------------------------------------------------------------------------------------------------ */

static bool apply_attribute(struct application *app, const struct mapping_attribute *attribute, struct buffer *json)
{
    struct mapping_found found = {0};

    app->wants_text = false;
    if (!mapping_find(app, attribute->spec, &found))
        return reject(app, attribute->name, "has a value that the mapping does not know");
    if (found.json == NULL && (found.text == NULL || found.text[0] == '\0'))
        found = (struct mapping_found){.text = attribute->spec->fallback};
    if (found.json == NULL && found.text == NULL)
        return true;
    mapping_add_key(json, attribute->name);
    mapping_write_value(&found, attribute->spec->type, json);
    return true;
}

static void add_originals(const struct application *app, struct buffer *json)
{
    bool has_any = false;

    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++) {
        if (app->originals[i] == NULL)
            continue;
        if (!has_any) {
            mapping_add_key(json, original_key);
            buffer_append_string(json, "{");
        }
        has_any = true;
        mapping_add_key(json, ingest_field_name(i));
        buffer_append_json_string(json, app->originals[i], strlen(app->originals[i]));
    }
    if (has_any)
        buffer_append_string(json, "}");
}

static bool apply_attributes(struct application *app, struct ingest_lead *lead)
{
    const struct ingest_mapping *mapping = app->binding->mapping;
    struct buffer json = {0};
    bool ok = true;

    buffer_init(&json, INGEST_ATTRIBUTES_SIZE_MAX);
    buffer_append_string(&json, "{");
    for (size_t i = 0; ok && i < mapping->attribute_count; i++)
        ok = apply_attribute(app, &mapping->attributes[i], &json);
    if (ok && mapping->keeps_rest)
        mapping_write_rest(app, &json);
    if (ok)
        add_originals(app, &json);
    buffer_append_string(&json, "}");
    if (ok && json.overflowed)
        ok = reject_length(app, "attributes", INGEST_ATTRIBUTES_SIZE_MAX);
    if (ok)
        lead->attributes_json = json.size > 2 ? arena_copy(app->arena, (const char *)json.data, json.size) : "";
    buffer_release(&json);
    return ok;
}

bool ingest_binding_apply(const struct ingest_binding *binding, const struct ingest_row *row, struct arena *arena,
    struct ingest_lead *ret_lead, struct ingest_rejection *ret_rejection)
{
    struct application app = {.binding = binding, .row = row, .arena = arena, .rejection = ret_rejection};
    struct ingest_lead lead = {.attributes_json = ""};

    if (row->is_rejected) {
        *ret_rejection = row->rejection;
        return false;
    }
    app.used = arena_alloc_array(arena, binding->mapping->ref_count + 1, sizeof(*app.used));
    if (!apply_fields(&app, &lead) || !check_required(&app, &lead) || !apply_attributes(&app, &lead))
        return false;
    *ret_lead = lead;
    return true;
}
