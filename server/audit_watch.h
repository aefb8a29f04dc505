/* Holds the audit log against its seals, a little at a time and round after round, so that what somebody changed is noticed without being
 * looked for. One thread. */
#ifndef SERVER_AUDIT_WATCH_H
#define SERVER_AUDIT_WATCH_H

#include <stdint.h>

#include "base/error.h"
#include "service.h"

enum { AUDIT_WATCH_ROWS = 5000 /* looked at by one step: a quarter of a second or so of the database's */ };

/* A round, from the first seal to the last. Zeroed: none was begun. */
struct audit_watch {
    int64_t next_seal;
    bool is_small;        /* the last step looked at few rows: the next may follow at once */
    int64_t found;        /* in this round */
    int64_t found_before; /* in the last whole one */
};

/* One step; sets METRIC_AUDIT_VERIFIED at the end of a round without findings, and METRIC_AUDIT_PROBLEMS. Errors: those of service_query();
 * the next step then tries the same again. */
bool audit_watch_step(
    struct audit_watch *watch, struct service *service, int64_t deadline_ns, struct error *reterr_error);

#endif
