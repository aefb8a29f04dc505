/* Sends leads to the server in batches, a few at a time. A batch that could not be carried out is repeated under
 * the same request id, so that nothing is inserted twice; a lead that the server refuses is rejected by itself. */
#ifndef LEADCTL_SENDER_H
#define LEADCTL_SENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "grpc_c/client.h"
#include "summary.h"

struct sender;

struct sender_options {
    struct grpc_c_channel *channel; /* Required; borrowed */
    const char *target;             /* Required; borrowed. Where the channel leads, for messages */
    const char *workspace_id;       /* Required; borrowed */
    bool route;
    struct summary *summary; /* Required; borrowed */
};

/* A batch being filled; its arena holds the leads. */
struct sender_batch {
    struct arena *arena;
    Leadrouter__V1__NewLead **leads;
    size_t *lines; /* of the file, for messages */
    size_t count;
    struct sender_batch *next;
};

/* Starts to send; sender_finish() ends it. */
struct sender *sender_new(const struct sender_options *options);

/* An empty batch with room for `leads_max` leads. */
struct sender_batch *sender_batch_new(size_t leads_max);
void sender_batch_free(struct sender_batch *batch); /* NULL is fine */

/* Hands a batch over; waits while too many are under way. False when sending has failed for good: sender_finish()
 * says why. */
bool sender_send(struct sender *sender, struct sender_batch *batch);

/* Waits for everything; false with the reason when the server could not take it all. Releases the sender. */
bool sender_finish(struct sender *sender, struct error *reterr_error);

#endif
