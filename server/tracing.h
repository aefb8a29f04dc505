/* The server's spans: of calls, and of decisions with their phases (src/trace exports them). */
#ifndef SERVER_TRACING_H
#define SERVER_TRACING_H

#include <stdbool.h>

#include "base/error.h"
#include "call_context.h"
#include "config.h"
#include "routing/engine.h"
#include "trace/tracer.h"

/* Whether the settings go together and name an endpoint that may be; false with the reason (ERROR_INVALID). Files are not looked at. */
bool tracing_check(const struct config *config, struct error *reterr_error);

/* Makes the tracer that the settings ask for; NULL when they ask for none. Errors: those of tracer_new(); ERROR_INVALID for a key
 * or certificate without the other, or without a CA. */
bool tracing_start(const struct config *config, struct tracer **ret_tracer, struct error *reterr_error);

/* Exports what is left, as long as the settings say, and ends it; says what became of the spans. NULL is fine. */
void tracing_stop(struct tracer *tracer, const struct config *config);

/* A call was ended: its span, when it is sampled. */
void tracing_call_ended(
    struct tracer *tracer, const struct call_context *context, const char *method, enum grpc_c_status status);

enum { TRACING_LEADS_MAX = 32 /* of one call */ };

/* A decision: its span and those of its phases, when its call is sampled and has not had TRACING_LEADS_MAX yet; a retry by
 * chance. */
void tracing_decided(struct tracer *tracer, const struct routing_finished *finished, const char *outcome);

#endif
