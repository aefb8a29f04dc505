/* Looks at the database from time to time, on a thread of its own, for whoever wants to know how routing is doing: metrics, readiness,
 * /api/health. Who asks never waits for the database and never makes it work more than every SAMPLER_FAST_MS. */
#ifndef SERVER_SAMPLER_H
#define SERVER_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "health_verdict.h"
#include "metrics/metrics.h"
#include "service.h"

enum {
    SAMPLER_FAST_MS = 2000,         /* between two looks while somebody asks, */
    SAMPLER_SLOW_MS = 15000,        /* and while nobody does; */
    SAMPLER_TABLES_MS = 30000,      /* at tables, sessions, workspaces in any case; at duplicates not more often, */
    SAMPLER_DUPLICATES_SHARE = 100, /* and for a hundredth of the time at most */
    SAMPLER_ASKED_MS = 30000,       /* how long somebody asks */
};

struct sampler;

/* What was seen last. */
struct sampler_view {
    bool has_facts;    /* `facts` and `schema_version` were read at least once */
    bool is_up;        /* the last look had an answer */
    int64_t read_ns;   /* monotonic: of `facts`; without any, of the start */
    int64_t tables_ns; /* monotonic: of the tables; without any, of the start */
    int64_t duplicates_ns;
    struct health_facts facts;
    int schema_version;
    struct error error; /* of the last look, when it had none */
};

/* Starts; the first look is made at once. What is seen is set in the service's metrics, too. ERROR_SYSTEM. */
bool sampler_new(struct service *service, struct sampler **ret_sampler, struct error *reterr_error);

/* Somebody asks: what was seen last. Any thread; never waits for the database. */
void sampler_look(struct sampler *sampler, struct sampler_view *ret_view);

/* How long to wait after a look at duplicates, which costs more the more there are, that took so long. */
int64_t sampler_duplicates_pause_ns(int64_t took_ns);

/* True when the log is told by itself why a look at tables or duplicates failed: not when the database has gone in the middle of it, which
 * the look at routing tells once. */
bool sampler_is_told(enum metrics_sample sample, const struct error *error);

/* Ends it, after the statement under way. NULL is fine. */
void sampler_free(struct sampler *sampler);

#endif
