/* Some rows of an import on their way: copied from a message, checked, taken in by one transaction, then routed. */
#ifndef SERVER_IMPORT_BATCH_H
#define SERVER_IMPORT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash_table.h"
#include "dedupe/dedupe.h"
#include "leadrouter/v1/leads.pb-c.h"
#include "routing/engine.h"
#include "service.h"

enum { IMPORT_BATCH_ROWS_MAX = 1000 };

/* One row. */
struct import_row {
    struct routing_ticket ticket;
    void *stream; /* whose row it is; for the ticket's callback */
    struct import_batch *batch;

    int64_t number;
    const char *field;  /* of a row that is rejected; "" for none in particular */
    const char *reason; /* why it is rejected; NULL: it is taken */

    /* once it is in */
    Leadrouter__V1__ImportResult result;
    struct uuid lead_id;
    bool needs_routing;          /* its lead is not decided, and this row is the first of the import that is the lead */
    char hash[DEDUPE_HASH_SIZE]; /* of the identity; "" for a blank one */

    /* while and after it is routed: the stream's */
    struct hash_node node;       /* in the table of identities under way */
    struct import_row *follower; /* next row of the same identity, which waits for this one */
    struct import_row *last_row; /* of the row under way: the last one behind it */
    struct routing_answer answer;
};

struct import_input;

struct import_batch {
    struct import_batch *next;
    struct import_row *rows;
    size_t count;
    int64_t end_offset;
    bool is_recovery; /* leads that a crash left between taking in and routing: nobody waits for results */
    bool is_in;       /* the rows are in the database */
    size_t offered;   /* rows that have been offered to the engine, or need not be */
    size_t left;      /* rows that are still to be routed */
    struct arena *arena;
    struct import_input *input; /* what goes into the database; NULL once it is in */
};

/* The import that batches belong to. */
struct import_place {
    struct uuid workspace_id;
    struct uuid import_id;
    struct uuid owner;
    int64_t last_row; /* that is in */
};

/* Copies the rows of a message; those that are wrong are marked as rejected. `after_row` is the number of the last row before
 * them. Errors: ERROR_INVALID for what is wrong with the message and not with a row. Any thread. */
bool import_batch_new(const Leadrouter__V1__ImportRows *message, int64_t after_row, struct import_batch **ret_batch,
    struct error *reterr_error);

/* Leads of an import that are in and that nobody has routed, among those of its last batches; NULL when there are none. Waits: for workers
 * only. Errors: those of service_query(). */
bool import_batch_recover(const struct service_call *call, const struct import_place *place, int64_t deadline_ns,
    struct import_batch **ret_batch, struct error *reterr_error);

/* NULL is fine. */
void import_batch_free(struct import_batch *batch);

/* Makes ERROR_BUSY of the database's word (LR412) that the import goes on in another call, and counts it. */
void import_batch_note_fenced(const struct service_call *call, struct error *error);

/* Takes the rows in and says what became of each; a row that the database refuses is found and rejected, the others go in. Raises
 * `place->last_row`. Waits: for workers only. Errors: ERROR_BUSY when another call has taken the import over; those of
 * service_query(). */
bool import_batch_take_in(const struct service_call *call, struct import_batch *batch, struct import_place *place,
    int64_t deadline_ns, struct error *reterr_error);

#endif
