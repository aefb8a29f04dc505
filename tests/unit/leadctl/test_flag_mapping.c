/* Goal: columns become fields as the command line and the names of columns say, and each mistake is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "flag_mapping.h"
#include "ingest/mapping.h"

static const char *const columns[] = {"External ID", "E-Mail", "first-name", "Campaign \"x\""};
static const struct ingest_source source = {
    .format = INGEST_FORMAT_CSV, .columns = columns, .column_count = COUNT_OF(columns)};

static struct option_list list_of(const char **values)
{
    struct option_list list = {.values = values};

    while (list.count < 2 && values[list.count] != NULL)
        list.count++;
    return list;
}

/* Goal: a field that is named comes from that column, others from one of their own name; the mapping is one that is taken. */
static void columns_become_fields(void **state)
{
    const char *texts[] = {"email=E-Mail", "attributes.campaign=Campaign \"x\""};
    const char *words[] = {"Select", NULL};
    const struct option_list maps = list_of(texts);
    const struct option_list blanks = list_of(words);
    struct ingest_mapping *mapping = NULL;
    struct ingest_binding *binding = NULL;
    struct error error = {0};
    char *yaml = flag_mapping_write(&maps, &blanks, &source);

    (void)state;
    assert_string_equal(yaml,
        "{\"fields\": {\"external_id\": \"external_id\", \"email\": \"E-Mail\", \"first_name\": \"first_name\"}, "
        "\"attributes\": {\"campaign\": \"Campaign \\\"x\\\"\"}, \"blanks\": [\"Select\"]}");
    assert_true(ingest_mapping_parse(yaml, strlen(yaml), "--map", &mapping, &error));
    assert_true(ingest_binding_new(mapping, &source, &binding, &error));
    ingest_binding_free(binding);
    ingest_mapping_free(mapping);
    free(yaml);
}

/* Goal: a file with no column that is a field gives a mapping all the same. */
static void no_columns(void **state)
{
    static const char *const other[] = {"x"};
    const struct ingest_source others = {.format = INGEST_FORMAT_CSV, .columns = other, .column_count = 1};
    const struct option_list none = {0};
    struct ingest_mapping *mapping = NULL;
    char *yaml = flag_mapping_write(&none, &none, &others);

    (void)state;
    assert_true(ingest_mapping_parse(yaml, strlen(yaml), "--map", &mapping, NULL));
    ingest_mapping_free(mapping);
    free(yaml);
}

static void wrong_texts(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        const char *text;
    } cases[] = {
        {"email", NULL, "--map email: must be FIELD=COLUMN"},
        {"email=", NULL, "must be FIELD=COLUMN"},
        {"=E-Mail", NULL, "\"\" is not a field of a lead"},
        {"mail=E-Mail", NULL, "\"mail\" is not a field of a lead; there are external_id, email"},
        {"attributes.=E-Mail", NULL, "\"attributes.\" is not a field"},
        {"email=E-Mail", "email=Campaign", "email is given twice"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *texts[] = {cases[i].first, cases[i].second};
        const struct option_list maps = list_of(texts);
        struct error error = {0};
        assert_false(flag_mapping_check(&maps, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.text, cases[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_become_fields), cmocka_unit_test(no_columns), cmocka_unit_test(wrong_texts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
