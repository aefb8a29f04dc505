/* Goal: a token leads back to the place it was made for, for the list it was made for; anything else is refused, whatever is
 * changed in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "page_token.h"

static const char list[] = "ListRetries 00000000-0000-4000-8000-000000000001 due";

static bool is_refused(const char *token, const char *other)
{
    struct page_place place;
    struct error error = {0};

    return !page_token_read(token, other, &place, &error) && error.code == ERROR_INVALID &&
           strncmp(error.text, "page_token: ", strlen("page_token: ")) == 0;
}

/* Every kind of time comes back, infinity included. */
static void there_and_back(void **state)
{
    static const int64_t times[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_C(1790000000000000)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct page_place place = {.time_us = times[i], .id = uuid_random()};
        struct page_place read;
        struct error error = {0};
        char token[PAGE_TOKEN_SIZE];
        assert_true(page_token_read(page_token_write(&place, list, token), list, &read, &error));
        assert_int_equal(read.time_us, place.time_us);
        assert_true(uuid_equal(&read.id, &place.id));
    }
}

/* A token goes with its list, to the last letter. */
static void another_list(void **state)
{
    struct page_place place = {.time_us = 5, .id = uuid_random()};
    char token[PAGE_TOKEN_SIZE];

    (void)state;
    page_token_write(&place, list, token);
    assert_true(is_refused(token, "ListRetries 00000000-0000-4000-8000-000000000001"));
    assert_true(is_refused(token, "ListRetries 00000000-0000-4000-8000-000000000002 due"));
    assert_true(is_refused(token, "ListLeads 00000000-0000-4000-8000-000000000001 due"));
    assert_true(is_refused(token, ""));
}

/* No letter can be changed, left out or added. */
static void altered(void **state)
{
    struct page_place place = {.time_us = 5, .id = uuid_random()};
    char token[PAGE_TOKEN_SIZE];
    char longer[PAGE_TOKEN_SIZE + 1];

    (void)state;
    page_token_write(&place, list, token);
    for (size_t i = 0; i < PAGE_TOKEN_SIZE - 1; i++) {
        char kept = token[i];
        token[i] = kept == '0' ? '1' : '0';
        assert_true(is_refused(token, list));
        token[i] = 'g';
        assert_true(is_refused(token, list));
        token[i] = '\0';
        assert_true(is_refused(token, list));
        token[i] = kept;
    }
    memcpy(longer, token, PAGE_TOKEN_SIZE - 1);
    memcpy(longer + PAGE_TOKEN_SIZE - 1, "0", 2);
    assert_true(is_refused(longer, list));
    assert_true(is_refused("", list));
    assert_true(is_refused("2", list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(another_list),
        cmocka_unit_test(altered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
