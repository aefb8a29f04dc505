#include "support/cluster.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "embedded.h"
#include "pg/pg.h"
#include "subprocess.h"

enum { PATIENCE_MS = 60000 };

static const char SHARED_MEMORY[] = "/dev/shm";
static const uint64_t ROOM_MIN_BYTES = UINT64_C(3) << 30;

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

/* Where the cluster lives: in memory when there is room. A database is hundreds of files, dear to make on a disk. */
static const char *scratch(void)
{
    struct statvfs room;

    if (access(SHARED_MEMORY, W_OK) == 0 && statvfs(SHARED_MEMORY, &room) == 0 &&
        (uint64_t)room.f_bavail * room.f_frsize >= ROOM_MIN_BYTES)
        return SHARED_MEMORY;
    return "/tmp";
}

/* The id of the process that made "leadrouter-KIND-PID-RANDOM"; 0: not of this form. */
static long owner_of(const char *name)
{
    static const char prefix[] = "leadrouter-";
    const char *last = strrchr(name, '-');
    const char *digits = last;
    char *end = NULL;

    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return 0;
    while (digits > name && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    if (digits == last || digits[-1] != '-' || digits <= name + sizeof(prefix))
        return 0;
    long owner = strtol(digits, &end, 10);
    return end == last ? owner : 0;
}

void test_cluster_sweep(const char *parent)
{
    DIR *directory = opendir(parent);
    struct dirent *entry = NULL;
    char path[PATH_MAX];

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        long owner = owner_of(entry->d_name);
        snprintf(path, sizeof(path), "/proc/%ld", owner);
        if (owner == 0 || access(path, F_OK) == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name);
        const char *const arguments[] = {"/bin/rm", "-rf", "--", path, NULL};
        subprocess_run(arguments, NULL, &(struct error){0}); /* another user's stay */
    }
    if (directory != NULL)
        closedir(directory);
}

struct test_cluster *test_cluster_start(void)
{
    struct test_cluster *cluster = memory_new(sizeof(*cluster));
    struct embedded_options options = {.directory = cluster->directory, .disposable = true};
    struct error error = {0};

    test_cluster_sweep(SHARED_MEMORY);
    snprintf(cluster->directory, sizeof(cluster->directory), "%s/leadrouter-test-%d-XXXXXX", scratch(), (int)getpid());
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
