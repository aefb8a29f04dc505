/* Leads as callers give them: checked, and turned into what the database takes. */
#ifndef SERVER_LEAD_INPUT_H
#define SERVER_LEAD_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "leadrouter/v1/leads.pb-c.h"

enum {
    LEAD_INPUT_COUNT_MAX = 1000,
    LEAD_INPUT_FIELD_SIZE_MAX = 1000,       /* bytes of one text field */
    LEAD_INPUT_ATTRIBUTES_SIZE_MAX = 65536, /* bytes of attributes_json */
    LEAD_INPUT_HASH_SIZE = 32,
};

/* The text fields of a new lead: their number, and what a lead has in one. */
enum { LEAD_INPUT_TEXT_COUNT = 14 };
const char *lead_input_text(const Leadrouter__V1__NewLead *lead, size_t index);

/* Checks one lead. When it is wrong `*reterr_field` is the name of the field at fault and the error the reason alone, as in
 * "longer than 1000 bytes". Errors: ERROR_INVALID. Any thread. */
bool lead_input_check(const Leadrouter__V1__NewLead *lead, const char **reterr_field, struct error *reterr_error);

/* Checks the leads of a request and writes them as one JSON array, an object per lead with the columns as keys
 * (sql/README.md, create_leads()), and the SHA-256 of it, by which a repeated request is recognised. Errors:
 * ERROR_INVALID naming lead and field, as in "leads[3].email: longer than 1000 bytes". `*ret_json` is the caller's,
 * released with free(). Any thread. */
bool lead_input_json(const Leadrouter__V1__CreateLeadsRequest *request, char **ret_json,
    unsigned char ret_hash[LEAD_INPUT_HASH_SIZE], struct error *reterr_error);

#endif
