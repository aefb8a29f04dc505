#include "tracing.h"

#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "grpc_c/client.h"
#include "service.h"
#include "trace_headers.h"
#include "version.h"

/* --- Start and stop ----------------------------------------------------------------------------------------------- */

static void log_trouble(const struct tracer_trouble *trouble, void *user)
{
    const struct log_field fields[] = {
        LOG_STRING("code", trouble->code),
        LOG_INTEGER("spans", trouble->spans_dropped),
        LOG_END,
    };

    (void)user;
    log_write_limited(LOG_LEVEL_WARNING, "traces.dropped",
        trouble->code == NULL ? "there was no room for spans" : "the collector did not take spans", fields, 1);
}

static struct grpc_c_channel_tls tls_of(const struct config *config)
{
    return (struct grpc_c_channel_tls){.ca_file = config->trace_tls_ca,
        .certificate_file = config->trace_tls_certificate,
        .key_file = config->trace_tls_key};
}

static bool start(const struct config *config, const struct trace_headers *headers, struct tracer **ret_tracer,
    struct error *reterr_error)
{
    const struct grpc_c_channel_tls tls = tls_of(config);
    const struct tracer_options options = {
        .endpoint = config->trace_endpoint,
        .tls = config->trace_tls_ca == NULL ? NULL : &tls,
        .sample_per_mille = (unsigned)config->trace_sample_per_mille,
        .parents_per_second = (unsigned)config->trace_parents_per_second,
        .batch_spans = (unsigned)config->trace_batch_spans,
        .queue_spans = (unsigned)config->trace_queue_spans,
        .interval_ms = config->trace_interval_ms,
        .timeout_ms = config->trace_timeout_ms,
        .metadata = headers->entries,
        .metadata_count = headers->count,
        .service_version = SERVER_VERSION,
        .observer = log_trouble,
    };

    return tracer_new(&options, ret_tracer, reterr_error) || error_add_context(reterr_error, "--trace-endpoint");
}

static bool check_endpoint(const struct config *config, struct error *reterr_error)
{
    const struct grpc_c_channel_tls tls = tls_of(config);
    char host[ADDRESS_HOST_SIZE];
    bool has_pair = tls.certificate_file != NULL || tls.key_file != NULL;

    if (has_pair && grpc_c_channel_tls_lack(&tls) != GRPC_C_TLS_LACKS_NOTHING)
        return error_set(reterr_error, ERROR_INVALID,
            "--trace-tls-certificate and --trace-tls-key are for each other, and for --trace-tls-ca");
    return (tls.ca_file == NULL ? address_check_loopback(config->trace_endpoint, reterr_error)
                                : address_parse(config->trace_endpoint, host, reterr_error)) ||
           error_add_context(reterr_error, "--trace-endpoint");
}

bool tracing_check(const struct config *config, struct error *reterr_error)
{
    const char *useless = config->trace_tls_ca != NULL            ? "--trace-tls-ca"
                          : config->trace_tls_certificate != NULL ? "--trace-tls-certificate"
                          : config->trace_tls_key != NULL         ? "--trace-tls-key"
                          : config->trace_headers_file != NULL    ? "--trace-headers-file"
                                                                  : NULL;

    if (config->trace_endpoint == NULL && useless != NULL)
        return error_set(reterr_error, ERROR_INVALID, "%s is of no use without --trace-endpoint", useless);
    return config->trace_endpoint == NULL || check_endpoint(config, reterr_error);
}

bool tracing_start(const struct config *config, struct tracer **ret_tracer, struct error *reterr_error)
{
    struct trace_headers headers = {.count = 0};

    *ret_tracer = NULL;
    if (config->trace_endpoint == NULL)
        return true;
    if (config->trace_headers_file != NULL && !trace_headers_read(config->trace_headers_file, &headers, reterr_error))
        return error_add_context(reterr_error, "--trace-headers-file");
    bool ok = start(config, &headers, ret_tracer, reterr_error);
    trace_headers_wipe(&headers);
    return ok;
}

void tracing_stop(struct tracer *tracer, const struct config *config)
{
    struct tracer_statistics statistics;

    if (tracer == NULL)
        return;
    tracer_end(tracer, config->trace_flush_ms);
    tracer_statistics(tracer, &statistics);
    const struct log_field fields[] = {
        LOG_INTEGER("spans_exported", statistics.exported), LOG_INTEGER("spans_dropped", statistics.dropped), LOG_END};
    log_write(LOG_LEVEL_INFO, "traces.stopped", "no more spans are exported", fields);
    tracer_free(tracer);
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

static bool is_servers_fault(enum grpc_c_status status)
{
    switch (status) {
    case GRPC_C_UNKNOWN:
    case GRPC_C_DEADLINE_EXCEEDED:
    case GRPC_C_UNIMPLEMENTED:
    case GRPC_C_INTERNAL:
    case GRPC_C_UNAVAILABLE:
    case GRPC_C_DATA_LOSS:
        return true;
    default:
        return false;
    }
}

void tracing_call_ended(
    struct tracer *tracer, const struct call_context *context, const char *method, enum grpc_c_status status)
{
    if (!context->trace.is_sampled)
        return;
    struct trace_span span = trace_span_within(
        &context->trace, context->trace.parent_id, method + 1, context->came_ns, clock_now_ns()); /* without its "/" */
    memcpy(span.span_id, context->trace.span_id, sizeof(span.span_id));
    span.kind = TRACE_SERVER;
    span.failure = is_servers_fault(status) ? grpc_c_status_name(status) : NULL;
    trace_span_add_text(&span, "rpc.system", "grpc");
    trace_span_add_number(&span, "rpc.grpc.status_code", status);
    trace_span_add_id(&span, "leadrouter.request_id", &context->request_id);
    tracer_add(tracer, &span);
}

/* --- Decisions ---------------------------------------------------------------------------------------------------- */

/* A phase that took place. */
static void add_phase(struct tracer *tracer, const struct trace_context *context, const struct trace_span *decision,
    const char *name, int64_t from_ns, int64_t to_ns, enum trace_kind kind)
{
    if (from_ns == 0 || to_ns == 0)
        return;
    struct trace_span span = trace_span_within(context, decision->span_id, name, from_ns, to_ns);
    span.kind = kind;
    if (kind == TRACE_CLIENT)
        trace_span_add_text(&span, "db.system", "postgresql");
    tracer_add(tracer, &span);
}

/* Rules and columns are mostly at hand, and then this takes no time worth a span. */
enum { LOAD_NS_LEAST = 50000 };

static void add_phases(struct tracer *tracer, const struct trace_context *context, const struct trace_span *decision,
    int64_t submitted_ns, const struct routing_phases *phases)
{
    add_phase(tracer, context, decision, "wait for a lane", submitted_ns, phases->taken_ns, TRACE_INTERNAL);
    add_phase(tracer, context, decision, "lock and read", phases->began_ns, phases->locked_ns, TRACE_CLIENT);
    if (phases->loaded_ns - phases->locked_ns >= LOAD_NS_LEAST)
        add_phase(tracer, context, decision, "load rules", phases->locked_ns, phases->loaded_ns, TRACE_CLIENT);
    add_phase(tracer, context, decision, "match", phases->loaded_ns, phases->matched_ns, TRACE_INTERNAL);
    add_phase(tracer, context, decision, "write and commit", phases->matched_ns, phases->written_ns, TRACE_CLIENT);
}

static void add_decision(struct tracer *tracer, const struct trace_context *context,
    const struct routing_finished *finished, const char *outcome)
{
    const struct routing_answer *answer = finished->answer;
    const struct routing_phases *phases = &answer->phases;
    int64_t submitted_ns = finished->ticket == NULL ? 0 : finished->ticket->submitted_ns;
    int64_t start_ns = submitted_ns != 0 ? submitted_ns : phases->began_ns;
    int64_t end_ns = phases->written_ns != 0 ? phases->written_ns : clock_now_ns();
    struct trace_span span =
        trace_span_within(context, context->span_id, "route lead", start_ns == 0 ? end_ns : start_ns, end_ns);

    if (answer->error.code != ERROR_NONE)
        span.failure = grpc_c_status_name(service_status(&answer->error));
    trace_span_add_id(&span, "leadrouter.lead_id", &finished->request->lead_id);
    trace_span_add_id(&span, "leadrouter.workspace_id", &finished->request->source_workspace_id);
    trace_span_add_id(&span, "leadrouter.decision_id", &answer->decision_id);
    trace_span_add_text(&span, "leadrouter.outcome", outcome);
    trace_span_add_text(&span, "leadrouter.error_class", answer->error_class);
    trace_span_add_number(&span, "leadrouter.batch_leads", (int64_t)phases->leads);
    trace_span_add_number(&span, "leadrouter.attempt", answer->attempt);
    tracer_add(tracer, &span);
    add_phases(tracer, context, &span, submitted_ns, phases);
}

void tracing_decided(struct tracer *tracer, const struct routing_finished *finished, const char *outcome)
{
    struct service_call *call = finished->ticket == NULL ? NULL : finished->ticket->context;

    if (tracer == NULL)
        return;
    if (call != NULL) {
        if (call->context.trace.is_sampled && atomic_fetch_add(&call->traced_leads, 1) < TRACING_LEADS_MAX)
            add_decision(tracer, &call->context.trace, finished, outcome);
        return;
    }
    struct trace_context context = {0};
    tracer_decide(tracer, &context);
    memset(context.span_id, 0, sizeof(context.span_id)); /* nothing is above it */
    if (context.is_sampled)
        add_decision(tracer, &context, finished, outcome);
}
