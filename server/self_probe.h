/* Looks from outside whether the listener still takes connections: the gRPC core can lose it for good, while connections
 * that exist go on working (SECURITY.md). Only a new connection shows that. */
#ifndef SERVER_SELF_PROBE_H
#define SERVER_SELF_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { SELF_PROBE_FAILURES_MAX = 2 };

struct self_probe;

/* Called once, on the probe's thread, after SELF_PROBE_FAILURES_MAX failures in a row, with the last one's reason; there are
 * no more probes then. Must not call self_probe_free(). */
typedef void self_probe_observer(const struct error *error, void *user);

struct self_probe_options {
    const char *address;           /* Required. "127.0.0.1:7450" or "[::1]:7450"; copied */
    bool is_tls;                   /* the listener speaks TLS */
    int interval_ms;               /* Required. Between the end of one probe and the next */
    int patience_ms;               /* Required. What one probe may take */
    self_probe_observer *observer; /* Required. */
    void *user;                    /* borrowed */
};

/* Probes once, on the caller's thread: connects, says the first words of the protocol and waits for the first of the
 * listener's: a SETTINGS frame, or a TLS record. Errors: ERROR_INVALID (no address), ERROR_SYSTEM (no descriptor or
 * memory), ERROR_UNAVAILABLE (refused, closed, or an answer in no such protocol), ERROR_DEADLINE. */
bool self_probe_once(const struct self_probe_options *options, struct error *reterr_error);

/* Starts a thread that probes. ERROR_SYSTEM. `*ret_probe` is the caller's. */
bool self_probe_new(
    const struct self_probe_options *options, struct self_probe **ret_probe, struct error *reterr_error);

/* How it went so far. */
struct self_probe_status {
    int64_t answered_ns; /* monotonic: when a probe was answered last; without any, when the probe was made */
    bool answered;       /* at least once */
    uint64_t failures;
};
void self_probe_read(const struct self_probe *probe, struct self_probe_status *ret_status);

/* Ends the thread, at once also in mid-probe. Call before the listener is closed. NULL is fine. */
void self_probe_stop(struct self_probe *probe);

/* The same, if it was not done, and releases. NULL is fine. */
void self_probe_free(struct self_probe *probe);

#endif
