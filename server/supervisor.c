#include "supervisor.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un supervisor = {.sun_family = AF_UNSPEC};
static socklen_t supervisor_size;

void supervisor_begin(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path == NULL ? 0 : strlen(path);

    supervisor = (struct sockaddr_un){.sun_family = AF_UNSPEC};
    if (size > 1 && size < sizeof(supervisor.sun_path) && (path[0] == '/' || path[0] == '@')) {
        supervisor.sun_family = AF_UNIX;
        memcpy(supervisor.sun_path, path, size);
        if (path[0] == '@') /* the abstract name space */
            supervisor.sun_path[0] = '\0';
        supervisor_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    }
    unsetenv("NOTIFY_SOCKET");
}

void supervisor_tell(const char *state)
{
    if (supervisor.sun_family == AF_UNSPEC)
        return;
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return;
    (void)sendto(descriptor, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&supervisor, supervisor_size);
    close(descriptor);
}
