/* LeadService.ImportLeads: one stream, the rows of one import. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "authorization.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/memory.h"
#include "import_batch.h"
#include "service.h"

enum {
    BATCHES_MAX = 4,  /* of one import in memory */
    WINDOW = 512,     /* leads of one import at the engine: two full batches, so that others get their turn */
    LEAD_MS = 30000,  /* what each lead is given */
    QUERY_MS = 30000, /* and each transaction */
    TURN_MS = 100,    /* until a place is looked for again that the workspace's other calls have */
    SOURCE_SIZE_MAX = 200,
    FINGERPRINT_SIZE_MAX = 128,
};

/* A message of the client's, read and copied. */
enum arrival { ARRIVED_NOTHING, ARRIVED_START, ARRIVED_ROWS, ARRIVED_END, ARRIVED_BAD };

/* A stream. When its start has been read and may be, it gets one of the few places and a thread of its own, which takes in what has
 * arrived and writes results; reading ahead and routing go on beside it, by callbacks. */
struct import_stream {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;

    /* the thread's */
    struct import_place place;
    struct uuid actor_id;
    char source[SOURCE_SIZE_MAX + 1];
    char fingerprint[FINGERPRINT_SIZE_MAX + 1];
    bool is_routed;
    bool only_continue;
    bool is_begun;
    bool is_complete; /* it had ended before */
    int64_t total_rows;
    int64_t turn_ns; /* when what has arrived may be looked at, as far as the workspace's limits go */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    enum arrival arrived;
    struct import_batch *arrived_batch; /* of ARRIVED_ROWS */
    struct error arrived_error;         /* of ARRIVED_BAD */
    int64_t read_row;                   /* number of the last row that was read */
    bool has_start;
    bool is_at_work; /* it has a place, or has been refused one */
    bool is_reading;
    bool has_ended; /* no more will be read */
    bool is_gone;   /* nobody is left who listens */
    bool is_over;   /* the call has been ended: a read that is under way must leave it alone */

    struct import_batch *batches; /* that are in, in order; results of the first are sent next */
    struct import_batch **batches_end;
    size_t batch_count;
    atomic_uint references;       /* the thread's, and that of a read under way; not under the lock */
    struct hash_table identities; /* of rows under way: of each identity one at a time, so that their order counts */
    size_t at_engine;
};

/* --- Routing ------------------------------------------------------------------------------------------------------ */

static uint64_t hash_of(const char *digits)
{
    char first[17];

    memcpy(first, digits, 16);
    first[16] = '\0';
    return strtoull(first, NULL, 16);
}

static struct import_row *find_identity(const struct import_stream *stream, const char *digits)
{
    struct hash_node *node = hash_table_first(&stream->identities, hash_of(digits));

    while (node != NULL && strcmp(HASH_TABLE_MEMBER(node, struct import_row, node)->hash, digits) != 0)
        node = hash_table_next(node);
    return node == NULL ? NULL : HASH_TABLE_MEMBER(node, struct import_row, node);
}

static routing_callback row_answered;

/* Hands a row to the engine, if that has room. */
static bool submit(struct import_stream *stream, struct import_row *row, struct error *reterr_error)
{
    row->ticket = (struct routing_ticket){.callback = row_answered, .user = row, .context = &stream->base};
    row->ticket.request = (struct routing_request){.lead_id = row->lead_id,
        .source_workspace_id = stream->place.workspace_id,
        .actor_id = stream->actor_id,
        .max_attempts = ROUTING_MAX_ATTEMPTS_DEFAULT,
        .deadline_ns = clock_after_ms(LEAD_MS)};
    service_ask_as_caller(&stream->base, &row->ticket.request);
    if (!routing_engine_submit(stream->base.service->engine, &row->ticket, reterr_error))
        return false;
    stream->at_engine++;
    return true;
}

/* A row has its answer: the next one of its identity takes its place. One for which there is no room has a failure for an answer;
 * its lead is stored, and is looked at again. */
static void settle(struct import_stream *stream, struct import_row *row, const struct routing_answer *answer)
{
    struct routing_answer failed = {0};

    for (;;) {
        struct import_row *next = row->follower;
        row->answer = *answer;
        row->batch->left--;
        if (row->hash[0] != '\0')
            hash_table_remove(&stream->identities, &row->node);
        if (next == NULL)
            return;
        next->last_row = row->last_row;
        hash_table_add(&stream->identities, &next->node, hash_of(next->hash));
        if (submit(stream, next, &failed.error))
            return;
        row = next;
        answer = &failed;
    }
}

/* Offers a row to the engine; false when there is no room, and one of our leads will make some. */
static bool offer_row(struct import_stream *stream, struct import_row *row)
{
    struct import_row *first = row->hash[0] == '\0' ? NULL : find_identity(stream, row->hash);
    struct routing_answer failed = {0};

    row->last_row = row;
    if (first != NULL) { /* it waits behind the others of its identity */
        first->last_row->follower = row;
        first->last_row = row;
        return true;
    }
    if (!submit(stream, row, &failed.error) && stream->at_engine > 0)
        return false;
    if (row->hash[0] != '\0')
        hash_table_add(&stream->identities, &row->node, hash_of(row->hash));
    if (failed.error.code != ERROR_NONE)
        settle(stream, row, &failed);
    return true;
}

/* Offers what has not been, in the order of the rows, as far as there is room. */
static void offer(struct import_stream *stream)
{
    for (struct import_batch *batch = stream->batches; batch != NULL; batch = batch->next)
        for (; batch->offered < batch->count; batch->offered++) {
            struct import_row *row = &batch->rows[batch->offered];
            if (!row->needs_routing)
                continue;
            if (stream->at_engine >= WINDOW || stream->is_gone || !offer_row(stream, row))
                return;
        }
}

/* On a lane's thread. */
static void row_answered(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    struct import_row *row = ticket->user;
    struct import_stream *stream = row->stream;

    pthread_mutex_lock(&stream->lock);
    stream->at_engine--;
    settle(stream, row, answer);
    offer(stream);
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

/* A batch is in: its rows are routed, or it only waits for its turn to be told of. Under the lock. */
static void append(struct import_stream *stream, struct import_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        batch->rows[i].stream = stream;
        batch->rows[i].needs_routing = batch->rows[i].needs_routing && stream->is_routed;
    }
    if (!stream->is_routed)
        batch->left = 0;
    batch->is_in = true;
    *stream->batches_end = batch;
    stream->batches_end = &batch->next;
    stream->batch_count++;
    offer(stream);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void set_bad(struct import_stream *stream, const char *text)
{
    stream->arrived = ARRIVED_BAD;
    error_set(&stream->arrived_error, ERROR_INVALID, "%s", text);
}

static void read_start(struct import_stream *stream, const Leadrouter__V1__ImportStart *start)
{
    struct error *error = &stream->arrived_error;

    stream->arrived = ARRIVED_BAD;
    if (!service_parse_id("start.workspace_id", start->workspace_id, false, &stream->place.workspace_id, error) ||
        !service_parse_id("start.user_id", start->user_id, true, &stream->actor_id, error) ||
        !authorization_need_workspace(stream->base.call, &stream->place.workspace_id, &stream->actor_id, error) ||
        !authorization_count_stream(
            stream->base.call, stream->base.service->limits, &stream->place.workspace_id, error))
        return;
    if (strlen(start->source) > SOURCE_SIZE_MAX)
        error_set(error, ERROR_INVALID, "start.source: longer than %d bytes", SOURCE_SIZE_MAX);
    else if (strlen(start->fingerprint) > FINGERPRINT_SIZE_MAX)
        error_set(error, ERROR_INVALID, "start.fingerprint: longer than %d bytes", FINGERPRINT_SIZE_MAX);
    else if (start->total_rows < 0)
        error_set(error, ERROR_INVALID, "start.total_rows: must not be negative");
    else
        stream->arrived = ARRIVED_START;
    if (stream->arrived == ARRIVED_BAD)
        return;
    stream->base.workspace_id = stream->place.workspace_id;
    memcpy(stream->source, start->source, strlen(start->source) + 1);
    memcpy(stream->fingerprint, start->fingerprint, strlen(start->fingerprint) + 1);
    stream->is_routed = start->route != 0;
    stream->only_continue = start->only_continue != 0;
    stream->total_rows = start->total_rows;
}

static void read_rows(struct import_stream *stream, const Leadrouter__V1__ImportRows *rows)
{
    if (!import_batch_new(rows, stream->read_row, &stream->arrived_batch, &stream->arrived_error)) {
        stream->arrived = ARRIVED_BAD;
        return;
    }
    stream->arrived = ARRIVED_ROWS;
    stream->read_row = stream->arrived_batch->rows[stream->arrived_batch->count - 1].number;
}

static void take_message(struct import_stream *stream, const Leadrouter__V1__ImportLeadsRequest *message)
{
    const bool is_start = message->part_case == LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_START;

    if (is_start == stream->has_start) {
        set_bad(stream, is_start ? "start: only the first message has it" : "start: the first message must have it");
        return;
    }
    stream->has_start = true;
    switch (message->part_case) {
    case LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_START:
        read_start(stream, message->start);
        break;
    case LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_ROWS:
        read_rows(stream, message->rows);
        break;
    case LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_END:
        stream->arrived = ARRIVED_END;
        break;
    default:
        set_bad(stream, "part: missing");
    }
}

static const char broken_off[] = "the stream was broken off: the import can be continued";

static void stream_unref(struct import_stream *stream);
static void run_import(struct work *work);

/* A start that may be: takes one of the workspace's places and one of the few that there are, and begins. Otherwise the call ends. */
static void take_place(struct import_stream *stream)
{
    struct service *service = stream->base.service;
    struct error error = {0};

    if (authorization_count_import(stream->base.call, service->limits, &error)) {
        stream->work.run = run_import;
        if (atomic_fetch_add(&service->imports, 1) >= SERVICE_IMPORTS_MAX)
            error_set(&error, ERROR_FULL, "%d imports are under way already", SERVICE_IMPORTS_MAX);
        else if (worker_pool_submit(service->import_workers, &stream->work, &error))
            return;
        atomic_fetch_sub(&service->imports, 1);
    }
    service_fail(&stream->base, &error);
    stream_unref(stream);
}

/* On a worker's thread. */
static void ask_need(struct work *work)
{
    struct import_stream *stream = (struct import_stream *)(void *)work;
    struct error error = {0};

    if (service_ask_need(&stream->base, clock_after_ms(QUERY_MS), &error)) {
        take_place(stream);
        return;
    }
    service_fail(&stream->base, &error);
    stream_unref(stream);
}

/* The first message is there. A good start takes a place, a person's once the person is known as a member; with anything else the call
 * ends. So who says nothing, or may not, keeps nobody out. */
static void begin_work(struct import_stream *stream)
{
    struct error error = stream->arrived_error;

    if (stream->is_gone) {
        grpc_c_call_fail(stream->base.call, GRPC_C_CANCELLED, broken_off);
        stream_unref(stream);
        return;
    }
    if (stream->arrived == ARRIVED_NOTHING)
        error_set(&error, ERROR_INVALID, "start: the first message must have it");
    if (stream->arrived == ARRIVED_START) {
        if (authorization_need(stream->base.call) == NULL) {
            take_place(stream);
            return;
        }
        if (worker_pool_submit(stream->base.service->workers, &stream->work, &error))
            return;
    }
    service_fail(&stream->base, &error);
    stream_unref(stream);
}

static void message_read(
    struct grpc_c_call *call, enum grpc_c_read result, const Leadrouter__V1__ImportLeadsRequest *message, void *user)
{
    struct import_stream *stream = user;
    bool is_first = false;

    (void)call;
    pthread_mutex_lock(&stream->lock);
    stream->is_reading = false;
    is_first = !stream->is_at_work;
    stream->is_at_work = true;
    switch (result) {
    case GRPC_C_READ_MESSAGE:
        if (!stream->is_over)
            take_message(stream, message);
        break;
    case GRPC_C_READ_END: /* without `end` it may be cut off: the import is left to be continued */
        stream->has_ended = true;
        break;
    case GRPC_C_READ_BAD: /* the client is told why */
    case GRPC_C_READ_GONE:
        stream->has_ended = true;
        stream->is_gone = true;
        break;
    }
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    if (is_first)
        begin_work(stream);
    stream_unref(stream);
}

/* Reads ahead by one message, unless enough is under way. Under the lock. */
static void read_on(struct import_stream *stream)
{
    if (stream->is_reading || stream->has_ended || stream->arrived != ARRIVED_NOTHING ||
        stream->batch_count >= BATCHES_MAX)
        return;
    stream->is_reading = true;
    atomic_fetch_add(&stream->references, 1);
    leadrouter__v1__lead_service__import_leads__read(stream->base.call, message_read, stream);
}

/* --- Answering ---------------------------------------------------------------------------------------------------- */

static bool write(struct import_stream *stream, const Leadrouter__V1__ImportLeadsResponse *response)
{
    if (leadrouter__v1__lead_service__import_leads__write_wait(stream->base.call, response))
        return true;
    pthread_mutex_lock(&stream->lock);
    stream->is_gone = true;
    pthread_mutex_unlock(&stream->lock);
    return false;
}

static Leadrouter__V1__ImportRowResult *row_result(struct arena *arena, const struct import_row *row, bool is_routed)
{
    Leadrouter__V1__ImportRowResult *result = arena_alloc(arena, sizeof(*result));

    leadrouter__v1__import_row_result__init(result);
    result->number = row->number;
    result->result = row->result;
    result->lead_id = service_id(arena, &row->lead_id);
    if (row->reason != NULL) {
        result->rejection = arena_alloc(arena, sizeof(*result->rejection));
        leadrouter__v1__import_rejection__init(result->rejection);
        result->rejection->field = arena_copy_string(arena, row->field);
        result->rejection->reason = arena_copy_string(arena, row->reason);
    }
    if (!is_routed || !row->needs_routing)
        return result;
    if (row->answer.error.code == ERROR_NONE) {
        result->routing = service_route_response(arena, &row->answer);
    } else {
        result->routing_status = (int32_t)service_status(&row->answer.error);
        result->routing_message = arena_copy_string(arena, service_text(&row->answer.error));
    }
    return result;
}

/* Tells of the first batch, whose rows are all settled. */
static void write_results(struct import_stream *stream, const struct import_batch *batch)
{
    Leadrouter__V1__ImportLeadsResponse response = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__INIT;
    Leadrouter__V1__ImportResults results = LEADROUTER__V1__IMPORT_RESULTS__INIT;
    struct arena *arena = arena_new(0);

    results.results = arena_alloc_array(arena, batch->count, sizeof(*results.results));
    for (size_t i = 0; i < batch->count; i++)
        results.results[results.n_results++] = row_result(arena, &batch->rows[i], stream->is_routed);
    response.part_case = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART_RESULTS;
    response.results = &results;
    write(stream, &response);
    arena_free(arena);
}

/* --- The thread --------------------------------------------------------------------------------------------------- */

static bool begin(struct import_stream *stream, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "begin_import",
        .sql = "select import_id, is_continued, status, last_row, end_offset"
               " from leadrouter.begin_import($1, $2, $3, $4, $5, $6, $7, $8)",
        .param_count = 8,
        .param_types = {PG_UUID, PG_TEXT, PG_TEXT, PG_UUID, PG_BOOL, PG_INT8, PG_UUID, PG_BOOL},
    };
    Leadrouter__V1__ImportLeadsResponse response = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__INIT;
    Leadrouter__V1__ImportStarted started = LEADROUTER__V1__IMPORT_STARTED__INIT;
    struct import_place *place = &stream->place;
    struct arena *arena = arena_new(0);
    struct pg_params params;
    struct pg_result *result = NULL;
    char id[UUID_TEXT_SIZE];
    bool ok = false;

    place->owner = uuid_random();
    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &place->workspace_id);
    pg_params_add_text(&params, stream->fingerprint[0] == '\0' ? NULL : stream->fingerprint);
    pg_params_add_text(&params, stream->source);
    pg_params_add_uuid(&params, uuid_is_nil(&stream->actor_id) ? NULL : &stream->actor_id);
    pg_params_add_bool(&params, stream->is_routed);
    pg_params_add_int8(&params, stream->total_rows);
    pg_params_add_uuid(&params, &place->owner);
    pg_params_add_bool(&params, stream->only_continue);
    ok = service_query(&stream->base, &statement, &params, clock_after_ms(QUERY_MS), &result, reterr_error);
    if (!ok && strcmp(reterr_error->sqlstate, "LR404") == 0)
        error_set(reterr_error, ERROR_NOT_FOUND, "start.workspace_id: no such workspace");
    if (!ok && strcmp(reterr_error->sqlstate, "LR405") == 0)
        error_set(reterr_error, ERROR_NOT_FOUND, "start.only_continue: there is no unfinished import of it");
    if (ok) {
        const char *status = pg_result_text(result, 0, 2);
        place->import_id = pg_result_uuid(result, 0, 0);
        place->last_row = pg_result_int8(result, 0, 3);
        stream->is_begun = true;
        stream->is_complete = strncmp(status, "completed", strlen("completed")) == 0 || strcmp(status, "failed") == 0;
        started.import_id = uuid_format(&place->import_id, id);
        started.is_continued = pg_result_bool(result, 0, 1);
        started.is_complete = stream->is_complete;
        started.last_row = place->last_row;
        started.end_offset = pg_result_int8(result, 0, 4);
        response.part_case = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART_STARTED;
        response.started = &started;
    }
    pg_result_free(result);
    arena_free(arena);
    if (ok)
        write(stream, &response);
    return ok;
}

/* Before any row of this call: those that an earlier one left between taking in and routing. */
static bool recover(struct import_stream *stream, struct error *reterr_error)
{
    struct import_batch *batch = NULL;

    if (!stream->is_routed || stream->is_complete || stream->place.last_row == 0)
        return true;
    if (!import_batch_recover(&stream->base, &stream->place, clock_after_ms(QUERY_MS), &batch, reterr_error))
        return false;
    if (batch == NULL)
        return true;
    pthread_mutex_lock(&stream->lock);
    append(stream, batch);
    pthread_mutex_unlock(&stream->lock);
    return true;
}

static bool start(struct import_stream *stream, struct error *reterr_error)
{
    if (!begin(stream, reterr_error) || !recover(stream, reterr_error))
        return false;
    pthread_mutex_lock(&stream->lock);
    stream->read_row = stream->place.last_row;
    read_on(stream);
    pthread_mutex_unlock(&stream->lock);
    return true;
}

static bool take_in(struct import_stream *stream, struct import_batch *batch, struct error *reterr_error)
{
    bool ok =
        stream->is_complete
            ? error_set(reterr_error, ERROR_EXISTS, "the import has ended already: nothing but its end is to be sent")
            : import_batch_take_in(&stream->base, batch, &stream->place, clock_after_ms(QUERY_MS), reterr_error);

    if (!ok) {
        import_batch_free(batch);
        return false;
    }
    pthread_mutex_lock(&stream->lock);
    append(stream, batch);
    pthread_mutex_unlock(&stream->lock);
    return true;
}

/* Whether the first batch can be told of. Under the lock. */
static bool first_is_settled(const struct import_stream *stream)
{
    const struct import_batch *batch = stream->batches;

    return batch != NULL && batch->left == 0 && batch->offered == batch->count;
}

/* Sends results of batches that are settled, in their order; with `all` waits for every one of them, or until nobody listens and
 * nothing is at the engine. Under the lock, which is given up meanwhile. */
static void tell(struct import_stream *stream, bool all)
{
    while (stream->batches != NULL) {
        if (stream->is_gone && stream->at_engine == 0)
            return;
        if (!first_is_settled(stream)) {
            if (!all)
                return;
            pthread_cond_wait(&stream->changed, &stream->lock);
            continue;
        }
        struct import_batch *batch = stream->batches;
        stream->batches = batch->next;
        if (stream->batches == NULL)
            stream->batches_end = &stream->batches;
        stream->batch_count--;
        read_on(stream);
        bool is_told = !batch->is_recovery && !stream->is_gone;
        pthread_mutex_unlock(&stream->lock);
        if (is_told)
            write_results(stream, batch);
        import_batch_free(batch);
        pthread_mutex_lock(&stream->lock);
    }
}

/* Everything has arrived: waits until all is told, and closes the import. */
static bool end(struct import_stream *stream, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "end_import",
        .sql = "select leadrouter.end_import($1, $2)",
        .param_count = 2,
        .param_types = {PG_UUID, PG_UUID},
    };
    Leadrouter__V1__ImportLeadsResponse response = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__INIT;
    struct arena *arena = arena_new(0);
    struct pg_params params;
    struct pg_result *result = NULL;
    Google__Protobuf__Timestamp *now = NULL;
    const int64_t deadline_ns = clock_after_ms(QUERY_MS);
    bool ok = true;

    if (!stream->is_complete) {
        pg_params_init(&params, arena);
        pg_params_add_uuid(&params, &stream->place.import_id);
        pg_params_add_uuid(&params, &stream->place.owner);
        ok = service_query(&stream->base, &statement, &params, deadline_ns, &result, reterr_error);
        pg_result_free(result);
        if (!ok && strcmp(reterr_error->sqlstate, "LR412") == 0)
            import_batch_note_fenced(&stream->base, reterr_error);
    }
    if (ok) {
        stream->is_complete = true;
        ok = service_read_import(
            &stream->base, &stream->place.import_id, arena, deadline_ns, &response.import, &now, reterr_error);
    }
    response.part_case = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART_IMPORT;
    if (ok)
        write(stream, &response);
    arena_free(arena);
    return ok;
}

/* Does what has arrived; `*ret_done`: that was the end. The lock is given up meanwhile. */
static bool handle(struct import_stream *stream, bool *ret_done, struct error *reterr_error)
{
    const enum arrival arrived = stream->arrived;
    struct import_batch *batch = stream->arrived_batch;
    bool ok = false;

    stream->arrived = ARRIVED_NOTHING;
    stream->arrived_batch = NULL;
    switch (arrived) {
    case ARRIVED_BAD:
        *reterr_error = stream->arrived_error;
        return false;
    case ARRIVED_START:
        pthread_mutex_unlock(&stream->lock);
        ok = start(stream, reterr_error);
        break;
    case ARRIVED_ROWS:
        read_on(stream);
        pthread_mutex_unlock(&stream->lock);
        ok = take_in(stream, batch, reterr_error);
        break;
    case ARRIVED_END:
        tell(stream, true);
        *ret_done = !stream->is_gone;
        pthread_mutex_unlock(&stream->lock);
        ok = !*ret_done || end(stream, reterr_error);
        break;
    case ARRIVED_NOTHING:
        assert(false);
    }
    pthread_mutex_lock(&stream->lock);
    return ok;
}

/* Whether the limits of the workspace let the rows that have arrived in. If not, waits until they may, or something else happens: who
 * sends is held back meanwhile. Under the lock, which is given up meanwhile. */
static bool is_its_turn(struct import_stream *stream)
{
    struct error error = {0};

    if (stream->arrived != ARRIVED_ROWS)
        return true;
    if (clock_now_ns() < stream->turn_ns) {
        (void)condition_wait(&stream->changed, &stream->lock, stream->turn_ns);
        return false;
    }
    if (authorization_count_more(stream->base.call, stream->base.service->limits, &error))
        return true;
    stream->turn_ns = clock_after_ms(error.retry_after_ms == 0 ? TURN_MS : error.retry_after_ms);
    return false;
}

/* Works until the import is done, nobody listens any more, or something fails. Under the lock. */
static bool work_off(struct import_stream *stream, bool *ret_done, struct error *reterr_error)
{
    while (!*ret_done && !stream->is_gone) {
        tell(stream, false);
        if (stream->arrived != ARRIVED_NOTHING) {
            if (is_its_turn(stream) && !handle(stream, ret_done, reterr_error))
                return false;
        } else if (stream->has_ended) {
            return error_set(
                reterr_error, ERROR_INVALID, "the stream ended without `end`: the import can be continued");
        } else {
            read_on(stream);
            pthread_cond_wait(&stream->changed, &stream->lock);
        }
    }
    return true;
}

/* An import that was begun and has not ended can be continued; that is written down, but does not need to be. */
static void leave(struct import_stream *stream)
{
    static const struct pg_statement statement = {
        .name = "leave_import",
        .sql = "select leadrouter.leave_import($1, $2)",
        .param_count = 2,
        .param_types = {PG_UUID, PG_UUID},
    };
    struct arena *arena = arena_new(0);
    struct pg_params params;
    struct pg_result *result = NULL;

    pg_params_init(&params, arena);
    pg_params_add_uuid(&params, &stream->place.import_id);
    pg_params_add_uuid(&params, &stream->place.owner);
    service_query_unasked(stream->base.service, &statement, &params, clock_after_ms(QUERY_MS), &result, NULL);
    pg_result_free(result);
    arena_free(arena);
}

static void stream_unref(struct import_stream *stream)
{
    if (atomic_fetch_sub(&stream->references, 1) != 1)
        return;
    import_batch_free(stream->arrived_batch);
    hash_table_release(&stream->identities);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

static void run_import(struct work *work)
{
    struct import_stream *stream = (struct import_stream *)(void *)work;
    struct service *service = stream->base.service;
    struct error error = {0};
    bool done = false;
    bool ok = false;

    pthread_mutex_lock(&stream->lock);
    ok = work_off(stream, &done, &error);
    stream->is_over = true;
    stream->is_gone = true; /* no more is offered to the engine */
    while (stream->at_engine > 0)
        pthread_cond_wait(&stream->changed, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
    if (stream->is_begun && !stream->is_complete)
        leave(stream);
    atomic_fetch_sub(&service->imports, 1);
    if (done && ok)
        grpc_c_call_finish(stream->base.call);
    else if (!ok)
        service_fail(&stream->base, &error);
    else
        grpc_c_call_fail(stream->base.call, GRPC_C_CANCELLED, broken_off);
    while (stream->batches != NULL) {
        struct import_batch *batch = stream->batches;
        stream->batches = batch->next;
        import_batch_free(batch);
    }
    stream_unref(stream);
}

void service_handle_import_leads(struct grpc_c_call *call, void *user)
{
    struct import_stream *stream = memory_new(sizeof(*stream));

    service_begin(&stream->base, call, user);
    stream->work.run = ask_need;
    stream->batches_end = &stream->batches;
    atomic_init(&stream->references, 2);
    pthread_mutex_init(&stream->lock, NULL);
    condition_init(&stream->changed);
    hash_table_init(&stream->identities, WINDOW);
    pthread_mutex_lock(&stream->lock);
    read_on(stream);
    pthread_mutex_unlock(&stream->lock);
    stream_unref(stream);
}
