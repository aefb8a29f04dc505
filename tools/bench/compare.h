/* `leadrouter-bench compare`: the three ways of deciding leads, side by side on one private cluster. */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include "options.h"
#include "report.h"

/* Makes the cluster and the data, measures, removes the cluster. Fails when something did not start, or when the
 * decisions found in the database after a run are not those that were answered, or not the right ones. */
bool compare_run(const struct bench_options *options, struct report *ret_report, struct error *reterr_error);

#endif
