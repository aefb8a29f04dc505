/* Goal: values become uniform as normalize.h says, twice is once, and the identity of what is stored is that of what came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/phone.h"
#include "ingest/normalize.h"
#include "ingest/parts.h"

/* A value, and what it becomes; NULL where it is none. */
struct example {
    enum ingest_field field;
    const char *text;
    const char *expected;
    const char *country;
    const char *state;
};

static void check(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct example *example = &examples[i];
        const char *country = example->country == NULL ? "" : example->country;
        const char *state = example->state == NULL ? "" : example->state;
        struct arena *arena = arena_new(0);
        const char *text = NULL;
        bool ok = ingest_normalize(example->field, example->text, country, state, arena, &text);
        assert_int_equal(ok, example->expected != NULL);
        if (ok) {
            const char *again = NULL;
            assert_string_equal(text, example->expected);
            assert_true(ingest_normalize(example->field, text, country, state, arena, &again));
            assert_string_equal(again, text);
        }
        arena_free(arena);
    }
}

static void test_texts(void **state)
{
    static const struct example examples[] = {
        {INGEST_FIELD_FIRST_NAME, "  Jose\xCC\x81 \t Maria ", "Jos\xC3\xA9 Maria", NULL, NULL},
        {INGEST_FIELD_CITY, " \xC2\xA0 ", "", NULL, NULL},
        {INGEST_FIELD_CITY, "\xFF", NULL, NULL, NULL},
        {INGEST_FIELD_EMAIL, " Ann.Lee@ACME.Example ", "Ann.Lee@acme.example", NULL, NULL},
        {INGEST_FIELD_EMAIL, "ann@acme", NULL, NULL, NULL},
        {INGEST_FIELD_EMAIL, "n/a", NULL, NULL, NULL},
    };

    (void)state;
    check(examples, COUNT_OF(examples));
}

static void test_places(void **state)
{
    static const struct example examples[] = {
        {INGEST_FIELD_COUNTRY, "united  states", "US", NULL, NULL},
        {INGEST_FIELD_COUNTRY, "IND", "IN", NULL, NULL},
        {INGEST_FIELD_COUNTRY, "Atlantis", "Atlantis", NULL, NULL},
        {INGEST_FIELD_STATE, "california", "CA", NULL, NULL},
        {INGEST_FIELD_STATE, "california", "CA", "US", NULL},
        {INGEST_FIELD_STATE, "WA", "WA", "AU", NULL},
        {INGEST_FIELD_STATE, "Western Australia", "Western Australia", "AU", NULL},
        {INGEST_FIELD_POSTAL_CODE, "8014", "08014", "US", NULL},
        {INGEST_FIELD_POSTAL_CODE, "8014", "08014", NULL, "NJ"},
        {INGEST_FIELD_POSTAL_CODE, "8014", "8014", NULL, NULL},
        {INGEST_FIELD_POSTAL_CODE, "8014", "8014", "CH", "NJ"},
        {INGEST_FIELD_POSTAL_CODE, "08014-1234", "08014-1234", "US", NULL},
    };

    (void)state;
    check(examples, COUNT_OF(examples));
}

static void test_bands(void **state)
{
    static const struct example examples[] = {
        {INGEST_FIELD_COMPANY_SIZE, "9", "1-10", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "10", "11-50", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "1,200 employees", "1001-5000", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "51-200", "51-200", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE,
            "51\xE2\x80\x93"
            "200",
            "51-200", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "11 to 25", "11-50", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "20-100", "20-100", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "10000+", "10000+", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "-5", "-5", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "large", "large", NULL, NULL},
        {INGEST_FIELD_COMPANY_SIZE, "2 offices", "2 offices", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "999999", "<$1M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "1.5E6", "$1M-$10M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "$12.5 million", "$10M-$50M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "Under 1 Million", "<$1M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "1 Million to 10 Million", "$1M-$10M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "10-50 Mio", "$10M-$50M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "$500M-$1B", "$500M-$1B", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "<$1M", "<$1M", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "$1B+", "$1B+", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "2000000000", "$1B+", NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE,
            "\xE2\x82\xAC"
            "2m",
            "\xE2\x82\xAC"
            "2m",
            NULL, NULL},
        {INGEST_FIELD_COMPANY_REVENUE, "5M EUR", "5M EUR", NULL, NULL},
    };

    (void)state;
    check(examples, COUNT_OF(examples));
}

/* Goal: every band that is written is read as itself. */
static void test_bands_are_themselves(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    for (double number = 1; number < 1e11; number *= 3) {
        const char *text = NULL;
        assert_true(ingest_normalize(INGEST_FIELD_COMPANY_SIZE, ingest_size_band(number), "", "", arena, &text));
        assert_string_equal(text, ingest_size_band(number));
        assert_true(ingest_normalize(INGEST_FIELD_COMPANY_REVENUE, ingest_revenue_band(number), "", "", arena, &text));
        assert_string_equal(text, ingest_revenue_band(number));
    }
    arena_free(arena);
}

/* Goal: the digits of the uniform form are those of what came, so that the identity is the same; also for numbers of ten digits from
 * abroad, which would otherwise be taken for American ones. */
static void test_phones(void **state)
{
    static const struct example examples[] = {
        {INGEST_FIELD_PHONE, "504-621-8927", "+15046218927", NULL, NULL},
        {INGEST_FIELD_PHONE, "(504) 621-8927 ext. 12", "+15046218927", NULL, NULL},
        {INGEST_FIELD_PHONE, "1 504 621 8927", "+15046218927", NULL, NULL},
        {INGEST_FIELD_PHONE, "+49 30 901820", "+4930901820", NULL, NULL},
        {INGEST_FIELD_PHONE, "0049 30 901820", "+4930901820", NULL, NULL},
        {INGEST_FIELD_PHONE, "011 49 30 901820", "+4930901820", NULL, NULL},
        {INGEST_FIELD_PHONE, "030 901820", "030901820", NULL, NULL},
        {INGEST_FIELD_PHONE, "", "", NULL, NULL},
        {INGEST_FIELD_PHONE, "n/a", NULL, NULL, NULL},
        {INGEST_FIELD_PHONE, "123456", NULL, NULL, NULL},
        {INGEST_FIELD_PHONE, "1234567890123456", NULL, NULL, NULL},
    };

    (void)state;
    check(examples, COUNT_OF(examples));
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        char came[64] = "";
        char stored[64] = "";
        if (examples[i].expected == NULL)
            continue;
        (void)phone_digits(examples[i].text, strlen(examples[i].text), came, sizeof(came));
        (void)phone_digits(examples[i].expected, strlen(examples[i].expected), stored, sizeof(stored));
        assert_string_equal(came, stored);
    }
}

static void test_parts(void **state)
{
    static const struct {
        enum ingest_part part;
        const char *text;
        const char *expected;
    } examples[] = {
        {INGEST_PART_FIRST_NAME, "  Ann  van der Lee ", "Ann"},
        {INGEST_PART_LAST_NAME, "  Ann  van der Lee ", "van der Lee"},
        {INGEST_PART_LAST_NAME, "Ann", ""},
        {INGEST_PART_CITY, "Austin, TX, 78701", "Austin"},
        {INGEST_PART_STATE, "Austin, TX, 78701", "TX"},
        {INGEST_PART_POSTAL_CODE, "Austin, TX, 78701", "78701"},
        {INGEST_PART_COUNTRY, "Austin, TX, 78701", ""},
        {INGEST_PART_POSTAL_CODE, "Austin, TX 78701-1234", "78701-1234"},
        {INGEST_PART_STATE, "Austin, TX 78701-1234", "TX"},
        {INGEST_PART_CITY, "1 Main St, Austin, Texas, United States", "Austin"},
        {INGEST_PART_COUNTRY, "1 Main St, Austin, Texas, United States", "United States"},
        {INGEST_PART_STATE, "Toronto, Ontario, Canada", "Ontario"},
        {INGEST_PART_CITY, "Berlin, Germany", "Berlin"},
        {INGEST_PART_STATE, "Berlin, Germany", ""},
        {INGEST_PART_STATE, "Atlanta, Georgia", "Georgia"},
        {INGEST_PART_COUNTRY, "San Jose, CA", ""},
        {INGEST_PART_CITY, "Austin TX", "Austin"},
        {INGEST_PART_STATE, "Austin TX", "TX"},
        {INGEST_PART_STATE, "California", "California"},
        {INGEST_PART_CITY, "California", ""},
        {INGEST_PART_COUNTRY, "India", "India"},
        {INGEST_PART_CITY, ", ,", ""},
        {INGEST_PART_CITY, "a,b,c,d,e,f,g,h,i,j", "h,i,j"},
        {INGEST_PART_CITY, "a,b,c,d,e,f,g,", "g"},
        {INGEST_PART_CITY, "a,b,c,d,e,f,g,,", ","},
    };
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++)
        assert_string_equal(ingest_part_of(examples[i].part, examples[i].text, arena), examples[i].expected);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_bands),
        cmocka_unit_test(test_bands_are_themselves),
        cmocka_unit_test(test_phones),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
