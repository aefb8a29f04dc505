#include "child.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int child_run(void (*body)(void), char ret_text[CHILD_TEXT_SIZE])
{
    int ends[2] = {-1, -1};
    int status = 0;
    size_t size = 0;
    ssize_t got = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); /* cmocka has a handler of its own */
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body();
        _exit(0);
    }
    close(ends[1]);
    while (size < CHILD_TEXT_SIZE - 1 && (got = read(ends[0], ret_text + size, CHILD_TEXT_SIZE - 1 - size)) > 0)
        size += (size_t)got;
    ret_text[size] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

void child_assert_aborts(void (*body)(void))
{
    char text[CHILD_TEXT_SIZE];
    int status = child_run(body, text);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("wait status %#x instead of an abort; standard error: %s", (unsigned)status, text);
}
