/* A TCP server on loopback that takes connections and never says a word: a host that hangs. */
#ifndef TESTS_UNIT_PG_SILENT_SERVER_H
#define TESTS_UNIT_PG_SILENT_SERVER_H

struct silent_server {
    int listener;
    int port;
};

/* With `is_listening` 0 the port is taken but connections to it are refused. */
struct silent_server silent_server_start(int is_listening);
void silent_server_stop(struct silent_server *server);

/* Waits until somebody has connected. */
void silent_server_wait(const struct silent_server *server);

#endif
