#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buffer.h"
#include "command.h"
#include "config.h"
#include "embedded.h"
#include "migrate.h"

static const char usage[] =
    "Usage: leadrouterd cluster --embedded DIR [--migrate]\n\n"
    "Runs the embedded database alone, for psql, backups and tests. When it takes connections, one line of JSON on\n"
    "standard output says how: {\"admin_url\": …, \"service_url\": …, \"pid\": …}. It stays until SIGTERM, SIGINT, or "
    "until\n"
    "standard input is closed.";

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

/* Returns when a signal to stop has come or standard input has ended; a terminal's input is not watched. */
static void wait_for_end(int signals)
{
    struct pollfd polls[2] = {
        {.fd = signals, .events = POLLIN}, {.fd = isatty(STDIN_FILENO) ? -1 : STDIN_FILENO, .events = POLLIN}};
    char ignored[256];

    while (poll(polls, 2, -1) >= 0 && polls[0].revents == 0)
        if (polls[1].revents != 0 && read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0)
            return;
}

int command_cluster(int argc, char **argv)
{
    struct config config;
    const char *operand = NULL;
    struct embedded *embedded = NULL;
    struct error error = {0};
    sigset_t stops;
    int code = EXIT_DONE;

    switch (config_parse(CONFIG_CLUSTER, usage, argc, argv, false, &config, &operand)) {
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
    struct embedded_options options = {.directory = config.embedded, .disposable = config.disposable};
    if (!embedded_start(&options, &embedded, &error))
        return fail(&error);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    int signals = signalfd(-1, &stops, SFD_CLOEXEC);
    struct migrate_options migrate = {.url = embedded_admin_url(embedded), .output = stderr};
    if (config.migrate && !migrate_up(&migrate, &error)) {
        code = fail(&error);
    } else {
        print_urls(embedded);
        wait_for_end(signals);
    }
    close(signals);
    embedded_stop(embedded);
    return code;
}
