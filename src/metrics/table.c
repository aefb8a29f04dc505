#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "metrics/metrics.h"

/* --- Buckets ------------------------------------------------------------------------------------------------------ */

#define US(number) UINT64_C(number) * 1000
#define MS(number) UINT64_C(number) * 1000000

/* An edge at each service level (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.5, 2, 3, 5 s), and below them where a healthy server is. */
static const struct metrics_edges latency_edges = {
    {US(100), US(250), US(500), MS(1), US(2500), MS(5), MS(10), MS(25), MS(50), MS(100), MS(200), MS(300), MS(500),
        MS(800), MS(1500), MS(2000), MS(3000), MS(5000), MS(10000)},
    19};
static const struct metrics_edges leads_edges = {{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096}, 12};

#define EDGES_NONE NULL
#define EDGES_LATENCY &latency_edges
#define EDGES_LEADS &leads_edges

/* --- Labels ------------------------------------------------------------------------------------------------------- */

static const char *const outcomes[] = {"routed", "duplicate", "queued_for_retry", "failed", "expired"};
static const char *const origins[] = {"call", "retry"};
static const char *const answers[] = {"decided", "already_decided", "not_found", "forbidden", "invalid", "busy",
    "unavailable", "result_unknown", "deadline", "cancelled", "internal"};
static const char *const locks[] = {"acquired", "passed_over", "timed_out"};
static const char *const claims[] = {"won", "lost", "seen"};
static const char *const evaluations[] = {"matched", "unmatched", "unusable"};
static const char *const phases[] = {"lock", "load", "match", "decide"};
static const char *const resolutions[] = {"committed", "not_committed", "unresolved"};
static const char *const results[] = {"ok", "failed"};
static const char *const pools[] = {"service", "people"};
static const char *const statuses[] = {"pending", "routing", "failed"};
static const char *const aggregates[] = {"mean", "max"};
static const char *const retries[] = {"routed", "duplicate", "requeued", "failed", "expired", "held", "error"};
static const char *const openings[] = {"attempt", "lost_lead", "stale_lock"};
static const char *const fences[] = {"import", "job"};
static const char *const samples[] = {"routing", "tables", "duplicates"};
static const char *const tables[] = {"leads", "lead_routing_queue", "lead_routing_logs", "lead_dedupe_claims"};
static const char *const http_statuses[] = {"200", "304", "400", "401", "403", "404", "405", "503"};

/* A state stands before its class, which is its first two characters; the last counts what is none of them. */
static const char *const sqlstates[] = {"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53100", "53200",
    "53300", "23505", "25006", "25P03", "42501", "42P01", "08", "22", "23", "25", "28", "3F", "40", "42", "53", "54",
    "55", "57", "58", "LR", "XX", "other"};

static_assert(COUNT_OF(outcomes) == METRICS_OUTCOME_EXPIRED + 1, "as the enum");
static_assert(COUNT_OF(answers) == METRICS_ANSWER_INTERNAL + 1, "as the enum");
static_assert(COUNT_OF(locks) == METRICS_LOCK_TIMED_OUT + 1, "as the enum");
static_assert(COUNT_OF(claims) == METRICS_CLAIM_SEEN + 1, "as the enum");
static_assert(COUNT_OF(evaluations) == METRICS_EVALUATION_UNUSABLE + 1, "as the enum");
static_assert(COUNT_OF(phases) == METRICS_PHASE_DECIDE + 1, "as the enum");
static_assert(COUNT_OF(resolutions) == METRICS_RESOLUTION_UNRESOLVED + 1, "as the enum");
static_assert(COUNT_OF(retries) == METRICS_RETRY_ERROR + 1, "as the enum");
static_assert(COUNT_OF(openings) == METRICS_OPENING_STALE_LOCK + 1, "as the enum");
static_assert(COUNT_OF(origins) == METRICS_ORIGIN_RETRY + 1, "as the enum");
static_assert(COUNT_OF(results) == METRICS_RESULT_FAILED + 1, "as the enum");
static_assert(COUNT_OF(pools) == METRICS_POOL_PEOPLE + 1, "as the enum");
static_assert(COUNT_OF(statuses) == METRICS_STATUS_FAILED + 1, "as the enum");
static_assert(COUNT_OF(aggregates) == METRICS_AGGREGATE_MAX + 1, "as the enum");
static_assert(COUNT_OF(fences) == METRICS_FENCED_JOB + 1, "as the enum");
static_assert(COUNT_OF(samples) == METRICS_SAMPLE_DUPLICATES + 1, "as the enum");
static_assert(COUNT_OF(tables) == METRICS_TABLES, "as the enum");
static_assert(COUNT_OF(http_statuses) == METRICS_HTTP_503 + 1, "as the enum");

/* tidy: table */
#define FIXED(values) values, COUNT_OF(values)
const struct metrics_label_family metrics_labels[METRICS_LABELS] = {
    [METRICS_LABEL_OUTCOME] = {"outcome", "what an attempt led to", FIXED(outcomes)},
    [METRICS_LABEL_ORIGIN] = {"origin", "for callers, or for the retry queue", FIXED(origins)},
    [METRICS_LABEL_ANSWER] = {"answer", "what callers got", FIXED(answers)},
    [METRICS_LABEL_LOCK] = {"result", "what became of the lock", FIXED(locks)},
    [METRICS_LABEL_CLAIM] = {"result", "what became of the claim", FIXED(claims)},
    [METRICS_LABEL_EVALUATION] = {"result", "what the rules said", FIXED(evaluations)},
    [METRICS_LABEL_PHASE] = {"phase", "a part of a transaction", FIXED(phases)},
    [METRICS_LABEL_RESOLUTION] = {"resolution", "what was found out", FIXED(resolutions)},
    [METRICS_LABEL_SQLSTATE] = {"sqlstate", "a state, or the first two characters of all others of a class",
        FIXED(sqlstates)},
    [METRICS_LABEL_RESULT] = {"result", "whether it worked", FIXED(results)},
    [METRICS_LABEL_POOL] = {"pool", "for services and the server itself, or for what people read", FIXED(pools)},
    [METRICS_LABEL_STATUS] = {"status", "of the lead", FIXED(statuses)},
    [METRICS_LABEL_AGGREGATE] = {"aggregate", "of all of them", FIXED(aggregates)},
    [METRICS_LABEL_RETRY] = {"result", "what came of it", FIXED(retries)},
    [METRICS_LABEL_OPENING] = {"reason", "a failed attempt, or one of the jobs lost_leads and stale_locks",
        FIXED(openings)},
    [METRICS_LABEL_FENCED] = {"work", "what had been given to another", FIXED(fences)},
    [METRICS_LABEL_SAMPLE] = {"sample", "which reading", FIXED(samples)},
    [METRICS_LABEL_TABLE] = {"table", "of the database", FIXED(tables)},
    [METRICS_LABEL_HTTP_STATUS] = {"status", "of the answer", FIXED(http_statuses)},
    [METRICS_LABEL_CODE] = {"code", "gRPC's status codes", NULL, 0},
    [METRICS_LABEL_METHOD] = {"method",
        "each method of the server, as `leadrouter.v1.RoutingService/RouteLead`, and `other`", NULL, 0},
    /* Not "job": Prometheus calls what it scrapes so. */
    [METRICS_LABEL_JOB] = {"name", "each background job", NULL, 0},
    [METRICS_LABEL_VERSION] = {"version", "of the program", NULL, 0},
    [METRICS_LABEL_SCHEMA_VERSION] = {"schema_version", "of the schema", NULL, 0},
    [METRICS_LABEL_WORKSPACE_ID] = {"workspace_id", "of the ten workspaces with the most, if they have any", NULL, 0},
    [METRICS_LABEL_WORKSPACE] = {"workspace", "its name", NULL, 0},
};

size_t metrics_sqlstate(const char *sqlstate)
{
    size_t last = COUNT_OF(sqlstates) - 1;

    for (size_t i = 0; i < last; i++)
        if (strncmp(sqlstates[i], sqlstate, strlen(sqlstates[i])) == 0)
            return i;
    return last;
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

const struct metrics_family metrics_table[METRICS_COUNT] = {
#define METRIC(id, type_, name_, unit_, first, second, edges_, help_)                                                  \
    {.name = (name_),                                                                                                  \
        .help = (help_),                                                                                               \
        .type = METRICS_##type_,                                                                                       \
        .unit = METRICS_##unit_,                                                                                       \
        .labels = {METRICS_LABEL_##first, METRICS_LABEL_##second},                                                     \
        .edges = EDGES_##edges_},
#include "metrics/table.inc"
#undef METRIC
};
