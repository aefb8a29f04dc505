/* What a bench prints. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "children.h"
#include "run.h"
#include "workload.h"

/* One line of the table: a way of deciding and its median run. */
struct report_line {
    const char *name;    /* "unary" */
    const char *variant; /* "64 in flight" */
    struct run_summary summary;
};

struct report {
    struct workload_options workload; /* zero: leads that were there */
    int64_t rounds;
    struct report_line lines[8];
    size_t line_count;
    double unary_to_naive;      /* 0: not measured */
    double unary_to_ceiling;    /* 0: not measured */
    double stream_to_unary;     /* 0: not measured */
    struct child_memory memory; /* of the server, highest of all runs; zero: not measured */
    double other_work_percent;  /* of the machine, when a run began: highest of all runs */
};

/* Prints the report for people. */
void report_print_table(FILE *output, const struct report *report);

/* Prints it as one JSON object, for programs. */
void report_print_json(FILE *output, const struct report *report);

#endif
