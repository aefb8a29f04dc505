/* The yardstick above: the engine in this process, with more leads waiting than a batch holds and no RPC. */
#ifndef BENCH_CEILING_H
#define BENCH_CEILING_H

#include <stdbool.h>

#include "base/error.h"
#include "pg/pg.h"
#include "run.h"

enum { CEILING_WAITING = 2048 /* leads handed over and not yet answered */ };

/* Routes the run's leads until it ends. `database` is what a server would use. Errors: those of
 * routing_engine_new(). */
bool ceiling_run(struct run *run, const struct pg_config *database, struct error *reterr_error);

#endif
