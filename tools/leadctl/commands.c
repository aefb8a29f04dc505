/* The table of commands, and how one of them is found. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/nearest.h"
#include "command.h"
#include "help.h"
#include "screen.h"
#include "version.h"

const struct command *const commands[] = {
    &command_route,
    &command_import,
    &command_imports_list,
    &command_imports_show,
    &command_imports_rejected,
    &command_health,
    &command_slo,
    &command_leads_list,
    &command_leads_show,
    &command_leads_erase,
    &command_history,
    &command_rules_list,
    &command_rules_show,
    &command_rules_create,
    &command_rules_update,
    &command_rules_delete,
    &command_rules_activate,
    &command_rules_deactivate,
    &command_rules_apply,
    &command_rules_export,
    &command_rules_test,
    &command_rules_lint,
    &command_rules_versions,
    &command_rules_diff,
    &command_rules_revert,
    &command_retries_list,
    &command_retries_process,
    &command_retries_cancel,
    &command_jobs_list,
    &command_jobs_run,
    &command_jobs_pause,
    &command_jobs_resume,
    &command_workspaces_list,
    &command_workspaces_show,
    &command_workspaces_create,
    &command_workspaces_update,
    &command_members_list,
    &command_members_set,
    &command_members_remove,
    &command_audit_verify,
    &command_token,
    &command_completion,
    NULL,
};

enum { COMMANDS_MAX = COUNT_OF(commands) };

/* Whether the command's name is `first`, or begins with it and a blank; then what is left of it ("" or the second word). */
static bool begins(const struct command *command, const char *first, const char **ret_rest)
{
    size_t size = strlen(first);

    if (strncmp(command->name, first, size) != 0 || (command->name[size] != '\0' && command->name[size] != ' '))
        return false;
    *ret_rest = command->name + size + (command->name[size] == ' ' ? 1 : 0);
    return size > 0;
}

static int unknown_command(const char *typed)
{
    char words[COMMANDS_MAX][32];
    const char *pointers[COMMANDS_MAX];
    const char *nearest = NULL;
    size_t count = 0;

    for (; commands[count] != NULL; count++) {
        snprintf(words[count], sizeof(words[count]), "%.*s", (int)strcspn(commands[count]->name, " "),
            commands[count]->name);
        pointers[count] = words[count];
    }
    if (typed[0] == '-') {
        fprintf(stderr, "leadctl: %s: flags come after the command; leadctl --help lists commands\n", typed);
        return EXIT_USAGE;
    }
    nearest = nearest_word(typed, pointers, count);
    fprintf(stderr, "leadctl: \"%s\" is not a command", typed);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s?\n", nearest);
    else
        fprintf(stderr, "; leadctl --help lists them\n");
    return EXIT_USAGE;
}

/* `typed` is NULL when there is no second word. */
static int wrong_second_word(const char *first, const char *typed)
{
    const char *words[COMMANDS_MAX];
    const char *nearest = NULL;
    size_t count = 0;

    for (size_t i = 0; commands[i] != NULL; i++)
        if (begins(commands[i], first, &words[count]))
            count++;
    if (typed == NULL)
        fprintf(stderr, "leadctl: %s needs a second word: ", first);
    else
        fprintf(stderr, "leadctl: \"%s %s\" is not a command", first, typed);
    nearest = typed == NULL ? NULL : nearest_word(typed, words, count);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s %s?", first, nearest);
    else if (typed != NULL)
        fprintf(stderr, "; there are %s ", first);
    for (size_t i = 0; nearest == NULL && i < count; i++)
        fprintf(stderr, "%s%s", i == 0 ? "" : ", ", words[i]);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

static int carry_out(const struct command *command, int argc, char **argv)
{
    struct arguments arguments = {0};
    struct session session = {0};
    int code = EXIT_USAGE;

    switch (arguments_parse(command, argc, argv, &arguments)) {
    case OPTIONS_HELP_WANTED:
        help_command(stdout, command);
        code = EXIT_DONE;
        break;
    case OPTIONS_WRONG:
        break;
    case OPTIONS_OK:
        screen_set_colors(!arguments.common.no_color);
        if (command->is_local)
            code = command->run(&arguments, NULL);
        else if (session_begin(&session, &arguments.common, &code))
            code = command->run(&arguments, &session);
    }
    session_end(&session);
    arguments_release(&arguments);
    return code;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* argv[0] is the first word of a command; `wants_help`: it is asked what it does. */
static int find_and_run(int argc, char **argv, bool wants_help)
{
    const char *rest = NULL;
    bool is_family = false;

    for (size_t i = 0; commands[i] != NULL; i++) {
        if (!begins(commands[i], argv[0], &rest))
            continue;
        bool is_it = *rest == '\0' || (argc > 1 && strcmp(argv[1], rest) == 0);
        int words = *rest == '\0' ? 0 : 1;
        if (is_it && wants_help) {
            help_command(stdout, commands[i]);
            return EXIT_DONE;
        }
        if (is_it)
            return carry_out(commands[i], argc - words, argv + words);
        is_family = true;
    }
    if (!is_family)
        return unknown_command(argv[0]);
    if ((argc == 1 && wants_help) || (argc > 1 && is_help(argv[1]))) {
        help_family(stdout, argv[0]);
        return EXIT_DONE;
    }
    return wrong_second_word(argv[0], argc > 1 && argv[1][0] != '-' ? argv[1] : NULL);
}

static int run_words(int argc, char **argv)
{
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    if (is_help(argv[1]) || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        help_overview(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("leadctl %s\n", SERVER_VERSION);
        return EXIT_DONE;
    }
    bool wants_help = strcmp(argv[1], "help") == 0;
    return find_and_run(argc - (wants_help ? 2 : 1), argv + (wants_help ? 2 : 1), wants_help);
}

/* What was printed has to be there before it counts as done: a disk may be full. */
static int close_output(int code)
{
    errno = 0;
    bool ok = fflush(stdout) == 0 && !ferror(stdout);
    if (ok)
        return code;
    fprintf(stderr, "leadctl: could not write to standard output%s%s\n", errno == 0 ? "" : ": ",
        errno == 0 ? "" : strerror(errno));
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

int commands_main(int argc, char **argv)
{
    return close_output(run_words(argc, argv));
}
