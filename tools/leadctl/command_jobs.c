/* leadctl jobs …: the background jobs of all servers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/maintenance.grpc.h"
#include "progress.h"

enum { RUN_DEADLINE_MS = 30000 /* as long as a server lets a call take */, NAMES_MAX = 64 };

struct jobs_options {
    struct common_options common;
    const char *name; /* NULL where none is taken */
    const char *note;
    const char *user;
};

enum jobs_flags { FLAG_NOTE = 1, FLAG_USER = 2 };

/* Reads flags and the name of a job; `*ret_code` is the exit code when it returns false. */
static bool parse(const char *usage, const char *command, unsigned flags, bool needs_name, int argc, char **argv,
    struct jobs_options *options, int *ret_code)
{
    const struct option_spec all[] = {
        {"note", "TEXT", "why, for those who look at the job", OPTION_TEXT, &options->note, 0, 0},
        {"user", "U", "who asks; a UUID", OPTION_TEXT, &options->user, 0, 0},
    };
    const unsigned wanted[] = {FLAG_NOTE, FLAG_USER};
    struct option_spec specs[COUNT_OF(all)];
    size_t spec_count = 0;
    size_t operand_count = 0;

    *options = (struct jobs_options){.note = "", .user = ""};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if ((flags & wanted[i]) != 0)
            specs[spec_count++] = all[i];
    *ret_code = EXIT_USAGE;
    switch (options_parse(
        usage, specs, spec_count, argc, argv, &options->common, &options->name, needs_name ? 1 : 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        *ret_code = EXIT_DONE;
        return false;
    case OPTIONS_WRONG:
        return false;
    case OPTIONS_OK:
        break;
    }
    if (needs_name && operand_count == 0) {
        fprintf(stderr, "leadctl: %s needs the name of a job; leadctl jobs list shows them\n", command);
        return false;
    }
    *ret_code = EXIT_DONE;
    return true;
}

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

/* When something happens or happened, seen from `now`: "in 5 min", "3 h ago"; "-" without a time. */
static const char *when(
    const Google__Protobuf__Timestamp *time, const Google__Protobuf__Timestamp *now, char ret_text[32])
{
    char age[16];
    int64_t seconds = time == NULL || now == NULL ? 0 : time->seconds - now->seconds;

    if (time == NULL || now == NULL)
        snprintf(ret_text, 32, "-");
    else if (seconds > 0)
        snprintf(ret_text, 32, "in %s", age_text(seconds, age));
    else
        snprintf(ret_text, 32, "%s ago", age_text(-seconds, age));
    return ret_text;
}

static void print_job_line(const Leadrouter__V1__Job *job, const Google__Protobuf__Timestamp *now)
{
    char next[32], last[32], took[24] = "-";

    if (job->last_ended_at != NULL)
        snprintf(took, sizeof(took), "%" PRId64, job->last_duration_ms);
    printf("%-14s %-8s %-19s %-10s %-11s %9s  %s\n", job->name, job_state_name(job->state), job->schedule,
        job->state == LEADROUTER__V1__JOB_STATE__JOB_STATE_RUNNING ? "now" : when(job->next_run_at, now, next),
        when(job->last_started_at, now, last), took, job->last_result);
}

/* What has to be said of a job beside its line. */
static void print_remarks(const Leadrouter__V1__Job *job)
{
    char time[32];

    if (job->paused_at != NULL)
        printf("%s is paused since %s%s%s%s%s\n", job->name, time_text(job->paused_at, time),
            job->paused_by[0] == '\0' ? "" : " by ", job->paused_by, job->pause_note[0] == '\0' ? "" : ": ",
            job->pause_note);
    if (job->failures > 0)
        printf("%s has failed %" PRId32 " %s: %s\n", job->name, job->failures,
            job->failures == 1 ? "time" : "times in a row", job->last_error);
}

/* --- The names that there are ------------------------------------------------------------------------------------- */

static Leadrouter__V1__ListJobsResponse *list(struct grpc_c_channel *channel, struct grpc_c_outcome *ret_outcome)
{
    Leadrouter__V1__ListJobsRequest request = LEADROUTER__V1__LIST_JOBS_REQUEST__INIT;
    Leadrouter__V1__ListJobsResponse *response = NULL;

    if (leadrouter__v1__maintenance_service__list_jobs(channel, &request, NULL, &response, ret_outcome) != GRPC_C_OK)
        return NULL;
    return response;
}

/* A name that the server does not know: with those that it knows, and the nearest of them. */
static void name_is_unknown(struct grpc_c_channel *channel, const char *name)
{
    struct grpc_c_outcome outcome = {0};
    Leadrouter__V1__ListJobsResponse *response = list(channel, &outcome);
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
    grpc_c_outcome_release(&outcome);
}

static int job_call_failed(
    struct grpc_c_channel *channel, const struct jobs_options *options, const struct grpc_c_outcome *outcome)
{
    if (outcome->status != GRPC_C_NOT_FOUND)
        return call_failed(options->common.target, outcome);
    name_is_unknown(channel, options->name);
    return EXIT_FAILED;
}

/* --- The commands ------------------------------------------------------------------------------------------------- */

int command_jobs_list(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl jobs list\n\n"
        "The background jobs of all servers: when they run, when they last ran, and what came of\n"
        "it. Times are the database's.\n\n"
        "Example: leadctl jobs list";
    struct jobs_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    Leadrouter__V1__ListJobsResponse *response = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "jobs list", 0, false, argc, argv, &options, &code))
        return code;
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    response = list(channel, &outcome);
    if (response == NULL) {
        code = call_failed(options.common.target, &outcome);
        goto cleanup;
    }
    if (options.common.json) {
        char time[32];
        json_t *jobs = json_array();
        for (size_t i = 0; i < response->n_jobs; i++)
            json_array_append_new(jobs, job_json(response->jobs[i]));
        print_json(json_pack("{so, ss}", "jobs", jobs, "now", time_text(response->now, time)));
        goto cleanup;
    }
    printf("%-14s %-8s %-19s %-10s %-11s %9s  %s\n", "JOB", "STATE", "SCHEDULE", "NEXT", "LAST", "TOOK (MS)", "RESULT");
    for (size_t i = 0; i < response->n_jobs; i++)
        print_job_line(response->jobs[i], response->now);
    for (size_t i = 0; i < response->n_jobs; i++)
        print_remarks(response->jobs[i]);
cleanup:
    if (response != NULL)
        leadrouter__v1__list_jobs_response__free_unpacked(response, NULL);
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
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

int command_jobs_run(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl jobs run JOB\n\n"
        "Runs a job now, whether it is paused or not, and shows what it did. A job that takes longer\n"
        "than half a minute ends then; what it did stays done, and it can be run again.\n\n"
        "Example: leadctl jobs run expiry";
    const struct grpc_c_call_options call_options = {.deadline_ms = RUN_DEADLINE_MS};
    Leadrouter__V1__RunJobRequest request = LEADROUTER__V1__RUN_JOB_REQUEST__INIT;
    Leadrouter__V1__RunJobResponse *response = NULL;
    struct jobs_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    struct progress *progress = NULL;
    enum grpc_c_status status = GRPC_C_OK;
    int code = EXIT_DONE;

    if (!parse(usage, "jobs run", 0, true, argc, argv, &options, &code))
        return code;
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.name = borrowed(options.name);
    progress = progress_new();
    progress_set(progress, "%s runs", options.name);
    status = leadrouter__v1__maintenance_service__run_job(channel, &request, &call_options, &response, &outcome);
    progress_free(progress);
    if (status != GRPC_C_OK) {
        code = job_call_failed(channel, &options, &outcome);
    } else {
        show_run(response->job, options.common.json);
        leadrouter__v1__run_job_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

int command_jobs_pause(int argc, char **argv)
{
    static const char usage[] =
        "Usage: leadctl jobs pause JOB [--note TEXT] [--user U]\n\n"
        "Stops a job on all servers until it is resumed, over restarts too. It can still be run by hand.\n\n"
        "Example: leadctl jobs pause retries --note \"the CRM is down\"";
    Leadrouter__V1__PauseJobRequest request = LEADROUTER__V1__PAUSE_JOB_REQUEST__INIT;
    Leadrouter__V1__PauseJobResponse *response = NULL;
    struct jobs_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    int code = EXIT_DONE;

    if (!parse(usage, "jobs pause", FLAG_NOTE | FLAG_USER, true, argc, argv, &options, &code))
        return code;
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.name = borrowed(options.name);
    request.note = borrowed(options.note);
    request.user_id = borrowed(options.user);
    if (leadrouter__v1__maintenance_service__pause_job(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = job_call_failed(channel, &options, &outcome);
    } else {
        if (options.common.json)
            print_json(job_json(response->job));
        else
            printf("%s is paused on all servers; leadctl jobs resume %s ends that\n", response->job->name,
                response->job->name);
        leadrouter__v1__pause_job_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}

int command_jobs_resume(int argc, char **argv)
{
    static const char usage[] = "Usage: leadctl jobs resume JOB\n\n"
                                "Lets a paused job run again. What was missed is made up for by one run.\n\n"
                                "Example: leadctl jobs resume retries";
    Leadrouter__V1__ResumeJobRequest request = LEADROUTER__V1__RESUME_JOB_REQUEST__INIT;
    Leadrouter__V1__ResumeJobResponse *response = NULL;
    struct jobs_options options;
    struct grpc_c_outcome outcome = {0};
    struct grpc_c_channel *channel = NULL;
    char time[32];
    int code = EXIT_DONE;

    if (!parse(usage, "jobs resume", 0, true, argc, argv, &options, &code))
        return code;
    channel = connect_to(&options.common);
    if (channel == NULL)
        return EXIT_USAGE;
    request.name = borrowed(options.name);
    if (leadrouter__v1__maintenance_service__resume_job(channel, &request, NULL, &response, &outcome) != GRPC_C_OK) {
        code = job_call_failed(channel, &options, &outcome);
    } else {
        if (options.common.json)
            print_json(job_json(response->job));
        else if (response->job->next_run_at == NULL)
            printf("%s runs again, %s\n", response->job->name, response->job->schedule);
        else
            printf("%s runs again, next at %s\n", response->job->name, time_text(response->job->next_run_at, time));
        leadrouter__v1__resume_job_response__free_unpacked(response, NULL);
    }
    grpc_c_outcome_release(&outcome);
    grpc_c_channel_free(channel);
    return code;
}
