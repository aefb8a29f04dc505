/* How long the parts of a server's transactions take, by its own measurement: the phases of leadrouter_transaction_phase_seconds, as its
 * admin listener tells them. */
#ifndef BENCH_PHASES_H
#define BENCH_PHASES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Of each phase, what 95 % of the transactions since the server's start did not exceed; within a bucket they are taken to lie evenly. */
struct phases {
    int64_t transactions; /* that came to their end; 0: none */
    double acquire_ms;    /* lock: the round trip that locks leads and reads what deciding needs */
    double match_ms;      /* match: evaluating the rules */
    double complete_ms;   /* decide: the round trip that writes and commits */
};

/* Reads them out of a page of metrics. ERROR_INVALID when they are not in it. */
bool phases_parse(const char *page, struct phases *ret_phases, struct error *reterr_error);

/* Asks the admin listener at `address`, "HOST:PORT". ERROR_UNAVAILABLE, ERROR_INVALID. */
bool phases_ask(const char *address, struct phases *ret_phases, struct error *reterr_error);

#endif
