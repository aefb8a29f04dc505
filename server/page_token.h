/* The place in the retry queue that a page of ListRetries ended at, as a token. Callers may keep it, not make it: one that was
 * altered, or that belongs to other filters, is refused. It protects from mistakes; what it leads to is checked anyway. */
#ifndef SERVER_PAGE_TOKEN_H
#define SERVER_PAGE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

enum { PAGE_TOKEN_SIZE = 2 * (8 + 16 + 8) + 1 };

/* The last row of a page. */
struct page_place {
    int64_t next_retry_us; /* INT64_MAX: infinity */
    struct uuid queue_id;
};

/* What a list was asked for. */
struct page_filter {
    struct uuid workspace_id; /* uuid_nil: all */
    bool due_only;
};

/* Writes the token; returns `ret_token`. */
char *page_token_write(
    const struct page_place *place, const struct page_filter *filter, char ret_token[PAGE_TOKEN_SIZE]);

/* Reads a token that was given for the same filter. Errors: ERROR_INVALID. */
bool page_token_read(
    const char *token, const struct page_filter *filter, struct page_place *ret_place, struct error *reterr_error);

#endif
