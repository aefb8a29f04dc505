#include "scenarios.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "picture.h"
#include "unary.h"

enum {
    CALLS_AT_ONCE_MAX = 4096,
    COPIES = 10,               /* of each lead, in as many workspaces where there are */
    IDENTITIES_A_SECOND = 400, /* there are enough for so many */
    IDENTITIES_MAX = 50000,
    LEADS_A_SECOND = 8000, /* there are enough leads for callers who get so many decided */
    LATE_MS = 60000,       /* calls that could not be begun so long after the last was due were not answered */
    STATEMENT_MS = 600000,
    DRAIN_MS = 120000,
    POLL_MS = 20,
    RETRIES_AHEAD_MS =
        3000, /* the first retry becomes due so long after they were given their times, and longer the more there are */
    RETRIES_A_MS = 5, /* of which so many are given their time in a millisecond */
};

static const uint64_t SEED = 42;

/* --- Data --------------------------------------------------------------------------------------------------------- */

/* Nobody else is to find the leads that wait for their calls. Copies lie one after the other by external id; each set is in workspaces of
 * its own, all of which give it to others. %d identities, %d copies. */
static const char prepare_format[] =
    "insert into leadrouter.scheduled_jobs (name, next_run_at, is_paused) values ('lost_leads', 'infinity', true);"
    " insert into public.leads (id, workspace_id, external_id, email, first_name, last_name, company_name, "
    "company_industry,"
    " company_size, country, state, source)"
    " select gen_random_uuid(), w.id, 'copy-' || lpad(i::text, 7, '0') || '-' || c, 'copy' || i || '@company.example', "
    "'Ann', 'Copy',"
    " 'Company', (array['Software', 'Banking', 'Retail'])[1 + i %% 3], '11-50', 'US', 'CA', 'bench'"
    " from generate_series(1, %d) i cross join generate_series(0, %d - 1) c"
    " join bench_workspaces w on w.n = (i * 7 + c) %% (select count(*) from bench_workspaces);"
    " analyze public.leads";

static const struct pg_statement statement_read_copies = {
    .sql = "select id, workspace_id from public.leads where external_id like 'copy-%' order by external_id"};

static const struct pg_statement statement_settle = {.sql = "vacuum (analyze) public.lead_routing_queue"};

/* When each is due: by rank, the times of $1 in microseconds from $2 milliseconds from now on. */
static const struct pg_statement statement_schedule = {
    .sql = "create table public.bench_due as select l.id as lead_id, l.source_workspace_id, now() + $2 * interval '1 "
           "millisecond'"
           " + d.us * interval '1 microsecond' as due_at, now() + $2 * interval '1 millisecond' as start_at"
           " from (select id, source_workspace_id, row_number() over (order by external_id) as n from public.leads"
           "   where external_id like 'bench-%') l join unnest($1::int8[]) with ordinality d (us, n) on d.n = l.n",
    .param_count = 2,
    .param_types = {PG_INT8_ARRAY, PG_INT8}};

static const struct pg_statement statement_queue = {
    .sql = "insert into public.lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, "
           "rules_version)"
           " select d.lead_id, d.source_workspace_id, 0, 3, d.due_at, v.version from public.bench_due d"
           " join leadrouter.rule_versions v on v.workspace_id = d.source_workspace_id"};

static const struct pg_statement statement_is_early = {
    .sql = "select clock_timestamp() < (select min(start_at) from public.bench_due)"};

/* Nothing is left that is due, or will be within a minute. */
static const struct pg_statement statement_is_drained = {
    .sql = "select not exists (select from public.lead_routing_queue where processed_at is null"
           " and next_retry_at <= now() + interval '1 minute')"};

/* By the time of the commit: when the lead was due, and the beginning, to it, in microseconds. */
static const struct pg_statement statement_retried = {
    .sql = "select (extract(epoch from pg_xact_commit_timestamp(l.xmin) - d.due_at) * 1000000)::int8,"
           " (extract(epoch from pg_xact_commit_timestamp(l.xmin) - d.start_at) * 1000000)::int8,"
           " l.decided_outcome = 'duplicate' from public.bench_due d join public.leads l on l.id = d.lead_id"
           " where l.routing_status = 'routed'"};

static int32_t leads_for(const struct scenario *scenario, int64_t duration_s)
{
    int64_t wanted = 0;

    switch (scenario->kind) {
    case SCENARIO_CALLERS:
        wanted = duration_s * LEADS_A_SECOND;
        return wanted < WORKLOAD_LEADS_MAX ? (int32_t)wanted : WORKLOAD_LEADS_MAX;
    case SCENARIO_COPIES:
        return 1; /* has its own */
    case SCENARIO_RETRIES:
    case SCENARIO_ARRIVALS:
        wanted = (int64_t)arrivals_count(&scenario->arrivals, duration_s);
        return wanted <= WORKLOAD_LEADS_MAX ? (int32_t)wanted : -1;
    }
    return 0;
}

/* How many identities that have copies. */
static int identities_for(const struct bench_options *options, const bool *wanted)
{
    int64_t identities = options->duration_s * IDENTITIES_A_SECOND;

    for (size_t i = 0; i < scenarios_count; i++)
        if (wanted[i] && scenarios[i].kind == SCENARIO_COPIES)
            return identities < IDENTITIES_MAX ? (int)identities : IDENTITIES_MAX;
    return 0;
}

/* How many leads the scenarios that are wanted need at most. */
static bool count_leads(
    const struct bench_options *options, const bool *wanted, int32_t *ret_leads, struct error *reterr_error)
{
    int32_t most = 1;

    for (size_t i = 0; i < scenarios_count; i++) {
        int32_t leads = wanted[i] ? leads_for(&scenarios[i], options->duration_s) : 0;
        if (leads < 0)
            return error_set(reterr_error, ERROR_INVALID,
                "--duration: %s for so long needs more than %d leads; --only leaves it out", scenarios[i].name,
                WORKLOAD_LEADS_MAX);
        if (leads > most)
            most = leads;
    }
    *ret_leads = most;
    return true;
}

/* --- Ways --------------------------------------------------------------------------------------------------------- */

/* One scenario under way. */
struct act {
    struct stage *stage;
    const struct scenario *scenario;
    int64_t duration_s;
    struct run *run;
    struct pg_conn *conn;
    struct server server;
    char admin[CHILD_TARGET_SIZE]; /* where the server tells its metrics */
    struct watch *watch;
    struct scenario_row *row;
};

static bool wait_until_drained(struct act *act, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(DRAIN_MS);
    bool is_drained = false;

    while (true) {
        struct pg_result *row = NULL;
        if (!pg_execute(act->conn, &statement_is_drained, NULL, clock_after_ms(STATEMENT_MS), &row, reterr_error))
            return false;
        is_drained = pg_result_bool(row, 0, 0);
        pg_result_free(row);
        if (is_drained || clock_now_ns() > deadline_ns)
            return true;
        if (atomic_load(&run_interrupted))
            return error_set(reterr_error, ERROR_CANCELLED, "interrupted");
        poll(NULL, 0, POLL_MS);
    }
}

/* Calls for the leads of `workload`, which may be more than there is time for. */
static bool call(struct act *act, const struct workload *workload, struct error *reterr_error)
{
    const struct unary_options unary = {.target = act->server.target, .in_flight = act->scenario->callers};
    int64_t end_ns = 0;

    run_init(act->run, workload, act->duration_s * 1000);
    if (!unary_run(act->run, &unary, reterr_error))
        return false;
    end_ns = clock_now_ns();
    if (!wait_until_drained(act, reterr_error))
        return false;
    act->row->backlog_s = (double)(clock_now_ns() - end_ns) * 1e-9;
    run_finish(act->run, &act->row->summary);
    act->row->asked = (int64_t)(act->row->summary.answered + act->row->summary.errors);
    return true;
}

static bool call_for_copies(struct act *act, struct error *reterr_error)
{
    struct workload copies = {0};
    bool ok = workload_read(act->conn, &statement_read_copies, NULL, &copies, reterr_error) &&
              call(act, &copies, reterr_error);

    workload_release(&copies);
    return ok;
}

/* All calls are made, however late. */
static bool call_by_the_clock(struct act *act, struct error *reterr_error)
{
    const struct workload *all = &act->stage->workload;
    const struct arrivals_shape *shape = &act->scenario->arrivals;
    const struct workload part = {.count = arrivals_count(shape, act->duration_s),
        .lead_ids = all->lead_ids,
        .source_workspace_ids = all->source_workspace_ids};
    int64_t *due_ns = arrivals_make(shape, act->duration_s, SEED);
    const struct unary_options unary = {.target = act->server.target, .in_flight = CALLS_AT_ONCE_MAX, .due_ns = due_ns};
    bool ok = false;

    assert(part.count <= all->count);
    run_init(act->run, &part, act->duration_s * 1000 + LATE_MS);
    ok = unary_run(act->run, &unary, reterr_error) && wait_until_drained(act, reterr_error);
    if (ok) {
        int64_t last_due_ns = act->run->start_ns + due_ns[part.count - 1];
        act->row->backlog_s = (double)(clock_now_ns() - last_due_ns) * 1e-9;
        run_finish(act->run, &act->row->summary);
        act->row->asked = (int64_t)part.count;
    }
    free(due_ns);
    return ok;
}

/* Puts the leads into the queue, each with its time. */
static bool schedule_retries(struct act *act, int64_t count, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    int64_t *due_us = arrivals_make(&act->scenario->arrivals, act->duration_s, SEED);
    int64_t deadline_ns = clock_after_ms(STATEMENT_MS);
    struct pg_result *row = NULL;
    struct pg_params params;
    bool ok = false;

    for (int64_t i = 0; i < count; i++)
        due_us[i] /= 1000;
    pg_params_init(&params, arena);
    pg_params_add_int8_array(&params, due_us, NULL, (size_t)count);
    pg_params_add_int8(&params, RETRIES_AHEAD_MS + count / RETRIES_A_MS);
    ok = pg_execute(act->conn, &statement_schedule, &params, deadline_ns, NULL, reterr_error) &&
         pg_execute(act->conn, &statement_queue, NULL, deadline_ns, NULL, reterr_error) &&
         pg_execute(act->conn, &statement_settle, NULL, deadline_ns, NULL, reterr_error) &&
         pg_execute(act->conn, &statement_is_early, NULL, deadline_ns, &row, reterr_error);
    if (ok && !pg_result_bool(row, 0, 0))
        ok = error_set(reterr_error, ERROR_DEADLINE, "the first retry was due before all had their times");
    pg_result_free(row);
    free(due_us);
    arena_free(arena);
    return ok;
}

static bool read_retried(struct act *act, struct error *reterr_error)
{
    struct pg_result *rows = NULL;
    int64_t last_us = 0;

    if (!pg_execute(act->conn, &statement_retried, NULL, clock_after_ms(STATEMENT_MS), &rows, reterr_error))
        return false;
    for (int i = 0; i < pg_result_row_count(rows); i++) {
        int64_t decided_us = pg_result_int8(rows, i, 1);
        run_report_latency(act->run, act->run->start_ns + decided_us * 1000, pg_result_int8(rows, i, 0) * 1000,
            pg_result_bool(rows, i, 2) ? ROUTING_OUTCOME_DUPLICATE : ROUTING_OUTCOME_ROUTED);
        if (decided_us > last_us)
            last_us = decided_us;
    }
    pg_result_free(rows);
    act->row->backlog_s = fmax(0, (double)last_us * 1e-6 - (double)act->duration_s);
    return true;
}

/* A server works the queue off while its leads become due. */
static bool retry(struct act *act, struct error *reterr_error)
{
    int64_t count = (int64_t)arrivals_count(&act->scenario->arrivals, act->duration_s);

    run_init(act->run, &act->stage->workload, act->duration_s * 1000);
    run_begin(act->run);
    if (!schedule_retries(act, count, reterr_error) || !wait_until_drained(act, reterr_error) ||
        !read_retried(act, reterr_error))
        return false;
    run_finish(act->run, &act->row->summary);
    act->row->asked = count;
    return true;
}

/* --- One after the other ------------------------------------------------------------------------------------------ */

/* A run that was told to stop says nothing. */
static bool perform(struct act *act, struct error *reterr_error)
{
    bool ok = false;

    switch (act->scenario->kind) {
    case SCENARIO_CALLERS:
        ok = call(act, &act->stage->workload, reterr_error);
        break;
    case SCENARIO_COPIES:
        ok = call_for_copies(act, reterr_error);
        break;
    case SCENARIO_RETRIES:
        ok = retry(act, reterr_error);
        break;
    case SCENARIO_ARRIVALS:
        ok = call_by_the_clock(act, reterr_error);
        break;
    }
    if (ok && atomic_load(&run_interrupted))
        ok = error_set(reterr_error, ERROR_CANCELLED, "interrupted");
    return ok;
}

static bool verify(struct act *act, struct error *reterr_error)
{
    struct scenario_row *row = act->row;
    const struct run_summary *summary = &row->summary;
    struct workload_check check = {0};

    if (!workload_verify(act->conn, &check, reterr_error))
        return false;
    row->wrong = workload_count_wrong(&check,
        summary->errors > 0
            ? -1
            : (int64_t)(summary->outcomes[ROUTING_OUTCOME_ROUTED] + summary->outcomes[ROUTING_OUTCOME_DUPLICATE]),
        row->wrong_text);
    return true;
}

static bool start_server(struct act *act, struct error *reterr_error)
{
    const char *const flags[] = {"--admin-listen", act->admin, NULL};

    snprintf(act->admin, sizeof(act->admin), "127.0.0.1:%d", children_free_port());
    act->stage->flags = flags;
    bool ok = stage_start_server(act->stage, true, &act->server, reterr_error);
    act->stage->flags = NULL;
    return ok;
}

/* A scenario on a fresh copy, by a server of its own, with all of its background work but what would find the leads before their calls. */
static bool measure(
    struct stage *stage, const struct bench_options *options, struct scenario_row *row, struct error *reterr_error)
{
    struct act act = {.stage = stage,
        .scenario = row->scenario,
        .duration_s = options->duration_s,
        .run = memory_new(sizeof(*act.run)),
        .row = row};
    bool is_called = row->scenario->kind != SCENARIO_RETRIES;
    bool ok = stage_copy(stage, reterr_error) && stage_connect(stage, &act.conn, reterr_error) &&
              start_server(&act, reterr_error) && watch_start(stage, &act.watch, reterr_error) &&
              perform(&act, reterr_error);

    if (ok) {
        ok = watch_end(
            act.watch, act.server.target, is_called ? (int64_t)row->summary.answered : 0, &row->watch, reterr_error);
        act.watch = NULL;
        ok = ok && phases_ask(act.admin, &row->phases, reterr_error);
    }
    watch_abandon(act.watch);
    stage_stop_server(stage, &act.server);
    ok = ok && verify(&act, reterr_error);
    pg_conn_free(act.conn);
    free(act.run);
    return ok || error_add_context(reterr_error, "%s", row->scenario->name);
}

static bool measure_all(struct stage *stage, const struct bench_options *options, const bool *wanted,
    struct scenarios_report *report, struct error *reterr_error)
{
    for (size_t i = 0; i < scenarios_count; i++) {
        struct scenario_row *row = &report->rows[report->row_count];
        if (!wanted[i])
            continue;
        if (atomic_load(&run_interrupted))
            return error_set(reterr_error, ERROR_CANCELLED, "interrupted");
        row->scenario = &scenarios[i];
        if (!measure(stage, options, row, reterr_error))
            return false;
        report->row_count++;
        scenarios_judge(row, (double)options->margin);
        for (size_t j = 0; j < row->verdict_count; j++)
            report->missed += !row->verdicts[j].is_met;
        fprintf(stderr, "%-11s %8.0f leads/s  p50 %.1f ms  p95 %.1f ms  p99 %.1f ms\n", row->scenario->name,
            row->summary.leads_per_second, row->summary.p50_ms, row->summary.p95_ms, row->summary.p99_ms);
    }
    return true;
}

/* --- The picture -------------------------------------------------------------------------------------------------- */

/* Opened before anything is measured, so that a path that does not do is told at once; what is there stays until the end. */
static bool open_picture(
    const struct bench_options *options, const bool *wanted, FILE **ret_file, struct error *reterr_error)
{
    bool has_load = false;

    if (options->picture == NULL)
        return true;
    for (size_t i = 0; i < scenarios_count; i++)
        has_load = has_load || (wanted[i] && scenarios[i].kind == SCENARIO_ARRIVALS);
    if (!has_load)
        return error_set(reterr_error, ERROR_INVALID, "--picture: --only names no load test");
    *ret_file = fopen(options->picture, "ae");
    if (*ret_file == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", options->picture, strerror(errno));
    return true;
}

static bool draw(FILE *file, const char *path, const struct scenarios_report *report, struct error *reterr_error)
{
    struct picture_point points[SCENARIOS_MAX];
    struct picture picture = {.points = points};

    for (size_t i = 0; i < report->row_count; i++) {
        const struct scenario_row *row = &report->rows[i];
        const struct arrivals_shape *shape = &row->scenario->arrivals;
        if (row->scenario->kind == SCENARIO_ARRIVALS)
            points[picture.count++] = (struct picture_point){.is_burst = shape->burst_per_second > 0,
                .per_second = (double)(shape->burst_per_second > 0 ? shape->burst_per_second : shape->per_second),
                .p50_ms = row->summary.p50_ms,
                .p95_ms = row->summary.p95_ms,
                .p99_ms = row->summary.p99_ms};
    }
    picture.level_p95_ms = goal_of_level(GOAL_P95_MS).bound;
    picture.level_p99_ms = goal_of_level(GOAL_P99_MS).bound;
    bool ok = ftruncate(fileno(file), 0) == 0;
    if (ok) {
        picture_write(file, &picture);
        ok = fflush(file) == 0 && !ferror(file);
    }
    return ok || error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", path, strerror(errno));
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

bool scenarios_run(const struct bench_options *options, struct scenarios_report *ret_report, struct error *reterr_error)
{
    struct bench_options sized = *options;
    struct scenarios_report report = {.duration_s = options->duration_s, .margin = options->margin};
    struct stage stage = {.keeps_commit_times = true};
    bool wanted[SCENARIOS_MAX] = {0};
    char prepare[sizeof(prepare_format) + 32];
    FILE *file = NULL;
    bool ok = false;

    if (!scenarios_choose(options->only, wanted, reterr_error) ||
        !count_leads(options, wanted, &sized.workload.leads, reterr_error) ||
        !open_picture(options, wanted, &file, reterr_error))
        return false;
    report.workload = sized.workload;
    snprintf(prepare, sizeof(prepare), prepare_format, identities_for(options, wanted), COPIES);
    ok = stage_open(&stage, &sized, prepare, reterr_error) &&
         measure_all(&stage, &sized, wanted, &report, reterr_error) &&
         (file == NULL || draw(file, options->picture, &report, reterr_error));
    report.other_work_percent = stage.other_work_percent;
    report.memory = stage.memory;
    if (file != NULL)
        fclose(file);
    stage_close(&stage);
    *ret_report = report;
    return ok;
}
