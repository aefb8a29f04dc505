/* A private, disposable PostgreSQL for the C tests: the server's own embedded cluster, without flushing, in a
 * directory of its own. Fails the process when it cannot be had: a test without its database proves nothing. */
#ifndef TESTS_SUPPORT_CLUSTER_H
#define TESTS_SUPPORT_CLUSTER_H

struct test_cluster;

/* Starts one; it ends with this process at the latest. */
struct test_cluster *test_cluster_start(void);

/* Connection string of its database `leadrouter`, as the superuser; borrowed. */
const char *test_cluster_url(const struct test_cluster *cluster);

/* The same for another database; the result is the caller's, released with free(). */
char *test_cluster_database_url(const struct test_cluster *cluster, const char *name);

/* Makes a database and returns its connection string, released with free(). */
char *test_cluster_create_database(struct test_cluster *cluster, const char *name);

/* Kills the postmaster as a crash would (SIGKILL to it and its children's end), and starts it again. */
void test_cluster_kill(struct test_cluster *cluster);
void test_cluster_restart(struct test_cluster *cluster);

/* Removes from `parent` what test processes made there that are gone: the directories whose names say so ("leadrouter-KIND-PID-RANDOM", as
 * those of Python's tests do). Each start does so in /dev/shm. */
void test_cluster_sweep(const char *parent);

/* Stops it and removes its directory. NULL is fine. */
void test_cluster_stop(struct test_cluster *cluster);

#endif
