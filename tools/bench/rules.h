/* `leadrouter-bench rules`: what matching one lead with many rules costs, beside two linear scans. Needs neither server nor database. */
#ifndef BENCH_RULES_H
#define BENCH_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

enum { RULES_SIZES = 5 };

/* One number of rules. Times are nanoseconds a lead. */
struct rules_line {
    size_t rule_count;
    double compile_ms;
    double size_mib;
    double matched_ns;   /* leads that a rule takes */
    double unmatched_ns; /* leads that none takes; so the next */
    double folded_ns;    /* the same when the lead is folded already, as it is for the scans */
    double strings_ns;   /* comparing folded strings, rule by rule */
    double masks_ns;     /* comparing bit masks, rule by rule */
    double ranges_ns;    /* rules that are all `any` of three ranges; a lead that none takes */
    double ranges_compile_ms;
};

struct rules_report {
    struct rules_line lines[RULES_SIZES];
};

/* Measures 10 to 100,000 rules. ERROR_INTERNAL: two of the ways gave different rules. */
bool rules_run(struct rules_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void rules_print(FILE *output, const struct rules_report *report, bool is_json);

#endif
