/* What the suites in Python drive.
 *
 *     ingest_peer check < LINES            each line is a mapping as a JSON string; answers {} or {"error": "..."}
 *     ingest_peer rows MAPPING FILE        MAPPING: a name that is built in, or a file; one JSON object a row
 *     ingest_peer suggest FILE             the mapping that is proposed
 *     ingest_peer count MAPPING FILE       leads, rejected rows, seconds of the processor, and how large the process was
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "ingest/mapping.h"
#include "ingest/suggest.h"

enum { CHUNK_SIZE = 4096, EXIT_USAGE = 2 };

static bool read_file(const char *path, struct buffer *text)
{
    char chunk[CHUNK_SIZE];
    FILE *file = fopen(path, "re");
    size_t size = 0;

    if (file == NULL)
        return false;
    buffer_init(text, SIZE_MAX / 8);
    while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buffer_append(text, chunk, size);
    fclose(file);
    return true;
}

static void print(json_t *answer)
{
    json_dumpf(answer, stdout, JSON_COMPACT);
    json_decref(answer);
    putchar('\n');
    fflush(stdout);
}

static int check(void)
{
    char *line = NULL;
    size_t capacity = 0;

    while (getline(&line, &capacity, stdin) > 0) {
        json_t *text = json_loads(line, JSON_DECODE_ANY, NULL);
        struct ingest_mapping *mapping = NULL;
        struct error error = {0};
        bool ok = ingest_mapping_parse(json_string_value(text), json_string_length(text), "file", &mapping, &error);
        print(ok ? json_object() : json_pack("{ss}", "error", error.text));
        ingest_mapping_free(mapping);
        json_decref(text);
    }
    free(line);
    return EXIT_SUCCESS;
}

static bool load_mapping(const char *name, struct ingest_mapping **ret_mapping, struct error *reterr_error)
{
    struct buffer text = {0};

    if (strchr(name, '/') == NULL)
        return ingest_mapping_builtin(name, ret_mapping, reterr_error);
    if (!read_file(name, &text))
        return error_set(reterr_error, ERROR_SYSTEM, "could not open %s", name);
    bool ok = ingest_mapping_parse(buffer_text(&text), text.size, strrchr(name, '/') + 1, ret_mapping, reterr_error);
    buffer_release(&text);
    return ok;
}

static json_t *lead_value(const struct ingest_lead *lead)
{
    json_t *value = json_object();

    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        if (lead->fields[i][0] != '\0')
            json_object_set_new(value, ingest_field_name(i), json_string(lead->fields[i]));
    if (lead->attributes_json[0] != '\0')
        json_object_set_new(value, "attributes", json_loads(lead->attributes_json, JSON_REJECT_DUPLICATES, NULL));
    return value;
}

static void print_row(const struct ingest_binding *binding, const struct ingest_row *row)
{
    struct arena *arena = arena_new(0);
    struct ingest_lead lead;
    struct ingest_rejection rejection = {0};

    if (ingest_binding_apply(binding, row, arena, &lead, &rejection))
        print(lead_value(&lead));
    else
        print(json_pack("{s{ss ss} sI}", "rejected", "field", rejection.field, "reason", rejection.reason, "line",
            (json_int_t)row->line));
    arena_free(arena);
}

/* Everything at once; chunks are another test's matter. */
static bool read_rows(const struct ingest_mapping *mapping, const struct buffer *text, struct error *reterr_error)
{
    const struct ingest_reader_options options = {
        .format = ingest_mapping_format(mapping), .unwrap = ingest_mapping_unwrap(mapping)};
    struct ingest_reader *reader = ingest_reader_new(&options);
    struct ingest_binding *binding = NULL;
    struct ingest_row row;
    bool ok = true;
    enum ingest_step step = INGEST_STEP_MORE;

    ingest_reader_feed(reader, text->data, text->size);
    while (ok && (step = ingest_reader_next(reader, &row, reterr_error)) != INGEST_STEP_END) {
        if (step == INGEST_STEP_FAILED)
            ok = false;
        else if (step == INGEST_STEP_STARTED)
            ok = ingest_binding_new(mapping, ingest_reader_source(reader), &binding, reterr_error);
        else if (step == INGEST_STEP_ROW)
            print_row(binding, &row);
        else
            ingest_reader_finish(reader);
    }
    ingest_binding_free(binding);
    ingest_reader_free(reader);
    return ok;
}

static int rows(const char *name, const char *path)
{
    struct ingest_mapping *mapping = NULL;
    struct buffer text = {0};
    struct error error = {0};
    bool ok = load_mapping(name, &mapping, &error) && read_file(path, &text) && read_rows(mapping, &text, &error);

    if (!ok)
        print(json_pack("{ss}", "error", error.text));
    buffer_release(&text);
    ingest_mapping_free(mapping);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The most that this program ever had in memory; getrusage() counts what ran in the process before it as well. */
static json_int_t resident_max_kib(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];
    long size = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            size = strtol(line + 6, NULL, 10);
    if (file != NULL)
        fclose(file);
    return size;
}

/* A file in chunks, as an import reads it: memory does not grow with it. */
static int count(const char *name, const char *path)
{
    struct ingest_mapping *mapping = NULL;
    struct ingest_reader_options options = {0};
    struct ingest_reader *reader = NULL;
    struct ingest_binding *binding = NULL;
    struct arena *arena = arena_new(0);
    struct ingest_row row;
    struct ingest_lead lead;
    struct ingest_rejection rejection;
    struct error error = {0};
    struct rusage usage;
    char chunk[CHUNK_SIZE];
    json_int_t leads = 0;
    json_int_t rejected = 0;
    enum ingest_step step = INGEST_STEP_MORE;
    FILE *file = fopen(path, "re");
    bool ok = file != NULL && load_mapping(name, &mapping, &error);

    options.unwrap = ok ? ingest_mapping_unwrap(mapping) : NULL;
    reader = ingest_reader_new(&options);
    while (ok && (step = ingest_reader_next(reader, &row, &error)) != INGEST_STEP_END) {
        size_t size = step == INGEST_STEP_MORE ? fread(chunk, 1, sizeof(chunk), file) : 0;
        if (step == INGEST_STEP_STARTED)
            ok = ingest_binding_new(mapping, ingest_reader_source(reader), &binding, &error);
        else if (step == INGEST_STEP_FAILED)
            ok = false;
        else if (size > 0)
            ingest_reader_feed(reader, chunk, size);
        else if (step == INGEST_STEP_MORE)
            ingest_reader_finish(reader);
        else if (ingest_binding_apply(binding, &row, arena, &lead, &rejection))
            leads++;
        else
            rejected++;
        arena_clear(arena);
    }
    getrusage(RUSAGE_SELF, &usage);
    print(json_pack("{sI sI sf sI ss}", "leads", leads, "rejected", rejected, "cpu_s",
        (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6, "resident_max_kib", resident_max_kib(),
        "error", error.text));
    ingest_binding_free(binding);
    ingest_reader_free(reader);
    ingest_mapping_free(mapping);
    arena_free(arena);
    if (file != NULL)
        fclose(file);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Also counts: each column is suggested once. */
static int suggest(const char *path)
{
    const struct ingest_reader_options options = {0};
    struct ingest_reader *reader = ingest_reader_new(&options);
    struct ingest_suggester *suggester = NULL;
    const struct ingest_suggestion *suggestions = NULL;
    struct buffer text = {0};
    struct ingest_row row;
    struct error error = {0};
    enum ingest_step step = INGEST_STEP_MORE;
    size_t count = 0;
    bool ok = read_file(path, &text);

    if (ok)
        ingest_reader_feed(reader, text.data, text.size);
    while (ok && (step = ingest_reader_next(reader, &row, &error)) != INGEST_STEP_END) {
        ok = step != INGEST_STEP_FAILED;
        if (step == INGEST_STEP_STARTED)
            suggester = ingest_suggester_new(ingest_reader_source(reader));
        else if (step == INGEST_STEP_ROW)
            ingest_suggester_add(suggester, &row);
        else if (step == INGEST_STEP_MORE)
            ingest_reader_finish(reader);
    }
    if (ok) {
        char *yaml = ingest_suggester_write(suggester, "x", &suggestions, &count);
        fputs(yaml, stdout);
        free(yaml);
        for (size_t i = 0; i < count; i++)
            ok = ok && suggestions[i].column != NULL && suggestions[i].target != NULL &&
                 suggestions[i].confidence > 0 && suggestions[i].confidence <= 100 && suggestions[i].reason[0] != '\0';
    }
    ingest_suggester_free(suggester);
    ingest_reader_free(reader);
    buffer_release(&text);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return check();
    if (argc == 4 && strcmp(argv[1], "rows") == 0)
        return rows(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "count") == 0)
        return count(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "suggest") == 0)
        return suggest(argv[2]);
    fprintf(stderr, "usage: ingest_peer check | rows MAPPING FILE | suggest FILE | count MAPPING FILE\n");
    return EXIT_USAGE;
}
