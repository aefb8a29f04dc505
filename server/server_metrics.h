/* The server's metrics: what the values of their labels are, and every call counted. */
#ifndef SERVER_SERVER_METRICS_H
#define SERVER_SERVER_METRICS_H

#include "grpc_c/server.h"
#include "metrics/metrics.h"
#include "routing/engine.h"

enum { SERVER_METRICS_METHODS_MAX = 128 };

/* Who counts calls; borrowed by the gRPC server. */
struct server_metrics {
    struct metrics *metrics;
    struct routing_engine *engine;             /* whose rates have calls, too; set between the two functions */
    char version_text[16];                     /* of the schema */
    size_t places[SERVER_METRICS_METHODS_MAX]; /* of a method in order of registration: among the label's values */
    bool are_standard
        [SERVER_METRICS_METHODS_MAX]; /* by that place: health checks and reflection, which say nothing of availability */
};

/* Makes the metrics of a server that works on a schema of that version. Released with metrics_free(). */
void server_metrics_make(struct server_metrics *ret_metrics, int schema_version);

/* Has every call of the server counted, once its services are registered. Before start. */
void server_metrics_watch(struct server_metrics *metrics, struct grpc_c_server *server);

#endif
