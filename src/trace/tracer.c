#include "trace/tracer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/secret_file.h"
#include "grpc_c/status.h"
#include "trace/otlp.h"

enum {
    BATCH_DEFAULT = 512,
    QUEUE_DEFAULT = 4096,
    INTERVAL_MS_DEFAULT = 1000,
    TIMEOUT_MS_DEFAULT = 5000,
    ATTEMPTS_MAX = 3,     /* of one batch */
    PAUSE_MS_FIRST = 500, /* between them; then double */
    SECOND_NS = 1000000000,
    ARENA_BLOCK_SIZE = 64 * 1024,
};

struct tracer {
    /* constant */
    struct tracer_options options; /* no defaults left to fill */
    char *version;
    struct grpc_c_metadata *metadata; /* options.metadata_count of them, in the next */
    char *metadata_text;
    size_t metadata_size;
    char instance_id[UUID_TEXT_SIZE];
    struct grpc_c_channel *channel;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* enough spans, the end, or the thread has ended */
    /* under the lock */
    struct trace_span *queue; /* a ring */
    size_t first, count;
    uint64_t exported, dropped;
    uint64_t untold; /* dropped for want of room, of which the observer knows nothing yet */
    bool is_ending;
    int64_t end_ns;
    bool has_ended;

    pthread_mutex_t parents_lock;
    /* under that lock */
    int64_t parents_since_ns;
    unsigned parents; /* sampled by their callers' word since then */

    /* the thread's */
    struct trace_span *batch;
    struct arena *arena;
};

/* --- Spans -------------------------------------------------------------------------------------------------------- */

static struct trace_attribute *next_attribute(struct trace_span *span, const char *key)
{
    assert(span->attribute_count < TRACE_ATTRIBUTES_MAX);
    struct trace_attribute *attribute = &span->attributes[span->attribute_count++];

    attribute->key = key;
    return attribute;
}

void trace_span_add_number(struct trace_span *span, const char *key, int64_t number)
{
    struct trace_attribute *attribute = next_attribute(span, key);

    attribute->kind = TRACE_NUMBER;
    attribute->number = number;
}

void trace_span_add_text(struct trace_span *span, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    struct trace_attribute *attribute = next_attribute(span, key);
    attribute->kind = TRACE_TEXT;
    attribute->text = text;
}

void trace_span_add_id(struct trace_span *span, const char *key, const struct uuid *id)
{
    if (uuid_is_nil(id))
        return;
    struct trace_attribute *attribute = next_attribute(span, key);
    attribute->kind = TRACE_UUID;
    attribute->id = *id;
}

struct trace_span trace_span_within(const struct trace_context *context, const uint8_t parent_id[TRACE_SPAN_ID_SIZE],
    const char *name, int64_t start_ns, int64_t end_ns)
{
    struct trace_span span = {.name = name, .start_ns = start_ns, .end_ns = end_ns};

    memcpy(span.trace_id, context->trace_id, sizeof(span.trace_id));
    memcpy(span.parent_id, parent_id, sizeof(span.parent_id));
    random_bytes(span.span_id, sizeof(span.span_id));
    return span;
}

/* --- Which calls -------------------------------------------------------------------------------------------------- */

static bool is_chosen(const struct tracer *tracer)
{
    uint16_t chance = 0;

    if (tracer->options.sample_per_mille == 0)
        return false;
    random_bytes(&chance, sizeof(chance));
    return chance % TRACE_PER_MILLE < tracer->options.sample_per_mille;
}

/* Who says that all of his spans are sampled costs us no more than this. */
static bool is_within_limit(struct tracer *tracer)
{
    int64_t now_ns = clock_now_ns();
    bool is_within = false;

    pthread_mutex_lock(&tracer->parents_lock);
    if (tracer->parents_since_ns == 0 || now_ns - tracer->parents_since_ns >= SECOND_NS) {
        tracer->parents_since_ns = now_ns;
        tracer->parents = 0;
    }
    is_within = tracer->parents < tracer->options.parents_per_second;
    if (is_within)
        tracer->parents++;
    pthread_mutex_unlock(&tracer->parents_lock);
    return is_within;
}

void tracer_decide(struct tracer *tracer, struct trace_context *context)
{
    bool has_parent = trace_context_is_set(context);

    context->is_sampled = false;
    if (tracer == NULL || (has_parent && !context->is_parent_sampled))
        return;
    if (!(has_parent && is_within_limit(tracer)) && !is_chosen(tracer))
        return;
    context->is_sampled = true;
    if (!has_parent)
        random_bytes(context->trace_id, sizeof(context->trace_id));
    random_bytes(context->span_id, sizeof(context->span_id));
}

/* --- The queue ---------------------------------------------------------------------------------------------------- */

void tracer_add(struct tracer *tracer, const struct trace_span *span)
{
    bool wakes = false;

    pthread_mutex_lock(&tracer->lock);
    if (tracer->count == tracer->options.queue_spans) {
        tracer->dropped++;
        tracer->untold++;
    } else {
        tracer->queue[(tracer->first + tracer->count++) % tracer->options.queue_spans] = *span;
        wakes = tracer->count == tracer->options.batch_spans;
    }
    pthread_mutex_unlock(&tracer->lock);
    if (wakes)
        pthread_cond_broadcast(&tracer->changed);
}

/* Moves at most a batch out of the queue. Under the lock. */
static size_t take(struct tracer *tracer)
{
    size_t count = tracer->count < tracer->options.batch_spans ? tracer->count : tracer->options.batch_spans;

    for (size_t i = 0; i < count; i++)
        tracer->batch[i] = tracer->queue[(tracer->first + i) % tracer->options.queue_spans];
    tracer->first = (tracer->first + count) % tracer->options.queue_spans;
    tracer->count -= count;
    return count;
}

/* --- Exporting ---------------------------------------------------------------------------------------------------- */

static int64_t clock_offset_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * (int64_t)SECOND_NS + now.tv_nsec - clock_now_ns();
}

/* One export of a batch. It blocks, so that the channel needs no thread: one that waits for its own events takes those of the server's
 * connections as well, and has to wake the threads that they are for. The end cancels it. */
static enum grpc_c_status send_batch(struct tracer *tracer, size_t count, int64_t *ret_rejected)
{
    const struct otlp_source source = {.version = tracer->version, .instance_id = tracer->instance_id};
    const struct grpc_c_call_options options = {.deadline_ms = tracer->options.timeout_ms,
        .metadata = tracer->metadata,
        .metadata_count = tracer->options.metadata_count};
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *response = NULL;
    enum grpc_c_status status = opentelemetry__proto__collector__trace__v1__trace_service__export(tracer->channel,
        otlp_request(tracer->arena, &source, tracer->batch, count, clock_offset_ns()), &options, &response, NULL);

    arena_clear(tracer->arena);
    *ret_rejected =
        response == NULL || response->partial_success == NULL ? 0 : response->partial_success->rejected_spans;
    if (response != NULL)
        protobuf_c_message_free_unpacked(&response->base, NULL);
    return status;
}

/* As OTLP's specification has it (opentelemetry.io/docs/specs/otlp, "Failures"). */
static bool is_worth_repeating(enum grpc_c_status status)
{
    switch (status) {
    case GRPC_C_CANCELLED:
    case GRPC_C_DEADLINE_EXCEEDED:
    case GRPC_C_ABORTED:
    case GRPC_C_OUT_OF_RANGE:
    case GRPC_C_UNAVAILABLE:
    case GRPC_C_DATA_LOSS:
        return true;
    default:
        return false;
    }
}

/* False when the end has come, and its time is over. */
static bool pause_before(struct tracer *tracer, unsigned attempt)
{
    int64_t until_ns = clock_after_ms(PAUSE_MS_FIRST << attempt);
    bool goes_on = true;

    pthread_mutex_lock(&tracer->lock);
    while (goes_on && clock_now_ns() < until_ns) {
        (void)condition_wait(&tracer->changed, &tracer->lock,
            tracer->is_ending && tracer->end_ns < until_ns ? tracer->end_ns : until_ns);
        goes_on = !tracer->is_ending || clock_now_ns() < tracer->end_ns;
    }
    pthread_mutex_unlock(&tracer->lock);
    return goes_on;
}

static void tell(struct tracer *tracer, const char *code, uint64_t spans)
{
    const struct tracer_trouble trouble = {.code = code, .spans_dropped = spans};

    if (tracer->options.observer != NULL)
        tracer->options.observer(&trouble, tracer->options.observer_user);
}

/* A batch, as often as it takes, but not for ever. */
static void export_batch(struct tracer *tracer, size_t count)
{
    enum grpc_c_status status = GRPC_C_OK;
    uint64_t lost = 0, untold = 0;
    int64_t rejected = 0;

    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        status = send_batch(tracer, count, &rejected);
        if (status == GRPC_C_OK || !is_worth_repeating(status) || attempt + 1 == ATTEMPTS_MAX ||
            !pause_before(tracer, attempt))
            break;
    }
    pthread_mutex_lock(&tracer->lock);
    if (status != GRPC_C_OK)
        lost = count;
    else if (rejected > 0 && (uint64_t)rejected <= count)
        lost = (uint64_t)rejected;
    tracer->exported += count - lost;
    tracer->dropped += lost;
    untold = tracer->untold;
    tracer->untold = 0;
    pthread_mutex_unlock(&tracer->lock);
    if (lost > 0)
        tell(tracer, grpc_c_status_name(status), lost);
    if (untold > 0)
        tell(tracer, NULL, untold);
}

static void *exporter_main(void *argument)
{
    struct tracer *tracer = argument;
    int64_t due_ns = clock_after_ms(tracer->options.interval_ms);
    bool goes_on = true;

    while (goes_on) {
        pthread_mutex_lock(&tracer->lock);
        while (!tracer->is_ending && tracer->count < tracer->options.batch_spans && clock_now_ns() < due_ns)
            (void)condition_wait(&tracer->changed, &tracer->lock, due_ns);
        if (tracer->is_ending && clock_now_ns() >= tracer->end_ns) {
            tracer->dropped += tracer->count;
            tracer->untold += tracer->count;
            tracer->count = 0;
        }
        size_t count = take(tracer);
        goes_on = !tracer->is_ending || count > 0;
        pthread_mutex_unlock(&tracer->lock);
        if (count > 0)
            export_batch(tracer, count);
        due_ns = clock_after_ms(tracer->options.interval_ms);
    }
    if (tracer->untold > 0)
        tell(tracer, NULL, tracer->untold);
    pthread_mutex_lock(&tracer->lock);
    tracer->has_ended = true;
    pthread_cond_broadcast(&tracer->changed);
    pthread_mutex_unlock(&tracer->lock);
    return NULL;
}

/* --- Its life ----------------------------------------------------------------------------------------------------- */

static unsigned or_default(unsigned value, unsigned otherwise)
{
    return value == 0 ? otherwise : value;
}

static void fill_defaults(struct tracer_options *options)
{
    options->batch_spans = or_default(options->batch_spans, BATCH_DEFAULT);
    options->queue_spans = or_default(options->queue_spans, QUEUE_DEFAULT);
    if (options->batch_spans > options->queue_spans)
        options->batch_spans = options->queue_spans;
    if (options->interval_ms == 0)
        options->interval_ms = INTERVAL_MS_DEFAULT;
    if (options->timeout_ms == 0)
        options->timeout_ms = TIMEOUT_MS_DEFAULT;
}

/* Keys and values in one piece of memory, so that it can be wiped. */
static void copy_metadata(struct tracer *tracer)
{
    const struct grpc_c_metadata *entries = tracer->options.metadata;
    size_t count = tracer->options.metadata_count, size = 0;

    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        size += strlen(entries[i].key) + 1 + entries[i].size;
    tracer->metadata = memory_new_array(count, sizeof(*tracer->metadata));
    tracer->metadata_text = memory_new_array(size, 1);
    tracer->metadata_size = size;
    char *text = tracer->metadata_text;
    for (size_t i = 0; i < count; i++) {
        size_t key_size = strlen(entries[i].key) + 1;
        memcpy(text, entries[i].key, key_size);
        memcpy(text + key_size, entries[i].value, entries[i].size);
        tracer->metadata[i] = (struct grpc_c_metadata){.key = text, .value = text + key_size, .size = entries[i].size};
        text += key_size + entries[i].size;
    }
    tracer->options.metadata = NULL; /* the caller's */
}

bool tracer_new(const struct tracer_options *options, struct tracer **ret_tracer, struct error *reterr_error)
{
    const struct grpc_c_channel_options channel = {.tls = options->tls, .no_retries = true, .has_no_threads = true};
    struct tracer *tracer = memory_new(sizeof(*tracer));
    struct uuid instance = uuid_random();
    int failure = 0;

    tracer->options = *options;
    fill_defaults(&tracer->options);
    tracer->version = memory_copy_string(options->service_version);
    copy_metadata(tracer);
    uuid_format(&instance, tracer->instance_id);
    pthread_mutex_init(&tracer->lock, NULL);
    pthread_mutex_init(&tracer->parents_lock, NULL);
    condition_init(&tracer->changed);
    tracer->queue = memory_new_array(tracer->options.queue_spans, sizeof(*tracer->queue));
    tracer->batch = memory_new_array(tracer->options.batch_spans, sizeof(*tracer->batch));
    tracer->arena = arena_new(ARENA_BLOCK_SIZE);
    if (!grpc_c_channel_new(options->endpoint, &channel, &tracer->channel, reterr_error)) {
        tracer_free(tracer);
        return false;
    }
    failure = pthread_create(&tracer->thread, NULL, exporter_main, tracer);
    if (failure != 0) {
        tracer_free(tracer);
        return error_set(reterr_error, ERROR_SYSTEM, "could not start the exporter's thread: %s", strerror(failure));
    }
    tracer->has_thread = true;
    *ret_tracer = tracer;
    return true;
}

void tracer_end(struct tracer *tracer, int64_t flush_ms)
{
    if (!tracer->has_thread)
        return;
    pthread_mutex_lock(&tracer->lock);
    tracer->is_ending = true;
    tracer->end_ns = clock_after_ms(flush_ms);
    pthread_cond_broadcast(&tracer->changed);
    while (!tracer->has_ended && clock_now_ns() < tracer->end_ns)
        (void)condition_wait(&tracer->changed, &tracer->lock, tracer->end_ns);
    pthread_mutex_unlock(&tracer->lock);
    grpc_c_channel_cancel(tracer->channel);
    pthread_join(tracer->thread, NULL);
    tracer->has_thread = false;
}

void tracer_free(struct tracer *tracer)
{
    if (tracer == NULL)
        return;
    tracer_end(tracer, 0);
    grpc_c_channel_free(tracer->channel);
    pthread_mutex_destroy(&tracer->lock);
    pthread_mutex_destroy(&tracer->parents_lock);
    pthread_cond_destroy(&tracer->changed);
    arena_free(tracer->arena);
    free(tracer->queue);
    free(tracer->batch);
    free(tracer->version);
    free(tracer->metadata);
    secret_wipe(tracer->metadata_text, tracer->metadata_size);
    free(tracer);
}

void tracer_statistics(struct tracer *tracer, struct tracer_statistics *ret_statistics)
{
    pthread_mutex_lock(&tracer->lock);
    *ret_statistics = (struct tracer_statistics){.exported = tracer->exported, .dropped = tracer->dropped};
    pthread_mutex_unlock(&tracer->lock);
}
