/* The live page of the admin listener: its files, which are part of the program, and GET /api/live, which it shows. */
#ifndef SERVER_LIVE_PAGE_H
#define SERVER_LIVE_PAGE_H

#include <stddef.h>

#include "admin_listener.h"

/* One file of the page (server/page). */
struct live_page_file {
    const char *content_type;
    const char *tag; /* its ETag */
    const unsigned char *text;
    size_t size;
};
extern const struct live_page_file live_page_html, live_page_css, live_page_js;

/* Handlers; `user` is a struct admin_pages. */
void live_page_serve_html(void *user, bool is_known, struct admin_answer *answer);
void live_page_serve_css(void *user, bool is_known, struct admin_answer *answer);
void live_page_serve_js(void *user, bool is_known, struct admin_answer *answer);
void live_page_serve_data(void *user, bool is_known, struct admin_answer *answer);

#endif
