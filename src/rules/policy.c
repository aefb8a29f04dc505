#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/memory.h"
#include "base/text.h"
#include "rules/json_object.h"
#include "rules/places.h"
#include "rules/rules.h"

enum {
    CONFIG_SIZE_MAX = 64 * 1024,
    COUNTRY_SIZE_MAX = 128,
    DEDUPE_DAYS_DEFAULT = 90,
    DEDUPE_DAYS_MAX = 3650,
};

typedef bool read_function(const json_t *value, struct rule_policy *policy, struct error *reterr_error);

/* The index of a JSON text in a list of words, or -1. */
static int word_index(const json_t *value, const char *const *words, size_t count)
{
    for (size_t i = 0; json_is_string(value) && i < count; i++) {
        if (strcmp(json_string_value(value), words[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool read_unmatched(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    static const char *const words[] = {
        [RULE_UNMATCHED_RETRY] = "retry", [RULE_UNMATCHED_KEEP] = "keep", [RULE_UNMATCHED_FALLBACK] = "fallback"};
    int index = word_index(value, words, COUNT_OF(words));
    if (index < 0) {
        return error_set(reterr_error, ERROR_INVALID, "$.unmatched: must be \"retry\", \"keep\" or \"fallback\"");
    }
    policy->unmatched = (enum rule_unmatched)index;
    return true;
}

static bool read_fallback_workspace_id(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    if (!uuid_parse(json_string_value(value), &policy->fallback_workspace_id) ||
        uuid_is_nil(&policy->fallback_workspace_id)) {
        return error_set(reterr_error, ERROR_INVALID, "$.fallback_workspace_id: must be a workspace id");
    }
    return true;
}

static bool read_dedupe_scope(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    static const char *const words[] = {[RULE_DEDUPE_CROSS_PARTNER] = "cross_partner", [RULE_DEDUPE_GLOBAL] = "global"};
    int index = word_index(value, words, COUNT_OF(words));
    if (index < 0) {
        return error_set(reterr_error, ERROR_INVALID, "$.dedupe_scope: must be \"cross_partner\" or \"global\"");
    }
    policy->dedupe_scope = (enum rule_dedupe_scope)index;
    return true;
}

static bool read_dedupe_days(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    json_int_t days = json_integer_value(value); /* 0 for what is no integer */
    if (days < 1 || days > DEDUPE_DAYS_MAX) {
        return error_set(
            reterr_error, ERROR_INVALID, "$.dedupe_days: must be a whole number from 1 to %d", DEDUPE_DAYS_MAX);
    }
    policy->dedupe_days = (int32_t)days;
    return true;
}

static bool read_auto_route(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    if (!json_is_boolean(value)) {
        return error_set(reterr_error, ERROR_INVALID, "$.auto_route: must be true or false");
    }
    policy->auto_route = json_is_true(value);
    return true;
}

static bool read_default_country(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    char folded[TEXT_CAPACITY(COUNTRY_SIZE_MAX)];
    size_t folded_size = 0;
    size_t size = json_string_length(value); /* 0 for what is no text */
    const char *code = NULL;
    if (size > 0 && size <= COUNTRY_SIZE_MAX &&
        text_normalize(json_string_value(value), size, TEXT_FOLD, folded, sizeof(folded), &folded_size)) {
        code = place_country_code(folded);
    }
    if (code == NULL) {
        return error_set(reterr_error, ERROR_INVALID, "$.default_country: must be a country, as in \"US\"");
    }
    memcpy(policy->default_country, code, sizeof(policy->default_country));
    return true;
}

/* What may be asked for the workspace: checked, for whoever saves it, and no part of the policy, since no decision reads it. */
static bool read_limits(const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    static const char *const keys[] = {
        "calls_per_second", "calls_burst", "calls_in_flight", "imports", "leads_per_request", "rules"};
    json_t *limits = (json_t *)(uintptr_t)value; /* jansson's iterators take no constant objects */
    const char *key = NULL;
    const json_t *limit = NULL;

    (void)policy;
    if (!json_is_object(value)) {
        return error_set(reterr_error, ERROR_INVALID, "$.limits: must be an object");
    }
    json_object_foreach(limits, key, limit)
    {
        json_int_t number = json_integer_value(limit); /* 0 for what is no integer */
        size_t known = 0;
        while (known < COUNT_OF(keys) && strcmp(keys[known], key) != 0) {
            known++;
        }
        if (known == COUNT_OF(keys)) {
            return text_is_name(key) ? error_set(reterr_error, ERROR_INVALID, "$.limits.%s: unknown setting", key)
                                     : error_set(reterr_error, ERROR_INVALID, "$.limits[?]: unknown setting");
        }
        if (number < 1 || number > RULE_LIMIT_MAX) {
            return error_set(
                reterr_error, ERROR_INVALID, "$.limits.%s: must be a whole number from 1 to %d", key, RULE_LIMIT_MAX);
        }
    }
    if (json_object_get(value, "calls_burst") != NULL && json_object_get(value, "calls_per_second") == NULL) {
        return error_set(reterr_error, ERROR_INVALID, "$.limits.calls_burst: of no use without calls_per_second");
    }
    return true;
}

static const struct setting {
    const char *key;
    read_function *read;
} settings[] = {
    {"unmatched", read_unmatched},
    {"fallback_workspace_id", read_fallback_workspace_id},
    {"dedupe_scope", read_dedupe_scope},
    {"dedupe_days", read_dedupe_days},
    {"auto_route", read_auto_route},
    {"default_country", read_default_country},
    {"limits", read_limits},
};

static bool read_setting(const char *key, const json_t *value, struct rule_policy *policy, struct error *reterr_error)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        if (strcmp(settings[i].key, key) == 0) {
            return settings[i].read(value, policy, reterr_error);
        }
    }
    return text_is_name(key) ? error_set(reterr_error, ERROR_INVALID, "$.%s: unknown setting", key)
                             : error_set(reterr_error, ERROR_INVALID, "$[?]: unknown setting");
}

bool rule_policy_parse(const char *json, struct rule_policy *ret_policy, struct error *reterr_error)
{
    struct rule_policy policy = {.dedupe_days = DEDUPE_DAYS_DEFAULT, .auto_route = true};
    const char *key = NULL;
    json_t *value = NULL;
    bool ok = false;

    json_t *root = json_object_read(json == NULL ? "{}" : json, CONFIG_SIZE_MAX, reterr_error);
    if (root == NULL) {
        goto cleanup;
    }
    json_object_foreach(root, key, value)
    {
        if (!read_setting(key, value, &policy, reterr_error)) {
            goto cleanup;
        }
    }
    if (policy.unmatched != RULE_UNMATCHED_FALLBACK) {
        policy.fallback_workspace_id = uuid_nil; /* kept by somebody who switches back and forth */
    } else if (uuid_is_nil(&policy.fallback_workspace_id)) {
        (void)error_set(
            reterr_error, ERROR_INVALID, "$.fallback_workspace_id: must be given when unmatched is \"fallback\"");
        goto cleanup;
    }
    *ret_policy = policy;
    ok = true;
cleanup:
    json_decref(root);
    return ok;
}
