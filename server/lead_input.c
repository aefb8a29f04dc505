#include "lead_input.h"

#include <assert.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"

enum {
    KEYS_SIZE_MAX = 512,       /* names, quotes and commas of one lead */
    ESCAPED_SIZE_PER_BYTE = 6, /* \u0001 */
};

/* The text fields of a new lead: name in messages and database, and where it lies. */
static const struct {
    const char *name;
    size_t offset;
} text_fields[] = {
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

static_assert(COUNT_OF(text_fields) == LEAD_INPUT_TEXT_COUNT, "the header counts them");

const char *lead_input_text(const Leadrouter__V1__NewLead *lead, size_t index)
{
    assert(index < LEAD_INPUT_TEXT_COUNT);
    return *(char *const *)(const void *)((const char *)lead + text_fields[index].offset);
}

/* --- Checking ----------------------------------------------------------------------------------------------------- */

/* PostgreSQL's jsonb takes no U+0000, nor does jansson without a flag. */
static bool check_attributes(const char *text, struct error *reterr_error)
{
    json_error_t fault;
    size_t size = strlen(text);

    if (size == 0)
        return true;
    if (size > LEAD_INPUT_ATTRIBUTES_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "longer than %d bytes", LEAD_INPUT_ATTRIBUTES_SIZE_MAX);
    json_t *attributes = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &fault);
    if (attributes == NULL)
        return error_set(reterr_error, ERROR_INVALID, "not valid JSON at byte %d", fault.position);
    bool is_object = json_is_object(attributes);
    json_decref(attributes);
    return is_object || error_set(reterr_error, ERROR_INVALID, "must be a JSON object");
}

bool lead_input_check(const Leadrouter__V1__NewLead *lead, const char **reterr_field, struct error *reterr_error)
{
    for (size_t i = 0; i < LEAD_INPUT_TEXT_COUNT; i++)
        if (strlen(lead_input_text(lead, i)) > LEAD_INPUT_FIELD_SIZE_MAX) {
            *reterr_field = text_fields[i].name;
            return error_set(reterr_error, ERROR_INVALID, "longer than %d bytes", LEAD_INPUT_FIELD_SIZE_MAX);
        }
    if (check_attributes(lead->attributes_json, reterr_error))
        return true;
    *reterr_field = "attributes_json";
    return false;
}

static bool check(const Leadrouter__V1__CreateLeadsRequest *request, struct error *reterr_error)
{
    if (request->n_leads == 0)
        return error_set(reterr_error, ERROR_INVALID, "leads: at least one is needed");
    if (request->n_leads > LEAD_INPUT_COUNT_MAX)
        return error_set(reterr_error, ERROR_INVALID, "leads: %zu given, at most %d are taken in one call",
            request->n_leads, LEAD_INPUT_COUNT_MAX);
    for (size_t i = 0; i < request->n_leads; i++) {
        const char *field = NULL;
        if (!lead_input_check(request->leads[i], &field, reterr_error))
            return error_add_context(reterr_error, "leads[%zu].%s", i, field);
    }
    return true;
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static void write_lead(struct buffer *json, const Leadrouter__V1__NewLead *lead)
{
    const char *separator = "{";

    for (size_t i = 0; i < COUNT_OF(text_fields); i++) {
        const char *text = lead_input_text(lead, i);
        if (text[0] == '\0')
            continue;
        buffer_append_format(json, "%s\"%s\":", separator, text_fields[i].name);
        buffer_append_json_string(json, text, strlen(text));
        separator = ",";
    }
    if (lead->attributes_json[0] != '\0') /* as it was given: reading and writing numbers would change them */
        buffer_append_format(json, "%s\"attributes\":%s", separator, lead->attributes_json);
    else if (separator[0] == '{')
        buffer_append_string(json, "{");
    buffer_append_string(json, "}");
}

/* No lead becomes longer than this; they were checked. */
static size_t json_size_max(const Leadrouter__V1__CreateLeadsRequest *request)
{
    return request->n_leads * (KEYS_SIZE_MAX + LEAD_INPUT_ATTRIBUTES_SIZE_MAX +
                                  COUNT_OF(text_fields) * ESCAPED_SIZE_PER_BYTE * LEAD_INPUT_FIELD_SIZE_MAX);
}

bool lead_input_json(const Leadrouter__V1__CreateLeadsRequest *request, char **ret_json,
    unsigned char ret_hash[LEAD_INPUT_HASH_SIZE], struct error *reterr_error)
{
    struct buffer json = {0};
    bool ok = false;

    if (!check(request, reterr_error))
        return false;
    buffer_init(&json, json_size_max(request));
    for (size_t i = 0; i < request->n_leads; i++) {
        buffer_append_string(&json, i == 0 ? "[" : ",");
        write_lead(&json, request->leads[i]);
    }
    buffer_append_string(&json, "]");
    if (json.overflowed || EVP_Digest(json.data, json.size, ret_hash, NULL, EVP_sha256(), NULL) != 1) {
        error_set(reterr_error, ERROR_INTERNAL, "could not write the leads as JSON");
        goto cleanup;
    }
    *ret_json = memory_copy_string(buffer_text(&json));
    ok = true;
cleanup:
    buffer_release(&json);
    return ok;
}
