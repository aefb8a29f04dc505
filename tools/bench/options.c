#include "options.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pg/pg.h"

enum option_type { OPTION_INT32, OPTION_INT64, OPTION_TEXT, OPTION_FLAG };

enum {
    IN_LOAD = 1 << BENCH_LOAD,
    IN_COMPARE = 1 << BENCH_COMPARE,
    IN_RPC = 1 << BENCH_RPC,
    IN_RULES = 1 << BENCH_RULES,
    IN_RETRIES = 1 << BENCH_RETRIES,
    IN_TOKENS = 1 << BENCH_TOKENS,
    IN_TENANTS = 1 << BENCH_TENANTS,
    IN_STAGE = IN_COMPARE | IN_RETRIES | IN_TOKENS | IN_TENANTS, /* those that make a private cluster */
    IN_DATA = IN_LOAD | IN_STAGE
};

/* One option: where its value goes, its bounds, its help. */
struct option {
    const char *name;
    const char *placeholder; /* NULL: a flag */
    enum option_type type;
    size_t offset;
    int64_t least;
    int64_t most;
    unsigned commands;
    const char *help;
};

#define FIELD(field) offsetof(struct bench_options, field)

static const struct option option_table[] = {
    {"--target", "HOST:PORT", OPTION_TEXT, FIELD(target), 0, 0, IN_LOAD, "the server (default 127.0.0.1:7450)"},
    {"--database", "URL", OPTION_TEXT, FIELD(database), 0, 0, IN_LOAD,
        "its database, as a role that may insert leads; required"},
    {"--in-flight", "N", OPTION_INT64, FIELD(in_flight), 1, 4096, IN_LOAD | IN_RPC | IN_TOKENS | IN_TENANTS,
        "calls under way at once (default 64)"},
    {"--pending", NULL, OPTION_FLAG, FIELD(pending), 0, 0, IN_LOAD,
        "route the leads that wait in the database, up to --leads, instead of inserting some"},
    {"--rate", "N", OPTION_INT64, FIELD(rate), 0, 1000000, IN_LOAD | IN_TENANTS,
        "calls a second, due by the clock (default 0: as fast as answers come; tenants: 500, of the quiet one)"},
    {"--duration", "SECONDS", OPTION_INT64, FIELD(duration_s), 1, 3600, IN_DATA | IN_RPC,
        "length of a run (default 5)"},
    {"--leads", "N", OPTION_INT32, FIELD(workload.leads), 1, 5000000, IN_DATA,
        "leads at most in a run (default 150000)"},
    {"--workspaces", "N", OPTION_INT32, FIELD(workload.workspaces), 2, 1000, IN_DATA, "workspaces (default 50)"},
    {"--rules", "N", OPTION_INT32, FIELD(workload.rules), 1, 10000, IN_DATA, "rules in each (default 20)"},
    {"--duplicates", "PERCENT", OPTION_INT32, FIELD(workload.duplicates_percent), 0, 90, IN_DATA,
        "leads that copy an earlier one (default 10)"},
    {"--rounds", "N", OPTION_INT64, FIELD(rounds), 1, 9, IN_STAGE | IN_RPC,
        "alternating rounds; medians are reported (default 3)"},
    {"--churn", "N", OPTION_INT64, FIELD(churn), 0, 100000000, IN_RETRIES,
        "retries that pass through the queue to see whether it ages; 0: none (default 1000000)"},
    {"--only", "WAYS", OPTION_TEXT, FIELD(only), 0, 0, IN_COMPARE,
        "of the ways, those named, with a comma between: unary, unary-64, stream, naive-8, ceiling (default: all)"},
    {"--callers", "N", OPTION_INT64, FIELD(callers), 1, 5000, IN_TOKENS, "people, or services (default 100)"},
    {"--limit", "N", OPTION_INT64, FIELD(limit), 1, 1000000, IN_TENANTS,
        "calls a second of the noisy one where it has a limit (default 2000)"},
    {"--directory", "DIR", OPTION_TEXT, FIELD(directory), 0, 0, IN_STAGE,
        "where the private cluster is made and removed again (default /var/tmp)"},
    {"--leadrouterd", "PATH", OPTION_TEXT, FIELD(leadrouterd), 0, 0, IN_STAGE,
        "the server to measure (default: the one of this build)"},
    {"--json", NULL, OPTION_FLAG, FIELD(json), 0, 0, IN_DATA | IN_RPC | IN_RULES, "one JSON object instead of a table"},
    {"--help", NULL, OPTION_FLAG, FIELD(help), 0, 0, IN_DATA | IN_RPC | IN_RULES, "this text"},
};

static const char *const command_names[] = {[BENCH_LOAD] = "load",
    [BENCH_COMPARE] = "compare",
    [BENCH_RPC] = "rpc",
    [BENCH_RULES] = "rules",
    [BENCH_RETRIES] = "retries",
    [BENCH_TOKENS] = "tokens",
    [BENCH_TENANTS] = "tenants"};

static bool store(
    const struct option *option, const char *text, struct bench_options *options, struct error *reterr_error)
{
    void *field = (char *)options + option->offset;
    char *end = NULL;
    long long number = 0;

    if (option->type == OPTION_TEXT) {
        *(const char **)field = text;
        return true;
    }
    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < option->least || number > option->most)
        return error_set(reterr_error, ERROR_INVALID, "%s: \"%s\" is not a number from %lld to %lld", option->name,
            text, (long long)option->least, (long long)option->most);
    if (option->type == OPTION_INT32)
        *(int32_t *)field = (int32_t)number;
    else
        *(int64_t *)field = number;
    return true;
}

static const struct option *find_option(const char *name, enum bench_command command)
{
    for (size_t i = 0; i < COUNT_OF(option_table); i++)
        if (strcmp(option_table[i].name, name) == 0 && (option_table[i].commands & 1U << command) != 0)
            return &option_table[i];
    return NULL;
}

static bool parse_command(const char *name, enum bench_command *ret_command, struct error *reterr_error)
{
    for (size_t i = 0; i < COUNT_OF(command_names); i++)
        if (strcmp(command_names[i], name) == 0) {
            *ret_command = (enum bench_command)i;
            return true;
        }
    return error_set(reterr_error, ERROR_INVALID, "unknown command \"%s\"", name);
}

bool options_parse(int argc, char *const *argv, struct bench_options *ret_options, struct error *reterr_error)
{
    struct bench_options options = {
        .workload = {.workspaces = 50, .rules = 20, .leads = 150000, .duplicates_percent = 10},
        .in_flight = 64,
        .duration_s = 5,
        .rounds = 3,
        .churn = 1000000,
        .callers = 100,
        .limit = 2000,
        .target = "127.0.0.1:7450",
        .directory = "/var/tmp"};

    if (argc < 2)
        return error_set(reterr_error, ERROR_INVALID, "no command");
    if (strcmp(argv[1], "--help") == 0) {
        options.help = true;
        *ret_options = options;
        return true;
    }
    if (!parse_command(argv[1], &options.command, reterr_error))
        return false;
    if (options.command == BENCH_TENANTS) {
        options.workload.workspaces = 2;
        options.rate = 500;
    }
    for (int i = 2; i < argc; i++) {
        const struct option *option = find_option(argv[i], options.command);
        if (option == NULL)
            return error_set(
                reterr_error, ERROR_INVALID, "%s does not know %s", command_names[options.command], argv[i]);
        if (option->type == OPTION_FLAG) {
            *(bool *)((char *)&options + option->offset) = true;
            continue;
        }
        if (i + 1 == argc)
            return error_set(reterr_error, ERROR_INVALID, "%s needs a value", option->name);
        if (!store(option, argv[++i], &options, reterr_error))
            return false;
    }
    if (!options.help && options.command == BENCH_LOAD && options.database == NULL)
        return error_set(reterr_error, ERROR_INVALID, "load needs --database");
    if (options.database != NULL && pg_url_has_secret(options.database))
        return error_set(reterr_error, ERROR_INVALID,
            "--database: arguments can be seen by others; give a password by passfile=FILE");
    *ret_options = options;
    return true;
}

static void print_options(FILE *output, enum bench_command command)
{
    for (size_t i = 0; i < COUNT_OF(option_table); i++) {
        const struct option *option = &option_table[i];
        if ((option->commands & 1U << command) != 0)
            fprintf(output, "  %-13s %-10s %s\n", option->name, option->placeholder == NULL ? "" : option->placeholder,
                option->help);
    }
}

void options_print_help(FILE *output)
{
    fputs("usage: leadrouter-bench load --database URL [options]\n"
          "       leadrouter-bench compare [options]\n"
          "       leadrouter-bench rpc [options]\n"
          "       leadrouter-bench rules [options]\n"
          "       leadrouter-bench retries [options]\n"
          "       leadrouter-bench tokens [options]\n"
          "       leadrouter-bench tenants [options]\n\n"
          "load: inserts workspaces, rules and undecided leads into the database of a running server and has them "
          "routed by\n"
          "RouteLead. They stay there.\n",
        output);
    print_options(output, BENCH_LOAD);
    fputs(
        "\ncompare: makes a private, durable PostgreSQL cluster and measures, in alternating rounds on copies of one "
        "prepared\n"
        "database, RouteLead (unary), RouteLeads (stream), one statement at a time (naive) and the engine without RPC\n"
        "(ceiling).\n",
        output);
    print_options(output, BENCH_COMPARE);
    fputs(
        "\nrpc: measures, in alternating rounds, empty unary calls through generated code and the same written by hand "
        "on\n"
        "the gRPC core. Needs neither server nor database.\n",
        output);
    print_options(output, BENCH_RPC);
    fputs("\nrules: measures what matching a lead costs with 10 to 100,000 rules, beside two linear scans. Needs "
          "neither.\n",
        output);
    print_options(output, BENCH_RULES);
    fputs("\nretries: makes a private cluster and measures, in alternating rounds, how fast a server works the retry "
          "queue "
          "off,\n"
          "beside RouteLead with 64 calls in flight; what that does to callers at 500 calls a second; and whether "
          "claiming "
          "rows\n"
          "becomes slower after many retries.\n",
        output);
    print_options(output, BENCH_RETRIES);
    fputs("\ntokens: makes a private cluster and measures, in alternating rounds, RouteLead without tokens, called by "
          "services, and\n"
          "by people who are members of the workspaces; each caller with a token of its own, signed with ES256.\n",
        output);
    print_options(output, BENCH_TOKENS);
    fputs(
        "\ntenants: makes a private cluster and measures, in alternating rounds, how long the calls of a quiet tenant "
        "take alone and\n"
        "beside a noisy one that calls as fast as it can: with a limit and told to wait, with a limit that it does "
        "not heed, and\n"
        "without a limit.\n",
        output);
    print_options(output, BENCH_TENANTS);
}
