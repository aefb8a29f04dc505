/* The server's background work (src/jobs): made from the settings, its events in the log. */
#ifndef SERVER_BACKGROUND_H
#define SERVER_BACKGROUND_H

#include <stdbool.h>

#include "base/error.h"
#include "config.h"
#include "jobs/jobs.h"
#include "pg/pg.h"
#include "routing/engine.h"

struct background {
    struct pg_config listen_database;
    struct jobs *jobs; /* NULL: not started */
};

/* Starts it; when the settings say that this server does none, only for what is asked for by hand. `database` and `engine`
 * are borrowed, and so is `background`, until it is stopped. */
bool background_start(struct background *background, const struct config *config, const struct pg_config *database,
    struct routing_engine *engine, struct error *reterr_error);

/* Ends it; harmless when it was not started. Before the engine is freed. */
void background_stop(struct background *background);

#endif
