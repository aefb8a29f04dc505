/* `leadrouter-bench load`: loads a server that is running already. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "options.h"
#include "report.h"

/* Fails when data could not be prepared or the server is not there; single calls that fail are counted in the
 * report. */
bool load_run(const struct bench_options *options, struct report *ret_report, struct error *reterr_error);

#endif
