/* Where a reader was, as JSON: what a new one needs to go on without the bytes before. */
#include <string.h>

#include <jansson.h>

#include "ingest/reader_internal.h"

enum { VERSION = 1 };

char *ingest_reader_checkpoint(const struct ingest_reader *reader)
{
    const struct decoder *decoder = &reader->decoder;
    bool is_json = reader->source.format == INGEST_FORMAT_JSON;
    bool is_inside = ingest_reader_offset(reader) != reader->end_offset; /* of a record with rows still to come */
    json_t *columns = json_array();
    char *text = NULL;

    for (size_t i = 0; i < reader->source.column_count; i++)
        json_array_append_new(columns, json_string(reader->source.columns[i]));
    json_t *checkpoint = json_pack("{si sI sI sI ss sb sb sI sI sI ss ss sb so sb si sb sI sb}", //
        "version", VERSION,                                                                      //
        "offset", (json_int_t)ingest_reader_offset(reader),                                      //
        "line", (json_int_t)(is_inside ? reader->json.line : reader->end_place.line),            //
        "row", (json_int_t)reader->row_count,                                                    //
        "encoding", ingest_encoding_name(decoder->encoding),                                     //
        "encoding_is_named", decoder->is_named,                                                  //
        "encoding_is_certain", decoder->is_certain,                                              //
        "utf8_count", (json_int_t)decoder->utf8_count,                                           //
        "other_count", (json_int_t)decoder->other_count,                                         //
        "other_offset", (json_int_t)decoder->other_offset,                                       //
        "format", ingest_format_name(reader->source.format),                                     //
        "delimiter", is_json ? "" : (const char[]){reader->source.delimiter, '\0'},              //
        "has_header", reader->source.has_header,                                                 //
        "columns", columns,                                                                      //
        "after_cr", !is_inside && reader->end_place.after_cr,                                    //
        "layout", (int)reader->json.layout,                                                      //
        "in_array", reader->json.in_array,                                                       //
        "item", (json_int_t)(is_inside ? reader->item : 0),                                      //
        "is_after_value", !is_inside && reader->json.is_after_value);
    text = json_dumps(checkpoint, JSON_COMPACT);
    json_decref(checkpoint);
    return text;
}

static bool load_columns(struct ingest_reader *reader, const json_t *columns)
{
    size_t count = json_array_size(columns);
    const char **names = arena_alloc_array(reader->names, count, sizeof(*names));

    if (count > INGEST_COLUMNS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(columns, i));
        if (name == NULL)
            return false;
        names[i] = arena_copy_string(reader->names, name);
    }
    reader->source.columns = names;
    reader->source.column_count = count;
    return true;
}

static bool load(struct ingest_reader *reader, json_t *checkpoint)
{
    struct decoder *decoder = &reader->decoder;
    json_int_t offset = 0, line = 0, row = 0, utf8_count = 0, other_count = 0, other_offset = 0, item = 0;
    const char *encoding = NULL, *format = NULL, *delimiter = NULL;
    int version = 0, named = 0, certain = 0, header = 0, after_cr = 0, layout = 0, in_array = 0, after_value = 0;
    json_t *columns = NULL;

    if (json_unpack(checkpoint, "{si sI sI sI ss sb sb sI sI sI ss ss sb so sb si sb sI sb !}", "version", &version,
            "offset", &offset, "line", &line, "row", &row, "encoding", &encoding, "encoding_is_named", &named,
            "encoding_is_certain", &certain, "utf8_count", &utf8_count, "other_count", &other_count, "other_offset",
            &other_offset, "format", &format, "delimiter", &delimiter, "has_header", &header, "columns", &columns,
            "after_cr", &after_cr, "layout", &layout, "in_array", &in_array, "item", &item, "is_after_value",
            &after_value) != 0 ||
        version != VERSION || offset < 0 || line < 1 || row < 0 || item < 0 || layout < JSON_LAYOUT_LINES ||
        layout > JSON_LAYOUT_ARRAY || !ingest_encoding_find(encoding, &decoder->encoding) ||
        !load_columns(reader, columns))
        return false;
    decoder->is_named = named != 0;
    decoder->is_certain = certain != 0;
    decoder->offset = (uint64_t)offset;
    decoder->utf8_count = (uint64_t)utf8_count;
    decoder->other_count = (uint64_t)other_count;
    decoder->other_offset = (uint64_t)other_offset;
    reader->source.format = strcmp(format, "json") == 0 ? INGEST_FORMAT_JSON : INGEST_FORMAT_CSV;
    reader->source.encoding = decoder->encoding;
    reader->source.has_header = header != 0;
    reader->row_count = (uint64_t)row;
    reader->end_offset = (uint64_t)offset;
    reader->end_place = (struct place){.line = (uint64_t)line, .after_cr = after_cr != 0};
    if (reader->source.format == INGEST_FORMAT_JSON) {
        json_rows_init(&reader->json, (enum json_layout)layout, reader->options.unwrap != NULL);
        reader->json.place = reader->end_place;
        reader->json.in_array = in_array != 0;
        reader->json.is_after_value = after_value != 0;
        reader->item = (size_t)item;
        return true;
    }
    if (reader->source.column_count == 0 || delimiter[0] == '\0')
        return false;
    reader->source.delimiter = delimiter[0];
    csv_rows_init(&reader->csv, delimiter[0]);
    reader->csv.place = reader->end_place;
    reader->csv.column_count = reader->source.column_count;
    return true;
}

bool reader_load_checkpoint(struct ingest_reader *reader, const char *checkpoint, struct error *reterr_error)
{
    json_t *value = json_loads(checkpoint, JSON_REJECT_DUPLICATES, NULL);
    bool ok = value != NULL && load(reader, value);

    json_decref(value);
    if (!ok)
        return error_set(reterr_error, ERROR_INVALID, "the checkpoint is none of this version");
    reader->has_begun = true;
    reader->has_started = true;
    reader->is_resumed = true;
    return true;
}
