#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum setting_kind { SETTING_TEXT, SETTING_NUMBER, SETTING_SWITCH };

/* One setting. Everything that is known about it stands here. */
struct setting {
    const char *flag;
    const char *variable;
    const char *placeholder; /* NULL for switches */
    const char *standard;    /* default, as text; NULL: none */
    const char *help;
    enum setting_kind kind;
    unsigned commands;
    size_t offset;
    int least;
    int most;
};

#define FIELD(name) offsetof(struct config, name)

static const struct setting settings[] = {
    {"listen", "LEADROUTER_LISTEN", "HOST:PORT", "127.0.0.1:7450",
        "address for gRPC; loopback only, port 0 takes a free one", SETTING_TEXT, CONFIG_SERVE, FIELD(listen), 0, 0},
    {"database", "LEADROUTER_DATABASE", "URL", NULL, "PostgreSQL 15 or later, as a libpq connection string",
        SETTING_TEXT, CONFIG_SERVE | CONFIG_MIGRATE, FIELD(database), 0, 0},
    {"embedded", "LEADROUTER_EMBEDDED", "DIR", NULL, "make and run a private PostgreSQL in DIR instead", SETTING_TEXT,
        CONFIG_SERVE | CONFIG_MIGRATE | CONFIG_CLUSTER, FIELD(embedded), 0, 0},
    {"lanes", "LEADROUTER_LANES", "N", "2", "connections that route leads", SETTING_NUMBER, CONFIG_SERVE, FIELD(lanes),
        1, 64},
    {"batch-leads-max", "LEADROUTER_BATCH_LEADS_MAX", "N", "256", "leads decided in one transaction at most",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(batch_leads_max), 1, 10000},
    {"waiting-max", "LEADROUTER_WAITING_MAX", "N", "10000", "leads that may wait before calls are refused",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(waiting_max), 1, 1000000},
    {"drain-ms", "LEADROUTER_DRAIN_MS", "MS", "10000", "how long calls under way may take once the server stops",
        SETTING_NUMBER, CONFIG_SERVE, FIELD(drain_ms), 0, 600000},
    {"unnamed-statements", "LEADROUTER_UNNAMED_STATEMENTS", NULL, NULL,
        "prepare nothing by name: for a pooler in transaction mode in front of the database", SETTING_SWITCH,
        CONFIG_SERVE, FIELD(unnamed_statements), 0, 0},
    {"log-level", "LEADROUTER_LOG_LEVEL", "LEVEL", "info", "debug, info, warning or error", SETTING_TEXT, CONFIG_SERVE,
        FIELD(log_level), 0, 0},
    {"migrate", NULL, NULL, NULL, "bring the schema up to date first", SETTING_SWITCH, CONFIG_CLUSTER, FIELD(migrate),
        0, 0},
    {"disposable", NULL, NULL, NULL, "for tests: flush nothing to disk, and end with the process that started it",
        SETTING_SWITCH, CONFIG_CLUSTER | CONFIG_SERVE, FIELD(disposable), 0, 0},
    {"yes", NULL, NULL, NULL, "down: destroy the audit log without asking", SETTING_SWITCH, CONFIG_MIGRATE, FIELD(yes),
        0, 0},
    {"dry-run", NULL, NULL, NULL, "say what would be done and change nothing", SETTING_SWITCH, CONFIG_MIGRATE,
        FIELD(dry_run), 0, 0},
};

/* Puts one value in its place; false, with the reason written, when it is not one. */
static bool set(struct config *config, const struct setting *setting, const char *source, const char *value)
{
    void *place = (char *)config + setting->offset;
    char *end = NULL;
    long number = 0;

    switch (setting->kind) {
    case SETTING_SWITCH:
        *(bool *)place = value == NULL || (strcmp(value, "") != 0 && strcmp(value, "0") != 0);
        return true;
    case SETTING_TEXT:
        *(const char **)place = value;
        return true;
    case SETTING_NUMBER:
        break;
    }
    errno = 0;
    number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < setting->least || number > setting->most) {
        fprintf(stderr, "leadrouterd: %s: \"%s\" is not a number from %d to %d\n", source, value, setting->least,
            setting->most);
        return false;
    }
    *(int *)place = (int)number;
    return true;
}

static bool set_defaults(enum config_command command, struct config *config)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *setting = &settings[i];
        const char *value = setting->variable == NULL ? NULL : getenv(setting->variable);
        if ((setting->commands & command) == 0)
            continue;
        if (setting->standard != NULL && !set(config, setting, setting->flag, setting->standard))
            return false;
        if (value != NULL && value[0] != '\0' && !set(config, setting, setting->variable, value))
            return false;
    }
    return true;
}

static void show_help(enum config_command command, const char *usage)
{
    printf("%s\n\nSettings (flag, environment variable, default):\n", usage);
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *setting = &settings[i];
        char flag[64];
        if ((setting->commands & command) == 0)
            continue;
        snprintf(flag, sizeof(flag), "--%s%s%s", setting->flag, setting->placeholder == NULL ? "" : " ",
            setting->placeholder == NULL ? "" : setting->placeholder);
        printf("  %-24s %s\n", flag, setting->help);
        if (setting->variable != NULL || setting->standard != NULL)
            printf("  %-24s %s%s%s\n", "", setting->variable == NULL ? "" : setting->variable,
                setting->standard == NULL ? "" : ", default ", setting->standard == NULL ? "" : setting->standard);
    }
    printf("  %-24s %s\n", "--help", "show this");
}

/* getopt's own table, made of ours; `long_options` has room for all, help and the end. */
static void make_options(enum config_command command, struct option *long_options, const struct setting **chosen)
{
    size_t count = 0;

    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        if ((settings[i].commands & command) == 0)
            continue;
        chosen[count] = &settings[i];
        long_options[count] = (struct option){settings[i].flag,
            settings[i].kind == SETTING_SWITCH ? no_argument : required_argument, NULL, (int)(256 + count)};
        count++;
    }
    long_options[count++] = (struct option){"help", no_argument, NULL, 'h'};
    long_options[count] = (struct option){0};
}

enum config_result config_parse(enum config_command command, const char *usage, int argc, char **argv,
    bool wants_operand, struct config *ret_config, const char **ret_operand)
{
    struct option long_options[COUNT_OF(settings) + 2];
    const struct setting *chosen[COUNT_OF(settings)];
    int option = 0;

    *ret_config = (struct config){0};
    *ret_operand = NULL;
    if (!set_defaults(command, ret_config))
        return CONFIG_WRONG;
    make_options(command, long_options, chosen);
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        if (option == 'h') {
            show_help(command, usage);
            return CONFIG_HELP_SHOWN;
        }
        if (option == '?' || option == ':') {
            fprintf(stderr, "leadrouterd: %s: %s; see --help\n", argv[optind - 1],
                option == ':' ? "needs a value" : "no such flag");
            return CONFIG_WRONG;
        }
        const struct setting *setting = chosen[option - 256];
        if (!set(ret_config, setting, setting->flag, optarg))
            return CONFIG_WRONG;
    }
    if (optind < argc && wants_operand)
        *ret_operand = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "leadrouterd: %s: not expected here; see --help\n", argv[optind]);
        return CONFIG_WRONG;
    }
    return CONFIG_OK;
}
