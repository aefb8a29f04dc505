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
    {"jobs", "list", command_jobs_list, "the background jobs, and how they are doing"},
    {"jobs", "run", command_jobs_run, "run one now"},
    {"jobs", "pause", command_jobs_pause, "stop one on all servers"},
    {"jobs", "resume", command_jobs_resume, "let it run again"},
    {"retries", "list", command_retries_list, "leads that wait for another attempt"},
    {"retries", "process", command_retries_process, "try those that are due now"},
    {"retries", "cancel", command_retries_cancel, "give leads up"},
    {"audit", "verify", command_audit_verify, "whether anybody tampered with the audit log"},
    {"leads", "list", command_leads_list, "leads of a workspace, the newest first"},
    {"leads", "show", command_leads_show, "everything about one lead"},
    {"leads", "erase", command_leads_erase, "erase the person that a lead is about, for good"},
    {"history", NULL, command_history, "what became of one lead, and why"},
    {"rules", "list", command_rules_list, "the rules of a workspace, in the order in which they are asked"},
    {"rules", "show", command_rules_show, "everything about one rule"},
    {"rules", "create", command_rules_create, "add one"},
    {"rules", "update", command_rules_update, "change one"},
    {"rules", "delete", command_rules_delete, "remove one"},
    {"rules", "activate", command_rules_activate, "switch one on"},
    {"rules", "deactivate", command_rules_deactivate, "switch one off"},
    {"rules", "apply", command_rules_apply, "make all of them equal to those of a file"},
    {"rules", "export", command_rules_export, "write all of them as such a file"},
    {"rules", "test", command_rules_test, "what each of them would do with a lead, and why"},
    {"rules", "lint", command_rules_lint, "what is wrong with them before any lead comes"},
    {"rules", "versions", command_rules_versions, "the versions that there were"},
    {"rules", "diff", command_rules_diff, "what changed from one of them to another"},
    {"rules", "revert", command_rules_revert, "go back to one of them"},
    {"workspaces", "list", command_workspaces_list, "the workspaces"},
    {"workspaces", "show", command_workspaces_show, "everything about one of them, with its policy"},
    {"workspaces", "create", command_workspaces_create, "make one"},
    {"workspaces", "update", command_workspaces_update, "change name, type, policy, or switch it on or off"},
    {"members", "list", command_members_list, "who belongs to a workspace"},
    {"members", "set", command_members_set, "let somebody belong to it, as member or administrator"},
    {"members", "remove", command_members_remove, "end that"},
    {"token", NULL, command_token, "a token for development, signed with a key of yours"},
};

static void show_help(FILE *output)
{
    fprintf(output, "leadctl %s: works with a leadrouterd\n\nUsage: leadctl COMMAND [FLAGS]\n\n", SERVER_VERSION);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s%s%s", commands[i].first, commands[i].second == NULL ? "" : " ",
            commands[i].second == NULL ? "" : commands[i].second);
        fprintf(output, "  %-17s %s\n", name, commands[i].help);
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

static int needs_second_word(const char *first)
{
    size_t count = 0;

    fprintf(stderr, "leadctl: %s needs a second word:", first);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(first, commands[i].first) == 0)
            fprintf(stderr, "%s %s", count++ == 0 ? "" : ",", commands[i].second);
    }
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    bool is_known = false;

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
        is_known = true;
    }
    return is_known ? needs_second_word(argv[1]) : unknown_command(argv[1]);
}
