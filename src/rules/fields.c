#include "rules/fields.h"

#include <assert.h>
#include <string.h>

static const struct rule_field_info fields[RULE_FIELD_COUNT] = {
    [RULE_FIELD_EMAIL] = {"email", .is_contact = true, .can_be_valid = true},
    [RULE_FIELD_PHONE] = {"phone", .is_contact = true, .can_be_valid = true},
    [RULE_FIELD_FIRST_NAME] = {"first_name", .is_contact = true},
    [RULE_FIELD_LAST_NAME] = {"last_name", .is_contact = true},
    [RULE_FIELD_COMPANY_NAME] = {"company_name", .is_contact = true},
    [RULE_FIELD_COMPANY_INDUSTRY] = {"company_industry"},
    [RULE_FIELD_COMPANY_SIZE] = {"company_size"},
    [RULE_FIELD_COMPANY_REVENUE] = {"company_revenue"},
    [RULE_FIELD_CITY] = {"city"},
    [RULE_FIELD_POSTAL_CODE] = {"postal_code"},
    [RULE_FIELD_SOURCE] = {"source"},
    [RULE_FIELD_EXTERNAL_ID] = {"external_id", .is_contact = true},
    [RULE_FIELD_COUNTRY] = {"country", RULE_KIND_COUNTRY, .can_be_valid = true},
    [RULE_FIELD_STATE] = {"state", RULE_KIND_STATE, .can_be_valid = true},
    [RULE_FIELD_CREATED_AT] = {"created_at", RULE_KIND_MOMENT},
    [RULE_FIELD_EMAIL_DOMAIN] = {"email.domain", .is_contact = true},
    [RULE_FIELD_PHONE_AREA_CODE] = {"phone.area_code", .is_contact = true},
    [RULE_FIELD_US_STATE] = {"us_state", RULE_KIND_US_STATE, .can_be_valid = true},
    [RULE_FIELD_REGION] = {"region", RULE_KIND_REGION},
    [RULE_FIELD_LOCATION] = {"location", RULE_KIND_LOCATION, .can_be_valid = true},
    [RULE_FIELD_ATTRIBUTE] = {"attributes."},
};

const struct rule_field_info *rule_field_info(enum rule_field field)
{
    assert(field < RULE_FIELD_COUNT);
    return &fields[field];
}

bool rule_field_find(const char *name, enum rule_field *ret_field, const char **ret_attribute)
{
    const char *prefix = fields[RULE_FIELD_ATTRIBUTE].name;
    size_t prefix_size = strlen(prefix);

    *ret_attribute = NULL;
    if (strncmp(name, prefix, prefix_size) == 0 && name[prefix_size] != '\0') {
        *ret_field = RULE_FIELD_ATTRIBUTE;
        *ret_attribute = name + prefix_size;
        return true;
    }
    for (enum rule_field field = 0; field < RULE_FIELD_ATTRIBUTE; field++) {
        if (strcmp(fields[field].name, name) == 0) {
            *ret_field = field;
            return true;
        }
    }
    return false;
}

bool rule_field_is_place(enum rule_field field)
{
    enum rule_field_kind kind = rule_field_info(field)->kind;

    return kind == RULE_KIND_COUNTRY || kind == RULE_KIND_STATE || kind == RULE_KIND_US_STATE ||
           kind == RULE_KIND_REGION;
}
