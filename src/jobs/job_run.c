/* One run of a job: begun, step by step, and recorded. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "jobs/internal.h"

enum {
    STATEMENT_MS = 15000, /* above the statement's own limit, which ends it first */
    RECORD_MS = 10000,    /* to record an end over a new connection */
    AGAIN_FIRST_MS = 60000,
    AGAIN_STEPS_MAX = 6,
    AGAIN_MAX_MS = 3600000,
    LOST_WINDOW_S = 900,
    LOST_ALL_MS = 3600000,
    PLACE_SIZE = 128,
};

/* Where a sweep or a walk goes on. */
struct place {
    int64_t page;
    char text[PLACE_SIZE]; /* of a walk; empty at first */
    bool is_end;
};

static int64_t statement_deadline(const struct job_run *run)
{
    int64_t own_ns = clock_after_ms(STATEMENT_MS);

    return run->deadline_ns < own_ns ? run->deadline_ns : own_ns;
}

/* Counts of a run that are metrics, too. */
static const struct {
    const char *label;
    enum metric metric;
    size_t place;
} measured[] = {
    {"expired", METRIC_EXPIRED, 0},
    {"queued", METRIC_RETRIES_OPENED, METRICS_OPENING_LOST_LEAD},
    {"released", METRIC_RETRIES_OPENED, METRICS_OPENING_STALE_LOCK},
};

void job_run_count(struct job_run *run, const char *label, int64_t count)
{
    for (size_t i = 0; i < COUNT_OF(measured); i++)
        if (strcmp(measured[i].label, label) == 0)
            metrics_add(run->jobs->options.database->metrics, measured[i].metric, measured[i].place, 0, count);
    json_int_t before = json_integer_value(json_object_get(run->detail, label));

    json_object_set_new(run->detail, label, json_integer(before + count));
}

bool job_run_goes_on(struct job_run *run, bool *ret_is_paused, struct error *reterr_error)
{
    static const struct pg_statement statement = {.sql = "select is_mine, is_paused from leadrouter.touch_job($1, $2)",
        .param_count = 2,
        .param_types = {PG_TEXT, PG_UUID}};
    struct pg_params params;
    struct pg_result *rows = NULL;
    bool is_mine = false;

    run->is_cut_short = jobs_are_stopping(run->jobs);
    if (run->is_cut_short)
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the server is stopping");
    if (clock_now_ns() >= run->deadline_ns)
        return error_set(reterr_error, ERROR_DEADLINE, "time was up; what was done stays done");
    arena_clear(run->arena);
    pg_params_init(&params, run->arena);
    pg_params_add_text(&params, run->entry->base.name);
    pg_params_add_uuid(&params, &run->run_id);
    if (!pg_execute(run->conn, &statement, &params, statement_deadline(run), &rows, reterr_error))
        return false;
    is_mine = pg_result_bool(rows, 0, 0);
    *ret_is_paused = run->is_paused = pg_result_bool(rows, 0, 1) && !run->by_hand;
    pg_result_free(rows);
    if (is_mine)
        return true;
    metrics_add(run->jobs->options.database->metrics, METRIC_FENCED, METRICS_FENCED_JOB, 0, 1);
    return error_set(reterr_error, ERROR_BUSY, "another server has taken the run over");
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

/* All leads once an hour and after a start, otherwise those that came in of late: the rest was looked at before. */
static void add_lost_window(struct job_run *run, struct pg_params *params, bool is_first)
{
    if (is_first && clock_now_ns() >= atomic_load(&run->jobs->lost_all_ns))
        json_object_set_new(run->detail, "all", json_true());
    if (json_is_true(json_object_get(run->detail, "all")))
        pg_params_add_null(params);
    else
        pg_params_add_int4(params, LOST_WINDOW_S);
}

static void add_parameters(struct job_run *run, const struct job_step *step, const struct place *place, bool is_first,
    struct pg_params *params)
{
    pg_params_init(params, run->arena);
    if (step->kind == JOB_STEP_SWEEP)
        pg_params_add_int8(params, place->page);
    else if (step->parameter == JOB_PARAMETER_LOG_KEEP_DAYS)
        pg_params_add_int4(params, run->jobs->options.log_keep_days);
    else if (step->parameter == JOB_PARAMETER_LOST_WINDOW)
        add_lost_window(run, params, is_first);
    if (step->kind == JOB_STEP_WALK)
        pg_params_add_text(params, place->text[0] == '\0' ? NULL : place->text);
}

static struct pg_statement step_statement(const struct job_step *step)
{
    struct pg_statement statement = {.sql = step->sql};

    if (step->kind == JOB_STEP_SWEEP)
        statement.param_types[statement.param_count++] = PG_INT8;
    else if (step->parameter != JOB_PARAMETER_NONE)
        statement.param_types[statement.param_count++] = PG_INT4;
    if (step->kind == JOB_STEP_WALK)
        statement.param_types[statement.param_count++] = PG_TEXT;
    return statement;
}

/* Where the answer says that the step goes on. */
static void read_place(const struct pg_result *rows, const struct job_step *step, struct place *place)
{
    place->is_end = pg_result_is_null(rows, 0, 1);
    if (place->is_end)
        return;
    if (step->kind == JOB_STEP_SWEEP) {
        place->page = pg_result_int8(rows, 0, 1);
    } else {
        const char *text = pg_result_text(rows, 0, 1);
        assert(strlen(text) < sizeof(place->text));
        memcpy(place->text, text, strlen(text) + 1);
    }
}

/* One statement; how many rows it was about, and where the next one goes on. */
static bool step_once(struct job_run *run, const struct job_step *step, bool is_first, struct place *place,
    int64_t *ret_count, struct error *reterr_error)
{
    struct pg_statement statement = step_statement(step);
    struct pg_params params;
    struct pg_result *rows = NULL;

    arena_clear(run->arena);
    add_parameters(run, step, place, is_first, &params);
    if (!pg_execute(run->conn, &statement, &params, statement_deadline(run), &rows, reterr_error))
        return false;
    *ret_count = step->kind == JOB_STEP_SWEEP ? pg_result_int8(rows, 0, 0) : pg_result_int4(rows, 0, 0);
    if (step->kind == JOB_STEP_SWEEP || step->kind == JOB_STEP_WALK)
        read_place(rows, step, place);
    pg_result_free(rows);
    return true;
}

static bool is_over(const struct job_step *step, const struct place *place, int64_t count)
{
    switch (step->kind) {
    case JOB_STEP_REPEAT:
        return count == 0;
    case JOB_STEP_SWEEP:
    case JOB_STEP_WALK:
        return place->is_end;
    case JOB_STEP_ONCE:
        break;
    }
    return true;
}

static bool run_step(struct job_run *run, const struct job_step *step, bool *ret_is_paused, struct error *reterr_error)
{
    struct place place = {0};
    int64_t count = 0;
    bool is_first = true;

    run->step = step->label;
    do {
        if (!step_once(run, step, is_first, &place, &count, reterr_error))
            return error_add_context(reterr_error, "%s", step->label);
        is_first = false;
        job_run_count(run, step->label, count);
        if (!job_run_goes_on(run, ret_is_paused, reterr_error))
            return false;
    } while (!*ret_is_paused && !is_over(step, &place, count));
    return true;
}

static bool run_steps(struct job_run *run, struct error *reterr_error)
{
    bool is_paused = false;

    for (size_t i = 0; i < JOB_STEPS_MAX && run->entry->steps[i].label != NULL && !is_paused; i++)
        if (!run_step(run, &run->entry->steps[i], &is_paused, reterr_error))
            return false;
    if (is_paused)
        json_object_set_new(run->detail, "paused", json_true());
    else if (json_is_true(json_object_get(run->detail, "all")))
        atomic_store(&run->jobs->lost_all_ns, clock_after_ms(LOST_ALL_MS));
    return true;
}

/* --- Begin and end ------------------------------------------------------------------------------------------------ */

static enum job_begin begin(struct job_run *run, int64_t next_run_us, int32_t *ret_failures, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .sql =
            "select b.begun, b.run_id, j.failures from leadrouter.begin_job($1, $2, $3, $4) b, leadrouter.list_jobs() j"
            " where j.name = $1",
        .param_count = 4,
        .param_types = {PG_TEXT, PG_INT8, PG_INT4, PG_BOOL}};
    struct pg_params params;
    struct pg_result *rows = NULL;
    enum job_begin result = JOB_NOT_NOW;

    pg_params_init(&params, run->arena);
    pg_params_add_text(&params, run->entry->base.name);
    if (next_run_us == INT64_MAX)
        pg_params_add_null(&params);
    else
        pg_params_add_int8(&params, next_run_us);
    pg_params_add_int4(&params, run->entry->grace_ms);
    pg_params_add_bool(&params, run->by_hand);
    if (!pg_execute(run->conn, &statement, &params, statement_deadline(run), &rows, reterr_error))
        return JOB_BEGIN_FAILED;
    if (pg_result_bool(rows, 0, 0)) {
        result = JOB_BEGUN;
        run->run_id = pg_result_uuid(rows, 0, 1);
        *ret_failures = pg_result_int4(rows, 0, 2);
    }
    pg_result_free(rows);
    return result;
}

/* A minute after the first failure, then twice as long each time, up to an hour. */
static int64_t back_off_ms(int32_t failures)
{
    int64_t ms = (int64_t)AGAIN_FIRST_MS << (failures < AGAIN_STEPS_MAX ? failures : AGAIN_STEPS_MAX);

    return ms > AGAIN_MAX_MS ? AGAIN_MAX_MS : ms;
}

/* When it comes again, if its schedule does not say sooner; false: only then. What a pause ended goes on as soon as that is over. */
static bool comes_again(const struct job_run *run, const struct error *failure, int32_t failures, int64_t *ret_in_ms)
{
    *ret_in_ms = failure == NULL ? 0 : back_off_ms(failures);
    return failure != NULL || run->is_paused;
}

/* Recorded on a new connection when the job broke the old one. What cannot be recorded is taken over when its grace is over. */
static void end(struct job_run *run, const char *detail, const struct error *failure, int32_t failures)
{
    static const struct pg_statement statement = {.sql = "select leadrouter.end_job($1, $2, $3, $4, $5, $6)",
        .param_count = 6,
        .param_types = {PG_TEXT, PG_UUID, PG_BOOL, PG_JSONB, PG_TEXT, PG_INT8}};
    int64_t deadline_ns = clock_after_ms(RECORD_MS);
    char text[ERROR_TEXT_SIZE];
    int64_t again_in_ms = 0;
    struct pg_params params;

    arena_clear(run->arena);
    pg_params_init(&params, run->arena);
    pg_params_add_text(&params, run->entry->base.name);
    pg_params_add_uuid(&params, &run->run_id);
    pg_params_add_bool(&params, failure == NULL);
    pg_params_add_jsonb(&params, detail, strlen(detail));
    pg_params_add_text(&params, failure == NULL ? NULL : jobs_failure_text(failure, run->step, text));
    if (comes_again(run, failure, failures, &again_in_ms))
        pg_params_add_int8(&params, again_in_ms);
    else
        pg_params_add_null(&params);
    if (pg_conn_open(run->conn, deadline_ns, NULL))
        pg_execute(run->conn, &statement, &params, deadline_ns, NULL, NULL);
}

static void tell(struct job_run *run, const char *detail, int64_t began_ns, const struct error *failure)
{
    const struct jobs_event event = {
        .kind = failure == NULL ? JOBS_EVENT_DONE : JOBS_EVENT_FAILED,
        .job = run->entry->base.name,
        .detail = detail,
        .duration_ms = (clock_now_ns() - began_ns) / 1000000,
        .error = failure,
    };

    jobs_tell(run->jobs, &event);
}

enum job_begin job_run(struct jobs *jobs, struct pg_conn *conn, const struct job_entry *entry, int64_t next_run_us,
    bool by_hand, int64_t deadline_ns, bool *ret_is_done, struct error *reterr_error)
{
    struct job_run run = {.jobs = jobs,
        .entry = entry,
        .conn = conn,
        .arena = arena_new(0),
        .detail = json_object(),
        .by_hand = by_hand,
        .deadline_ns = deadline_ns};
    int64_t began_ns = clock_now_ns();
    int32_t failures = 0;
    struct error error = {0};
    enum job_begin result = JOB_BEGIN_FAILED;
    char *detail = NULL;

    assert(run.detail != NULL);
    result = begin(&run, next_run_us, &failures, reterr_error);
    if (result != JOB_BEGUN)
        goto cleanup;
    *ret_is_done = entry->run != NULL ? entry->run(&run, &error) : run_steps(&run, &error);
    detail = json_dumps(run.detail, JSON_COMPACT | JSON_SORT_KEYS);
    assert(detail != NULL);
    /* Cut short by schedule is no failure: it is left as a killed server would leave it, and another one takes it over. */
    if (by_hand || !run.is_cut_short) {
        end(&run, detail, *ret_is_done ? NULL : &error, failures);
        tell(&run, detail, began_ns, *ret_is_done ? NULL : &error);
    }
    if (!*ret_is_done && reterr_error != NULL)
        *reterr_error = error;
cleanup:
    free(detail);
    json_decref(run.detail);
    arena_free(run.arena);
    return result;
}
