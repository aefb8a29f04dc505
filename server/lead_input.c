#include "lead_input.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/memory.h"

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

static bool add_texts(const Leadrouter__V1__NewLead *lead, size_t index, json_t *object, struct error *reterr_error)
{
    for (size_t i = 0; i < COUNT_OF(text_fields); i++) {
        const char *text = *(char *const *)(const void *)((const char *)lead + text_fields[i].offset);
        size_t size = strlen(text);
        if (size > LEAD_INPUT_FIELD_SIZE_MAX)
            return error_set(reterr_error, ERROR_INVALID, "leads[%zu].%s: longer than %d bytes", index,
                text_fields[i].name, LEAD_INPUT_FIELD_SIZE_MAX);
        if (size > 0 && json_object_set_new(object, text_fields[i].name, json_stringn(text, size)) != 0)
            return error_set(
                reterr_error, ERROR_INVALID, "leads[%zu].%s: is not valid UTF-8", index, text_fields[i].name);
    }
    return true;
}

/* PostgreSQL's jsonb takes no U+0000, and jansson none without a flag: both refuse it. */
static bool add_attributes(
    const Leadrouter__V1__NewLead *lead, size_t index, json_t *object, struct error *reterr_error)
{
    json_error_t fault;
    size_t size = strlen(lead->attributes_json);

    if (size == 0)
        return true;
    if (size > LEAD_INPUT_ATTRIBUTES_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "leads[%zu].attributes_json: longer than %d bytes", index,
            LEAD_INPUT_ATTRIBUTES_SIZE_MAX);
    json_t *attributes = json_loadb(lead->attributes_json, size, JSON_REJECT_DUPLICATES, &fault);
    if (attributes == NULL)
        return error_set(reterr_error, ERROR_INVALID, "leads[%zu].attributes_json: not valid JSON at byte %d", index,
            fault.position);
    if (!json_is_object(attributes)) {
        json_decref(attributes);
        return error_set(reterr_error, ERROR_INVALID, "leads[%zu].attributes_json: must be a JSON object", index);
    }
    json_object_set_new(object, "attributes", attributes);
    return true;
}

bool lead_input_json(const Leadrouter__V1__CreateLeadsRequest *request, char **ret_json,
    unsigned char ret_hash[LEAD_INPUT_HASH_SIZE], struct error *reterr_error)
{
    json_t *array = NULL;
    bool ok = false;

    if (request->n_leads == 0)
        return error_set(reterr_error, ERROR_INVALID, "leads: at least one is needed");
    if (request->n_leads > LEAD_INPUT_COUNT_MAX)
        return error_set(reterr_error, ERROR_INVALID, "leads: %zu given, at most %d are taken in one call",
            request->n_leads, LEAD_INPUT_COUNT_MAX);
    array = json_array();
    for (size_t i = 0; i < request->n_leads; i++) {
        json_t *object = json_object();
        json_array_append_new(array, object);
        if (!add_texts(request->leads[i], i, object, reterr_error) ||
            !add_attributes(request->leads[i], i, object, reterr_error))
            goto cleanup;
    }
    char *json = json_dumps(array, JSON_COMPACT);
    if (json == NULL || EVP_Digest(json, strlen(json), ret_hash, NULL, EVP_sha256(), NULL) != 1) {
        free(json);
        error_set(reterr_error, ERROR_INTERNAL, "could not write the leads as JSON");
        goto cleanup;
    }
    *ret_json = json;
    ok = true;
cleanup:
    json_decref(array);
    return ok;
}
