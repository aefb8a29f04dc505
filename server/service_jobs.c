/* MaintenanceService: ListJobs, RunJob, PauseJob, ResumeJob. */
#include <string.h>

#include "jobs/jobs.h"
#include "service.h"

enum { NOTE_SIZE_MAX = 500 };

/* One call; in its arena. */
struct job_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const char *name; /* of the request, as the rest */
    const char *note;
    struct uuid user_id;
    void (*reply)(struct job_call *call, Leadrouter__V1__Job *job);
};

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static int64_t column_us(const struct pg_result *result, int row, int column)
{
    return pg_result_is_null(result, row, column) ? 0 : pg_result_int8(result, row, column);
}

static const char *column_text(const struct pg_result *result, struct arena *arena, int row, int column)
{
    return arena_copy_string(arena, pg_result_text(result, row, column));
}

static struct service_job read_row(const struct pg_result *result, struct arena *arena, int row)
{
    return (struct service_job){
        .name = column_text(result, arena, row, 0),
        .is_paused = pg_result_bool(result, row, 1),
        .paused_us = column_us(result, row, 2),
        .paused_by = pg_result_uuid(result, row, 3),
        .pause_note = column_text(result, arena, row, 4),
        .next_run_us = column_us(result, row, 5),
        .is_running = pg_result_bool(result, row, 6),
        .last_started_us = column_us(result, row, 7),
        .last_ended_us = column_us(result, row, 8),
        .last_done_us = column_us(result, row, 16),
        .last_duration_ms = column_us(result, row, 9),
        .last_result = column_text(result, arena, row, 10),
        .last_detail = column_text(result, arena, row, 11),
        .last_error = column_text(result, arena, row, 12),
        .failures = pg_result_int4(result, row, 13),
        .runs = pg_result_int8(result, row, 14),
    };
}

bool service_read_jobs(struct service *service, struct arena *arena, int64_t deadline_ns, struct service_job **ret_jobs,
    size_t *ret_count, int64_t *ret_now_us, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "list_jobs",
        .sql = "select name, is_paused, paused_us, paused_by, pause_note, next_run_us, is_running, last_started_us, "
               "last_ended_us, last_duration_ms, last_result, last_detail, last_error, failures, runs, now_us, "
               "last_done_us "
               "from leadrouter.list_jobs()",
    };
    struct pg_result *result = NULL;
    int rows = 0;

    if (!service_query_unasked(service, &statement, NULL, deadline_ns, &result, reterr_error))
        return false;
    rows = pg_result_row_count(result);
    *ret_jobs = arena_alloc_array(arena, (size_t)rows, sizeof(**ret_jobs));
    *ret_count = (size_t)rows;
    *ret_now_us = rows == 0 ? 0 : pg_result_int8(result, 0, 15);
    for (int row = 0; row < rows; row++)
        (*ret_jobs)[row] = read_row(result, arena, row);
    pg_result_free(result);
    return true;
}

Leadrouter__V1__JobState service_job_state(bool is_running, bool is_paused, int32_t failures)
{
    if (is_running)
        return LEADROUTER__V1__JOB_STATE__JOB_STATE_RUNNING;
    if (is_paused)
        return LEADROUTER__V1__JOB_STATE__JOB_STATE_PAUSED;
    return failures > 0 ? LEADROUTER__V1__JOB_STATE__JOB_STATE_FAILING : LEADROUTER__V1__JOB_STATE__JOB_STATE_WAITING;
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static Leadrouter__V1__Job *job_message(struct arena *arena, const struct service_job *job)
{
    Leadrouter__V1__Job *message = arena_alloc(arena, sizeof(*message));
    const struct job_description *known = jobs_find(job->name); /* NULL: of another version of the server */
    char schedule[JOB_SCHEDULE_TEXT_SIZE];

    leadrouter__v1__job__init(message);
    message->name = arena_copy_string(arena, job->name);
    message->description = arena_copy_string(arena, known == NULL ? "" : known->description);
    message->schedule = arena_copy_string(arena, known == NULL ? "" : job_schedule_text(&known->schedule, schedule));
    message->state = service_job_state(job->is_running, job->is_paused, job->failures);
    message->next_run_at = service_time(arena, job->next_run_us);
    message->last_started_at = service_time(arena, job->last_started_us);
    message->last_ended_at = service_time(arena, job->last_ended_us);
    message->last_duration_ms = job->last_duration_ms;
    message->last_result = arena_copy_string(arena, job->last_result);
    message->last_detail = arena_copy_string(arena, job->last_detail);
    message->last_error = arena_copy_string(arena, job->last_error);
    message->failures = job->failures;
    message->runs = job->runs;
    message->paused_by = service_id(arena, &job->paused_by);
    message->pause_note = arena_copy_string(arena, job->pause_note);
    message->paused_at = service_time(arena, job->paused_us);
    return message;
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

static struct job_call *begin(struct grpc_c_call *call, void *user, void (*run)(struct work *work))
{
    struct job_call *job = arena_alloc(grpc_c_call_arena(call), sizeof(*job));

    service_begin(&job->base, call, user);
    job->work.run = run;
    return job;
}

static void submit(struct job_call *call, struct worker_pool *workers, bool ok, struct error *error)
{
    if (!ok || !worker_pool_submit(workers, &call->work, error))
        service_fail(&call->base, error);
}

static bool read_name(struct job_call *call, const char *name, struct error *reterr_error)
{
    call->name = name;
    return name[0] != '\0' || error_set(reterr_error, ERROR_INVALID, "name: missing");
}

static bool no_such_job(struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_NOT_FOUND, "name: no such job");
}

/* Answers a call about a job with what it is now. */
static void answer_job(struct job_call *call)
{
    struct arena *arena = grpc_c_call_arena(call->base.call);
    struct service_job *jobs = NULL;
    size_t count = 0;
    int64_t now_us = 0;
    struct error error = {0};

    if (!service_read_jobs(
            call->base.service, arena, grpc_c_call_deadline_ns(call->base.call), &jobs, &count, &now_us, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(jobs[i].name, call->name) == 0) {
            call->reply(call, job_message(arena, &jobs[i]));
            return;
        }
    no_such_job(&error);
    service_fail(&call->base, &error);
}

/* --- ListJobs ----------------------------------------------------------------------------------------------------- */

static void run_list(struct work *work)
{
    struct job_call *call = (struct job_call *)(void *)work;
    struct arena *arena = grpc_c_call_arena(call->base.call);
    Leadrouter__V1__ListJobsResponse response = LEADROUTER__V1__LIST_JOBS_RESPONSE__INIT;
    struct service_job *jobs = NULL;
    size_t count = 0;
    int64_t now_us = 0;
    struct error error = {0};

    if (!service_read_jobs(
            call->base.service, arena, grpc_c_call_deadline_ns(call->base.call), &jobs, &count, &now_us, &error)) {
        service_fail(&call->base, &error);
        return;
    }
    response.jobs = arena_alloc_array(arena, count, sizeof(*response.jobs));
    for (size_t i = 0; i < count; i++)
        response.jobs[response.n_jobs++] = job_message(arena, &jobs[i]);
    response.now = service_time(arena, now_us);
    leadrouter__v1__maintenance_service__list_jobs__reply(call->base.call, &response);
}

void service_handle_list_jobs(struct grpc_c_call *call, const Leadrouter__V1__ListJobsRequest *request, void *user)
{
    struct job_call *job = begin(call, user, run_list);
    struct error error = {0};

    (void)request;
    submit(job, job->base.service->workers, true, &error);
}

/* --- RunJob ------------------------------------------------------------------------------------------------------- */

static void reply_run(struct job_call *call, Leadrouter__V1__Job *job)
{
    Leadrouter__V1__RunJobResponse response = LEADROUTER__V1__RUN_JOB_RESPONSE__INIT;

    response.job = job;
    leadrouter__v1__maintenance_service__run_job__reply(call->base.call, &response);
}

static void run_run(struct work *work)
{
    struct job_call *call = (struct job_call *)(void *)work;
    struct error error = {0};

    if (jobs_run(call->base.service->jobs, call->name, service_work_deadline_ns(&call->base), &error))
        answer_job(call);
    else
        service_fail(&call->base, &error);
}

void service_handle_run_job(struct grpc_c_call *call, const Leadrouter__V1__RunJobRequest *request, void *user)
{
    struct job_call *job = begin(call, user, run_run);
    struct error error = {0};
    bool ok = read_name(job, request->name, &error);

    job->reply = reply_run;
    submit(job, job->base.service->long_workers, ok, &error);
}

/* --- PauseJob, ResumeJob ------------------------------------------------------------------------------------------ */

/* Changes the job's row and answers with it. */
static void change(struct job_call *call, const struct pg_statement *statement, const struct pg_params *params)
{
    struct error error = {0};

    if (service_query(&call->base, statement, params, grpc_c_call_deadline_ns(call->base.call), NULL, &error)) {
        answer_job(call);
        return;
    }
    if (strcmp(error.sqlstate, "LR404") == 0)
        no_such_job(&error);
    service_fail(&call->base, &error);
}

static void reply_pause(struct job_call *call, Leadrouter__V1__Job *job)
{
    Leadrouter__V1__PauseJobResponse response = LEADROUTER__V1__PAUSE_JOB_RESPONSE__INIT;

    response.job = job;
    leadrouter__v1__maintenance_service__pause_job__reply(call->base.call, &response);
}

static void run_pause(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "pause_job",
        .sql = "select leadrouter.pause_job($1, $2, $3)",
        .param_count = 3,
        .param_types = {PG_TEXT, PG_UUID, PG_TEXT},
    };
    struct job_call *call = (struct job_call *)(void *)work;
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_text(&params, call->name);
    pg_params_add_uuid(&params, uuid_is_nil(&call->user_id) ? NULL : &call->user_id);
    pg_params_add_text(&params, call->note);
    change(call, &statement, &params);
}

void service_handle_pause_job(struct grpc_c_call *call, const Leadrouter__V1__PauseJobRequest *request, void *user)
{
    struct job_call *job = begin(call, user, run_pause);
    struct error error = {0};
    bool ok = read_name(job, request->name, &error) &&
              service_parse_id("user_id", request->user_id, true, &job->user_id, &error);

    job->reply = reply_pause;
    job->note = request->note;
    if (ok && strlen(request->note) > NOTE_SIZE_MAX)
        ok = error_set(&error, ERROR_INVALID, "note: longer than %d bytes", NOTE_SIZE_MAX);
    submit(job, job->base.service->workers, ok, &error);
}

static void reply_resume(struct job_call *call, Leadrouter__V1__Job *job)
{
    Leadrouter__V1__ResumeJobResponse response = LEADROUTER__V1__RESUME_JOB_RESPONSE__INIT;

    response.job = job;
    leadrouter__v1__maintenance_service__resume_job__reply(call->base.call, &response);
}

static void run_resume(struct work *work)
{
    static const struct pg_statement statement = {
        .name = "resume_job",
        .sql = "select leadrouter.resume_job($1)",
        .param_count = 1,
        .param_types = {PG_TEXT},
    };
    struct job_call *call = (struct job_call *)(void *)work;
    struct pg_params params;

    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_text(&params, call->name);
    change(call, &statement, &params);
}

void service_handle_resume_job(struct grpc_c_call *call, const Leadrouter__V1__ResumeJobRequest *request, void *user)
{
    struct job_call *job = begin(call, user, run_resume);
    struct error error = {0};
    bool ok = read_name(job, request->name, &error);

    job->reply = reply_resume;
    submit(job, job->base.service->workers, ok, &error);
}
