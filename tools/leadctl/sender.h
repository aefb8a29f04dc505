/* Sends the rows of an import to the server and reads what became of them. When the server goes away the import is taken up again where it
 * stopped, for as long as the caller has patience; nothing is taken in twice. */
#ifndef LEADCTL_SENDER_H
#define LEADCTL_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "grpc_c/client.h"
#include "import_progress.h"
#include "interrupt.h"
#include "leadrouter/v1/leads.pb-c.h"
#include "rejects_file.h"

struct sender;

/* A row under way. */
struct sender_row {
    Leadrouter__V1__ImportRow message;
    uint64_t line;
    struct rejects_cells cells; /* when there is a file of rejected rows */
};

/* Rows of one message; their texts live in the arena. */
struct sender_batch {
    struct arena *arena;
    struct sender_row *rows;
    size_t count;
    size_t done; /* of which the result is known, or lost */
    int64_t end_offset;
    struct sender_batch *next;
};

/* An empty one, with room for `rows_max`. */
struct sender_batch *sender_batch_new(size_t rows_max);

/* NULL is fine. */
void sender_batch_free(struct sender_batch *batch);

/* What became of a row; `result` is NULL when the row is in and its result was lost with a connection. In the order of the rows, one at a
 * time, on any thread. False: stop, for the reason that was written. */
typedef bool sender_row_callback(void *user, const struct sender_row *row,
    const Leadrouter__V1__ImportRowResult *result, struct error *reterr_error);

/* Behind the last row of each message. False: as above. */
typedef bool sender_batch_callback(void *user, const struct sender_batch *batch, struct error *reterr_error);

struct sender_options {
    struct grpc_c_channel *channel;        /* Required; borrowed */
    const char *target;                    /* Required; borrowed. Where the channel leads, for messages */
    Leadrouter__V1__ImportStart start;     /* Required; what it points to is borrowed */
    int patience_s;                        /* how long to wait for a server that is away */
    const struct interrupt *interrupt;     /* borrowed; NULL: none */
    struct import_progress *progress;      /* Required; borrowed */
    sender_row_callback *row_callback;     /* Required */
    sender_batch_callback *batch_callback; /* Required */
    void *user;
};

/* Makes one; nothing is sent yet. The options are copied. */
struct sender *sender_new(const struct sender_options *options);

/* Breaks off what is under way. NULL is fine. */
void sender_free(struct sender *sender);

/* For interrupt_on(): nobody goes on waiting; who waits for results does so for some seconds more. */
void sender_wake(void *sender);

/* Begins the import, or goes on with it. Borrowed: what the server said, valid until the next call. Errors: ERROR_UNAVAILABLE and others;
 * ERROR_CANCELLED when it was interrupted; ERROR_NOT_FOUND for a workspace, or an import to be continued, that is not there. */
bool sender_begin(struct sender *sender, const Leadrouter__V1__ImportStarted **ret_started, struct error *reterr_error);

/* Hands a batch over; waits while four are under way. False when sending is over: sender_end() says why. */
bool sender_send(struct sender *sender, struct sender_batch *batch);

/* Waits for the results of all that was sent. With `is_whole` that was the whole file and the import is closed; otherwise it is left to be
 * continued. False with the reason when the server could not take it all: ERROR_CANCELLED when it was interrupted. `*ret_import`, the
 * caller's, freed with protobuf_c_message_free_unpacked(), is NULL when the import is not over. */
bool sender_end(struct sender *sender, bool is_whole, Leadrouter__V1__Import **ret_import, struct error *reterr_error);

/* The number of the last row that is in for good. */
int64_t sender_last_row(struct sender *sender);

/* The number of the last row that was in when the import began or was taken up again last; for who has called sender_begin(), and for the
 * callbacks about rows whose result was lost. */
int64_t sender_start_row(const struct sender *sender);

#endif
