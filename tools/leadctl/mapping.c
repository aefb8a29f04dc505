#include "mapping.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/utf8.h"

enum { NAME_SIZE = 128, LIST_SIZE = 400 };

static const char ATTRIBUTES[] = "attributes.";

/* The fields that a column can become. */
static const struct {
    const char *name;
    size_t offset;
} fields[] = {
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
};

enum { FIELD_COUNT = COUNT_OF(fields), NO_COLUMN = -1 };

struct attribute {
    char *name;
    size_t column;
};

struct mapping {
    long columns[FIELD_COUNT]; /* column of each field; NO_COLUMN: none */
    struct attribute *attributes;
    size_t attribute_count;
    const struct option_list *blanks;
    size_t column_count; /* of the header */
};

static long field_index(const char *name, size_t size)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (strlen(fields[i].name) == size && memcmp(fields[i].name, name, size) == 0)
            return (long)i;
    return -1;
}

static bool is_attribute(const char *text, size_t size)
{
    return size > strlen(ATTRIBUTES) && strncmp(text, ATTRIBUTES, strlen(ATTRIBUTES)) == 0;
}

static bool check_text(const char *text, struct error *reterr_error)
{
    const char *equals = strchr(text, '=');
    char known[LIST_SIZE] = "";

    if (equals == NULL || equals[1] == '\0')
        return error_set(reterr_error, ERROR_INVALID, "--map %s: must be FIELD=COLUMN", text);
    size_t size = (size_t)(equals - text);
    if (field_index(text, size) >= 0 || is_attribute(text, size))
        return true;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", fields[i].name);
    }
    return error_set(reterr_error, ERROR_INVALID,
        "--map: \"%.*s\" is not a field of a lead; there are %s, and attributes.NAME", (int)size, text, known);
}

bool mapping_check(const struct option_list *texts, struct error *reterr_error)
{
    for (size_t i = 0; i < texts->count; i++)
        if (!check_text(texts->values[i], reterr_error))
            return false;
    return true;
}

static bool find_column(const struct csv_row *header, const char *name, long *ret_column, struct error *reterr_error)
{
    struct buffer known;

    for (size_t i = 0; i < header->count; i++)
        if (strcmp(header->fields[i], name) == 0) {
            *ret_column = (long)i;
            return true;
        }
    buffer_init(&known, LIST_SIZE);
    for (size_t i = 0; i < header->count; i++)
        buffer_append_format(&known, "%s%s", i == 0 ? "" : ", ", header->fields[i]);
    error_set(reterr_error, ERROR_NOT_FOUND, "the file has no column \"%.100s\"; it has %s", name, buffer_text(&known));
    buffer_release(&known);
    return false;
}

static bool add_text(
    struct mapping *mapping, const char *text, const struct csv_row *header, struct error *reterr_error)
{
    const char *equals = strchr(text, '=');
    long column = 0;

    if (!check_text(text, reterr_error) || !find_column(header, equals + 1, &column, reterr_error))
        return false;
    long field = field_index(text, (size_t)(equals - text));
    if (field >= 0) {
        if (mapping->columns[field] != NO_COLUMN)
            return error_set(reterr_error, ERROR_INVALID, "--map: %s is given twice", fields[field].name);
        mapping->columns[field] = column;
        return true;
    }
    mapping->attributes =
        memory_resize(mapping->attributes, mapping->attribute_count + 1, sizeof(*mapping->attributes));
    mapping->attributes[mapping->attribute_count++] =
        (struct attribute){.name = strndup(text + strlen(ATTRIBUTES), (size_t)(equals - text) - strlen(ATTRIBUTES)),
            .column = (size_t)column};
    return true;
}

/* "First Name" and "first-name" as "first_name". */
static void plain_name(const char *header, char ret_name[NAME_SIZE])
{
    size_t size = 0;

    for (; header[size] != '\0' && size < NAME_SIZE - 1; size++) {
        char letter = header[size];
        ret_name[size] = letter == ' ' || letter == '-' ? '_' : letter;
        if (letter >= 'A' && letter <= 'Z')
            ret_name[size] = (char)(letter - 'A' + 'a');
    }
    ret_name[size] = '\0';
}

static void add_by_name(struct mapping *mapping, const struct csv_row *header)
{
    for (size_t column = 0; column < header->count; column++) {
        char name[NAME_SIZE];
        plain_name(header->fields[column], name);
        long field = field_index(name, strlen(name));
        if (field >= 0 && mapping->columns[field] == NO_COLUMN)
            mapping->columns[field] = (long)column;
    }
}

bool mapping_new(const struct option_list *texts, const struct option_list *blanks, const struct csv_row *header,
    struct mapping **ret_mapping, struct error *reterr_error)
{
    struct mapping *mapping = memory_new(sizeof(*mapping));

    mapping->blanks = blanks;
    mapping->column_count = header->count;
    for (size_t i = 0; i < FIELD_COUNT; i++)
        mapping->columns[i] = NO_COLUMN;
    for (size_t i = 0; i < texts->count; i++)
        if (!add_text(mapping, texts->values[i], header, reterr_error)) {
            mapping_free(mapping);
            return false;
        }
    add_by_name(mapping, header);
    *ret_mapping = mapping;
    return true;
}

void mapping_free(struct mapping *mapping)
{
    if (mapping == NULL)
        return;
    for (size_t i = 0; i < mapping->attribute_count; i++)
        free(mapping->attributes[i].name);
    free(mapping->attributes);
    free(mapping);
}

static bool is_blank(const struct mapping *mapping, const char *text)
{
    for (size_t i = 0; i < mapping->blanks->count; i++)
        if (strcmp(text, mapping->blanks->values[i]) == 0)
            return true;
    return text[0] == '\0';
}

/* Checks a cell; `*ret_text` is "" when it is blank. */
static bool cell(const struct mapping *mapping, const struct csv_row *row, size_t column, const char *name,
    const char **ret_text, struct error *reterr_error)
{
    const char *text = row->fields[column];

    if (memchr(text, 0, row->sizes[column]) != NULL)
        return error_set(reterr_error, ERROR_INVALID, "%s: contains a NUL byte", name);
    if (!utf8_is_valid(text, row->sizes[column], NULL))
        return error_set(reterr_error, ERROR_INVALID, "%s: is not valid UTF-8", name);
    *ret_text = is_blank(mapping, text) ? "" : text;
    return true;
}

static bool apply_attributes(const struct mapping *mapping, const struct csv_row *row, struct arena *arena,
    Leadrouter__V1__NewLead *lead, struct error *reterr_error)
{
    json_t *object = json_object();
    bool ok = true;

    for (size_t i = 0; ok && i < mapping->attribute_count; i++) {
        const char *text = NULL;
        ok = cell(mapping, row, mapping->attributes[i].column, mapping->attributes[i].name, &text, reterr_error);
        if (ok && text[0] != '\0')
            json_object_set_new(object, mapping->attributes[i].name, json_string(text));
    }
    if (ok && json_object_size(object) > 0) {
        char *json = json_dumps(object, JSON_COMPACT);
        lead->attributes_json = arena_copy_string(arena, json);
        free(json);
    }
    json_decref(object);
    return ok;
}

bool mapping_apply(const struct mapping *mapping, const struct csv_row *row, struct arena *arena,
    Leadrouter__V1__NewLead **ret_lead, struct error *reterr_error)
{
    Leadrouter__V1__NewLead *lead = arena_alloc(arena, sizeof(*lead));

    leadrouter__v1__new_lead__init(lead);
    if (row->count != mapping->column_count)
        return error_set(
            reterr_error, ERROR_INVALID, "has %zu fields where the header has %zu", row->count, mapping->column_count);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *text = NULL;
        if (mapping->columns[i] == NO_COLUMN)
            continue;
        if (!cell(mapping, row, (size_t)mapping->columns[i], fields[i].name, &text, reterr_error))
            return false;
        if (text[0] != '\0')
            *(char **)(void *)((char *)lead + fields[i].offset) = arena_copy_string(arena, text);
    }
    if (!apply_attributes(mapping, row, arena, lead, reterr_error))
        return false;
    *ret_lead = lead;
    return true;
}
