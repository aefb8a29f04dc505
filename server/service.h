/* The gRPC services over the engine. Handlers run on completion queue threads: what waits for the database goes to
 * the workers. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "call_context.h"
#include "call_limits.h"
#include "descriptors.h"
#include "grpc_c/server.h"
#include "grpc_c/services/health.h"
#include "grpc_c/services/reflection.h"
#include "health_verdict.h"
#include "leadrouter/v1/leads.grpc.h"
#include "leadrouter/v1/maintenance.grpc.h"
#include "leadrouter/v1/routing.grpc.h"
#include "leadrouter/v1/rules.grpc.h"
#include "leadrouter/v1/workspaces.grpc.h"
#include "metrics/metrics.h"
#include "pg/pg.h"
#include "privacy.h"
#include "routing/engine.h"
#include "worker_pool.h"

struct health_call;
struct service_call;
struct jobs;
struct routing_retries;

enum {
    SERVICE_LONG_WORKERS = 2, /* calls that take long at once: ProcessRetries, RunJob, ExpireLeads, ReleaseStaleLocks */
    SERVICE_IMPORTS_MAX = 4,  /* imports at once; each has a thread and a connection */
    SERVICE_LONG_WAITING_MAX = 16, /* and that wait for their turn */
};

/* What the handlers share. Lives as long as the gRPC server. */
struct service {
    /* set by the owner before service_register() */
    struct routing_engine *engine;
    struct pg_pool *pool;
    struct pg_pool *read_pool; /* for what people read, with their rights */
    struct worker_pool *workers;
    struct worker_pool *long_workers;   /* for calls that take long, so that the others need not wait for them */
    struct worker_pool *import_workers; /* SERVICE_IMPORTS_MAX of them */
    struct jobs *jobs;
    struct limits *limits;
    int32_t rules_max; /* of a workspace that says nothing else; 0: no limit */
    int schema_version;
    struct metrics *metrics; /* or NULL */
    atomic_bool is_draining; /* set by the owner once no more calls are taken */

    /* the standard services; set by service_init() and service_register() */
    struct privacy *privacy; /* what of requests may be logged */
    struct grpc_c_health *health;
    struct grpc_c_reflection *reflection;

    atomic_uint_fast64_t calls;    /* taken by a handler */
    atomic_uint_fast64_t failures; /* of them answered with a status other than OK */
    atomic_uint creates;           /* CreateLeads under way */
    atomic_uint imports;           /* ImportLeads under way */
    struct descriptors descriptors;

    pthread_mutex_t counts_lock;
    /* under the lock */
    bool has_counts;    /* `counts`, all but the descriptors */
    bool is_counting;   /* somebody counts: whoever comes now waits for that */
    int64_t counted_ns; /* when counting began, monotonic */
    struct health_facts counts;
    struct health_call *counts_wanted; /* calls that wait */

    pthread_mutex_t retries_lock;
    /* under the lock: of ProcessRetries, for the next call, so that it need not connect */
    struct routing_retries *retries_idle[SERVICE_LONG_WORKERS];
    size_t retries_idle_count;

    pthread_mutex_t streams_lock;
    /* under the lock; a stream's own is taken after it */
    struct route_stream *streams; /* of RouteLeads */
    bool streams_are_ending;
};

/* Prepares the shared part that the owner does not set; and its end, when no call is left. */
void service_init(struct service *service);
void service_release(struct service *service);

/* Registers our services, and health and reflection; `service` is borrowed until the server is freed. */
void service_register(struct grpc_c_server *server, struct service *service);

/* Tells the standard health service whether leads can be routed now. From time to time, and once the server is to stop:
 * who watches is sent away. */
void service_tell_health(struct service *service);
void service_stop_health(struct service *service);

/* Once the server is to stop: streams of RouteLeads read no more leads, and end when those they have are answered. */
void service_end_streams(struct service *service);

/* --- Shared by the services' files -------------------------------------------------------------------------------- */

extern const struct leadrouter__v1__routing_service__handlers service_routing_handlers;
extern const struct leadrouter__v1__lead_service__handlers service_lead_handlers;
extern const struct leadrouter__v1__rule_service__handlers service_rule_handlers;
extern const struct leadrouter__v1__maintenance_service__handlers service_maintenance_handlers;
extern const struct leadrouter__v1__workspace_service__handlers service_workspace_handlers;

/* Reads a request's fields except for the deadline. Errors: ERROR_INVALID with the field. */
bool service_route_request(
    const Leadrouter__V1__RouteLeadRequest *message, struct routing_request *ret_request, struct error *reterr_error);

/* RoutingService.RouteLeads, ProcessRetries and Health; in files of their own. */
void service_handle_route_leads(struct grpc_c_call *call, void *user);
void service_handle_process_retries(
    struct grpc_c_call *call, const Leadrouter__V1__ProcessRetriesRequest *request, void *user);
void service_handle_health(struct grpc_c_call *call, const Leadrouter__V1__HealthRequest *request, void *user);

/* LeadService.ImportLeads, GetImport, ListImports and ListRejectedRows; in files of their own. */
void service_handle_import_leads(struct grpc_c_call *call, void *user);
void service_handle_get_import(struct grpc_c_call *call, const Leadrouter__V1__GetImportRequest *request, void *user);
void service_handle_list_imports(
    struct grpc_c_call *call, const Leadrouter__V1__ListImportsRequest *request, void *user);
void service_handle_list_rejected_rows(
    struct grpc_c_call *call, const Leadrouter__V1__ListRejectedRowsRequest *request, void *user);

/* One import of the call's workspace as a message in the arena, and the database's time. Waits: for workers only. Errors:
 * ERROR_NOT_FOUND; those of service_query(). */
bool service_read_import(const struct service_call *call, const struct uuid *import_id, struct arena *arena,
    int64_t deadline_ns, Leadrouter__V1__Import **ret_import, Google__Protobuf__Timestamp **ret_now,
    struct error *reterr_error);

/* Closes the connections that ProcessRetries keeps. Before the engine ends, once no call is left. */
void service_release_retries(struct service *service);

/* The part of MaintenanceService that is about jobs; in a file of its own. */
void service_handle_list_jobs(struct grpc_c_call *call, const Leadrouter__V1__ListJobsRequest *request, void *user);
void service_handle_run_job(struct grpc_c_call *call, const Leadrouter__V1__RunJobRequest *request, void *user);
void service_handle_pause_job(struct grpc_c_call *call, const Leadrouter__V1__PauseJobRequest *request, void *user);
void service_handle_resume_job(struct grpc_c_call *call, const Leadrouter__V1__ResumeJobRequest *request, void *user);

/* MaintenanceService.VerifyAudit; in a file of its own. */
void service_handle_verify_audit(
    struct grpc_c_call *call, const Leadrouter__V1__VerifyAuditRequest *request, void *user);

/* A background job as the database has it. Texts in the reader's arena, never NULL; times 0 for none. */
struct service_job {
    const char *name;
    bool is_paused;
    int64_t paused_us;
    struct uuid paused_by;
    const char *pause_note;
    int64_t next_run_us; /* 0 also for a job without a schedule */
    bool is_running;
    int64_t last_started_us;
    int64_t last_ended_us;
    int64_t last_done_us; /* when it last ended well */
    int64_t last_duration_ms;
    const char *last_result;
    const char *last_detail;
    const char *last_error;
    int32_t failures;
    int64_t runs;
};

/* The jobs in order of their names, and the database's time. Waits: for workers only. Errors: those of service_query(). */
bool service_read_jobs(struct service *service, struct arena *arena, int64_t deadline_ns, struct service_job **ret_jobs,
    size_t *ret_count, int64_t *ret_now_us, struct error *reterr_error);

/* What a job is doing, in one word: what goes on now before what shall be, before what was. */
Leadrouter__V1__JobState service_job_state(bool is_running, bool is_paused, int32_t failures);

/* RuleService.TestRules, LintRules and GetRoutingHistory; in a file of their own. */
void service_handle_lint_rules(struct grpc_c_call *call, const Leadrouter__V1__LintRulesRequest *request, void *user);
void service_handle_test_rules(struct grpc_c_call *call, const Leadrouter__V1__TestRulesRequest *request, void *user);
void service_handle_get_routing_history(
    struct grpc_c_call *call, const Leadrouter__V1__GetRoutingHistoryRequest *request, void *user);

/* What LintRules says of those rules of a state that some changes are about; messages in the arena. Nothing for more rules than can be
 * examined in passing, or rules that cannot be used. */
struct rule_state;
struct rule_state_change;
Leadrouter__V1__LintFinding **service_lint_changes(const struct rule_state *state, const struct uuid *workspace_id,
    const struct rule_state_change *changes, size_t change_count, struct arena *arena, size_t *ret_count);

/* The database's name of a state ("pending") as the protocol has it. */
Leadrouter__V1__LeadStatus service_lead_status(const char *name);

/* What is known about a call while it is under way: part of what its handler keeps in the call's arena. */
struct service_call {
    struct grpc_c_call *call;
    struct service *service;
    int64_t started_ns;
    /* For the log; uuid_nil: not known. */
    struct uuid workspace_id;
    struct uuid lead_id;
    struct uuid request_id; /* the one in the request */
    struct call_context context;
    atomic_uint traced_leads; /* whose spans were exported */
};

/* Begins a call: fills `ret_call` and counts it. First thing in a handler. */
void service_begin(struct service_call *ret_call, struct grpc_c_call *call, void *user);

/* When work for a call has to end, so that its answer still comes in time: a tenth before the call's deadline. */
int64_t service_work_deadline_ns(const struct service_call *call);

/* Answers with a failure and writes one log line; RESOURCE_EXHAUSTED carries push-back. Ends the call. */
void service_fail(struct service_call *call, const struct error *error);

/* The same for a failure that the log has already (decision_log_tells()). */
void service_fail_unlogged(struct service_call *call, const struct error *error);

/* Tells the caller of a RESOURCE_EXHAUSTED when to come back, as gRPC clients understand it; nothing for other failures. Before the call
 * is ended. */
void service_add_pushback(struct grpc_c_call *call, const struct error *error);

/* The same as a number of milliseconds: -1: not at all; 0 for other failures. */
int32_t service_pushback_ms(const struct error *error);

/* Makes ERROR_FULL, not to be tried again, of the database's word (LR429) that a workspace has reached one of its limits; whether it
 * did. */
bool service_find_limit(struct error *error);

/* The status and the text that a caller gets for a failure. What the database said goes to the log only. The text is
 * borrowed from `error` or constant. */
enum grpc_c_status service_status(const struct error *error);
const char *service_text(const struct error *error);

/* Runs one statement in a transaction of its own, on a connection of the pool; repeats it when it met another
 * transaction (40001, 40P01). For a person's call the transaction begins with the question whether the person may, and what
 * was answered holds until it ends. Waits: for workers only. `*ret_result` is the caller's. Errors: ERROR_FORBIDDEN; those of
 * pg_pool_acquire() and pg_execute(), so after ERROR_UNAVAILABLE the statement may have been carried out;
 * ERROR_DEADLINE without asking when the deadline has passed. */
bool service_query(const struct service_call *call, const struct pg_statement *statement,
    const struct pg_params *params, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* A statement that reads, in two forms: for services a function that sees everything, for people its double that has their rights
 * (sql/README.md, own_...). */
struct service_reading {
    struct pg_statement for_services;
    struct pg_statement for_people;
};

/* From the columns, the function's name, its arguments in brackets, their number, and their types. */
#define SERVICE_READING(columns, function, arguments, count, ...)                                                      \
    {                                                                                                                  \
        {.name = function,                                                                                             \
            .sql = "select " columns " from leadrouter." function arguments,                                           \
            .param_count = (count),                                                                                    \
            .param_types = {__VA_ARGS__}},                                                                             \
        {                                                                                                              \
            .name = "own_" function, .sql = "select " columns " from leadrouter.own_" function arguments,              \
            .param_count = (count), .param_types = {                                                                   \
                __VA_ARGS__                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }

/* Only whether the caller may, for work that takes something before its first transaction. Errors: ERROR_FORBIDDEN, and what a query may
 * fail with. */
bool service_ask_need(const struct service_call *call, int64_t deadline_ns, struct error *reterr_error);

/* As service_query(), for what only reads: a person reads with the person's own rights and claims, on connections for nothing else. */
bool service_read(const struct service_call *call, const struct service_reading *reading,
    const struct pg_params *params, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* As service_query(), for what the server does of its own accord or for several callers at once: nobody is asked about. */
bool service_query_unasked(struct service *service, const struct pg_statement *statement,
    const struct pg_params *params, int64_t deadline_ns, struct pg_result **ret_result, struct error *reterr_error);

/* Makes ERROR_FORBIDDEN of what require_member() says; leaves other errors as they are. */
void service_know_denied(struct error *error);

/* Whose membership a lead's decision stands on: that of the person who calls. */
void service_ask_as_caller(const struct service_call *call, struct routing_request *request);

/* A few milliseconds, by chance, so that two that met do not meet again. For workers only. */
void service_pause(void);

/* Reads an id. Errors: ERROR_INVALID "lead_id: not a UUID". An empty optional id gives uuid_nil. */
bool service_parse_id(
    const char *field, const char *text, bool is_optional, struct uuid *ret_id, struct error *reterr_error);

/* An id as text in the arena; "" for uuid_nil. */
char *service_id(struct arena *arena, const struct uuid *id);

/* A time in the arena; NULL for 0 and for infinity. */
Google__Protobuf__Timestamp *service_time(struct arena *arena, int64_t unix_us);

/* The engine's answer as a message in the arena; the answer must have no error. */
Leadrouter__V1__RouteLeadResponse *service_route_response(struct arena *arena, const struct routing_answer *answer);

#endif
