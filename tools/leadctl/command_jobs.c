/* leadctl jobs …: the background jobs of all servers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/nearest.h"
#include "command.h"
#include "leadrouter/v1/maintenance.grpc.h"
#include "progress.h"
#include "table.h"

enum { RUN_DEADLINE_MS = 30000 /* as long as a server lets a call take */, NAMES_MAX = 64 };

/* --- Showing ------------------------------------------------------------------------------------------------------ */

static json_t *job_json(const Leadrouter__V1__Job *job)
{
    char next[32], started[32], ended[32], paused[32];
    json_t *detail = json_loads(job->last_detail, 0, NULL);

    return json_pack("{ss, ss, ss, ss, ss, ss, ss, sI, ss, so, ss, si, sI, ss, ss, ss}", "name", job->name,
        "description", job->description, "schedule", job->schedule, "state", job_state_name(job->state), "next_run_at",
        time_text(job->next_run_at, next), "last_started_at", time_text(job->last_started_at, started), "last_ended_at",
        time_text(job->last_ended_at, ended), "last_duration_ms", (json_int_t)job->last_duration_ms, "last_result",
        job->last_result, "last_detail", detail == NULL ? json_object() : detail, "last_error", job->last_error,
        "failures", (int)job->failures, "runs", (json_int_t)job->runs, "paused_by", job->paused_by, "pause_note",
        job->pause_note, "paused_at", time_text(job->paused_at, paused));
}

/* "expired 3, claims_removed 0" from a JSON object of counts. */
static void print_detail(const char *label, const char *json)
{
    json_t *detail = json_loads(json, 0, NULL);
    const char *key = NULL;
    json_t *value = NULL;
    size_t printed = 0;

    if (json_object_size(detail) > 0) {
        printf("%-18s ", label);
        json_object_foreach(detail, key, value)
        {
            printf("%s%s", printed++ == 0 ? "" : ", ", key);
            if (json_is_integer(value))
                printf(" %" JSON_INTEGER_FORMAT, json_integer_value(value));
        }
        printf("\n");
    }
    json_decref(detail);
}

static const struct table_column columns[] = {{"JOB", TABLE_WORD}, {"STATE", TABLE_WORD}, {"SCHEDULE", TABLE_TEXT},
    {"NEXT", TABLE_WORD}, {"LAST", TABLE_WORD}, {"TOOK (MS)", TABLE_NUMBER}, {"RESULT", TABLE_TEXT}};

/* When it runs next, or for how long it should have. */
static const char *next_text(const Leadrouter__V1__Job *job, const Google__Protobuf__Timestamp *now, char ret_text[32])
{
    char age[16];

    if (job->state == LEADROUTER__V1__JOB_STATE__JOB_STATE_RUNNING)
        return "now";
    if (job->state == LEADROUTER__V1__JOB_STATE__JOB_STATE_PAUSED)
        return "-";
    if (job->next_run_at == NULL || now == NULL || job->next_run_at->seconds > now->seconds)
        return when_text(job->next_run_at, now, ret_text);
    if (job->next_run_at->seconds == now->seconds)
        return "now";
    snprintf(ret_text, 32, "%s late", age_text(now->seconds - job->next_run_at->seconds, age));
    return ret_text;
}

static void add_line(struct table *table, const Leadrouter__V1__Job *job, const Google__Protobuf__Timestamp *now)
{
    char time[32];

    table_add(table, job->name);
    table_add(table, job_state_name(job->state));
    table_add(table, job->schedule);
    table_add(table, next_text(job, now, time));
    table_add(table, when_text(job->last_started_at, now, time));
    if (job->last_ended_at == NULL)
        table_add(table, "-");
    else
        table_add_format(table, "%" PRId64, job->last_duration_ms);
    table_add(table, job->last_result);
}

/* What has to be said of a job beside its line. */
static void print_remarks(const Leadrouter__V1__Job *job)
{
    char time[32];

    if (job->paused_at != NULL)
        print_line(stdout, "%s is paused since %s%s%s%s%s", job->name, time_text(job->paused_at, time),
            job->paused_by[0] == '\0' ? "" : " by ", job->paused_by, job->pause_note[0] == '\0' ? "" : ": ",
            job->pause_note);
    if (job->failures > 0)
        print_line(stdout, "%s has failed %" PRId32 " %s: %s", job->name, job->failures,
            job->failures == 1 ? "time" : "times in a row", job->last_error);
}

/* --- The names that there are ------------------------------------------------------------------------------------- */

static Leadrouter__V1__ListJobsResponse *read_jobs(struct session *session)
{
    Leadrouter__V1__ListJobsRequest request = LEADROUTER__V1__LIST_JOBS_REQUEST__INIT;
    Leadrouter__V1__ListJobsResponse *response = NULL;

    if (leadrouter__v1__maintenance_service__list_jobs(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return NULL;
    return response;
}

/* A name that the server does not know: with those that it knows, and the nearest of them. */
static void name_is_unknown(struct session *session, const char *name)
{
    Leadrouter__V1__ListJobsResponse *response = read_jobs(session);
    const char *names[NAMES_MAX];
    const char *nearest = NULL;
    size_t count = 0;

    for (size_t i = 0; response != NULL && i < response->n_jobs && count < NAMES_MAX; i++)
        names[count++] = response->jobs[i]->name;
    nearest = nearest_word(name, names, count);
    fprintf(stderr, "leadctl: \"%s\" is not a job", name);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s?", nearest);
    else
        for (size_t i = 0; i < count; i++)
            fprintf(stderr, "%s%s", i == 0 ? "; there are " : ", ", names[i]);
    fputc('\n', stderr);
    if (response != NULL)
        leadrouter__v1__list_jobs_response__free_unpacked(response, NULL);
}

static int job_call_failed(struct session *session, const char *name)
{
    if (session->outcome.status != GRPC_C_NOT_FOUND)
        return session_failed(session);
    grpc_c_outcome_release(&session->outcome);
    name_is_unknown(session, name);
    return EXIT_FAILED;
}

/* --- list --------------------------------------------------------------------------------------------------------- */

static int list(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ListJobsResponse *response = read_jobs(session);
    struct table *table = NULL;
    char time[32];

    if (response == NULL)
        return session_failed(session);
    if (arguments->common.json) {
        json_t *jobs = json_array();
        for (size_t i = 0; i < response->n_jobs; i++)
            json_array_append_new(jobs, job_json(response->jobs[i]));
        print_json(json_pack("{so, ss}", "jobs", jobs, "now", time_text(response->now, time)));
    } else {
        table = table_new(columns, COUNT_OF(columns));
        for (size_t i = 0; i < response->n_jobs; i++)
            add_line(table, response->jobs[i], response->now);
        table_print(table);
        table_free(table);
        for (size_t i = 0; i < response->n_jobs; i++)
            print_remarks(response->jobs[i]);
    }
    leadrouter__v1__list_jobs_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

const struct command command_jobs_list = {
    .name = "jobs list",
    .summary = "the background jobs, and how they are doing",
    .text = "The background jobs of all servers: when they run, when they last ran, and what came of it. Times are the "
            "database's.",
    .example = "leadctl jobs list",
    .run = list,
};

/* --- run ---------------------------------------------------------------------------------------------------------- */

#define OPERAND_JOB                                                                                                    \
    {                                                                                                                  \
        .name = "JOB", .help = "name of the job; leadctl jobs list shows them", .is_needed = true                      \
    }

static void show_run(const Leadrouter__V1__Job *job, bool is_json)
{
    char took[32];

    if (is_json) {
        print_json(job_json(job));
        return;
    }
    snprintf(took, sizeof(took), "%" PRId64 " ms", job->last_duration_ms);
    print_row("job", job->name);
    print_row("result", job->last_result);
    print_row("took", took);
    print_detail("did", job->last_detail);
    print_remarks(job);
}

static int run(const struct arguments *arguments, struct session *session)
{
    const struct grpc_c_call_options call_options = {.deadline_ms = RUN_DEADLINE_MS};
    Leadrouter__V1__RunJobRequest request = LEADROUTER__V1__RUN_JOB_REQUEST__INIT;
    Leadrouter__V1__RunJobResponse *response = NULL;
    struct progress *progress = progress_new();
    enum grpc_c_status status = GRPC_C_OK;

    request.name = borrowed(arguments->operand);
    progress_set(progress, "%s runs", arguments->operand);
    status = leadrouter__v1__maintenance_service__run_job(
        session->channel, &request, &call_options, &response, &session->outcome);
    progress_free(progress);
    if (status != GRPC_C_OK)
        return job_call_failed(session, arguments->operand);
    show_run(response->job, arguments->common.json);
    leadrouter__v1__run_job_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

const struct command command_jobs_run = {
    .name = "jobs run",
    .summary = "run a job now",
    .text = "Runs a job now, whether it is paused or not, and shows what it did. A job that takes longer than half a "
            "minute "
            "ends then; what it did stays done, and it can be run again.",
    .example = "leadctl jobs run expiry",
    .operand = OPERAND_JOB,
    .run = run,
};

/* --- pause, resume ------------------------------------------------------------------------------------------------ */

static int job_pause(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__PauseJobRequest request = LEADROUTER__V1__PAUSE_JOB_REQUEST__INIT;
    Leadrouter__V1__PauseJobResponse *response = NULL;

    request.name = borrowed(arguments->operand);
    request.note = borrowed(arguments->note);
    request.user_id = borrowed(arguments->user);
    if (leadrouter__v1__maintenance_service__pause_job(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return job_call_failed(session, arguments->operand);
    if (arguments->common.json)
        print_json(job_json(response->job));
    else
        printf("%s is paused on all servers; leadctl jobs resume %s ends that\n", response->job->name,
            response->job->name);
    leadrouter__v1__pause_job_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

static const struct option_spec pause_flags[] = {
    FLAG_NOTE("why, for those who look at the job"),
    {.name = "user",
        .placeholder = "U",
        .help = "who asks",
        .kind = OPTION_ID,
        .offset = offsetof(struct arguments, user)},
};

const struct command command_jobs_pause = {
    .name = "jobs pause",
    .summary = "stop a job on all servers",
    .text = "Stops a job on all servers until it is resumed, over restarts too. It can still be run by hand.",
    .example = "leadctl jobs pause retries --note \"the CRM is down\"",
    .operand = OPERAND_JOB,
    COMMAND_FLAGS(pause_flags),
    .run = job_pause,
};

static int job_resume(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__ResumeJobRequest request = LEADROUTER__V1__RESUME_JOB_REQUEST__INIT;
    Leadrouter__V1__ResumeJobResponse *response = NULL;
    char time[32];

    request.name = borrowed(arguments->operand);
    if (leadrouter__v1__maintenance_service__resume_job(
            session->channel, &request, NULL, &response, &session->outcome) != GRPC_C_OK)
        return job_call_failed(session, arguments->operand);
    if (arguments->common.json)
        print_json(job_json(response->job));
    else if (response->job->next_run_at == NULL)
        printf("%s runs again, %s\n", response->job->name, response->job->schedule);
    else
        printf("%s runs again, next at %s\n", response->job->name, time_text(response->job->next_run_at, time));
    leadrouter__v1__resume_job_response__free_unpacked(response, NULL);
    return EXIT_DONE;
}

const struct command command_jobs_resume = {
    .name = "jobs resume",
    .summary = "let a paused job run again",
    .text = "Lets a paused job run again. What was missed is made up for by one run.",
    .example = "leadctl jobs resume retries",
    .operand = OPERAND_JOB,
    .run = job_resume,
};
