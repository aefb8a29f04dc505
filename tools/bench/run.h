/* One measured run: the leads it takes, when it ends, and what came of it. Shared by the three ways of deciding a
 * lead (unary.h, naive.h, ceiling.h), so that they are counted alike. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "routing/engine.h"
#include "workload.h"

enum { RUN_OUTCOMES = ROUTING_OUTCOME_EXPIRED + 1, RUN_ERROR_SIZE = 256 };

/* A run under way. Any number of threads take leads from it and report what became of them. */
struct run {
    const struct workload *workload; /* borrowed */
    int64_t duration_ns;
    int64_t start_ns;
    int64_t end_ns; /* no lead is begun after it */
    atomic_size_t next;
    atomic_uint_least64_t outcomes[RUN_OUTCOMES];
    atomic_uint_least64_t errors;
    atomic_int_least64_t last_answer_ns;
    atomic_flag has_error_text;
    char error_text[RUN_ERROR_SIZE]; /* of the first error; read it after the run */
    struct histogram latency;        /* nanoseconds, of leads that got an outcome */
    atomic_int_least64_t latency_sum_ns;
};

/* What is kept of a finished run. */
struct run_summary {
    uint64_t answered; /* leads that got an outcome */
    uint64_t outcomes[RUN_OUTCOMES];
    uint64_t errors;
    char error_text[RUN_ERROR_SIZE];
    double seconds;
    double leads_per_second;
    double mean_ms;
    double p50_ms;
    double p95_ms;
    double p99_ms;
    double max_ms;
};

/* A run over `workload`, at most `duration_ms` long. The struct is large: keep it on the heap. */
void run_init(struct run *run, const struct workload *workload, int64_t duration_ms);

/* Starts the clock: called by each way of deciding once it is connected and before it takes a lead. */
void run_begin(struct run *run);

/* Takes the next lead. Returns false when there is none, time is up, or the program was told to stop. Any thread. */
bool run_take(struct run *run, size_t *ret_index);

/* Whether time is up, or the program was told to stop. Any thread. */
bool run_is_over(const struct run *run);

/* Whether there were fewer leads than it could have begun. Once every lead taken was reported. */
bool run_ran_dry(const struct run *run);

/* Reports one lead. `begun_ns` is when it was asked for, or should have been. Any thread. */
void run_report_outcome(struct run *run, int64_t begun_ns, enum routing_outcome outcome);
/* The same of a lead whose latency, and the time of whose decision, somebody else measured. */
void run_report_latency(struct run *run, int64_t decided_ns, int64_t latency_ns, enum routing_outcome outcome);
void run_report_error(struct run *run, const char *text);

/* Sums up, once every lead taken was reported. */
void run_finish(const struct run *run, struct run_summary *ret_summary);

/* The middle one of `count` numbers, at least one; puts them into order. */
double run_median(double *numbers, size_t count);

/* The same of one figure in each of `count` structs of `size` bytes that follow each other; `first` is the first one's. */
double run_median_of(const double *first, size_t size, size_t count);

/* Set by SIGINT and SIGTERM: runs end, children are stopped, files are removed. */
extern atomic_bool run_interrupted;

#endif
