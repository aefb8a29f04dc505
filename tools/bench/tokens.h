/* `leadrouter-bench tokens`: what it costs to know who calls. */
#ifndef BENCH_TOKENS_H
#define BENCH_TOKENS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "options.h"

/* Who calls. */
enum tokens_kind { TOKENS_NONE, TOKENS_SERVICES, TOKENS_PEOPLE, TOKENS_KINDS };

/* Figures are medians over the rounds; so are the ratios, which are taken in each round. */
struct tokens_report {
    int64_t rounds;
    int64_t callers;
    int64_t in_flight;
    double per_second[TOKENS_KINDS];
    double p99_ms[TOKENS_KINDS];
    double to_none[TOKENS_KINDS]; /* throughput, to that without tokens in the same round */
    double other_work_percent;    /* of the machine, when a run began: highest of all runs */
};

/* Makes a private cluster, measures, removes it. Fails when something did not start, or a call failed. */
bool tokens_run(const struct bench_options *options, struct tokens_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void tokens_print(FILE *output, const struct tokens_report *report, bool is_json);

#endif
