#include "support/cluster.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "embedded.h"
#include "pg/pg.h"
#include "subprocess.h"

enum { PATIENCE_MS = 60000 };

struct test_cluster {
    char directory[64];
    struct embedded *embedded;
};

static void require(bool ok, const struct error *error)
{
    if (ok)
        return;
    fprintf(stderr, "test cluster: %s\n", error->text);
    abort();
}

struct test_cluster *test_cluster_start(void)
{
    struct test_cluster *cluster = memory_new(sizeof(*cluster));
    struct embedded_options options = {.directory = cluster->directory, .disposable = true};
    struct error error = {0};

    snprintf(cluster->directory, sizeof(cluster->directory), "/tmp/leadrouter-test-XXXXXX");
    if (mkdtemp(cluster->directory) == NULL || chmod(cluster->directory, 0755) != 0)
        abort();
    require(embedded_start(&options, &cluster->embedded, &error), &error);
    return cluster;
}

const char *test_cluster_url(const struct test_cluster *cluster)
{
    return embedded_admin_url(cluster->embedded);
}

char *test_cluster_database_url(const struct test_cluster *cluster, const char *name)
{
    char url[600];

    snprintf(url, sizeof(url), "host=%s port=5432 user=postgres dbname=%s",
        embedded_socket_directory(cluster->embedded), name);
    return memory_copy_string(url);
}

char *test_cluster_create_database(struct test_cluster *cluster, const char *name)
{
    struct pg_config config = {.url = test_cluster_url(cluster)};
    struct pg_conn *conn = pg_conn_new(&config);
    struct error error = {0};
    char sql[128];

    snprintf(sql, sizeof(sql), "create database %s", name);
    require(pg_conn_open(conn, clock_after_ms(PATIENCE_MS), &error), &error);
    require(pg_execute_script(conn, sql, clock_after_ms(PATIENCE_MS), &error), &error);
    pg_conn_free(conn);
    return test_cluster_database_url(cluster, name);
}

void test_cluster_kill(struct test_cluster *cluster)
{
    int pid = embedded_process_id(cluster->embedded);
    int64_t deadline_ns = clock_after_ms(PATIENCE_MS);

    if (pid == 0 || kill(pid, SIGKILL) != 0)
        abort();
    while (waitpid(pid, NULL, WNOHANG) == 0 && clock_now_ns() < deadline_ns)
        poll(NULL, 0, 5);
}

void test_cluster_restart(struct test_cluster *cluster)
{
    struct error error = {0};

    require(embedded_restart(cluster->embedded, &error), &error);
}

void test_cluster_stop(struct test_cluster *cluster)
{
    if (cluster == NULL)
        return;
    const char *const arguments[] = {"/bin/rm", "-rf", "--", cluster->directory, NULL};
    struct error error = {0};
    embedded_stop(cluster->embedded);
    require(subprocess_run(arguments, NULL, &error), &error);
    free(cluster);
}
