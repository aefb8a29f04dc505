#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "command.h"
#include "config.h"
#include "embedded.h"
#include "migrate.h"
#include "supervisor.h"

const char command_cluster_usage[] = "Usage: leadrouterd cluster --embedded DIR [--migrate]\n\n"
                                     "Runs the embedded database alone, for psql, backups and tests. When it takes\n"
                                     "connections, one line of JSON on standard output says how:\n"
                                     "{\"admin_url\": …, \"service_url\": …, \"pid\": …}. It stays until SIGTERM or\n"
                                     "SIGINT, or, where standard input is a pipe, until that is closed. PostgreSQL is\n"
                                     "started again when it dies.";

static int fail(const struct error *error)
{
    fprintf(stderr, "leadrouterd: %s\n", error->text);
    return EXIT_FAILED;
}

static void print_urls(const struct embedded *embedded)
{
    const char *admin = embedded_admin_url(embedded);
    const char *service = embedded_service_url(embedded);
    struct buffer line;

    buffer_init(&line, 8192);
    buffer_append_string(&line, "{\"admin_url\": ");
    buffer_append_json_string(&line, admin, strlen(admin));
    buffer_append_string(&line, ", \"service_url\": ");
    buffer_append_json_string(&line, service, strlen(service));
    buffer_append_format(&line, ", \"pid\": %d}\n", embedded_process_id(embedded));
    fputs(buffer_text(&line), stdout);
    fflush(stdout);
    buffer_release(&line);
}

/* A pipe that closes means that whoever started us is gone; a terminal, a file and /dev/null say nothing. */
static bool is_pipe(int descriptor)
{
    struct stat status;

    return fstat(descriptor, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

/* Returns true when we are told to stop; false when PostgreSQL died and could not be started again. */
static bool wait_for_end(struct embedded *embedded, int signals, struct error *reterr_error)
{
    struct pollfd polls[2] = {
        {.fd = signals, .events = POLLIN}, {.fd = is_pipe(STDIN_FILENO) ? STDIN_FILENO : -1, .events = POLLIN}};
    struct signalfd_siginfo signal = {0};
    char ignored[256];

    while (poll(polls, 2, -1) >= 0) {
        if (polls[1].revents != 0 && read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0)
            return true;
        if (polls[0].revents == 0 || read(signals, &signal, sizeof(signal)) != (ssize_t)sizeof(signal))
            continue;
        if (signal.ssi_signo != SIGCHLD)
            return true;
        if (embedded_process_id(embedded) == 0 && !embedded_restart(embedded, reterr_error))
            return false;
    }
    return true;
}

int command_cluster(int argc, char **argv)
{
    struct config config;
    const char *operand = NULL;
    struct embedded *embedded = NULL;
    struct error error = {0};
    sigset_t watched;
    int code = EXIT_DONE;

    switch (config_parse(CONFIG_CLUSTER, command_cluster_usage, argc, argv, false, &config, &operand)) {
    case CONFIG_HELP_SHOWN:
        return EXIT_DONE;
    case CONFIG_WRONG:
        return EXIT_USAGE;
    case CONFIG_OK:
        break;
    }
    if (config.embedded == NULL) {
        fprintf(stderr, "leadrouterd: cluster needs --embedded DIR; see --help\n");
        return EXIT_USAGE;
    }
    sigemptyset(&watched);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_BLOCK, &watched, NULL); /* one that comes during the start is heeded after it */
    int signals = signalfd(-1, &watched, SFD_CLOEXEC);
    struct embedded_options options = {.directory = config.embedded, .disposable = config.disposable};
    bool ok = embedded_start(&options, &embedded, &error);
    if (ok && config.migrate) {
        struct migrate_options migrate = {.url = embedded_admin_url(embedded), .output = stderr};
        ok = migrate_up(&migrate, &error);
    }
    if (ok) {
        print_urls(embedded);
        supervisor_tell("READY=1");
        ok = wait_for_end(embedded, signals, &error);
    }
    if (!ok)
        code = fail(&error);
    close(signals);
    supervisor_tell("STOPPING=1");
    embedded_stop(embedded);
    return code;
}
