/* The command line: one table for parsing, help and the README. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "workload.h"

enum bench_command { BENCH_LOAD, BENCH_COMPARE, BENCH_RPC, BENCH_RULES, BENCH_RETRIES, BENCH_TOKENS, BENCH_TENANTS };

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
    const char *target;
    const char *database;
    const char *directory;
    const char *leadrouterd;
};

/* Reads the command line; texts are borrowed from it. ERROR_INVALID names the argument. */
bool options_parse(int argc, char *const *argv, struct bench_options *ret_options, struct error *reterr_error);

/* Prints the help. */
void options_print_help(FILE *output);

#endif
