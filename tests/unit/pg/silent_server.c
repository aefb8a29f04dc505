#include "silent_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pg_fixture.h"

struct silent_server silent_server_start(int is_listening)
{
    enum { BACKLOG = 16 };
    struct silent_server server = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    assert_true(server.listener >= 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &size), 0);
    if (is_listening != 0)
        assert_int_equal(listen(server.listener, BACKLOG), 0);
    server.port = ntohs(address.sin_port);
    return server;
}

void silent_server_stop(struct silent_server *server)
{
    close(server->listener);
}

void silent_server_wait(const struct silent_server *server)
{
    struct pollfd poll_one = {.fd = server->listener, .events = POLLIN};

    assert_int_equal(poll(&poll_one, 1, PATIENCE_MS), 1);
}
