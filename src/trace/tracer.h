/* Spans on their way to a collector: which calls have any, a bounded queue, and a thread that exports them by OTLP over gRPC. */
#ifndef TRACE_TRACER_H
#define TRACE_TRACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "grpc_c/client.h"
#include "trace/context.h"

enum { TRACE_ATTRIBUTES_MAX = 10, TRACE_PER_MILLE = 1000 };

enum trace_kind { TRACE_INTERNAL, TRACE_SERVER, TRACE_CLIENT };

enum trace_attribute_kind { TRACE_NUMBER, TRACE_TEXT, TRACE_UUID };

/* Key and text are constants: a span outlives the call that it is about. */
struct trace_attribute {
    const char *key;
    enum trace_attribute_kind kind;
    union {
        int64_t number;
        const char *text;
        struct uuid id;
    };
};

/* Something that took time. Plain data. */
struct trace_span {
    uint8_t trace_id[TRACE_ID_SIZE];
    uint8_t span_id[TRACE_SPAN_ID_SIZE];
    uint8_t parent_id[TRACE_SPAN_ID_SIZE]; /* zeros: none */
    enum trace_kind kind;
    const char *name; /* constant */
    int64_t start_ns; /* monotonic */
    int64_t end_ns;
    const char *failure; /* constant; NULL: it did not fail */
    struct trace_attribute attributes[TRACE_ATTRIBUTES_MAX];
    size_t attribute_count;
};

/* Each adds an attribute to a span that has room; texts that are NULL or "", and uuid_nil, are left out. */
void trace_span_add_number(struct trace_span *span, const char *key, int64_t number);
void trace_span_add_text(struct trace_span *span, const char *key, const char *text);
void trace_span_add_id(struct trace_span *span, const char *key, const struct uuid *id);

/* What went wrong, for a log: a batch that the collector did not take, or spans for which there was no room. */
struct tracer_trouble {
    const char *code;       /* the collector's answer as the name of a status; NULL: no room */
    uint64_t spans_dropped; /* by this */
};

/* Told on the exporter's thread; may block. */
typedef void tracer_observer(const struct tracer_trouble *trouble, void *user);

/* Zero in a field means its default, but for the two that say how much is sampled. */
struct tracer_options {
    const char *endpoint;                   /* Required: "host:port" of a collector */
    const struct grpc_c_channel_tls *tls;   /* default: plain text, to loopback addresses only */
    unsigned sample_per_mille;              /* of calls whose callers say nothing, and of those over the next limit */
    unsigned parents_per_second;            /* calls whose callers say that their span is sampled: so many are, too */
    unsigned batch_spans;                   /* in one export; default 512 */
    unsigned queue_spans;                   /* waiting for it; more are dropped; default 4,096 */
    int64_t interval_ms;                    /* what a span waits for others at most; default 1,000 */
    int64_t timeout_ms;                     /* of one export; default 5,000 */
    const char *service_version;            /* Required; copied */
    const struct grpc_c_metadata *metadata; /* sent with each export, such as a key; copied, and wiped after use */
    size_t metadata_count;
    tracer_observer *observer; /* default: none */
    void *observer_user;
};

struct tracer;

/* Makes one and its thread; connects when there is something to export. Errors: those of grpc_c_channel_new(); ERROR_SYSTEM. */
bool tracer_new(const struct tracer_options *options, struct tracer **ret_tracer, struct error *reterr_error);

/* Exports what is left until `flush_ms` are over; the rest is dropped. Nobody may add any more. */
void tracer_end(struct tracer *tracer, int64_t flush_ms);

/* Releases it; one that was not ended drops what it has. NULL is fine. */
void tracer_free(struct tracer *tracer);

/* Decides whether a call has spans, and gives it its ids: by the caller's word, within the limit; where there is none, or too many say
 * so, by chance; never when the caller has a span and it is not sampled. `tracer` may be NULL: no spans. Any thread. */
void tracer_decide(struct tracer *tracer, struct trace_context *context);

/* A span within a sampled call: new id, parent, times. */
struct trace_span trace_span_within(const struct trace_context *context, const uint8_t parent_id[TRACE_SPAN_ID_SIZE],
    const char *name, int64_t start_ns, int64_t end_ns);

/* Hands a span over; copied. Never waits for the collector. Any thread. */
void tracer_add(struct tracer *tracer, const struct trace_span *span);

/* Since the start. Any thread. */
struct tracer_statistics {
    uint64_t exported;
    uint64_t dropped; /* no room, refused, or not exported in time */
};
void tracer_statistics(struct tracer *tracer, struct tracer_statistics *ret_statistics);

#endif
