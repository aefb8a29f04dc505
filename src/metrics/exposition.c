/* Prometheus' text format 0.0.4, and the same table for people. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "metrics/internal.h"

static const double ns_per_s = 1e9;

static const char *type_name(enum metrics_type type)
{
    switch (type) {
    case METRICS_COUNTER:
    case METRICS_TOTAL:
        return "counter";
    case METRICS_HISTOGRAM:
        return "histogram";
    case METRICS_LEVEL:
    case METRICS_GAUGE:
    case METRICS_LIST:
        break;
    }
    return "gauge";
}

/* --- Pieces ------------------------------------------------------------------------------------------------------- */

/* Backslash, quote (in labels) and the end of a line are escaped; nothing else is. */
static void append_escaped(struct buffer *buffer, const char *text, bool is_label)
{
    for (const char *rest = text; *rest != '\0'; rest++) {
        if (*rest == '\\')
            buffer_append(buffer, "\\\\", 2);
        else if (*rest == '\n')
            buffer_append(buffer, "\\n", 2);
        else if (*rest == '"' && is_label)
            buffer_append(buffer, "\\\"", 2);
        else
            buffer_append(buffer, rest, 1);
    }
}

static void append_label(struct buffer *buffer, const char *name, const char *value, bool *is_first)
{
    buffer_append_string(buffer, *is_first ? "{" : ",");
    buffer_append_string(buffer, name);
    buffer_append_string(buffer, "=\"");
    append_escaped(buffer, value, true);
    buffer_append_string(buffer, "\"");
    *is_first = false;
}

/* The name with its labels and a blank. `edge` is the value of "le", or NULL. */
static void append_name(struct buffer *buffer, const struct metrics_family *family, const char *suffix,
    const char *const values[2], const char *edge)
{
    bool is_first = true;

    buffer_append_string(buffer, family->name);
    buffer_append_string(buffer, suffix);
    for (size_t i = 0; i < COUNT_OF(family->labels); i++)
        if (family->labels[i] != METRICS_LABEL_NONE)
            append_label(buffer, metrics_labels[family->labels[i]].name, values[i], &is_first);
    if (edge != NULL)
        append_label(buffer, "le", edge, &is_first);
    buffer_append_string(buffer, is_first ? " " : "} ");
}

/* Seconds are added as nanoseconds. */
static void append_scaled(struct buffer *buffer, const struct metrics_family *family, int64_t value)
{
    if (family->unit == METRICS_SECONDS)
        buffer_append_format(buffer, "%.15g\n", (double)value / ns_per_s);
    else
        buffer_append_format(buffer, "%" PRId64 "\n", value);
}

static void format_edge(const struct metrics_family *family, uint64_t edge, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%.9g", family->unit == METRICS_SECONDS ? (double)edge / ns_per_s : (double)edge);
}

/* --- Series ------------------------------------------------------------------------------------------------------- */

static void append_histogram(
    struct buffer *buffer, const struct metrics_family *family, const uint64_t *cells, const char *const values[2])
{
    const struct metrics_edges *edges = family->edges;
    uint64_t count = 0;
    char edge[32];

    for (size_t i = 0; i < edges->count; i++) {
        count += cells[i];
        format_edge(family, edges->edges[i], edge, sizeof(edge));
        append_name(buffer, family, "_bucket", values, edge);
        buffer_append_format(buffer, "%" PRIu64 "\n", count);
    }
    count += cells[edges->count];
    append_name(buffer, family, "_bucket", values, "+Inf");
    buffer_append_format(buffer, "%" PRIu64 "\n", count);
    append_name(buffer, family, "_sum", values, NULL);
    append_scaled(buffer, family, (int64_t)cells[edges->count + 1]);
    append_name(buffer, family, "_count", values, NULL);
    buffer_append_format(buffer, "%" PRIu64 "\n", count);
}

static void append_series(
    struct buffer *buffer, const struct metrics *metrics, enum metric metric, size_t series, const uint64_t *cells)
{
    const struct metrics_family *family = &metrics_table[metric];
    const struct metrics_layout *layout = &metrics->layouts[metric];
    size_t place = layout->offset + series * layout->stride;
    const char *const values[2] = {
        metrics->labels[family->labels[0]].values[series / layout->second_count],
        metrics->labels[family->labels[1]].values[series % layout->second_count],
    };
    int64_t level = 0;

    switch (family->type) {
    case METRICS_COUNTER:
    case METRICS_LEVEL:
        /* One thread may have raised a level and another lowered it, of which only the second was seen. */
        level = (int64_t)cells[place] < 0 ? 0 : (int64_t)cells[place];
        append_name(buffer, family, "", values, NULL);
        append_scaled(buffer, family, level);
        break;
    case METRICS_HISTOGRAM:
        append_histogram(buffer, family, &cells[place], values);
        break;
    case METRICS_GAUGE:
    case METRICS_TOTAL:
        append_name(buffer, family, "", values, NULL);
        buffer_append_format(buffer, "%.15g\n", metrics_read_gauge(metrics, place));
        break;
    case METRICS_LIST:
        break;
    }
}

static void append_list(struct buffer *buffer, struct metrics *metrics, enum metric metric)
{
    const struct metrics_family *family = &metrics_table[metric];
    const struct metrics_list *list = metrics->lists[metric];

    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < list->count; i++) {
        const struct metrics_item *item = &list->items[i];
        append_name(buffer, family, "", (const char *const[]){item->labels[0], item->labels[1]}, NULL);
        buffer_append_format(buffer, "%.15g\n", item->value);
    }
    pthread_mutex_unlock(&metrics->lock);
}

static void append_head(struct buffer *buffer, const struct metrics_family *family)
{
    buffer_append_string(buffer, "# HELP ");
    buffer_append_string(buffer, family->name);
    buffer_append_string(buffer, " ");
    append_escaped(buffer, family->help, false);
    buffer_append_format(buffer, "\n# TYPE %s %s\n", family->name, type_name(family->type));
}

bool metrics_write(struct metrics *metrics, struct buffer *buffer)
{
    if (metrics == NULL)
        return true;
    uint64_t *cells = memory_new_array(metrics->cell_count, sizeof(*cells));

    pthread_mutex_lock(&metrics->lock);
    metrics_read_cells(metrics, cells);
    pthread_mutex_unlock(&metrics->lock);
    for (int i = 0; i < METRICS_COUNT; i++) {
        append_head(buffer, &metrics_table[i]);
        if (metrics_table[i].type == METRICS_LIST)
            append_list(buffer, metrics, (enum metric)i);
        else
            for (size_t series = 0; series < metrics->layouts[i].series_count; series++)
                append_series(buffer, metrics, (enum metric)i, series, cells);
    }
    free(cells);
    return !buffer->overflowed;
}

/* --- For people --------------------------------------------------------------------------------------------------- */

static const char introduction[] =
    "# Metrics\n\n"
    "What `GET /metrics` on the admin listener (`--admin-listen`) serves, in Prometheus' text format 0.0.4. This page "
    "is made from the\n"
    "table in `src/metrics/table.inc` by `leadrouter-metrics-page`, and a test holds it to what a server serves.\n\n"
    "Counters are of this process and begin with 0; what is read from the database is the same on every server, and "
    "`leadrouter_sample_age_seconds` says how\n"
    "old it is. All series are there from the start, but for those of workspaces, which are the ten with the most.\n\n"
    "| name | type | labels | unit | what |\n|---|---|---|---|---|\n";

static void describe_labels(struct buffer *buffer, const struct metrics_family *family)
{
    const char *separator = "";

    for (size_t i = 0; i < COUNT_OF(family->labels); i++)
        if (family->labels[i] != METRICS_LABEL_NONE) {
            buffer_append_format(buffer, "%s`%s`", separator, metrics_labels[family->labels[i]].name);
            separator = ", ";
        }
}

static const char *unit_name(enum metrics_unit unit)
{
    return unit == METRICS_SECONDS ? "seconds" : unit == METRICS_BYTES ? "bytes" : "";
}

static void describe_edges(struct buffer *buffer, const struct metrics_family *family)
{
    char edge[32];

    buffer_append_string(buffer, " Edges:");
    for (size_t i = 0; i < family->edges->count; i++) {
        format_edge(family, family->edges->edges[i], edge, sizeof(edge));
        buffer_append_format(buffer, " %s", edge);
    }
    buffer_append_string(buffer, ".");
}

static bool is_used(enum metrics_label label, int *ret_metric)
{
    for (int i = 0; i < METRICS_COUNT; i++)
        if (metrics_table[i].labels[0] == label || metrics_table[i].labels[1] == label) {
            *ret_metric = i;
            return true;
        }
    return false;
}

static void describe_label(struct buffer *buffer, enum metrics_label label)
{
    const struct metrics_label_family *family = &metrics_labels[label];
    int metric = 0;

    if (label == METRICS_LABEL_NONE || !is_used(label, &metric))
        return;
    buffer_append_format(buffer, "| `%s` of `%s` | %s |", family->name, metrics_table[metric].name, family->help);
    for (size_t i = 0; i < family->count; i++)
        buffer_append_format(buffer, " `%s`", family->values[i]);
    buffer_append_string(buffer, " |\n");
}

bool metrics_describe(struct buffer *buffer)
{
    buffer_append_string(buffer, introduction);
    for (int i = 0; i < METRICS_COUNT; i++) {
        const struct metrics_family *family = &metrics_table[i];
        buffer_append_format(buffer, "| `%s` | %s | ", family->name, type_name(family->type));
        describe_labels(buffer, family);
        buffer_append_format(buffer, " | %s | %s", unit_name(family->unit), family->help);
        if (family->edges != NULL)
            describe_edges(buffer, family);
        buffer_append_string(buffer, " |\n");
    }
    buffer_append_string(buffer, "\n## Labels\n\n| label | what | values |\n|---|---|---|\n");
    for (int label = 0; label < METRICS_LABELS; label++)
        describe_label(buffer, (enum metrics_label)label);
    return !buffer->overflowed;
}
