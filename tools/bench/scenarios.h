/* `leadrouter-bench scenarios`: whether a server meets its service levels, from one call after the other to 5,000 a second, and by how
 * much. */
#ifndef BENCH_SCENARIOS_H
#define BENCH_SCENARIOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "arrivals.h"
#include "base/error.h"
#include "goals.h"
#include "options.h"
#include "phases.h"
#include "run.h"
#include "stage.h"
#include "watch.h"
#include "workload.h"

enum { SCENARIOS_MAX = 12, SCENARIO_GOALS_MAX = 5 };

/* How a scenario's leads come. */
enum scenario_kind {
    SCENARIO_CALLERS, /* so many callers, each of whom waits for an answer before the next call */
    SCENARIO_COPIES,  /* the same, with ten copies of each lead one after the other */
    SCENARIO_RETRIES, /* nobody calls: leads of the retry queue become due */
    SCENARIO_ARRIVALS /* calls are due by the clock, whatever became of those before */
};

struct scenario {
    const char *name;
    const char *what; /* a phrase */
    enum scenario_kind kind;
    unsigned callers;                      /* of CALLERS and COPIES */
    struct arrivals_shape arrivals;        /* of RETRIES and ARRIVALS */
    struct goal goals[SCENARIO_GOALS_MAX]; /* besides the service levels */
    size_t goal_count;
};

extern const struct scenario scenarios[];
extern const size_t scenarios_count;

/* What every scenario is held to besides. */
extern const struct goal scenarios_common_goals[];
extern const size_t scenarios_common_goals_count;

/* The figures of one scenario. */
struct scenario_row {
    const struct scenario *scenario;
    int64_t asked;              /* leads that were to be decided */
    struct run_summary summary; /* latency counts from when a call or a retry was due */
    struct watch_figures watch;
    struct phases phases; /* of the server's transactions */
    double backlog_s;     /* from when the last lead was due until nothing was left to do */
    int64_t wrong;        /* decisions that are wrong, missing or made twice */
    char wrong_text[WORKLOAD_TEXT_SIZE];
    struct verdict verdicts[GOAL_MEASURES];
    size_t verdict_count;
};

struct scenarios_report {
    int64_t duration_s;
    int64_t margin; /* how many times over the levels were to be met */
    struct workload_options workload;
    struct scenario_row rows[SCENARIOS_MAX];
    size_t row_count;
    size_t missed;              /* verdicts */
    double other_work_percent;  /* of the machine, when a run began: highest of all runs */
    struct child_memory memory; /* of the servers: highest of all runs */
};

/* Which scenarios `only` names (NULL: all). ERROR_INVALID for a name that there is not. */
bool scenarios_choose(const char *only, bool ret_wanted[SCENARIOS_MAX], struct error *reterr_error);

/* Fills a row's verdicts from its figures. */
void scenarios_judge(struct scenario_row *row, double margin);

/* Makes a private cluster, measures, removes it. Levels that are missed are in the report; it fails when something did not start, or was
 * asked for that there is not. */
bool scenarios_run(
    const struct bench_options *options, struct scenarios_report *ret_report, struct error *reterr_error);

/* Prints the report for people; or as one JSON object. */
void scenarios_print(FILE *output, const struct scenarios_report *report, bool is_json);

#endif
