#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/phone.h"
#include "base/text.h"
#include "ingest/json_path.h"
#include "ingest/json_value.h"
#include "ingest/mapping_apply.h"
#include "rules/values.h"

enum { PICKED_MAX = 1000, PIECES_MAX = 100, PHONE_DIGITS_MIN = 7 };

/* --- Texts ----------------------------------------------------------------------------------------------------------- */

/* For comparing; "" when it is too long for that. */
static const char *folded(struct application *app, const char *text)
{
    if (strlen(text) > INGEST_TEXT_SIZE_MAX)
        return "";
    size_t capacity = TEXT_CAPACITY(strlen(text));
    char *result = arena_alloc(app->arena, capacity);
    size_t ignored = 0;

    return text_normalize(text, strlen(text), TEXT_FOLD, result, capacity, &ignored) ? result : "";
}

static int compare_text(const void *folded_text, const void *item)
{
    return strcmp(folded_text, *(const char *const *)item);
}

static bool is_one_of(const struct mapping_texts *texts, const char *folded_text)
{
    return texts->count > 0 &&
           bsearch(folded_text, texts->items, texts->count, sizeof(*texts->items), compare_text) != NULL;
}

static bool is_blank(struct application *app, const struct mapping_spec *spec, const char *text)
{
    const struct mapping_texts *common = &app->binding->mapping->blanks;

    if (text_is_blank(text))
        return true;
    if ((common->count == 0 && spec->blanks.count == 0) || strlen(text) > INGEST_TEXT_SIZE_MAX)
        return false;
    const char *plain = folded(app, text);
    return is_one_of(common, plain) || is_one_of(&spec->blanks, plain);
}

static bool is_true(const char *folded_text)
{
    static const char *const words[] = {"true", "yes", "y", "1", "t", "x", "on"};

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(words[i], folded_text) == 0)
            return true;
    return false;
}

static bool is_false(const char *folded_text)
{
    static const char *const words[] = {"false", "no", "n", "0", "f", "off"};

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(words[i], folded_text) == 0)
            return true;
    return false;
}

/* The text of a JSON scalar; NULL for others. */
static const char *scalar_text(struct application *app, const json_t *value)
{
    char scratch[JSON_NUMBER_SIZE];
    const char *number = json_value_number(value, scratch);

    if (number != NULL)
        return arena_copy_string(app->arena, number);
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    return json_string_value(value);
}

/* --- Raw values ------------------------------------------------------------------------------------------------------- */

/* A value as it came: JSON, or the text of a cell. */
struct raw {
    json_t *json;
    const char *text;
    const char *path; /* where it was */
};

/* What a path leads to in one of several objects; NULL: nothing. `*ret_place` is which. */
static json_t *find_in(json_t *value, const char *const *places, size_t count, const char *path, size_t *ret_place)
{
    json_t *found = NULL;

    for (size_t i = 0; found == NULL && i < count; i++) {
        json_t *place = json_path_find(value, places[i]);
        found = place == NULL ? NULL : json_path_find(place, path);
        *ret_place = i;
    }
    return found;
}

static struct raw find_raw(struct application *app, int ref)
{
    const struct ingest_mapping *mapping = app->binding->mapping;
    const char *path = mapping->refs[ref];
    struct raw raw = {.path = path};
    size_t place = 0;

    if (app->row->object == NULL) {
        int column = app->binding->columns[ref];
        if (column != MAPPING_NO_REF && (size_t)column < app->row->cell_count)
            raw.text = app->row->cells[column].text;
        return raw;
    }
    raw.json = json_path_find(app->row->object, path);
    if (raw.json != NULL)
        return raw;
    raw.json = find_in(app->row->object, mapping->within, mapping->within_count, path, &place);
    if (raw.json != NULL)
        raw.path = arena_format(app->arena, "%s.%s", mapping->within[place], path);
    else if (app->row->record != app->row->object)
        raw.json = find_in(app->row->record, mapping->beside, mapping->beside_count, path, &place);
    return raw;
}

/* --- Picking ---------------------------------------------------------------------------------------------------------- */

static bool passes(struct application *app, const struct mapping_test *test, json_t *element)
{
    const json_t *value = json_path_find(element, test->path);
    const char *text = value == NULL ? NULL : scalar_text(app, value);

    return text != NULL && is_one_of(&test->values, folded(app, text));
}

static bool is_wanted(struct application *app, const struct mapping_pick *pick, json_t *element)
{
    for (size_t i = 0; i < pick->where_count; i++)
        if (!passes(app, &pick->where[i], element))
            return false;
    for (size_t i = 0; i < pick->where_not_count; i++)
        if (passes(app, &pick->where_not[i], element))
            return false;
    return true;
}

/* Whether `left` comes before `right`; one without the number comes last. */
static bool is_better(struct application *app, const struct mapping_pick *pick, json_t *left, json_t *right)
{
    for (size_t i = 0; i < pick->order_count; i++) {
        bool is_falling = pick->order[i][0] == '-';
        double numbers[2] = {0};
        bool has[2] = {false};
        json_t *const elements[2] = {left, right};
        for (size_t k = 0; k < COUNT_OF(elements); k++) {
            const json_t *value = json_path_find(elements[k], pick->order[i] + is_falling);
            const char *text = value == NULL ? NULL : scalar_text(app, value);
            has[k] = text != NULL && rule_number_parse(text, strlen(text), &numbers[k]);
        }
        if (has[0] != has[1])
            return has[0];
        if (has[0] && numbers[0] != numbers[1])
            return (numbers[0] < numbers[1]) != is_falling;
    }
    return false;
}

/* The best element that has what is to be taken. */
static json_t *pick_from(struct application *app, const struct mapping_spec *spec, json_t *list)
{
    const struct mapping_pick *pick = spec->pick;
    size_t count = json_is_array(list) ? json_array_size(list) : 1;
    json_t *best = NULL;
    json_t *taken = NULL;

    for (size_t i = 0; i < count && i < PICKED_MAX; i++) {
        json_t *element = json_is_array(list) ? json_array_get(list, i) : list;
        json_t *value = pick->take == NULL ? element : json_path_find(element, pick->take);
        const char *text = value == NULL ? NULL : scalar_text(app, value);
        if (text == NULL || is_blank(app, spec, text) || !is_wanted(app, pick, element))
            continue;
        if (best == NULL || is_better(app, pick, element, best)) {
            best = element;
            taken = value;
        }
    }
    return taken;
}

/* A member of an object that is a place, or the first scalar of a list. */
static json_t *narrow(struct application *app, const struct mapping_spec *spec, json_t *value)
{
    static const char *const postal[] = {"postal_code", "zip", "zip_code", "postcode"};

    if (json_is_object(value) && spec->part == INGEST_PART_POSTAL_CODE) {
        json_t *found = NULL;
        for (size_t i = 0; found == NULL && i < COUNT_OF(postal); i++)
            found = json_path_find(value, postal[i]);
        return found;
    }
    if (json_is_object(value) && spec->part != INGEST_PART_NONE)
        return json_path_find(value, ingest_part_name(spec->part));
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
        const char *text = scalar_text(app, json_array_get(value, i));
        if (text != NULL && !is_blank(app, spec, text))
            return json_array_get(value, i);
    }
    return value;
}

/* --- Lists in a text, and do-not-call flags --------------------------------------------------------------------------- */

static const char *trimmed(struct application *app, const char *text, size_t size)
{
    char *copy = arena_copy(app->arena, text, size);
    if (size > INGEST_TEXT_SIZE_MAX)
        return copy;
    char *result = arena_alloc(app->arena, TEXT_CAPACITY(size));
    size_t ignored = 0;

    return text_normalize(copy, size, TEXT_EXACT, result, TEXT_CAPACITY(size), &ignored) ? result : copy;
}

/* The next piece of a list, NULL at the end. */
static const char *next_piece(struct application *app, const char **list, const char *separator)
{
    const char *begin = *list;
    const char *end = begin == NULL ? NULL : strstr(begin, separator);

    if (begin == NULL)
        return NULL;
    *list = end == NULL ? NULL : end + strlen(separator);
    return trimmed(app, begin, end == NULL ? strlen(begin) : (size_t)(end - begin));
}

static bool is_same_phone(struct application *app, const char *left, const char *right)
{
    char *a = arena_alloc(app->arena, PHONE_CAPACITY(strlen(left)));
    char *b = arena_alloc(app->arena, PHONE_CAPACITY(strlen(right)));

    return phone_digits(left, strlen(left), a, PHONE_CAPACITY(strlen(left))) >= PHONE_DIGITS_MIN &&
           phone_digits(right, strlen(right), b, PHONE_CAPACITY(strlen(right))) > 0 && strcmp(a, b) == 0;
}

/* Whether the flags say so of the piece with this number: one flag for all, a list of flags side by side with the list, or a list of the
 * numbers that are not to be called. */
static bool is_flagged(struct application *app, const struct mapping_spec *spec, size_t number, const char *piece)
{
    const char *separator = spec->split != NULL ? spec->split : ",";
    const char *flags = NULL;
    const char *only = NULL;
    size_t count = 0;

    if (spec->unless == MAPPING_NO_REF)
        return false;
    struct raw raw = find_raw(app, spec->unless);
    flags = raw.json != NULL ? scalar_text(app, raw.json) : raw.text;
    for (const char *flag = next_piece(app, &flags, separator); flag != NULL && count < PIECES_MAX;
         flag = next_piece(app, &flags, separator)) {
        const char *plain = folded(app, flag);
        if ((count == number && is_true(plain)) || is_same_phone(app, flag, piece))
            return true;
        only = plain;
        count++;
    }
    return count == 1 && is_true(only);
}

static const char *take_piece(struct application *app, const struct mapping_spec *spec, const char *text)
{
    const char *result = "";
    const char *list = text;
    size_t number = 0;

    if (spec->split == NULL)
        return is_flagged(app, spec, 0, text) ? "" : text;
    for (const char *piece = next_piece(app, &list, spec->split); piece != NULL && number < PIECES_MAX;
         piece = next_piece(app, &list, spec->split)) {
        if (!is_blank(app, spec, piece) && !is_flagged(app, spec, number, piece)) {
            result = piece;
            if (!spec->takes_last)
                return result;
        }
        number++;
    }
    return result;
}

/* --- Finding ---------------------------------------------------------------------------------------------------------- */

static int compare_value(const void *folded_text, const void *value)
{
    return strcmp(folded_text, ((const struct mapping_value *)value)->from);
}

static bool map_value(struct application *app, const struct mapping_spec *spec, const char **text)
{
    const struct mapping_value *value =
        bsearch(folded(app, *text), spec->values, spec->value_count, sizeof(*spec->values), compare_value);

    if (value != NULL)
        *text = value->to;
    else if (spec->otherwise == MAPPING_OTHERWISE_DROP)
        *text = "";
    return value != NULL || spec->otherwise != MAPPING_OTHERWISE_REJECT;
}

static bool has_change(const struct mapping_spec *spec)
{
    return spec->pick != NULL || spec->split != NULL || spec->part != INGEST_PART_NONE ||
           spec->unless != MAPPING_NO_REF;
}

/* What a spec does to one value: text `*found` or JSON. */
static bool change(struct application *app, const struct mapping_spec *spec, struct mapping_found *found)
{
    if (found->json != NULL && spec->pick != NULL)
        found->json = pick_from(app, spec, found->json);
    bool is_member = json_is_object(found->json) && spec->part != INGEST_PART_NONE;
    if (found->json != NULL &&
        (app->wants_text || has_change(spec) || spec->values != NULL || spec->type != MAPPING_TYPE_AS_IT_CAME))
        found->json = narrow(app, spec, found->json);
    if (found->json != NULL)
        found->text = scalar_text(app, found->json);
    if (found->text == NULL)
        return true;
    if (found->original == NULL)
        found->original = found->text;
    if (is_blank(app, spec, found->text)) {
        *found = (struct mapping_found){.text = ""};
        return true;
    }
    if (has_change(spec)) {
        found->text = take_piece(app, spec, found->text);
        if (spec->part != INGEST_PART_NONE && !is_member)
            found->text = ingest_part_of(spec->part, found->text, app->arena);
        if (spec->part != INGEST_PART_NONE)
            found->original = found->text;
        found->json = NULL;
    }
    if (spec->values != NULL && found->text[0] != '\0') {
        found->json = NULL;
        return map_value(app, spec, &found->text);
    }
    return true;
}

static bool is_nothing(const struct application *app, const struct mapping_found *found)
{
    bool has_json = (json_is_object(found->json) && json_object_size(found->json) > 0) ||
                    (json_is_array(found->json) && json_array_size(found->json) > 0);

    return (app->wants_text || !has_json) && (found->text == NULL || found->text[0] == '\0');
}

/* Keys as they are compared: without case and fillers. */
static const char *plain_path(struct application *app, const char *path)
{
    char *plain = arena_copy_string(app->arena, path);
    size_t size = 0;

    for (const char *c = path; *c != '\0'; c++)
        if (*c != ' ' && *c != '-' && *c != '_')
            plain[size++] = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    plain[size] = '\0';
    return plain;
}

bool mapping_find(struct application *app, const struct mapping_spec *spec, struct mapping_found *ret_found)
{
    *ret_found = (struct mapping_found){.text = spec->constant};
    if (spec->constant != NULL)
        return true;
    for (size_t i = 0; i < spec->from_count; i++) {
        const struct mapping_spec *from = spec->from[i];
        struct mapping_found found = {0};
        struct raw raw = {0};
        if (from->ref != MAPPING_NO_REF) {
            raw = find_raw(app, from->ref);
            found = (struct mapping_found){.json = raw.json, .text = raw.text};
        } else if (!mapping_find(app, from, &found)) {
            return false;
        }
        if (!change(app, spec, &found))
            return false;
        if (is_nothing(app, &found))
            continue;
        if (from->ref != MAPPING_NO_REF && !has_change(spec))
            app->used[from->ref] = plain_path(app, raw.path);
        *ret_found = found;
        return true;
    }
    return true;
}

/* --- Writing ---------------------------------------------------------------------------------------------------------- */

void mapping_write_value(const struct mapping_found *found, enum mapping_type type, struct buffer *json)
{
    const char *text = found->text == NULL ? "" : found->text;
    char plain[TEXT_CAPACITY(16)];
    size_t size = 0;
    double ignored = 0;

    if (type == MAPPING_TYPE_AS_IT_CAME && found->json != NULL) {
        json_value_write(json, found->json);
        return;
    }
    if (type == MAPPING_TYPE_BOOLEAN && strlen(text) <= 16 &&
        text_normalize(text, strlen(text), TEXT_FOLD, plain, sizeof(plain), &size) &&
        (is_true(plain) || is_false(plain))) {
        buffer_append_string(json, is_true(plain) ? "true" : "false");
        return;
    }
    struct ingest_rejection rejection;
    json_t *number = type == MAPPING_TYPE_NUMBER && rule_number_parse(text, strlen(text), &ignored)
                         ? json_value_read(text, strlen(text), &rejection)
                         : NULL;
    char scratch[JSON_NUMBER_SIZE];
    if (number != NULL && json_value_number(number, scratch) != NULL)
        json_value_write(json, number);
    else
        buffer_append_json_string(json, text, strlen(text));
    json_decref(number);
}

void mapping_add_key(struct buffer *json, const char *key)
{
    if (json->size > 0 && json->data[json->size - 1] != '{')
        buffer_append_string(json, ",");
    buffer_append_json_string(json, key, strlen(key));
    buffer_append_string(json, ":");
}

/* Takes back what was appended since. */
static void cut(struct buffer *json, size_t size)
{
    json->size = size;
    json->data[size] = '\0';
}

static bool is_attribute(const struct application *app, const char *key)
{
    const struct ingest_mapping *mapping = app->binding->mapping;

    for (size_t i = 0; i < mapping->attribute_count; i++)
        if (strcmp(mapping->attributes[i].name, key) == 0)
            return true;
    return strcmp(key, "original") == 0;
}

static bool is_in_row(const struct application *app, const char *key)
{
    for (size_t i = 0; app->row->object == NULL && i < app->row->cell_count; i++)
        if (strcmp(app->row->columns[i], key) == 0)
            return true;
    return app->row->object != NULL && json_object_get(app->row->object, key) != NULL;
}

/* A key of the rest beside the other attributes must not be one of them, nor then another one of the rest. */
static const char *free_key(const struct application *app, const char *key)
{
    const char *result = key;

    if (app->binding->mapping->rest_under != NULL)
        return key;
    while (is_attribute(app, result) || (result != key && is_in_row(app, result)))
        result = arena_format(app->arena, "%s (rest)", result);
    return result;
}

/* Which columns were taken; one for each. */
static bool *used_columns(const struct application *app)
{
    bool *used = arena_alloc(app->arena, app->binding->column_count + 1);

    for (size_t i = 0; i < app->binding->mapping->ref_count; i++)
        if (app->used[i] != NULL)
            used[app->binding->columns[i]] = true;
    return used;
}

/* What a file of rejected rows says about a row is not the row's. */
static bool is_about_rejection(const char *column)
{
    for (size_t i = 0; i < INGEST_REJECTED_COLUMNS; i++)
        if (strcmp(column, ingest_rejected_columns[i]) == 0)
            return true;
    return false;
}

static void write_cells(struct application *app, struct buffer *json)
{
    static const struct mapping_spec none = {0};
    const bool *used = used_columns(app);

    for (size_t i = 0; i < app->row->cell_count; i++) {
        const struct ingest_cell *cell = &app->row->cells[i];
        if (used[i] || is_blank(app, &none, cell->text) || is_about_rejection(app->row->columns[i]))
            continue;
        const char *key = free_key(app, app->row->columns[i]);
        mapping_add_key(json, key);
        buffer_append_json_string(json, cell->text, cell->size);
    }
}

/* Whether what lies at a path was taken: as a whole, or something in it. */
static void find_use(const struct application *app, const char *path, bool *ret_whole, bool *ret_part)
{
    size_t size = strlen(path);

    *ret_whole = false;
    *ret_part = false;
    for (size_t i = 0; i < app->binding->mapping->ref_count; i++) {
        const char *used = app->used[i];
        if (used == NULL || strncmp(used, path, size) != 0)
            continue;
        *ret_whole = *ret_whole || used[size] == '\0';
        *ret_part = *ret_part || used[size] == '.';
    }
}

static bool is_empty(struct application *app, const json_t *value)
{
    static const struct mapping_spec none = {0};
    const char *text = json_string_value(value);

    return json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) || (text != NULL && is_blank(app, &none, text));
}

static void write_members(struct application *app, json_t *object, const char *prefix, struct buffer *json)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach(object, key, value)
    {
        const char *path =
            plain_path(app, arena_format(app->arena, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", key));
        const char *name = prefix[0] == '\0' ? free_key(app, key) : key;
        bool is_whole = false;
        bool is_part = false;
        find_use(app, path, &is_whole, &is_part);
        if (is_whole || is_empty(app, value))
            continue;
        size_t before = json->size;
        mapping_add_key(json, name);
        if (!is_part || !json_is_object(value)) {
            json_value_write(json, value);
            continue;
        }
        buffer_append_string(json, "{");
        size_t inside = json->size;
        write_members(app, value, path, json);
        if (json->size == inside && !json->overflowed)
            cut(json, before); /* nothing is left of it */
        else
            buffer_append_string(json, "}");
    }
}

void mapping_write_rest(struct application *app, struct buffer *json)
{
    const char *under = app->binding->mapping->rest_under;
    size_t before = json->size;

    if (under != NULL) {
        mapping_add_key(json, under);
        buffer_append_string(json, "{");
    }
    size_t inside = json->size;
    if (app->row->object != NULL)
        write_members(app, app->row->object, "", json);
    else
        write_cells(app, json);
    if (under == NULL || json->overflowed)
        return;
    if (json->size == inside)
        cut(json, before);
    else
        buffer_append_string(json, "}");
}
