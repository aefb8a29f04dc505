/* leadrouterd: picks the command. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "config.h"
#include "version.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"serve", command_serve, "serve gRPC on a database, or on an embedded one"},
    {"migrate", command_migrate, "bring the schema up, take it down, or say where it stands"},
    {"cluster", command_cluster, "run the embedded database alone, for psql and backups"},
};

static void show_help(FILE *output)
{
    fprintf(output,
        "leadrouterd %s: decides which workspace gets a lead, once\n\nUsage: leadrouterd COMMAND [SETTINGS]\n\n",
        SERVER_VERSION);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(output, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(output, "\nleadrouterd COMMAND --help lists the settings. To try it:\n"
                    "  leadrouterd serve --embedded /var/lib/leadrouter\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        show_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        show_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("leadrouterd %s\n", SERVER_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "leadrouterd: \"%s\" is not a command; see leadrouterd --help\n", argv[1]);
    return EXIT_USAGE;
}
