/* A proxy between a client and PostgreSQL's Unix socket that can lose the answer to a COMMIT: the one moment that
 * decides whether a service guesses or knows. */
#ifndef TESTS_WIRE_PROXY_H
#define TESTS_WIRE_PROXY_H

#include <stdbool.h>

struct wire_proxy;

/* Listens in a private directory and forwards to `socket_path`. Fails the process when it cannot. */
struct wire_proxy *wire_proxy_new(const char *socket_path, int port);

/* The directory to connect to (libpq's `host`); borrowed. */
const char *wire_proxy_directory(const struct wire_proxy *proxy);

/* From now on the next answer that reports a COMMIT is thrown away, with its connection, `count` times. */
void wire_proxy_lose_commits(struct wire_proxy *proxy, int count);

/* How many were lost since the start. */
int wire_proxy_lost(struct wire_proxy *proxy);

/* Stops, closes everything, removes the directory. */
void wire_proxy_free(struct wire_proxy *proxy);

#endif
