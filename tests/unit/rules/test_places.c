/* Goal: every spelling of a country or state leads to its code, and the regions are the specification's, state by
 * state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/text.h"
#include "rules/places.h"
#include "rules/places_table.h"

static const char *country(const char *text)
{
    char folded[TEXT_CAPACITY(128)];
    size_t size = 0;
    assert_true(text_normalize(text, strlen(text), TEXT_FOLD, folded, sizeof(folded), &size));
    return place_country_code(folded);
}

static const char *state(const char *text)
{
    char folded[TEXT_CAPACITY(128)];
    size_t size = 0;
    assert_true(text_normalize(text, strlen(text), TEXT_FOLD, folded, sizeof(folded), &size));
    return place_state_code(folded);
}

static const char *region(const char *text)
{
    char folded[TEXT_CAPACITY(128)];
    size_t size = 0;
    assert_true(text_normalize(text, strlen(text), TEXT_FOLD, folded, sizeof(folded), &size));
    return place_state_region(folded);
}

static void test_countries(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        const char *code;
    } cases[] = {
        {"India", "IN"},
        {"IN", "IN"},
        {"ind", "IN"},
        {"356", "IN"},
        {"  REPUBLIC  of india ", "IN"},
        {"US", "US"},
        {"USA", "US"},
        {"U.S.", "US"},
        {"u.s.a.", "US"},
        {"United States", "US"},
        {"840", "US"},
        {"United States of America", "US"},
        {"america", "US"},
        {"UK", "GB"},
        {"U.K.", "GB"},
        {"GB", "GB"},
        {"gbr", "GB"},
        {"Great Britain", "GB"},
        {"England", "GB"},
        {"United Kingdom", "GB"},
        {"UAE", "AE"},
        {"Russia", "RU"},
        {"South Korea", "KR"},
        {"Korea, Republic of", "KR"},
        {"Vietnam", "VN"},
        {"Viet Nam", "VN"},
        {"Turkey", "TR"},
        {"T\u00fcrkiye", "TR"},
        {"Turkiye", "TR"},
        {"Czech Republic", "CZ"},
        {"Czechia", "CZ"},
        {"Ivory Coast", "CI"},
        {"C\u00f4te d'Ivoire", "CI"},
        {"Co\u0302te d'Ivoire", "CI"},
        {"Cote d'Ivoire", "CI"},
        {"Tanzania", "TZ"},
        {"Hong Kong", "HK"},
        {"Holland", "NL"},
        {"Bolivia", "BO"},
        {"Iran", "IR"},
        {"004", "AF"},
        {"\u00c5LAND ISLANDS", "AX"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *code = country(cases[i].text);
        if (code == NULL || strcmp(code, cases[i].code) != 0) {
            fail_msg("%s is %s, not %s", cases[i].text, code == NULL ? "unknown" : code, cases[i].code);
        }
    }
    static const char *const unknown[] = {"", "unknown", "Asia/Pacific Region", "XX", "4", "US-CA", "Ind ia", "india."};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        assert_null(country(unknown[i]));
    }
    assert_true(place_country_code_count >= 249);
}

static void test_states(void **unused)
{
    (void)unused;
    static const char *const california[] = {"CA", "ca", "US-CA", "us-ca", "California", " CALIFORNIA "};
    static const char *const capital[] = {"D.C.", "District of Columbia", "DC", "Washington, DC"};
    static const char *const none[] = {"Ontario", "", "XX", "C A"};
    for (size_t i = 0; i < COUNT_OF(california); i++) {
        assert_string_equal(state(california[i]), "CA");
    }
    for (size_t i = 0; i < COUNT_OF(capital); i++) {
        assert_string_equal(state(capital[i]), "DC");
    }
    assert_string_equal(state("Washington"), "WA");
    assert_string_equal(state("Puerto Rico"), "PR");
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_null(state(none[i]));
    }
    for (size_t i = 0; i < place_state_code_count; i++) {
        assert_string_equal(state(place_state_codes[i]), place_state_codes[i]);
    }
    assert_int_equal(place_state_code_count, 57);
}

/* The table of the specification once more, in another form, so that a slip in one of them shows. */
static void test_regions(void **unused)
{
    (void)unused;
    static const struct {
        const char *region;
        const char *names; /* of the states, each ended by a bar */
    } cases[] = {
        {"Northeast",
            "Connecticut|Maine|Massachusetts|New Hampshire|Rhode Island|Vermont|New York|New Jersey|Pennsylvania|"},
        {"Southeast", "Delaware|Florida|Georgia|Maryland|North Carolina|South Carolina|Virginia|West Virginia|Kentucky|"
                      "Tennessee|Alabama|Mississippi|Arkansas|Louisiana|District of Columbia|"},
        {"Midwest", "Illinois|Indiana|Michigan|Ohio|Wisconsin|Iowa|Kansas|Minnesota|Missouri|Nebraska|North Dakota|"
                    "South Dakota|"},
        {"Southwest", "Arizona|New Mexico|Oklahoma|Texas|"},
        {"West", "Colorado|Idaho|Montana|Nevada|Utah|Wyoming|Alaska|California|Hawaii|Oregon|Washington|"},
    };
    size_t in_a_region = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (const char *name = cases[i].names; *name != '\0'; name = strchr(name, '|') + 1) {
            char one[64] = "";
            memcpy(one, name, (size_t)(strchr(name, '|') - name));
            assert_non_null(state(one));
            assert_string_equal(region(one), cases[i].region);
            in_a_region++;
        }
    }
    assert_int_equal(in_a_region, 51);
    for (size_t i = 0; i < place_state_code_count; i++) {
        in_a_region -= region(place_state_codes[i]) != NULL;
    }
    assert_int_equal(in_a_region, 0); /* and no other */
    assert_null(region("Puerto Rico"));
    assert_null(region("Ontario"));
    assert_string_equal(place_region_name("northeast"), "Northeast");
    assert_true(place_region_name("north") == NULL && place_region_name("") == NULL && place_region_name("CA") == NULL);
}

static void test_table_is_sorted(void **unused)
{
    (void)unused;
    for (size_t i = 1; i < place_country_name_count; i++) {
        assert_true(strcmp(place_country_names[i - 1].name, place_country_names[i].name) < 0);
    }
    for (size_t i = 1; i < place_state_name_count; i++) {
        assert_true(strcmp(place_state_names[i - 1].name, place_state_names[i].name) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_countries),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_table_is_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
