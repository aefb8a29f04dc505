/* `leadrouter-bench imports`: how fast leadctl and the server import a file. */
#ifndef BENCH_IMPORTS_H
#define BENCH_IMPORTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "options.h"

/* Leads a second: RouteLead of leads that are there; a file imported and routed; a file imported; the same rows by a bare COPY. */
enum imports_way { IMPORTS_UNARY, IMPORTS_ROUTED, IMPORTS_INSERTED, IMPORTS_COPIED, IMPORTS_WAYS };

/* Figures are medians over the rounds; so are the ratios, which are taken in each round. Memory is the highest of all rounds. */
struct imports_report {
    int64_t rounds;
    int64_t rows;  /* of the file */
    int64_t leads; /* that they become */
    double per_second[IMPORTS_WAYS];
    double routed_to_unary;
    double inserted_to_copied;
    int64_t server_max_kib;
    int64_t client_max_kib;
    int64_t server_growth_kib; /* from the first half of an import to its second half */
    int64_t client_growth_kib;
    double other_work_percent; /* of the machine, when a run began: highest of all runs */
};

/* Makes a private cluster, measures, removes it. Fails when something did not start, or the rows in the database are not those of the
 * file. */
bool imports_run(const struct bench_options *options, struct imports_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void imports_print(FILE *output, const struct imports_report *report, bool is_json);

#endif
