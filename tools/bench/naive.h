/* The yardstick below: the same decisions as the system before made them, one lead at a time, one statement after
 * the other, each in a transaction of its own: lock, read the lead, find its rule, look for a duplicate, complete.
 * Prepared statements and binary rows, as fast as one can do it this way. */
#ifndef BENCH_NAIVE_H
#define BENCH_NAIVE_H

#include <stdbool.h>

#include "base/error.h"
#include "pg/pg.h"
#include "run.h"

/* Routes the run's leads on `connections` connections, a thread each, until it ends. Errors: those of connecting. */
bool naive_run(struct run *run, const struct pg_config *database, unsigned connections, struct error *reterr_error);

#endif
