/* Goal: a token leads back to the place it was made for, under the filter it was made for; anything else is refused, whatever is
 * changed in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "page_token.h"

static struct page_filter filter;

static int setup(void **state)
{
    (void)state;
    filter = (struct page_filter){.workspace_id = uuid_random(), .due_only = true};
    return 0;
}

static bool is_refused(const char *token, const struct page_filter *other)
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
        struct page_place place = {.next_retry_us = times[i], .queue_id = uuid_random()};
        struct page_place read;
        struct error error = {0};
        char token[PAGE_TOKEN_SIZE];
        assert_true(page_token_read(page_token_write(&place, &filter, token), &filter, &read, &error));
        assert_int_equal(read.next_retry_us, place.next_retry_us);
        assert_true(uuid_equal(&read.queue_id, &place.queue_id));
    }
}

/* A token goes with its filter. */
static void another_filter(void **state)
{
    struct page_place place = {.next_retry_us = 5, .queue_id = uuid_random()};
    struct page_filter other = filter;
    char token[PAGE_TOKEN_SIZE];

    (void)state;
    page_token_write(&place, &filter, token);
    other.due_only = false;
    assert_true(is_refused(token, &other));
    other = filter;
    other.workspace_id = uuid_nil;
    assert_true(is_refused(token, &other));
}

/* No letter can be changed, left out or added. */
static void altered(void **state)
{
    struct page_place place = {.next_retry_us = 5, .queue_id = uuid_random()};
    char token[PAGE_TOKEN_SIZE];
    char longer[PAGE_TOKEN_SIZE + 1];

    (void)state;
    page_token_write(&place, &filter, token);
    for (size_t i = 0; i < PAGE_TOKEN_SIZE - 1; i++) {
        char kept = token[i];
        token[i] = kept == '0' ? '1' : '0';
        assert_true(is_refused(token, &filter));
        token[i] = 'g';
        assert_true(is_refused(token, &filter));
        token[i] = '\0';
        assert_true(is_refused(token, &filter));
        token[i] = kept;
    }
    memcpy(longer, token, PAGE_TOKEN_SIZE - 1);
    memcpy(longer + PAGE_TOKEN_SIZE - 1, "0", 2);
    assert_true(is_refused(longer, &filter));
    assert_true(is_refused("", &filter));
    assert_true(is_refused("2", &filter));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(there_and_back, setup),
        cmocka_unit_test_setup(another_filter, setup),
        cmocka_unit_test_setup(altered, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
