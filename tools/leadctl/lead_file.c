#include "lead_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "flag_mapping.h"
#include "ingest/suggest.h"

enum { CHUNK_SIZE = 64 * 1024, FINDING_SIZE = 100 };

struct lead_file {
    const struct lead_file_options *options;
    FILE *file;
    double size; /* 0: not known */
    struct ingest_mapping *mapping;
    struct ingest_reader *reader;
    struct ingest_binding *binding;
    struct arena *scratch; /* of one row */
    char finding[FINDING_SIZE];
    char chunk[CHUNK_SIZE];
};

static bool open_file(struct lead_file *file, struct error *reterr_error)
{
    struct stat status;

    file->file = fopen(file->options->path, "re");
    if (file->file == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "%s", strerror(errno));
    if (fstat(fileno(file->file), &status) == 0 && S_ISREG(status.st_mode))
        file->size = (double)status.st_size;
    else if (S_ISDIR(status.st_mode))
        return error_set(reterr_error, ERROR_SYSTEM, "is a directory");
    return true;
}

static bool read_mapping_file(const char *path, struct buffer *text, struct error *reterr_error)
{
    char chunk[4096];
    FILE *file = fopen(path, "re");
    size_t size = 0;

    if (file == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "could not open %s: %s", path, strerror(errno));
    while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0 && buffer_append(text, chunk, size))
        ;
    bool ok =
        ferror(file) == 0 || error_set(reterr_error, ERROR_SYSTEM, "could not read %s: %s", path, strerror(errno));
    fclose(file);
    if (ok && text->overflowed)
        ok = error_set(reterr_error, ERROR_INVALID, "%s: larger than %d KiB", path, INGEST_MAPPING_SIZE_MAX / 1024);
    return ok;
}

/* A mapping that is named: what has a dot or a slash in it is a file. */
static bool load_mapping(struct lead_file *file, struct error *reterr_error)
{
    const char *name = file->options->mapping;
    struct buffer text = {0};

    if (name == NULL)
        return true;
    if (strpbrk(name, "./") == NULL)
        return ingest_mapping_builtin(name, &file->mapping, reterr_error);
    buffer_init(&text, INGEST_MAPPING_SIZE_MAX);
    bool ok = read_mapping_file(name, &text, reterr_error) &&
              ingest_mapping_parse(buffer_text(&text), text.size, name, &file->mapping, reterr_error);
    buffer_release(&text);
    return ok;
}

static bool new_reader(struct lead_file *file, struct error *reterr_error)
{
    struct ingest_reader_options options = {0};
    const struct lead_file_options *given = file->options;

    if (file->mapping != NULL) {
        options.format = ingest_mapping_format(file->mapping);
        options.unwrap = ingest_mapping_unwrap(file->mapping);
    }
    options.header = given->has_no_header ? INGEST_HEADER_ABSENT : INGEST_HEADER_EXPECTED;
    if (given->encoding != NULL && !ingest_encoding_find(given->encoding, &options.encoding))
        return error_set(reterr_error, ERROR_INVALID,
            "--encoding: \"%s\" is none of utf-8, utf-16le, utf-16be, windows-1252, latin-1 and auto", given->encoding);
    if (given->delimiter != NULL) {
        options.delimiter = strcmp(given->delimiter, "tab") == 0 ? '\t' : given->delimiter[0];
        if (given->delimiter[0] == '\0' || (given->delimiter[1] != '\0' && options.delimiter != '\t'))
            return error_set(reterr_error, ERROR_INVALID, "--delimiter: must be one character, or tab");
    }
    return ingest_reader_new(&options, &file->reader, reterr_error);
}

/* The next step that is none of asking for more. */
static enum ingest_step step(struct lead_file *file, struct ingest_row *ret_row, struct error *reterr_error)
{
    for (;;) {
        enum ingest_step next = ingest_reader_next(file->reader, ret_row, reterr_error);
        if (next != INGEST_STEP_MORE)
            return next;
        size_t size = fread(file->chunk, 1, sizeof(file->chunk), file->file);
        if (size > 0) {
            ingest_reader_feed(file->reader, file->chunk, size);
        } else if (ferror(file->file) != 0) {
            (void)error_set(reterr_error, ERROR_SYSTEM, "could not read: %s", strerror(errno));
            return INGEST_STEP_FAILED;
        } else {
            ingest_reader_finish(file->reader);
        }
    }
}

static void describe(struct lead_file *file)
{
    const struct ingest_source *source = ingest_reader_source(file->reader);
    bool is_parted = source->format == INGEST_FORMAT_CSV && source->delimiter != ',';
    bool is_converted = source->encoding != INGEST_ENCODING_UTF_8;

    if (is_converted || is_parted)
        snprintf(file->finding, sizeof(file->finding), "%s%s%s", ingest_encoding_name(source->encoding),
            is_parted ? ", columns parted by " : "",
            !is_parted                  ? ""
            : source->delimiter == '\t' ? "tabs"
                                        : (const char[]){source->delimiter, '\0'});
}

static bool bind(struct lead_file *file, struct error *reterr_error)
{
    const struct ingest_source *source = ingest_reader_source(file->reader);

    describe(file);
    if (file->mapping == NULL) {
        char *text = flag_mapping_write(file->options->maps, file->options->blanks, source);
        bool ok = ingest_mapping_parse(text, strlen(text), "--map", &file->mapping, reterr_error);
        free(text);
        if (!ok)
            return false;
    }
    return ingest_binding_new(file->mapping, source, &file->binding, reterr_error);
}

bool lead_file_open(const struct lead_file_options *options, struct lead_file **ret_file, struct error *reterr_error)
{
    struct lead_file *file = memory_new(sizeof(*file));
    struct ingest_row ignored;

    file->options = options;
    file->scratch = arena_new(0);
    if (!open_file(file, reterr_error) || !load_mapping(file, reterr_error) || !new_reader(file, reterr_error) ||
        step(file, &ignored, reterr_error) != INGEST_STEP_STARTED || !bind(file, reterr_error)) {
        lead_file_close(file);
        return false;
    }
    *ret_file = file;
    return true;
}

void lead_file_close(struct lead_file *file)
{
    if (file == NULL)
        return;
    arena_free(file->scratch);
    ingest_binding_free(file->binding);
    ingest_reader_free(file->reader);
    ingest_mapping_free(file->mapping);
    if (file->file != NULL)
        fclose(file->file);
    free(file);
}

static Leadrouter__V1__NewLead *message(const struct ingest_lead *lead, struct arena *arena)
{
    static const size_t offsets[INGEST_FIELD_COUNT] = {
        [INGEST_FIELD_EXTERNAL_ID] = offsetof(Leadrouter__V1__NewLead, external_id),
        [INGEST_FIELD_EMAIL] = offsetof(Leadrouter__V1__NewLead, email),
        [INGEST_FIELD_PHONE] = offsetof(Leadrouter__V1__NewLead, phone),
        [INGEST_FIELD_FIRST_NAME] = offsetof(Leadrouter__V1__NewLead, first_name),
        [INGEST_FIELD_LAST_NAME] = offsetof(Leadrouter__V1__NewLead, last_name),
        [INGEST_FIELD_COMPANY_NAME] = offsetof(Leadrouter__V1__NewLead, company_name),
        [INGEST_FIELD_COMPANY_INDUSTRY] = offsetof(Leadrouter__V1__NewLead, company_industry),
        [INGEST_FIELD_COMPANY_SIZE] = offsetof(Leadrouter__V1__NewLead, company_size),
        [INGEST_FIELD_COMPANY_REVENUE] = offsetof(Leadrouter__V1__NewLead, company_revenue),
        [INGEST_FIELD_COUNTRY] = offsetof(Leadrouter__V1__NewLead, country),
        [INGEST_FIELD_STATE] = offsetof(Leadrouter__V1__NewLead, state),
        [INGEST_FIELD_CITY] = offsetof(Leadrouter__V1__NewLead, city),
        [INGEST_FIELD_POSTAL_CODE] = offsetof(Leadrouter__V1__NewLead, postal_code),
        [INGEST_FIELD_SOURCE] = offsetof(Leadrouter__V1__NewLead, source),
    };
    Leadrouter__V1__NewLead *result = arena_alloc(arena, sizeof(*result));

    leadrouter__v1__new_lead__init(result);
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        if (lead->fields[i][0] != '\0')
            *(char **)(void *)((char *)result + offsets[i]) = arena_copy_string(arena, lead->fields[i]);
    if (lead->attributes_json[0] != '\0')
        result->attributes_json = arena_copy_string(arena, lead->attributes_json);
    return result;
}

enum lead_file_step lead_file_next(struct lead_file *file, struct arena *arena, Leadrouter__V1__NewLead **ret_lead,
    uint64_t *ret_line, struct ingest_rejection *ret_rejection, struct error *reterr_error)
{
    struct ingest_row row;
    struct ingest_lead lead;
    enum ingest_step next = step(file, &row, reterr_error);

    if (next == INGEST_STEP_END)
        return LEAD_FILE_END;
    if (next == INGEST_STEP_FAILED)
        return LEAD_FILE_FAILED;
    *ret_line = row.line;
    arena_clear(file->scratch);
    if (!ingest_binding_apply(file->binding, &row, file->scratch, &lead, ret_rejection))
        return LEAD_FILE_REJECTED;
    *ret_lead = message(&lead, arena);
    return LEAD_FILE_LEAD;
}

double lead_file_fraction(const struct lead_file *file)
{
    return file->size > 0 ? (double)ingest_reader_offset(file->reader) / file->size : -1;
}

const char *lead_file_finding(const struct lead_file *file)
{
    return file->finding;
}

/* "us-500" for "data/us-500.csv". */
static char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = memory_copy_string(slash == NULL ? path : slash + 1);

    name[strcspn(name, ".")] = '\0';
    return name;
}

static bool suggest(struct lead_file *file, char **ret_yaml, struct error *reterr_error)
{
    struct ingest_suggester *suggester = NULL;
    struct ingest_row row;
    enum ingest_step next = step(file, &row, reterr_error);
    char *name = base_name(file->options->path);

    if (next == INGEST_STEP_STARTED) {
        suggester = ingest_suggester_new(ingest_reader_source(file->reader));
        for (size_t i = 0; i < INGEST_SUGGEST_ROWS_MAX && (next = step(file, &row, reterr_error)) == INGEST_STEP_ROW;
             i++)
            ingest_suggester_add(suggester, &row);
        if (next != INGEST_STEP_FAILED)
            *ret_yaml = ingest_suggester_write(suggester, name, NULL, NULL);
    }
    ingest_suggester_free(suggester);
    free(name);
    return next != INGEST_STEP_FAILED;
}

bool lead_file_suggest(const struct lead_file_options *options, char **ret_yaml, struct error *reterr_error)
{
    struct lead_file *file = memory_new(sizeof(*file));
    bool ok = false;

    file->options = options;
    ok = open_file(file, reterr_error) && new_reader(file, reterr_error) && suggest(file, ret_yaml, reterr_error);
    lead_file_close(file);
    return ok;
}
