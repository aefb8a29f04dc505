/* Goal: the text format is exactly Prometheus' 0.0.4, whatever stands in labels; every series is there from the start; and
 * docs/metrics.md is the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "metrics/metrics.h"

enum { SIZE_MAX_ = 1 << 22 };

static const char *const methods[] = {"one", "two"};
static const char *const codes[] = {"OK", "ABORTED", "INTERNAL"};
static const char *const versions[] = {"1.2.3"};

static struct metrics *make(void)
{
    const struct metrics_values values[] = {
        {METRICS_LABEL_METHOD, methods, 2}, {METRICS_LABEL_CODE, codes, 3}, {METRICS_LABEL_VERSION, versions, 1}};

    return metrics_new(values, COUNT_OF(values));
}

static void assert_line(const struct buffer *buffer, const char *line)
{
    char whole[1300];

    snprintf(whole, sizeof(whole), "\n%s\n", line);
    if (strstr(buffer_text(buffer), whole) == NULL)
        fail_msg("not there: %s", line);
}

/* Series with values that only the program knows are there before anything happens, and with fixed values too. */
static void every_series_from_the_start(void **state)
{
    struct metrics *metrics = make();
    struct buffer buffer = {.size_max = SIZE_MAX_};

    (void)state;
    assert_true(metrics_write(metrics, &buffer));
    assert_line(&buffer, "leadrouter_rpc_started_total{method=\"two\"} 0");
    assert_line(&buffer, "leadrouter_rpc_handled_total{method=\"one\",code=\"ABORTED\"} 0");
    assert_line(&buffer, "leadrouter_rpc_duration_seconds_bucket{method=\"one\",le=\"0.05\"} 0");
    assert_line(&buffer, "leadrouter_rpc_duration_seconds_sum{method=\"two\"} 0");
    assert_line(&buffer, "leadrouter_decisions_total{outcome=\"failed\",origin=\"retry\"} 0");
    assert_line(&buffer, "leadrouter_database_errors_total{sqlstate=\"55P03\"} 0");
    assert_line(&buffer, "leadrouter_database_up 0");
    for (int i = 0; i < METRICS_COUNT; i++) {
        char line[128];
        snprintf(line, sizeof(line), "\n# TYPE %s ", metrics_table[i].name);
        assert_non_null(strstr(buffer_text(&buffer), line));
        snprintf(line, sizeof(line), "\n%s", metrics_table[i].name);
        if (metrics_table[i].type != METRICS_LIST)
            assert_non_null(strstr(buffer_text(&buffer), line));
    }
    buffer_release(&buffer);
    metrics_free(metrics);
}

/* Seconds are added as nanoseconds; a level that was seen lowered first is 0 and not below. */
static void numbers(void **state)
{
    struct metrics *metrics = make();
    struct buffer buffer = {.size_max = SIZE_MAX_};

    (void)state;
    metrics_observe(metrics, METRIC_RPC_DURATION, 1, 0, 49999999);
    metrics_observe(metrics, METRIC_RPC_DURATION, 1, 0, 50000000);
    metrics_observe(metrics, METRIC_RPC_DURATION, 1, 0, 50000001);
    metrics_add(metrics, METRIC_RPC_IN_FLIGHT, 0, 0, -1);
    metrics_set(metrics, METRIC_START, 0, 0, 1764360000.25);
    metrics_set(metrics, METRIC_RESIDENT, 0, 0, 123456789012.0);
    assert_true(metrics_write(metrics, &buffer));
    assert_line(&buffer, "leadrouter_rpc_duration_seconds_bucket{method=\"two\",le=\"0.025\"} 0");
    assert_line(&buffer, "leadrouter_rpc_duration_seconds_bucket{method=\"two\",le=\"0.05\"} 2");
    assert_line(&buffer, "leadrouter_rpc_duration_seconds_bucket{method=\"two\",le=\"0.1\"} 3");
    assert_line(&buffer, "leadrouter_rpc_duration_seconds_sum{method=\"two\"} 0.15");
    assert_line(&buffer, "leadrouter_rpc_in_flight{method=\"one\"} 0");
    assert_line(&buffer, "process_start_time_seconds 1764360000.25");
    assert_line(&buffer, "process_resident_memory_bytes 123456789012");
    buffer_release(&buffer);
    metrics_free(metrics);
}

/* Quotes, backslashes and ends of lines are escaped, bytes that are no UTF-8 replaced, long names cut on a code point. */
static void hostile_labels(void **state)
{
    struct metrics *metrics = make();
    struct buffer buffer = {.size_max = SIZE_MAX_};
    char longest[1001];
    struct metrics_entry entries[METRICS_LIST_MAX + 5];

    (void)state;
    memset(longest, 'x', 1000);
    longest[1000] = '\0';
    memcpy(&longest[126], "é", 2);
    entries[0] = (struct metrics_entry){{"1", "a\"} 1\n# EOF\n\\<script>alert('x')</script>"}, 4};
    entries[1] = (struct metrics_entry){{"2", "caf\xe9 \xff"}, 5};
    entries[2] = (struct metrics_entry){{"3", longest}, 6};
    for (size_t i = 3; i < COUNT_OF(entries); i++)
        entries[i] = (struct metrics_entry){{"4", ""}, 1};
    metrics_set_list(metrics, METRIC_RETRIES_DUE_TOP, entries, COUNT_OF(entries));
    assert_true(metrics_write(metrics, &buffer));
    assert_line(&buffer, "leadrouter_workspace_retries_due{workspace_id=\"1\",workspace=\"a\\\"} 1\\n# EOF\\n\\\\"
                         "<script>alert('x')</script>\"} 4");
    assert_line(
        &buffer, "leadrouter_workspace_retries_due{workspace_id=\"2\",workspace=\"caf\xef\xbf\xbd \xef\xbf\xbd\"} 5");
    longest[126] = '\0';
    char line[1200];
    snprintf(line, sizeof(line), "leadrouter_workspace_retries_due{workspace_id=\"3\",workspace=\"%s\"} 6", longest);
    assert_line(&buffer, line);
    size_t count = 0;
    for (const char *at = buffer_text(&buffer); (at = strstr(at, "\nleadrouter_workspace_retries_due{")) != NULL; at++)
        count++;
    assert_int_equal(count, METRICS_LIST_MAX);
    metrics_set_list(metrics, METRIC_RETRIES_DUE_TOP, NULL, 0);
    buffer_clear(&buffer);
    assert_true(metrics_write(metrics, &buffer));
    assert_null(strstr(buffer_text(&buffer), "\nleadrouter_workspace_retries_due{"));
    buffer_release(&buffer);
    metrics_free(metrics);
}

/* A buffer that is too small is said to be. */
static void full(void **state)
{
    struct metrics *metrics = make();
    struct buffer buffer = {.size_max = 1000};

    (void)state;
    assert_false(metrics_write(metrics, &buffer));
    buffer_release(&buffer);
    metrics_free(metrics);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    size_t end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* Names follow Prometheus' conventions: a prefix that says whose they are, lower case, the unit at the end, behind it _total of counters
 * and of nothing else; no unit that it is not; nothing twice. */
static void names(void **state)
{
    static const char *const units[] = {[METRICS_SECONDS] = "_seconds", [METRICS_BYTES] = "_bytes"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";

    (void)state;
    for (int i = 0; i < METRICS_COUNT; i++) {
        const struct metrics_family *family = &metrics_table[i];
        bool is_counter = family->type == METRICS_COUNTER || family->type == METRICS_TOTAL;
        char name[128];
        assert_int_equal(strspn(family->name, letters), strlen(family->name));
        assert_true(strncmp(family->name, "leadrouter_", 11) == 0 || strncmp(family->name, "process_", 8) == 0);
        snprintf(name, sizeof(name), "%s", family->name);
        assert_int_equal(ends_with(name, "_total"), is_counter);
        if (is_counter)
            name[strlen(name) - strlen("_total")] = '\0';
        for (size_t unit = METRICS_SECONDS; unit < COUNT_OF(units); unit++)
            assert_int_equal(ends_with(name, units[unit]), family->unit == unit);
        assert_null(strstr(name, "_ms"));
        assert_int_equal(family->help[strlen(family->help) - 1], '.');
        assert_int_equal(family->type == METRICS_HISTOGRAM, family->edges != NULL);
        for (int other = 0; other < i; other++)
            assert_string_not_equal(metrics_table[other].name, family->name);
    }
}

/* docs/metrics.md is what the table says: leadrouter-metrics-page writes it. */
static void documentation(void **state)
{
    char path[4096];
    struct buffer wanted = {.size_max = SIZE_MAX_};
    struct buffer found = {.size_max = SIZE_MAX_};
    char part[4096];
    size_t size = 0;

    (void)state;
    snprintf(path, sizeof(path), "%s/docs/metrics.md", getenv("LEADROUTER_SOURCE_DIR"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while ((size = fread(part, 1, sizeof(part), file)) > 0)
        buffer_append(&found, part, size);
    fclose(file);
    assert_true(metrics_describe(&wanted));
    if (strcmp(buffer_text(&wanted), buffer_text(&found)) != 0)
        fail_msg(
            "docs/metrics.md is not what the table says: build leadrouter-metrics-page, and write its output there");
    buffer_release(&wanted);
    buffer_release(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_series_from_the_start),
        cmocka_unit_test(numbers),
        cmocka_unit_test(hostile_labels),
        cmocka_unit_test(full),
        cmocka_unit_test(names),
        cmocka_unit_test(documentation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
