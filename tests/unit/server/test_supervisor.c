/* Goal: who supervises is told, on whatever kind of socket it listens; and nobody else is: no child, nothing without a supervisor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "supervisor.h"

/* A supervisor's socket; `path` as in NOTIFY_SOCKET. */
static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))),
        0);
    return descriptor;
}

static void assert_told(int descriptor, const char *state)
{
    char text[64] = "";

    assert_int_equal(recv(descriptor, text, sizeof(text) - 1, 0), (ssize_t)strlen(state)); /* what was sent is there */
    assert_string_equal(text, state);
    assert_int_equal(recv(descriptor, text, sizeof(text), 0), -1); /* nothing more */
}

static void tells(void **state)
{
    char directory[] = "/tmp/supervisor.XXXXXX";
    char file[64];
    char abstract[64];

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/notify", directory);
    snprintf(abstract, sizeof(abstract), "@leadrouter-test-%ld", (long)getpid());
    const char *const paths[] = {file, abstract};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        int descriptor = listen_at(paths[i]);
        setenv("NOTIFY_SOCKET", paths[i], 1);
        supervisor_begin();
        assert_null(getenv("NOTIFY_SOCKET")); /* a child would speak for us */
        supervisor_tell("READY=1");
        assert_told(descriptor, "READY=1");
        supervisor_tell("STOPPING=1");
        assert_told(descriptor, "STOPPING=1");
        close(descriptor);
        supervisor_tell("READY=1"); /* it has gone */
    }
    unlink(file);
    rmdir(directory);
}

static void tells_nobody(void **state)
{
    char long_path[300];

    (void)state;
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    const char *const paths[] = {NULL, "", "/", "@", "relative", "vsock:2:1234", "/nonexistent/notify", long_path};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (paths[i] != NULL)
            setenv("NOTIFY_SOCKET", paths[i], 1);
        supervisor_begin();
        supervisor_tell("READY=1");
        assert_null(getenv("NOTIFY_SOCKET"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells), cmocka_unit_test(tells_nobody)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
