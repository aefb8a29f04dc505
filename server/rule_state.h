/* The rules and sets of a workspace as one value: read from the database, edited, checked as a whole, written if nobody was quicker. */
#ifndef SERVER_RULE_STATE_H
#define SERVER_RULE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "rules/rules.h"
#include "service.h"

enum {
    RULE_STATE_RULES_MAX = 100000,      /* rules of one workspace */
    RULE_STATE_SETS_MAX = 1000,         /* sets of one workspace */
    RULE_STATE_SET_VALUES_MAX = 100000, /* values of one set */
    RULE_STATE_NAME_SIZE_MAX = 200,
    RULE_STATE_NOTE_SIZE_MAX = 1000,
};

/* A rule, switched on or off. An id of uuid_nil: one that is to be made. */
struct rule_item {
    struct rule_source source;
    bool is_active;
};

/* Everything lies in the arena that it was read into. */
struct rule_state {
    int64_t version;
    int64_t read_at_us; /* when it was read, by the database's clock */
    struct rule_policy policy;
    struct rule_item *items; /* in match order, as read */
    size_t item_count;
    struct rule_named_set *sets; /* by name, as read */
    size_t set_count;
};

/* Reads a version, 0 for the current one. Errors: ERROR_NOT_FOUND; those of service_read(). Waits: for workers only. */
bool rule_state_load(const struct service_call *call, struct arena *arena, const struct uuid *workspace_id,
    int64_t version, int64_t deadline_ns, struct rule_state *ret_state, struct error *reterr_error);

/* The same for a version that this call has just written: who was let write it is told what was written, whatever happened since. */
bool rule_state_load_written(struct service *service, struct arena *arena, const struct uuid *workspace_id,
    int64_t version, int64_t deadline_ns, struct rule_state *ret_state, struct error *reterr_error);

/* A rule of a request, checked; borrows from the message. `field` is where it stands: "rule" or "rules[3]". The id is left alone. Errors:
 * ERROR_INVALID with the field, and the JSON path where conditions are at fault. */
bool rule_state_read_rule(
    const Leadrouter__V1__Rule *message, const char *field, struct rule_item *ret_item, struct error *reterr_error);

/* A rule by its id; NULL when there is none. */
const struct rule_item *rule_state_find(const struct rule_state *state, const struct uuid *id);

/* The active rules of a state, as they are compiled and explained; borrows from it. */
struct rule_set_source rule_state_source(
    const struct rule_state *state, const struct uuid *workspace_id, struct arena *arena);

/* Compiles it: what is refused here would stop routing. Errors: ERROR_INVALID. */
bool rule_state_check(
    const struct rule_state *state, const struct uuid *workspace_id, struct arena *arena, struct error *reterr_error);

/* One difference. */
struct rule_state_change {
    Leadrouter__V1__RuleChangeKind kind;
    const char *name;
    bool is_set;
    const char *parts[4]; /* of a changed rule; NULL after the last */
};

/* What makes `from` to `to`: rules are told apart by their ids. New ones get an id here. `*ret_json` is what change_rules() takes
 * (sql/README.md). Everything in `arena`. */
void rule_state_diff(const struct rule_state *from, struct rule_state *to, struct arena *arena,
    struct rule_state_change **ret_changes, size_t *ret_count, const char **ret_json);

/* Who changes rules, and why. */
struct rule_state_author {
    struct uuid user_id; /* uuid_nil: a service */
    const char *note;
};

/* Writes changes if the rules still have `version`. Errors: ERROR_BUSY when they have not; ERROR_NOT_FOUND; ERROR_INVALID for a
 * destination that is not there or not active; those of service_query(). Waits: for workers only. */
bool rule_state_write(const struct service_call *call, struct arena *arena, const struct uuid *workspace_id,
    int64_t version, const struct rule_state_author *author, const char *changes_json, int64_t deadline_ns,
    int64_t *ret_version, struct error *reterr_error);

#endif
