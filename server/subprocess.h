/* Running PostgreSQL's programs, without a shell. This forks; the child only executes the program, so it may be done while gRPC
 * runs (server/README.md). */
#ifndef SERVER_SUBPROCESS_H
#define SERVER_SUBPROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* Who a program is run as; the current user when `is_set` is false. */
struct subprocess_user {
    bool is_set;
    uid_t uid;
    gid_t gid;
    const char *name; /* borrowed */
};

/* Runs a program to its end. `arguments` ends with NULL; [0] is a path. True when it exited with 0; otherwise
 * ERROR_SYSTEM with the last line it wrote. */
bool subprocess_run(const char *const *arguments, const struct subprocess_user *user, struct error *reterr_error);

/* Starts a program in a session of its own, with its output appended to `log_path`. `ends_with_us` makes the kernel
 * end it with the calling thread. `*ret_pid` is the caller's to wait for. */
bool subprocess_start(const char *const *arguments, const struct subprocess_user *user, const char *log_path,
    bool ends_with_us, pid_t *ret_pid, struct error *reterr_error);

#endif
