/* Spans as OpenTelemetry's messages. Not for users of src/trace. */
#ifndef TRACE_OTLP_H
#define TRACE_OTLP_H

#include "base/arena.h"
#include "otlp.grpc.h"
#include "trace/tracer.h"

/* Whose spans these are. */
struct otlp_source {
    const char *version;
    const char *instance_id; /* of this process */
};

/* A request with these spans; in the arena. `clock_offset_ns` is what the wall clock is ahead of the monotonic one. */
Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest *otlp_request(struct arena *arena,
    const struct otlp_source *source, const struct trace_span *spans, size_t count, int64_t clock_offset_ns);

#endif
