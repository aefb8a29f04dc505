/* gen-countries: writes the table of countries and US states that rules compare by, at build time.
 *
 *   gen-countries ISO_3166_1.json ISO_3166_2.json ALIASES.json OUTPUT.c
 *
 * The first two are the data files of Debian's package iso-codes; the third adds what people write besides. Names are
 * folded here with the function that folds leads at run time, sorted, and checked: a name that means two places fails
 * the build. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/memory.h"
#include "base/text.h"

enum {
    EXIT_USAGE = 2,
    NAMES_MAX = 8192,
    CODES_MAX = 1024,
    NAME_SIZE_MAX = 256,
    CODE_SIZE = 3,
};

#define STATE_PREFIX "US-"

/* One way to write a place, folded, and the code it means. */
struct name {
    char *text;
    char code[CODE_SIZE];
};

/* All names of one kind of place. */
struct table {
    const char *kind; /* "country" or "state": part of the C names */
    struct name *names;
    size_t name_count;
    char codes[CODES_MAX][CODE_SIZE];
    size_t code_count;
};

static int compare_names(const void *left, const void *right)
{
    const struct name *a = left;
    const struct name *b = right;
    int order = strcmp(a->text, b->text);
    return order != 0 ? order : strcmp(a->code, b->code);
}

static int compare_codes(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* Adds one spelling of a place; NULL is a spelling it does not have. */
static bool table_add_name(struct table *table, const char *code, const char *spelling)
{
    char folded[TEXT_CAPACITY(NAME_SIZE_MAX)];
    size_t size = 0;
    if (spelling == NULL) {
        return true;
    }
    if (table->name_count == NAMES_MAX || strlen(spelling) > NAME_SIZE_MAX ||
        !text_normalize(spelling, strlen(spelling), TEXT_FOLD, folded, sizeof(folded), &size) || size == 0) {
        (void)fprintf(stderr, "gen-countries: cannot take the name \"%s\" of %s\n", spelling, code);
        return false;
    }
    struct name *name = &table->names[table->name_count++];
    name->text = memory_copy_string(folded);
    (void)snprintf(name->code, sizeof(name->code), "%s", code);
    return true;
}

static bool table_add_code(struct table *table, const char *code)
{
    if (table->code_count == CODES_MAX || code == NULL || strlen(code) != CODE_SIZE - 1) {
        (void)fprintf(stderr, "gen-countries: cannot take the code \"%s\"\n", code == NULL ? "" : code);
        return false;
    }
    (void)snprintf(table->codes[table->code_count++], CODE_SIZE, "%s", code);
    return true;
}

/* Sorts, drops repetitions, and refuses a name with two meanings. */
static bool table_finish(struct table *table)
{
    size_t kept = 0;
    qsort(table->names, table->name_count, sizeof(*table->names), compare_names);
    qsort(table->codes, table->code_count, sizeof(table->codes[0]), compare_codes);
    for (size_t i = 0; i < table->name_count; i++) {
        struct name name = table->names[i];
        const struct name *last = kept == 0 ? NULL : &table->names[kept - 1];
        bool is_new = last == NULL || strcmp(last->text, name.text) != 0;
        bool is_same = !is_new && strcmp(last->code, name.code) == 0;
        table->names[i].text = NULL; /* moved out, so that the table can be released at any point */
        if (is_new) {
            table->names[kept++] = name;
            continue;
        }
        if (!is_same) {
            (void)fprintf(stderr, "gen-countries: \"%s\" means %s and %s\n", name.text, last->code, name.code);
        }
        free(name.text);
        if (!is_same) {
            return false;
        }
    }
    table->name_count = kept;
    return true;
}

static const char *member(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool read_countries(const json_t *root, struct table *table)
{
    static const char *const keys[] = {"alpha_2", "alpha_3", "numeric", "name", "official_name", "common_name"};
    const json_t *list = json_object_get(root, "3166-1");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *country = json_array_get(list, i);
        const char *code = member(country, "alpha_2");
        if (!table_add_code(table, code)) {
            return false;
        }
        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            if (!table_add_name(table, code, member(country, keys[k]))) {
                return false;
            }
        }
    }
    return json_array_size(list) > 0;
}

static bool read_states(const json_t *root, struct table *table)
{
    const json_t *list = json_object_get(root, "3166-2");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *state = json_array_get(list, i);
        const char *full_code = member(state, "code");
        if (full_code == NULL || strncmp(full_code, STATE_PREFIX, strlen(STATE_PREFIX)) != 0) {
            continue;
        }
        const char *code = full_code + strlen(STATE_PREFIX);
        if (!table_add_code(table, code) || !table_add_name(table, code, code) ||
            !table_add_name(table, code, full_code) || !table_add_name(table, code, member(state, "name"))) {
            return false;
        }
    }
    return table->code_count > 0;
}

static bool read_aliases(const json_t *root, const char *key, struct table *table)
{
    const char *code = NULL;
    json_t *names = NULL;
    json_object_foreach(json_object_get(root, key), code, names)
    {
        for (size_t i = 0; i < json_array_size(names); i++) {
            if (!table_add_name(table, code, json_string_value(json_array_get(names, i)))) {
                return false;
            }
        }
    }
    return true;
}

static void write_string(FILE *file, const char *text)
{
    (void)fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c >= ' ' && *c < 0x7F && *c != '"' && *c != '\\') {
            (void)fputc(*c, file);
        } else {
            (void)fprintf(file, "\\%03o", *c);
        }
    }
    (void)fputc('"', file);
}

static bool write_table(FILE *file, const struct table *table)
{
    (void)fprintf(file, "\nconst char place_%s_codes[][3] = {\n", table->kind);
    for (size_t i = 0; i < table->code_count; i++) {
        (void)fprintf(file, "    \"%s\",\n", table->codes[i]);
    }
    (void)fprintf(file, "};\nconst size_t place_%s_code_count = %zu;\n", table->kind, table->code_count);
    (void)fprintf(file, "\nconst struct place_name place_%s_names[] = {\n", table->kind);
    for (size_t i = 0; i < table->name_count; i++) {
        const struct name *name = &table->names[i];
        const char(*code)[CODE_SIZE] =
            bsearch(name->code, table->codes, table->code_count, sizeof(table->codes[0]), compare_codes);
        if (code == NULL) {
            (void)fprintf(stderr, "gen-countries: \"%s\" means %s, which has no entry\n", name->text, name->code);
            return false;
        }
        (void)fprintf(file, "    {");
        write_string(file, name->text);
        (void)fprintf(file, ", %zu},\n", (size_t)(code - (const char(*)[CODE_SIZE])table->codes));
    }
    (void)fprintf(file, "};\nconst size_t place_%s_name_count = %zu;\n", table->kind, table->name_count);
    return true;
}

static bool write_source(const char *path, const struct table *countries, const struct table *states)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        (void)fprintf(stderr, "gen-countries: could not write %s: %s\n", path, strerror(errno));
        return false;
    }
    (void)fprintf(file,
        "/* Generated by gen-countries from iso-codes; do not edit. Names are folded and sorted by bytes. */\n"
        "#include \"rules/places_table.h\"\n");
    bool ok = write_table(file, countries) && write_table(file, states);
    ok = ferror(file) == 0 && ok;
    return fclose(file) == 0 && ok;
}

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        (void)fprintf(stderr, "gen-countries: %s:%d: %s\n", path, error.line, error.text);
    }
    return root;
}

static void table_release(struct table *table)
{
    for (size_t i = 0; i < table->name_count; i++) {
        free(table->names[i].text);
    }
    free(table->names);
}

int main(int argc, char **argv)
{
    static struct table countries = {.kind = "country"};
    static struct table states = {.kind = "state"};
    int status = EXIT_FAILURE;

    if (argc != 5) {
        (void)fprintf(stderr, "usage: gen-countries ISO_3166_1.json ISO_3166_2.json ALIASES.json OUTPUT.c\n");
        return EXIT_USAGE;
    }
    countries.names = memory_new_array(NAMES_MAX, sizeof(struct name));
    states.names = memory_new_array(NAMES_MAX, sizeof(struct name));
    json_t *country_root = load(argv[1]);
    json_t *state_root = load(argv[2]);
    json_t *aliases = load(argv[3]);
    if (country_root != NULL && state_root != NULL && aliases != NULL && read_countries(country_root, &countries) &&
        read_states(state_root, &states) && read_aliases(aliases, "countries", &countries) &&
        read_aliases(aliases, "states", &states) && table_finish(&countries) && table_finish(&states) &&
        write_source(argv[4], &countries, &states)) {
        status = EXIT_SUCCESS;
    }
    json_decref(aliases);
    json_decref(state_root);
    json_decref(country_root);
    table_release(&states);
    table_release(&countries);
    return status;
}
