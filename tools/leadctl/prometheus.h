/* Asking a Prometheus by its HTTP API: one query at a time, each about one moment. */
#ifndef LEADCTL_PROMETHEUS_H
#define LEADCTL_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { PROMETHEUS_ANSWER_SIZE_MAX = 4 * 1024 * 1024 };

struct prometheus_options {
    const char *url;     /* "https://host:9090", with a path in front of /api if it has one; http for loopback only */
    const char *ca_file; /* this one and the rest: NULL: none */
    const char *certificate_file; /* to show */
    const char *key_file;
    const char *token_file; /* a bearer token, or the password of `user` */
    const char *user;
    int timeout_s; /* for all queries together */
};

struct prometheus;

/* Reads the token and makes ready; nothing is sent yet. Texts are borrowed. ERROR_INVALID: what the options say is wrong. */
bool prometheus_new(
    const struct prometheus_options *options, struct prometheus **ret_prometheus, struct error *reterr_error);

/* One series of an answer. */
struct prometheus_series {
    char *labels; /* "{job=\"leadrouter\"}", sorted by name, without the metric's own */
    double value; /* may be NAN or infinite */
};

/* What a query gave; zeroed: nothing. */
struct prometheus_answer {
    struct prometheus_series *series;
    size_t count;
};

/* Asks. The first answer's moment is that of all later queries, so that they fit together. Released with
 * prometheus_answer_release(). Errors say what to do where that is known: ERROR_UNAVAILABLE (nobody there, no agreement on TLS),
 * ERROR_DEADLINE, ERROR_FORBIDDEN, ERROR_FULL (an answer of over PROMETHEUS_ANSWER_SIZE_MAX bytes), ERROR_PRECONDITION (what answers
 * is no Prometheus, or refuses the query). */
bool prometheus_query(
    struct prometheus *prometheus, const char *query, struct prometheus_answer *ret_answer, struct error *reterr_error);

/* Frees what was answered; zeroed is fine. */
void prometheus_answer_release(struct prometheus_answer *answer);

/* The moment, in seconds since 1970; 0 before the first answer. */
double prometheus_time(const struct prometheus *prometheus);

/* What Prometheus warned of first ("" for nothing): an answer may not be whole. */
const char *prometheus_warning(const struct prometheus *prometheus);

/* Forgets the token and ends the connection. NULL is fine. */
void prometheus_free(struct prometheus *prometheus);

#endif
