/* The fields of a lead that conditions name (docs/rules.md), as one table. */
#ifndef RULES_FIELDS_H
#define RULES_FIELDS_H

#include <stdbool.h>

enum rule_field {
    RULE_FIELD_EMAIL,
    RULE_FIELD_PHONE,
    RULE_FIELD_FIRST_NAME,
    RULE_FIELD_LAST_NAME,
    RULE_FIELD_COMPANY_NAME,
    RULE_FIELD_COMPANY_INDUSTRY,
    RULE_FIELD_COMPANY_SIZE,
    RULE_FIELD_COMPANY_REVENUE,
    RULE_FIELD_CITY,
    RULE_FIELD_POSTAL_CODE,
    RULE_FIELD_SOURCE,
    RULE_FIELD_EXTERNAL_ID,
    RULE_FIELD_COUNTRY,
    RULE_FIELD_STATE,
    RULE_FIELD_CREATED_AT,
    RULE_FIELD_EMAIL_DOMAIN,
    RULE_FIELD_PHONE_AREA_CODE,
    RULE_FIELD_US_STATE,
    RULE_FIELD_REGION,
    RULE_FIELD_LOCATION,
    RULE_FIELD_ATTRIBUTE, /* one for each name, told apart by that */
    RULE_FIELD_COUNT,
};

/* What its values are, beside texts. */
enum rule_field_kind {
    RULE_KIND_TEXT,
    RULE_KIND_COUNTRY,
    RULE_KIND_STATE,
    RULE_KIND_US_STATE,
    RULE_KIND_REGION,
    RULE_KIND_MOMENT,
    RULE_KIND_LOCATION,
};

struct rule_field_info {
    const char *name; /* "company_industry"; "attributes." for RULE_FIELD_ATTRIBUTE */
    enum rule_field_kind kind;
    bool is_contact; /* says who the lead is: its value is never kept in the log */
    bool can_be_valid;
};

/* The row of a field. Static storage. */
const struct rule_field_info *rule_field_info(enum rule_field field);

/* The field of a name; `*ret_attribute` points into `name`, behind "attributes.", or is NULL. False for what is no field. */
bool rule_field_find(const char *name, enum rule_field *ret_field, const char **ret_attribute);

/* True for fields whose values are compared as places: country, state, us_state, region. */
bool rule_field_is_place(enum rule_field field);

#endif
