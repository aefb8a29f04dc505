#include "children.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <libpq-fe.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"

enum {
    CLUSTER_START_MS = 120000,
    STOP_MS = 30000,
    LINE_SIZE = 8192,
    WORDS_MAX = 16,
    PORT_MIN = 10000,
    PORT_GIVEN_DEFAULT = 32768,
    PORT_TRIES = 100,
};

static void close_quietly(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

/* In the child, between fork and exec: only what is safe there. gRPC may be in use in the parent; the child never
 * touches it. */
static void become(const char *const *arguments, int stdin_read, int stdout_write, int stderr_write)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(stdin_read, STDIN_FILENO);
    if (stdout_write >= 0)
        dup2(stdout_write, STDOUT_FILENO);
    if (stderr_write >= 0)
        dup2(stderr_write, STDERR_FILENO);
    execv(arguments[0], (char *const *)(const void *)arguments);
    _exit(127);
}

/* Starts a program. `stderr_write` (-1: ours) gets its messages, and its output too unless that is to be read. */
static bool child_start(const char *const *arguments, bool read_output, int stderr_write, struct child *ret_child,
    struct error *reterr_error)
{
    int input[2] = {-1, -1};
    int output[2] = {-1, -1};
    pid_t pid = -1;

    if (access(arguments[0], X_OK) != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not run %s: %s", arguments[0], strerror(errno));
    if (pipe2(input, O_CLOEXEC) == 0 && (!read_output || pipe2(output, O_CLOEXEC) == 0))
        pid = fork();
    if (pid == 0)
        become(arguments, input[0], read_output ? output[1] : stderr_write, stderr_write);
    if (pid > 0)
        *ret_child = (struct child){.pid = pid, .stdin_write = input[1], .stdout_read = output[0]};
    else
        error_set(reterr_error, ERROR_SYSTEM, "could not start %s: %s", arguments[0], strerror(errno));
    close_quietly(&input[0]);
    close_quietly(&output[1]);
    if (pid <= 0) {
        close_quietly(&input[1]);
        close_quietly(&output[0]);
    }
    return pid > 0;
}

/* Asks it to end, waits, and ends it by force when it does not. */
static void child_stop(struct child *child)
{
    int64_t deadline_ns = clock_after_ms(STOP_MS);

    if (child->pid <= 0)
        return;
    kill(child->pid, SIGTERM);
    close_quietly(&child->stdin_write);
    while (waitpid(child->pid, NULL, WNOHANG) == 0) {
        if (clock_now_ns() > deadline_ns) {
            kill(child->pid, SIGKILL);
            waitpid(child->pid, NULL, 0);
            break;
        }
        poll(NULL, 0, 5);
    }
    close_quietly(&child->stdout_read);
    *child = (struct child){.stdin_write = -1, .stdout_read = -1};
}

/* One line of a child's output, without its end. False at its end, or when time is up. */
static bool read_line(int descriptor, int64_t deadline_ns, char *ret_line, size_t capacity)
{
    size_t size = 0;

    while (size + 1 < capacity) {
        struct pollfd waiting = {.fd = descriptor, .events = POLLIN};
        if (poll(&waiting, 1, clock_left_ms(deadline_ns)) <= 0 || read(descriptor, ret_line + size, 1) != 1)
            return false;
        if (ret_line[size] == '\n') {
            ret_line[size] = '\0';
            return true;
        }
        size++;
    }
    return false;
}

static bool read_urls(const char *line, struct cluster *cluster)
{
    json_t *object = json_loads(line, 0, NULL);
    const char *admin_url = json_string_value(json_object_get(object, "admin_url"));
    const char *service_url = json_string_value(json_object_get(object, "service_url"));
    bool ok = admin_url != NULL && service_url != NULL && strlen(admin_url) < CHILD_URL_SIZE &&
              strlen(service_url) < CHILD_URL_SIZE;

    if (ok) {
        snprintf(cluster->admin_url, sizeof(cluster->admin_url), "%s", admin_url);
        snprintf(cluster->service_url, sizeof(cluster->service_url), "%s", service_url);
    }
    json_decref(object);
    return ok;
}

bool cluster_start(
    const char *leadrouterd, const char *directory, struct cluster *ret_cluster, struct error *reterr_error)
{
    const char *const arguments[] = {leadrouterd, "cluster", "--embedded", directory, "--migrate", NULL};
    struct cluster cluster = {0};
    char line[LINE_SIZE];

    if (!child_start(arguments, true, -1, &cluster.child, reterr_error))
        return false;
    if (!read_line(cluster.child.stdout_read, clock_after_ms(CLUSTER_START_MS), line, sizeof(line)) ||
        !read_urls(line, &cluster)) {
        child_stop(&cluster.child);
        return error_set(reterr_error, ERROR_UNAVAILABLE, "the private cluster did not start");
    }
    *ret_cluster = cluster;
    return true;
}

void cluster_stop(struct cluster *cluster)
{
    child_stop(&cluster->child);
}

/* The first of the ports that the system gives to those who take any. */
static int first_given_port(void)
{
    int first = PORT_GIVEN_DEFAULT;
    char line[64];
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (file != NULL && fgets(line, sizeof(line), file) != NULL)
        first = (int)strtol(line, NULL, 10);
    if (file != NULL)
        fclose(file);
    return first > PORT_MIN ? first : PORT_GIVEN_DEFAULT;
}

static bool is_port_free(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = descriptor >= 0 && bind(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0;

    close_quietly(&descriptor);
    return ok;
}

int children_free_port(void)
{
    int first_given = first_given_port();

    for (int i = 0; i < PORT_TRIES; i++) {
        uint16_t chance = 0;
        if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance))
            return 0;
        int port = PORT_MIN + chance % (first_given - PORT_MIN);
        if (is_port_free(port))
            return port;
    }
    return 0;
}

bool server_start(const char *leadrouterd, const char *service_url, const char *const *flags, const char *log_path,
    struct server *ret_server, struct error *reterr_error)
{
    const char *arguments[WORDS_MAX] = {leadrouterd, "serve", "--database", service_url, "--listen"};
    size_t count = 5;
    struct server server = {0};
    int port = children_free_port();
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    bool ok = false;

    snprintf(server.target, sizeof(server.target), "127.0.0.1:%d", port);
    arguments[count++] = server.target;
    while (*flags != NULL) {
        assert(count + 1 < WORDS_MAX);
        arguments[count++] = *flags++;
    }
    if (port == 0)
        error_set(reterr_error, ERROR_SYSTEM, "could not find a free port");
    else if (log < 0)
        error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", log_path, strerror(errno));
    else
        ok = child_start(arguments, false, log, &server.child, reterr_error);
    close_quietly(&log);
    if (ok)
        *ret_server = server;
    return ok;
}

void server_stop(struct server *server)
{
    child_stop(&server->child);
}

bool child_memory_read(pid_t pid, struct child_memory *ret_memory)
{
    struct child_memory memory = {0};
    char path[64];
    char line[256];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            memory.resident_kib = strtoll(line + 6, NULL, 10);
        else if (strncmp(line, "VmHWM:", 6) == 0)
            memory.resident_max_kib = strtoll(line + 6, NULL, 10);
    }
    fclose(file);
    if (memory.resident_max_kib == 0)
        return false;
    *ret_memory = memory;
    return true;
}

bool child_cpu_read(pid_t pid, int64_t *ret_ns)
{
    struct timespec taken;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &taken) != 0)
        return false;
    *ret_ns = taken.tv_sec * INT64_C(1000000000) + taken.tv_nsec;
    return true;
}

bool tool_start(const char *const *arguments, const char *log_path, struct child *ret_child, struct error *reterr_error)
{
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    bool ok = log >= 0 || error_set(reterr_error, ERROR_SYSTEM, "could not write %s: %s", log_path, strerror(errno));

    ok = ok && child_start(arguments, false, log, ret_child, reterr_error);
    close_quietly(&log);
    return ok;
}

void tool_end(struct child *child)
{
    if (child->pid > 0)
        close_quietly(&child->stdin_write);
    *child = (struct child){.stdin_write = -1, .stdout_read = -1};
}

/* A program next to this one, or in the build; its bare name when it is in neither. */
static char *find_program(const char *name, const char *folder)
{
    char self[4096] = "";
    char *found = NULL;

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
        return memory_copy_string(name);
    const char *directory = dirname(self);
    for (int in_build = 0; in_build < 2 && found == NULL; in_build++) {
        struct buffer path;
        buffer_init(&path, sizeof(self) * 2);
        buffer_append_format(&path, "%s/%s%s", directory, in_build == 1 ? folder : "", name);
        if (access(buffer_text(&path), X_OK) == 0)
            found = memory_copy_string(buffer_text(&path));
        buffer_release(&path);
    }
    return found == NULL ? memory_copy_string(name) : found;
}

char *children_find_leadrouterd(void)
{
    return find_program("leadrouterd", "../../server/");
}

char *children_find_leadctl(void)
{
    return find_program("leadctl", "../leadctl/");
}

char *children_url_database(const char *url)
{
    PQconninfoOption *parts = PQconninfoParse(url, NULL);
    char *database = NULL;

    assert(parts != NULL);
    for (const PQconninfoOption *part = parts; part->keyword != NULL; part++)
        if (strcmp(part->keyword, "dbname") == 0)
            database = memory_copy_string(part->val);
    PQconninfoFree(parts);
    return database == NULL ? memory_copy_string("postgres") : database;
}

/* 'value' with quote and backslash escaped, as libpq's connection strings want it. */
static void append_quoted(struct buffer *buffer, const char *value)
{
    buffer_append_string(buffer, "'");
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\'' || *c == '\\')
            buffer_append_string(buffer, "\\");
        buffer_append(buffer, c, 1);
    }
    buffer_append_string(buffer, "' ");
}

bool children_url_with_database(const char *url, const char *database, char **ret_url, struct error *reterr_error)
{
    PQconninfoOption *parts = PQconninfoParse(url, NULL);
    struct buffer text;

    if (parts == NULL)
        return error_set(reterr_error, ERROR_INVALID, "not a connection string");
    buffer_init(&text, CHILD_URL_SIZE * 2);
    for (const PQconninfoOption *part = parts; part->keyword != NULL; part++) {
        if (part->val == NULL || strcmp(part->keyword, "dbname") == 0)
            continue;
        buffer_append_format(&text, "%s=", part->keyword);
        append_quoted(&text, part->val);
    }
    buffer_append_string(&text, "dbname=");
    append_quoted(&text, database);
    *ret_url = memory_copy_string(buffer_text(&text));
    buffer_release(&text);
    PQconninfoFree(parts);
    return true;
}
