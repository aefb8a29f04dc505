#include "ingest/suggest.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "ingest/json_path.h"
#include "ingest/json_value.h"
#include "ingest/mapping_internal.h"
#include "ingest/parts.h"
#include "ingest/shapes.h"

enum {
    PATH_DEPTH_MAX = 4,    /* of objects whose members are columns */
    CONFIDENCE_NAMED = 95, /* a column that is called like the field */
    CONFIDENCE_LEAST_NAMED = 75,
    CONFIDENCE_SHAPED = 70, /* one whose values look so */
    CONFIDENCE_PART = 80,
    CONFIDENCE_ATTRIBUTE = 50,
    SHARE_CLEAR = 80, /* percent of the values */
    SHARE_CERTAIN = 95,
    SHARE_DOUBTFUL = 50,
    TEXT_SIZE_MAX = 200,
    MARKER_SIZE_MAX = 20,
};

/* Texts that mean "not known" in files that were seen. Words that may be values, such as "none" or "NA" (Namibia), are not among them. */
static const char *const markers[] = {
    "Select", "N/A", "-", "--", "null", "undefined", "#N/A", "(No value)", "[not provided]", "not available"};

struct column {
    const char *name;
    size_t value_count; /* not blank */
    size_t shapes[INGEST_SHAPE_COUNT];
    size_t phone_count; /* of numbers that have as many digits as phone numbers */
    size_t word_count;  /* of values that have a blank inside */
    size_t place_count; /* of texts that a city can be read from, behind a comma */
    uint64_t *hashes;   /* of the values */
    struct ingest_suggestion suggestion;
    const char *attribute; /* its name, when it becomes one */
    const char *type;      /* and its type, or NULL */
};

struct ingest_suggester {
    struct arena *arena;
    struct ingest_mapping *generic; /* whose names are the synonyms */
    enum ingest_format format;
    struct column *columns;
    size_t column_count;
    size_t row_count;
    size_t marker_counts[COUNT_OF(markers)];
    struct column *fields[INGEST_FIELD_COUNT]; /* which column becomes it */
    enum ingest_part parts[INGEST_FIELD_COUNT];
    struct column *others[INGEST_FIELD_COUNT]; /* a second column for a phone number or an e-mail address */
};

/* --- The sample ------------------------------------------------------------------------------------------------------ */

static struct column *add_column(struct ingest_suggester *suggester, const char *name)
{
    if (suggester->column_count == INGEST_COLUMNS_MAX)
        return NULL;
    struct column *column = &suggester->columns[suggester->column_count++];
    column->name = arena_copy_string(suggester->arena, name);
    column->hashes = memory_new_array(INGEST_SUGGEST_ROWS_MAX, sizeof(*column->hashes));
    return column;
}

struct ingest_suggester *ingest_suggester_new(const struct ingest_source *source)
{
    struct ingest_suggester *suggester = memory_new(sizeof(*suggester));
    bool ok = ingest_mapping_builtin("generic", &suggester->generic, NULL);

    assert(ok);
    suggester->arena = arena_new(0);
    suggester->format = source->format;
    suggester->columns = memory_new_array(INGEST_COLUMNS_MAX, sizeof(*suggester->columns));
    for (size_t i = 0; i < source->column_count; i++)
        (void)add_column(suggester, source->columns[i]);
    return suggester;
}

void ingest_suggester_free(struct ingest_suggester *suggester)
{
    if (suggester == NULL)
        return;
    for (size_t i = 0; i < suggester->column_count; i++)
        free(suggester->columns[i].hashes);
    free(suggester->columns);
    ingest_mapping_free(suggester->generic);
    arena_free(suggester->arena);
    free(suggester);
}

/* FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo; draft-eastlake-fnv, section 2). */
static uint64_t hash(const char *text)
{
    uint64_t value = 0xCBF29CE484222325;

    for (; *text != '\0'; text++)
        value = (value ^ (uint8_t)*text) * 0x100000001B3;
    return value;
}

static bool is_marker(struct ingest_suggester *suggester, const char *text)
{
    for (size_t i = 0; i < COUNT_OF(markers); i++)
        if (strcasecmp(markers[i], text) == 0) {
            suggester->marker_counts[i]++;
            return true;
        }
    return false;
}

static bool is_place(const char *text)
{
    struct arena *arena = arena_new(0);
    bool result = strchr(text, ',') != NULL && (*ingest_part_of(INGEST_PART_STATE, text, arena) != '\0' ||
                                                   *ingest_part_of(INGEST_PART_COUNTRY, text, arena) != '\0');

    arena_free(arena);
    return result;
}

static void add_value(struct ingest_suggester *suggester, struct column *column, const char *text)
{
    char exact[TEXT_CAPACITY(TEXT_SIZE_MAX)] = "";
    size_t size = 0;
    enum ingest_shape shape = ingest_shape_of(text);

    if (shape == INGEST_SHAPE_BLANK || column == NULL || column->value_count == INGEST_SUGGEST_ROWS_MAX)
        return; /* a row of JSON may have several: "a.b", and "b" in "a" */
    if (strlen(text) <= TEXT_SIZE_MAX)
        (void)text_normalize(text, strlen(text), TEXT_EXACT, exact, sizeof(exact), &size);
    if (size <= MARKER_SIZE_MAX && is_marker(suggester, exact))
        return;
    column->shapes[shape]++;
    column->phone_count +=
        shape == INGEST_SHAPE_NUMBER && size >= 7 && size <= 15 && strspn(exact, "0123456789") == size;
    column->word_count += strchr(exact, ' ') != NULL;
    column->place_count += is_place(exact);
    column->hashes[column->value_count++] = hash(text);
}

static void add_object(struct ingest_suggester *suggester, json_t *object, const char *prefix, size_t depth)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach(object, key, value)
    {
        const char *path = prefix[0] == '\0' ? key : arena_format(suggester->arena, "%s.%s", prefix, key);
        struct column *column = NULL;
        char scratch[JSON_NUMBER_SIZE];
        const char *text = json_value_number(value, scratch);
        if (json_is_object(value) && depth < PATH_DEPTH_MAX) {
            add_object(suggester, value, path, depth + 1);
            continue;
        }
        if (!json_path_is_valid(path) || strlen(path) > TEXT_SIZE_MAX)
            continue;
        for (size_t i = 0; column == NULL && i < suggester->column_count; i++)
            if (strcmp(suggester->columns[i].name, path) == 0)
                column = &suggester->columns[i];
        column = column == NULL ? add_column(suggester, path) : column;
        if (text == NULL)
            text = json_is_boolean(value) ? (json_is_true(value) ? "true" : "false") : json_string_value(value);
        if (text != NULL)
            add_value(suggester, column, text);
        else if (column != NULL && json_array_size(value) > 0)
            column->value_count += column->value_count < INGEST_SUGGEST_ROWS_MAX; /* a list: something, but no text */
    }
}

void ingest_suggester_add(struct ingest_suggester *suggester, const struct ingest_row *row)
{
    if (row->is_rejected || suggester->row_count == INGEST_SUGGEST_ROWS_MAX)
        return;
    suggester->row_count++;
    if (row->object != NULL)
        add_object(suggester, row->object, "", 1);
    for (size_t i = 0; i < row->cell_count && i < suggester->column_count; i++)
        add_value(suggester, &suggester->columns[i], row->cells[i].text);
}

/* --- What fits ------------------------------------------------------------------------------------------------------- */

static size_t percent(size_t part, size_t whole)
{
    return whole == 0 ? 0 : part * 100 / whole;
}

static int compare_hashes(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static bool is_distinct(struct column *column)
{
    qsort(column->hashes, column->value_count, sizeof(*column->hashes), compare_hashes);
    for (size_t i = 1; i < column->value_count; i++)
        if (column->hashes[i - 1] == column->hashes[i])
            return false;
    return column->value_count > 0;
}

/* How many values can be of a field. Fields whose values may be anything take all but what is clearly something else. */
static size_t fitting(const struct column *column, enum ingest_field field)
{
    const size_t *shapes = column->shapes;
    size_t all = column->value_count;
    size_t data =
        shapes[INGEST_SHAPE_EMAIL] + shapes[INGEST_SHAPE_URL] + shapes[INGEST_SHAPE_UUID] + shapes[INGEST_SHAPE_DATE];

    switch (field) {
    case INGEST_FIELD_EMAIL:
        return shapes[INGEST_SHAPE_EMAIL];
    case INGEST_FIELD_PHONE:
        return shapes[INGEST_SHAPE_PHONE] + column->phone_count;
    case INGEST_FIELD_EXTERNAL_ID:
    case INGEST_FIELD_COMPANY_SIZE:
    case INGEST_FIELD_COMPANY_REVENUE:
        return all - shapes[INGEST_SHAPE_EMAIL] - shapes[INGEST_SHAPE_URL];
    case INGEST_FIELD_POSTAL_CODE:
        return all - data;
    default:
        return all - data - shapes[INGEST_SHAPE_PHONE];
    }
}

/* How well a column's name fits a field: 0, or the better the earlier it stands among the synonyms. */
static int name_fit(
    const struct ingest_suggester *suggester, const struct column *column, const struct mapping_spec *spec)
{
    bool is_path = suggester->format == INGEST_FORMAT_JSON && strchr(column->name, '.') != NULL;
    const char *name = is_path ? strrchr(column->name, '.') + 1 : column->name; /* "email" of "person.email" */
    char *joined = arena_copy_string(suggester->arena, column->name);           /* "company_name" of "company.name" */
    int best = 0;

    for (char *c = joined; is_path && *c != '\0'; c++)
        *c = *c == '.' ? '_' : *c;
    for (size_t i = 0; i < spec->from_count; i++) {
        const struct mapping_spec *from = spec->from[i];
        int score =
            CONFIDENCE_NAMED - (int)i > CONFIDENCE_LEAST_NAMED ? CONFIDENCE_NAMED - (int)i : CONFIDENCE_LEAST_NAMED;
        if (from->ref == MAPPING_NO_REF)
            continue;
        const char *synonym = suggester->generic->refs[from->ref];
        bool is_whole = ingest_name_is_like(column->name, synonym, strlen(synonym)) ||
                        ingest_name_is_like(joined, synonym, strlen(synonym));
        if (is_whole || ingest_name_is_like(name, synonym, strlen(synonym)))
            best = score > best ? score - !is_whole : best;
    }
    return best;
}

/* The alternative of a spec that takes a part of a column called so; or NULL. */
static const struct mapping_spec *part_fit(
    const struct ingest_suggester *suggester, const struct column *column, const struct mapping_spec *spec)
{
    for (size_t i = 0; i < spec->from_count; i++) {
        const struct mapping_spec *from = spec->from[i];
        for (size_t k = 0; from->part != INGEST_PART_NONE && k < from->from_count; k++) {
            const char *synonym = suggester->generic->refs[from->from[k]->ref];
            if (ingest_name_is_like(column->name, synonym, strlen(synonym)))
                return from;
        }
    }
    return NULL;
}

static enum ingest_shape shape_of_field(enum ingest_field field)
{
    switch (field) {
    case INGEST_FIELD_EMAIL:
        return INGEST_SHAPE_EMAIL;
    case INGEST_FIELD_PHONE:
        return INGEST_SHAPE_PHONE;
    case INGEST_FIELD_STATE:
        return INGEST_SHAPE_STATE;
    case INGEST_FIELD_COUNTRY:
        return INGEST_SHAPE_COUNTRY;
    case INGEST_FIELD_POSTAL_CODE:
        return INGEST_SHAPE_POSTAL;
    case INGEST_FIELD_EXTERNAL_ID:
        return INGEST_SHAPE_UUID;
    default:
        return INGEST_SHAPE_BLANK; /* none tells */
    }
}

/* How sure it is that a column is a field, with the reason. */
static int judge(
    struct ingest_suggester *suggester, struct column *column, enum ingest_field field, const char **ret_reason)
{
    int named = name_fit(suggester, column, suggester->generic->fields[field]);
    enum ingest_shape shape = shape_of_field(field);
    size_t fit = percent(fitting(column, field), column->value_count);
    size_t clear = shape == INGEST_SHAPE_BLANK ? 0 : percent(column->shapes[shape], column->value_count);

    if (column->value_count == 0)
        return 0;
    if (field == INGEST_FIELD_EXTERNAL_ID && (named > 0 || clear >= SHARE_CERTAIN) && !is_distinct(column))
        return 0;
    if (named > 0 && fit >= SHARE_DOUBTFUL) {
        *ret_reason = arena_format(suggester->arena, "its name; %zu %% of %zu values fit", fit, column->value_count);
        return fit >= SHARE_CLEAR ? named : named * (int)fit / 100;
    }
    if (named == 0 && clear >= SHARE_CERTAIN) {
        *ret_reason = arena_format(suggester->arena, "%zu %% of %zu values look like %s", clear, column->value_count,
            ingest_shape_title(shape));
        return CONFIDENCE_SHAPED;
    }
    return 0;
}

/* --- Choosing -------------------------------------------------------------------------------------------------------- */

static void choose(struct ingest_suggester *suggester, enum ingest_field field)
{
    int best = 0;
    int second = 0;

    for (size_t i = 0; i < suggester->column_count; i++) {
        struct column *column = &suggester->columns[i];
        const char *reason = NULL;
        int confidence = column->suggestion.target == NULL ? judge(suggester, column, field, &reason) : 0;
        if (confidence > best) {
            second = best;
            suggester->others[field] = suggester->fields[field];
            best = confidence;
            suggester->fields[field] = column;
            column->suggestion.reason = reason;
        } else if (confidence > second) {
            second = confidence;
            suggester->others[field] = column;
            column->suggestion.reason = reason;
        }
    }
    if (field != INGEST_FIELD_EMAIL && field != INGEST_FIELD_PHONE)
        suggester->others[field] = NULL;
    struct column *const chosen[] = {suggester->fields[field], suggester->others[field]};
    const int confidences[] = {best, second};
    for (size_t i = 0; i < COUNT_OF(chosen); i++)
        if (chosen[i] != NULL) {
            chosen[i]->suggestion.target = ingest_field_name(field);
            chosen[i]->suggestion.confidence = confidences[i];
        }
}

/* Fields that no column of their own has: parts of a full name or of a place. */
static void choose_part(struct ingest_suggester *suggester, enum ingest_field field)
{
    const struct mapping_spec *spec = suggester->generic->fields[field];

    for (size_t i = 0; suggester->fields[field] == NULL && i < suggester->column_count; i++) {
        struct column *column = &suggester->columns[i];
        const struct mapping_spec *from = part_fit(suggester, column, spec);
        bool is_name = field == INGEST_FIELD_FIRST_NAME || field == INGEST_FIELD_LAST_NAME;
        size_t count = is_name ? column->word_count : column->place_count;
        if (from == NULL || percent(count, column->value_count) < SHARE_DOUBTFUL)
            continue;
        suggester->fields[field] = column;
        suggester->parts[field] = from->part;
        column->suggestion.target =
            column->suggestion.target == NULL ? ingest_field_name(field) : column->suggestion.target;
        column->suggestion.confidence = CONFIDENCE_PART;
        column->suggestion.reason = is_name ? "a full name, which is split" : "a place, which is split";
    }
}

static const char *plain_name(struct ingest_suggester *suggester, const char *column)
{
    char *name = arena_copy_string(suggester->arena, column);
    size_t size = 0;

    for (const char *c = column; *c != '\0'; c++) {
        bool is_upper = *c >= 'A' && *c <= 'Z';
        bool is_word = is_upper || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || (unsigned char)*c >= 0x80;
        if (is_word)
            name[size++] = is_upper ? (char)(*c - 'A' + 'a') : *c;
        else if (size > 0 && name[size - 1] != '_')
            name[size++] = '_';
    }
    while (size > 0 && name[size - 1] == '_')
        size--;
    name[size] = '\0';
    return size == 0 ? "column" : name;
}

static bool is_attribute_taken(const struct ingest_suggester *suggester, const char *name)
{
    for (size_t i = 0; i < suggester->column_count; i++)
        if (suggester->columns[i].attribute != NULL && strcmp(suggester->columns[i].attribute, name) == 0)
            return true;
    return strcmp(name, "original") == 0;
}

/* The name of an attribute for a column: the usual one, or its own. */
static void choose_attribute(struct ingest_suggester *suggester, struct column *column)
{
    const struct ingest_mapping *generic = suggester->generic;
    const char *name = plain_name(suggester, column->name);
    const char *usual = NULL;

    for (size_t i = 0; usual == NULL && i < generic->attribute_count; i++)
        if (name_fit(suggester, column, generic->attributes[i].spec) > 0 &&
            !is_attribute_taken(suggester, generic->attributes[i].name)) {
            usual = generic->attributes[i].name;
            column->type = generic->attributes[i].spec->type == MAPPING_TYPE_BOOLEAN  ? "boolean"
                           : generic->attributes[i].spec->type == MAPPING_TYPE_NUMBER ? "number"
                                                                                      : NULL;
        }
    name = usual != NULL ? usual : name;
    for (size_t number = 2; is_attribute_taken(suggester, name); number++)
        name = arena_format(suggester->arena, "%s_%zu", plain_name(suggester, column->name), number);
    column->attribute = name;
    column->suggestion.target = arena_format(suggester->arena, "attributes.%s", name);
    column->suggestion.confidence = usual != NULL ? CONFIDENCE_NAMED : CONFIDENCE_ATTRIBUTE;
    column->suggestion.reason = usual != NULL ? "its name" : "no field of a lead; kept";
}

static void choose_all(struct ingest_suggester *suggester)
{
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        choose(suggester, i);
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        choose_part(suggester, i);
    for (size_t i = 0; i < suggester->column_count; i++) {
        struct column *column = &suggester->columns[i];
        column->suggestion.column = column->name;
        if (column->suggestion.target != NULL)
            continue;
        if (column->value_count > 0) {
            choose_attribute(suggester, column);
        } else {
            column->suggestion.target = "";
            column->suggestion.confidence = CONFIDENCE_ATTRIBUTE;
            column->suggestion.reason = "blank in all rows of the sample; left out";
        }
    }
}

/* --- Writing ---------------------------------------------------------------------------------------------------------- */

/* A text in double quotes, which YAML and JSON have in common. */
static void write_text(struct buffer *yaml, const char *text)
{
    buffer_append_json_string(yaml, text, strlen(text));
}

static void write_comment(struct buffer *yaml, const struct column *column)
{
    buffer_append_format(yaml, "  # %d %%: %s\n", column->suggestion.confidence, column->suggestion.reason);
}

static void write_field(const struct ingest_suggester *suggester, enum ingest_field field, struct buffer *yaml)
{
    const struct column *column = suggester->fields[field];

    if (column == NULL)
        return;
    buffer_append_format(yaml, "  %s: ", ingest_field_name(field));
    if (suggester->parts[field] != INGEST_PART_NONE) {
        buffer_append_string(yaml, "{from: ");
        write_text(yaml, column->name);
        buffer_append_format(yaml, ", part: %s}", ingest_part_name(suggester->parts[field]));
    } else if (suggester->others[field] != NULL) {
        buffer_append_string(yaml, "[");
        write_text(yaml, column->name);
        buffer_append_string(yaml, ", ");
        write_text(yaml, suggester->others[field]->name);
        buffer_append_string(yaml, "]");
    } else {
        write_text(yaml, column->name);
    }
    write_comment(yaml, column);
}

static void write_attributes(const struct ingest_suggester *suggester, struct buffer *yaml)
{
    bool is_first = true;

    for (size_t i = 0; i < suggester->column_count; i++) {
        const struct column *column = &suggester->columns[i];
        if (column->attribute == NULL)
            continue;
        buffer_append_string(yaml, is_first ? "attributes:\n  " : "  ");
        is_first = false;
        write_text(yaml, column->attribute);
        buffer_append_string(yaml, column->type != NULL ? ": {from: " : ": ");
        write_text(yaml, column->name);
        if (column->type != NULL)
            buffer_append_format(yaml, ", type: %s}", column->type);
        write_comment(yaml, column);
    }
}

static void write_blanks(const struct ingest_suggester *suggester, struct buffer *yaml)
{
    const char *separator = "blanks: [";

    for (size_t i = 0; i < COUNT_OF(markers); i++) {
        if (suggester->marker_counts[i] == 0)
            continue;
        buffer_append_string(yaml, separator);
        write_text(yaml, markers[i]);
        separator = ", ";
    }
    if (separator[0] == ',')
        buffer_append_string(yaml, "]\n");
}

static void write_all(const struct ingest_suggester *suggester, const char *name, struct buffer *yaml)
{
    bool has_field = false;

    buffer_append_format(yaml,
        "# Proposed from %zu rows: where each column goes, how sure that is, and why. Read it before you use "
        "it.\nname: ",
        suggester->row_count);
    write_text(yaml, text_is_blank(name) ? "suggested" : name);
    buffer_append_string(yaml, "\n");
    write_blanks(suggester, yaml);
    buffer_append_string(yaml, "fields:\n");
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++) {
        write_field(suggester, i, yaml);
        has_field = has_field || suggester->fields[i] != NULL;
    }
    if (!has_field)
        buffer_append_string(yaml, "  source: {constant: import}  # 0 %: no column looks like a field of a lead\n");
    write_attributes(suggester, yaml);
    for (size_t i = 0; i < suggester->column_count; i++) {
        const struct column *column = &suggester->columns[i];
        if (column->suggestion.target[0] != '\0')
            continue;
        buffer_append_string(yaml, "# ");
        write_text(yaml, column->name);
        buffer_append_format(yaml, ": %s\n", column->suggestion.reason);
    }
    /* The number that was not taken must not be lost. */
    if (suggester->others[INGEST_FIELD_EMAIL] != NULL || suggester->others[INGEST_FIELD_PHONE] != NULL)
        buffer_append_string(yaml, "rest: true\n");
}

char *ingest_suggester_write(struct ingest_suggester *suggester, const char *name,
    const struct ingest_suggestion **ret_suggestions, size_t *ret_count)
{
    struct buffer yaml = {0};
    struct ingest_suggestion *suggestions =
        arena_alloc_array(suggester->arena, suggester->column_count + 1, sizeof(*suggestions));

    buffer_init(&yaml, INGEST_MAPPING_SIZE_MAX * 4);
    choose_all(suggester);
    write_all(suggester, name, &yaml);
    for (size_t i = 0; i < suggester->column_count; i++)
        suggestions[i] = suggester->columns[i].suggestion;
    if (ret_suggestions != NULL) {
        *ret_suggestions = suggestions;
        *ret_count = suggester->column_count;
    }
    char *text = memory_copy_string(buffer_text(&yaml));
    buffer_release(&yaml);
    return text;
}
