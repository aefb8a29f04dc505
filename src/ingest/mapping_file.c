/* From the text of a mapping to a compiled one. JSON is read as the YAML that it is, so that every fault has a line. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/memory.h"
#include "base/text.h"
#include "ingest/json_path.h"
#include "ingest/mapping_internal.h"

enum {
    PATH_SIZE = 200,
    DEPTH_MAX = 6,        /* of alternatives within alternatives */
    ITEMS_MAX = 2000,     /* of one list or mapping */
    TEXT_SIZE_MAX = 1000, /* bytes of one text */
    NODES_MAX = 20000,
};

/* Where the compiler is. */
struct compiler {
    yaml_document_t *document;
    struct ingest_mapping *mapping;
    bool *is_seen; /* nodes by number: one that is met twice is an alias */
    const char *file;
    struct error *error;
    char path[PATH_SIZE]; /* "fields.email.from[0]" */
};

static bool refuse(struct compiler *compiler, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(struct compiler *compiler, const yaml_node_t *node, const char *format, ...)
{
    char what[ERROR_TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return error_set(compiler->error, ERROR_INVALID, "%s: line %zu: %s%s%s", compiler->file, node->start_mark.line + 1,
        compiler->path, compiler->path[0] == '\0' ? "" : ": ", what);
}

/* Steps into a member or an element; what it gives takes leave() back again. */
static size_t enter(struct compiler *compiler, const char *key)
{
    size_t size = strlen(compiler->path);

    (void)snprintf(compiler->path + size, sizeof(compiler->path) - size, "%s%.60s", size == 0 ? "" : ".", key);
    return size;
}

static size_t enter_element(struct compiler *compiler, size_t index)
{
    size_t size = strlen(compiler->path);

    (void)snprintf(compiler->path + size, sizeof(compiler->path) - size, "[%zu]", index);
    return size;
}

static void leave(struct compiler *compiler, size_t size)
{
    compiler->path[size] = '\0';
}

static const char *scalar(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* The node of a number, unless it was met before. */
static bool get(struct compiler *compiler, int number, yaml_node_t **ret_node)
{
    yaml_node_t *node = yaml_document_get_node(compiler->document, number);

    if (number > NODES_MAX)
        return refuse(compiler, node, "the mapping is too large");
    if (compiler->is_seen[number])
        return refuse(compiler, node, "aliases are not taken");
    compiler->is_seen[number] = true;
    *ret_node = node;
    return true;
}

/* --- Pieces -------------------------------------------------------------------------------------------------------- */

/* By the core schema of YAML 1.2 (section 10.3). */
static bool is_null(const yaml_node_t *node)
{
    const char *text = scalar(node);

    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static bool read_text(struct compiler *compiler, const yaml_node_t *node, const char **ret_text)
{
    if (node->type != YAML_SCALAR_NODE)
        return refuse(compiler, node, "must be a text");
    if (is_null(node))
        return refuse(compiler, node, "must be a text; in quotes, if null is meant as one");
    if (strlen(scalar(node)) != node->data.scalar.length)
        return refuse(compiler, node, "contains a NUL");
    if (node->data.scalar.length > TEXT_SIZE_MAX)
        return refuse(compiler, node, "longer than %d bytes", TEXT_SIZE_MAX);
    *ret_text = arena_copy(compiler->mapping->arena, scalar(node), node->data.scalar.length);
    return true;
}

/* A text that is not blank. */
static bool read_name(struct compiler *compiler, const yaml_node_t *node, const char **ret_text)
{
    return read_text(compiler, node, ret_text) &&
           (!text_is_blank(*ret_text) || refuse(compiler, node, "must not be blank"));
}

static const char *folded(struct compiler *compiler, const char *text)
{
    char *result = arena_alloc(compiler->mapping->arena, TEXT_CAPACITY(strlen(text)));
    size_t ignored = 0;
    bool ok = text_normalize(text, strlen(text), TEXT_FOLD, result, TEXT_CAPACITY(strlen(text)), &ignored);

    return ok ? result : "";
}

static size_t item_count(const yaml_node_t *list)
{
    return (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
}

static size_t pair_count(const yaml_node_t *map)
{
    return (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
}

static bool check_list(struct compiler *compiler, const yaml_node_t *node)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(compiler, node, "must be a list");
    if (item_count(node) == 0 || item_count(node) > ITEMS_MAX)
        return refuse(compiler, node, "must have 1 to %d items", ITEMS_MAX);
    return true;
}

/* Texts of a list, or one text by itself. */
static bool read_list(struct compiler *compiler, const yaml_node_t *node, const char ***ret_items, size_t *ret_count)
{
    size_t count = node->type == YAML_SEQUENCE_NODE ? item_count(node) : 1;
    const char **items = arena_alloc_array(compiler->mapping->arena, count + 1, sizeof(*items));

    *ret_items = items;
    *ret_count = count;
    if (node->type == YAML_SCALAR_NODE)
        return read_name(compiler, node, &items[0]);
    if (!check_list(compiler, node))
        return false;
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = NULL;
        size_t before = enter_element(compiler, i);
        if (!get(compiler, node->data.sequence.items.start[i], &item) || !read_name(compiler, item, &items[i]))
            return false;
        leave(compiler, before);
    }
    return true;
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static bool read_folded(struct compiler *compiler, const yaml_node_t *node, struct mapping_texts *ret_texts)
{
    if (!read_list(compiler, node, &ret_texts->items, &ret_texts->count))
        return false;
    for (size_t i = 0; i < ret_texts->count; i++)
        ret_texts->items[i] = folded(compiler, ret_texts->items[i]);
    qsort(ret_texts->items, ret_texts->count, sizeof(*ret_texts->items), compare_texts);
    return true;
}

static bool read_boolean(struct compiler *compiler, const yaml_node_t *node, bool *ret_value)
{
    bool is_plain = node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (!is_plain || (strcmp(scalar(node), "true") != 0 && strcmp(scalar(node), "false") != 0))
        return refuse(compiler, node, "must be true or false");
    *ret_value = strcmp(scalar(node), "true") == 0;
    return true;
}

/* One of several words; its number. */
static bool read_word(
    struct compiler *compiler, const yaml_node_t *node, const char *const *words, size_t count, size_t *ret_number)
{
    char known[PATH_SIZE] = "";

    for (size_t i = 0; node->type == YAML_SCALAR_NODE && i < count; i++)
        if (strcmp(words[i], scalar(node)) == 0) {
            *ret_number = i;
            return true;
        }
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    return refuse(compiler, node, "must be one of %s", known);
}

/* The number of a column or path. */
static bool read_ref(struct compiler *compiler, const yaml_node_t *node, int *ret_ref)
{
    struct ingest_mapping *mapping = compiler->mapping;
    const char *name = NULL;

    if (!read_name(compiler, node, &name))
        return false;
    for (size_t i = 0; i < mapping->ref_count; i++)
        if (strcmp(mapping->refs[i], name) == 0) {
            *ret_ref = (int)i;
            return true;
        }
    if (mapping->ref_count == MAPPING_REFS_MAX)
        return refuse(compiler, node, "more than %d columns are named", MAPPING_REFS_MAX);
    *ret_ref = (int)mapping->ref_count;
    mapping->refs[mapping->ref_count++] = name;
    return true;
}

/* --- Members ------------------------------------------------------------------------------------------------------- */

typedef bool (*member_reader)(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target);

/* Gives every member of a mapping to a function, with the path set; no key twice. */
static bool each_member(struct compiler *compiler, const yaml_node_t *node, member_reader read, void *target)
{
    if (node->type != YAML_MAPPING_NODE)
        return refuse(compiler, node, "must be a mapping of keys to values");
    if (pair_count(node) > ITEMS_MAX)
        return refuse(compiler, node, "must have at most %d members", ITEMS_MAX);
    for (size_t i = 0; i < pair_count(node); i++) {
        const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
        yaml_node_t *key = NULL;
        yaml_node_t *value = NULL;
        const char *name = NULL;
        if (!get(compiler, pair->key, &key) || !read_name(compiler, key, &name))
            return false;
        size_t before = enter(compiler, name);
        for (size_t k = 0; k < i; k++) {
            const yaml_node_t *other =
                yaml_document_get_node(compiler->document, node->data.mapping.pairs.start[k].key);
            if (strcmp(scalar(other), name) == 0)
                return refuse(compiler, key, "is there twice");
        }
        if (!get(compiler, pair->value, &value) || !read(compiler, name, value, target))
            return false;
        leave(compiler, before);
    }
    return true;
}

static bool unknown_key(struct compiler *compiler, const yaml_node_t *node)
{
    return refuse(compiler, node, "unknown key");
}

struct tests {
    struct mapping_test *items;
    size_t count;
};

static bool check_path(struct compiler *compiler, const yaml_node_t *node, const char *path)
{
    return json_path_is_valid(path) || refuse(compiler, node, "\"%.60s\" is not a path", path);
}

static bool read_test(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    struct tests *tests = target;
    struct mapping_test *test = &tests->items[tests->count++];

    test->path = key;
    return check_path(compiler, value, key) && read_folded(compiler, value, &test->values);
}

static bool read_tests(
    struct compiler *compiler, const yaml_node_t *node, struct mapping_test **ret_items, size_t *ret_count)
{
    struct tests tests = {0};

    if (node->type == YAML_MAPPING_NODE)
        tests.items = arena_alloc_array(compiler->mapping->arena, pair_count(node), sizeof(*tests.items));
    if (!each_member(compiler, node, read_test, &tests))
        return false;
    *ret_items = tests.items;
    *ret_count = tests.count;
    return true;
}

static bool read_order(struct compiler *compiler, const yaml_node_t *value, struct mapping_pick *pick)
{
    if (!read_list(compiler, value, &pick->order, &pick->order_count))
        return false;
    for (size_t i = 0; i < pick->order_count; i++)
        if (!check_path(compiler, value, pick->order[i] + (pick->order[i][0] == '-')))
            return false;
    return true;
}

static bool read_pick_member(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    struct mapping_pick *pick = target;

    if (strcmp(key, "where") == 0)
        return read_tests(compiler, value, &pick->where, &pick->where_count);
    if (strcmp(key, "where_not") == 0)
        return read_tests(compiler, value, &pick->where_not, &pick->where_not_count);
    if (strcmp(key, "order") == 0)
        return read_order(compiler, value, pick);
    if (strcmp(key, "take") == 0)
        return read_name(compiler, value, &pick->take) && check_path(compiler, value, pick->take);
    return unknown_key(compiler, value);
}

struct values {
    struct mapping_value *items;
    size_t count;
};

static bool read_value(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    struct values *values = target;
    struct mapping_value *item = &values->items[values->count++];

    item->from = folded(compiler, key);
    return read_text(compiler, value, &item->to);
}

static int compare_values(const void *left, const void *right)
{
    return strcmp(((const struct mapping_value *)left)->from, ((const struct mapping_value *)right)->from);
}

static bool read_values(struct compiler *compiler, const yaml_node_t *node, struct mapping_spec *spec)
{
    struct values values = {0};

    if (node->type == YAML_MAPPING_NODE)
        values.items = arena_alloc_array(compiler->mapping->arena, pair_count(node), sizeof(*values.items));
    if (!each_member(compiler, node, read_value, &values))
        return false;
    if (values.count == 0)
        return refuse(compiler, node, "must have a member");
    qsort(values.items, values.count, sizeof(*values.items), compare_values);
    for (size_t i = 1; i < values.count; i++)
        if (strcmp(values.items[i - 1].from, values.items[i].from) == 0)
            return refuse(compiler, node, "\"%.60s\" is there twice, letter case aside", values.items[i].from);
    spec->values = values.items;
    spec->value_count = values.count;
    return true;
}

/* --- Where a value comes from --------------------------------------------------------------------------------------- */

/* What is being read: a field or attribute, or an alternative of one. */
struct spec_reader {
    struct mapping_spec *spec;
    size_t depth;
    bool is_alternative;
    bool is_attribute;
};

static bool read_spec(struct compiler *compiler, const yaml_node_t *node, struct spec_reader reader);

static struct mapping_spec *new_spec(struct compiler *compiler)
{
    struct mapping_spec *spec = arena_alloc(compiler->mapping->arena, sizeof(*spec));

    spec->ref = MAPPING_NO_REF;
    spec->unless = MAPPING_NO_REF;
    return spec;
}

static bool read_alternative(struct compiler *compiler, const yaml_node_t *node, const struct spec_reader *reader,
    struct mapping_spec **ret_spec)
{
    const struct spec_reader alternative = {.spec = new_spec(compiler),
        .depth = reader->depth + 1,
        .is_alternative = true,
        .is_attribute = reader->is_attribute};

    *ret_spec = alternative.spec;
    return read_spec(compiler, node, alternative);
}

static bool read_from(struct compiler *compiler, const yaml_node_t *node, const struct spec_reader *reader)
{
    struct mapping_spec *spec = reader->spec;
    size_t count = node->type == YAML_SEQUENCE_NODE ? item_count(node) : 1;

    if (reader->depth == DEPTH_MAX)
        return refuse(compiler, node, "too deep");
    spec->from = arena_alloc_array(compiler->mapping->arena, count, sizeof(struct mapping_spec *));
    spec->from_count = count;
    if (node->type != YAML_SEQUENCE_NODE)
        return read_alternative(compiler, node, reader, &spec->from[0]);
    if (!check_list(compiler, node))
        return false;
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = NULL;
        size_t before = enter_element(compiler, i);
        if (!get(compiler, node->data.sequence.items.start[i], &item) ||
            !read_alternative(compiler, item, reader, &spec->from[i]))
            return false;
        leave(compiler, before);
    }
    return true;
}

static bool read_change(struct compiler *compiler, const char *key, const yaml_node_t *value, struct mapping_spec *spec)
{
    static const char *const otherwise[] = {"keep", "drop", "reject"};
    static const char *const ends[] = {"first", "last"};
    size_t number = 0;

    if (strcmp(key, "values") == 0)
        return read_values(compiler, value, spec);
    if (strcmp(key, "otherwise") == 0) {
        bool ok = read_word(compiler, value, otherwise, COUNT_OF(otherwise), &number);
        spec->otherwise = (enum mapping_otherwise)number;
        return ok;
    }
    if (strcmp(key, "blanks") == 0)
        return read_folded(compiler, value, &spec->blanks);
    if (strcmp(key, "split") == 0)
        return read_text(compiler, value, &spec->split) &&
               (spec->split[0] != '\0' || refuse(compiler, value, "must not be empty"));
    if (strcmp(key, "take") == 0) {
        bool ok = read_word(compiler, value, ends, COUNT_OF(ends), &number);
        spec->takes_last = number == 1;
        return ok;
    }
    if (strcmp(key, "unless") == 0)
        return read_ref(compiler, value, &spec->unless);
    if (strcmp(key, "part") == 0) {
        const char *parts[INGEST_PART_COUNT - 1];
        for (size_t i = 0; i < COUNT_OF(parts); i++)
            parts[i] = ingest_part_name((enum ingest_part)(i + 1));
        bool ok = read_word(compiler, value, parts, COUNT_OF(parts), &number);
        spec->part = (enum ingest_part)(number + 1);
        return ok;
    }
    return unknown_key(compiler, value);
}

static bool read_spec_member(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    static const char *const invalid[] = {"reject", "drop", "keep"};
    static const char *const types[] = {"text", "number", "boolean"};
    const struct spec_reader *reader = target;
    struct mapping_spec *spec = reader->spec;
    size_t number = 0;

    if (strcmp(key, "from") == 0)
        return read_from(compiler, value, reader);
    if (strcmp(key, "constant") == 0)
        return read_text(compiler, value, &spec->constant);
    if (strcmp(key, "pick") == 0) {
        struct mapping_pick *pick = arena_alloc(compiler->mapping->arena, sizeof(*pick));
        spec->pick = pick;
        return each_member(compiler, value, read_pick_member, pick);
    }
    if (!reader->is_alternative && strcmp(key, "default") == 0)
        return read_text(compiler, value, &spec->fallback);
    if (!reader->is_alternative && !reader->is_attribute && strcmp(key, "invalid") == 0) {
        bool ok = read_word(compiler, value, invalid, COUNT_OF(invalid), &number);
        spec->invalid = (enum mapping_invalid)(number + 1);
        return ok;
    }
    if (!reader->is_alternative && reader->is_attribute && strcmp(key, "type") == 0) {
        bool ok = read_word(compiler, value, types, COUNT_OF(types), &number);
        spec->type = (enum mapping_type)(number + 1);
        return ok;
    }
    return read_change(compiler, key, value, spec);
}

static bool check_spec(struct compiler *compiler, const yaml_node_t *node, const struct mapping_spec *spec)
{
    bool has_change = spec->pick != NULL || spec->values != NULL || spec->split != NULL || spec->blanks.count > 0 ||
                      spec->part != INGEST_PART_NONE || spec->unless != MAPPING_NO_REF;

    if (spec->from == NULL && spec->constant == NULL)
        return refuse(compiler, node, "must have \"from\" or \"constant\"");
    if (spec->constant != NULL && (spec->from != NULL || has_change || spec->fallback != NULL))
        return refuse(compiler, node, "\"constant\" stands by itself");
    if (spec->takes_last && spec->split == NULL)
        return refuse(compiler, node, "\"take\" needs \"split\"");
    if (spec->otherwise != MAPPING_OTHERWISE_KEEP && spec->values == NULL)
        return refuse(compiler, node, "\"otherwise\" needs \"values\"");
    return true;
}

/* A column by itself, a list of alternatives, or the long form. */
static bool read_spec(struct compiler *compiler, const yaml_node_t *node, struct spec_reader reader)
{
    if (node->type == YAML_SCALAR_NODE && reader.is_alternative)
        return read_ref(compiler, node, &reader.spec->ref);
    if (node->type == YAML_MAPPING_NODE)
        return each_member(compiler, node, read_spec_member, &reader) && check_spec(compiler, node, reader.spec);
    if (node->type == YAML_SEQUENCE_NODE && reader.is_alternative)
        return refuse(compiler, node, "must be a column, a path or a mapping");
    return read_from(compiler, node, &reader);
}

/* --- The whole ------------------------------------------------------------------------------------------------------ */

static bool read_field(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    struct ingest_mapping *mapping = target;
    const struct spec_reader reader = {.spec = new_spec(compiler)};
    enum ingest_field field = INGEST_FIELD_COUNT;

    if (!ingest_field_find(key, strlen(key), &field)) {
        char known[ERROR_TEXT_SIZE] = "";
        for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++) {
            size_t used = strlen(known);
            (void)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", ingest_field_name(i));
        }
        return refuse(
            compiler, value, "is not a field of a lead; there are %s; everything else goes to attributes", known);
    }
    mapping->fields[field] = reader.spec;
    return read_spec(compiler, value, reader);
}

static bool read_attribute(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    struct ingest_mapping *mapping = target;
    struct mapping_attribute *attribute = &mapping->attributes[mapping->attribute_count++];
    const struct spec_reader reader = {.spec = new_spec(compiler), .is_attribute = true};

    if (strcmp(key, "original") == 0)
        return refuse(compiler, value, "is where values are kept that were changed");
    attribute->name = key;
    attribute->spec = reader.spec;
    return read_spec(compiler, value, reader);
}

static bool read_rest_member(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    struct ingest_mapping *mapping = target;

    if (strcmp(key, "under") != 0)
        return unknown_key(compiler, value);
    return read_name(compiler, value, &mapping->rest_under) &&
           (strcmp(mapping->rest_under, "original") != 0 ||
               refuse(compiler, value, "is where values are kept that were changed"));
}

static bool read_rest(struct compiler *compiler, const yaml_node_t *value, struct ingest_mapping *mapping)
{
    if (value->type == YAML_SCALAR_NODE)
        return read_boolean(compiler, value, &mapping->keeps_rest);
    mapping->keeps_rest = true;
    return each_member(compiler, value, read_rest_member, mapping) &&
           (mapping->rest_under != NULL || refuse(compiler, value, "must be true, false, or have \"under\""));
}

static bool read_required(struct compiler *compiler, const yaml_node_t *value, struct ingest_mapping *mapping)
{
    if (!check_list(compiler, value))
        return false;
    mapping->required = arena_alloc_array(mapping->arena, item_count(value), sizeof(*mapping->required));
    for (size_t i = 0; i < item_count(value); i++) {
        yaml_node_t *item = NULL;
        struct mapping_required *required = &mapping->required[mapping->required_count++];
        size_t before = enter_element(compiler, i);
        if (!get(compiler, value->data.sequence.items.start[i], &item) ||
            !read_list(compiler, item, &required->names, &required->count))
            return false;
        for (size_t k = 0; k < required->count; k++) {
            enum ingest_field field = INGEST_FIELD_COUNT;
            if (!ingest_field_find(required->names[k], strlen(required->names[k]), &field))
                return refuse(compiler, item, "\"%.60s\" is not a field of a lead", required->names[k]);
        }
        leave(compiler, before);
    }
    return true;
}

static bool read_paths(struct compiler *compiler, const yaml_node_t *value, const char ***ret_paths, size_t *ret_count)
{
    if (!read_list(compiler, value, ret_paths, ret_count))
        return false;
    for (size_t i = 0; i < *ret_count; i++)
        if (!check_path(compiler, value, (*ret_paths)[i]))
            return false;
    return true;
}

static bool read_member(struct compiler *compiler, const char *key, const yaml_node_t *value, void *target)
{
    static const char *const formats[] = {"any", "csv", "json"};
    static const char *const columns[] = {"needed", "optional"};
    struct ingest_mapping *mapping = target;
    size_t number = 0;

    if (strcmp(key, "name") == 0)
        return read_name(compiler, value, &mapping->name);
    if (strcmp(key, "description") == 0)
        return read_text(compiler, value, &mapping->description);
    if (strcmp(key, "format") == 0) {
        bool ok = read_word(compiler, value, formats, COUNT_OF(formats), &number);
        mapping->format = (enum ingest_format)number;
        return ok;
    }
    if (strcmp(key, "columns") == 0) {
        bool ok = read_word(compiler, value, columns, COUNT_OF(columns), &number);
        mapping->has_optional_columns = number == 1;
        return ok;
    }
    if (strcmp(key, "unwrap") == 0)
        return read_paths(compiler, value, &mapping->unwrap, &number);
    if (strcmp(key, "within") == 0)
        return read_paths(compiler, value, &mapping->within, &mapping->within_count);
    if (strcmp(key, "beside") == 0)
        return read_paths(compiler, value, &mapping->beside, &mapping->beside_count);
    if (strcmp(key, "blanks") == 0)
        return read_folded(compiler, value, &mapping->blanks);
    if (strcmp(key, "fields") == 0)
        return each_member(compiler, value, read_field, mapping);
    if (strcmp(key, "attributes") == 0) {
        if (value->type == YAML_MAPPING_NODE)
            mapping->attributes = arena_alloc_array(mapping->arena, pair_count(value), sizeof(*mapping->attributes));
        return each_member(compiler, value, read_attribute, mapping);
    }
    if (strcmp(key, "required") == 0)
        return read_required(compiler, value, mapping);
    if (strcmp(key, "rest") == 0)
        return read_rest(compiler, value, mapping);
    return unknown_key(compiler, value);
}

/* One key of the attributes must not be there twice. */
static bool check_rest(struct compiler *compiler, const yaml_node_t *root)
{
    const struct ingest_mapping *mapping = compiler->mapping;

    for (size_t i = 0; mapping->rest_under != NULL && i < mapping->attribute_count; i++)
        if (strcmp(mapping->attributes[i].name, mapping->rest_under) == 0)
            return refuse(compiler, root, "rest.under: \"%.60s\" is an attribute already", mapping->rest_under);
    return true;
}

static bool has_any_field(const struct ingest_mapping *mapping)
{
    for (size_t i = 0; i < INGEST_FIELD_COUNT; i++)
        if (mapping->fields[i] != NULL)
            return true;
    return false;
}

static bool compile(struct compiler *compiler, yaml_document_t *document)
{
    size_t count = (size_t)(document->nodes.top - document->nodes.start);
    yaml_node_t *root = yaml_document_get_root_node(document);
    bool ok = false;

    if (root == NULL)
        return error_set(compiler->error, ERROR_INVALID, "%s: is empty", compiler->file);
    compiler->document = document;
    compiler->is_seen = memory_new_array(count + 1, sizeof(bool));
    ok =
        each_member(compiler, root, read_member, compiler->mapping) &&
        (has_any_field(compiler->mapping) || refuse(compiler, root, "must have \"fields\" with one member at least")) &&
        check_rest(compiler, root);
    free(compiler->is_seen);
    return ok;
}

static bool load(struct compiler *compiler, yaml_parser_t *parser)
{
    yaml_document_t document;
    yaml_document_t more;
    bool ok = false;

    if (yaml_parser_load(parser, &document) == 0)
        return error_set(compiler->error, ERROR_INVALID, "%s: line %zu: %s", compiler->file,
            parser->problem_mark.line + 1, parser->problem != NULL ? parser->problem : "not YAML");
    ok = compile(compiler, &document);
    yaml_document_delete(&document);
    if (!ok || yaml_parser_load(parser, &more) == 0)
        return ok ? error_set(compiler->error, ERROR_INVALID, "%s: line %zu: %s", compiler->file,
                        parser->problem_mark.line + 1, parser->problem != NULL ? parser->problem : "not YAML")
                  : false;
    if (yaml_document_get_root_node(&more) != NULL)
        ok = error_set(compiler->error, ERROR_INVALID, "%s: has more than one document", compiler->file);
    yaml_document_delete(&more);
    return ok;
}

bool ingest_mapping_parse(
    const char *text, size_t size, const char *file, struct ingest_mapping **ret_mapping, struct error *reterr_error)
{
    struct compiler compiler = {.file = file, .error = reterr_error};
    yaml_parser_t parser;
    bool ok = false;

    if (size > INGEST_MAPPING_SIZE_MAX)
        return error_set(reterr_error, ERROR_INVALID, "%s: larger than %d KiB", file, INGEST_MAPPING_SIZE_MAX / 1024);
    compiler.mapping = memory_new(sizeof(*compiler.mapping));
    compiler.mapping->arena = arena_new(0);
    compiler.mapping->name = "";
    compiler.mapping->description = "";
    int status = yaml_parser_initialize(&parser);
    assert(status == 1);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    ok = load(&compiler, &parser);
    yaml_parser_delete(&parser);
    if (ok)
        *ret_mapping = compiler.mapping;
    else
        ingest_mapping_free(compiler.mapping);
    return ok;
}

void ingest_mapping_free(struct ingest_mapping *mapping)
{
    if (mapping == NULL)
        return;
    arena_free(mapping->arena);
    free(mapping);
}
