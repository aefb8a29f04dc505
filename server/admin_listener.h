/* The admin listener: HTTP for those who operate a server. It knows addresses, certificates, tokens, limits and headers, and of what is
 * served only a table of paths. One thread; one request per connection. */
#ifndef SERVER_ADMIN_LISTENER_H
#define SERVER_ADMIN_LISTENER_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "metrics/metrics.h"

enum {
    ADMIN_CONNECTIONS_MAX = 64, /* at once; from ADMIN_CONNECTIONS_FEW on the oldest that has not asked yet is closed */
    ADMIN_CONNECTIONS_FEW = 48,
    ADMIN_CONNECTION_MS = 10000, /* from a connection's beginning to its end, whatever it does */
    ADMIN_HEADERS_MAX = 64,
    ADMIN_REQUEST_SIZE_MAX = 16384, /* request line and headers, and what is kept about them */
    ADMIN_BODY_SIZE_MAX = 8 * 1024 * 1024,
    ADMIN_TOKEN_SIZE_MIN = 16,
    ADMIN_ADDRESS_SIZE = 300,
};

/* What is answered. */
struct admin_answer {
    int status;               /* 200 at first */
    const char *content_type; /* a constant; text/plain at first */
    const char *policy;       /* the Content-Security-Policy; a constant; at first nothing is allowed */
    const char *tag;          /* the body's ETag, quotes included; a constant; NULL: the answer must not be kept */
    struct buffer body;       /* empty at first */
};

/* Answers one request, on the listener's thread, which serves nobody else meanwhile. `is_known` is false for whoever showed no token where
 * one is needed: such callers come only to paths that are open, and get to know no details. */
typedef void admin_handler(void *user, bool is_known, struct admin_answer *answer);

struct admin_route {
    const char *path; /* in full */
    admin_handler *handler;
    bool is_open; /* no token is needed */
};

struct admin_listener_options {
    const char *address; /* Required. "host:port"; port 0 takes a free one */
    const char *
        certificate_file; /* with the next: TLS; NULL: plain text, for loopback addresses only. Borrowed, as all texts */
    const char *key_file;
    const char *token_file;           /* who is let in shows this token; NULL: everybody on this machine */
    const struct admin_route *routes; /* Required; borrowed */
    size_t route_count;
    void *user;              /* for handlers; borrowed */
    struct metrics *metrics; /* counts requests; borrowed, or NULL */
};

struct admin_listener;

/* Where it would listen, the first of what is found, for freeaddrinfo(); of the options address, certificate and token decide
 * whether it may. ERROR_INVALID: no such address, or one of other machines without TLS and a token; ERROR_UNAVAILABLE: the host
 * cannot be looked up now. They name the flag. */
bool admin_listener_resolve(
    const struct admin_listener_options *options, struct addrinfo **ret_found, struct error *reterr_error);

/* Listens, and starts the thread. Errors: those of admin_listener_resolve(). ERROR_INVALID: a token that is too short or a file that
 * everybody may read; a certificate that is none. ERROR_EXISTS: the port is taken. ERROR_SYSTEM. */
bool admin_listener_new(
    const struct admin_listener_options *options, struct admin_listener **ret_listener, struct error *reterr_error);

/* Where it listens, "host:port" with the real port. */
const char *admin_listener_address(const struct admin_listener *listener);

/* Reads certificate and token again. What is no good is told, and what is in use stays. Any thread but the listener's. */
bool admin_listener_reload(struct admin_listener *listener, struct error *reterr_error);

/* Ends the thread, and connections with it. NULL is fine. */
void admin_listener_free(struct admin_listener *listener);

#endif
