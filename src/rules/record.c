#include "rules/record.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/text.h"
#include "rules/facts.h"
#include "rules/values.h"

/* Appends "name": "value" when there is a value. */
static void append(struct buffer *json, const char *prefix, const char *name, const char *value, size_t size)
{
    char whole[RULE_NAME_SIZE_MAX + sizeof("attributes.")];

    if (value == NULL || size > RULE_RECORD_VALUE_SIZE_MAX || text_is_blank(value))
        return;
    snprintf(whole, sizeof(whole), "%s%s", prefix, name);
    buffer_append_string(json, json->size > 1 ? "," : "");
    buffer_append_json_string(json, whole, strlen(whole));
    buffer_append_string(json, ":");
    buffer_append_json_string(json, value, size);
}

static void append_attribute(struct buffer *json, struct rule_facts *facts, const char *name)
{
    struct rule_value value = rule_facts_attribute(facts, name);

    append(json, rule_field_info(RULE_FIELD_ATTRIBUTE)->name, name, value.text, value.size);
}

/* Which columns have to be kept. */
static void note_field(enum rule_field field, bool kept[RULE_FIELD_COUNT])
{
    if (field == RULE_FIELD_US_STATE || field == RULE_FIELD_REGION)
        kept[RULE_FIELD_COUNTRY] = kept[RULE_FIELD_STATE] = true;
    else if (!rule_field_info(field)->is_contact)
        kept[field] = true;
}

bool rule_record_write(const struct rule_fields *fields, const struct rule_lead *lead, struct buffer *ret_json)
{
    static const struct rule_policy no_policy = {0};
    bool kept[RULE_FIELD_COUNT] = {0};
    struct rule_lead copy = *lead;
    struct rule_facts facts;
    char time[CLOCK_RFC3339_SIZE];
    bool is_there = false;

    rule_facts_init(&facts, fields, NULL, lead, &no_policy);
    buffer_clear(ret_json);
    buffer_append_string(ret_json, "{");
    for (size_t i = 0; i < fields->count; i++) {
        note_field(fields->items[i].field, kept);
        if (fields->items[i].attribute != NULL)
            append_attribute(ret_json, &facts, fields->items[i].attribute);
    }
    for (enum rule_field field = 0; field < RULE_FIELD_ATTRIBUTE; field++) {
        const char **column = rule_lead_column(&copy, field);
        if (kept[field] && column != NULL && *column != NULL)
            append(ret_json, "", rule_field_info(field)->name, *column, strlen(*column));
    }
    if (kept[RULE_FIELD_LOCATION]) {
        append_attribute(ret_json, &facts, "latitude");
        append_attribute(ret_json, &facts, "longitude");
    }
    if (kept[RULE_FIELD_CREATED_AT] && lead->created_at_us != 0) {
        clock_format_us(lead->created_at_us, time);
        append(ret_json, "", rule_field_info(RULE_FIELD_CREATED_AT)->name, time, strlen(time));
    }
    is_there = ret_json->size > 1;
    buffer_append_string(ret_json, "}");
    rule_facts_release(&facts);
    return is_there && !ret_json->overflowed;
}

/* One member of a record into the lead, or into its attributes. */
static void read_member(
    const char *name, const char *text, struct arena *arena, struct rule_lead *lead, json_t *attributes)
{
    const char *attribute = NULL;
    enum rule_field field = 0;
    const char **column = NULL;

    if (!rule_field_find(name, &field, &attribute))
        return; /* of a version that knew more fields */
    column = rule_lead_column(lead, field);
    if (attribute != NULL)
        json_object_set_new(attributes, attribute, json_string(text));
    else if (field == RULE_FIELD_CREATED_AT)
        rule_moment_parse(text, strlen(text), &lead->created_at_us);
    else if (column != NULL)
        *column = arena_copy_string(arena, text);
}

bool rule_record_read(const char *json, struct arena *arena, struct rule_lead *ret_lead)
{
    json_t *record = json == NULL ? json_object() : json_loads(json, 0, NULL);
    json_t *attributes = json_object();
    struct rule_lead lead = {0};
    const char *name = NULL;
    json_t *value = NULL;
    char *text = NULL;
    bool ok = json_is_object(record);

    json_object_foreach(record, name, value)
    {
        ok = ok && json_is_string(value);
        if (ok)
            read_member(name, json_string_value(value), arena, &lead, attributes);
    }
    text = json_dumps(attributes, JSON_COMPACT);
    lead.attributes_json = arena_copy_string(arena, text);
    free(text);
    json_decref(attributes);
    json_decref(record);
    if (ok)
        *ret_lead = lead;
    return ok;
}
