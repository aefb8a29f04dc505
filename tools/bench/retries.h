/* `leadrouter-bench retries`: how fast the retry queue is worked off, what that does to callers, and whether a long
 * life makes it slower. */
#ifndef BENCH_RETRIES_H
#define BENCH_RETRIES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "options.h"

/* Figures are medians over the rounds. */
struct retries_report {
    int64_t rounds;
    int64_t leads;            /* due in the queue when it is worked off */
    double unary_per_second;  /* RouteLead, 64 in flight, no background work */
    double drain_per_second;  /* a server with nothing else to do */
    double alone_p99_ms;      /* of RouteLead at RETRIES_CALLS_PER_SECOND, nothing due */
    double drained_p99_ms;    /* of the same, while the queue is worked off */
    double polite_per_second; /* how fast it is, meanwhile */
    int64_t churned;          /* retries that passed through the queue */
    double claim_first_us;    /* of a claim of 256 rows, at the start */
    double claim_last_us;     /* after `churned` */
    double claim_held_us;     /* after a tenth of that again, while somebody keeps a snapshot from before it open */
};

enum { RETRIES_CALLS_PER_SECOND = 500 };

/* Makes a private cluster, measures, removes it. Fails when something did not start, or a queue was not worked off. */
bool retries_run(const struct bench_options *options, struct retries_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void retries_print(FILE *output, const struct retries_report *report, bool is_json);

#endif
