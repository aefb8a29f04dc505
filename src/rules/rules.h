/* Rules: from the JSON that people write to an immutable set that answers "which rule takes this lead"
 * (src/rules/README.md).
 *
 * A `struct rule_set` never changes after rule_set_compile(); any number of threads may match against it. It is
 * reference counted: the holder of the last reference frees it. */
#ifndef RULES_RULES_H
#define RULES_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/uuid.h"

/* What a lead shows to rules: texts as stored (UTF-8, borrowed for the call); NULL or only white space means missing. What no
 * rule of the set asks for may be left out (rule_set_needs()). */
struct rule_lead {
    const char *company_industry;
    const char *company_size;
    const char *company_revenue;
    const char *country;
    const char *state;
    const char *city;
    const char *postal_code;
    const char *source;
    const char *email;
    const char *phone;
    const char *first_name;
    const char *last_name;
    const char *company_name;
    const char *external_id;
    const char *attributes_json; /* one JSON object, or NULL; anything else counts as an empty one */
    int64_t created_at_us;       /* microseconds since 1970 UTC; 0: missing */
    int64_t now_us;              /* when it is decided, by the database's clock: what within_last looks back from */
};

/* What happens to a lead that no rule takes. */
enum rule_unmatched { RULE_UNMATCHED_RETRY, RULE_UNMATCHED_KEEP, RULE_UNMATCHED_FALLBACK };

/* Whose live claim on an identity makes a lead a duplicate (spec: dedupe_scope). */
enum rule_dedupe_scope { RULE_DEDUPE_CROSS_PARTNER, RULE_DEDUPE_GLOBAL };

/* The highest value of any limit of a workspace, in its `routing_config` and where a server sets one for it. */
enum { RULE_LIMIT_MAX = 1000000 };

/* A workspace's `routing_config`, read once. */
struct rule_policy {
    enum rule_unmatched unmatched;
    struct uuid fallback_workspace_id; /* uuid_nil unless `unmatched` is fallback */
    bool fallback_is_active;           /* not in the JSON: false after parsing, set by whoever loaded the workspaces */
    enum rule_dedupe_scope dedupe_scope;
    int32_t dedupe_days;     /* 1 … 3,650; default 90 */
    bool auto_route;         /* default true */
    char default_country[3]; /* ISO 3166-1 alpha-2, or "" for none */
};

/* Reads `routing_config` (a JSON object; NULL and {} give the defaults). Unknown keys are refused, so that a typing
 * error is not a silent default. Errors: ERROR_INVALID naming the key. */
bool rule_policy_parse(const char *json, struct rule_policy *ret_policy, struct error *reterr_error);

/* One rule as it comes from the database; all pointers borrowed for the call. */
struct rule_source {
    struct uuid id;
    const char *name;
    int32_t priority;
    int64_t created_at_us;       /* microseconds since 1970 UTC: orders rules of one priority */
    const char *conditions_json; /* docs/rules.md; {} is a catch-all */
    struct uuid destination_workspace_id;
    bool destination_is_active; /* false: inactive or gone; the rule is passed over */
};

/* Match order: below zero when `left` is asked first. */
int rule_source_compare(const struct rule_source *left, const struct rule_source *right);

/* A named set of values that rules share; all pointers borrowed for the call. */
struct rule_named_set {
    const char *name;
    const char *const *values;
    size_t count;
};

struct rule_set;

/* Checks `conditions_json` as it is checked when a rule is saved: everything but whether the sets that it names exist.
 * Errors: ERROR_INVALID with the JSON path to the fault, as in "$.us_states[2]: unknown state \"XX\"". */
bool rule_conditions_check(const char *conditions_json, struct error *reterr_error);

/* What a set is compiled from; all pointers borrowed for the call. */
struct rule_set_source {
    struct uuid workspace_id;
    int64_t version;
    const struct rule_policy *policy; /* Required */
    const struct rule_source *rules;
    size_t rule_count;
    const struct rule_named_set *sets; /* those that the rules name, at least */
    size_t set_count;
};

/* Compiles the active rules of one workspace. The set gets one reference, the caller's. Rules are put into match
 * order here: priority descending, then created_at, then id. A rule whose conditions are bad fails the whole
 * compilation (ERROR_INVALID, naming the rule's id and the path): a rule that is silently left out routes leads
 * wrongly. */
bool rule_set_compile(const struct rule_set_source *source, struct rule_set **ret_set, struct error *reterr_error);

/* One more reference; returns the set. Any thread. */
struct rule_set *rule_set_ref(struct rule_set *set);

/* One reference less; the last one frees the set. Any thread. */
void rule_set_unref(struct rule_set *set); /* NULL is fine */

/* The version that the set was compiled from. */
int64_t rule_set_version(const struct rule_set *set);

/* What the rules of a set ask of a lead, besides industry, size, revenue, country and state. */
struct rule_needs {
    bool columns;    /* other columns */
    bool attributes; /* attributes_json */
};
struct rule_needs rule_set_needs(const struct rule_set *set);

/* Writes what the rules of the set looked at in a lead, as a JSON object of field names and texts: what an explanation months later is
 * made from. Fields that say who the lead is are left out, and so are missing ones. Returns false, and writes nothing, when
 * there is nothing to write, or `ret_json` is too small. */
bool rule_set_facts(const struct rule_set *set, const struct rule_lead *lead, struct buffer *ret_json);

/* Bytes that the set takes. */
size_t rule_set_size(const struct rule_set *set);

/* The workspace's policy; borrowed from the set. */
const struct rule_policy *rule_set_policy(const struct rule_set *set);

/* A rule that took a lead; borrowed from the set. */
struct rule_match {
    struct uuid rule_id;
    const char *rule_name;
    struct uuid destination_workspace_id;
};

/* First rule, in match order, that takes the lead; rules with an inactive destination are passed over. False when
 * none does. Does not allocate from the heap for leads of ordinary size. Any thread. */
bool rule_set_match(const struct rule_set *set, const struct rule_lead *lead, struct rule_match *ret_match);

#endif
