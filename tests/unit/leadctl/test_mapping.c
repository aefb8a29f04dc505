/* Goal: columns become fields as the command line and the header say, and each mistake is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mapping.h"

enum { COLUMNS = 4 };

static const char *const header_fields[COLUMNS] = {"External ID", "E-Mail", "first-name", "Campaign"};

static struct csv_row row_of(const char *const *fields, size_t *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sizes[i] = strlen(fields[i]);
    return (struct csv_row){.fields = fields, .sizes = sizes, .count = count, .line = 1};
}

/* A mapping with at most two texts and "Select" as a blank. */
static bool make(const char *first, const char *second, struct mapping **ret_mapping, struct error *reterr_error)
{
    static const char *blank = "Select";
    static const struct option_list blanks = {.values = &blank, .count = 1};
    const char *values[] = {first, second};
    const struct option_list texts = {.values = values, .count = first == NULL ? 0 : second == NULL ? 1 : 2};
    size_t sizes[COLUMNS];
    struct csv_row header = row_of(header_fields, sizes, COLUMNS);

    return mapping_new(&texts, &blanks, &header, ret_mapping, reterr_error);
}

static void columns_become_fields(void **state)
{
    static const char *const fields[COLUMNS] = {"x-1", "a@example.com", "Select", "\"sp\xc3\xa4t\""};
    size_t sizes[COLUMNS];
    struct csv_row row = row_of(fields, sizes, COLUMNS);
    struct arena *arena = arena_new(1024);
    struct mapping *mapping = NULL;
    Leadrouter__V1__NewLead *lead = NULL;
    struct error error = {0};

    (void)state;
    assert_true(make("email=E-Mail", "attributes.campaign=Campaign", &mapping, &error));
    assert_true(mapping_apply(mapping, &row, arena, &lead, &error));
    assert_string_equal(lead->external_id, "x-1");
    assert_string_equal(lead->email, "a@example.com");
    assert_string_equal(lead->first_name, "");
    assert_string_equal(lead->country, "");
    assert_string_equal(lead->attributes_json, "{\"campaign\":\"\\\"sp\xc3\xa4t\\\"\"}");
    mapping_free(mapping);
    arena_free(arena);
}

static void wrong_texts(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        enum error_code code;
        const char *text;
    } cases[] = {
        {"email", NULL, ERROR_INVALID, "--map email: must be FIELD=COLUMN"},
        {"email=", NULL, ERROR_INVALID, "must be FIELD=COLUMN"},
        {"=E-Mail", NULL, ERROR_INVALID, "\"\" is not a field of a lead"},
        {"mail=E-Mail", NULL, ERROR_INVALID, "\"mail\" is not a field of a lead; there are external_id, email"},
        {"attributes.=E-Mail", NULL, ERROR_INVALID, "\"attributes.\" is not a field"},
        {"email=Mail", NULL, ERROR_NOT_FOUND,
            "the file has no column \"Mail\"; it has External ID, E-Mail, first-name, Campaign"},
        {"email=E-Mail", "email=Campaign", ERROR_INVALID, "email is given twice"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mapping *mapping = NULL;
        struct error error = {0};
        assert_false(make(cases[i].first, cases[i].second, &mapping, &error));
        assert_int_equal(error.code, cases[i].code);
        assert_non_null(strstr(error.text, cases[i].text));
        assert_null(mapping);
    }
}

static void wrong_rows(void **state)
{
    static const char *const good[COLUMNS] = {"x-1", "a@example.com", "Jane", "c"};
    static const char *const not_utf8[COLUMNS] = {"x-1", "a@example.com", "J\xe4ne", "c"};
    size_t sizes[COLUMNS];
    struct csv_row row = row_of(good, sizes, COLUMNS - 1);
    struct arena *arena = arena_new(1024);
    struct mapping *mapping = NULL;
    Leadrouter__V1__NewLead *lead = NULL;
    struct error error = {0};

    (void)state;
    assert_true(make(NULL, NULL, &mapping, &error));
    assert_false(mapping_apply(mapping, &row, arena, &lead, &error));
    assert_string_equal(error.text, "has 3 fields where the header has 4");
    row = row_of(not_utf8, sizes, COLUMNS);
    assert_false(mapping_apply(mapping, &row, arena, &lead, &error));
    assert_string_equal(error.text, "first_name: is not valid UTF-8");
    row = row_of(good, sizes, COLUMNS);
    sizes[2] = 5; /* the NUL at the end and what follows it are the test's own bytes */
    row.fields = (const char *const[]){good[0], good[1], "Jane\0", good[3]};
    assert_false(mapping_apply(mapping, &row, arena, &lead, &error));
    assert_string_equal(error.text, "first_name: contains a NUL byte");
    assert_null(lead);
    mapping_free(mapping);
    mapping_free(NULL);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_become_fields), cmocka_unit_test(wrong_texts), cmocka_unit_test(wrong_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
