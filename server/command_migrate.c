#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "config.h"
#include "embedded.h"
#include "migrate.h"

const char command_migrate_usage[] = "Usage: leadrouterd migrate up|down|status|verify\n"
                                     "           (--database URL | --database-file FILE | --embedded DIR)\n"
                                     "           [--dry-run] [--yes] [--adopt [--adopt-losing ROLE,...]]\n\n"
                                     "up      applies what is missing; safe to run by several at once, and again\n"
                                     "down    removes exactly what up made; the host application's tables stay\n"
                                     "status  says which steps are done\n"
                                     "verify  looks whether the database is what up makes of it; changes nothing\n\n"
                                     "The URL must be a direct connection, not a pooler's, as a role that may create\n"
                                     "roles and alter the table leads.";

static const struct {
    const char *name;
    bool (*run)(const struct migrate_options *options, struct error *reterr_error);
} actions[] = {{"up", migrate_up}, {"down", migrate_down}, {"status", migrate_status}, {"verify", migrate_verify}};

static int fail(const struct error *error)
{
    fprintf(stderr, "leadrouterd: %s%s%s%s\n", error->text, error->sqlstate[0] == '\0' ? "" : " (SQLSTATE ",
        error->sqlstate, error->sqlstate[0] == '\0' ? "" : ")");
    return EXIT_FAILED;
}

int command_migrate(int argc, char **argv)
{
    struct config config;
    const char *action = NULL;
    struct embedded *embedded = NULL;
    struct error error = {0};
    int code = EXIT_USAGE;

    switch (config_parse(CONFIG_MIGRATE, command_migrate_usage, argc, argv, true, &config, &action)) {
    case CONFIG_HELP_SHOWN:
        return EXIT_DONE;
    case CONFIG_WRONG:
        return EXIT_USAGE;
    case CONFIG_OK:
        break;
    }
    if (action == NULL || !config_has_database(&config)) {
        fprintf(stderr, "leadrouterd: migrate needs up, down, status or verify, and one of --database, --database-file "
                        "and --embedded; "
                        "see --help\n");
        return EXIT_USAGE;
    }
    if ((config.adopt && strcmp(action, "up") != 0) || (config.adopt_losing != NULL && !config.adopt)) {
        fprintf(stderr, "leadrouterd: --adopt belongs to migrate up, and --adopt-losing to --adopt\n");
        return EXIT_USAGE;
    }
    struct embedded_options options = {.directory = config.embedded};
    if (!config_read_files(&config, &error)) {
        config_wipe(&config);
        return fail(&error);
    }
    if (config.embedded != NULL && !embedded_start(&options, &embedded, &error))
        return fail(&error);
    struct migrate_options migrate = {.url = embedded == NULL ? config.database : embedded_admin_url(embedded),
        .dry_run = config.dry_run,
        .yes = config.yes,
        .adopt = config.adopt,
        .adopt_losing = config.adopt_losing,
        .output = stdout};
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        if (strcmp(action, actions[i].name) == 0)
            code = actions[i].run(&migrate, &error) ? EXIT_DONE : fail(&error);
    if (code == EXIT_USAGE)
        fprintf(stderr, "leadrouterd: \"%s\" is not up, down, status or verify\n", action);
    embedded_stop(embedded);
    config_wipe(&config);
    return code;
}
