/* Goal: what killed tests left behind goes, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/cluster.h"

/* The id of a process that ends; the caller waits for it. */
static pid_t start_and_end(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    assert_true(pid > 0);
    return pid;
}

/* "PARENT/BEFORE-OWNER-a1b2c3" */
static void make(const char *parent, const char *before, long owner, char ret_path[static 200])
{
    snprintf(ret_path, 200, "%s/%s-%ld-a1b2c3", parent, before, owner);
    assert_int_equal(mkdir(ret_path, 0700), 0);
}

static void test_sweep(void **state)
{
    char parent[] = "/tmp/leadrouter-sweep-XXXXXX";
    char left[200], inside[200], ours[200], nobodys[200], others[200];
    pid_t gone = start_and_end();

    (void)state;
    assert_non_null(mkdtemp(parent));
    assert_int_equal(waitpid(gone, NULL, 0), gone);
    make(parent, "leadrouter-test", gone, left);
    make(left, "data", 1, inside);
    make(parent, "leadrouter-test", getpid(), ours);
    make(parent, "leadrouter-test-x", gone, nobodys);
    snprintf(inside, sizeof(inside), "%.180s-x", nobodys); /* no id in the second place from behind */
    assert_int_equal(rename(nobodys, inside), 0);
    make(parent, "somebody-test", gone, others);
    test_cluster_sweep(parent);
    assert_int_not_equal(access(left, F_OK), 0);
    assert_int_equal(rmdir(ours), 0);
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(others), 0);
    assert_int_equal(rmdir(parent), 0);
    test_cluster_sweep(parent); /* not there: nothing to do */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sweep)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
