/* Goal: connection strings keep everything but their database, and children are started, measured and ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "children.h"

/* URIs and key=value pairs, values with blanks, quotes and backslashes. */
static void url_with_database(void **state)
{
    struct error error = {0};
    char *url = NULL;

    (void)state;
    assert_true(children_url_with_database("postgresql://ann@db:5433/leads?connect_timeout=3", "copy", &url, &error));
    assert_non_null(strstr(url, "host='db'"));
    assert_non_null(strstr(url, "port='5433'"));
    assert_non_null(strstr(url, "user='ann'"));
    assert_non_null(strstr(url, "connect_timeout='3'"));
    char *database = children_url_database(url);
    assert_string_equal(database, "copy");
    free(database);
    free(url);

    assert_true(children_url_with_database("host='/a b' password='it\\'s \\\\ here' dbname=x", "y'z", &url, &error));
    char *again = NULL;
    assert_true(children_url_with_database(url, "y'z", &again, &error)); /* what was quoted is read back */
    assert_string_equal(url, again);
    assert_non_null(strstr(url, "password='it\\'s \\\\ here'"));
    database = children_url_database(url);
    assert_string_equal(database, "y'z");
    free(database);
    free(again);
    free(url);
}

/* What is no connection string is refused. */
static void bad_url(void **state)
{
    struct error error = {0};
    char *url = NULL;

    (void)state;
    assert_false(children_url_with_database("no such thing", "copy", &url, &error));
    assert_int_equal(error.code, ERROR_INVALID);
}

/* None that the system gives to others before it is used. */
static void free_ports(void **state)
{
    int given[2] = {0};
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    (void)state;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d %d", &given[0], &given[1]), 2);
    fclose(file);
    for (int i = 0; i < 20; i++) {
        int port = children_free_port();
        assert_true(port >= 1024 && port < 65536);
        assert_true(port < given[0] || port > given[1]);
    }
}

/* A program that is not there is named. */
static void missing_program(void **state)
{
    struct cluster cluster = {0};
    struct error error = {0};

    (void)state;
    assert_false(cluster_start("/nowhere/leadrouterd", "/tmp", &cluster, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "/nowhere/leadrouterd"));
}

/* A program that ends without its line is an error, and is not left behind as a zombie. */
static void program_that_says_nothing(void **state)
{
    struct cluster cluster = {0};
    struct error error = {0};

    (void)state;
    assert_false(cluster_start("/bin/true", "/tmp", &cluster, &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_int_equal(cluster.child.pid, 0);
}

/* Our own memory can be read; that of no process cannot. */
static void memory(void **state)
{
    struct child_memory memory = {0};

    (void)state;
    assert_true(child_memory_read(getpid(), &memory));
    assert_true(memory.resident_kib > 0);
    assert_true(memory.resident_max_kib >= memory.resident_kib);
    assert_false(child_memory_read(0x7ffffffe, &memory));
}

/* So can our processor time, which only grows. */
static void processor_time(void **state)
{
    int64_t before_ns = 0, after_ns = 0;

    (void)state;
    assert_true(child_cpu_read(getpid(), &before_ns));
    do
        assert_true(child_cpu_read(getpid(), &after_ns));
    while (after_ns < before_ns + 1000000);
    assert_false(child_cpu_read(0x7ffffffe, &after_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url_with_database),
        cmocka_unit_test(bad_url),
        cmocka_unit_test(missing_program),
        cmocka_unit_test(program_that_says_nothing),
        cmocka_unit_test(free_ports),
        cmocka_unit_test(memory),
        cmocka_unit_test(processor_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
