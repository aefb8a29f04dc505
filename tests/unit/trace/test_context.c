/* Goal: a traceparent is taken exactly as W3C Trace Context describes it, and what is none counts as absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "trace/context.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static bool parse(const char *text, struct trace_context *ret_context)
{
    return trace_context_parse(text, strlen(text), ret_context);
}

static void test_good(void **state)
{
    static const struct {
        const char *text;
        bool is_sampled;
    } cases[] = {
        {"00-" TRACE "-" PARENT "-01", true},
        {"00-" TRACE "-" PARENT "-00", false},
        {"00-" TRACE "-" PARENT "-ff", true}, /* flags that are not known are left alone */
        {"00-" TRACE "-" PARENT "-fe", false},
        {"01-" TRACE "-" PARENT "-01", true}, /* later versions begin like this one */
        {"cc-" TRACE "-" PARENT "-01-what-comes-later", true},
    };
    char trace_id[TRACE_ID_TEXT_SIZE], span_id[TRACE_SPAN_ID_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trace_context context;
        if (!parse(cases[i].text, &context))
            fail_msg("refused: %s", cases[i].text);
        assert_string_equal(trace_id_format(context.trace_id, trace_id), TRACE);
        assert_string_equal(trace_span_id_format(context.parent_id, span_id), PARENT);
        assert_int_equal(context.is_parent_sampled, cases[i].is_sampled);
        assert_true(trace_context_is_set(&context) && !context.is_sampled);
    }
}

static void test_malformed(void **state)
{
    static const char *const cases[] = {
        "",
        "00",
        "00-" TRACE "-" PARENT "-0",
        "00-" TRACE "-" PARENT "-01-",
        "00-" TRACE "-" PARENT "-01-more",
        "00-" TRACE "-" PARENT "-011",
        "cc-" TRACE "-" PARENT "-01.more",
        "ff-" TRACE "-" PARENT "-01",
        "0x-" TRACE "-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-" PARENT "-0X",
        "00_" TRACE "-" PARENT "-01",
        "00-" TRACE "_" PARENT "-01",
        "00-" TRACE "-" PARENT "_01",
        " 00-" TRACE "-" PARENT "-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331a-01",
        "00-jane@acme.example-0af7651916cd43-b7ad6b7169203331-01",
        "00-" TRACE "\xc3\xa9" PARENT "-01",
    };
    const struct trace_context untouched = {.is_parent_sampled = true};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trace_context context = untouched;
        if (parse(cases[i], &context))
            fail_msg("taken: %s", cases[i]);
        assert_memory_equal(&context, &untouched, sizeof(context));
    }
    struct trace_context context;
    assert_false(trace_context_parse(NULL, 0, &context));
    assert_false(trace_context_parse("00-" TRACE "-" PARENT "-01", 54, &context));
    assert_false(trace_context_parse("00-" TRACE "-" PARENT "-01\0", 56, &context));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_malformed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
