/* Goal: leads become the JSON that the database takes, the same leads the same hash, and each mistake names lead and field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "lead_input.h"

/* Two leads, the second with this e-mail address and these attributes. */
static bool input(
    const char *email, const char *attributes, char **ret_json, unsigned char *ret_hash, struct error *reterr_error)
{
    Leadrouter__V1__NewLead leads[2] = {LEADROUTER__V1__NEW_LEAD__INIT, LEADROUTER__V1__NEW_LEAD__INIT};
    Leadrouter__V1__NewLead *pointers[2] = {&leads[0], &leads[1]};
    Leadrouter__V1__CreateLeadsRequest request = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;

    leads[1].email = (char *)(uintptr_t)email;
    leads[1].attributes_json = (char *)(uintptr_t)attributes;
    request.leads = pointers;
    request.n_leads = 2;
    return lead_input_json(&request, ret_json, ret_hash, reterr_error);
}

static void leads_become_json(void **state)
{
    unsigned char hash[LEAD_INPUT_HASH_SIZE], same[LEAD_INPUT_HASH_SIZE], other[LEAD_INPUT_HASH_SIZE];
    char *json = NULL;
    struct error error = {0};

    (void)state;
    assert_true(input("a\"b@example.com", "{\"n\":[1]}", &json, hash, &error));
    assert_string_equal(json, "[{},{\"email\":\"a\\\"b@example.com\",\"attributes\":{\"n\":[1]}}]");
    free(json);
    assert_true(input("a\"b@example.com", "{\"n\":[1]}", &json, same, &error));
    free(json);
    assert_memory_equal(hash, same, sizeof(hash));
    assert_true(input("b@example.com", "{\"n\":[1]}", &json, other, &error));
    free(json);
    assert_memory_not_equal(hash, other, sizeof(hash));
}

static void mistakes_are_named(void **state)
{
    static char long_text[LEAD_INPUT_FIELD_SIZE_MAX + 2];
    static char long_attributes[LEAD_INPUT_ATTRIBUTES_SIZE_MAX + 2];
    const struct {
        const char *email;
        const char *attributes;
        const char *text;
    } cases[] = {
        {long_text, "", "leads[1].email: longer than 1000 bytes"},
        {"", "{", "leads[1].attributes_json: not valid JSON at byte 1"},
        {"", "[]", "leads[1].attributes_json: must be a JSON object"},
        {"", "{} x", "leads[1].attributes_json: not valid JSON at byte "},
        {"", "{\"a\": 1, \"a\": 2}", "leads[1].attributes_json: not valid JSON at byte "},
        {"", long_attributes, "leads[1].attributes_json: longer than 65536 bytes"},
    };

    (void)state;
    memset(long_text, 'x', sizeof(long_text) - 1);
    memset(long_attributes, ' ', sizeof(long_attributes) - 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsigned char hash[LEAD_INPUT_HASH_SIZE];
        char *json = NULL;
        struct error error = {0};
        assert_false(input(cases[i].email, cases[i].attributes, &json, hash, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_memory_equal(error.text, cases[i].text, strlen(cases[i].text));
        assert_null(json);
    }
}

static void counts_have_bounds(void **state)
{
    static Leadrouter__V1__NewLead lead = LEADROUTER__V1__NEW_LEAD__INIT;
    static Leadrouter__V1__NewLead *leads[LEAD_INPUT_COUNT_MAX + 1];
    Leadrouter__V1__CreateLeadsRequest request = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;
    unsigned char hash[LEAD_INPUT_HASH_SIZE];
    char *json = NULL;
    struct error error = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(leads); i++)
        leads[i] = &lead;
    request.leads = leads;
    assert_false(lead_input_json(&request, &json, hash, &error));
    assert_string_equal(error.text, "leads: at least one is needed");
    request.n_leads = COUNT_OF(leads);
    assert_false(lead_input_json(&request, &json, hash, &error));
    assert_string_equal(error.text, "leads: 1001 given, at most 1000 are taken in one call");
    request.n_leads = LEAD_INPUT_COUNT_MAX;
    assert_true(lead_input_json(&request, &json, hash, &error));
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(leads_become_json), cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(counts_have_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
