#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/display.h"
#include "base/memory.h"
#include "screen.h"
#include "slo.h"
#include "table.h"

enum { WINDOW_LEAST_S = 300, WINDOW_MOST_S = 366 * 86400, DETAIL_SIZE = 96, TEXT_SIZE_MAX = 4096 };

/* --- Reports ------------------------------------------------------------------------------------------------------ */

void slo_report_init(struct slo_report *report)
{
    *report = (struct slo_report){0};
    for (size_t i = 0; i < LEVELS; i++)
        report->measures[i] =
            (struct slo_measure){.value = NAN, .bad_share = NAN, .events = NAN, .now = NAN, .kept_share = NAN};
}

void slo_report_release(struct slo_report *report)
{
    for (size_t i = 0; i < LEVELS; i++)
        for (size_t k = 0; k < SLO_QUERIES_MAX; k++)
            free(report->measures[i].queries[k]);
}

int64_t slo_window_seconds(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
    size_t digits = strspn(text, "0123456789");
    int64_t seconds = 0;

    if (digits == 0 || digits > 8 || strlen(text) != digits + 1)
        return 0;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (units[i].unit == text[digits])
            seconds = strtoll(text, NULL, 10) * units[i].seconds;
    return seconds < WINDOW_LEAST_S || seconds > WINDOW_MOST_S ? 0 : seconds;
}

static size_t count_of(const struct slo_report *report, enum level_verdict verdict)
{
    size_t count = 0;

    for (int i = 0; i < LEVELS; i++)
        count += level_judge((enum level)i, report->measures[i].value) == verdict ? 1 : 0;
    return count;
}

/* --- For programs ------------------------------------------------------------------------------------------------- */

static json_t *number_or_null(double number)
{
    return isfinite(number) ? json_real(number) : json_null();
}

static json_t *level_json(enum level level, const struct slo_measure *measure)
{
    static const char *const verdicts[] = {"met", "missed", "no_data"};
    static const char *const units[] = {"share", "seconds", "count"};
    static const char *const bounds[] = {">=", "<", "<="};
    const struct level_family *family = &levels_table[level];
    json_t *queries = json_array();

    for (size_t i = 0; i < SLO_QUERIES_MAX; i++)
        if (measure->queries[i] != NULL)
            json_array_append_new(queries, json_string(measure->queries[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:f, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", family->name,
        "definition", family->definition, "unit", units[family->kind], "measured", number_or_null(measure->value),
        "bound", bounds[family->bound], "target", family->target, "verdict",
        verdicts[level_judge(level, measure->value)], "bad_share", number_or_null(measure->bad_share), "budget_left",
        number_or_null(level_budget_left(level, measure->bad_share)), "events", number_or_null(measure->events), "now",
        number_or_null(measure->now), "kept_share", number_or_null(measure->kept_share), "queries", queries);
}

static json_t *report_json(const struct slo_report *report)
{
    json_t *levels = json_array();
    char until[32];

    for (int i = 0; i < LEVELS; i++)
        json_array_append_new(levels, level_json((enum level)i, &report->measures[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:o}", "source", report->source, "address",
        report->address, "window_seconds", (json_int_t)report->window_s, "covered_seconds",
        (json_int_t)report->covered_s, "until", report->until_us == 0 ? "" : clock_format_us(report->until_us, until),
        "met", (json_int_t)count_of(report, LEVEL_MET), "missed", (json_int_t)count_of(report, LEVEL_MISSED), "no_data",
        (json_int_t)count_of(report, LEVEL_NO_DATA), "levels", levels);
}

/* --- For people --------------------------------------------------------------------------------------------------- */

/* What the figure is of. */
static const char *detail(
    const struct slo_report *report, enum level level, const struct slo_measure *measure, char ret_text[DETAIL_SIZE])
{
    bool is_exact = strcmp(report->source, "server") == 0;

    ret_text[0] = '\0';
    if (levels_table[level].kind == LEVEL_GAUGE) {
        if (!isnan(measure->now) && !isnan(measure->kept_share))
            snprintf(ret_text, DETAIL_SIZE, "most; now %.0f, kept %.4g %% of the time", measure->now,
                100 * measure->kept_share);
        else if (!isnan(measure->value))
            snprintf(ret_text, DETAIL_SIZE, "%s", is_exact ? "now, of all servers" : "most");
    } else if (!isnan(measure->value) && measure->events > 0) {
        snprintf(ret_text, DETAIL_SIZE, "%s%.0f %s", is_exact ? "" : "about ", ceil(measure->events),
            levels_table[level].events);
    }
    return ret_text;
}

static void add_row(struct table *table, const struct slo_report *report, enum level level)
{
    const struct slo_measure *measure = &report->measures[level];
    double left = level_budget_left(level, measure->bad_share);
    char text[LEVEL_TEXT_SIZE];
    char more[DETAIL_SIZE];

    table_add(table, levels_table[level].title);
    table_add(table, level_format(level, measure->value, text));
    table_add(table, level_format_target(level, text));
    if (isnan(left))
        table_add(table, "-");
    else
        table_add_format(table, "%.0f %%", floor(100 * left));
    table_add(table, level_verdict_name(level_judge(level, measure->value)));
    table_add(table, detail(report, level, measure, more));
}

/* What the figures are about. */
static void describe_window(const struct slo_report *report, struct buffer *text)
{
    const Google__Protobuf__Timestamp time = {.seconds = report->until_us / 1000000};
    char age[16];
    char covered[16];
    char until[32];
    char *address = display_safe(report->address);

    age_text(report->window_s, age);
    if (strcmp(report->source, "server") == 0)
        buffer_append_format(text,
            "Of the server at %s alone, within the last %s.\nRetries due and stale locks are the database's, now.",
            address, age);
    else
        buffer_append_format(text, "Of the %s before %s%s, by the Prometheus at %s; it has data of %s.", age,
            report->until_us == 0 ? "now" : minute_text(&time, until), report->until_us == 0 ? "" : " UTC", address,
            report->covered_s == 0                  ? "none of them"
            : report->covered_s == report->window_s ? "all of them"
                                                    : age_text(report->covered_s, covered));
    free(address);
}

static void print_window(const struct slo_report *report)
{
    struct buffer text = {0};
    size_t columns = screen_columns();

    buffer_init(&text, TEXT_SIZE_MAX);
    buffer_append_format(&text, "%zu met, %zu missed, %zu without data.\n", count_of(report, LEVEL_MET),
        count_of(report, LEVEL_MISSED), count_of(report, LEVEL_NO_DATA));
    describe_window(report, &text);
    display_wrap(stdout, buffer_text(&text), 0, 0, columns == 0 ? TEXT_SIZE_MAX : columns);
    fputc('\n', stdout);
    buffer_release(&text);
}

static void print_report(const struct slo_report *report)
{
    static const struct table_column columns[] = {{"LEVEL", TABLE_TEXT}, {"MEASURED", TABLE_NUMBER},
        {"TARGET", TABLE_NUMBER}, {"BUDGET LEFT", TABLE_NUMBER}, {"VERDICT", TABLE_WORD},
        {"OF", TABLE_TEXT | TABLE_SPARE}};
    struct table *table = table_new(columns, COUNT_OF(columns));

    for (int i = 0; i < LEVELS; i++)
        add_row(table, report, (enum level)i);
    table_print(table);
    table_free(table);
    print_window(report);
}

/* --- The command -------------------------------------------------------------------------------------------------- */

static bool check_arguments(const struct arguments *arguments)
{
    static const char lead[] = "leadctl: slo: ";
    const char *without = arguments->prometheus_token_file != NULL    ? "prometheus-token-file"
                          : arguments->prometheus_user != NULL        ? "prometheus-user"
                          : arguments->prometheus_ca != NULL          ? "prometheus-ca"
                          : arguments->prometheus_certificate != NULL ? "prometheus-certificate"
                          : arguments->prometheus_key != NULL         ? "prometheus-key"
                          : arguments->selected.count > 0             ? "select"
                                                                      : NULL;

    if (arguments->prometheus == NULL && arguments->window != NULL)
        fprintf(stderr, "%s--window needs --prometheus: a server knows of its last hour alone\n", lead);
    else if (arguments->prometheus == NULL && without != NULL)
        fprintf(stderr, "%s--%s needs --prometheus\n", lead, without);
    else if ((arguments->prometheus_certificate == NULL) != (arguments->prometheus_key == NULL))
        fprintf(stderr, "%s--prometheus-certificate and --prometheus-key need each other\n", lead);
    else if (arguments->window != NULL && slo_window_seconds(arguments->window) == 0)
        fprintf(stderr, "leadctl: --window: \"%s\" is not a time from 5m to 366d, such as 30d, 12h or 90m\n",
            arguments->window);
    else
        return true;
    return false;
}

/* EXIT_DONE: there is a report. */
static int measure(const struct arguments *arguments, struct slo_report *report)
{
    struct arguments asked = *arguments;
    struct session session = {0};
    struct error error = {0};
    int code = EXIT_DONE;

    if (arguments->prometheus == NULL) {
        if (session_begin(&session, &arguments->common, &code) && !slo_measure_server(&session, report))
            code = EXIT_FAILED;
        session_end(&session);
        return code;
    }
    if (asked.window == NULL)
        asked.window = "30d";
    report->window_s = slo_window_seconds(asked.window);
    if (slo_measure_prometheus(&asked, report, &error))
        return EXIT_DONE;
    print_line(stderr, "leadctl: %s", error.text);
    return error.code == ERROR_INVALID || error.code == ERROR_SYSTEM ? EXIT_USAGE : EXIT_FAILED;
}

static int run(const struct arguments *arguments, struct session *session)
{
    struct slo_report report;
    int code = EXIT_USAGE;

    (void)session;
    if (!check_arguments(arguments))
        return EXIT_USAGE;
    slo_report_init(&report);
    code = measure(arguments, &report);
    if (code == EXIT_DONE) {
        if (arguments->common.json)
            print_json(report_json(&report));
        else
            print_report(&report);
        if (count_of(&report, LEVEL_NO_DATA) == LEVELS)
            fprintf(stderr, "leadctl: nothing is recorded there: does that Prometheus scrape leadrouterd, and has it "
                            "deploy/prometheus/rules.yml?\n");
        if (count_of(&report, LEVEL_MISSED) > 0 || count_of(&report, LEVEL_MET) == 0)
            code = EXIT_FAILED;
    }
    slo_report_release(&report);
    return code;
}

#define PLACE(field) .offset = offsetof(struct arguments, field)

static const struct option_spec flags[] = {
    {.name = "prometheus", .placeholder = "URL", .help = "ask a Prometheus, not the server", PLACE(prometheus)},
    {.name = "window",
        .placeholder = "TIME",
        .help = "which time before now, such as 1h or 30d; default 30d. Needs --prometheus",
        PLACE(window)},
    {.name = "select",
        .placeholder = "L=V",
        .help = "only what has this label, where Prometheus watches several deployments",
        .kind = OPTION_LIST,
        PLACE(selected)},
    {.name = "prometheus-token-file",
        .placeholder = "FILE",
        .help = "file with the token to show it, or with the password",
        .kind = OPTION_FILE,
        PLACE(prometheus_token_file)},
    {.name = "prometheus-user",
        .placeholder = "NAME",
        .help = "who asks, with a password in place of a token",
        PLACE(prometheus_user)},
    {.name = "prometheus-ca",
        .placeholder = "FILE",
        .help = "believe a Prometheus that this CA signed; default: the system's",
        .kind = OPTION_FILE,
        PLACE(prometheus_ca)},
    {.name = "prometheus-certificate",
        .placeholder = "FILE",
        .help = "certificate to show it",
        .kind = OPTION_FILE,
        PLACE(prometheus_certificate)},
    {.name = "prometheus-key",
        .placeholder = "FILE",
        .help = "its private key",
        .kind = OPTION_FILE,
        PLACE(prometheus_key)},
    {.name = "timeout",
        .placeholder = "S",
        .help = "seconds that Prometheus has for all answers",
        .kind = OPTION_NUMBER,
        PLACE(timeout),
        .least = 1,
        .most = 600,
        .standard = 30},
};

const struct command command_slo = {
    .name = "slo",
    .summary = "the service levels: measured, target, verdict",
    .text =
        "Each service level, what was measured, what was promised, how much of the failures that it allows is left, "
        "and whether it is met. A server answers for its own last hour and for what the database has now; a "
        "Prometheus with the rules of deploy/prometheus for all servers and any time. Counts are then the most that "
        "there was. Where nothing happened there is no data, and no verdict.\n\n"
        "Exits with 1 when a level is missed, or when there is no data at all.",
    .example = "leadctl slo\nleadctl slo --prometheus http://127.0.0.1:9090 --window 30d",
    COMMAND_FLAGS(flags),
    .run = run,
    .is_local = true,
};
