/* What the admin listener serves: /metrics, /livez, /readyz, /api/health, and the live page (live_page.h). */
#ifndef SERVER_ADMIN_PAGES_H
#define SERVER_ADMIN_PAGES_H

#include <pthread.h>
#include <stdint.h>

#include <jansson.h>

#include "admin_listener.h"
#include "call_refusals.h"
#include "live_history.h"
#include "sampler.h"
#include "self_probe.h"
#include "service.h"
#include "trace/tracer.h"
#include "transport_security.h"

enum { ADMIN_PROBE_MS = 1000, ADMIN_PROBE_KEPT_MS = 1000 };

/* What the pages are made from; all of it borrowed. The listener's thread only. */
struct admin_pages {
    struct service *service;
    struct call_refusals *refusals;
    struct sampler *sampler;
    const struct self_probe *probe;            /* NULL: none */
    const struct transport_security *security; /* for the certificate's end */
    struct self_probe_options own_listener;    /* how to probe it; patience and the rest are set here */
    int64_t started_s;                         /* Unix */
    struct live_history *history;
    struct tracer *tracer; /* NULL: no spans */
    bool is_counting;      /* false: without metrics */

    /* the last answer of /livez, so that asking often costs little */
    int64_t probed_ns; /* 0: never */
    bool is_alive;
    struct error probe_error;
};

extern const struct admin_route admin_routes[];
extern const size_t admin_route_count;

/* What /api/health says, of a view of the sampler. The caller's. The listener's thread. */
json_t *admin_health_object(const struct admin_pages *pages, const struct sampler_view *view, bool is_serving);

#endif
