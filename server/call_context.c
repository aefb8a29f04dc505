#include "call_context.h"

#include <string.h>

#include "base/clock.h"

void call_context_read(struct call_context *ret_context, const struct grpc_c_call *call)
{
    size_t size = 0;
    const char *parent = grpc_c_call_metadata(call, "traceparent", &size);

    *ret_context = (struct call_context){.came_ns = clock_now_ns()};
    if (!uuid_parse(grpc_c_call_metadata(call, "x-request-id", NULL), &ret_context->request_id))
        ret_context->request_id = uuid_random();
    if (parent != NULL)
        trace_context_parse(parent, size, &ret_context->trace);
}

void call_context_fields(const struct call_context *context, const struct uuid *request_id,
    struct call_context_texts *texts, struct log_field ret_fields[CALL_CONTEXT_FIELDS])
{
    static const uint8_t none[TRACE_SPAN_ID_SIZE];
    struct log_field fields[CALL_CONTEXT_FIELDS] = {
        LOG_STRING("request_id", NULL), LOG_STRING("trace_id", NULL), LOG_STRING("span_id", NULL)};

    if (request_id == NULL || uuid_is_nil(request_id))
        request_id = context == NULL ? NULL : &context->request_id;
    if (request_id != NULL && !uuid_is_nil(request_id))
        fields[0].string = uuid_format(request_id, texts->request_id);
    if (context != NULL && trace_context_is_set(&context->trace)) {
        const struct trace_context *trace = &context->trace;
        bool is_ours = memcmp(trace->span_id, none, sizeof(none)) != 0;
        fields[1].string = trace_id_format(trace->trace_id, texts->trace_id);
        fields[2].string = trace_span_id_format(is_ours ? trace->span_id : trace->parent_id, texts->span_id);
    }
    memcpy(ret_fields, fields, sizeof(fields));
}
