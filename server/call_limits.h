/* What each workspace may ask of this server at once and in a second, held in memory.
 *
 * A call takes its place before it begins and gives it back when it ends. The values come from the database, in the background
 * (call_limits_loader.h): until a workspace's own are known, and where it has none, those of the server hold. All functions may be
 * called by any thread; none waits for anything but a lock that is held for some hundred instructions. */
#ifndef SERVER_CALL_LIMITS_H
#define SERVER_CALL_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

enum {
    LIMITS_REFRESH_MS = 2000, /* values that are older are read anew once a call uses them */
    LIMITS_REPORT_MS = 10000, /* refusals of one workspace are reported once in this time */
    LIMITS_REFUSALS = 200,    /* that a workspace is told in a second; more are told later, one after the other */
    LIMITS_LATE_MS = 1000,    /* within this, though, and then more of them in a second */
    LIMITS_SPREAD_MS = 1000, /* those who are refused together are told to come back one after the other, within this */
};

/* 0 in a field: no limit. */
struct limits_values {
    int32_t calls_per_second;
    int32_t calls_burst; /* that may come at once; 0: as many as in a second. Of no effect without calls_per_second */
    int32_t calls_in_flight;
    int32_t imports; /* that may run at once */
};

struct limits;
struct limits_entry;

/* What a call holds while it is under way. Zero: nothing. */
struct limits_hold {
    struct limits_entry *entry;
    struct uuid workspace_id;
    struct uuid user_id; /* of a person */
    int64_t tell_ns;     /* after a refusal: when it is to be told; 0: at once */
    uint64_t refused;    /* after a refusal: how many to report for this workspace, this one among them; 0: not now */
};

/* How a call ended, as far as it says something of the person who made it. */
enum limits_end { LIMITS_END_UNSAID, LIMITS_END_MEMBER, LIMITS_END_STRANGER };

struct limits_options {
    struct limits_values standard; /* where a workspace says nothing else */
    /* Required: workspaces and people to remember. More are only while they have calls under way. */
    size_t entries_max;
    /* Optional: there are values to be read, see limits_wanted(). On the thread of a call, under no lock; must not block. */
    void (*on_wanted)(void *user);
    void *user;
};

/* `options` are copied. */
struct limits *limits_new(const struct limits_options *options);

/* Once no call holds anything. NULL is fine. */
void limits_free(struct limits *limits);

/* Counts a call for a workspace; `user_id` is the person who calls, NULL for a service. `ret_hold` is always written; after success it is
 * to be given to limits_leave().
 *
 * A person's call counts for the workspace once a call of theirs for it has succeeded, and before that for the person, by the server's
 * own values: what strangers do takes nothing from a workspace, and being refused does not tell them whether there is one.
 *
 * Errors: ERROR_FULL with the limit and its value, and when a call may be let in. */
bool limits_enter(struct limits *limits, const struct uuid *workspace_id, const struct uuid *user_id, int64_t now_ns,
    struct limits_hold *ret_hold, struct error *reterr_error);

/* Counts a further call under the hold of one that is under way and has succeeded in something: a stream is one call, and what comes over
 * it are many. A person is a member by then, and counts for the workspace from here on. Errors: ERROR_FULL, and when it may come. */
bool limits_spend(struct limits *limits, struct limits_hold *hold, int64_t now_ns, struct error *reterr_error);

/* Counts an import of a workspace, for a service or a person who is a member. It is no call: that, its stream is already. `ret_hold` as for
 * limits_enter(), to be given to limits_leave_import(). Errors: ERROR_FULL with the limit and its value. */
bool limits_enter_import(struct limits *limits, const struct uuid *workspace_id, int64_t now_ns,
    struct limits_hold *ret_hold, struct error *reterr_error);

/* The end of an import. Empties the hold; an empty one is fine. */
void limits_leave_import(struct limits *limits, struct limits_hold *hold);

/* The end of a call. Empties the hold; an empty one is fine. */
void limits_leave(struct limits *limits, struct limits_hold *hold, enum limits_end end);

/* Calls refused so far. */
uint64_t limits_refused(const struct limits *limits);

/* Workspaces whose values are to be read, at most `max` of them. They stay wanted until limits_set(). */
size_t limits_wanted(struct limits *limits, struct uuid *ret_ids, size_t max);

/* Sets what was read, at a time when nothing newer had been committed. Of no effect for a workspace that has been forgotten. */
void limits_set(
    struct limits *limits, const struct uuid *workspace_id, const struct limits_values *values, int64_t now_ns);

/* How many workspaces, people and memberships are remembered, and how many calls are under way. */
void limits_count(struct limits *limits, size_t *ret_entries, size_t *ret_calls);

#endif
