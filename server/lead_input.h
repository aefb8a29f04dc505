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

/* Checks the leads of a request and writes them as one JSON array, an object per lead with the columns as keys
 * (sql/README.md, create_leads()), and the SHA-256 of it, by which a repeated request is recognised. Errors:
 * ERROR_INVALID naming lead and field, as in "leads[3].email: longer than 1000 bytes". `*ret_json` is the caller's,
 * released with free(). Any thread. */
bool lead_input_json(const Leadrouter__V1__CreateLeadsRequest *request, char **ret_json,
    unsigned char ret_hash[LEAD_INPUT_HASH_SIZE], struct error *reterr_error);

#endif
