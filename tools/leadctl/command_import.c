#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"
#include "csv_reader.h"
#include "mapping.h"
#include "sender.h"
#include "summary.h"

enum {
    BATCH_DEFAULT = 500,
    BATCH_MAX = 1000,
    BATCH_SIZE_MAX = 1024 * 1024, /* bytes; with a row more it stays below the 4 MiB that a server takes */
};

static const char usage[] = "Usage: leadctl import FILE.csv --workspace W [--route] [--map FIELD=COLUMN …]\n"
                            "                      [--blank TEXT …] [--batch N]\n\n"
                            "Takes the rows of a CSV file (UTF-8, with a header row) in as leads of workspace\n"
                            "W. A column whose header is the name of a field becomes that field; --map says\n"
                            "so for the others, and attributes.NAME keeps a column that is no field. Rows\n"
                            "with an external_id that W already has are not taken again. Exits with 1 when\n"
                            "rows were rejected or the file or the server failed.\n\n"
                            "Example: leadctl import leads.csv --workspace 0b9e… --route\n"
                            "         --map country=Country --map attributes.campaign=Campaign --blank Select";

struct import {
    struct common_options common;
    const char *path;
    const char *workspace;
    bool route;
    int batch_leads;
    struct option_list maps;
    struct option_list blanks;

    FILE *file;
    double file_size; /* 0: not known */
    struct csv_reader *reader;
    struct mapping *mapping;
    struct summary *summary;
    struct sender *sender;
};

static int fail(const char *where, const struct error *error)
{
    fprintf(stderr, "leadctl: %s%s%s\n", where, where[0] == '\0' ? "" : ": ", error->text);
    return EXIT_FAILED;
}

static bool open_file(struct import *import, struct error *reterr_error)
{
    struct stat status;

    import->file = fopen(import->path, "re");
    if (import->file == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "%s", strerror(errno));
    if (fstat(fileno(import->file), &status) == 0 && S_ISREG(status.st_mode))
        import->file_size = (double)status.st_size;
    else if (S_ISDIR(status.st_mode))
        return error_set(reterr_error, ERROR_SYSTEM, "is a directory");
    import->reader = csv_reader_new(import->file);
    return true;
}

static bool read_header(struct import *import, struct error *reterr_error)
{
    struct csv_row header;

    if (!csv_reader_next(import->reader, &header, reterr_error))
        return reterr_error->code == ERROR_NONE ? error_set(reterr_error, ERROR_INVALID, "the file is empty") : false;
    return mapping_new(&import->maps, &import->blanks, &header, &import->mapping, reterr_error);
}

static bool is_full(const struct import *import, const struct sender_batch *batch)
{
    return batch->count == (size_t)import->batch_leads ||
           (batch->count > 0 && arena_size(batch->arena) >= BATCH_SIZE_MAX);
}

/* Reads all rows and hands them to the sender; false when the file is broken or the server failed (`reterr_error`
 * then ERROR_NONE). */
static bool send_rows(struct import *import, struct error *reterr_error)
{
    struct sender_batch *batch = sender_batch_new((size_t)import->batch_leads);
    struct csv_row row;
    bool ok = true;

    while (ok && csv_reader_next(import->reader, &row, reterr_error)) {
        struct error fault = {0};
        summary_add_read(import->summary);
        if (mapping_apply(import->mapping, &row, batch->arena, &batch->leads[batch->count], &fault))
            batch->lines[batch->count++] = row.line;
        else
            summary_add_rejected(import->summary, row.line, fault.text);
        if (is_full(import, batch)) {
            ok = sender_send(import->sender, batch);
            batch = sender_batch_new((size_t)import->batch_leads);
        }
        if (import->file_size > 0)
            summary_set_fraction(import->summary, (double)csv_reader_position(import->reader) / import->file_size);
        summary_show_progress(import->summary);
    }
    if (ok && batch->count > 0)
        ok = sender_send(import->sender, batch);
    else
        sender_batch_free(batch);
    return ok && reterr_error->code == ERROR_NONE;
}

static int run(struct import *import, struct grpc_c_channel *channel)
{
    struct error error = {0};
    struct error send_error = {0};
    int code = EXIT_DONE;

    if (!open_file(import, &error) || !read_header(import, &error))
        return fail(import->path, &error);
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
    mapping_free(import->mapping);
    csv_reader_free(import->reader);
    if (import->file != NULL)
        fclose(import->file);
    free(import->maps.values);
    free(import->blanks.values);
}

static int check_usage(const struct import *import, size_t operand_count)
{
    struct uuid ignored;
    struct error error = {0};

    if (operand_count == 0 || import->workspace == NULL) {
        fprintf(stderr, "leadctl: import needs a file and --workspace; see --help\n");
        return EXIT_USAGE;
    }
    if (!uuid_parse(import->workspace, &ignored)) {
        fprintf(stderr, "leadctl: --workspace: \"%s\" is not a UUID\n", import->workspace);
        return EXIT_USAGE;
    }
    if (!mapping_check(&import->maps, &error)) {
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
        if (code == EXIT_DONE) {
            struct grpc_c_channel *channel = connect_to(&import.common);
            code = channel == NULL ? EXIT_USAGE : run(&import, channel);
            grpc_c_channel_free(channel);
        }
    }
    release(&import);
    return code;
}
