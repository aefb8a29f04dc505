/* What can be seen of a run while it is under way: the retry queue, stale locks and the database's connections, looked at twice a second
 * by a thread of its own; and afterwards what the server says of its locks. */
#ifndef BENCH_WATCH_H
#define BENCH_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "stage.h"

struct watch;

/* The most of each that was seen at once. */
struct watch_figures {
    int64_t queue;     /* open rows of the retry queue */
    int64_t due;       /* those of them whose time has come */
    int64_t stale;     /* leads held for more than five minutes */
    double sessions;   /* share of the database's connections that somebody else than this program has */
    int64_t locks;     /* leads asked for that could be decided; 0: none were asked for by a call */
    double lock_share; /* of those whose lock was had at once; 1 without any */
};

/* Begins to look at the stage's copy. */
bool watch_start(const struct stage *stage, struct watch **ret_watch, struct error *reterr_error);

/* Looks once more, ends, and asks the server at `target` for its locks; one that has answered `answered` leads knows of as many after a
 * second at most. Frees the watch, whatever comes of it. */
bool watch_end(struct watch *watch, const char *target, int64_t answered, struct watch_figures *ret_figures,
    struct error *reterr_error);

/* Ends it, and nobody wants to know. NULL is fine. */
void watch_abandon(struct watch *watch);

#endif
