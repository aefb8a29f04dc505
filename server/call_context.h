/* What a call is known by in logs and traces: the request's id and its place in a trace. */
#ifndef SERVER_CALL_CONTEXT_H
#define SERVER_CALL_CONTEXT_H

#include <stdint.h>

#include "base/log.h"
#include "base/uuid.h"
#include "grpc_c/server.h"
#include "trace/context.h"

struct call_context {
    int64_t came_ns;
    struct uuid request_id; /* the caller's (metadata x-request-id, when that is a UUID), or a new one */
    struct trace_context trace;
};

/* Reads it from the call's metadata. What is malformed counts as absent. */
void call_context_read(struct call_context *ret_context, const struct grpc_c_call *call);

enum { CALL_CONTEXT_FIELDS = 3 };

/* Places of the texts that call_context_fields() points to. */
struct call_context_texts {
    char request_id[UUID_TEXT_SIZE];
    char trace_id[TRACE_ID_TEXT_SIZE];
    char span_id[TRACE_SPAN_ID_TEXT_SIZE];
};

/* The fields that every line about a call has: request_id (`request_id` in place of the context's, unless that is uuid_nil),
 * trace_id and span_id, the latter the caller's while the call has no span of its own. `context` may be NULL. */
void call_context_fields(const struct call_context *context, const struct uuid *request_id,
    struct call_context_texts *texts, struct log_field ret_fields[CALL_CONTEXT_FIELDS]);

#endif
