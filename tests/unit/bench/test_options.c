/* Goal: the command line gives what it says, and each mistake is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "options.h"

static bool parse(const char *const *arguments, size_t count, struct bench_options *options, struct error *error)
{
    return options_parse((int)count, (char *const *)(const void *)arguments, options, error);
}

#define PARSE(options, error, ...)                                                                                     \
    parse((const char *const[]){"leadrouter-bench", __VA_ARGS__},                                                      \
        COUNT_OF(((const char *const[]){"leadrouter-bench", __VA_ARGS__})), (options), (error))

/* Defaults, and values in the fields they belong to. */
static void values(void **state)
{
    struct bench_options options = {0};
    struct error error = {0};

    (void)state;
    assert_true(PARSE(&options, &error, "compare", "--rounds", "1", "--leads", "1000", "--json"));
    assert_int_equal(options.command, BENCH_COMPARE);
    assert_int_equal(options.rounds, 1);
    assert_int_equal(options.workload.leads, 1000);
    assert_int_equal(options.workload.workspaces, 50);
    assert_int_equal(options.workload.rules, 20);
    assert_int_equal(options.workload.duplicates_percent, 10);
    assert_true(options.json);
    assert_null(options.only);
    assert_true(PARSE(&options, &error, "compare", "--only", "unary-64,ceiling"));
    assert_string_equal(options.only, "unary-64,ceiling");
    assert_true(PARSE(&options, &error, "load", "--database", "dbname=x", "--in-flight", "256", "--rate", "500"));
    assert_int_equal(options.command, BENCH_LOAD);
    assert_int_equal(options.in_flight, 256);
    assert_int_equal(options.rate, 500);
    assert_string_equal(options.database, "dbname=x");
    assert_string_equal(options.target, "127.0.0.1:7450");
    assert_int_equal(options.callers, 100);
    assert_true(PARSE(&options, &error, "tokens", "--callers", "7"));
    assert_int_equal(options.command, BENCH_TOKENS);
    assert_int_equal(options.callers, 7);
    assert_true(PARSE(&options, &error, "telemetry", "--in-flight", "8", "--only", "on"));
    assert_int_equal(options.command, BENCH_TELEMETRY);
    assert_string_equal(options.only, "on");
    assert_int_equal(options.in_flight, 8);
    assert_true(PARSE(&options, &error, "tenants", "--limit", "50"));
    assert_int_equal(options.command, BENCH_TENANTS);
    assert_int_equal(options.limit, 50);
    assert_int_equal(options.rate, 500); /* of the quiet one; two workspaces, so that there are leads enough of each */
    assert_int_equal(options.workload.workspaces, 2);
    assert_int_equal(options.duration_s, 5);
    assert_int_equal(options.idle_wait_s, 20);
}

/* Of scenarios. */
static void values_of_scenarios(void **state)
{
    struct bench_options options = {0};
    struct error error = {0};

    (void)state;
    assert_true(PARSE(&options, &error, "scenarios"));
    assert_int_equal(options.command, BENCH_SCENARIOS);
    assert_int_equal(options.duration_s, 10);
    assert_int_equal(options.margin, 1);
    assert_null(options.picture);
    assert_true(PARSE(&options, &error, "scenarios", "--only", "rate,retries", "--duration", "60", "--margin", "10",
        "--picture", "x.svg", "--idle-wait", "0"));
    assert_string_equal(options.only, "rate,retries");
    assert_int_equal(options.duration_s, 60);
    assert_int_equal(options.margin, 10);
    assert_string_equal(options.picture, "x.svg");
    assert_int_equal(options.idle_wait_s, 0);
}

/* Help needs nothing else. */
static void help(void **state)
{
    struct bench_options options = {0};
    struct error error = {0};

    (void)state;
    assert_true(PARSE(&options, &error, "--help"));
    assert_true(options.help);
    assert_true(PARSE(&options, &error, "load", "--help"));
    assert_true(options.help);
}

static void assert_refused(bool accepted, const struct error *error, const char *part)
{
    assert_false(accepted);
    assert_int_equal(error->code, ERROR_INVALID);
    assert_non_null(strstr(error->text, part));
}

/* What is wrong is refused, and the message names it. */
static void mistakes(void **state)
{
    struct bench_options options = {0};
    struct error error = {0};

    (void)state;
    assert_refused(PARSE(&options, &error, "explode"), &error, "explode");
    assert_refused(PARSE(&options, &error, "load"), &error, "--database");
    assert_refused(PARSE(&options, &error, "compare", "--rounds"), &error, "--rounds");
    assert_refused(PARSE(&options, &error, "compare", "--rounds", "0"), &error, "--rounds");
    assert_refused(PARSE(&options, &error, "compare", "--leads", "12x"), &error, "12x");
    assert_refused(PARSE(&options, &error, "compare", "--leads", ""), &error, "--leads");
    assert_refused(PARSE(&options, &error, "compare", "--duplicates", "91"), &error, "90");
    assert_refused(PARSE(&options, &error, "compare", "--in-flight", "5"), &error, "--in-flight"); /* belongs to load */
    assert_refused(PARSE(&options, &error, "scenarios", "--margin", "0"), &error, "--margin");
    assert_refused(PARSE(&options, &error, "scenarios", "--margin", "ten"), &error, "ten");
    assert_refused(PARSE(&options, &error, "scenarios", "--duration", "0"), &error, "--duration");
    assert_refused(PARSE(&options, &error, "scenarios", "--duration", "3601"), &error, "3600");
    assert_refused(PARSE(&options, &error, "scenarios", "--idle-wait", "-1"), &error, "--idle-wait");
    assert_refused(PARSE(&options, &error, "scenarios", "--picture"), &error, "--picture");
    assert_refused(
        PARSE(&options, &error, "scenarios", "--leads", "5"), &error, "--leads"); /* they follow from the rates */
    assert_refused(PARSE(&options, &error, "scenarios", "--rounds", "5"), &error, "--rounds");
    assert_refused(PARSE(&options, &error, "compare", "--margin", "5"), &error, "--margin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(values_of_scenarios),
        cmocka_unit_test(help),
        cmocka_unit_test(mistakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
