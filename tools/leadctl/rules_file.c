#include "rules_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/buffer.h"
#include "base/memory.h"

enum { FILE_SIZE_MAX = 16 * 1024 * 1024, DEPTH_MAX = 64, CHUNK_SIZE = 65536, NUMBER_TEXT_SIZE = 40 };

/* --- YAML in ------------------------------------------------------------------------------------------------------ */

static bool is_yaml_number(const char *text, json_t **ret_value)
{
    char *end = NULL;
    long long integer = 0;
    double real = 0;

    errno = 0;
    integer = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0') {
        *ret_value = json_integer(integer);
        return true;
    }
    if (strspn(text, "0123456789+-.eE") != strlen(text))
        return false;
    errno = 0;
    real = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    *ret_value = json_real(real);
    return true;
}

/* A scalar by the core schema of YAML 1.2 (section 10.3): what is quoted is a text. */
static json_t *scalar_value(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    json_t *value = NULL;

    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return json_stringn(text, event->data.scalar.length);
    if (*text == '\0' || strcmp(text, "null") == 0 || strcmp(text, "~") == 0)
        return json_null();
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return json_boolean(*text == 't');
    return is_yaml_number(text, &value) ? value : json_stringn(text, event->data.scalar.length);
}

static bool refuse(const yaml_parser_t *parser, const yaml_event_t *event, const char *what, struct error *reterr_error)
{
    size_t line = event != NULL ? event->start_mark.line : parser->problem_mark.line;

    return error_set(reterr_error, ERROR_INVALID, "line %zu: %s", line + 1, what);
}

static bool next_event(yaml_parser_t *parser, yaml_event_t *event, struct error *reterr_error)
{
    return yaml_parser_parse(parser, event) != 0 ||
           refuse(parser, NULL, parser->problem != NULL ? parser->problem : "not YAML", reterr_error);
}

static bool read_node(
    yaml_parser_t *parser, const yaml_event_t *event, unsigned depth, json_t **ret_value, struct error *reterr_error);

static bool read_sequence(yaml_parser_t *parser, unsigned depth, json_t **ret_value, struct error *reterr_error)
{
    json_t *array = json_array();
    bool ok = true;

    for (;;) {
        yaml_event_t event;
        json_t *item = NULL;
        ok = next_event(parser, &event, reterr_error);
        if (!ok)
            break;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            break;
        }
        ok = read_node(parser, &event, depth, &item, reterr_error);
        yaml_event_delete(&event);
        if (!ok)
            break;
        json_array_append_new(array, item);
    }
    if (!ok)
        json_decref(array);
    else
        *ret_value = array;
    return ok;
}

/* One key and its value into the object. */
static bool read_member(
    yaml_parser_t *parser, const yaml_event_t *key, unsigned depth, json_t *object, struct error *reterr_error)
{
    yaml_event_t event;
    json_t *value = NULL;
    bool ok = false;

    if (key->type != YAML_SCALAR_EVENT)
        return refuse(parser, key, "a key must be a text", reterr_error);
    if (json_object_get(object, (const char *)key->data.scalar.value) != NULL)
        return refuse(parser, key, "a key is there twice", reterr_error);
    if (!next_event(parser, &event, reterr_error))
        return false;
    ok = read_node(parser, &event, depth, &value, reterr_error);
    yaml_event_delete(&event);
    if (ok && json_object_set_new(object, (const char *)key->data.scalar.value, value) != 0)
        ok = refuse(parser, key, "not UTF-8", reterr_error);
    return ok;
}

static bool read_mapping(yaml_parser_t *parser, unsigned depth, json_t **ret_value, struct error *reterr_error)
{
    json_t *object = json_object();
    bool ok = true;

    for (;;) {
        yaml_event_t key;
        ok = next_event(parser, &key, reterr_error);
        if (!ok)
            break;
        if (key.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&key);
            break;
        }
        ok = read_member(parser, &key, depth, object, reterr_error);
        yaml_event_delete(&key);
        if (!ok)
            break;
    }
    if (!ok)
        json_decref(object);
    else
        *ret_value = object;
    return ok;
}

static bool read_node(
    yaml_parser_t *parser, const yaml_event_t *event, unsigned depth, json_t **ret_value, struct error *reterr_error)
{
    if (depth > DEPTH_MAX)
        return refuse(parser, event, "too deep", reterr_error);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        *ret_value = scalar_value(event);
        return *ret_value != NULL || refuse(parser, event, "a text with a NUL in it, or not UTF-8", reterr_error);
    case YAML_SEQUENCE_START_EVENT:
        return read_sequence(parser, depth + 1, ret_value, reterr_error);
    case YAML_MAPPING_START_EVENT:
        return read_mapping(parser, depth + 1, ret_value, reterr_error);
    case YAML_ALIAS_EVENT: /* a few of them can stand for gigabytes */
        return refuse(parser, event, "aliases (*name) are not allowed", reterr_error);
    default:
        return refuse(parser, event, "a value is missing", reterr_error);
    }
}

/* The one document of a text. */
static bool parse_yaml(const struct buffer *text, json_t **ret_value, struct error *reterr_error)
{
    yaml_parser_t parser;
    json_t *value = NULL;
    bool ok = true;
    bool is_over = false;

    yaml_parser_initialize(&parser);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const yaml_char_t *)buffer_text(text), text->size);
    while (ok && !is_over) {
        yaml_event_t event;
        ok = next_event(&parser, &event, reterr_error);
        if (!ok)
            break;
        is_over = event.type == YAML_STREAM_END_EVENT;
        if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
            event.type != YAML_DOCUMENT_END_EVENT && !is_over)
            ok = value == NULL ? read_node(&parser, &event, 0, &value, reterr_error)
                               : refuse(&parser, &event, "more than one document", reterr_error);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (ok && value == NULL)
        ok = error_set(reterr_error, ERROR_INVALID, "is empty");
    if (ok)
        *ret_value = value;
    else
        json_decref(value);
    return ok;
}

static bool parse_json(const struct buffer *text, json_t **ret_value, struct error *reterr_error)
{
    json_error_t problem = {0};
    json_t *value = json_loadb((const char *)text->data, text->size, JSON_REJECT_DUPLICATES, &problem);

    if (value == NULL)
        return error_set(reterr_error, ERROR_INVALID, "line %d: %s", problem.line, problem.text);
    *ret_value = value;
    return true;
}

static bool read_all(FILE *input, struct buffer *text, struct error *reterr_error)
{
    char chunk[CHUNK_SIZE];
    size_t size = 0;

    while ((size = fread(chunk, 1, sizeof(chunk), input)) > 0) {
        if (!buffer_append(text, chunk, size))
            return error_set(reterr_error, ERROR_INVALID, "larger than %d MiB", FILE_SIZE_MAX / 1024 / 1024);
    }
    if (ferror(input))
        return error_set(reterr_error, ERROR_SYSTEM, "could not be read: %s", strerror(errno));
    return true;
}

static bool read_file(const char *path, json_t **ret_value, struct error *reterr_error)
{
    bool is_standard_input = strcmp(path, "-") == 0;
    FILE *input = is_standard_input ? stdin : fopen(path, "rb");
    struct buffer text = {0};
    size_t first = 0;
    bool ok = false;

    if (input == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "could not open %s: %s", path, strerror(errno));
    buffer_init(&text, FILE_SIZE_MAX);
    ok = read_all(input, &text, reterr_error);
    if (ok) {
        first = strspn(buffer_text(&text), " \t\r\n");
        ok = buffer_text(&text)[first] == '{' ? parse_json(&text, ret_value, reterr_error)
                                              : parse_yaml(&text, ret_value, reterr_error);
    }
    if (!ok)
        error_add_context(reterr_error, "%s", is_standard_input ? "standard input" : path);
    buffer_release(&text);
    if (!is_standard_input)
        fclose(input);
    return ok;
}

/* --- Rules of a file ---------------------------------------------------------------------------------------------- */

static bool wrong(struct error *reterr_error, const char *list, size_t index, const char *key, const char *what)
{
    return error_set(reterr_error, ERROR_INVALID, "%s[%zu]%s%s: %s", list, index, *key == '\0' ? "" : ".", key, what);
}

static char *text_of(const json_t *value)
{
    return (char *)(uintptr_t)json_string_value(value); /* messages want char *, and do not write */
}

static bool load_rule(struct rules_file *file, size_t index, json_t *object, struct error *reterr_error)
{
    Leadrouter__V1__Rule *rule = &file->rules[index];
    const char *key = NULL;
    json_t *value = NULL;

    leadrouter__v1__rule__init(rule);
    rule->is_active = true;
    if (!json_is_object(object))
        return wrong(reterr_error, "rules", index, "", "must have a name, a destination and conditions");
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "name") == 0 && json_is_string(value))
            rule->name = text_of(value);
        else if (strcmp(key, "destination") == 0 && json_is_string(value))
            rule->destination_workspace_id = text_of(value);
        else if (strcmp(key, "priority") == 0 && json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
                 json_integer_value(value) <= INT32_MAX)
            rule->priority = (int32_t)json_integer_value(value);
        else if (strcmp(key, "active") == 0 && json_is_boolean(value))
            rule->is_active = json_is_true(value);
        else if (strcmp(key, "conditions") == 0 && json_is_object(value))
            rule->conditions_json = file->conditions[index] = json_dumps(value, JSON_COMPACT);
        else if (strcmp(key, "name") == 0 || strcmp(key, "destination") == 0)
            return wrong(reterr_error, "rules", index, key, "must be a text");
        else if (strcmp(key, "priority") == 0)
            return wrong(reterr_error, "rules", index, key, "must be a whole number of at most 32 bits");
        else if (strcmp(key, "active") == 0)
            return wrong(reterr_error, "rules", index, key, "must be true or false");
        else if (strcmp(key, "conditions") == 0)
            return wrong(reterr_error, "rules", index, key, "must be a mapping; {} takes every lead");
        else
            return wrong(reterr_error, "rules", index, key, "unknown key");
    }
    if (file->conditions[index] == NULL)
        return wrong(reterr_error, "rules", index, "conditions", "missing; {} takes every lead");
    return true;
}

static bool load_rules(struct rules_file *file, const json_t *array, struct error *reterr_error)
{
    size_t count = json_array_size(array);

    if (!json_is_array(array))
        return error_set(reterr_error, ERROR_INVALID, "rules: must be a list");
    file->rules = memory_new_array(count, sizeof(*file->rules));
    file->rule_pointers = memory_new_array(count, sizeof(*file->rule_pointers));
    file->conditions = memory_new_array(count, sizeof(*file->conditions));
    file->rule_count = count;
    for (size_t i = 0; i < count; i++) {
        file->rule_pointers[i] = &file->rules[i];
        if (!load_rule(file, i, json_array_get(array, i), reterr_error))
            return false;
    }
    return true;
}

static bool load_sets(struct rules_file *file, json_t *object, struct error *reterr_error)
{
    size_t count = json_object_size(object);
    const char *name = NULL;
    json_t *values = NULL;

    if (!json_is_object(object))
        return error_set(reterr_error, ERROR_INVALID, "sets: must be a mapping of names to lists");
    file->sets = memory_new_array(count, sizeof(*file->sets));
    file->set_pointers = memory_new_array(count, sizeof(*file->set_pointers));
    json_object_foreach(object, name, values)
    {
        Leadrouter__V1__NamedSet *set = &file->sets[file->set_count];
        leadrouter__v1__named_set__init(set);
        file->set_pointers[file->set_count++] = set;
        set->name = (char *)(uintptr_t)name;
        if (!json_is_array(values))
            return error_set(reterr_error, ERROR_INVALID, "sets.%s: must be a list of texts", name);
        set->values = memory_new_array(json_array_size(values), sizeof(*set->values));
        for (size_t i = 0; i < json_array_size(values); i++) {
            set->values[set->n_values] = text_of(json_array_get(values, i));
            if (set->values[set->n_values++] == NULL)
                return error_set(reterr_error, ERROR_INVALID, "sets.%s[%zu]: must be a text (quote numbers)", name, i);
        }
    }
    return true;
}

bool rules_file_load(const char *path, struct rules_file *ret_file, struct error *reterr_error)
{
    struct rules_file *file = ret_file;
    const char *key = NULL;
    json_t *value = NULL;
    bool ok = true;

    *file = (struct rules_file){0};
    if (!read_file(path, &file->value, reterr_error))
        return false;
    if (json_object_get(file->value, "rules") == NULL)
        ok = error_set(reterr_error, ERROR_INVALID, "must have \"rules\", and may have \"sets\"");
    json_object_foreach(file->value, key, value)
    {
        if (!ok)
            break;
        if (strcmp(key, "rules") == 0)
            ok = load_rules(file, value, reterr_error);
        else if (strcmp(key, "sets") == 0)
            ok = load_sets(file, value, reterr_error);
        else
            ok = error_set(reterr_error, ERROR_INVALID, "%s: unknown key", key);
    }
    if (!ok)
        error_add_context(reterr_error, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
    return ok;
}

void rules_file_release(struct rules_file *file)
{
    for (size_t i = 0; i < file->rule_count; i++)
        free(file->conditions[i]);
    for (size_t i = 0; i < file->set_count; i++)
        free(file->sets[i].values);
    free(file->conditions);
    free(file->rules);
    free(file->rule_pointers);
    free(file->sets);
    free(file->set_pointers);
    json_decref(file->value);
    *file = (struct rules_file){0};
}

/* --- Out ---------------------------------------------------------------------------------------------------------- */

/* Conditions with the keys of tests in the order in which people write them; the database keeps another. */
static json_t *in_order(const json_t *conditions)
{
    static const char *const first[] = {"field", "op", "value", "case"};
    json_t *copy = json_is_array(conditions) ? json_array() : json_object();
    const char *key = NULL;
    json_t *value = NULL;

    for (size_t i = 0; i < json_array_size(conditions); i++)
        json_array_append_new(copy, in_order(json_array_get(conditions, i)));
    if (!json_is_object(conditions)) {
        if (json_is_array(conditions))
            return copy;
        json_decref(copy);
        return json_incref((json_t *)(uintptr_t)conditions);
    }
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        if (json_object_get(conditions, first[i]) != NULL)
            json_object_set_new(copy, first[i], in_order(json_object_get(conditions, first[i])));
    }
    json_object_foreach((json_t *)(uintptr_t)conditions, key, value)
    {
        if (json_object_get(copy, key) == NULL)
            json_object_set_new(copy, key, in_order(value));
    }
    return copy;
}

json_t *rules_file_value(const Leadrouter__V1__ListRulesResponse *response)
{
    json_t *rules = json_array();
    json_t *sets = json_object();
    json_t *file = json_object();

    for (size_t i = 0; i < response->n_rules; i++) {
        const Leadrouter__V1__Rule *rule = response->rules[i];
        json_t *entry = json_pack("{ss, si, ss}", "name", rule->name, "priority", (int)rule->priority, "destination",
            rule->destination_workspace_id);
        if (!rule->is_active)
            json_object_set_new(entry, "active", json_false());
        json_t *conditions = json_loads(rule->conditions_json, 0, NULL);
        json_object_set_new(entry, "conditions", in_order(conditions));
        json_decref(conditions);
        json_array_append_new(rules, entry);
    }
    for (size_t i = 0; i < response->n_sets; i++) {
        json_t *values = json_array();
        for (size_t k = 0; k < response->sets[i]->n_values; k++)
            json_array_append_new(values, json_string(response->sets[i]->values[k]));
        json_object_set_new(sets, response->sets[i]->name, values);
    }
    json_object_set_new(file, "rules", rules);
    json_object_set_new(file, "sets", sets);
    return file;
}

/* A list or mapping that is short is written on one line. */
static bool is_flow(const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    bool is_short = strlen(text) <= 100;

    free(text);
    return is_short;
}

static bool emit(yaml_emitter_t *emitter, const json_t *value, unsigned depth);

static bool emit_text(yaml_emitter_t *emitter, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t event;

    return yaml_scalar_event_initialize(
               &event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1, style) != 0 &&
           yaml_emitter_emit(emitter, &event) != 0;
}

/* A text that would be read as something else is quoted. */
static bool emit_string(yaml_emitter_t *emitter, const char *text)
{
    json_t *other = NULL;
    bool is_other = *text == '\0' || strcmp(text, "null") == 0 || strcmp(text, "~") == 0 || strcmp(text, "true") == 0 ||
                    strcmp(text, "false") == 0 || is_yaml_number(text, &other);

    json_decref(other);
    return emit_text(emitter, text, is_other ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE);
}

static bool emit_array(yaml_emitter_t *emitter, const json_t *array, unsigned depth)
{
    yaml_sequence_style_t style = depth > 1 && is_flow(array) ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE;
    yaml_event_t event;
    bool ok = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style) != 0 &&
              yaml_emitter_emit(emitter, &event) != 0;

    for (size_t i = 0; ok && i < json_array_size(array); i++)
        ok = emit(emitter, json_array_get(array, i), depth + 1);
    return ok && yaml_sequence_end_event_initialize(&event) != 0 && yaml_emitter_emit(emitter, &event) != 0;
}

static bool emit_object(yaml_emitter_t *emitter, const json_t *object, unsigned depth)
{
    yaml_mapping_style_t style = depth > 2 && is_flow(object) ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE;
    yaml_event_t event;
    const char *key = NULL;
    json_t *value = NULL;
    bool ok = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style) != 0 &&
              yaml_emitter_emit(emitter, &event) != 0;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        ok = ok && emit_string(emitter, key) && emit(emitter, value, depth + 1);
    }
    return ok && yaml_mapping_end_event_initialize(&event) != 0 && yaml_emitter_emit(emitter, &event) != 0;
}

static bool emit(yaml_emitter_t *emitter, const json_t *value, unsigned depth)
{
    char *text = NULL;
    bool ok = false;

    if (json_is_object(value))
        return emit_object(emitter, value, depth);
    if (json_is_array(value))
        return emit_array(emitter, value, depth);
    if (json_is_string(value))
        return emit_string(emitter, json_string_value(value));
    text = json_dumps(value, JSON_ENCODE_ANY);
    ok = emit_text(emitter, text, YAML_PLAIN_SCALAR_STYLE);
    free(text);
    return ok;
}

bool rules_file_write(FILE *output, const json_t *value)
{
    yaml_emitter_t emitter;
    yaml_event_t event;
    bool ok = false;

    yaml_emitter_initialize(&emitter);
    yaml_emitter_set_output_file(&emitter, output);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, 120);
    ok = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) != 0 &&
         yaml_emitter_emit(&emitter, &event) != 0 &&
         yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) != 0 &&
         yaml_emitter_emit(&emitter, &event) != 0 && emit(&emitter, value, 0) &&
         yaml_document_end_event_initialize(&event, 1) != 0 && yaml_emitter_emit(&emitter, &event) != 0 &&
         yaml_stream_end_event_initialize(&event) != 0 && yaml_emitter_emit(&emitter, &event) != 0;
    yaml_emitter_delete(&emitter);
    return ok;
}
