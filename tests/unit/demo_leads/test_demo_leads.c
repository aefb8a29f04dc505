/* Goal: demo leads follow from the seed alone, and the copies in them are the same identities, written differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "dedupe/dedupe.h"
#include "demo_leads.h"

enum { PARTNERS = 3, COLUMNS = 14, LEADS = 600 };

/* The three files as text; memory of the caller. */
static struct demo_counts write_all(uint64_t seed, char *ret_texts[PARTNERS])
{
    const struct demo_options options = {.seed = seed, .leads = LEADS, .partners = PARTNERS};
    FILE *outputs[PARTNERS] = {NULL};
    size_t sizes[PARTNERS] = {0};
    struct demo_counts counts = {0};
    struct error error = {0};

    for (size_t i = 0; i < PARTNERS; i++) {
        outputs[i] = open_memstream(&ret_texts[i], &sizes[i]);
        assert_non_null(outputs[i]);
    }
    assert_true(demo_leads_write(&options, outputs, &counts, &error));
    for (size_t i = 0; i < PARTNERS; i++)
        fclose(outputs[i]);
    return counts;
}

static void free_all(char *texts[PARTNERS])
{
    for (size_t i = 0; i < PARTNERS; i++)
        free(texts[i]);
}

/* The same seed gives the same bytes, another seed others. */
static void seed_decides(void **state)
{
    char *first[PARTNERS];
    char *again[PARTNERS];
    char *other[PARTNERS];

    (void)state;
    write_all(7, first);
    write_all(7, again);
    write_all(8, other);
    for (size_t i = 0; i < PARTNERS; i++) {
        assert_string_equal(first[i], again[i]);
        assert_string_not_equal(first[i], other[i]);
    }
    free_all(first);
    free_all(again);
    free_all(other);
}

/* Cuts a line of our CSV (values are quoted when they may hold a comma, and never hold a quote) into its columns,
 * in place. */
static void split(char *line, char *ret_columns[COLUMNS])
{
    size_t count = 0;

    while (count < COLUMNS) {
        bool is_quoted = *line == '"';
        ret_columns[count++] = line + (is_quoted ? 1 : 0);
        line = strpbrk(line + (is_quoted ? 1 : 0), is_quoted ? "\"" : ",");
        if (line == NULL)
            break;
        *line++ = '\0';
        if (is_quoted && *line == ',')
            line++;
    }
    assert_int_equal(count, COLUMNS);
}

struct seen {
    char hash[DEDUPE_HASH_SIZE];
    size_t partner;
    char *email; /* as written */
};

/* Adds the identities of one file's lines. */
static size_t read_identities(char *text, size_t partner, struct seen *ret_seen)
{
    size_t count = 0;
    char *rest = text;
    char *line = strsep(&rest, "\n"); /* the header */

    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        char *columns[COLUMNS];
        split(line, columns);
        const struct dedupe_identity identity = {.email = columns[1],
            .first_name = columns[2],
            .last_name = columns[3],
            .company_name = columns[4],
            .phone = columns[5]};
        assert_true(dedupe_hash(&identity, ret_seen[count].hash));
        assert_non_null(strstr(columns[1], "@"));
        assert_non_null(strcasestr(columns[1], ".example"));
        ret_seen[count].partner = partner;
        ret_seen[count++].email = columns[1];
    }
    return count;
}

static int compare_seen(const void *left, const void *right)
{
    return strcmp(((const struct seen *)left)->hash, ((const struct seen *)right)->hash);
}

/* The leads say how many copies there are: as many as leadrouter's own identity finds, some of them spelt in
 * another way. */
static void copies_are_identities(void **state)
{
    char *texts[PARTNERS];
    struct seen *seen = memory_new_array(LEADS, sizeof(*seen));
    struct demo_counts counts = write_all(1, texts);
    size_t count = 0;
    size_t repeated = 0;
    size_t respelt = 0;

    (void)state;
    for (size_t i = 0; i < PARTNERS; i++)
        count += read_identities(texts[i], i, seen + count);
    assert_int_equal(count, LEADS);
    qsort(seen, count, sizeof(*seen), compare_seen);
    for (size_t i = 1; i < count; i++)
        if (strcmp(seen[i].hash, seen[i - 1].hash) == 0) {
            repeated++;
            respelt += strcmp(seen[i].email, seen[i - 1].email) != 0 ? 1 : 0;
        }
    assert_int_equal(repeated, counts.copies);
    assert_true(counts.copies > LEADS / 20 && counts.copies < LEADS / 5);
    assert_true(respelt > counts.copies / 4);
    free(seen);
    free_all(texts);
}

/* A file that cannot be written is an error, not a short file. */
static void full_disk(void **state)
{
    const struct demo_options options = {.seed = 1, .leads = 10, .partners = 1};
    FILE *full = fopen("/dev/full", "w");
    struct demo_counts counts = {0};
    struct error error = {0};

    (void)state;
    assert_non_null(full);
    assert_false(demo_leads_write(&options, &full, &counts, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_decides),
        cmocka_unit_test(copies_are_identities),
        cmocka_unit_test(full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
