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
    IN_IMPORTS = 1 << BENCH_IMPORTS,
    IN_TELEMETRY = 1 << BENCH_TELEMETRY,
    IN_SCENARIOS = 1 << BENCH_SCENARIOS,
    IN_ROUNDS = IN_COMPARE | IN_RETRIES | IN_TOKENS | IN_TENANTS | IN_IMPORTS | IN_TELEMETRY, /* those that repeat */
    IN_STAGE = IN_ROUNDS | IN_SCENARIOS, /* those that make a private cluster */
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
    {"--in-flight", "N", OPTION_INT64, FIELD(in_flight), 1, 4096,
        IN_LOAD | IN_RPC | IN_TOKENS | IN_TENANTS | IN_TELEMETRY, "calls under way at once (default 64)"},
    {"--pending", NULL, OPTION_FLAG, FIELD(pending), 0, 0, IN_LOAD,
        "route the leads that wait in the database, up to --leads, instead of inserting some"},
    {"--rate", "N", OPTION_INT64, FIELD(rate), 0, 1000000, IN_LOAD | IN_TENANTS,
        "calls a second, due by the clock (default 0: as fast as answers come; tenants: 500, of the quiet one)"},
    {"--duration", "SECONDS", OPTION_INT64, FIELD(duration_s), 1, 3600, IN_DATA | IN_RPC,
        "length of a run (default 5; scenarios: 10)"},
    {"--leads", "N", OPTION_INT32, FIELD(workload.leads), 1, WORKLOAD_LEADS_MAX, IN_LOAD | IN_ROUNDS,
        "leads at most in a run (default 150000)"},
    {"--workspaces", "N", OPTION_INT32, FIELD(workload.workspaces), 2, 1000, IN_DATA, "workspaces (default 50)"},
    {"--rules", "N", OPTION_INT32, FIELD(workload.rules), 1, 10000, IN_DATA, "rules in each (default 20)"},
    {"--duplicates", "PERCENT", OPTION_INT32, FIELD(workload.duplicates_percent), 0, 90, IN_DATA,
        "leads that copy an earlier one (default 10)"},
    {"--rounds", "N", OPTION_INT64, FIELD(rounds), 1, 9, IN_ROUNDS | IN_RPC,
        "alternating rounds; medians are reported (default 3)"},
    {"--churn", "N", OPTION_INT64, FIELD(churn), 0, 100000000, IN_RETRIES,
        "retries that pass through the queue to see whether it ages; 0: none (default 1000000)"},
    {"--only", "WAYS", OPTION_TEXT, FIELD(only), 0, 0, IN_COMPARE,
        "of the ways, those named, with a comma between: unary, unary-64, stream, naive-8, ceiling (default: all)"},
    {"--only", "NAMES", OPTION_TEXT, FIELD(only), 0, 0, IN_SCENARIOS,
        "of the scenarios, those named, with a comma between; rate stands for rate-10 to rate-5000 (default: all)"},
    {"--only", "KIND", OPTION_TEXT, FIELD(only), 0, 0, IN_TELEMETRY,
        "metrics, logs or on: this one alone, beside a server without (default: all three)"},
    {"--margin", "N", OPTION_INT64, FIELD(margin), 1, 1000000, IN_SCENARIOS,
        "how many times over each level is to be met (default 1)"},
    {"--picture", "FILE", OPTION_TEXT, FIELD(picture), 0, 0, IN_SCENARIOS,
        "latency against rate, as SVG, of the load tests that were run"},
    {"--callers", "N", OPTION_INT64, FIELD(callers), 1, 5000, IN_TOKENS, "people, or services (default 100)"},
    {"--limit", "N", OPTION_INT64, FIELD(limit), 1, 1000000, IN_TENANTS,
        "calls a second of the noisy one where it has a limit (default 2000)"},
    {"--rows", "N", OPTION_INT64, FIELD(rows), 1000, 100000000, IN_IMPORTS, "rows of the file (default 1000000)"},
    {"--idle-wait", "SECONDS", OPTION_INT64, FIELD(idle_wait_s), 0, 600, IN_STAGE,
        "how long a run waits for a machine that works for others (default 20)"},
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
    [BENCH_TENANTS] = "tenants",
    [BENCH_IMPORTS] = "imports",
    [BENCH_TELEMETRY] = "telemetry",
    [BENCH_SCENARIOS] = "scenarios"};

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
        .rows = 1000000,
        .margin = 1,
        .idle_wait_s = 20,
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
    if (options.command == BENCH_SCENARIOS)
        options.duration_s = 10;
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

/* What each command does, behind its name. */
static const char *const descriptions[] = {
    [BENCH_LOAD] =
        "inserts workspaces, rules and undecided leads into the database of a running server and has them routed by\n"
        "RouteLead. They stay there.",
    [BENCH_COMPARE] =
        "makes a private, durable PostgreSQL cluster and measures, in alternating rounds on copies of one prepared\n"
        "database, RouteLead (unary), RouteLeads (stream), one statement at a time (naive) and the engine without RPC\n"
        "(ceiling).",
    [BENCH_RPC] =
        "measures, in alternating rounds, empty unary calls through generated code and the same written by hand on\n"
        "the gRPC core. Needs neither server nor database.",
    [BENCH_RULES] =
        "measures what matching a lead costs with 10 to 100,000 rules, beside two linear scans. Needs neither.",
    [BENCH_RETRIES] =
        "makes a private cluster and measures, in alternating rounds, how fast a server works the retry queue off,\n"
        "beside RouteLead with 64 calls in flight; what that does to callers at 500 calls a second; and whether "
        "claiming\n"
        "rows becomes slower after many retries.",
    [BENCH_TOKENS] =
        "makes a private cluster and measures, in alternating rounds, RouteLead without tokens, called by services, "
        "and\n"
        "by people who are members of the workspaces; each caller with a token of its own, signed with ES256.",
    [BENCH_TENANTS] = "makes a private cluster and measures, in alternating rounds, how long the calls of a quiet "
                      "tenant take alone and\n"
                      "beside a noisy one that calls as fast as it can: with a limit and told to wait, with a limit "
                      "that it does not\n"
                      "heed, and without a limit.",
    [BENCH_IMPORTS] =
        "measures in a private cluster how fast leadctl imports a generated file, with and without routing, beside\n"
        "RouteLead with 64 calls in flight and a bare COPY, and how much memory that takes.",
    [BENCH_TELEMETRY] =
        "makes a private cluster and measures, in alternating rounds, RouteLead by a server that counts and logs\n"
        "nothing, with metrics and the admin listener, with lines for decisions at 1 % besides, and with spans at 1 %\n"
        "besides, exported to a collector of its own.",
    [BENCH_SCENARIOS] =
        "makes a private cluster and holds a server to its service levels: one call after the other (sequential), ten\n"
        "callers at once (concurrent), ten copies of each lead (duplicates), retries that become due (retries), and "
        "calls\n"
        "that are due at a rate, whatever becomes of those before (rate-10, rate-50, rate-100, burst-500, rate-1000,\n"
        "rate-5000). The parts of the server's transactions are held to bounds too, by its own measurement. Half an\n"
        "hour of steady load: --only rate-50 --duration 1800. Exits with 1 when a level was missed."};

static_assert(COUNT_OF(descriptions) == COUNT_OF(command_names), "each command says what it does");

void options_print_help(FILE *output)
{
    for (size_t i = 0; i < COUNT_OF(command_names); i++)
        fprintf(output, "%s leadrouter-bench %s%s [options]\n", i == 0 ? "usage:" : "      ", command_names[i],
            i == BENCH_LOAD ? " --database URL" : "");
    for (size_t i = 0; i < COUNT_OF(command_names); i++) {
        fprintf(output, "\n%s: %s\n", command_names[i], descriptions[i]);
        print_options(output, (enum bench_command)i);
    }
}

bool options_choose(const char *only, size_t count, bool (*is_named)(size_t index, const char *item, size_t size),
    bool *ret_wanted, struct error *reterr_error)
{
    for (size_t i = 0; i < count; i++)
        ret_wanted[i] = only == NULL;
    while (only != NULL) {
        size_t size = strcspn(only, ",");
        bool is_known = false;
        for (size_t i = 0; size > 0 && i < count; i++)
            if (is_named(i, only, size)) {
                ret_wanted[i] = true;
                is_known = true;
            }
        if (!is_known)
            return error_set(reterr_error, ERROR_INVALID, "--only: there is no \"%.*s\"", (int)size, only);
        only = only[size] == '\0' ? NULL : only + size + 1;
    }
    return true;
}
