#include "listing.h"

#include <stdlib.h>

#include "base/memory.h"

enum { PAGE_MAX = 1000 /* rows that the server gives at once */ };

void listing_turn(struct listing *listing, size_t count, const char *next_token)
{
    listing->shown += (int)count;
    free(listing->token);
    listing->token = memory_copy_string(next_token);
    listing->has_more = next_token[0] != '\0';
}

static void show_end(const struct listing_form *form, const struct listing *listing)
{
    if (listing->array != NULL)
        print_json(json_pack("{sO, sb}", form->name, listing->array, "more", (int)listing->has_more));
    else
        printf("%d %s%s\n", listing->shown, listing->shown == 1 ? form->one : form->name,
            listing->has_more ? ", and there are more: --limit" : "");
}

int listing_run(const struct listing_form *form, const struct arguments *arguments, struct session *session)
{
    struct listing listing = {.session = session, .token = memory_copy_string(""), .has_more = true};
    int limit = arguments->limit;
    int code = EXIT_DONE;

    if (arguments->common.json)
        listing.array = json_array();
    else
        listing.table = table_new(form->columns, form->column_count);
    while (code == EXIT_DONE && listing.has_more && (limit == 0 || listing.shown < limit)) {
        int left = limit - listing.shown;
        listing.page_size = limit == 0 || left > PAGE_MAX ? PAGE_MAX : left;
        if (!form->page(&listing, form->context))
            code = session_failed(session);
        else if (listing.table != NULL)
            table_print(listing.table);
        grpc_c_outcome_release(&session->outcome);
    }
    if (code == EXIT_DONE)
        show_end(form, &listing);
    json_decref(listing.array);
    table_free(listing.table);
    free(listing.token);
    return code;
}
