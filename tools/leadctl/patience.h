/* Whether what the server did not do is worth another try, and after what pause: one policy for all that leadctl repeats by itself. It
 * neither waits nor reads a clock. One thread at a time. */
#ifndef LEADCTL_PATIENCE_H
#define LEADCTL_PATIENCE_H

#include <stdint.h>

#include "grpc_c/types.h"

/* Of one thing that is tried until it is done; zeroed at first. */
struct patience {
    int64_t since_ns;   /* the first try that failed */
    unsigned tries;     /* that failed since the server did something last */
    unsigned odd_tries; /* of these, what may be a fault and not an absence */
};

enum patience_verdict {
    PATIENCE_OVER,  /* it would not help, or the time is over */
    PATIENCE_AGAIN, /* the same, after the pause */
    PATIENCE_LESS,  /* less in one message, at once: the same would be refused again */
};

/* Judges a try that failed at `now_ns` (monotonic), when there is to be waited for at most `wait_s` seconds since the first.
 * `*ret_pause_ms` is written for PATIENCE_AGAIN; it ends when the time is over at the latest, and not before the moment that the server
 * has named. */
enum patience_verdict patience_judge(
    struct patience *patience, const struct grpc_c_outcome *outcome, int wait_s, int64_t now_ns, int *ret_pause_ms);

/* The server has done something: what comes next is tried from the beginning. */
void patience_clear(struct patience *patience);

#endif
