#include "lead_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "flag_mapping.h"
#include "ingest/suggest.h"

enum { CHUNK_SIZE = 64 * 1024, HASH_CHUNK_SIZE = 256 * 1024, FINDING_SIZE = 100 };

/* Changes when the same bytes, mapping and flags would give other rows or leads. */
static const char fingerprint_version[] = "1";

struct lead_file {
    const struct lead_file_options *options;
    int descriptor;
    bool is_regular;
    struct stat status; /* as it was opened */
    struct ingest_mapping *mapping;
    char *mapping_text; /* of the mapping that was named */
    struct ingest_reader *reader;
    struct ingest_binding *binding;
    struct arena *scratch; /* of one row */
    char finding[FINDING_SIZE];
    char chunk[CHUNK_SIZE];
};

static bool open_file(struct lead_file *file, struct error *reterr_error)
{
    const char *path = file->options->path;

    file->descriptor = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file->descriptor < 0 || fstat(file->descriptor, &file->status) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "%s", strerror(errno));
    if (S_ISDIR(file->status.st_mode))
        return error_set(reterr_error, ERROR_SYSTEM, "is a directory");
    file->is_regular = S_ISREG(file->status.st_mode) && lseek(file->descriptor, 0, SEEK_CUR) == 0;
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

static bool load_mapping_file(struct lead_file *file, const char *path, struct error *reterr_error)
{
    struct buffer text = {0};

    buffer_init(&text, INGEST_MAPPING_SIZE_MAX);
    bool ok = read_mapping_file(path, &text, reterr_error) &&
              ingest_mapping_parse(buffer_text(&text), text.size, path, &file->mapping, reterr_error);
    if (ok)
        file->mapping_text = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    return ok;
}

/* A mapping that is named: what has a dot or a slash in it is a file. */
static bool load_mapping(struct lead_file *file, struct error *reterr_error)
{
    const char *name = file->options->mapping;

    if (name == NULL)
        return true;
    if (strpbrk(name, "./") != NULL)
        return load_mapping_file(file, name, reterr_error);
    if (!ingest_mapping_builtin(name, &file->mapping, reterr_error))
        return false;
    for (size_t i = 0; i < ingest_builtin_count; i++)
        if (strcmp(ingest_builtins[i].name, name) == 0)
            file->mapping_text = memory_copy_string(ingest_builtins[i].text);
    return true;
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
    file->reader = ingest_reader_new(&options);
    return true;
}

/* Some bytes; waits for them, unless it is told to stop (ERROR_CANCELLED). */
static bool read_some(struct lead_file *file, size_t *ret_size, struct error *reterr_error)
{
    struct pollfd places[] = {
        {.fd = file->descriptor, .events = POLLIN}, {.fd = file->options->stop_descriptor, .events = POLLIN}};
    ssize_t size = -1;

    do {
        if (poll(places, COUNT_OF(places), -1) < 0)
            continue;
        if (places[1].revents != 0)
            return error_set(reterr_error, ERROR_CANCELLED, "interrupted");
        size = read(file->descriptor, file->chunk, sizeof(file->chunk));
    } while (size < 0 && (errno == EINTR || errno == EAGAIN));
    if (size < 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not read: %s", strerror(errno));
    *ret_size = (size_t)size;
    return true;
}

/* The next step that is none of asking for more. */
static enum ingest_step step(struct lead_file *file, struct ingest_row *ret_row, struct error *reterr_error)
{
    for (;;) {
        enum ingest_step next = ingest_reader_next(file->reader, ret_row, reterr_error);
        size_t size = 0;
        if (next != INGEST_STEP_MORE)
            return next;
        if (!read_some(file, &size, reterr_error))
            return INGEST_STEP_FAILED;
        if (size > 0)
            ingest_reader_feed(file->reader, file->chunk, size);
        else
            ingest_reader_finish(file->reader);
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
    file->descriptor = -1;
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
    free(file->mapping_text);
    if (file->descriptor >= 0)
        close(file->descriptor);
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

enum lead_file_step lead_file_next(struct lead_file *file, struct ingest_row *ret_row, struct error *reterr_error)
{
    struct error error = {0};

    switch (step(file, ret_row, &error)) {
    case INGEST_STEP_ROW:
        return LEAD_FILE_ROW;
    case INGEST_STEP_FAILED:
        *reterr_error = error;
        return error.code == ERROR_CANCELLED ? LEAD_FILE_STOPPED : LEAD_FILE_FAILED;
    default:
        return LEAD_FILE_END;
    }
}

bool lead_file_map(struct lead_file *file, const struct ingest_row *row, struct arena *arena,
    Leadrouter__V1__NewLead **ret_lead, struct ingest_rejection *ret_rejection)
{
    struct ingest_lead lead;

    arena_clear(file->scratch);
    if (!ingest_binding_apply(file->binding, row, file->scratch, &lead, ret_rejection))
        return false;
    *ret_lead = message(&lead, arena);
    return true;
}

/* --- What tells it from others ------------------------------------------------------------------------------------ */

static bool add_text(EVP_MD_CTX *digest, const char *text)
{
    return EVP_DigestUpdate(digest, text == NULL ? "" : text, text == NULL ? 1 : strlen(text) + 1) == 1;
}

static bool add_list(EVP_MD_CTX *digest, const struct option_list *list)
{
    bool ok = add_text(digest, "list");

    for (size_t i = 0; ok && i < list->count; i++)
        ok = add_text(digest, list->values[i]);
    return ok;
}

/* How it is read. */
static bool add_options(const struct lead_file *file, EVP_MD_CTX *digest)
{
    const struct lead_file_options *options = file->options;

    return add_text(digest, fingerprint_version) && add_text(digest, options->encoding) &&
           add_text(digest, options->delimiter) && add_text(digest, options->has_no_header ? "1" : "0") &&
           add_text(digest, file->mapping_text) && add_list(digest, options->maps) && add_list(digest, options->blanks);
}

static bool add_content(const struct lead_file *file, EVP_MD_CTX *digest, struct error *reterr_error)
{
    struct pollfd stop = {.fd = file->options->stop_descriptor, .events = POLLIN};
    char *chunk = memory_new(HASH_CHUNK_SIZE);
    off_t offset = 0;
    ssize_t size = 0;
    bool ok = true;

    while (ok && (size = pread(file->descriptor, chunk, HASH_CHUNK_SIZE, offset)) > 0) {
        ok = EVP_DigestUpdate(digest, chunk, (size_t)size) == 1;
        offset += size;
        if (poll(&stop, 1, 0) > 0)
            ok = error_set(reterr_error, ERROR_CANCELLED, "interrupted");
    }
    if (ok && size < 0)
        ok = error_set(reterr_error, ERROR_SYSTEM, "could not read: %s", strerror(errno));
    free(chunk);
    return ok;
}

bool lead_file_fingerprint(
    struct lead_file *file, char ret_fingerprint[LEAD_FILE_FINGERPRINT_SIZE], bool *ret_has, struct error *reterr_error)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *digest = NULL;
    bool ok = true;

    *ret_has = file->is_regular;
    if (!file->is_regular)
        return true;
    digest = EVP_MD_CTX_new();
    ok = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 && add_options(file, digest);
    if (!ok)
        error_set(reterr_error, ERROR_INTERNAL, "SHA-256 is not to be had");
    ok = ok && add_content(file, digest, reterr_error) && EVP_DigestFinal_ex(digest, hash, NULL) == 1;
    EVP_MD_CTX_free(digest);
    for (size_t i = 0; ok && i < (LEAD_FILE_FINGERPRINT_SIZE - 1) / 2; i++)
        snprintf(ret_fingerprint + 2 * i, 3, "%02x", hash[i]);
    return ok;
}

bool lead_file_has_changed(const struct lead_file *file)
{
    struct stat now;

    return file->is_regular && fstat(file->descriptor, &now) == 0 &&
           (now.st_size != file->status.st_size || now.st_mtim.tv_sec != file->status.st_mtim.tv_sec ||
               now.st_mtim.tv_nsec != file->status.st_mtim.tv_nsec);
}

bool lead_file_is(const struct lead_file *file, const char *path)
{
    struct stat other;

    return stat(path, &other) == 0 && other.st_dev == file->status.st_dev && other.st_ino == file->status.st_ino;
}

/* --- About it ----------------------------------------------------------------------------------------------------- */

const struct ingest_source *lead_file_source(const struct lead_file *file)
{
    return ingest_reader_source(file->reader);
}

int64_t lead_file_offset(const struct lead_file *file)
{
    return (int64_t)ingest_reader_offset(file->reader);
}

int64_t lead_file_size(const struct lead_file *file)
{
    return file->is_regular ? (int64_t)file->status.st_size : 0;
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
    file->descriptor = -1;
    ok = open_file(file, reterr_error) && new_reader(file, reterr_error) && suggest(file, ret_yaml, reterr_error);
    lead_file_close(file);
    return ok;
}
