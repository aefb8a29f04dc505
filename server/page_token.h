/* The place that a page of a list ended at, as a token. Callers may keep it, not make it: one that was altered, or that belongs to
 * another list or other filters, is refused. It protects from mistakes; what it leads to is checked anyway. */
#ifndef SERVER_PAGE_TOKEN_H
#define SERVER_PAGE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

enum { PAGE_TOKEN_SIZE = 2 * (8 + 16 + 8) + 1 };

/* The last row of a page, of a list in order of a time and an id. */
struct page_place {
    int64_t time_us; /* INT64_MAX: infinity */
    struct uuid id;
};

/* Writes the token; returns `ret_token`. `list` names the list and everything it was asked for but the page, as in
 * "ListRetries due"; it is not kept. */
char *page_token_write(const struct page_place *place, const char *list, char ret_token[PAGE_TOKEN_SIZE]);

/* Reads a token that was given for the same list. Errors: ERROR_INVALID. */
bool page_token_read(const char *token, const char *list, struct page_place *ret_place, struct error *reterr_error);

#endif
