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
    struct jobs *jobs; /* NULL: this server does none */
};

/* Starts it, unless the settings say no. `database` and `engine` are borrowed, and so is `background`, until it is stopped. */
bool background_start(struct background *background, const struct config *config, const struct pg_config *database,
    struct routing_engine *engine, struct error *reterr_error);

/* Ends it; harmless when it was not started. Before the engine is freed. */
void background_stop(struct background *background);

#endif
