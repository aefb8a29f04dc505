/* Where benches of the whole product play: a private cluster in a directory of its own, one prepared database, and a fresh copy of it for
 * each run. */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <stdbool.h>

#include "base/error.h"
#include "children.h"
#include "options.h"
#include "pg/pg.h"
#include "workload.h"

enum { STAGE_PATH_SIZE = 4096 };

struct stage {
    char *leadrouterd;
    char directory[STAGE_PATH_SIZE];
    struct cluster cluster;
    struct pg_conn *admin; /* on template1: creates and drops the copies */
    struct workload workload;
    const char *const *flags;   /* further ones of the servers to be started, at most 6, the last is NULL; NULL: none */
    const char *token;          /* that they want to be shown; NULL: none */
    bool keeps_commit_times;    /* the database says when each transaction was committed; set before stage_open() */
    int64_t idle_wait_ms;       /* how long a run waits for a machine that works for others */
    struct child_memory memory; /* of the servers: highest so far */
    double other_work_percent;  /* what the machine did for others when a run began: highest so far */
};

/* Makes the cluster and the data; `prepare_sql` (or NULL) is then run in the database by its owner. Closed with stage_close(), which is
 * harmless for a zeroed stage and after a failure. */
bool stage_open(
    struct stage *stage, const struct bench_options *options, const char *prepare_sql, struct error *reterr_error);
void stage_close(struct stage *stage);

/* Makes a fresh copy of the prepared database in place of the one before, leaves nothing for the disk to do from before, and waits until
 * the machine is idle, for as long as the options say at most. */
bool stage_copy(struct stage *stage, struct error *reterr_error);

/* The copy's URLs; memory of the caller. */
bool stage_service_url(const struct stage *stage, char **ret_url, struct error *reterr_error);
bool stage_admin_url(const struct stage *stage, char **ret_url, struct error *reterr_error);

/* A connection to the copy as its administrator; the caller's. */
bool stage_connect(const struct stage *stage, struct pg_conn **ret_conn, struct error *reterr_error);

/* Starts a server on the copy, with background work or without, and waits until it answers. Stopped with stage_stop_server(), which also
 * notes its memory. */
bool stage_start_server(struct stage *stage, bool has_jobs, struct server *ret_server, struct error *reterr_error);
void stage_stop_server(struct stage *stage, struct server *server);

#endif
