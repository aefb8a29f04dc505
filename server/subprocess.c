#include "subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_SIZE_MAX = 8192, EXEC_FAILED = 127 };

/* --- In the child: only async-signal-safe calls ------------------------------------------------------------------- */

static void become(const struct subprocess_user *user)
{
    if (user != NULL && user->is_set &&
        (setgroups(1, &user->gid) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0))
        _exit(EXEC_FAILED);
}

static void run_child(const char *const *arguments, const struct subprocess_user *user, int output)
{
    int nothing = open("/dev/null", O_RDONLY);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* we may have blocked the signals that end it */

    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC); /* what we inherited must not live as long as a cluster */
    become(user);
    if (chdir("/") != 0)
        _exit(EXEC_FAILED);
    execv(arguments[0], (char *const *)(const void *)arguments);
    _exit(EXEC_FAILED);
}

/* --- In the parent ------------------------------------------------------------------------------------------------ */

/* Keeps the end of what the program writes; the last line says why it failed. */
static void read_output(int descriptor, char ret_tail[OUTPUT_SIZE_MAX])
{
    char chunk[1024];
    size_t size = 0;
    ssize_t got = 0;

    while ((got = read(descriptor, chunk, sizeof(chunk))) > 0 || (got < 0 && errno == EINTR)) {
        if (got < 0)
            continue;
        if (size + (size_t)got >= OUTPUT_SIZE_MAX) {
            size_t keep = OUTPUT_SIZE_MAX / 2;
            memmove(ret_tail, ret_tail + (size - keep), keep);
            size = keep;
        }
        memcpy(ret_tail + size, chunk, (size_t)got);
        size += (size_t)got;
    }
    ret_tail[size] = '\0';
}

static const char *last_line(char *text)
{
    size_t size = strlen(text);

    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' '))
        text[--size] = '\0';
    const char *newline = strrchr(text, '\n');
    return newline == NULL ? text : newline + 1;
}

bool subprocess_run(const char *const *arguments, const struct subprocess_user *user, struct error *reterr_error)
{
    char output[OUTPUT_SIZE_MAX] = "";
    int pipes[2];
    int status = 0;

    if (pipe2(pipes, O_CLOEXEC) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not make a pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0)
        run_child(arguments, user, pipes[1]);
    close(pipes[1]);
    if (child < 0) {
        close(pipes[0]);
        return error_set(reterr_error, ERROR_SYSTEM, "could not start %s: %s", arguments[0], strerror(errno));
    }
    read_output(pipes[0], output);
    close(pipes[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED)
        return error_set(reterr_error, ERROR_SYSTEM, "could not run %s", arguments[0]);
    return error_set(reterr_error, ERROR_SYSTEM, "%s failed: %s", arguments[0], last_line(output));
}

bool subprocess_start(const char *const *arguments, const struct subprocess_user *user, const char *log_path,
    bool ends_with_us, pid_t *ret_pid, struct error *reterr_error)
{
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (log < 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", log_path, strerror(errno));
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        setsid(); /* a Ctrl-C is meant for us: we stop it in order */
        if (ends_with_us) {
            become(user); /* the kernel forgets the wish at a change of user */
            user = NULL;
            prctl(PR_SET_PDEATHSIG, SIGQUIT);
            if (getppid() != parent)
                _exit(EXEC_FAILED);
        }
        run_child(arguments, user, log);
    }
    close(log);
    if (child < 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not start %s: %s", arguments[0], strerror(errno));
    *ret_pid = child;
    return true;
}
