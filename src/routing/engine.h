/* The routing engine: takes requests from any thread, decides them in batches, one transaction of two round trips each
 * (src/routing/README.md). Shared by server, jobs, imports and benches. */
#ifndef ROUTING_ENGINE_H
#define ROUTING_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "metrics/metrics.h"
#include "pg/pg.h"

struct routing_engine;

enum {
    ROUTING_MAX_ATTEMPTS_DEFAULT = 3,
    ROUTING_MAX_ATTEMPTS_LIMIT = 20,
    ROUTING_REASON_SIZE = 256,
    ROUTING_RULE_NAME_SIZE = 256
};

struct routing_finished;

/* Told of each request that was answered, before its callback, and of each retry that was looked at. On the thread that
 * decided; must not block. What `finished` points to is valid during the call. */
typedef void routing_observer(void *user, const struct routing_finished *finished);

/* Zero in a field means its default. */
struct routing_engine_options {
    const struct pg_config *database; /* Required; borrowed while the engine lives */
    unsigned lanes;                   /* threads with a connection each; default 2 */
    unsigned batch_leads_max;         /* leads in one transaction; default 256 */
    unsigned waiting_max;             /* requests waiting for a lane; default 10,000 */
    routing_observer *observer;       /* default: none */
    void *observer_user;
    struct metrics *metrics; /* what is counted; borrowed while the engine lives; default: some of its own */
};

/* One request. */
struct routing_request {
    struct uuid lead_id;
    struct uuid source_workspace_id;
    struct uuid actor_id;  /* who asks, or uuid_nil */
    struct uuid member_id; /* who must be a member of the source workspace until this is committed; uuid_nil: nobody */
    bool member_is_admin;  /* must administer it, too */
    int32_t max_attempts;  /* 1 … ROUTING_MAX_ATTEMPTS_LIMIT */
    bool force;            /* attempt it although its retry is not due, or it failed */
    bool is_unasked;       /* nobody has asked: a retry. Leads of a workspace that routes only when asked are held */
    int64_t deadline_ns;   /* monotonic; after it the answer is ERROR_DEADLINE or ERROR_RESULT_UNKNOWN */
};

/* What ERROR_FORBIDDEN says: the same for a workspace of others and for none. */
#define ROUTING_NO_MEMBER_TEXT "there is no such workspace, or it is not yours"
#define ROUTING_NO_ADMIN_TEXT "only those who administer the workspace may call this"

/* Mirrors leadrouter.v1.RoutingOutcome. */
enum routing_outcome {
    ROUTING_OUTCOME_NONE = 0,
    ROUTING_OUTCOME_ROUTED = 1,
    ROUTING_OUTCOME_DUPLICATE = 2,
    ROUTING_OUTCOME_QUEUED_FOR_RETRY = 3,
    ROUTING_OUTCOME_FAILED = 4,
    ROUTING_OUTCOME_ALREADY_ROUTED = 5,
    ROUTING_OUTCOME_EXPIRED = 6,
};

/* When a lead's transaction did what: nanoseconds of the monotonic clock, 0 for what it did not come to. Of several
 * transactions it is the one that settled the lead. All leads of a transaction share the times. */
struct routing_phases {
    int64_t taken_ns;   /* until then the request waited for a lane */
    int64_t began_ns;   /* the transaction */
    int64_t locked_ns;  /* round trip 1 is over: leads locked and read */
    int64_t loaded_ns;  /* rules and facts that were not at hand are */
    int64_t matched_ns; /* what to do is chosen */
    int64_t written_ns; /* round trip 2 is over: written and committed */
    size_t leads;       /* in the transaction */
};

/* What became of a request. When `error.code` is ERROR_NONE the rest is set; otherwise only `error` and `phases` are:
 * ERROR_NOT_FOUND no such lead in that workspace; ERROR_FORBIDDEN not a member of it, or there is none;
 * ERROR_BUSY held by somebody else for over 100 ms;
 * ERROR_UNAVAILABLE database away, nothing done; ERROR_RESULT_UNKNOWN may have been done, asking again is safe;
 * ERROR_DEADLINE nothing done in time; ERROR_CANCELLED; ERROR_INVALID the workspace's rules or configuration cannot
 * be used; ERROR_INTERNAL. */
struct routing_answer {
    struct error error;
    enum routing_outcome outcome;
    enum routing_outcome decided_outcome; /* only with ALREADY_ROUTED: ROUTED or DUPLICATE */
    struct uuid lead_id;
    struct uuid destination_workspace_id; /* uuid_nil while undecided */
    struct uuid matched_rule_id;
    struct uuid duplicate_lead_id;
    struct uuid duplicate_workspace_id; /* where that lead went; only of a decision made now */
    struct uuid decision_id;
    int32_t attempt;
    int64_t next_retry_at_us;                       /* microseconds since 1970 UTC; 0: none */
    char matched_rule_name[ROUTING_RULE_NAME_SIZE]; /* UTF-8, cut on a code point */
    char reason[ROUTING_REASON_SIZE];
    const char *
        error_class; /* why the attempt failed, as the retry queue has it; constant; NULL: it did not, or was not made now */
    char sqlstate[ERROR_SQLSTATE_SIZE]; /* what broke the attempt, where that was the database; or "" */
    struct routing_phases phases;
};

struct routing_ticket;

/* Told the answer, exactly once per accepted ticket, on a lane's thread (or inside routing_engine_free()); must not
 * block. `answer` is valid during the call; the ticket is the caller's again from the moment the callback is
 * entered. */
typedef void routing_callback(struct routing_ticket *ticket, const struct routing_answer *answer);

/* A request on its way. Owned by the caller, who keeps it in place from submit until the callback. */
struct routing_ticket {
    struct routing_request request; /* set by the caller before submit */
    routing_callback *callback;     /* set by the caller before submit */
    void *user;                     /* the caller's */
    void *context;                  /* the observer's: who asks; or NULL */
    atomic_bool abandoned; /* any thread may set it: the caller has gone; dropped if its transaction has not begun */

    /* The engine's, while it has the ticket. */
    int64_t submitted_ns;
    struct routing_ticket *next;
};

/* What the observer is told. */
struct routing_finished {
    const struct routing_request *request;
    const struct routing_ticket *ticket; /* NULL: nobody asked; a retry */
    bool is_joined;                      /* the lead's decision was told already, to the first who asked for it */
    const struct routing_answer *answer;
};

/* Makes an engine and starts its lanes. They connect by themselves and go on trying; it does not fail because the
 * database is away. */
bool routing_engine_new(
    const struct routing_engine_options *options, struct routing_engine **ret_engine, struct error *reterr_error);

/* Hands a ticket over. Returns false when `waiting_max` requests wait already or the engine is stopping
 * (ERROR_FULL, ERROR_UNAVAILABLE); the ticket then stays the caller's and no callback comes. Any thread; never
 * blocks for long. */
bool routing_engine_submit(struct routing_engine *engine, struct routing_ticket *ticket, struct error *reterr_error);

/* Hands `count` tickets over with one lock: all or none. */
bool routing_engine_submit_many(
    struct routing_engine *engine, struct routing_ticket *const *tickets, size_t count, struct error *reterr_error);

/* True while at least one lane has a connection to the database. Any thread. */
bool routing_engine_is_connected(struct routing_engine *engine);

/* Requests waiting or being decided. Any thread. */
size_t routing_engine_load(struct routing_engine *engine);

/* Takes no more tickets, answers everything it has (deciding what can be decided until `drain_ms` is over, then
 * ERROR_UNAVAILABLE), ends the lanes, releases. NULL is fine. No submit may run at the same time or later. */
void routing_engine_free(struct routing_engine *engine, int64_t drain_ms);

/* Counters since start, for logs, tests and benches: sums of the engine's metrics, so that of two engines with the same metrics it is both.
 * Each is exact; together they are not one moment. */
struct routing_statistics {
    uint64_t batches;               /* transactions begun */
    uint64_t leads;                 /* leads that entered a transaction */
    uint64_t transaction_retries;   /* transactions repeated after 40001 or 40P01 */
    uint64_t batches_split;         /* batches divided because a lead in them broke */
    uint64_t rule_loads;            /* rule sets loaded */
    uint64_t held_again;            /* requests asked again because somebody held the lead */
    uint64_t unknown_commits;       /* commits whose result had to be looked up */
    uint64_t unknown_committed;     /* of them, those that had happened, */
    uint64_t unknown_not_committed; /* and those that had not */
    uint64_t joined;                /* requests that joined another for the same lead */
};
void routing_engine_statistics(struct routing_engine *engine, struct routing_statistics *ret_statistics);

/* What this engine did within the last hour, for calls and retries. Shares are from 0 to 1, and 0 when there was nothing to count. */
struct routing_rates {
    int64_t period_seconds; /* from 3,540 to 3,600; less after a start */
    uint64_t attempts;      /* that ended, each with an outcome that it wrote down */
    uint64_t finals;        /* of them routed, duplicates or failed */
    double success_share;   /* of finals: routed or duplicates */
    double duplicate_share; /* of finals */
    double expired_share;   /* of attempts: found the time to live passed */
    uint64_t locks;         /* leads that callers asked for and that could be decided */
    double lock_share;      /* of them: those that nobody held */
    uint64_t waits;         /* calls that got an outcome */
    uint64_t waits_late_p95,
        waits_late_p99;           /* of them: those that took as long as the service levels of p95 and p99, or longer */
    uint64_t calls, calls_failed; /* as routing_engine_add_call() was told */
    uint64_t routed, duplicates, requeued, failed, expired; /* the attempts, by outcome */
    int64_t max_us;                                         /* the longest wait, exact */
    int64_t p50_us, p95_us, p99_us; /* how long callers waited for an outcome; at most 3.2 % above the true values */
};
void routing_engine_rates(struct routing_engine *engine, struct routing_rates *ret_rates);

/* Counts a call that was answered, of whatever kind, for those rates: the engine sees only those that ask it. Any thread. */
void routing_engine_add_call(struct routing_engine *engine, bool has_failed);

#endif
