#include "background.h"

#include "base/clock.h"
#include "base/log.h"

enum { REGISTER_MS = 10000 };

/* What an event is called in the log, and its constant message. */
static const struct {
    enum log_level level;
    const char *name;
    const char *message;
} events[] = {
    [JOBS_EVENT_DONE] = {LOG_LEVEL_INFO, "job.done", "a background job has run"},
    [JOBS_EVENT_FAILED] = {LOG_LEVEL_ERROR, "job.failed", "a background job failed and is tried again"},
    [JOBS_EVENT_ALERT] = {LOG_LEVEL_WARNING, "health.alert", "the health check found something wrong"},
    [JOBS_EVENT_RETRIES] = {LOG_LEVEL_INFO, "retries.done", "retries were processed"},
    [JOBS_EVENT_DATABASE] = {LOG_LEVEL_WARNING, "job.database", "background work waits for the database"},
};

static void log_event(void *user, const struct jobs_event *event)
{
    const struct error *error = event->error;
    const struct log_field fields[] = {
        LOG_STRING("job", event->job),
        LOG_STRING("detail", event->detail),
        LOG_INTEGER("duration_ms", event->duration_ms),
        LOG_STRING("error", error == NULL ? NULL : error->text),
        LOG_STRING("sqlstate", error == NULL || error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_END,
    };

    (void)user;
    log_write(events[event->kind].level, events[event->kind].name, events[event->kind].message, fields);
}

static void log_not_registered(const struct error *error)
{
    const struct log_field fields[] = {
        LOG_STRING("error", error->text),
        LOG_STRING("sqlstate", error->sqlstate[0] == '\0' ? NULL : error->sqlstate),
        LOG_END,
    };

    log_write(LOG_LEVEL_WARNING, "jobs.unregistered", "the background jobs' rows could not be made yet", fields);
}

bool background_start(struct background *background, const struct config *config, const struct pg_config *database,
    struct routing_engine *engine, struct error *reterr_error)
{
    struct jobs_options options = {
        .database = database,
        .engine = engine,
        .retry_lanes_max = (unsigned)config->retry_lanes,
        .log_keep_days = config->log_keep_days,
        .observer = log_event,
        .by_hand_only = config->no_jobs,
    };
    struct error error = {0};

    /* From the start there is something to list and to pause. */
    if (!jobs_register(database, clock_after_ms(REGISTER_MS), &error))
        log_not_registered(&error);
    /* A pooler in transaction mode hands notifications to nobody. */
    if (config->listen_database != NULL || !config->unnamed_statements) {
        background->listen_database = *database;
        if (config->listen_database != NULL)
            background->listen_database.url = config->listen_database;
        options.listen_database = &background->listen_database;
    }
    return jobs_new(&options, &background->jobs, reterr_error);
}

void background_stop(struct background *background)
{
    jobs_free(background->jobs);
    background->jobs = NULL;
}
