/* leadrouter-bench: how fast leads are routed, and how that compares with what the same machine can do
 * (tools/bench/README.md). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "compare.h"
#include "imports.h"
#include "load.h"
#include "options.h"
#include "report.h"
#include "retries.h"
#include "rpc.h"
#include "rules.h"
#include "scenarios.h"
#include "telemetry.h"
#include "tenants.h"
#include "tokens.h"

enum { EXIT_OPERATION = 1, EXIT_USAGE = 2 };

static void interrupted(int signal_number)
{
    (void)signal_number;
    atomic_store(&run_interrupted, true);
}

static int run_rpc(const struct bench_options *options)
{
    struct rpc_report report = {0};
    struct error error = {0};

    if (!rpc_run(options, &report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    rpc_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_rules(const struct bench_options *options)
{
    struct rules_report report = {0};
    struct error error = {0};

    if (!rules_run(&report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    rules_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_retries(const struct bench_options *options)
{
    struct retries_report report = {0};
    struct error error = {0};

    if (!retries_run(options, &report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    retries_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_tokens(const struct bench_options *options)
{
    struct tokens_report report = {0};
    struct error error = {0};

    if (!tokens_run(options, &report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    tokens_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_tenants(const struct bench_options *options)
{
    struct tenants_report report = {0};
    struct error error = {0};

    if (!tenants_run(options, &report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    tenants_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_telemetry(const struct bench_options *options)
{
    struct telemetry_report report = {0};
    struct error error = {0};

    if (!telemetry_run(options, &report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    telemetry_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_imports(const struct bench_options *options)
{
    struct imports_report report = {0};
    struct error error = {0};

    if (!imports_run(options, &report, &error)) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    imports_print(stdout, &report, options->json);
    return EXIT_SUCCESS;
}

static int run_scenarios(const struct bench_options *options)
{
    struct scenarios_report *report = memory_new(sizeof(*report));
    struct error error = {0};
    int code = EXIT_OPERATION;

    if (scenarios_run(options, report, &error)) {
        scenarios_print(stdout, report, options->json);
        code = report->missed == 0 ? EXIT_SUCCESS : EXIT_OPERATION;
    } else {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
    }
    free(report);
    return code;
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = interrupted};
    struct bench_options options = {0};
    struct report report = {0};
    struct error error = {0};
    bool ok = false;

    if (!options_parse(argc, argv, &options, &error)) {
        fprintf(stderr, "leadrouter-bench: %s (--help lists the options)\n", error.text);
        return EXIT_USAGE;
    }
    if (options.help) {
        options_print_help(stdout);
        return EXIT_SUCCESS;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (options.command == BENCH_RPC)
        return run_rpc(&options);
    if (options.command == BENCH_RULES)
        return run_rules(&options);
    if (options.command == BENCH_RETRIES)
        return run_retries(&options);
    if (options.command == BENCH_TOKENS)
        return run_tokens(&options);
    if (options.command == BENCH_TENANTS)
        return run_tenants(&options);
    if (options.command == BENCH_IMPORTS)
        return run_imports(&options);
    if (options.command == BENCH_TELEMETRY)
        return run_telemetry(&options);
    if (options.command == BENCH_SCENARIOS)
        return run_scenarios(&options);
    ok = options.command == BENCH_LOAD ? load_run(&options, &report, &error) : compare_run(&options, &report, &error);
    if (!ok) {
        fprintf(stderr, "leadrouter-bench: %s\n", error.text);
        return EXIT_OPERATION;
    }
    if (options.json)
        report_print_json(stdout, &report);
    else
        report_print_table(stdout, &report);
    return EXIT_SUCCESS;
}
