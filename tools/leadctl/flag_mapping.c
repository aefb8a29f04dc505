#include "flag_mapping.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "ingest/json_path.h"
#include "ingest/normalize.h"

enum { LIST_SIZE = 400 };

static const char ATTRIBUTES[] = "attributes.";

static bool is_attribute(const char *text, size_t size)
{
    return size > strlen(ATTRIBUTES) && strncmp(text, ATTRIBUTES, strlen(ATTRIBUTES)) == 0;
}

/* Size of what stands before the "="; `text` has one. */
static size_t target_size(const char *text)
{
    return strcspn(text, "=");
}

static bool check_text(const char *text, struct error *reterr_error)
{
    const char *equals = strchr(text, '=');
    char known[LIST_SIZE] = "";
    enum ingest_field field = INGEST_FIELD_COUNT;

    if (equals == NULL || equals[1] == '\0')
        return error_set(reterr_error, ERROR_INVALID, "--map %s: must be FIELD=COLUMN", text);
    if (ingest_field_find(text, target_size(text), &field) || is_attribute(text, target_size(text)))
        return true;
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", ingest_field_name(i));
    }
    return error_set(reterr_error, ERROR_INVALID,
        "--map: \"%.*s\" is not a field of a lead; there are %s, and attributes.NAME", (int)target_size(text), text,
        known);
}

bool flag_mapping_check(const struct option_list *texts, struct error *reterr_error)
{
    for (size_t i = 0; i < texts->count; i++) {
        if (!check_text(texts->values[i], reterr_error))
            return false;
        for (size_t k = 0; k < i; k++)
            if (target_size(texts->values[k]) == target_size(texts->values[i]) &&
                strncmp(texts->values[k], texts->values[i], target_size(texts->values[i])) == 0)
                return error_set(reterr_error, ERROR_INVALID, "--map: %.*s is given twice",
                    (int)target_size(texts->values[i]), texts->values[i]);
    }
    return true;
}

/* The text for a field, or NULL. */
static const char *text_of(const struct option_list *texts, const char *field)
{
    for (size_t i = 0; i < texts->count; i++)
        if (target_size(texts->values[i]) == strlen(field) && strncmp(texts->values[i], field, strlen(field)) == 0)
            return texts->values[i] + strlen(field) + 1;
    return NULL;
}

static bool has_column(const struct ingest_source *source, const char *name)
{
    for (size_t i = 0; i < source->column_count; i++)
        if (ingest_name_is_like(source->columns[i], name, strlen(name)))
            return true;
    return source->format == INGEST_FORMAT_JSON;
}

static void write_member(struct buffer *yaml, const char *separator, const char *key, size_t size, const char *value)
{
    buffer_append_string(yaml, separator);
    buffer_append_json_string(yaml, key, size);
    buffer_append_string(yaml, ": ");
    buffer_append_json_string(yaml, value, strlen(value));
}

char *flag_mapping_write(
    const struct option_list *texts, const struct option_list *blanks, const struct ingest_source *source)
{
    struct buffer yaml = {0};
    const char *separator = "";

    buffer_init(&yaml, SIZE_MAX / 8);
    buffer_append_string(&yaml, "{\"fields\": {");
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++) {
        const char *name = ingest_field_name(i);
        const char *column = text_of(texts, name);
        if (column == NULL && !has_column(source, name))
            continue;
        write_member(&yaml, separator, name, strlen(name), column != NULL ? column : name);
        separator = ", ";
    }
    if (separator[0] == '\0') /* a mapping has one field at least */
        buffer_append_string(&yaml, "\"source\": {\"constant\": \"\"}");
    buffer_append_string(&yaml, "}, \"attributes\": {");
    separator = "";
    for (size_t i = 0; i < texts->count; i++) {
        size_t size = target_size(texts->values[i]);
        if (!is_attribute(texts->values[i], size))
            continue;
        write_member(&yaml, separator, texts->values[i] + strlen(ATTRIBUTES), size - strlen(ATTRIBUTES),
            texts->values[i] + size + 1);
        separator = ", ";
    }
    buffer_append_string(&yaml, "}");
    for (size_t i = 0; i < blanks->count; i++) {
        buffer_append_string(&yaml, i == 0 ? ", \"blanks\": [" : ", ");
        buffer_append_json_string(&yaml, blanks->values[i], strlen(blanks->values[i]));
    }
    buffer_append_string(&yaml, blanks->count > 0 ? "]}" : "}");
    char *text = memory_copy_string(buffer_text(&yaml));
    buffer_release(&yaml);
    return text;
}
