#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"
#include "flag_mapping.h"
#include "lead_file.h"
#include "sender.h"
#include "summary.h"

enum {
    BATCH_DEFAULT = 500,
    BATCH_MAX = 1000,
    BATCH_SIZE_MAX = 1024 * 1024, /* bytes; with a row more it stays below the 4 MiB that a server takes */
};

static const char usage[] = "Usage: leadctl import FILE --workspace W [--route] [--mapping NAME|FILE]\n"
                            "                      [--map FIELD=COLUMN …] [--blank TEXT …] [--batch N]\n"
                            "       leadctl import FILE --suggest\n\n"
                            "Takes the rows of a file in as leads of workspace W: CSV or JSON, in UTF-8, UTF-16 or\n"
                            "Windows-1252; what it is is found out. Which column becomes which field says a mapping:\n"
                            "one that is built in (generic, datashopper, audience-labs, clay, hubspot, salesforce), a\n"
                            "file (docs/mappings.md; --suggest proposes one), or, without --mapping, the names of the\n"
                            "columns and --map; attributes.NAME keeps a column that is no field. Rows with an\n"
                            "external_id that W already has are not taken again. Exits with 1 when rows were rejected\n"
                            "or the file or the server failed.\n\n"
                            "Example: leadctl import leads.csv --suggest > leads.yaml\n"
                            "         leadctl import leads.csv --workspace 0b9e… --mapping leads.yaml --route";

struct import {
    struct common_options common;
    const char *path;
    const char *workspace;
    bool route;
    int batch_leads;
    bool suggest;
    struct option_list maps;
    struct option_list blanks;
    struct lead_file_options options;

    struct lead_file *file;
    struct summary *summary;
    struct sender *sender;
};

static int fail(const char *where, const struct error *error)
{
    fprintf(stderr, "leadctl: %s%s%s\n", where, where[0] == '\0' ? "" : ": ", error->text);
    return EXIT_FAILED;
}

static bool is_full(const struct import *import, const struct sender_batch *batch)
{
    return batch->count == (size_t)import->batch_leads ||
           (batch->count > 0 && arena_size(batch->arena) >= BATCH_SIZE_MAX);
}

static void reject(struct import *import, uint64_t line, const struct ingest_rejection *rejection)
{
    char reason[2 * INGEST_REASON_SIZE];

    snprintf(reason, sizeof(reason), "%.200s%s%s", rejection->field, rejection->field[0] == '\0' ? "" : ": ",
        rejection->reason);
    summary_add_rejected(import->summary, (size_t)line, reason);
}

/* Reads all rows and hands them to the sender; false when the file is broken or the server failed (`reterr_error`
 * then ERROR_NONE). */
static bool send_rows(struct import *import, struct error *reterr_error)
{
    struct sender_batch *batch = sender_batch_new((size_t)import->batch_leads);
    enum lead_file_step step = LEAD_FILE_LEAD;
    bool ok = true;

    while (ok) {
        struct ingest_rejection rejection = {0};
        uint64_t line = 0;
        step = lead_file_next(import->file, batch->arena, &batch->leads[batch->count], &line, &rejection, reterr_error);
        if (step == LEAD_FILE_END || step == LEAD_FILE_FAILED)
            break;
        summary_add_read(import->summary);
        if (step == LEAD_FILE_LEAD)
            batch->lines[batch->count++] = (size_t)line;
        else
            reject(import, line, &rejection);
        if (is_full(import, batch)) {
            ok = sender_send(import->sender, batch);
            batch = sender_batch_new((size_t)import->batch_leads);
        }
        if (lead_file_fraction(import->file) >= 0)
            summary_set_fraction(import->summary, lead_file_fraction(import->file));
        summary_show_progress(import->summary);
    }
    if (ok && batch->count > 0)
        ok = sender_send(import->sender, batch);
    else
        sender_batch_free(batch);
    return ok && step == LEAD_FILE_END;
}

static int suggest(struct import *import)
{
    struct error error = {0};
    char *yaml = NULL;

    import->options.path = import->path;
    if (!lead_file_suggest(&import->options, &yaml, &error))
        return fail(import->path, &error);
    fputs(yaml, stdout);
    free(yaml);
    return EXIT_DONE;
}

static int run(struct import *import, struct grpc_c_channel *channel)
{
    struct error error = {0};
    struct error send_error = {0};
    int code = EXIT_DONE;

    import->options.path = import->path;
    import->options.maps = &import->maps;
    import->options.blanks = &import->blanks;
    if (!lead_file_open(&import->options, &import->file, &error))
        return fail(import->path, &error);
    if (lead_file_finding(import->file)[0] != '\0')
        fprintf(stderr, "leadctl: %s: %s\n", import->path, lead_file_finding(import->file));
    import->summary = summary_new(import->route);
    struct sender_options options = {.channel = channel,
        .target = import->common.target,
        .workspace_id = import->workspace,
        .route = import->route,
        .summary = import->summary};
    import->sender = sender_new(&options);
    send_rows(import, &error);
    bool all_sent = sender_finish(import->sender, &send_error);
    summary_hide_progress(import->summary);
    if (!all_sent)
        code = fail("", &send_error);
    if (error.code != ERROR_NONE)
        code = fail(import->path, &error);
    summary_print(import->summary, import->common.json);
    return code == EXIT_DONE && !summary_is_clean(import->summary) ? EXIT_FAILED : code;
}

static void release(struct import *import)
{
    summary_free(import->summary);
    lead_file_close(import->file);
    free(import->maps.values);
    free(import->blanks.values);
}

static int check_usage(const struct import *import, size_t operand_count)
{
    struct uuid ignored;
    struct error error = {0};

    if (operand_count == 0 || (import->workspace == NULL && !import->suggest)) {
        fprintf(stderr, "leadctl: import needs a file and --workspace; see --help\n");
        return EXIT_USAGE;
    }
    if (import->options.mapping != NULL && import->maps.count + import->blanks.count > 0) {
        fprintf(stderr, "leadctl: --map and --blank do not go with --mapping: change the file\n");
        return EXIT_USAGE;
    }
    if (import->workspace != NULL && !uuid_parse(import->workspace, &ignored)) {
        fprintf(stderr, "leadctl: --workspace: \"%s\" is not a UUID\n", import->workspace);
        return EXIT_USAGE;
    }
    if (!flag_mapping_check(&import->maps, &error)) {
        fprintf(stderr, "leadctl: %s\n", error.text);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int command_import(int argc, char **argv)
{
    struct import import = {.batch_leads = BATCH_DEFAULT};
    const struct option_spec specs[] = {
        {"workspace", "W", "the workspace the leads belong to (needed)", OPTION_TEXT, &import.workspace, 0, 0},
        {"route", NULL, "route each lead once it is taken in", OPTION_SWITCH, &import.route, 0, 0},
        {"map", "FIELD=COLUMN", "take a field from a column; may be given often", OPTION_LIST, &import.maps, 0, 0},
        {"blank", "TEXT", "a cell with this text means \"not known\"; may be given often", OPTION_LIST, &import.blanks,
            0, 0},
        {"mapping", "NAME|FILE", "which column becomes which field: built in, or a file", OPTION_TEXT,
            &import.options.mapping, 0, 0},
        {"suggest", NULL, "print a mapping that fits the file, to be read and corrected", OPTION_SWITCH,
            &import.suggest, 0, 0},
        {"encoding", "NAME", "of the file, when it is not found out", OPTION_TEXT, &import.options.encoding, 0, 0},
        {"delimiter", "C", "what parts columns, when it is not found out; \"tab\" for that", OPTION_TEXT,
            &import.options.delimiter, 0, 0},
        {"no-header", NULL, "the first row is a lead; columns are called 1, 2, …", OPTION_SWITCH,
            &import.options.has_no_header, 0, 0},
        {"batch", "N", "leads in one call (default 500)", OPTION_NUMBER, &import.batch_leads, 1, BATCH_MAX},
    };
    size_t operand_count = 0;
    int code = EXIT_USAGE;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &import.common, &import.path, 1, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        code = EXIT_DONE;
        break;
    case OPTIONS_WRONG:
        break;
    case OPTIONS_OK:
        code = check_usage(&import, operand_count);
        if (code == EXIT_DONE && import.suggest) {
            code = suggest(&import);
        } else if (code == EXIT_DONE) {
            struct grpc_c_channel *channel = connect_to(&import.common);
            code = channel == NULL ? EXIT_USAGE : run(&import, channel);
            grpc_c_channel_free(channel);
        }
    }
    release(&import);
    return code;
}
