/* Lists that a server gives page by page: shown as a table that grows, or as one JSON object. */
#ifndef LEADCTL_LISTING_H
#define LEADCTL_LISTING_H

#include "command.h"
#include "table.h"

/* What a function that reads a page is given. */
struct listing {
    struct session *session;
    struct table *table; /* NULL with --json */
    json_t *array;       /* NULL without */
    int page_size;       /* how many to ask for */
    char *token;         /* of the page; "" for the first */

    /* listing_turn() writes these */
    int shown;
    bool has_more;
};

struct listing_form {
    const struct table_column *columns;
    size_t column_count;
    const char *name; /* of the array in JSON, and of many: "leads" */
    const char *one;  /* of them: "lead" */
    /* Reads a page, adds its rows to the table or the array, and calls listing_turn(); false when the call failed. */
    bool (*page)(struct listing *listing, void *context);
    void *context;
};

/* For the tables of commands that list: how many at most. */
#define FLAG_LIMIT                                                                                                     \
    {                                                                                                                  \
        .name = "limit", .placeholder = "N", .help = "how many at most", .kind = OPTION_NUMBER,                        \
        .offset = offsetof(struct arguments, limit), .least = 1, .most = 100000, .standard = 100                       \
    }

/* Notes that a page had `count` rows, and how to ask for the next; "": there is none. */
void listing_turn(struct listing *listing, size_t count, const char *next_token);

/* Shows pages until there are as many rows as --limit says, or no more (a limit of 0 means all). JSON: {"<name>": [...], "more": bool}. */
int listing_run(const struct listing_form *form, const struct arguments *arguments, struct session *session);

#endif
