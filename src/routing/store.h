/* The engine's statements: what goes to the database and what comes back, as structs (contract: sql/README.md). */
#ifndef ROUTING_STORE_H
#define ROUTING_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/uuid.h"
#include "pg/pg.h"
#include "rules/rules.h"

/* What decide() is told to do with a lead; the numbers are its p_verdicts. */
enum verdict_kind {
    VERDICT_NONE = 0,      /* nothing to write: the answer is known already */
    VERDICT_GIVE = 1,      /* to a destination, unless another lead's claim says otherwise */
    VERDICT_DUPLICATE = 2, /* of a lead whose claim was seen */
    VERDICT_FAIL = 3,      /* attempt failed; its error class says whether and when it is tried again */
    VERDICT_EXPIRE = 4,    /* its time to live has passed */
    VERDICT_HOLD = 5,      /* its source workspace is inactive, or wants to be asked */
};

/* Why an attempt failed: rows of leadrouter.error_classes, which says what follows. */
enum store_error_class {
    STORE_ERROR_NONE = 0,
    STORE_ERROR_UNMATCHED,
    STORE_ERROR_FALLBACK_INACTIVE,
    STORE_ERROR_RULES_UNUSABLE,
    STORE_ERROR_DATABASE,
    STORE_ERROR_INVALID_DATA,
};

/* As the retry queue and the audit log have it; NULL for none. */
const char *store_error_class_name(enum store_error_class class);

/* A decided lead's or attempt's result, as the log has it. */
enum store_result {
    STORE_RESULT_NONE = 0,
    STORE_RESULT_SUCCESS,
    STORE_RESULT_DUPLICATE,
    STORE_RESULT_RETRY,
    STORE_RESULT_FAILED,
    STORE_RESULT_EXPIRED,
};

enum store_status {
    STORE_STATUS_PENDING,
    STORE_STATUS_ROUTING,
    STORE_STATUS_ROUTED,
    STORE_STATUS_FAILED,
    STORE_STATUS_EXPIRED,
};

/* What is known of the person for whom a lead is asked; the numbers are those of hold_members(). */
enum store_membership {
    STORE_MEMBERSHIP_OK = 0, /* holds until the transaction ends; or nobody was asked about */
    STORE_MEMBERSHIP_NONE = 1,
    STORE_MEMBERSHIP_CHANGING = 2, /* somebody is at it at this moment */
    STORE_MEMBERSHIP_NO_ADMIN = 3,
};

/* One lead in a batch. Texts are borrowed from the batch's arena. */
struct store_lead {
    struct uuid lead_id; /* in: the pair that is asked for, */
    struct uuid source_workspace_id;
    struct uuid member_id; /* and for whom: uuid_nil for a service */
    bool member_is_admin;

    enum store_membership membership; /* of what is not OK nothing else is said */
    bool is_locked;
    struct pg_tid place;       /* of a locked one: where it lies, */
    struct pg_tid queue_place; /* and its open queue row; both until the transaction ends */
    struct rule_lead facts;    /* of a locked one: what its rules look at, identity, end of its time to live */
    const char *dedupe_hash;   /* NULL: blank identity */
    int64_t lead_expires_us;

    bool is_found;
    bool is_expired;
    bool source_is_active;
    bool has_queue_row;
    bool queue_is_due;
    bool has_claim; /* a live one that another lead holds */
    enum store_status status;
    struct uuid workspace_id;
    struct uuid matched_rule_id;
    const char *matched_rule_name;
    const char *reason;
    struct uuid decision_id;
    enum store_result decided_outcome;
    struct uuid duplicate_lead_id;
    int32_t routing_attempts;
    int32_t queue_attempt;
    int64_t next_retry_us; /* 0: none, or never */
    struct uuid claim_lead_id;
    struct uuid claim_workspace_id;
    int64_t rules_version;
    int32_t max_attempts; /* only from store_lock_due() */
};

/* What is to be written for one lead. Texts are borrowed until the statement was sent. */
struct store_decision {
    struct uuid lead_id;
    struct uuid source_workspace_id;
    struct pg_tid place; /* as in struct store_lead */
    struct pg_tid queue_place;
    struct uuid lock_owner;
    enum verdict_kind verdict;
    struct uuid destination_workspace_id; /* uuid_nil: none; so for the other ids */
    struct uuid matched_rule_id;
    const char *matched_rule_name; /* NULL: none */
    int64_t rules_version;
    struct uuid duplicate_lead_id;
    struct uuid duplicate_workspace_id; /* where that lead went; not written */
    const char *reason;
    enum store_error_class error_class; /* of VERDICT_FAIL */
    int32_t max_attempts;
    struct uuid actor_id;
    bool global_scope;
    int32_t dedupe_days;
    const char *dedupe_hash; /* NULL: blank */
    int64_t lead_expires_us;
    const char *facts_json; /* for the log: what the rules looked at (rule_set_facts()); NULL: nothing */
};

/* What was written for one lead. Texts live in the batch's arena. */
struct store_outcome {
    enum store_result result; /* NONE: no row came back */
    struct uuid destination_workspace_id;
    struct uuid matched_rule_id;
    const char *matched_rule_name; /* only from store_find_attempts() */
    struct uuid
        holder_workspace_id; /* of a duplicate that lost its identity just now, where that went; only from store_decide() */
    struct uuid duplicate_lead_id;
    int32_t attempt;
    int64_t next_retry_us; /* 0: none, or never */
    struct uuid decision_id;
    const char *reason;
};

/* Round trip 1: BEGIN, time limits, lock, read. What is marked "in" goes in, the rest comes out.
 * `ret_transaction_id` is 0 when nothing was locked. On failure the transaction is still to be rolled back
 * when the connection is open. */
bool store_lock(struct pg_conn *conn, struct arena *arena, struct store_lead *leads, size_t count, int64_t deadline_ns,
    uint64_t *ret_transaction_id, struct error *reterr_error);

/* Which rows of the retry queue to claim, and from where on; sql/README.md, lock_due_leads(). */
struct store_due {
    size_t limit;
    struct uuid workspace_id; /* uuid_nil: all */
    bool by_hand;
    bool is_outdated; /* by rule version; otherwise by time */
    bool is_thorough;
    struct uuid member_id; /* who must be a member of the workspace, as in struct routing_request */
    bool member_is_admin;

    /* Where the last claim ended; zero: from the start. Moved on by store_lock_due(). */
    int64_t from_us;
    struct uuid after_workspace_id;
    int64_t after_version;
    struct uuid after_id;
};

/* Round trip 1 of retries: as store_lock(), with the leads of rows that are due. `*ret_leads` has `*ret_count` leads, each with the
 * `max_attempts` of its row. A member that was named and
 * is none is ERROR_DATABASE with the SQLSTATE of require_member(). */
bool store_lock_due(struct pg_conn *conn, struct arena *arena, struct store_due *due, int64_t deadline_ns,
    struct store_lead **ret_leads, size_t *ret_count, uint64_t *ret_transaction_id, struct error *reterr_error);

/* How long until the next row is due by its time, in microseconds (-1: none has a time), and whether retries are paused.
 * Outside any transaction. */
bool store_next_due(struct pg_conn *conn, struct arena *arena, const struct uuid *workspace_id, int64_t deadline_ns,
    int64_t *ret_next_due_in_us, bool *ret_is_paused, struct error *reterr_error);

/* Has lanes leave the rows of these leads alone for a while, each longer than the last time; `reasons` are for who lists the queue. Outside
 * any transaction. */
bool store_postpone(struct pg_conn *conn, struct arena *arena, const struct uuid *lead_ids, const char *const *reasons,
    size_t count, int64_t deadline_ns, struct error *reterr_error);

/* Round trip 2: decide and COMMIT. `ret_sent` says whether the COMMIT may have reached the server: after a failure
 * with it the result is unknown if the connection is closed, and "not done" if it is open. `ret_outcomes[i]`
 * belongs to `decisions[i]`. */
bool store_decide(struct pg_conn *conn, struct arena *arena, const struct store_decision *decisions, size_t count,
    int64_t deadline_ns, struct store_outcome *ret_outcomes, bool *ret_sent, struct error *reterr_error);

/* Ends the transaction without effect; closes the connection when that does not work. */
void store_rollback(struct pg_conn *conn, int64_t deadline_ns);

/* What became of attempts, outside any transaction. Returns false on failure; `ret_found` counts the attempts that
 * left a row. */
bool store_find_attempts(struct pg_conn *conn, struct arena *arena, const struct store_decision *decisions,
    size_t count, int64_t deadline_ns, struct store_outcome *ret_outcomes, size_t *ret_found,
    struct error *reterr_error);

/* A workspace's rules as they are now. */
struct store_rules {
    struct uuid workspace_id;
    int64_t rules_version;
    const char *routing_config;
    bool fallback_is_active; /* the policy's fallback workspace, if it names one */
    struct rule_source *rules;
    size_t rule_count;
    struct rule_named_set *sets;
    size_t set_count;
};

/* Rules and versions of `count` different workspaces, by one statement. `ret_rules[i]` belongs to
 * `workspace_ids[i]`; a workspace that is gone has version -1. Works inside a transaction and outside. */
bool store_load_rules(struct pg_conn *conn, struct arena *arena, const struct uuid *workspace_ids, size_t count,
    int64_t deadline_ns, struct store_rules *ret_rules, struct error *reterr_error);

/* Reads the columns that lock_leads() does not give, of leads that are locked, into their `facts`. */
bool store_read_facts(struct pg_conn *conn, struct arena *arena, struct store_lead *const *leads, size_t count,
    int64_t deadline_ns, struct error *reterr_error);

#endif
