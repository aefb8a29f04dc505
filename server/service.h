/* The gRPC services over the engine. Handlers run on completion queue threads: what waits for the database goes to
 * the workers. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "grpc_c/server.h"
#include "leadrouter/v1/leads.grpc.h"
#include "leadrouter/v1/routing.grpc.h"
#include "pg/pg.h"
#include "routing/engine.h"
#include "worker_pool.h"

/* What the handlers share; filled by command_serve.c, lives as long as the gRPC server. */
struct service {
    struct routing_engine *engine;
    struct pg_pool *pool;
    struct worker_pool *workers;
    int schema_version;

    pthread_mutex_t counts_lock;
    /* under the lock */
    bool has_counts;
    int64_t counted_ns; /* monotonic */
    struct service_counts {
        int64_t pending, routing, failed, retry_queue_depth, retries_due, stale_locks, oldest_pending_age_seconds,
            counted_us;
    } counts;
};

/* Registers both services; `service` is borrowed until the server is freed. */
void service_register(struct grpc_c_server *server, struct service *service);

/* --- Shared by the services' files
 * --------------------------------------------------------------------------------------- */

extern const struct leadrouter__v1__routing_service__handlers service_routing_handlers;
extern const struct leadrouter__v1__lead_service__handlers service_lead_handlers;

/* The status that a caller sees for a failure, by its code. */
enum grpc_c_status service_status(const struct error *error);

/* Answers with a failure and writes one log line; RESOURCE_EXHAUSTED carries push-back. `started_ns` is when the
 * call came. */
void service_fail(struct grpc_c_call *call, const struct error *error, int64_t started_ns);

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
