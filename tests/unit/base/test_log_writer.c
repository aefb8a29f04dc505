/* Goal: with the writer nobody who logs waits for who reads, what is lost is counted and said, a full disk or a reader that is
 * gone costs the lines only, and the end waits no longer than it is told. Of lines that are alike a number is written, and the rest is said
 * by their count. */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

enum { READER, WRITER, QUEUE_SIZE = 64 * 1024, PATIENCE_MS = 30000 };

static int ends[2];

static void begin(int descriptor)
{
    struct error error = {0};

    log_setup(descriptor, LOG_LEVEL_INFO);
    if (!log_writer_begin(QUEUE_SIZE, &error))
        fail_msg("%s", error.text);
}

static int open_pipe(void **state)
{
    *state = NULL;
    return pipe(ends);
}

static int close_pipe(void **state)
{
    (void)state;
    log_setup(STDERR_FILENO, LOG_LEVEL_INFO);
    close(ends[READER]);
    close(ends[WRITER]);
    return 0;
}

static void log_number(enum log_level level, const char *event, int64_t number)
{
    const struct log_field fields[] = {LOG_INTEGER("number", number), LOG_END};

    log_write(level, event, "y", fields);
}

/* What has been read of the pipe since its writing end was closed: objects in an array, the caller's. */
static json_t *read_all(void)
{
    json_t *lines = json_array();
    char line[PIPE_BUF + 1];

    close(ends[WRITER]);
    FILE *reader = fdopen(dup(ends[READER]), "r");
    assert_non_null(reader);
    while (fgets(line, sizeof(line), reader) != NULL) {
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        if (object == NULL)
            fail_msg("no JSON object: %s", line);
        json_array_append_new(lines, object);
    }
    fclose(reader);
    assert_int_equal(pipe(ends), 0);
    return lines;
}

static const char *text_of(const json_t *line, const char *name)
{
    return json_string_value(json_object_get(line, name));
}

static int64_t number_of(const json_t *line, const char *name)
{
    return json_integer_value(json_object_get(line, name));
}

/* How many lines of an event there are, each as often as it says. */
static int64_t count_lines(const json_t *lines, const char *event)
{
    int64_t count = 0;

    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        if (strcmp(text_of(line, "event"), event) == 0)
            count += json_object_get(line, "repeated") == NULL ? 1 : number_of(line, "repeated");
    }
    return count;
}

enum { THREADS = 4, LINES = 2000 };

static void *log_many(void *argument)
{
    const int64_t thread = *(const int64_t *)argument;

    for (int64_t i = 0; i < LINES; i++) {
        if (i % 100 == 0) /* the queue never fills */
            assert(log_flush(clock_after_ms(PATIENCE_MS)));
        log_number(LOG_LEVEL_INFO, "x", thread * LINES + i);
    }
    return NULL;
}

static void *read_for_others(void *argument)
{
    json_t **ret_lines = argument;
    char line[PIPE_BUF + 1];
    FILE *reader = fdopen(dup(ends[READER]), "r");

    *ret_lines = json_array();
    for (int i = 0; i < THREADS * LINES && fgets(line, sizeof(line), reader) != NULL; i++)
        json_array_append_new(*ret_lines, json_loads(line, 0, NULL));
    fclose(reader);
    return NULL;
}

static void test_every_line_arrives_once_and_in_order(void **state)
{
    pthread_t threads[THREADS], reader;
    int64_t numbers[THREADS], next[THREADS] = {0};
    json_t *lines = NULL;

    (void)state;
    begin(ends[WRITER]);
    assert_int_equal(pthread_create(&reader, NULL, read_for_others, &lines), 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(reader, NULL);
    log_writer_end(clock_after_ms(PATIENCE_MS));
    assert_int_equal(json_array_size(lines), THREADS * LINES);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        int64_t number = number_of(json_array_get(lines, i), "number");
        assert_int_equal(number % LINES, next[number / LINES]++);
    }
    assert_int_equal(log_lost(), 0);
    json_decref(lines);
}

/* Nobody reads: the pipe fills, then the queue; who logs goes on at once. Errors still find room when others do not. */
static void test_nobody_reads(void **state)
{
    uint64_t lost_before = log_lost();
    const int64_t count = 10000;

    (void)state;
    fcntl(ends[WRITER], F_SETPIPE_SZ, 4096);
    begin(ends[WRITER]);
    int64_t since_ns = clock_now_ns();
    for (int64_t i = 0; i < count; i++)
        log_number(LOG_LEVEL_INFO, "plain", i);
    log_number(LOG_LEVEL_ERROR, "grave", 1);
    assert_true(clock_now_ns() - since_ns < PATIENCE_MS * INT64_C(1000000)); /* nobody reads before this */
    uint64_t lost = log_lost() - lost_before;
    assert_in_range(lost, count / 2, count);
    assert_false(log_flush(clock_after_ms(20)));

    /* Somebody reads again: the rest arrives, and how many were lost is said. */
    FILE *stream = fdopen(dup(ends[READER]), "r");
    char line[PIPE_BUF + 1];
    bool is_grave = false;
    int64_t arrived = 0;
    uint64_t said = 0;
    while (!(said == lost && is_grave) && fgets(line, sizeof(line), stream) != NULL) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        arrived += strcmp(text_of(object, "event"), "plain") == 0;
        is_grave = is_grave || strcmp(text_of(object, "event"), "grave") == 0;
        if (strcmp(text_of(object, "event"), "log.lost") == 0)
            said += (uint64_t)number_of(object, "lines");
        json_decref(object);
    }
    fclose(stream);
    assert_int_equal(arrived, count - (int64_t)lost);
    log_writer_end(clock_after_ms(PATIENCE_MS));
}

/* A reader that never reads does not hold up the end. Runs last: the thread that hangs stays. */
static void test_the_end_does_not_wait_for_a_reader(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* when the pipe is closed the thread that hangs goes on */
    fcntl(ends[WRITER], F_SETPIPE_SZ, 4096);
    begin(ends[WRITER]);
    for (int64_t i = 0; i < 1000; i++)
        log_number(LOG_LEVEL_INFO, "x", i);
    int64_t since_ns = clock_now_ns();
    log_writer_end(clock_after_ms(50));
    assert_in_range(clock_now_ns() - since_ns, INT64_C(50000000), PATIENCE_MS * INT64_C(1000000));
    uint64_t lost = log_lost();
    log_number(LOG_LEVEL_ERROR, "after", 1);
    assert_int_equal(log_lost(), lost + 1);
}

static void test_the_reader_is_gone(void **state)
{
    uint64_t lost_before = log_lost();
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);

    (void)state;
    close(ends[READER]);
    begin(ends[WRITER]);
    for (int64_t i = 0; i < 1000; i++) {
        log_number(LOG_LEVEL_INFO, "x", i);
        if (i % 100 == 0)
            assert_true(log_flush(clock_after_ms(PATIENCE_MS)));
    }
    log_writer_end(clock_after_ms(PATIENCE_MS));
    assert_int_equal(log_lost() - lost_before, 1000);
    signal(SIGPIPE, before);
    ends[READER] = dup(STDIN_FILENO);
}

static void test_the_disk_is_full(void **state)
{
    uint64_t lost_before = log_lost();
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    begin(full);
    for (int64_t i = 0; i < 50; i++)
        log_number(LOG_LEVEL_INFO, "x", i);
    assert_true(log_flush(clock_after_ms(PATIENCE_MS)));
    log_writer_end(clock_after_ms(PATIENCE_MS));
    assert_int_equal(log_lost() - lost_before, 50);
    close(full);
}

/* --- Lines that are alike ----------------------------------------------------------------------------------------- */

static void log_failure(const char *workspace, int64_t number)
{
    const struct log_field fields[] = {LOG_STRING("workspace", workspace), LOG_INTEGER("number", number), LOG_END};

    log_write_limited(LOG_LEVEL_WARNING, "failed", "y", fields, 1);
}

static void test_alike_lines_are_counted(void **state)
{
    const int64_t count = 5000;
    int64_t a = 0, written = 0;

    (void)state;
    fcntl(ends[WRITER], F_SETPIPE_SZ, 1024 * 1024);
    begin(ends[WRITER]);
    for (int64_t i = 0; i < count; i++)
        log_failure(i % 5 == 0 ? "b\"\n" : "a", i);
    log_writer_end(clock_after_ms(PATIENCE_MS)); /* says what is left to say */
    json_t *lines = read_all();
    assert_int_equal(count_lines(lines, "failed"), count);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        bool is_a = strcmp(text_of(line, "workspace"), "a") == 0;
        assert_true(is_a || strcmp(text_of(line, "workspace"), "b\"\n") == 0);
        assert_string_equal(text_of(line, "level"), "warning");
        if (json_object_get(line, "repeated") == NULL)
            written++;
        a += !is_a ? 0 : json_object_get(line, "repeated") == NULL ? 1 : number_of(line, "repeated");
    }
    assert_int_equal(a, count - count / 5);
    assert_in_range(written, 2 * LOG_ALIKE_MAX, 2 * LOG_ALIKE_MAX * 30); /* some seconds at most */
    json_decref(lines);
}

/* More kinds than are watched: what is forgotten is said. */
static void test_many_kinds(void **state)
{
    const int64_t kinds = 500, each = 3 * LOG_ALIKE_MAX;
    char workspace[32];

    (void)state;
    fcntl(ends[WRITER], F_SETPIPE_SZ, 1024 * 1024);
    log_setup(ends[WRITER], LOG_LEVEL_INFO);
    for (int64_t i = 0; i < kinds; i++) {
        snprintf(workspace, sizeof(workspace), "w%d", (int)i);
        for (int64_t k = 0; k < each; k++)
            log_failure(workspace, k);
    }
    assert_true(log_flush(clock_after_ms(PATIENCE_MS)));
    json_t *lines = read_all();
    assert_int_equal(count_lines(lines, "failed"), kinds * each);
    json_decref(lines);
}

#define PIPE_TEST(function) cmocka_unit_test_setup_teardown(function, open_pipe, close_pipe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_every_line_arrives_once_and_in_order),
        PIPE_TEST(test_nobody_reads),
        PIPE_TEST(test_the_reader_is_gone),
        PIPE_TEST(test_the_disk_is_full),
        PIPE_TEST(test_alike_lines_are_counted),
        PIPE_TEST(test_many_kinds),
        PIPE_TEST(test_the_end_does_not_wait_for_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
