#include "server_rejects.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/leads.grpc.h"
#include "patience.h"

enum { PAGE_ROWS = 1000 };

struct server_rejects {
    struct server_rejects_options options;
    int page_rows;                                  /* to ask for at a time, as far as is known */
    Leadrouter__V1__ListRejectedRowsResponse *page; /* NULL: none was asked for */
    size_t at;         /* in the page: rows before it have lower numbers than was asked for last */
    int64_t known_row; /* of rows up to this one the page has all that are rejected */
};

struct server_rejects *server_rejects_new(const struct server_rejects_options *options)
{
    struct server_rejects *rejects = memory_new(sizeof(*rejects));

    rejects->options = *options;
    rejects->page_rows = PAGE_ROWS;
    return rejects;
}

static void free_page(struct server_rejects *rejects)
{
    if (rejects->page != NULL)
        leadrouter__v1__list_rejected_rows_response__free_unpacked(rejects->page, NULL);
    rejects->page = NULL;
}

void server_rejects_free(struct server_rejects *rejects)
{
    if (rejects == NULL)
        return;
    free_page(rejects);
    free(rejects);
}

/* Waits, unless somebody presses Ctrl-C: then false. */
static bool pause_for(const struct server_rejects *rejects, int pause_ms)
{
    struct pollfd interrupted = {.fd = interrupt_descriptor(rejects->options.interrupt), .events = POLLIN};

    while (poll(&interrupted, 1, pause_ms) < 0 && errno == EINTR)
        ;
    return !interrupt_happened(rejects->options.interrupt);
}

/* Asks for the page behind a row, once. */
static enum grpc_c_status try_page(
    struct server_rejects *rejects, int64_t after_row, struct grpc_c_outcome *ret_outcome)
{
    const struct server_rejects_options *options = &rejects->options;
    Leadrouter__V1__ListRejectedRowsRequest request = LEADROUTER__V1__LIST_REJECTED_ROWS_REQUEST__INIT;

    request.workspace_id = borrowed(options->workspace_id);
    request.import_id = borrowed(options->import_id);
    request.after_row = after_row;
    request.page_size = rejects->page_rows;
    return leadrouter__v1__lead_service__list_rejected_rows(
        options->channel, &request, NULL, &rejects->page, ret_outcome);
}

/* A try failed: waits, if that makes sense. */
static bool pause_after(struct server_rejects *rejects, struct patience *patience, const struct grpc_c_outcome *outcome,
    struct error *reterr_error)
{
    const struct server_rejects_options *options = &rejects->options;
    int pause_ms = 0;

    switch (patience_judge(patience, outcome, options->patience_s, clock_now_ns(), &pause_ms)) {
    case PATIENCE_AGAIN:
        return pause_for(rejects, pause_ms) || error_set(reterr_error, ERROR_CANCELLED, "interrupted");
    case PATIENCE_LESS:
        if (rejects->page_rows > 1) {
            rejects->page_rows /= 2;
            return true;
        }
        break;
    case PATIENCE_OVER:
        break;
    }
    describe_failure(options->target, outcome, reterr_error);
    return false;
}

/* Asks for the page behind a row; again, while the server is away and there is patience. */
static bool ask(struct server_rejects *rejects, int64_t after_row, struct error *reterr_error)
{
    struct patience patience = {0};
    bool goes_on = true;

    free_page(rejects);
    while (goes_on && rejects->page == NULL) {
        struct grpc_c_outcome outcome = {0};
        if (try_page(rejects, after_row, &outcome) != GRPC_C_OK)
            goes_on = pause_after(rejects, &patience, &outcome, reterr_error);
        grpc_c_outcome_release(&outcome);
    }
    rejects->at = 0;
    return goes_on;
}

bool server_rejects_find(struct server_rejects *rejects, int64_t number, int64_t last_row,
    const Leadrouter__V1__ImportRejection **ret_rejection, struct error *reterr_error)
{
    const Leadrouter__V1__ListRejectedRowsResponse *page = NULL;

    if (number > rejects->known_row) {
        if (!ask(rejects, number - 1, reterr_error))
            return false;
        page = rejects->page;
        rejects->known_row = page->more && page->n_rows > 0 ? page->rows[page->n_rows - 1]->number : last_row;
    }
    page = rejects->page;
    while (page != NULL && rejects->at < page->n_rows && page->rows[rejects->at]->number < number)
        rejects->at++;
    *ret_rejection = page != NULL && rejects->at < page->n_rows && page->rows[rejects->at]->number == number
                         ? page->rows[rejects->at]->rejection
                         : NULL;
    return true;
}
