/* RouteLeads over gRPC: one stream, with a fixed number of leads under way. */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <stdbool.h>

#include "base/error.h"
#include "run.h"

enum { STREAM_UNDER_WAY = 512 /* what a server takes of one stream at a time */ };

/* Routes the run's leads over one stream to "host:port" until it ends. Errors: ERROR_INVALID (target). How the stream
 * ended and what single leads answered is in the run. */
bool stream_run(struct run *run, const char *target, unsigned under_way, struct error *reterr_error);

#endif
