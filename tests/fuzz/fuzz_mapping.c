/* Any bytes as a mapping: refused with the name of the file and a line, or compiled and applied to rows of both formats. In the
 * corpus, which has one input a line, ~ stands for LF. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "ingest/mapping.h"

static const char *const files[] = {
    "email,phone,m,a,b\nann@acme.example,504-555-0101,\"5045550101,5045550102\",\"Austin, TX, 78701\",Yes\nx,,,,\n",
    "{\"email\":\"ann@acme.example\",\"phone\":5045550101,\"a\":{\"city\":\"Ulm\",\"b\":[1,{\"c\":0.10}]},"
    "\"m\":[{\"n\":5045550101,\"rank\":2},{\"n\":5045550102,\"rank\":1,\"dnc\":true}],\"b\":true}\n{}\n",
};

static void apply(const struct ingest_mapping *mapping, const char *file)
{
    const struct ingest_reader_options options = {.unwrap = ingest_mapping_unwrap(mapping)};
    struct ingest_reader *reader = ingest_reader_new(&options);
    struct ingest_binding *binding = NULL;
    struct arena *arena = arena_new(0);
    struct ingest_row row;
    struct ingest_lead lead;
    struct ingest_rejection rejection = {.field = ""};
    struct error error = {0};
    bool ok = true;
    enum ingest_step step = INGEST_STEP_MORE;

    ingest_reader_feed(reader, file, strlen(file));
    while (ok && (step = ingest_reader_next(reader, &row, &error)) != INGEST_STEP_END) {
        assert(step != INGEST_STEP_FAILED);
        if (step == INGEST_STEP_MORE)
            ingest_reader_finish(reader);
        else if (step == INGEST_STEP_STARTED)
            ok = ingest_binding_new(mapping, ingest_reader_source(reader), &binding, &error);
        else if (!ingest_binding_apply(binding, &row, arena, &lead, &rejection))
            assert(rejection.reason[0] != '\0');
        else if (lead.attributes_json[0] != '\0') {
            json_t *attributes = json_loads(lead.attributes_json, JSON_REJECT_DUPLICATES, NULL);
            assert(json_is_object(attributes));
            json_decref(attributes);
        }
    }
    ingest_binding_free(binding);
    ingest_reader_free(reader);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = memory_new(size);
    struct ingest_mapping *mapping = NULL;
    struct error error = {0};

    for (size_t i = 0; i < size; i++)
        text[i] = (char)(data[i] == '~' ? '\n' : data[i]);
    if (!ingest_mapping_parse(text, size, "file", &mapping, &error))
        assert(error.code == ERROR_INVALID && strncmp(error.text, "file: ", 6) == 0);
    for (size_t i = 0; mapping != NULL && i < COUNT_OF(files); i++)
        apply(mapping, files[i]);
    ingest_mapping_free(mapping);
    free(text);
    return 0;
}
