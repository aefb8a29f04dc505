#include "trace/otlp.h"

#include <string.h>

#include "base/memory.h"

/* The generated names are as long as the package's. */
#define OTLP(type) Opentelemetry__Proto__Collector__Trace__V1__##type
#define OTLP_ENUM(name) OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__##name
#define OTLP_INIT(type) opentelemetry__proto__collector__trace__v1__##type##__init

enum { SAMPLED = 1 };

/* A list with one attribute more than it has; `*count` grows. */
static OTLP(AnyValue) * add(struct arena *arena, OTLP(KeyValue) * *list, size_t *count, const char *key)
{
    OTLP(KeyValue) *pair = arena_alloc(arena, sizeof(*pair));

    OTLP_INIT(key_value)(pair);
    pair->key = arena_copy_string(arena, key);
    pair->value = arena_alloc(arena, sizeof(*pair->value));
    OTLP_INIT(any_value)(pair->value);
    list[(*count)++] = pair;
    return pair->value;
}

static void add_text(struct arena *arena, OTLP(KeyValue) * *list, size_t *count, const char *key, const char *text)
{
    OTLP(AnyValue) *value = add(arena, list, count, key);

    value->value_case = OTLP_ENUM(ANY_VALUE__VALUE_STRING_VALUE);
    value->string_value = arena_copy_string(arena, text);
}

static void add_attribute(
    struct arena *arena, OTLP(KeyValue) * *list, size_t *count, const struct trace_attribute *attribute)
{
    char id[UUID_TEXT_SIZE];

    if (attribute->kind == TRACE_NUMBER) {
        OTLP(AnyValue) *value = add(arena, list, count, attribute->key);
        value->value_case = OTLP_ENUM(ANY_VALUE__VALUE_INT_VALUE);
        value->int_value = attribute->number;
    } else {
        add_text(arena, list, count, attribute->key,
            attribute->kind == TRACE_TEXT ? attribute->text : uuid_format(&attribute->id, id));
    }
}

static ProtobufCBinaryData bytes_of(struct arena *arena, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)arena_copy(arena, (const char *)bytes, size)};
    return (ProtobufCBinaryData){0};
}

static OTLP(Span) * span_message(struct arena *arena, const struct trace_span *span, int64_t clock_offset_ns)
{
    static const OTLP(SpanKind) kinds[] = {[TRACE_INTERNAL] = OTLP_ENUM(SPAN_KIND__SPAN_KIND_INTERNAL),
        [TRACE_SERVER] = OTLP_ENUM(SPAN_KIND__SPAN_KIND_SERVER),
        [TRACE_CLIENT] = OTLP_ENUM(SPAN_KIND__SPAN_KIND_CLIENT)};
    OTLP(Span) *message = arena_alloc(arena, sizeof(*message));

    OTLP_INIT(span)(message);
    message->trace_id = bytes_of(arena, span->trace_id, sizeof(span->trace_id));
    message->span_id = bytes_of(arena, span->span_id, sizeof(span->span_id));
    message->parent_span_id = bytes_of(arena, span->parent_id, sizeof(span->parent_id));
    message->name = arena_copy_string(arena, span->name);
    message->kind = kinds[span->kind];
    message->start_time_unix_nano = (uint64_t)(span->start_ns + clock_offset_ns);
    message->end_time_unix_nano = (uint64_t)(span->end_ns + clock_offset_ns);
    message->flags = SAMPLED;
    message->attributes = arena_alloc_array(arena, span->attribute_count + 1, sizeof(OTLP(KeyValue) *));
    for (size_t i = 0; i < span->attribute_count; i++)
        add_attribute(arena, message->attributes, &message->n_attributes, &span->attributes[i]);
    if (span->failure != NULL) {
        message->status = arena_alloc(arena, sizeof(*message->status));
        OTLP_INIT(status)(message->status);
        message->status->code = OTLP_ENUM(STATUS_CODE__STATUS_CODE_ERROR);
        message->status->message = arena_copy_string(arena, span->failure);
    }
    return message;
}

static OTLP(Resource) * resource_message(struct arena *arena, const struct otlp_source *source)
{
    OTLP(Resource) *resource = arena_alloc(arena, sizeof(*resource));

    OTLP_INIT(resource)(resource);
    resource->attributes = arena_alloc_array(arena, 3, sizeof(OTLP(KeyValue) *));
    add_text(arena, resource->attributes, &resource->n_attributes, "service.name", "leadrouterd");
    add_text(arena, resource->attributes, &resource->n_attributes, "service.version", source->version);
    add_text(arena, resource->attributes, &resource->n_attributes, "service.instance.id", source->instance_id);
    return resource;
}

OTLP(ExportTraceServiceRequest) * otlp_request(struct arena *arena, const struct otlp_source *source,
                                      const struct trace_span *spans, size_t count, int64_t clock_offset_ns)
{
    OTLP(ExportTraceServiceRequest) *request = arena_alloc(arena, sizeof(*request));
    OTLP(ResourceSpans) *of_resource = arena_alloc(arena, sizeof(*of_resource));
    OTLP(ScopeSpans) *of_scope = arena_alloc(arena, sizeof(*of_scope));

    OTLP_INIT(export_trace_service_request)(request);
    OTLP_INIT(resource_spans)(of_resource);
    OTLP_INIT(scope_spans)(of_scope);
    of_scope->scope = arena_alloc(arena, sizeof(*of_scope->scope));
    OTLP_INIT(instrumentation_scope)(of_scope->scope);
    of_scope->scope->name = arena_copy_string(arena, "leadrouter");
    of_scope->scope->version = arena_copy_string(arena, source->version);
    of_scope->spans = arena_alloc_array(arena, count, sizeof(OTLP(Span) *));
    for (size_t i = 0; i < count; i++)
        of_scope->spans[of_scope->n_spans++] = span_message(arena, &spans[i], clock_offset_ns);
    of_resource->resource = resource_message(arena, source);
    of_resource->scope_spans = arena_alloc_array(arena, 1, sizeof(of_scope));
    of_resource->scope_spans[of_resource->n_scope_spans++] = of_scope;
    request->resource_spans = arena_alloc_array(arena, 1, sizeof(of_resource));
    request->resource_spans[request->n_resource_spans++] = of_resource;
    return request;
}
