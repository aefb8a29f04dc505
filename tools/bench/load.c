#include "load.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "unary.h"

enum { CONNECT_MS = 10000 };

static bool get_leads(struct pg_conn *conn, const struct bench_options *options, struct workload *ret_workload,
    struct error *reterr_error)
{
    if (options->pending)
        return workload_read_pending(conn, options->workload.leads, ret_workload, reterr_error);
    return workload_prepare(conn, &options->workload, ret_workload, reterr_error);
}

bool load_run(const struct bench_options *options, struct report *ret_report, struct error *reterr_error)
{
    const struct pg_config config = {.url = options->database, .application_name = "leadrouter-bench"};
    const struct unary_options unary = {.target = options->target,
        .in_flight = (unsigned)options->in_flight,
        .calls_per_second = (unsigned)options->rate};
    struct pg_conn *conn = pg_conn_new(&config);
    struct run *run = memory_new(sizeof(*run));
    struct workload workload = {0};
    bool ok = false;

    if (!pg_conn_open(conn, clock_after_ms(CONNECT_MS), reterr_error) ||
        !unary_wait_ready(options->target, NULL, reterr_error) || !get_leads(conn, options, &workload, reterr_error))
        goto cleanup;
    run_init(run, &workload, options->duration_s * 1000);
    if (!unary_run(run, &unary, reterr_error))
        goto cleanup;
    memset(ret_report, 0, sizeof(*ret_report));
    if (!options->pending)
        ret_report->workload = options->workload;
    ret_report->rounds = 1;
    ret_report->line_count = 1;
    ret_report->lines[0].name = "unary";
    ret_report->lines[0].variant = options->rate > 0 ? "paced" : "closed loop";
    run_finish(run, &ret_report->lines[0].summary);
    ok = true;
cleanup:
    workload_release(&workload);
    free(run);
    pg_conn_free(conn);
    return ok;
}
