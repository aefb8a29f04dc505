/* The command line: one table for parsing, help and the README. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "workload.h"

enum bench_command {
    BENCH_LOAD,
    BENCH_COMPARE,
    BENCH_RPC,
    BENCH_RULES,
    BENCH_RETRIES,
    BENCH_TOKENS,
    BENCH_TENANTS,
    BENCH_IMPORTS,
    BENCH_TELEMETRY,
    BENCH_SCENARIOS
};

struct bench_options {
    enum bench_command command;
    bool help;
    bool json;
    bool pending;
    struct workload_options workload;
    int64_t in_flight;
    int64_t rate;
    int64_t duration_s;
    int64_t rounds;
    int64_t churn;
    const char *only; /* NULL: all */
    int64_t callers;
    int64_t limit;
    int64_t rows;
    int64_t margin;
    int64_t idle_wait_s;
    const char *picture; /* NULL: none */
    const char *target;
    const char *database;
    const char *directory;
    const char *leadrouterd;
};

/* Reads the command line; texts are borrowed from it. ERROR_INVALID names the argument. */
bool options_parse(int argc, char *const *argv, struct bench_options *ret_options, struct error *reterr_error);

/* Which of `count` things are wanted: those that `only` names, separated by commas (NULL: all). `is_named` says whether an item of
 * `only`, of `size` bytes, names the thing with that index. ERROR_INVALID for an item that names nothing. */
bool options_choose(const char *only, size_t count, bool (*is_named)(size_t index, const char *item, size_t size),
    bool *ret_wanted, struct error *reterr_error);

/* Prints the help. */
void options_print_help(FILE *output);

#endif
