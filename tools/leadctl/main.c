/* leadctl: picks the command. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "version.h"

/* One command; `second` is the second word of its name, or NULL. */
static const struct {
    const char *first;
    const char *second;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"route", NULL, command_route, "route one lead and say why it went where it went"},
    {"import", NULL, command_import, "take the rows of a CSV file in as leads, and route them"},
    {"health", NULL, command_health, "how routing is doing"},
    {"leads", "show", command_leads_show, "everything about one lead"},
};

static void show_help(FILE *output)
{
    fprintf(output, "leadctl %s: works with a leadrouterd\n\nUsage: leadctl COMMAND [FLAGS]\n\n", SERVER_VERSION);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s%s%s", commands[i].first, commands[i].second == NULL ? "" : " ",
            commands[i].second == NULL ? "" : commands[i].second);
        fprintf(output, "  %-12s %s\n", name, commands[i].help);
    }
    fprintf(output, "\nleadctl COMMAND --help says more, with an example.\n");
}

static int unknown_command(const char *typed)
{
    const char *words[COUNT_OF(commands)];
    const char *nearest = NULL;

    for (size_t i = 0; i < COUNT_OF(commands); i++)
        words[i] = commands[i].first;
    nearest = nearest_word(typed, words, COUNT_OF(commands));
    fprintf(stderr, "leadctl: \"%s\" is not a command", typed);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s?", nearest);
    fprintf(stderr, "\nleadctl --help lists them.\n");
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
        printf("leadctl %s\n", SERVER_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(argv[1], commands[i].first) != 0)
            continue;
        if (commands[i].second == NULL)
            return commands[i].run(argc - 1, argv + 1);
        if (argc >= 3 && strcmp(argv[2], commands[i].second) == 0)
            return commands[i].run(argc - 2, argv + 2);
        fprintf(stderr, "leadctl: %s needs a second word: %s\n", commands[i].first, commands[i].second);
        return EXIT_USAGE;
    }
    return unknown_command(argv[1]);
}
