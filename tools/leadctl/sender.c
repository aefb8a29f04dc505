#include "sender.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/leads.grpc.h"
#include "patience.h"

enum {
    UNDER_WAY_MAX = 4,
    ROWS_MAX = 1000,
    BEGIN_PATIENCE_S = 5, /* for one that has never answered; who says that his database is away is waited for */
    FAREWELL_MS = 10000,  /* for results of what is under way, when somebody has pressed Ctrl-C */
    ARENA_SIZE = 64 * 1024,
};

struct sender {
    struct sender_options options;
    struct grpc_c_stream *stream;
    pthread_t reader;
    bool has_reader;
    /* the sending thread's */
    Leadrouter__V1__ImportLeadsResponse *first_answer; /* `started`, as it was said last */
    char import_id[40];
    struct patience patience; /* since a row came in last */
    int64_t away_row;         /* how far it was when the stream broke last */
    size_t rows_max;          /* in one message, as far as is known */
    struct error error;       /* why sending is over */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic clock */
    /* under the lock */
    struct sender_batch *first; /* under way, in order */
    struct sender_batch **end;
    size_t under_way;
    int64_t last_row;                              /* that is in */
    int64_t farewell_ns;                           /* when waiting ends; 0: not interrupted */
    bool is_broken;                                /* the stream is over */
    bool is_ending;                                /* `end` was sent over it */
    Leadrouter__V1__ImportLeadsResponse *started;  /* as it came in */
    Leadrouter__V1__ImportLeadsResponse *finished; /* the import, as it ended */
    struct error callback_error;                   /* or what the server should not have said */
};

struct sender_batch *sender_batch_new(size_t rows_max)
{
    struct sender_batch *batch = memory_new(sizeof(*batch));

    batch->arena = arena_new(ARENA_SIZE);
    batch->rows = memory_new_array(rows_max, sizeof(*batch->rows));
    return batch;
}

void sender_batch_free(struct sender_batch *batch)
{
    if (batch == NULL)
        return;
    arena_free(batch->arena);
    free(batch->rows);
    free(batch);
}

static void free_answer(Leadrouter__V1__ImportLeadsResponse *answer)
{
    leadrouter__v1__import_leads_response__free_unpacked(answer, NULL);
}

struct sender *sender_new(const struct sender_options *options)
{
    struct sender *sender = memory_new(sizeof(*sender));

    sender->options = *options;
    sender->end = &sender->first;
    sender->rows_max = ROWS_MAX;
    pthread_mutex_init(&sender->lock, NULL);
    condition_init(&sender->changed);
    return sender;
}

void sender_wake(void *user)
{
    struct sender *sender = user;

    pthread_mutex_lock(&sender->lock);
    sender->farewell_ns = clock_after_ms(FAREWELL_MS);
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
}

int64_t sender_last_row(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    int64_t row = sender->last_row;
    pthread_mutex_unlock(&sender->lock);
    return row;
}

int64_t sender_start_row(const struct sender *sender)
{
    return sender->first_answer->started->last_row;
}

/* --- What comes back ---------------------------------------------------------------------------------------------- */

/* Takes the first batch off the list. Under the lock. */
static struct sender_batch *take_first(struct sender *sender)
{
    struct sender_batch *batch = sender->first;

    sender->first = batch->next;
    if (sender->first == NULL)
        sender->end = &sender->first;
    sender->under_way--;
    return batch;
}

/* Some rows of the first batch are in; `results` is NULL when what became of them was lost. Without the lock. False: stop. */
static bool settle(
    struct sender *sender, size_t count, Leadrouter__V1__ImportRowResult *const *results, struct error *reterr_error)
{
    const struct sender_options *options = &sender->options;
    struct sender_batch *batch = sender->first; /* nobody else takes it away */
    const bool is_done = batch->done + count == batch->count;
    bool ok = true;

    for (size_t i = 0; ok && i < count; i++)
        ok = options->row_callback(
            options->user, &batch->rows[batch->done + i], results == NULL ? NULL : results[i], reterr_error);
    ok = ok && options->batch_callback(options->user, batch, reterr_error);
    import_progress_add(options->progress, (int64_t)count, batch->end_offset);
    pthread_mutex_lock(&sender->lock);
    sender->last_row = batch->rows[batch->done + count - 1].message.number;
    batch->done += count;
    if (is_done)
        take_first(sender);
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    if (is_done)
        sender_batch_free(batch);
    return ok;
}

/* Results of one message. False: stop. */
static bool take_results(
    struct sender *sender, const Leadrouter__V1__ImportResults *results, struct error *reterr_error)
{
    const struct sender_batch *batch = NULL;
    bool is_ours = false;

    pthread_mutex_lock(&sender->lock);
    batch = sender->first;
    is_ours = batch != NULL && results->n_results > 0 && results->n_results <= batch->count - batch->done;
    for (size_t i = 0; is_ours && i < results->n_results; i++)
        is_ours = results->results[i]->number == batch->rows[batch->done + i].message.number;
    pthread_mutex_unlock(&sender->lock);
    if (!is_ours)
        return error_set(reterr_error, ERROR_INTERNAL, "the server answered for rows that were not sent");
    return settle(sender, results->n_results, results->results, reterr_error);
}

/* Keeps the beginning, or the end that was asked for, for who waits for it. False: nobody has asked. */
static bool keep_answer(
    struct sender *sender, Leadrouter__V1__ImportLeadsResponse **place, Leadrouter__V1__ImportLeadsResponse *answer)
{
    pthread_mutex_lock(&sender->lock);
    bool ok = place == &sender->started || sender->is_ending;
    if (ok) {
        free_answer(*place);
        *place = answer;
        pthread_cond_broadcast(&sender->changed);
    }
    pthread_mutex_unlock(&sender->lock);
    return ok;
}

/* Takes a part of the stream's answer, and the answer with it; `has_started` says whether `started` came before. False: stop. */
static bool take_answer(
    struct sender *sender, Leadrouter__V1__ImportLeadsResponse *answer, bool has_started, struct error *reterr_error)
{
    const bool is_start = answer->part_case == LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART_STARTED;
    bool ok = false;

    if (answer->part_case == LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART__NOT_SET)
        error_set(reterr_error, ERROR_INTERNAL, "the server's answer has a part that this leadctl does not know");
    else if (is_start == has_started)
        error_set(reterr_error, ERROR_INTERNAL,
            is_start ? "the server began the import twice" : "the server answered before it had begun the import");
    else if (answer->part_case == LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART_RESULTS)
        ok = take_results(sender, answer->results, reterr_error);
    else if (keep_answer(sender, is_start ? &sender->started : &sender->finished, answer))
        return true;
    else
        error_set(reterr_error, ERROR_INTERNAL, "the server ended the import before it was asked to");
    free_answer(answer);
    return ok;
}

/* The thread that reads, while the stream lasts. */
static void *read_answers(void *argument)
{
    struct sender *sender = argument;
    Leadrouter__V1__ImportLeadsResponse *answer = NULL;
    bool has_started = false;
    struct error error = {0};

    while (error.code == ERROR_NONE && leadrouter__v1__lead_service__import_leads__next(sender->stream, &answer))
        has_started = take_answer(sender, answer, has_started, &error);
    pthread_mutex_lock(&sender->lock);
    if (error.code != ERROR_NONE)
        sender->callback_error = error;
    sender->is_broken = true;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

/* --- A stream ----------------------------------------------------------------------------------------------------- */

static void open_stream(struct sender *sender)
{
    Leadrouter__V1__ImportLeadsRequest request = LEADROUTER__V1__IMPORT_LEADS_REQUEST__INIT;

    sender->is_broken = false;
    sender->is_ending = false;
    sender->stream = leadrouter__v1__lead_service__import_leads__open(sender->options.channel, NULL);
    sender->has_reader = pthread_create(&sender->reader, NULL, read_answers, sender) == 0;
    if (!sender->has_reader)
        abort(); /* one thread: a system without it has no use for us */
    request.part_case = LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_START;
    request.start = &sender->options.start;
    leadrouter__v1__lead_service__import_leads__send(sender->stream, &request);
}

/* Ends the stream, and says how it ended. */
static enum grpc_c_status close_stream(struct sender *sender, bool is_cancelled, struct grpc_c_outcome *ret_outcome)
{
    if (is_cancelled)
        grpc_c_stream_cancel(sender->stream);
    pthread_join(sender->reader, NULL);
    sender->has_reader = false;
    enum grpc_c_status status = grpc_c_stream_finish(sender->stream, ret_outcome);
    grpc_c_stream_free(sender->stream);
    sender->stream = NULL;
    return status;
}

static bool is_interrupted(const struct sender *sender)
{
    return interrupt_happened(sender->options.interrupt);
}

/* A workspace may be limited to less rows in a message. False when they cannot be less. */
static bool halve(struct sender *sender)
{
    sender->rows_max /= 2;
    return sender->rows_max > 0;
}

static bool fail(struct sender *sender, const struct grpc_c_outcome *outcome)
{
    describe_failure(sender->options.target, outcome, &sender->error);
    if (outcome->status == GRPC_C_NOT_FOUND)
        sender->error.code = ERROR_NOT_FOUND;
    return false;
}

static bool cancel(struct sender *sender)
{
    return error_set(&sender->error, ERROR_CANCELLED, "interrupted");
}

/* The server is away, and is waited for: says so, the first time. */
static void tell_absence(struct sender *sender, const struct grpc_c_outcome *outcome, bool is_new, int wait_s)
{
    struct error error = {0};

    describe_failure(sender->options.target, outcome, &error);
    if (sender->patience.tries == 1 && !is_new)
        import_progress_say(sender->options.progress, "%s; waiting for at most %d s", error.text, wait_s);
    import_progress_wait(sender->options.progress, error.text);
}

/* The stream has ended before its time: waits, if that makes sense. False when sending is over. */
static bool pause_after(struct sender *sender, const struct grpc_c_outcome *outcome)
{
    const bool is_new = sender->import_id[0] == '\0' && nobody_answers(outcome);
    const int wait_s =
        is_new && sender->options.patience_s > BEGIN_PATIENCE_S ? BEGIN_PATIENCE_S : sender->options.patience_s;
    int pause_ms = 0;

    switch (patience_judge(&sender->patience, outcome, wait_s, clock_now_ns(), &pause_ms)) {
    case PATIENCE_OVER:
        return fail(sender, outcome);
    case PATIENCE_LESS:
        return halve(sender) || fail(sender, outcome);
    case PATIENCE_AGAIN:
        break;
    }
    tell_absence(sender, outcome, is_new, wait_s);
    const int64_t until_ns = clock_after_ms(pause_ms);
    pthread_mutex_lock(&sender->lock);
    while (!is_interrupted(sender) && clock_now_ns() < until_ns)
        (void)condition_wait(&sender->changed, &sender->lock, until_ns);
    pthread_mutex_unlock(&sender->lock);
    return !is_interrupted(sender) || cancel(sender);
}

/* Waits for `started`, or the end of the stream. */
static bool wait_for_start(struct sender *sender)
{
    bool ok = false;

    pthread_mutex_lock(&sender->lock);
    while (sender->started == NULL && !sender->is_broken && !is_interrupted(sender))
        (void)condition_wait(&sender->changed, &sender->lock, CLOCK_NEVER);
    ok = sender->started != NULL;
    if (ok) {
        free_answer(sender->first_answer);
        sender->first_answer = sender->started;
        sender->started = NULL;
    }
    pthread_mutex_unlock(&sender->lock);
    return ok;
}

/* Opens streams until one has begun. False when sending is over. */
static bool open_until_begun(struct sender *sender)
{
    for (;;) {
        struct grpc_c_outcome outcome = {0};
        open_stream(sender);
        if (wait_for_start(sender))
            return true;
        close_stream(sender, is_interrupted(sender) || sender->callback_error.code != ERROR_NONE, &outcome);
        sender->error = sender->callback_error;
        if (sender->error.code == ERROR_NONE && is_interrupted(sender))
            cancel(sender);
        bool goes_on = sender->error.code == ERROR_NONE && pause_after(sender, &outcome);
        grpc_c_outcome_release(&outcome);
        if (!goes_on)
            return false;
    }
}

bool sender_begin(struct sender *sender, const Leadrouter__V1__ImportStarted **ret_started, struct error *reterr_error)
{
    if (sender->stream != NULL) {
        close_stream(sender, true, NULL);
        sender->import_id[0] = '\0';
    }
    if (!open_until_begun(sender)) {
        *reterr_error = sender->error;
        return false;
    }
    *ret_started = sender->first_answer->started;
    snprintf(sender->import_id, sizeof(sender->import_id), "%s", (*ret_started)->import_id);
    sender->last_row = (*ret_started)->last_row;
    patience_clear(&sender->patience);
    import_progress_wait(sender->options.progress, NULL);
    return true;
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

/* Sends rows of a batch in one message. False when the stream is over. */
static bool write_rows(struct sender *sender, const struct sender_batch *batch, size_t from, size_t count)
{
    Leadrouter__V1__ImportLeadsRequest request = LEADROUTER__V1__IMPORT_LEADS_REQUEST__INIT;
    Leadrouter__V1__ImportRows rows = LEADROUTER__V1__IMPORT_ROWS__INIT;

    rows.n_rows = count;
    rows.rows = memory_new_array(rows.n_rows, sizeof(Leadrouter__V1__ImportRow *));
    for (size_t i = 0; i < rows.n_rows; i++)
        rows.rows[i] = &batch->rows[from + i].message;
    rows.end_offset = from + count == batch->count ? batch->end_offset : 0; /* an offset is behind all of them */
    request.part_case = LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_ROWS;
    request.rows = &rows;
    bool ok = leadrouter__v1__lead_service__import_leads__send(sender->stream, &request);
    free(rows.rows);
    return ok;
}

/* Sends what of a batch is not in, in as many messages as are needed. False when the stream is over. The batch may be gone by then. */
static bool write_batch(struct sender *sender, const struct sender_batch *batch)
{
    const size_t end = batch->count;
    bool ok = true;

    for (size_t from = batch->done, count = 0; ok && from < end; from += count) {
        count = end - from < sender->rows_max ? end - from : sender->rows_max;
        ok = write_rows(sender, batch, from, count);
    }
    return ok;
}

/* Rows under way that turn out to be in: their results were lost. False: stop. */
static bool settle_lost(struct sender *sender, int64_t last_row)
{
    while (sender->first != NULL) {
        const struct sender_batch *batch = sender->first;
        size_t count = 0;
        while (batch->done + count < batch->count && batch->rows[batch->done + count].message.number <= last_row)
            count++;
        if (count == 0)
            return true;
        if (!settle(sender, count, NULL, &sender->error))
            return false;
    }
    return true;
}

/* Sends again what is not in. When that fails the stream is over, and that is noticed. */
static void write_again(struct sender *sender)
{
    struct sender_batch *batches[UNDER_WAY_MAX];
    size_t count = 0;

    for (struct sender_batch *batch = sender->first; batch != NULL; batch = batch->next)
        batches[count++] = batch;
    for (size_t i = 0; i < count; i++) /* those before it may be gone by now */
        if (!write_batch(sender, batches[i]))
            return;
}

/* Notes that rows have come in since the server was away last. */
static void note_advance(struct sender *sender, int64_t row)
{
    if (row > sender->away_row)
        patience_clear(&sender->patience);
    sender->away_row = row;
}

/* The stream is over: begins another one and sends again what is not in. False when sending is over. */
static bool go_on(struct sender *sender)
{
    const int64_t row_before = sender_last_row(sender);
    struct grpc_c_outcome outcome = {0};

    close_stream(sender, sender->callback_error.code != ERROR_NONE, &outcome);
    note_advance(sender, row_before);
    sender->error = sender->callback_error;
    if (sender->error.code == ERROR_NONE && is_interrupted(sender))
        cancel(sender);
    bool goes_on = sender->error.code == ERROR_NONE && pause_after(sender, &outcome);
    grpc_c_outcome_release(&outcome);
    sender->options.start.only_continue = 0; /* it may have ended just before */
    if (!goes_on || !open_until_begun(sender))
        return false;
    const Leadrouter__V1__ImportStarted *started = sender->first_answer->started;
    if (strcmp(started->import_id, sender->import_id) != 0 || started->last_row < row_before)
        return error_set(&sender->error, ERROR_INTERNAL,
            "the server no longer has row %" PRId64 ", which it had taken: run the same command again", row_before);
    import_progress_wait(sender->options.progress, NULL);
    if (!settle_lost(sender, started->last_row))
        return false;
    write_again(sender);
    return true;
}

bool sender_send(struct sender *sender, struct sender_batch *batch)
{
    while (sender->error.code == ERROR_NONE) {
        pthread_mutex_lock(&sender->lock);
        while (sender->under_way >= UNDER_WAY_MAX && !sender->is_broken && !is_interrupted(sender))
            (void)condition_wait(&sender->changed, &sender->lock, CLOCK_NEVER);
        bool is_broken = sender->is_broken;
        bool is_taken = !is_broken && !is_interrupted(sender);
        if (is_taken) {
            *sender->end = batch;
            sender->end = &batch->next;
            sender->under_way++;
        }
        pthread_mutex_unlock(&sender->lock);
        if (is_taken) {
            (void)write_batch(sender, batch); /* if it failed, that is noticed by who reads */
            return true;
        }
        if (!is_broken || !go_on(sender))
            break;
    }
    sender_batch_free(batch);
    return false;
}

static void write_end(struct sender *sender)
{
    Leadrouter__V1__ImportLeadsRequest request = LEADROUTER__V1__IMPORT_LEADS_REQUEST__INIT;
    Leadrouter__V1__ImportEnd end = LEADROUTER__V1__IMPORT_END__INIT;

    request.part_case = LEADROUTER__V1__IMPORT_LEADS_REQUEST__PART_END;
    request.end = &end;
    (void)leadrouter__v1__lead_service__import_leads__send(sender->stream, &request);
}

/* Waits until all results are there or the stream is over; in a hurry when somebody has pressed Ctrl-C. True: they are. */
static bool wait_for_results(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    while (sender->first != NULL && !sender->is_broken &&
           (sender->farewell_ns == 0 || clock_now_ns() < sender->farewell_ns))
        (void)condition_wait(
            &sender->changed, &sender->lock, sender->farewell_ns == 0 ? CLOCK_NEVER : sender->farewell_ns);
    bool ok = sender->first == NULL && sender->callback_error.code == ERROR_NONE;
    pthread_mutex_unlock(&sender->lock);
    return ok;
}

/* Asks for the end of the import and waits for it. False: the stream is over. */
static bool finish(struct sender *sender, Leadrouter__V1__Import **ret_import)
{
    pthread_mutex_lock(&sender->lock);
    sender->is_ending = true;
    pthread_mutex_unlock(&sender->lock);
    write_end(sender);
    pthread_mutex_lock(&sender->lock);
    while (sender->finished == NULL && !sender->is_broken &&
           (sender->farewell_ns == 0 || clock_now_ns() < sender->farewell_ns))
        (void)condition_wait(
            &sender->changed, &sender->lock, sender->farewell_ns == 0 ? CLOCK_NEVER : sender->farewell_ns);
    bool ok = sender->finished != NULL;
    if (ok) {
        *ret_import = sender->finished->import;
        sender->finished->import = NULL;
        sender->finished->part_case = LEADROUTER__V1__IMPORT_LEADS_RESPONSE__PART__NOT_SET;
    }
    pthread_mutex_unlock(&sender->lock);
    return ok;
}

bool sender_end(struct sender *sender, bool is_whole, Leadrouter__V1__Import **ret_import, struct error *reterr_error)
{
    bool ok = false;

    *ret_import = NULL;
    while (!ok && sender->error.code == ERROR_NONE) {
        bool is_in = wait_for_results(sender);
        if (is_interrupted(sender))
            cancel(sender);
        else if (is_in && !is_whole)
            ok = true;
        else if (is_in && finish(sender, ret_import))
            ok = true;
        else if (is_interrupted(sender))
            cancel(sender);
        else
            (void)go_on(sender);
    }
    if (sender->stream != NULL)
        close_stream(sender, *ret_import == NULL, NULL);
    if (!ok)
        *reterr_error = sender->error;
    return ok;
}

void sender_free(struct sender *sender)
{
    if (sender == NULL)
        return;
    if (sender->stream != NULL)
        close_stream(sender, true, NULL);
    while (sender->first != NULL)
        sender_batch_free(take_first(sender));
    free_answer(sender->first_answer);
    free_answer(sender->started);
    free_answer(sender->finished);
    pthread_cond_destroy(&sender->changed);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}
