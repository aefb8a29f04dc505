/* One line of the log for each finished decision that is worth it: of plain successes a share, and all that failed, was slow, was a
 * duplicate, or was held by somebody else (docs/logging.md). */
#ifndef SERVER_DECISION_LOG_H
#define SERVER_DECISION_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "routing/engine.h"
#include "trace/tracer.h"

enum { DECISION_LOG_PER_MILLE = 1000 };

/* Constant while the engine lives. */
struct decision_log {
    unsigned sample_per_mille; /* of plain successes */
    int64_t slow_ns;           /* from here on a decision is slow */
    struct tracer *tracer;     /* is told of all; NULL: no spans */
};

/* The engine's observer; `user` is a struct decision_log, and contexts of tickets are struct service_call. */
void decision_log_observe(void *user, const struct routing_finished *finished);

/* True for failures that have a line here, so that the call which ends by one needs none. */
bool decision_log_tells(const struct error *error);

#endif
