/* `leadrouter-bench telemetry`: what logging decisions and tracing calls costs. */
#ifndef BENCH_TELEMETRY_H
#define BENCH_TELEMETRY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "options.h"

/* What a server does besides, each kind also what the one before does: nothing; it counts, and has the admin listener; one in a hundred
 * decisions has a line; one in a hundred calls has spans. */
enum telemetry_kind { TELEMETRY_OFF, TELEMETRY_METRICS, TELEMETRY_LOGS, TELEMETRY_ON, TELEMETRY_KINDS };

/* Figures are medians over the rounds, ratios over the turns of all rounds: what a server answered in its quarter of a second to what the
 * one without answered in its own, next to it. */
struct telemetry_report {
    int64_t rounds;
    int64_t in_flight;
    bool is_measured[TELEMETRY_KINDS];
    double per_second[TELEMETRY_KINDS];
    double p99_ms[TELEMETRY_KINDS];
    double cpu_us[TELEMETRY_KINDS]; /* of the server's process for a lead, whatever it did meanwhile */
    double to_off[TELEMETRY_KINDS]; /* throughput, to that without in the same turn */
    size_t turns;                   /* of which that is the median */
    uint64_t spans;                 /* that the collector got */
    double other_work_percent;      /* of the machine, when a run began: highest of all runs */
};

/* Makes a private cluster and a collector, measures, removes them. Fails when something did not start, a call failed, or the collector
 * got no spans. */
bool telemetry_run(
    const struct bench_options *options, struct telemetry_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void telemetry_print(FILE *output, const struct telemetry_report *report, bool is_json);

#endif
