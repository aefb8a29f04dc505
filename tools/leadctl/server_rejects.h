/* The rows of an import that are rejected as the server has them: of those whose results did not reach us, only it knows. Asked for page by
 * page, as they are needed. One thread at a time. */
#ifndef LEADCTL_SERVER_REJECTS_H
#define LEADCTL_SERVER_REJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "grpc_c/client.h"
#include "interrupt.h"
#include "leadrouter/v1/leads.pb-c.h"

struct server_rejects;

struct server_rejects_options {
    struct grpc_c_channel *channel;    /* Required; borrowed */
    const char *target;                /* Required; borrowed. Where the channel leads, for messages */
    const char *workspace_id;          /* Required; borrowed */
    const char *import_id;             /* Required; borrowed */
    int patience_s;                    /* how long to wait for a server that is away */
    const struct interrupt *interrupt; /* borrowed; NULL: none */
};

/* Makes one; nothing is asked yet. The options are copied. */
struct server_rejects *server_rejects_new(const struct server_rejects_options *options);

/* NULL is fine. */
void server_rejects_free(struct server_rejects *rejects);

/* Why a row was rejected; `*ret_rejection` is borrowed until the next call, and NULL for a row that was not. Rows are asked about in the
 * order of their numbers. `last_row`: rows up to this one are in, `number` among them. Errors: ERROR_UNAVAILABLE, with the reason;
 * ERROR_CANCELLED when it was interrupted. */
bool server_rejects_find(struct server_rejects *rejects, int64_t number, int64_t last_row,
    const Leadrouter__V1__ImportRejection **ret_rejection, struct error *reterr_error);

#endif
