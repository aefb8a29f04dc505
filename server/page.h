/* A page of a list that a call asks for, and the way to the next one. */
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "page_token.h"
#include "pg/pg.h"

enum { PAGE_SIZE_DEFAULT = 100, PAGE_SIZE_MAX = 1000 };

/* Zeroed: for one thing and not a list. */
struct page {
    int size; /* rows that it has at most */
    bool has_place;
    struct page_place place; /* where the page before ended */
    const char *list;        /* as in page_token.h; borrowed */
};

/* Reads `page_size` of a request. Errors: ERROR_INVALID. */
bool page_size_read(int32_t page_size, int *ret_size, struct error *reterr_error);

/* Reads `page_size` and `page_token` of a request. `list`, which is kept, names the list and everything it was asked for but the page.
 * Errors: ERROR_INVALID. */
bool page_read(
    struct page *page, int32_t page_size, const char *page_token, const char *list, struct error *reterr_error);

/* Adds what functions of the database that give a page take: the place (time and id, null for the first page), and how many rows, one more
 * than the page has: it tells that there is another page. */
void page_add_params(const struct page *page, struct pg_params *params);

/* The token of the next page, behind the last row of this one, in the arena. */
char *page_next(const struct page *page, const struct page_place *last, struct arena *arena);

#endif
