/* Goal: every line is one whole JSON object of at most PIPE_BUF bytes, whatever goes in and whoever writes at the same
 * time, and a reader that is gone or a full disk costs the line only. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

enum { READER, WRITER };

static int ends[2];

static int open_pipe(void **state)
{
    (void)state;
    if (pipe(ends) != 0)
        return -1;
    log_setup(ends[WRITER], LOG_LEVEL_INFO);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    log_setup(STDERR_FILENO, LOG_LEVEL_INFO);
    close(ends[READER]);
    close(ends[WRITER]);
    return 0;
}

/* The object of the one line that is waiting in the pipe. The caller's. */
static json_t *read_line(void)
{
    char line[PIPE_BUF + 1];
    json_error_t error;

    ssize_t size = read(ends[READER], line, PIPE_BUF);
    assert_true(size > 0);
    line[size] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + size - 1);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL)
        fail_msg("%s in %s", error.text, line);
    return object;
}

static void assert_nothing_waits(void)
{
    char byte = 0;

    assert_int_equal(fcntl(ends[READER], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(read(ends[READER], &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);
}

static const char *string_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void test_line(void **state)
{
    const struct log_field fields[] = {LOG_STRING("code", "not_found"), LOG_STRING("absent", NULL),
        LOG_INTEGER("min", INT64_MIN), LOG_INTEGER("port", 7450), LOG_BOOLEAN("again", true),
        LOG_BOOLEAN("last", false), LOG_END};

    (void)state;
    log_write(LOG_LEVEL_WARNING, "request.failed", "a request failed", fields);
    json_t *object = read_line();
    assert_int_equal(json_object_size(object), 9);
    assert_int_equal(strlen(string_of(object, "time")), strlen("2026-01-31T12:00:00.000Z"));
    assert_string_equal(string_of(object, "level"), "warning");
    assert_string_equal(string_of(object, "event"), "request.failed");
    assert_string_equal(string_of(object, "message"), "a request failed");
    assert_string_equal(string_of(object, "code"), "not_found");
    assert_true(json_integer_value(json_object_get(object, "min")) == INT64_MIN);
    assert_int_equal(json_integer_value(json_object_get(object, "port")), 7450);
    assert_true(json_is_true(json_object_get(object, "again")));
    assert_true(json_is_false(json_object_get(object, "last")));
    json_decref(object);
    assert_nothing_waits();
}

/* What a client sends can stand in a log line; it must not be able to end the line or to start another. */
static void test_hostile_text_is_escaped(void **state)
{
    static const char hostile[] = "a\"}\n{\"level\":\"error\"\\ \x1b[31m \xff\xfe \xe2\x82\xac";
    const struct log_field fields[] = {LOG_STRING("text", hostile), LOG_END};

    (void)state;
    log_write(LOG_LEVEL_ERROR, "x", "y", fields);
    json_t *object = read_line();
    assert_string_equal(string_of(object, "level"), "error");
    assert_string_equal(
        string_of(object, "text"), "a\"}\n{\"level\":\"error\"\\ \x1b[31m \xef\xbf\xbd\xef\xbf\xbd \xe2\x82\xac");
    assert_null(json_object_get(object, "cut"));
    json_decref(object);
}

static void test_levels(void **state)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    (void)state;
    for (int lowest = LOG_LEVEL_DEBUG; lowest <= LOG_LEVEL_ERROR; lowest++) {
        log_setup(ends[WRITER], (enum log_level)lowest);
        for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
            log_write((enum log_level)level, "x", "y", NULL);
            if (level < lowest)
                continue;
            json_t *object = read_line();
            assert_string_equal(string_of(object, "level"), names[level]);
            json_decref(object);
        }
    }
    assert_nothing_waits();
}

/* A long value is cut on a code point and says so with an ellipsis. */
static void test_long_value_is_cut(void **state)
{
    char text[4000];
    const struct log_field fields[] = {LOG_STRING("text", text), LOG_INTEGER("after", 1), LOG_END};

    (void)state;
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + 1 + i, "\xc3\xa9", 2);
    text[0] = 'x';
    text[sizeof(text) - 1] = '\0';
    log_write(LOG_LEVEL_INFO, "x", "y", fields);
    json_t *object = read_line();
    const char *logged = string_of(object, "text");
    assert_int_equal(strlen(logged), 1023 + 3);
    assert_string_equal(logged + 1023, "\xe2\x80\xa6");
    assert_int_equal(json_integer_value(json_object_get(object, "after")), 1);
    json_decref(object);
}

/* Fields of every size around what fits: those that do not are left out whole, the others stay, the line says so. */
static void test_line_has_a_bound(void **state)
{
    static const char rest[] =
        "{\"time\":\"2026-01-31T12:00:00.000Z\",\"level\":\"info\",\"event\":\"x\",\"message\":\"y\","
        "\"a\":\"\",\"b\":\"\",\"c\":\"\",\"last\":1,\"cut\":true}\n";
    char text[1024];

    (void)state;
    memset(text, '\x01', sizeof(text)); /* six bytes each as JSON */
    for (size_t size = 0; size < sizeof(text); size++) {
        char value[1025] = "";
        memcpy(value, text, size);
        const struct log_field fields[] = {
            LOG_STRING("a", value), LOG_STRING("b", value), LOG_STRING("c", value), LOG_INTEGER("last", 1), LOG_END};
        log_write(LOG_LEVEL_INFO, "x", "y", fields);
        json_t *object = read_line();
        bool all = json_object_get(object, "a") != NULL && json_object_get(object, "b") != NULL &&
                   json_object_get(object, "c") != NULL && json_object_get(object, "last") != NULL;
        assert_int_equal(json_is_true(json_object_get(object, "cut")), !all);
        assert_int_equal(all, 3 * 6 * size + sizeof(rest) - 1 <= PIPE_BUF);
        assert_string_equal(string_of(object, "message"), "y");
        json_decref(object);
    }
}

static void test_many_fields(void **state)
{
    static char names[500][16];
    struct log_field fields[COUNT_OF(names) + 1] = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(names[i], sizeof(names[i]), "field_%zu", i);
        fields[i] = (struct log_field)LOG_INTEGER(names[i], i);
    }
    log_write(LOG_LEVEL_INFO, "x", "y", fields);
    json_t *object = read_line();
    assert_true(json_is_true(json_object_get(object, "cut")));
    assert_in_range(json_object_size(object), 200, 300);
    json_decref(object);
}

static void test_reader_is_gone(void **state)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* as every program of ours does */

    (void)state;
    close(ends[READER]);
    errno = ENOENT;
    log_write(LOG_LEVEL_INFO, "x", "y", NULL);
    assert_int_equal(errno, ENOENT);
    signal(SIGPIPE, before);
}

static void test_disk_is_full(void **state)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(full >= 0);
    log_setup(full, LOG_LEVEL_INFO);
    errno = ENOENT;
    log_write(LOG_LEVEL_INFO, "x", "y", NULL);
    assert_int_equal(errno, ENOENT);
    log_setup(ends[WRITER], LOG_LEVEL_INFO);
    log_write(LOG_LEVEL_INFO, "after", "y", NULL);
    json_t *object = read_line();
    assert_string_equal(string_of(object, "event"), "after");
    json_decref(object);
    close(full);
}

enum { THREADS = 4, LINES_PER_THREAD = 500 };

static void *write_lines(void *number)
{
    char padding[900];

    memset(padding, 'p', sizeof(padding));
    for (int i = 0; i < LINES_PER_THREAD; i++) {
        padding[i % (int)sizeof(padding)] = '\0'; /* lines of all lengths */
        const struct log_field fields[] = {
            LOG_INTEGER("thread", *(int *)number), LOG_INTEGER("line", i), LOG_STRING("padding", padding), LOG_END};
        log_write(LOG_LEVEL_INFO, "x", "y", fields);
        padding[i % (int)sizeof(padding)] = 'p';
    }
    return NULL;
}

/* Every line of every thread arrives whole, and those of one thread in their order. */
static void test_threads_do_not_mix(void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    int next[THREADS] = {0};
    char line[PIPE_BUF + 1];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    FILE *reader = fdopen(dup(ends[READER]), "r");
    assert_non_null(reader);
    for (int i = 0; i < THREADS * LINES_PER_THREAD; i++) {
        assert_non_null(fgets(line, sizeof(line), reader));
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        size_t thread = (size_t)json_integer_value(json_object_get(object, "thread"));
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(json_integer_value(json_object_get(object, "line")), next[thread]++);
        json_decref(object);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    fclose(reader);
    assert_nothing_waits();
}

static atomic_int writer_id;
static atomic_int signals_handled;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals_handled, 1);
}

static void *write_one_line(void *unused)
{
    (void)unused;
    atomic_store(&writer_id, gettid());
    log_write(LOG_LEVEL_INFO, "interrupted", "y", NULL);
    return NULL;
}

/* True once the kernel shows the thread asleep, which the writer is only in write(). */
static bool is_asleep(int thread_id)
{
    char path[64];
    char name[64];
    char status = '\0';

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread_id);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %63s %c", name, &status), 2);
    fclose(file);
    return status == 'S';
}

/* A signal that arrives while the pipe is full interrupts write(); the line is not lost. */
static void test_signal_does_not_lose_a_line(void **state)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
    struct sigaction before;
    int64_t deadline_ns = clock_after_ms(30000);
    char filler[PIPE_BUF];
    pthread_t writer;

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    memset(filler, '#', sizeof(filler));
    assert_int_equal(fcntl(ends[WRITER], F_SETFL, O_NONBLOCK), 0);
    size_t filled = 0;
    while (write(ends[WRITER], filler, sizeof(filler)) == (ssize_t)sizeof(filler))
        filled += sizeof(filler);
    assert_int_equal(fcntl(ends[WRITER], F_SETFL, 0), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_one_line, NULL), 0);
    while ((atomic_load(&writer_id) == 0 || !is_asleep(atomic_load(&writer_id))) && clock_left_ms(deadline_ns) > 0)
        sched_yield();
    assert_int_equal(pthread_kill(writer, SIGUSR1), 0);
    while (atomic_load(&signals_handled) == 0 && clock_left_ms(deadline_ns) > 0)
        sched_yield();
    assert_int_equal(atomic_load(&signals_handled), 1);
    for (; filled > 0; filled -= sizeof(filler))
        assert_int_equal(read(ends[READER], filler, sizeof(filler)), sizeof(filler));
    json_t *object = read_line();
    assert_string_equal(string_of(object, "event"), "interrupted");
    json_decref(object);
    assert_int_equal(pthread_join(writer, NULL), 0);
    sigaction(SIGUSR1, &before, NULL);
}

#define PIPE_TEST(function) cmocka_unit_test_setup_teardown(function, open_pipe, close_pipe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_line),
        PIPE_TEST(test_hostile_text_is_escaped),
        PIPE_TEST(test_levels),
        PIPE_TEST(test_long_value_is_cut),
        PIPE_TEST(test_line_has_a_bound),
        PIPE_TEST(test_many_fields),
        PIPE_TEST(test_reader_is_gone),
        PIPE_TEST(test_disk_is_full),
        PIPE_TEST(test_threads_do_not_mix),
        PIPE_TEST(test_signal_does_not_lose_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
