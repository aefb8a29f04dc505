#include "embedded.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pg/pg.h"
#include "subprocess.h"

enum {
    PATH_SIZE = 512,
    SOCKET_DIRECTORY_MAX = 85, /* sun_path holds 107 bytes; "/.s.PGSQL.5432" and some air come off */
    ANSWER_MS = 60000,
    START_MS = 600000, /* after a crash PostgreSQL reads its log again before it takes connections */
    STOP_MS = 60000,
    POLL_MS = 20,
    STARTS_MAX = 8,
    LEFTOVERS_MS = 30000, /* how long what a killed postmaster left may take to go */
    RESTART_PAUSE_MS = 250,
    VERSION_MIN = 15,
};

struct embedded {
    bool disposable;
    struct subprocess_user user;
    char binaries[PATH_SIZE]; /* directory of initdb and postgres */
    char directory[PATH_SIZE];
    char data[PATH_SIZE];
    char making[PATH_SIZE]; /* where the cluster is until it is whole */
    char socket_directory[PATH_SIZE];
    char log[PATH_SIZE];
    char admin_url[PATH_SIZE + 64];
    char service_url[PATH_SIZE + 64];
    bool socket_is_elsewhere; /* not in the directory: removed at the end */
    int lock;                 /* descriptor of the lock file; -1: none */
    pid_t child;              /* 0: adopted, or not running */
};

static bool path_set(char ret_path[PATH_SIZE], const char *directory, const char *name, struct error *reterr_error)
{
    int size = snprintf(ret_path, PATH_SIZE, "%s/%s", directory, name);

    if (size < 0 || size >= PATH_SIZE)
        return error_set(reterr_error, ERROR_INVALID, "the path of the embedded database is too long");
    return true;
}

/* --- Places ------------------------------------------------------------------------------------------------------- */

/* The mark in a data directory that leadrouter made it, and that it is whole. */
#define MADE "leadrouter.made"

static bool is_there(const char *directory, const char *name)
{
    char path[PATH_SIZE];
    struct stat status;

    return path_set(path, directory, name, NULL) && stat(path, &status) == 0;
}

/* The major version of PostgreSQL that made this data directory: no other one can run it. */
static bool read_version(const struct embedded *embedded, long *ret_version, struct error *reterr_error)
{
    char path[PATH_SIZE];
    char line[32] = "";

    if (!path_set(path, embedded->data, "PG_VERSION", reterr_error))
        return false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "could not read %s: %s", path, strerror(errno));
    *ret_version = fgets(line, sizeof(line), file) == NULL ? 0 : strtol(line, NULL, 10);
    fclose(file);
    return *ret_version > 0 || error_set(reterr_error, ERROR_SYSTEM, "%s holds no version", path);
}

static bool has_binaries(long version)
{
    char bin[PATH_SIZE];

    snprintf(bin, sizeof(bin), "/usr/lib/postgresql/%ld/bin", version);
    return is_there(bin, "initdb") && is_there(bin, "postgres");
}

static long newest_version(void)
{
    DIR *versions = opendir("/usr/lib/postgresql");
    struct dirent *entry = NULL;
    long best = 0;

    while (versions != NULL && (entry = readdir(versions)) != NULL) {
        long version = strtol(entry->d_name, NULL, 10);
        if (version > best && has_binaries(version))
            best = version;
    }
    if (versions != NULL)
        closedir(versions);
    return best;
}

/* The server binaries of the version that made the cluster; for a new one, the newest. */
static bool find_binaries(struct embedded *embedded, struct error *reterr_error)
{
    const char *chosen = getenv("LEADROUTER_PG_BINDIR");
    bool is_made = is_there(embedded->data, MADE);
    long version = 0;

    if (chosen != NULL && chosen[0] != '\0') {
        if (!is_there(chosen, "initdb") || !is_there(chosen, "postgres"))
            return error_set(reterr_error, ERROR_SYSTEM,
                "LEADROUTER_PG_BINDIR: %s does not have PostgreSQL's initdb and postgres", chosen);
        snprintf(embedded->binaries, sizeof(embedded->binaries), "%s", chosen);
        return true;
    }
    if (is_made && !read_version(embedded, &version, reterr_error))
        return false;
    if (is_made && !has_binaries(version))
        return error_set(reterr_error, ERROR_SYSTEM,
            "%s was made by PostgreSQL %ld, which is not installed (Debian: apt-get install postgresql-%ld)",
            embedded->data, version, version);
    if (!is_made)
        version = newest_version();
    if (version < VERSION_MIN)
        return error_set(reterr_error, ERROR_SYSTEM,
            "no PostgreSQL server %d or later is installed (Debian: apt-get install postgresql-15)", VERSION_MIN);
    snprintf(embedded->binaries, sizeof(embedded->binaries), "/usr/lib/postgresql/%ld/bin", version);
    return true;
}

/* PostgreSQL refuses to run as root, and to run on files of another user. */
static bool find_user(struct embedded *embedded, struct error *reterr_error)
{
    uid_t uid = geteuid();
    struct stat status;

    if (uid == 0) {
        const struct passwd *postgres = getpwnam("postgres");
        if (postgres == NULL)
            return error_set(reterr_error, ERROR_SYSTEM, "PostgreSQL cannot run as root and there is no user postgres");
        uid = postgres->pw_uid;
        embedded->user =
            (struct subprocess_user){.is_set = true, .uid = uid, .gid = postgres->pw_gid, .name = "postgres"};
    }
    if (!is_there(embedded->data, MADE))
        return true;
    if (stat(embedded->data, &status) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not look at %s: %s", embedded->data, strerror(errno));
    if (status.st_uid == uid)
        return true;
    const struct passwd *owner = getpwuid(status.st_uid);
    return error_set(reterr_error, ERROR_SYSTEM, "%s belongs to the user %s: run leadrouterd as %s, as before",
        embedded->data, owner == NULL ? "who made it" : owner->pw_name,
        owner == NULL                             ? "that one"
        : strcmp(owner->pw_name, "postgres") == 0 ? "root or postgres"
                                                  : "that user");
}

/* The mode is set whatever the umask is: the user postgres must get through a directory that root makes. */
static bool make_directory(const char *path, mode_t mode, struct error *reterr_error)
{
    if (mkdir(path, 0700) == 0 ? chmod(path, mode) != 0 : errno != EEXIST)
        return error_set(reterr_error, ERROR_SYSTEM, "could not make the directory %s: %s", path, strerror(errno));
    return true;
}

/* The directory and those above it. */
static bool make_directories(const char *path, struct error *reterr_error)
{
    char part[PATH_SIZE];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (!make_directory(part, 0755, reterr_error))
            return false;
    }
    return make_directory(path, 0755, reterr_error);
}

/* One directory has one name from here on, whichever way led to it. */
static bool find_directory(struct embedded *embedded, const char *directory, struct error *reterr_error)
{
    char *real = NULL;
    bool ok = false;

    if (directory[0] == '\0')
        return error_set(reterr_error, ERROR_INVALID, "the directory of the embedded database is empty");
    if (strlen(directory) >= PATH_SIZE)
        return error_set(reterr_error, ERROR_INVALID, "the path of the embedded database is too long");
    if (!make_directories(directory, reterr_error))
        return false;
    real = realpath(directory, NULL);
    if (real == NULL)
        return error_set(reterr_error, ERROR_SYSTEM, "could not enter %s: %s", directory, strerror(errno));
    ok = path_set(embedded->data, real, "data", reterr_error) &&
         path_set(embedded->making, real, "data.unfinished", reterr_error) &&
         path_set(embedded->log, real, "postgres.log", reterr_error);
    if (ok)
        snprintf(embedded->directory, PATH_SIZE, "%s", real);
    free(real);
    return ok;
}

static bool own(struct embedded *embedded, const char *path, struct error *reterr_error)
{
    if (embedded->user.is_set && lchown(path, embedded->user.uid, embedded->user.gid) != 0)
        return error_set(
            reterr_error, ERROR_SYSTEM, "could not give %s to the user postgres: %s", path, strerror(errno));
    return true;
}

/* What a connection string and PostgreSQL's list of directories take without quotes. */
static bool is_plain(const char *path)
{
    return path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")] == '\0';
}

/* A socket's path has a fixed room: where the directory's is too long, a place in /run or /tmp named after it. */
static bool find_socket_directory(struct embedded *embedded, struct error *reterr_error)
{
    struct stat status;

    if (!path_set(embedded->socket_directory, embedded->directory, "run", reterr_error))
        return false;
    embedded->socket_is_elsewhere =
        strlen(embedded->socket_directory) > SOCKET_DIRECTORY_MAX || !is_plain(embedded->socket_directory);
    if (embedded->socket_is_elsewhere) {
        if (stat(embedded->directory, &status) != 0)
            return error_set(
                reterr_error, ERROR_SYSTEM, "could not look at %s: %s", embedded->directory, strerror(errno));
        snprintf(embedded->socket_directory, PATH_SIZE, "%s/leadrouter-%u-%lx-%lx", geteuid() == 0 ? "/run" : "/tmp",
            (unsigned)geteuid(), (unsigned long)status.st_dev, (unsigned long)status.st_ino);
    }
    if (!make_directory(embedded->socket_directory, 0700, reterr_error) ||
        !own(embedded, embedded->socket_directory, reterr_error))
        return false;
    if (lstat(embedded->socket_directory, &status) != 0 || !S_ISDIR(status.st_mode) || (status.st_mode & 077) != 0 ||
        (status.st_uid != geteuid() && (!embedded->user.is_set || status.st_uid != embedded->user.uid)))
        return error_set(
            reterr_error, ERROR_SYSTEM, "%s is not a directory that only we can enter", embedded->socket_directory);
    return true;
}

static bool take_lock(struct embedded *embedded, struct error *reterr_error)
{
    char path[PATH_SIZE];

    if (!path_set(path, embedded->directory, "lock", reterr_error))
        return false;
    embedded->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (embedded->lock < 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", path, strerror(errno));
    if (flock(embedded->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    close(embedded->lock);
    embedded->lock = -1; /* what is there is another's to stop */
    return error_set(reterr_error, ERROR_BUSY, "another process uses the directory %s", embedded->directory);
}

/* --- Making the cluster ------------------------------------------------------------------------------------------- */

static bool write_file(const char *directory, const char *name, const char *text, struct error *reterr_error)
{
    char path[PATH_SIZE];

    if (!path_set(path, directory, name, reterr_error))
        return false;
    FILE *file = fopen(path, "we");
    bool ok = file != NULL && fputs(text, file) >= 0 && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file != NULL && fclose(file) != 0)
        ok = false;
    return ok || error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", path, strerror(errno));
}

/* Who may log in as whom: the user that runs the server, and PostgreSQL's own, as the superuser and as the service. */
static bool write_access(struct embedded *embedded, struct error *reterr_error)
{
    static const char *const logins[] = {"postgres", "leadrouter_service"};
    const struct passwd *self = getpwuid(geteuid());
    const char *const users[] = {self == NULL ? "root" : self->pw_name, embedded->user.is_set ? "postgres" : NULL};
    char map[1024] = "";
    size_t size = 0;

    for (size_t u = 0; u < COUNT_OF(users); u++)
        for (size_t l = 0; users[u] != NULL && l < COUNT_OF(logins); l++)
            size += (size_t)snprintf(map + size, sizeof(map) - size, "leadrouter \"%s\" %s\n", users[u], logins[l]);
    return write_file(embedded->making, "pg_hba.conf", "local all all peer map=leadrouter\n", reterr_error) &&
           write_file(embedded->making, "pg_ident.conf", map, reterr_error);
}

static bool remove_tree(const char *path, struct error *reterr_error)
{
    const char *const arguments[] = {"/bin/rm", "-rf", "--", path, NULL};

    return subprocess_run(arguments, NULL, reterr_error);
}

static bool flush_directory(const char *path, struct error *reterr_error)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = directory >= 0 && fsync(directory) == 0;

    if (!ok)
        error_set(reterr_error, ERROR_SYSTEM, "could not flush %s: %s", path, strerror(errno));
    if (directory >= 0)
        close(directory);
    return ok;
}

/* The finished cluster takes its name, on disk too. A directory of that name with something in it is not ours to
 * replace. */
static bool finish_cluster(struct embedded *embedded, struct error *reterr_error)
{
    if (!flush_directory(embedded->making, reterr_error))
        return false;
    if (rename(embedded->making, embedded->data) != 0)
        return error_set(reterr_error, errno == ENOTEMPTY || errno == EEXIST ? ERROR_EXISTS : ERROR_SYSTEM,
            "could not name the new cluster %s: %s", embedded->data, strerror(errno));
    return flush_directory(embedded->directory, reterr_error);
}

/* Made beside its place: a making that was broken off leaves nothing that looks like a cluster, and is begun anew. */
static bool make_cluster(struct embedded *embedded, struct error *reterr_error)
{
    char initdb[PATH_SIZE];
    const char *const enter[] = {"/usr/bin/test", "-w", embedded->making, NULL};
    const char *const arguments[] = {initdb, "--pgdata", embedded->making, "--username", "postgres", "--auth", "peer",
        "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-instructions",
        embedded->disposable ? "--no-sync" : NULL, NULL};

    if (is_there(embedded->data, MADE))
        return true;
    if (is_there(embedded->data, "PG_VERSION"))
        return error_set(reterr_error, ERROR_EXISTS,
            "%s is a cluster that leadrouter did not make: choose another directory", embedded->data);
    if (!path_set(initdb, embedded->binaries, "initdb", reterr_error) || !remove_tree(embedded->making, reterr_error) ||
        !make_directory(embedded->making, 0700, reterr_error) || !own(embedded, embedded->making, reterr_error))
        return false;
    if (!subprocess_run(enter, &embedded->user, NULL))
        return error_set(reterr_error, ERROR_SYSTEM,
            "the user %s cannot enter %s: choose a directory that it can reach",
            embedded->user.is_set ? embedded->user.name : "who runs this", embedded->directory);
    return subprocess_run(arguments, &embedded->user, reterr_error) && write_access(embedded, reterr_error) &&
           write_file(embedded->making, MADE, "", reterr_error) && finish_cluster(embedded, reterr_error);
}

/* --- Running it --------------------------------------------------------------------------------------------------- */

/* Last line of the server's log, for the error text. */
static void log_tail(const struct embedded *embedded, char *ret_line, size_t size)
{
    char tail[1024] = "";
    FILE *log = fopen(embedded->log, "re");

    ret_line[0] = '\0';
    if (log == NULL)
        return;
    if (fseek(log, -(long)(sizeof(tail) - 1), SEEK_END) != 0)
        rewind(log);
    size_t got = fread(tail, 1, sizeof(tail) - 1, log);
    fclose(log);
    while (got > 0 && tail[got - 1] == '\n')
        got--;
    tail[got] = '\0';
    const char *line = strrchr(tail, '\n');
    snprintf(ret_line, size, "%s", line == NULL ? tail : line + 1);
}

/* Connects as the superuser. ERROR_UNAVAILABLE or ERROR_DEADLINE: not up yet; anything else does not pass by itself. */
static struct pg_conn *connect_admin(const struct embedded *embedded, int patience_ms, struct error *reterr_error)
{
    char url[PATH_SIZE + 64];
    struct pg_config config = {.url = url, .application_name = "leadrouterd"};

    snprintf(url, sizeof(url), "host=%s port=5432 user=postgres dbname=postgres", embedded->socket_directory);
    struct pg_conn *conn = pg_conn_new(&config);
    if (pg_conn_open(conn, clock_after_ms(patience_ms), reterr_error))
        return conn;
    pg_conn_free(conn);
    return NULL;
}

/* True when `pid` is a postmaster on our data: a number in a file may long be another process's. Its arguments are
 * what everybody may see of it; where it is, is not. */
static bool is_postmaster(const struct embedded *embedded, pid_t pid)
{
    char path[64];
    char arguments[4096] = "";
    const char *end = NULL;
    bool is_next = false;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    end = arguments + fread(arguments, 1, sizeof(arguments) - 1, file);
    fclose(file);
    for (const char *argument = arguments; argument < end; argument += strlen(argument) + 1) {
        if (is_next)
            return strcmp(argument, embedded->data) == 0;
        is_next = strcmp(argument, "-D") == 0;
    }
    return false;
}

int embedded_process_id(const struct embedded *embedded)
{
    char path[PATH_SIZE];
    char line[32] = "";

    if (!path_set(path, embedded->data, "postmaster.pid", NULL))
        return 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    long pid = fgets(line, sizeof(line), file) == NULL ? 0 : strtol(line, NULL, 10);
    fclose(file);
    if (pid <= 1 || pid > INT_MAX || !is_postmaster(embedded, (pid_t)pid))
        return 0;
    return (int)pid;
}

static bool launch(struct embedded *embedded, struct error *reterr_error)
{
    char postgres[PATH_SIZE];
    char sockets[PATH_SIZE + 32];
    const char *flush = embedded->disposable ? "fsync=off" : "fsync=on";
    const char *wal = embedded->disposable ? "max_wal_size=256MB" : "max_wal_size=4GB"; /* it may lie in memory */
    const char *const arguments[] = {postgres, "-D", embedded->data, "-c", "listen_addresses=", "-c", sockets, "-c",
        "port=5432", "-c", "unix_socket_permissions=0700", "-c", "max_connections=100", "-c", "shared_buffers=256MB",
        "-c", wal, "-c", "checkpoint_timeout=15min", "-c", "jit=off", "-c", "timezone=UTC", "-c", "log_timezone=UTC",
        "-c", "log_min_messages=warning", "-c", "log_min_error_statement=panic", "-c",
        "log_error_verbosity=terse", /* details quote rows */
        "-c", flush, NULL};

    snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", embedded->socket_directory);
    return path_set(postgres, embedded->binaries, "postgres", reterr_error) &&
           subprocess_start(
               arguments, &embedded->user, embedded->log, embedded->disposable, &embedded->child, reterr_error);
}

/* True when our child has ended. */
static bool child_ended(struct embedded *embedded)
{
    int status = 0;

    if (embedded->child != 0 && waitpid(embedded->child, &status, WNOHANG) != 0)
        embedded->child = 0; /* ended now, or before and somebody else has seen it */
    return embedded->child == 0;
}

/* True for a start that met what a killed postmaster left: its children, or itself while nobody has waited for it yet. */
static bool is_about_leftovers(const char *log_line)
{
    return strstr(log_line, "postmaster.pid\" already exists") != NULL ||
           strstr(log_line, "shared memory block") != NULL ||
           strstr(log_line, "Terminate any old server processes") != NULL;
}

/* Starts a postmaster, or adopts the one that is there. One that ends at once is started a few times more: it may
 * have met another that was just shutting down, or children of a killed one. */
static bool run_cluster(struct embedded *embedded, struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(START_MS);
    int64_t leftovers_ns = clock_after_ms(LEFTOVERS_MS);
    char line[400];
    unsigned starts = 0;

    while (clock_now_ns() < deadline_ns) {
        struct error error = {0};
        struct pg_conn *conn = connect_admin(embedded, ANSWER_MS, &error);
        if (conn != NULL) {
            pg_conn_free(conn);
            return true;
        }
        if (error.code != ERROR_UNAVAILABLE && error.code != ERROR_DEADLINE)
            return error_set_sql(
                reterr_error, error.code, error.sqlstate, "the embedded database refused us: %s", error.text);
        if (child_ended(embedded) && embedded_process_id(embedded) == 0) {
            log_tail(embedded, line, sizeof(line));
            if (starts >= STARTS_MAX && (clock_now_ns() > leftovers_ns || !is_about_leftovers(line)))
                return error_set(reterr_error, ERROR_UNAVAILABLE, "PostgreSQL did not start: %s", line);
            if (!launch(embedded, reterr_error))
                return false;
            starts++;
        }
        poll(NULL, 0, starts > 1 ? RESTART_PAUSE_MS : POLL_MS);
    }
    log_tail(embedded, line, sizeof(line));
    return error_set(
        reterr_error, ERROR_UNAVAILABLE, "PostgreSQL did not take connections within %d s: %s", START_MS / 1000, line);
}

static bool make_database(struct embedded *embedded, struct error *reterr_error)
{
    static const struct pg_statement exists = {.sql = "select count(*) from pg_database where datname = 'leadrouter'"};
    struct pg_result *result = NULL;
    struct pg_conn *conn = connect_admin(embedded, ANSWER_MS, reterr_error);
    bool ok = conn != NULL && pg_execute(conn, &exists, NULL, clock_after_ms(ANSWER_MS), &result, reterr_error);

    if (ok && pg_result_int8(result, 0, 0) == 0)
        ok = pg_execute_script(conn, "create database leadrouter", clock_after_ms(ANSWER_MS), reterr_error);
    pg_result_free(result);
    pg_conn_free(conn);
    return ok;
}

bool embedded_start(const struct embedded_options *options, struct embedded **ret_embedded, struct error *reterr_error)
{
    struct embedded *embedded = memory_new(sizeof(*embedded));

    embedded->lock = -1;
    embedded->disposable = options->disposable;
    if (!find_directory(embedded, options->directory, reterr_error) || !take_lock(embedded, reterr_error) ||
        !find_binaries(embedded, reterr_error) || !find_user(embedded, reterr_error) ||
        !find_socket_directory(embedded, reterr_error) || !make_cluster(embedded, reterr_error) ||
        !run_cluster(embedded, reterr_error) || !make_database(embedded, reterr_error)) {
        embedded_stop(embedded);
        return false;
    }
    snprintf(embedded->admin_url, sizeof(embedded->admin_url), "host=%s port=5432 user=postgres dbname=leadrouter",
        embedded->socket_directory);
    snprintf(embedded->service_url, sizeof(embedded->service_url),
        "host=%s port=5432 user=leadrouter_service dbname=leadrouter", embedded->socket_directory);
    *ret_embedded = embedded;
    return true;
}

bool embedded_restart(struct embedded *embedded, struct error *reterr_error)
{
    return run_cluster(embedded, reterr_error);
}

const char *embedded_admin_url(const struct embedded *embedded)
{
    return embedded->admin_url;
}

const char *embedded_service_url(const struct embedded *embedded)
{
    return embedded->service_url;
}

const char *embedded_socket_directory(const struct embedded *embedded)
{
    return embedded->socket_directory;
}

/* Fast shutdown; a cluster that does not end in time is left to itself: killing it would only mean a longer start. */
static void stop_cluster(struct embedded *embedded)
{
    int64_t deadline_ns = clock_after_ms(STOP_MS);
    int pid = embedded->child != 0 ? embedded->child : embedded_process_id(embedded);

    if (pid != 0)
        kill(pid, SIGINT);
    while (clock_now_ns() < deadline_ns) {
        bool ended = embedded->child == 0 ? embedded_process_id(embedded) == 0 : child_ended(embedded);
        if (ended)
            return;
        poll(NULL, 0, POLL_MS);
    }
}

void embedded_stop(struct embedded *embedded)
{
    if (embedded == NULL)
        return;
    if (embedded->lock >= 0) {
        stop_cluster(embedded);
        if (embedded->socket_is_elsewhere)
            rmdir(embedded->socket_directory);
        close(embedded->lock);
    }
    free(embedded);
}
