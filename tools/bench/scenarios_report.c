/* What `scenarios` says of its figures: verdicts, a table, and JSON. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "scenarios.h"

/* --- Choosing ----------------------------------------------------------------------------------------------------- */

/* "rate-10" names one, "rate" all whose names begin with it and a hyphen. */
static bool is_named(size_t index, const char *item, size_t size)
{
    const char *name = scenarios[index].name;

    return strncmp(name, item, size) == 0 && (name[size] == '\0' || name[size] == '-');
}

bool scenarios_choose(const char *only, bool ret_wanted[SCENARIOS_MAX], struct error *reterr_error)
{
    return options_choose(only, scenarios_count, is_named, ret_wanted, reterr_error);
}

/* --- Verdicts ----------------------------------------------------------------------------------------------------- */

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

/* Of final decisions; where nobody is answered, of all leads: those that wait for another try have not made it. */
static double success_share(const struct scenario_row *row)
{
    const uint64_t *outcomes = row->summary.outcomes;
    uint64_t good = outcomes[ROUTING_OUTCOME_ROUTED] + outcomes[ROUTING_OUTCOME_DUPLICATE];

    if (row->scenario->kind == SCENARIO_RETRIES)
        return share(good, (uint64_t)row->asked);
    return share(good, good + outcomes[ROUTING_OUTCOME_FAILED]);
}

static double measured(const struct scenario_row *row, enum goal_measure measure)
{
    const struct watch_figures *watch = &row->watch;

    switch (measure) {
    case GOAL_AVAILABILITY:
        return share(row->summary.answered, (uint64_t)row->asked);
    case GOAL_SUCCESS:
        return success_share(row);
    case GOAL_P95_MS:
        return row->summary.p95_ms;
    case GOAL_P99_MS:
        return row->summary.p99_ms;
    case GOAL_DUE:
        return (double)watch->due;
    case GOAL_LOCKS:
        return watch->lock_share;
    case GOAL_STALE:
        return (double)watch->stale;
    case GOAL_LEADS_PER_SECOND:
        return row->summary.leads_per_second;
    case GOAL_QUEUE:
        return (double)watch->queue;
    case GOAL_LOCK_WAITS:
        return round((double)watch->locks * (1 - watch->lock_share));
    case GOAL_BACKLOG_S:
        return row->backlog_s;
    case GOAL_SESSIONS:
        return watch->sessions;
    case GOAL_WRONG:
        return (double)row->wrong;
    case GOAL_ACQUIRE_MS:
        return row->phases.acquire_ms;
    case GOAL_MATCH_MS:
        return row->phases.match_ms;
    case GOAL_COMPLETE_MS:
        return row->phases.complete_ms;
    case GOAL_MEASURES:
        break;
    }
    return 0;
}

/* Of retries there are no calls and no locks of theirs to judge, and due they are to be; where no transaction was, none of it took any
 * time. */
static bool applies(const struct scenario_row *row, enum goal_measure measure)
{
    if (measure == GOAL_ACQUIRE_MS || measure == GOAL_MATCH_MS || measure == GOAL_COMPLETE_MS)
        return row->phases.transactions > 0;
    return row->scenario->kind != SCENARIO_RETRIES ||
           (measure != GOAL_AVAILABILITY && measure != GOAL_LOCKS && measure != GOAL_DUE);
}

void scenarios_judge(struct scenario_row *row, double margin)
{
    const struct scenario *scenario = row->scenario;
    struct goals goals = {0};

    for (enum goal_measure measure = 0; measure < GOAL_MEASURES; measure++)
        if (goal_is_level(measure) && applies(row, measure))
            goals_add(&goals, goal_of_level(measure));
    for (size_t i = 0; i < scenario->goal_count; i++)
        goals_add(&goals, scenario->goals[i]);
    for (size_t i = 0; i < scenarios_common_goals_count; i++)
        if (applies(row, scenarios_common_goals[i].measure))
            goals_add(&goals, scenarios_common_goals[i]);
    row->verdict_count = goals.count;
    for (size_t i = 0; i < goals.count; i++)
        row->verdicts[i] = verdict_of(goals.items[i], measured(row, goals.items[i].measure), margin);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static json_t *verdict_to_json(const struct verdict *verdict)
{
    json_t *margin = isfinite(verdict->margin) ? json_real(verdict->margin) : json_null();

    return json_pack("{s:s, s:f, s:f, s:o, s:b}", "level", goal_name(verdict->goal.measure), "bound",
        verdict->goal.bound, "measured", verdict->measured, "margin", margin, "met", (int)verdict->is_met);
}

static json_t *row_to_json(const struct scenario_row *row)
{
    const struct run_summary *summary = &row->summary;
    const struct arrivals_shape *shape = &row->scenario->arrivals;
    json_t *levels = json_array();
    json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:I}", "name", row->scenario->name, "what", row->scenario->what,
        "callers", (json_int_t)row->scenario->callers, "due_per_second", (json_int_t)shape->per_second,
        "burst_per_second", (json_int_t)shape->burst_per_second);
    json_t *figures = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f}", "total", (json_int_t)row->asked,
        "success", (json_int_t)summary->outcomes[ROUTING_OUTCOME_ROUTED], "duplicates",
        (json_int_t)summary->outcomes[ROUTING_OUTCOME_DUPLICATE], "failed",
        (json_int_t)summary->outcomes[ROUTING_OUTCOME_FAILED], "queued",
        (json_int_t)summary->outcomes[ROUTING_OUTCOME_QUEUED_FOR_RETRY], "unanswered",
        (json_int_t)(row->asked - (int64_t)summary->answered), "first_error", summary->error_text, "seconds",
        summary->seconds, "leads_per_second", summary->leads_per_second);
    json_t *others = json_pack("{s:f, s:f, s:f, s:f, s:f, s:o, s:I, s:I, s:I, s:f, s:f, s:I, s:s}", "mean_ms",
        summary->mean_ms, "p50_ms", summary->p50_ms, "p95_ms", summary->p95_ms, "p99_ms", summary->p99_ms, "max_ms",
        summary->max_ms, "lock_share", row->watch.locks > 0 ? json_real(row->watch.lock_share) : json_null(),
        "retry_queue", (json_int_t)row->watch.queue, "retries_due", (json_int_t)row->watch.due, "stale_locks",
        (json_int_t)row->watch.stale, "sessions_share", row->watch.sessions, "backlog_seconds", row->backlog_s, "wrong",
        (json_int_t)row->wrong, "check", row->wrong_text);
    json_t *phases =
        json_pack("{s:I, s:f, s:f, s:f}", "transactions", (json_int_t)row->phases.transactions, "acquire_p95_ms",
            row->phases.acquire_ms, "match_p95_ms", row->phases.match_ms, "complete_p95_ms", row->phases.complete_ms);

    for (size_t i = 0; i < row->verdict_count; i++)
        json_array_append_new(levels, verdict_to_json(&row->verdicts[i]));
    json_object_update(json, figures);
    json_object_update(json, others);
    json_object_update(json, phases);
    json_decref(figures);
    json_decref(others);
    json_decref(phases);
    json_object_set_new(json, "levels", levels);
    return json;
}

static void print_json(FILE *output, const struct scenarios_report *report)
{
    json_t *rows = json_array();
    json_t *json = NULL;

    for (size_t i = 0; i < report->row_count; i++)
        json_array_append_new(rows, row_to_json(&report->rows[i]));
    json = json_pack("{s:I, s:I, s:i, s:i, s:i, s:b, s:I, s:f, s:I, s:o}", "duration_seconds",
        (json_int_t)report->duration_s, "margin", (json_int_t)report->margin, "workspaces",
        (int)report->workload.workspaces, "rules", (int)report->workload.rules, "duplicates_percent",
        (int)report->workload.duplicates_percent, "met", (int)(report->missed == 0), "missed",
        (json_int_t)report->missed, "other_work_percent", report->other_work_percent, "server_resident_max_kib",
        (json_int_t)report->memory.resident_max_kib, "scenarios", rows);
    json_dumpf(json, output, JSON_INDENT(2) | JSON_REAL_PRECISION(8));
    fputc('\n', output);
    json_decref(json);
}

/* --- For people --------------------------------------------------------------------------------------------------- */

static void print_row(FILE *output, const struct scenario_row *row)
{
    const struct run_summary *summary = &row->summary;
    char locks[16] = "-";

    if (row->watch.locks > 0)
        snprintf(locks, sizeof(locks), "%.2f %%", 100 * row->watch.lock_share);
    fprintf(output,
        "%-11s %7" PRId64 " %7" PRIu64 " %7" PRIu64 " %6" PRIu64 " %6" PRIu64
        " %8.2f %8.2f %8.2f %8.2f %8.2f %8.1f %9s "
        "%6" PRId64 "\n",
        row->scenario->name, row->asked, summary->outcomes[ROUTING_OUTCOME_ROUTED],
        summary->outcomes[ROUTING_OUTCOME_DUPLICATE], summary->outcomes[ROUTING_OUTCOME_FAILED],
        (uint64_t)row->asked - summary->answered, summary->mean_ms, summary->p50_ms, summary->p95_ms, summary->p99_ms,
        summary->max_ms, summary->leads_per_second, locks, row->watch.queue);
}

/* "24.5 x", "all" when nothing was used of what is allowed, "MISSED", "-" when the scenario is not held to it. */
static const char *format_verdict(const struct scenario_row *row, enum goal_measure measure, char text[GOAL_TEXT_SIZE])
{
    for (size_t i = 0; i < row->verdict_count; i++) {
        const struct verdict *verdict = &row->verdicts[i];
        if (verdict->goal.measure != measure)
            continue;
        if (!verdict->is_met)
            return "MISSED";
        if (isinf(verdict->margin))
            return "all";
        snprintf(text, GOAL_TEXT_SIZE, verdict->margin < 100 ? "%.1f x" : "%.0f x", verdict->margin);
        return text;
    }
    return "-";
}

static void print_verdicts(FILE *output, const struct scenarios_report *report)
{
    fprintf(output,
        "\nlevels, and how many times over each was met (all: nothing was used of what is allowed)\n\n%-11s", "");
    for (size_t i = 0; i < GOAL_MEASURES; i++)
        fprintf(output, " %8s", goal_short_title((enum goal_measure)i));
    fputc('\n', output);
    for (size_t i = 0; i < report->row_count; i++) {
        char text[GOAL_TEXT_SIZE];
        fprintf(output, "%-11s", report->rows[i].scenario->name);
        for (enum goal_measure measure = 0; measure < GOAL_MEASURES; measure++)
            fprintf(output, " %8s", format_verdict(&report->rows[i], measure, text));
        fputc('\n', output);
    }
}

/* What was missed, each in full. */
static void print_missed(FILE *output, const struct scenarios_report *report, const struct scenario_row *row)
{
    char bound[GOAL_TEXT_SIZE];
    char measured[GOAL_TEXT_SIZE];

    for (size_t i = 0; i < row->verdict_count; i++) {
        const struct verdict *verdict = &row->verdicts[i];
        if (verdict->is_met)
            continue;
        fprintf(output, "\nMISSED  %s: %s: %s, wanted is %s", row->scenario->name, goal_title(verdict->goal.measure),
            goal_format(verdict->goal.measure, verdict->measured, measured), goal_format_bound(verdict->goal, bound));
        if (report->margin > 1)
            fprintf(output, ", %" PRId64 " times over", report->margin);
        if (verdict->goal.measure == GOAL_WRONG)
            fprintf(output, ": %s", row->wrong_text);
    }
    if (row->summary.errors > 0)
        fprintf(output, "\n%s: the first error: %s", row->scenario->name, row->summary.error_text);
}

void scenarios_print(FILE *output, const struct scenarios_report *report, bool is_json)
{
    if (is_json) {
        print_json(output, report);
        return;
    }
    fprintf(output,
        "%d workspaces x %d rules, %d %% duplicates, %" PRId64 " s each; other work on the machine: %.0f %%; server "
        "memory (RSS) at most %.1f MiB\n\n",
        report->workload.workspaces, report->workload.rules, report->workload.duplicates_percent, report->duration_s,
        report->other_work_percent, (double)report->memory.resident_max_kib / 1024);
    fprintf(output, "%-11s %7s %7s %7s %6s %6s %8s %8s %8s %8s %8s %8s %9s %6s\n", "", "total", "success", "dupl.",
        "failed", "errors", "mean ms", "p50 ms", "p95 ms", "p99 ms", "max ms", "leads/s", "locks", "queue");
    for (size_t i = 0; i < report->row_count; i++)
        print_row(output, &report->rows[i]);
    print_verdicts(output, report);
    for (size_t i = 0; i < report->row_count; i++)
        print_missed(output, report, &report->rows[i]);
    fprintf(output, "\n%s\n", report->missed == 0 ? "all levels were met" : "");
}
