/* leadrouterd: picks the command. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "command.h"
#include "config.h"
#include "supervisor.h"
#include "version.h"

enum { COMMANDS_MAX = 8 };

static void show_help(FILE *output)
{
    fprintf(output,
        "leadrouterd %s: decides which workspace gets a lead, once\n\nUsage: leadrouterd COMMAND [SETTINGS]\n\n",
        SERVER_VERSION);
    for (const struct server_command *command = server_commands; command->name != NULL; command++)
        fprintf(output, "  %-10s %s\n", command->name, command->help);
    fprintf(output, "\nleadrouterd COMMAND --help lists the settings. To try it:\n"
                    "  leadrouterd serve --embedded /var/lib/leadrouter\n");
}

static int wrong_command(const char *typed)
{
    const char *names[COMMANDS_MAX];
    size_t count = 0;
    const char *nearest = NULL;

    for (; server_commands[count].name != NULL && count < COMMANDS_MAX; count++)
        names[count] = server_commands[count].name;
    assert(server_commands[count].name == NULL);
    nearest = nearest_word(typed, names, count);
    if (nearest != NULL)
        fprintf(stderr, "leadrouterd: \"%s\" is not a command; did you mean %s?\n", typed, nearest);
    else
        fprintf(stderr, "leadrouterd: \"%s\" is not a command; see leadrouterd --help\n", typed);
    return EXIT_USAGE;
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
    supervisor_begin();
    for (const struct server_command *command = server_commands; command->name != NULL; command++)
        if (strcmp(argv[1], command->name) == 0)
            return command->run(argc - 1, argv + 1);
    return wrong_command(argv[1]);
}
