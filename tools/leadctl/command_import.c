#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "flag_mapping.h"
#include "import.h"
#include "leadrouter/v1/leads.grpc.h"

enum {
    BATCH_MAX = 1000,
    BATCH_SIZE_MAX = 1024 * 1024, /* bytes; with a row more it stays below the 4 MiB that a server takes */
    PATIENCE_S = 120,
    PATIENCE_MAX_S = 24 * 3600,
    REJECTED_SHOWN = 20,
    SOURCE_SIZE_MAX = 200,
    AGAIN_MAX = 1000,
    FINGERPRINT_SIZE = LEAD_FILE_FINGERPRINT_SIZE + 32,
};

int import_fail(struct import *import, const char *where, const struct error *error)
{
    const char *separator = where[0] == '\0' ? "" : ": ";

    if (import->progress != NULL)
        import_progress_say(import->progress, "%s%s%s", where, separator, error->text);
    else
        print_line(stderr, "leadctl: %s%s%s", where, separator, error->text);
    return EXIT_FAILED;
}

/* --- Rejected rows ------------------------------------------------------------------------------------------------ */

bool import_reject(struct import *import, uint64_t line, int64_t number, const struct rejects_cells *cells,
    const char *field, const char *reason, struct error *reterr_error)
{
    import->rejected_shown++;
    if (import->rejected_shown <= REJECTED_SHOWN)
        import_progress_say(
            import->progress, "line %" PRIu64 ": rejected: %s%s%s", line, field, field[0] == '\0' ? "" : ": ", reason);
    if (import->rejected_shown == REJECTED_SHOWN)
        import_progress_say(import->progress, "further rejected rows are only counted%s",
            import->rejects == NULL ? "; --errors FILE keeps them" : "");
    return import->rejects == NULL || rejects_file_add(import->rejects, cells, number, field, reason, reterr_error);
}

static bool row_settled(
    void *user, const struct sender_row *row, const Leadrouter__V1__ImportRowResult *result, struct error *reterr_error)
{
    struct import *import = user;
    const Leadrouter__V1__ImportRejection *rejection = result != NULL ? result->rejection : row->message.rejection;

    summary_add_result(import->summary, result);
    if (rejection != NULL)
        return import_reject(
            import, row->line, row->message.number, &row->cells, rejection->field, rejection->reason, reterr_error);
    if (result != NULL)
        return true;
    if (!server_rejects_find(
            import->server_rejects, row->message.number, sender_start_row(import->sender), &rejection, reterr_error))
        return false;
    return rejection == NULL || import_reject(import, row->line, row->message.number, &row->cells, rejection->field,
                                    rejection->reason, reterr_error);
}

static bool batch_settled(void *user, const struct sender_batch *batch, struct error *reterr_error)
{
    struct import *import = user;

    (void)batch;
    return import->rejects == NULL || rejects_file_flush(import->rejects, reterr_error);
}

/* A row that was in before this run, perhaps rejected: it must be in the file of rejected rows too, if the one who wrote that was killed
 * before he could, or did not write one. */
static bool check_passed(struct import *import, const struct ingest_row *row, struct error *reterr_error)
{
    const Leadrouter__V1__ImportRejection *rejection = NULL;

    if (!server_rejects_find(
            import->server_rejects, (int64_t)row->number, sender_start_row(import->sender), &rejection, reterr_error))
        return false;
    if (rejection == NULL)
        return true;
    struct arena *arena = arena_new(0);
    const struct rejects_cells cells = rejects_file_copy(import->rejects, row, arena);
    bool ok = rejects_file_add(
        import->rejects, &cells, (int64_t)row->number, rejection->field, rejection->reason, reterr_error);
    arena_free(arena);
    return ok;
}

/* --- Rows --------------------------------------------------------------------------------------------------------- */

static bool is_full(const struct import *import, const struct sender_batch *batch)
{
    return batch->count == (size_t)import->batch_rows ||
           (batch->count > 0 && arena_size(batch->arena) >= BATCH_SIZE_MAX);
}

static void add_row(struct import *import, struct sender_batch *batch, const struct ingest_row *row)
{
    struct sender_row *added = &batch->rows[batch->count++];
    struct ingest_rejection rejection = {0};

    leadrouter__v1__import_row__init(&added->message);
    added->message.number = (int64_t)row->number;
    added->line = row->line;
    if (!lead_file_map(import->file, row, batch->arena, &added->message.lead, &rejection)) {
        added->message.rejection = arena_alloc(batch->arena, sizeof(*added->message.rejection));
        leadrouter__v1__import_rejection__init(added->message.rejection);
        added->message.rejection->field = arena_copy_string(batch->arena, rejection.field);
        added->message.rejection->reason = arena_copy_string(batch->arena, rejection.reason);
    }
    if (import->rejects != NULL)
        added->cells = rejects_file_copy(import->rejects, row, batch->arena);
    batch->end_offset = lead_file_offset(import->file);
    summary_add_read(import->summary);
}

/* Reads all rows and hands those behind `last_row` to the sender. `rejected_row`: up to this one the file of rejected rows is
 * complete. True at the end of the file; false when the file is broken, rejected rows could not be written or asked for
 * (`reterr_error`), or sending is over (`reterr_error` left alone). */
static bool send_rows(struct import *import, int64_t last_row, int64_t rejected_row, struct error *reterr_error)
{
    struct sender_batch *batch = sender_batch_new((size_t)import->batch_rows);
    enum lead_file_step step = LEAD_FILE_ROW;
    bool has_begun = false;
    bool ok = true;

    while (ok) {
        struct ingest_row row;
        int64_t offset = lead_file_offset(import->file);
        step = lead_file_next(import->file, &row, reterr_error);
        if (step != LEAD_FILE_ROW)
            break;
        if ((int64_t)row.number <= last_row) {
            ok = import->rejects == NULL || (int64_t)row.number <= rejected_row ||
                 check_passed(import, &row, reterr_error);
            continue;
        }
        if (!has_begun)
            import_progress_begin(import->progress, offset, lead_file_size(import->file));
        has_begun = true;
        add_row(import, batch, &row);
        if (is_full(import, batch)) {
            ok = sender_send(import->sender, batch);
            batch = sender_batch_new((size_t)import->batch_rows);
        }
    }
    if (ok && import->rejects != NULL)
        ok = rejects_file_flush(import->rejects, reterr_error);
    if (ok && batch->count > 0)
        ok = sender_send(import->sender, batch);
    else
        sender_batch_free(batch);
    if (ok && step == LEAD_FILE_END && lead_file_has_changed(import->file))
        ok = error_set(reterr_error, ERROR_INVALID, "somebody has changed it while it was read");
    return ok && step == LEAD_FILE_END;
}

/* --- The import --------------------------------------------------------------------------------------------------- */

/* What makes it the same import: the file and how it is read, and whether its leads are routed. `round`: how often it is taken in. */
static void write_fingerprint(const struct import *import, const char *hash, int round, char *ret_text)
{
    snprintf(ret_text, FINGERPRINT_SIZE, "%s%s", hash, import->route ? "-routed" : "");
    if (round > 1)
        snprintf(ret_text + strlen(ret_text), FINGERPRINT_SIZE - strlen(ret_text), "-%d", round);
}

static bool begin(struct import *import, char *fingerprint, const Leadrouter__V1__ImportStarted **ret_started,
    struct error *reterr_error)
{
    char hash[LEAD_FILE_FINGERPRINT_SIZE] = "";
    char id[UUID_TEXT_SIZE];
    struct uuid once = uuid_random();
    bool has_hash = false;
    int round = 0;

    if (!lead_file_fingerprint(import->file, hash, &has_hash, reterr_error))
        return false;
    if (!has_hash) /* what is read only once can be gone on with in this run only */
        snprintf(hash, sizeof(hash), "once-%s", uuid_format(&once, id));
    if (!has_hash && import->resume)
        return error_set(reterr_error, ERROR_INVALID, "what can be read only once cannot be resumed");
    do {
        write_fingerprint(import, hash, ++round, fingerprint);
        if (!sender_begin(import->sender, ret_started, reterr_error))
            return false;
    } while (import->again && (*ret_started)->is_complete && round < AGAIN_MAX);
    snprintf(import->import_id, sizeof(import->import_id), "%s", (*ret_started)->import_id);
    import->server_rejects = server_rejects_new(&(struct server_rejects_options){.channel = import->channel,
        .target = import->common.target,
        .workspace_id = import->workspace,
        .import_id = import->import_id,
        .patience_s = import->patience_s,
        .interrupt = import->interrupt});
    summary_set_started(import->summary, *ret_started);
    return true;
}

/* The file's name without folders, cut to what the server takes. */
static const char *source_name(const char *path, char ret_name[SOURCE_SIZE_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    const char *name = strcmp(path, "-") == 0 ? "standard input" : slash == NULL ? path : slash + 1;
    size_t size = strlen(name);

    snprintf(ret_name, SOURCE_SIZE_MAX + 1, "%.*s",
        (int)(size > SOURCE_SIZE_MAX ? utf8_cut(name, SOURCE_SIZE_MAX) : size), name);
    return utf8_is_valid(ret_name, strlen(ret_name), NULL) ? ret_name : "file";
}

/* How far it is and how to go on, when it did not get to the end. */
static void say_how_far(struct import *import, bool is_broken)
{
    const int64_t row = sender_last_row(import->sender);
    const bool can_go_on = lead_file_size(import->file) > 0 && !is_broken;

    if (row > 0)
        import_progress_say(import->progress, "rows up to %" PRId64 " are in for good (import %s); %s", row,
            import->import_id,
            can_go_on ? "the same command goes on behind them"
                      : "import the whole file again: what is in is not taken in twice");
}

/* The counts as the server has them, if it can be asked. */
static void ask_how_far(struct import *import)
{
    Leadrouter__V1__GetImportRequest request = LEADROUTER__V1__GET_IMPORT_REQUEST__INIT;
    Leadrouter__V1__GetImportResponse *response = NULL;

    request.workspace_id = borrowed(import->workspace);
    request.import_id = import->import_id;
    if (leadrouter__v1__lead_service__get_import(import->channel, &request, NULL, &response, NULL) != GRPC_C_OK)
        return;
    summary_set_import(import->summary, response->import);
    leadrouter__v1__get_import_response__free_unpacked(response, NULL);
}

/* Says when rejected rows are missing in their file: the server has forgotten which they were. */
static void check_count(struct import *import, const Leadrouter__V1__Import *ended)
{
    const int64_t missing = import->rejects == NULL ? 0 : ended->rejected - rejects_file_count(import->rejects);

    if (missing > 0)
        import_progress_say(import->progress,
            "%s: %" PRId64 " rejected rows are missing: which they were is known for a week after the end of an import",
            import->errors_path, missing);
}

/* Sends the file; the exit code. */
static int transfer(struct import *import, const Leadrouter__V1__ImportStarted *started)
{
    const int64_t last_row = started->last_row;
    int64_t rejected_row = 0;
    struct error error = {0};
    struct error send_error = {0};
    Leadrouter__V1__Import *ended = NULL;
    bool is_whole = true;
    bool is_complete = started->is_complete != 0;

    if (is_complete)
        import_progress_say(
            import->progress, "%s: this import has ended before; --again takes the file in once more", import->path);
    else if (last_row > 0)
        import_progress_say(import->progress, "%s: goes on behind row %" PRId64, import->path, last_row);
    if (!is_complete || import->rejects != NULL) { /* of one that has ended, rejected rows may still be asked for */
        is_whole =
            (import->rejects == NULL || rejects_file_begin(import->rejects, last_row > 0, &rejected_row, &error)) &&
            send_rows(import, last_row, rejected_row, &error);
    }
    bool is_sent = sender_end(import->sender, is_whole, &ended, &send_error);
    if (ended != NULL) {
        summary_set_import(import->summary, ended);
        check_count(import, ended);
    }
    if (error.code != ERROR_NONE && error.code != ERROR_CANCELLED)
        import_fail(import, error.code == ERROR_SYSTEM && import->rejects != NULL ? "" : import->path, &error);
    if (!is_sent)
        import_fail(import, "", &send_error);
    if (ended != NULL) {
        leadrouter__v1__import__free_unpacked(ended, NULL);
        return EXIT_DONE;
    }
    if (!interrupt_happened(import->interrupt))
        ask_how_far(import);
    say_how_far(import, error.code == ERROR_INVALID);
    return EXIT_FAILED;
}

/* What is said when it cannot begin. */
static int fail_to_begin(struct import *import, const struct error *error)
{
    if (error->code == ERROR_NOT_FOUND && import->resume && strstr(error->text, "only_continue") != NULL) {
        import_progress_say(import->progress,
            "%s: there is nothing to resume: no unfinished import of this file with these flags into that workspace",
            import->path);
        return EXIT_FAILED;
    }
    return import_fail(import, error->code == ERROR_SYSTEM ? import->path : "", error);
}

static int run_import(struct import *import)
{
    char source[SOURCE_SIZE_MAX + 1];
    char fingerprint[FINGERPRINT_SIZE] = "";
    const Leadrouter__V1__ImportStarted *started = NULL;
    struct sender_options options = {.channel = import->channel,
        .target = import->common.target,
        .start = LEADROUTER__V1__IMPORT_START__INIT,
        .patience_s = import->patience_s,
        .interrupt = import->interrupt,
        .progress = import->progress,
        .row_callback = row_settled,
        .batch_callback = batch_settled,
        .user = import};
    struct error error = {0};
    int code = EXIT_FAILED;

    options.start.workspace_id = borrowed(import->workspace);
    options.start.source = borrowed(source_name(import->path, source));
    options.start.fingerprint = fingerprint;
    options.start.route = import->route;
    options.start.only_continue = import->resume;
    import->summary = summary_new(import->route);
    import->sender = sender_new(&options);
    interrupt_on(import->interrupt, sender_wake, import->sender);
    if (begin(import, fingerprint, &started, &error))
        code = transfer(import, started);
    else
        code = fail_to_begin(import, &error);
    interrupt_on(import->interrupt, NULL, NULL);
    import_progress_free(import->progress);
    import->progress = NULL;
    summary_print(import->summary, import->common.json);
    return code == EXIT_DONE && !summary_is_clean(import->summary) ? EXIT_FAILED : code;
}

/* --- The command -------------------------------------------------------------------------------------------------- */

static int suggest(struct import *import)
{
    struct error error = {0};
    char *yaml = NULL;

    if (!lead_file_suggest(&import->options, &yaml, &error))
        return import_fail(import, import->path, &error);
    fputs(yaml, stdout);
    free(yaml);
    return EXIT_DONE;
}

static bool open_rejects(struct import *import, struct error *reterr_error)
{
    if (import->errors_path == NULL)
        return true;
    if (lead_file_is(import->file, import->errors_path))
        return error_set(reterr_error, ERROR_INVALID, "--errors %s: is the file that is imported", import->errors_path);
    return rejects_file_open(import->errors_path, lead_file_source(import->file), &import->rejects, reterr_error);
}

static int run(struct import *import)
{
    struct error error = {0};

    if (!lead_file_open(&import->options, &import->file, &error))
        return import_fail(import, import->path, &error);
    if (lead_file_finding(import->file)[0] != '\0')
        fprintf(stderr, "leadctl: %s: %s\n", import->path, lead_file_finding(import->file));
    if (!open_rejects(import, &error))
        return import_fail(import, "", &error);
    import->progress = import_progress_new(import->quiet);
    return import->dry_run ? import_try(import) : run_import(import);
}

static int wrong_usage(const char *text)
{
    fprintf(stderr, "leadctl: %s\n", text);
    return EXIT_USAGE;
}

static int check_usage(const struct arguments *arguments)
{
    struct error error = {0};

    if (arguments->workspace == NULL && !arguments->is_suggested)
        return wrong_usage("import needs --workspace W: the workspace the leads belong to");
    if (arguments->mapping != NULL && arguments->maps.count + arguments->blanks.count > 0)
        return wrong_usage("--map and --blank do not go with --mapping: change the file");
    if (arguments->is_resumed && arguments->is_again)
        return wrong_usage("--resume goes on with an import, --again begins another: give one of them");
    if (arguments->is_dry && (arguments->is_resumed || arguments->is_again))
        return wrong_usage("--dry-run sends nothing: it does not go with --resume and --again");
    return flag_mapping_check(&arguments->maps, &error) ? EXIT_DONE : wrong_usage(error.text);
}

/* In the order in which one leans on the other. */
static void release(struct import *import)
{
    import_progress_free(import->progress);
    sender_free(import->sender);
    summary_free(import->summary);
    rejects_file_free(import->rejects);
    lead_file_close(import->file);
    server_rejects_free(import->server_rejects);
}

static int import(const struct arguments *arguments, struct session *ignored)
{
    struct import import = {.common = arguments->common,
        .path = arguments->operand,
        .workspace = arguments->workspace,
        .errors_path = arguments->errors,
        .route = arguments->is_routed,
        .resume = arguments->is_resumed,
        .again = arguments->is_again,
        .dry_run = arguments->is_dry,
        .quiet = arguments->is_quiet,
        .batch_rows = arguments->batch,
        .patience_s = arguments->patience,
        .options = {.path = arguments->operand,
            .mapping = arguments->mapping,
            .maps = &arguments->maps,
            .blanks = &arguments->blanks,
            .encoding = arguments->encoding,
            .delimiter = arguments->delimiter,
            .has_no_header = arguments->has_no_header,
            .stop_descriptor = -1}};
    struct session session = {0};
    int code = check_usage(arguments);

    (void)ignored; /* --suggest needs no server, and signals are taken over before there are threads */
    if (code == EXIT_DONE && arguments->is_suggested)
        return suggest(&import);
    if (code != EXIT_DONE)
        return code;
    signal(SIGXFSZ, SIG_IGN); /* a file that must not grow is a write that fails */
    import.interrupt = interrupt_new();
    import.options.stop_descriptor = interrupt_descriptor(import.interrupt);
    if (session_begin(&session, &arguments->common, &code)) {
        import.channel = session.channel;
        code = run(&import);
    }
    release(&import);
    session_end(&session);
    interrupt_free(import.interrupt);
    return code;
}

static const struct option_spec flags[] = {
    {.name = "workspace",
        .placeholder = "W",
        .help = "the workspace the leads belong to (needed, but for --suggest)",
        .kind = OPTION_ID,
        .offset = offsetof(struct arguments, workspace),
        .is_setting = true},
    {.name = "route",
        .help = "route each lead once it is taken in",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_routed)},
    {.name = "mapping",
        .placeholder = "NAME|FILE",
        .help = "which column becomes which field: built in, or a file",
        .kind = OPTION_FILE,
        .offset = offsetof(struct arguments, mapping)},
    {.name = "suggest",
        .help = "print a mapping that fits the file, to be read and corrected",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_suggested)},
    {.name = "dry-run",
        .help = "read all rows and ask the rules about them; nothing is written",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_dry)},
    {.name = "errors",
        .placeholder = "FILE",
        .help = "write rejected rows there, as CSV to be corrected and imported",
        .kind = OPTION_FILE,
        .offset = offsetof(struct arguments, errors)},
    {.name = "resume",
        .help = "go on with an import that was broken off, or fail",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_resumed)},
    {.name = "again",
        .help = "take a file in once more that is in already",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, is_again)},
    {.name = "wait",
        .placeholder = "SECONDS",
        .help = "how long to wait for a server that goes away",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, patience),
        .least = 0,
        .most = PATIENCE_MAX_S,
        .standard = PATIENCE_S},
    {.name = "quiet", .help = "no progress", .kind = OPTION_SWITCH, .offset = offsetof(struct arguments, is_quiet)},
    {.name = "map",
        .placeholder = "FIELD=COLUMN",
        .help = "take a field from a column",
        .kind = OPTION_LIST,
        .offset = offsetof(struct arguments, maps)},
    {.name = "blank",
        .placeholder = "TEXT",
        .help = "a cell with this text means \"not known\"",
        .kind = OPTION_LIST,
        .offset = offsetof(struct arguments, blanks)},
    {.name = "encoding",
        .placeholder = "NAME",
        .help = "of the file, when it is not found out",
        .offset = offsetof(struct arguments, encoding)},
    {.name = "delimiter",
        .placeholder = "C",
        .help = "what parts columns, when it is not found out; \"tab\" for that",
        .offset = offsetof(struct arguments, delimiter)},
    {.name = "no-header",
        .help = "the first row is a lead; columns are called 1, 2, …",
        .kind = OPTION_SWITCH,
        .offset = offsetof(struct arguments, has_no_header)},
    {.name = "batch",
        .placeholder = "N",
        .help = "rows in one message",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, batch),
        .least = 1,
        .most = BATCH_MAX,
        .standard = BATCH_MAX},
};

const struct command command_import = {
    .name = "import",
    .summary = "take the rows of a file in as leads, and route them",
    .text =
        "Takes the rows of a file in as leads of workspace W: CSV or JSON, in UTF-8, UTF-16 or Windows-1252; what it "
        "is is found out. FILE may be - for standard input. Which column becomes which field says a mapping: one that "
        "is built in (generic, datashopper, audience-labs, clay, hubspot, salesforce), a file (docs/mappings.md; "
        "--suggest proposes one), or, without --mapping, the names of the columns and --map; attributes.NAME keeps a "
        "column that is no field.\n\n"
        "The same command again goes on where it stopped, whatever stopped it, and does nothing when the file is in. A "
        "lead that W has by its external_id, or else by its content, is not taken again. Exits with 1 when rows were "
        "rejected, something failed, or after Ctrl-C.",
    .example = "leadctl import leads.csv --suggest > leads.yaml\n"
               "leadctl import leads.csv --workspace 0b9e… --mapping leads.yaml --dry-run\n"
               "leadctl import leads.csv --workspace 0b9e… --mapping leads.yaml --route",
    .operand = {.name = "FILE", .help = "file with the leads", .kind = OPTION_FILE, .is_needed = true},
    COMMAND_FLAGS(flags),
    .run = import,
    .is_local = true,
};
