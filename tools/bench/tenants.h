/* `leadrouter-bench tenants`: what one tenant notices of another. */
#ifndef BENCH_TENANTS_H
#define BENCH_TENANTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "options.h"

/* Beside whom the quiet tenant calls. */
enum tenants_noise {
    TENANTS_NONE,      /* nobody */
    TENANTS_PATIENT,   /* one with a limit, whose client waits as it is told to: five times, then it begins anew */
    TENANTS_IMPATIENT, /* one with a limit, whose client calls again at once */
    TENANTS_UNLIMITED, /* one without */
    TENANTS_NOISES
};

/* Figures are medians over the rounds; so are the ratios, which are taken in each round. */
struct tenants_report {
    int64_t rounds;
    int64_t rate;      /* calls a second of the quiet one */
    int64_t limit;     /* of the noisy one */
    int64_t in_flight; /* of the noisy one */
    double p99_ms[TENANTS_NOISES];
    double p50_ms[TENANTS_NOISES];
    double to_alone[TENANTS_NOISES]; /* p99, to that of the same round without noise */
    double noisy_per_second[TENANTS_NOISES];
    double refused_per_second[TENANTS_NOISES];
    double noisy_cpu_percent[TENANTS_NOISES]; /* of one core: what the noisy one's client used */
    double other_work_percent;                /* of the machine, when a run began: highest of all runs */
};

/* Makes a private cluster, measures, removes it. Fails when something did not start, or a call of the quiet tenant failed. */
bool tenants_run(const struct bench_options *options, struct tenants_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void tenants_print(FILE *output, const struct tenants_report *report, bool is_json);

#endif
