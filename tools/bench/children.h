/* Programs that the bench starts and stops: a private PostgreSQL cluster, and servers on it. They end with the
 * bench, however it ends. */
#ifndef BENCH_CHILDREN_H
#define BENCH_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { CHILD_TARGET_SIZE = 32, CHILD_URL_SIZE = 1024 };

/* A child process. */
struct child {
    pid_t pid;       /* 0: none */
    int stdin_write; /* -1: none. The child ends when it is closed */
    int stdout_read; /* -1: none */
};

/* A cluster, and how to reach its main database. */
struct cluster {
    struct child child;
    char admin_url[CHILD_URL_SIZE];
    char service_url[CHILD_URL_SIZE];
};

/* A server. */
struct server {
    struct child child;
    char target[CHILD_TARGET_SIZE]; /* "127.0.0.1:PORT" */
};

/* Memory of a process, from /proc: now, and at its highest. */
struct child_memory {
    int64_t resident_kib;
    int64_t resident_max_kib;
};

/* Starts `leadrouterd cluster --embedded DIR --migrate` and waits for its line. ERROR_SYSTEM, ERROR_UNAVAILABLE. */
bool cluster_start(
    const char *leadrouterd, const char *directory, struct cluster *ret_cluster, struct error *reterr_error);

/* Stops it and waits for its end. A zeroed one is fine. */
void cluster_stop(struct cluster *cluster);

/* Starts `leadrouterd serve` on a free port of loopback with these flags (at most 8, the last is NULL); returns before it is ready. Its
 * log goes to `log_path`. */
bool server_start(const char *leadrouterd, const char *service_url, const char *const *flags, const char *log_path,
    struct server *ret_server, struct error *reterr_error);

/* A port of loopback that nobody listens on now, and that the system gives to nobody who takes any: it stays free until it is used.
 * 0: none could be found. */
int children_free_port(void);

/* Stops it and waits for its end. A zeroed one is fine. */
void server_stop(struct server *server);

/* Reads the memory of a running process; false when it is gone. */
bool child_memory_read(pid_t pid, struct child_memory *ret_memory);

/* Reads how much processor time a running process has taken; false when it is gone. */
bool child_cpu_read(pid_t pid, int64_t *ret_ns);

/* Starts a program that ends by itself; argv[0] is its path, the last is NULL. Its output and messages go to `log_path`. The caller
 * waits for its end, then tool_end(). ERROR_SYSTEM. */
bool tool_start(
    const char *const *arguments, const char *log_path, struct child *ret_child, struct error *reterr_error);

/* Gives back what belonged to a program that has ended. A zeroed one is fine. */
void tool_end(struct child *child);

/* Path of leadctl of this build; memory of the caller. */
char *children_find_leadctl(void);

/* Path of the server of this build, next to this program: memory of the caller. */
char *children_find_leadrouterd(void);

/* Name of the database that `url` is for; memory of the caller. `url` is one that a connection was made with. */
char *children_url_database(const char *url);

/* `url` with another database name, as key=value pairs; memory of the caller. ERROR_INVALID. */
bool children_url_with_database(const char *url, const char *database, char **ret_url, struct error *reterr_error);

#endif
