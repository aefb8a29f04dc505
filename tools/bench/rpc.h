/* `leadrouter-bench rpc`: what our runtime costs, without a database: empty unary calls through generated code on both
 * ends, and the same written by hand on the core. */
#ifndef BENCH_RPC_H
#define BENCH_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "options.h"

struct rpc_report {
    int64_t in_flight;
    int64_t rounds;
    double generated_per_second; /* median of the rounds; so the next */
    double by_hand_per_second;
};

/* Measures both in alternating rounds, server and client in this process, over loopback. */
bool rpc_run(const struct bench_options *options, struct rpc_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void rpc_print(FILE *output, const struct rpc_report *report, bool is_json);

/* rpc_core.c for rpc.c: one run of calls by hand, `duration_ms` long: how many are answered with OK in a second. */
bool rpc_measure_by_hand(unsigned in_flight, int64_t duration_ms, double *ret_per_second, struct error *reterr_error);

#endif
