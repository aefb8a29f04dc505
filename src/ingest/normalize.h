/* Values of leads made uniform, once and in one place. What a rule compares and what the identity is made of does not change by it
 * but where this page says so. Any thread. */
#ifndef INGEST_NORMALIZE_H
#define INGEST_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

/* Longer texts are not looked at: putting combining marks in order costs the square of their number. No field may be as long as that. */
enum { INGEST_TEXT_SIZE_MAX = 4000 };

/* The fields of a lead that have a column. */
enum ingest_field {
    INGEST_FIELD_EXTERNAL_ID,
    INGEST_FIELD_EMAIL,
    INGEST_FIELD_PHONE,
    INGEST_FIELD_FIRST_NAME,
    INGEST_FIELD_LAST_NAME,
    INGEST_FIELD_COMPANY_NAME,
    INGEST_FIELD_COMPANY_INDUSTRY,
    INGEST_FIELD_COMPANY_SIZE,
    INGEST_FIELD_COMPANY_REVENUE,
    INGEST_FIELD_COUNTRY,
    INGEST_FIELD_STATE,
    INGEST_FIELD_CITY,
    INGEST_FIELD_POSTAL_CODE,
    INGEST_FIELD_SOURCE,
    INGEST_FIELD_COUNT,
};

/* The name of a field, as in the messages and the database. Static storage. */
const char *ingest_field_name(enum ingest_field field);

/* The field of a name; false when there is none. */
bool ingest_field_find(const char *name, size_t size, enum ingest_field *ret_field);

/* The uniform form of a value, in the arena; "" for white space alone. `country` and `state` are those of the lead, uniform already, or "".
 *
 *   all               white space trimmed and folded, NFC
 *   email             the domain in lower case
 *   phone             digits by phone_digits(), behind a + when the country code is among them; the extension goes
 *   country           ISO 3166-1 alpha-2, when the table knows it
 *   state             the code of a US state, when country is US or blank
 *   postal_code       of a US address: zeros in front that a spreadsheet took away
 *   company_size      a band: a number, or a range within one
 *   company_revenue   the same, of dollars
 *
 * False when it is not what it should be: an e-mail address without a domain, a phone number with less than 7 digits or more than 15,
 * anything that is not UTF-8; `*ret_text` is then the trimmed text. `text` has at most INGEST_TEXT_SIZE_MAX bytes (asserted). */
bool ingest_normalize(enum ingest_field field, const char *text, const char *country, const char *state,
    struct arena *arena, const char **ret_text);

/* The band of a number of employees; of a revenue in dollars. Static storage. */
const char *ingest_size_band(double employees);
const char *ingest_revenue_band(double dollars);

#endif
