/* leadctl import --dry-run: every row is read and made a lead; the rules are asked about some of them. Nothing is written. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "import.h"
#include "leadrouter/v1/rules.grpc.h"

enum {
    SAMPLE_MAX = 1000, /* leads that the rules are asked about */
    CALL_LEADS_MAX = 25,
    CALL_DEADLINE_MS = 30000,
    ANSWERS_MAX = 1000,
    ANSWERS_SHOWN = 20,
    NAME_SIZE = 200,
};

/* What rules do with leads: one for each sentence and destination. */
struct answer {
    char summary[NAME_SIZE];
    char destination[UUID_TEXT_SIZE];
    int64_t leads;
};

/* A lead of the sample, packed: it is small, and of its own. */
struct sample {
    uint8_t *bytes;
    size_t size;
};

struct trial {
    struct import *import;
    int64_t rows;
    int64_t leads;
    struct sample samples
        [SAMPLE_MAX]; /* the first of the file, then by chance in place of one of them: each lead is as likely as any other */
    size_t sample_count;
    uint64_t chance;
    struct answer answers[ANSWERS_MAX];
    size_t answer_count;
    int64_t asked;
};

/* Knuth's MMIX generator: the same file has the same sample. */
static uint64_t next_chance(struct trial *trial)
{
    trial->chance = trial->chance * 6364136223846793005ULL + 1442695040888963407ULL;
    return trial->chance >> 16;
}

/* Algorithm R (Vitter, 1985). */
static void consider(struct trial *trial, const Leadrouter__V1__NewLead *lead)
{
    size_t place = trial->sample_count;

    trial->leads++;
    if (place == SAMPLE_MAX)
        place = next_chance(trial) % (uint64_t)trial->leads;
    else
        trial->sample_count++;
    if (place >= SAMPLE_MAX)
        return;
    free(trial->samples[place].bytes);
    trial->samples[place].size = leadrouter__v1__new_lead__get_packed_size(lead);
    trial->samples[place].bytes = memory_new(trial->samples[place].size);
    leadrouter__v1__new_lead__pack(lead, trial->samples[place].bytes);
}

/* --- Rows --------------------------------------------------------------------------------------------------------- */

static bool try_row(struct trial *trial, const struct ingest_row *row, struct arena *arena, struct error *reterr_error)
{
    struct import *import = trial->import;
    struct ingest_rejection rejection = {0};
    struct rejects_cells cells = {0};
    Leadrouter__V1__NewLead *lead = NULL;

    trial->rows++;
    if (lead_file_map(import->file, row, arena, &lead, &rejection)) {
        consider(trial, lead);
        return true;
    }
    if (import->rejects != NULL)
        cells = rejects_file_copy(import->rejects, row, arena);
    return import_reject(
        import, row->line, (int64_t)row->number, &cells, rejection.field, rejection.reason, reterr_error);
}

/* Reads the whole file. */
static bool try_rows(struct trial *trial, struct error *reterr_error)
{
    struct import *import = trial->import;
    struct arena *arena = arena_new(0);
    enum lead_file_step step = LEAD_FILE_ROW;
    struct ingest_row row;
    int64_t ignored = 0;
    bool ok = import->rejects == NULL || rejects_file_begin(import->rejects, false, &ignored, reterr_error);

    import_progress_begin(import->progress, 0, lead_file_size(import->file));
    while (ok && (step = lead_file_next(import->file, &row, reterr_error)) == LEAD_FILE_ROW) {
        arena_clear(arena);
        ok = try_row(trial, &row, arena, reterr_error);
        import_progress_add(import->progress, 1, lead_file_offset(import->file));
    }
    arena_free(arena);
    if (ok && import->rejects != NULL)
        ok = rejects_file_flush(import->rejects, reterr_error);
    return ok && step == LEAD_FILE_END;
}

/* --- Rules -------------------------------------------------------------------------------------------------------- */

static void add_answer(struct trial *trial, const Leadrouter__V1__LeadExplanation *explanation)
{
    size_t i = 0;

    trial->asked++;
    while (i < trial->answer_count &&
           (strncmp(trial->answers[i].summary, explanation->summary, NAME_SIZE - 1) != 0 ||
               strcmp(trial->answers[i].destination, explanation->destination_workspace_id) != 0))
        i++;
    if (i == ANSWERS_MAX)
        return;
    if (i == trial->answer_count) {
        trial->answer_count++;
        snprintf(trial->answers[i].summary, NAME_SIZE, "%s", explanation->summary);
        snprintf(trial->answers[i].destination, UUID_TEXT_SIZE, "%s", explanation->destination_workspace_id);
    }
    trial->answers[i].leads++;
}

static enum grpc_c_status ask(
    struct trial *trial, Leadrouter__V1__NewLead **leads, size_t count, struct grpc_c_outcome *ret_outcome)
{
    Leadrouter__V1__TestRulesRequest request = LEADROUTER__V1__TEST_RULES_REQUEST__INIT;
    Leadrouter__V1__TestRulesResponse *response = NULL;
    const struct grpc_c_call_options options = {.deadline_ms = CALL_DEADLINE_MS};

    request.workspace_id = borrowed(trial->import->workspace);
    request.leads = leads;
    request.n_leads = count;
    enum grpc_c_status status =
        leadrouter__v1__rule_service__test_rules(trial->import->channel, &request, &options, &response, ret_outcome);
    if (status != GRPC_C_OK)
        return status;
    for (size_t i = 0; i < response->n_leads; i++)
        add_answer(trial, response->leads[i]);
    leadrouter__v1__test_rules_response__free_unpacked(response, NULL);
    return status;
}

static int fail(const struct trial *trial, const struct grpc_c_outcome *outcome)
{
    struct error error = {0};

    describe_failure(trial->import->common.target, outcome, &error);
    return import_fail(trial->import, "the rules were not asked", &error);
}

/* Asks about leads from `from` on, fewer when an answer gets too large; the exit code. */
static int ask_rules(struct trial *trial)
{
    Leadrouter__V1__NewLead *leads[CALL_LEADS_MAX];
    size_t at_once = CALL_LEADS_MAX;
    size_t from = 0;
    int code = EXIT_DONE;

    while (code == EXIT_DONE && from < trial->sample_count && !interrupt_happened(trial->import->interrupt)) {
        struct grpc_c_outcome outcome = {0};
        size_t count = trial->sample_count - from < at_once ? trial->sample_count - from : at_once;
        for (size_t i = 0; i < count; i++)
            leads[i] =
                leadrouter__v1__new_lead__unpack(NULL, trial->samples[from + i].size, trial->samples[from + i].bytes);
        enum grpc_c_status status = ask(trial, leads, count, &outcome);
        if (status == GRPC_C_OK)
            from += count;
        else if (status == GRPC_C_RESOURCE_EXHAUSTED && at_once > 1)
            at_once /= 2;
        else
            code = fail(trial, &outcome);
        for (size_t i = 0; i < count; i++)
            leadrouter__v1__new_lead__free_unpacked(leads[i], NULL);
        grpc_c_outcome_release(&outcome);
    }
    return code;
}

/* --- What came of it ---------------------------------------------------------------------------------------------- */

static int by_leads(const void *left, const void *right)
{
    const struct answer *a = left;
    const struct answer *b = right;

    return a->leads != b->leads ? (a->leads < b->leads ? 1 : -1) : strcmp(a->summary, b->summary);
}

static void print_count(const char *label, int64_t count)
{
    printf("%-40s %10" PRId64 "\n", label, count);
}

static void print_table(const struct trial *trial)
{
    print_count("rows read", trial->rows);
    print_count("rows that would become leads", trial->leads);
    print_count("rows that would be rejected", trial->rows - trial->leads);
    if (trial->asked > 0 && trial->asked < trial->leads)
        printf("\nThe rules were asked about %" PRId64
               " leads, drawn evenly from all of them; who was sold before does not count:\n",
            trial->asked);
    else if (trial->asked > 0)
        printf("\nWhat the rules say; who was sold before does not count:\n");
    if (trial->asked > 0)
        printf("\n%-40s %10s  %s\n", "destination", "leads", "why");
    for (size_t i = 0; i < trial->answer_count && i < ANSWERS_SHOWN; i++)
        print_line(stdout, "%-40s %10" PRId64 "  %s",
            trial->answers[i].destination[0] == '\0' ? "-" : trial->answers[i].destination, trial->answers[i].leads,
            trial->answers[i].summary);
    if (trial->answer_count > ANSWERS_SHOWN)
        printf("and %zu more\n", trial->answer_count - ANSWERS_SHOWN);
    printf("\nNothing was written.\n");
}

static void print_trial_json(const struct trial *trial)
{
    json_t *answers = json_array();

    for (size_t i = 0; i < trial->answer_count; i++)
        json_array_append_new(
            answers, json_pack("{s:s, s:s, s:I}", "destination_workspace_id", trial->answers[i].destination, "summary",
                         trial->answers[i].summary, "leads", (json_int_t)trial->answers[i].leads));
    print_json(json_pack("{s:b, s:I, s:I, s:I, s:I, s:o}", "dry_run", 1, "read", (json_int_t)trial->rows, "leads",
        (json_int_t)trial->leads, "rejected", (json_int_t)(trial->rows - trial->leads), "asked",
        (json_int_t)trial->asked, "rules", answers));
}

int import_try(struct import *import)
{
    struct trial *trial = memory_new(sizeof(*trial));
    struct error error = {0};
    int code = EXIT_DONE;

    trial->import = import;
    trial->chance = 1;
    if (!try_rows(trial, &error))
        code = import_fail(import, import->path, &error);
    import_progress_free(import->progress);
    import->progress = NULL;
    if (ask_rules(trial) != EXIT_DONE)
        code = EXIT_FAILED;
    qsort(trial->answers, trial->answer_count, sizeof(trial->answers[0]), by_leads);
    if (import->common.json)
        print_trial_json(trial);
    else
        print_table(trial);
    if (trial->leads < trial->rows || interrupt_happened(import->interrupt))
        code = EXIT_FAILED;
    for (size_t i = 0; i < trial->sample_count; i++)
        free(trial->samples[i].bytes);
    free(trial);
    return code;
}
