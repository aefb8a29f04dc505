#include "report.h"

#include <inttypes.h>

#include <jansson.h>

#include "base/memory.h"

static void print_outcomes(FILE *output, const struct run_summary *summary)
{
    static const char *const names[RUN_OUTCOMES] = {[ROUTING_OUTCOME_ROUTED] = "routed",
        [ROUTING_OUTCOME_DUPLICATE] = "duplicate",
        [ROUTING_OUTCOME_QUEUED_FOR_RETRY] = "queued",
        [ROUTING_OUTCOME_FAILED] = "failed",
        [ROUTING_OUTCOME_ALREADY_ROUTED] = "already routed",
        [ROUTING_OUTCOME_EXPIRED] = "expired"};

    for (size_t i = 1; i < RUN_OUTCOMES; i++)
        if (summary->outcomes[i] > 0)
            fprintf(output, "  %" PRIu64 " %s", summary->outcomes[i], names[i]);
    if (summary->errors > 0)
        fprintf(output, "  %" PRIu64 " errors, the first: %s", summary->errors, summary->error_text);
    fputc('\n', output);
}

void report_print_table(FILE *output, const struct report *report)
{
    if (report->workload.workspaces > 0)
        fprintf(output, "%d workspaces x %d rules, %d %% duplicates, median of %" PRId64 "\n\n",
            report->workload.workspaces, report->workload.rules, report->workload.duplicates_percent, report->rounds);
    fprintf(output, "%-9s %-16s %9s %9s %9s %9s %9s  %s\n", "", "", "leads/s", "p50 ms", "p95 ms", "p99 ms", "max ms",
        "outcomes");
    for (size_t i = 0; i < report->line_count; i++) {
        const struct report_line *line = &report->lines[i];
        fprintf(output, "%-9s %-16s %9.0f %9.2f %9.2f %9.2f %9.2f", line->name, line->variant,
            line->summary.leads_per_second, line->summary.p50_ms, line->summary.p95_ms, line->summary.p99_ms,
            line->summary.max_ms);
        print_outcomes(output, &line->summary);
    }
    fputc('\n', output);
    if (report->unary_to_naive > 0)
        fprintf(output, "unary, 64 in flight, to the best naive:  %.2f\n", report->unary_to_naive);
    if (report->unary_to_ceiling > 0)
        fprintf(output, "unary, 64 in flight, to the ceiling:     %.2f\n", report->unary_to_ceiling);
    if (report->stream_to_unary > 0)
        fprintf(output, "one stream, to unary, 64 in flight:      %.2f\n", report->stream_to_unary);
    if (report->memory.resident_max_kib > 0)
        fprintf(output, "server memory (RSS): %.1f MiB at the end, %.1f MiB at most\n",
            (double)report->memory.resident_kib / 1024, (double)report->memory.resident_max_kib / 1024);
    if (report->other_work_percent > 0)
        fprintf(output, "other work on this machine when a run began: at most %.0f %%\n", report->other_work_percent);
}

static json_t *line_to_json(const struct report_line *line)
{
    const struct run_summary *summary = &line->summary;
    json_t *outcomes = json_object();

    json_object_set_new(outcomes, "routed", json_integer((json_int_t)summary->outcomes[ROUTING_OUTCOME_ROUTED]));
    json_object_set_new(outcomes, "duplicate", json_integer((json_int_t)summary->outcomes[ROUTING_OUTCOME_DUPLICATE]));
    json_object_set_new(
        outcomes, "queued_for_retry", json_integer((json_int_t)summary->outcomes[ROUTING_OUTCOME_QUEUED_FOR_RETRY]));
    json_object_set_new(outcomes, "failed", json_integer((json_int_t)summary->outcomes[ROUTING_OUTCOME_FAILED]));
    json_object_set_new(
        outcomes, "already_routed", json_integer((json_int_t)summary->outcomes[ROUTING_OUTCOME_ALREADY_ROUTED]));
    json_object_set_new(outcomes, "expired", json_integer((json_int_t)summary->outcomes[ROUTING_OUTCOME_EXPIRED]));
    return json_pack("{s:s, s:s, s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:o, s:I, s:s}", "name", line->name, "variant",
        line->variant, "leads_per_second", summary->leads_per_second, "answered", (json_int_t)summary->answered,
        "seconds", summary->seconds, "p50_ms", summary->p50_ms, "p95_ms", summary->p95_ms, "p99_ms", summary->p99_ms,
        "max_ms", summary->max_ms, "outcomes", outcomes, "errors", (json_int_t)summary->errors, "first_error",
        summary->error_text);
}

void report_print_json(FILE *output, const struct report *report)
{
    json_t *lines = json_array();
    json_t *object = NULL;

    for (size_t i = 0; i < report->line_count; i++)
        json_array_append_new(lines, line_to_json(&report->lines[i]));
    object = json_pack("{s:i, s:i, s:i, s:I, s:o, s:f, s:f, s:f, s:I, s:I, s:f}", "workspaces",
        (int)report->workload.workspaces, "rules", (int)report->workload.rules, "duplicates_percent",
        (int)report->workload.duplicates_percent, "rounds", (json_int_t)report->rounds, "runs", lines, "unary_to_naive",
        report->unary_to_naive, "unary_to_ceiling", report->unary_to_ceiling, "stream_to_unary",
        report->stream_to_unary, "server_resident_kib", (json_int_t)report->memory.resident_kib,
        "server_resident_max_kib", (json_int_t)report->memory.resident_max_kib, "other_work_percent",
        report->other_work_percent);
    json_dumpf(object, output, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', output);
    json_decref(object);
}
