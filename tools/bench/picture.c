#include "picture.h"

#include <assert.h>
#include <math.h>

enum {
    WIDTH = 860,
    HEIGHT = 500,
    LEFT = 96,
    RIGHT = 760,
    TOP = 76,
    BOTTOM = 430,
    MARK = 4,
    LABEL_HEIGHT = 17,
    QUANTILES = 3
};

/* A curve: the same in shape, stroke and colour wherever it appears. */
static const struct curve {
    const char *name;
    const char *class; /* of CSS */
} curves[QUANTILES] = {{"p50", "a"}, {"p95", "b"}, {"p99", "c"}};

static const char style[] =
    "<style>\n"
    "svg { --ground: #ffffff; --ink: #1c2430; --soft: #55606e; --grid: #e3e7ec; --a: #1c6e8c; --b: #b4500a; --c: "
    "#8a2b6b; --level: #b3261e;"
    " font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif }\n"
    "@media (prefers-color-scheme: dark) { svg { --ground: #12161c; --ink: #e8ecf1; --soft: #a3aebb; --grid: #2a323c; "
    "--a: #67c1e0;"
    " --b: #f0a35e; --c: #e08cc4; --level: #ff8a80 } }\n"
    "text { fill: var(--ink) } .halo { paint-order: stroke; stroke: var(--ground); stroke-width: 5px }\n"
    ".soft { fill: var(--soft) } .title { font-size: 17px; font-weight: 600 }\n"
    ".ground { fill: var(--ground) } .grid { stroke: var(--grid) } .axis { stroke: var(--soft) }\n"
    ".level { stroke: var(--level); stroke-dasharray: 7 5; stroke-width: 1.5 } .level-text { fill: var(--level) }\n"
    ".line { fill: none; stroke-width: 2 } .line.b { stroke-dasharray: 9 3 } .line.c { stroke-dasharray: 3 3 }\n"
    ".line.a, .mark.a { stroke: var(--a) } .line.b, .mark.b { stroke: var(--b) } .line.c, .mark.c { stroke: var(--c) "
    "}\n"
    ".mark { stroke-width: 2 } .mark.a { fill: var(--a) } .mark.b { fill: var(--b) } .mark.c { fill: var(--c) }\n"
    ".mark.burst { fill: var(--ground) } text.a { fill: var(--a) } text.b { fill: var(--b) } text.c { fill: var(--c) "
    "}\n"
    "</style>\n";

/* Powers of ten at the ends of an axis, and the pixels there. */
struct axis {
    double first;
    double last;
    double from;
    double to;
};

struct drawing {
    FILE *output;
    const struct picture *picture;
    struct axis rates;
    struct axis times;
};

/* --- Numbers ------------------------------------------------------------------------------------------------------ */

static double quantile(const struct picture_point *point, size_t curve)
{
    const double times[QUANTILES] = {point->p50_ms, point->p95_ms, point->p99_ms};

    return fmax(0.1, times[curve]);
}

static double place(const struct axis *axis, double value)
{
    return axis->from + (log10(value) - axis->first) / (axis->last - axis->first) * (axis->to - axis->from);
}

static struct axis axis_for(double least, double most, double from, double to)
{
    struct axis axis = {.first = floor(log10(least)), .last = ceil(log10(most)), .from = from, .to = to};

    if (axis.last <= axis.first)
        axis.last = axis.first + 1;
    return axis;
}

static void choose_axes(struct drawing *drawing)
{
    const struct picture *picture = drawing->picture;
    double slow = INFINITY, busy = 1, shortest = INFINITY, longest = fmax(picture->level_p95_ms, picture->level_p99_ms);

    for (size_t i = 0; i < picture->count; i++) {
        slow = fmin(slow, fmax(1, picture->points[i].per_second));
        busy = fmax(busy, picture->points[i].per_second);
        shortest = fmin(shortest, quantile(&picture->points[i], 0));
        longest = fmax(longest, quantile(&picture->points[i], QUANTILES - 1));
    }
    drawing->rates = axis_for(slow, busy, LEFT, RIGHT);
    drawing->times = axis_for(shortest, longest, BOTTOM, TOP);
}

enum { NUMBER_SIZE = 32 };

/* "5,000", "0.1". */
static const char *format_rate(double rate, char text[NUMBER_SIZE])
{
    if (rate >= 1000)
        snprintf(text, NUMBER_SIZE, "%.0f,%03.0f", floor(rate / 1000), fmod(rate, 1000));
    else
        snprintf(text, NUMBER_SIZE, "%g", rate);
    return text;
}

/* "1.4 ms", "2 s". */
static const char *format_time(double ms, char text[NUMBER_SIZE])
{
    if (ms >= 1000)
        snprintf(text, NUMBER_SIZE, ms >= 100000 ? "%.0f s" : "%.3g s", ms / 1000);
    else
        snprintf(text, NUMBER_SIZE, ms >= 10 ? "%.0f ms" : "%.2g ms", ms);
    return text;
}

/* --- Parts -------------------------------------------------------------------------------------------------------- */

/* The figures in words, for those who do not see the picture. */
static void write_words(const struct drawing *drawing)
{
    const struct picture *picture = drawing->picture;
    char rate[NUMBER_SIZE], p50[NUMBER_SIZE], p95[NUMBER_SIZE], p99[NUMBER_SIZE];

    fprintf(drawing->output,
        "<title id=\"title\">Latency of RouteLead against the rate of calls</title>\n<desc id=\"words\">");
    for (size_t i = 0; i < picture->count; i++) {
        const struct picture_point *point = &picture->points[i];
        fprintf(drawing->output, "%s%s calls a second: p50 %s, p95 %s, p99 %s. ", point->is_burst ? "Bursts of " : "",
            format_rate(point->per_second, rate), format_time(point->p50_ms, p50), format_time(point->p95_ms, p95),
            format_time(point->p99_ms, p99));
    }
    fprintf(drawing->output, "Service levels: p95 below %s, p99 below %s.</desc>\n",
        format_time(picture->level_p95_ms, p95), format_time(picture->level_p99_ms, p99));
}

static void write_grid(const struct drawing *drawing)
{
    char text[NUMBER_SIZE];

    for (double power = drawing->times.first; power <= drawing->times.last; power++) {
        double y = place(&drawing->times, pow(10, power));
        fprintf(
            drawing->output, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, RIGHT, y, y);
        fprintf(drawing->output, "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 8,
            y + 4, format_time(pow(10, power), text));
    }
    for (double power = drawing->rates.first; power <= drawing->rates.last; power++) {
        double x = place(&drawing->rates, pow(10, power));
        fprintf(
            drawing->output, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", x, x, TOP, BOTTOM);
        fprintf(drawing->output, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x,
            BOTTOM + 20, format_rate(pow(10, power), text));
    }
    fprintf(drawing->output, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, RIGHT, BOTTOM,
        BOTTOM);
    fprintf(drawing->output, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">calls a second</text>\n",
        (LEFT + RIGHT) / 2, BOTTOM + 46);
    fprintf(drawing->output,
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 24 %d)\">from when a call is due to its "
        "answer</text>\n",
        24, (TOP + BOTTOM) / 2, (TOP + BOTTOM) / 2);
}

static void write_level(const struct drawing *drawing, const char *name, double ms)
{
    double y = place(&drawing->times, ms);
    char text[NUMBER_SIZE];

    fprintf(drawing->output, "<line class=\"level\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, RIGHT, y, y);
    fprintf(drawing->output, "<text class=\"level-text\" x=\"%d\" y=\"%.1f\">%s is to stay below %s</text>\n", LEFT + 8,
        y - 6, name, format_time(ms, text));
}

/* A circle, a square, a triangle; hollow for a burst. Its figure appears when it is pointed at. */
static void write_mark(const struct drawing *drawing, const struct picture_point *point, size_t curve)
{
    double x = place(&drawing->rates, fmax(1, point->per_second));
    double y = place(&drawing->times, quantile(point, curve));
    const char *burst = point->is_burst ? " burst" : "";
    char rate[NUMBER_SIZE], time[NUMBER_SIZE];

    if (curve == 0)
        fprintf(drawing->output, "<circle class=\"mark %s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\">", curves[curve].class,
            burst, x, y, MARK);
    else if (curve == 1)
        fprintf(drawing->output, "<rect class=\"mark %s%s\" x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\">",
            curves[curve].class, burst, x - MARK, y - MARK, 2 * MARK, 2 * MARK);
    else
        fprintf(drawing->output, "<path class=\"mark %s%s\" d=\"M%.1f %.1fl%d %dh%dz\">", curves[curve].class, burst, x,
            y - MARK - 1, MARK + 1, 2 * MARK + 1, -2 * MARK - 2);
    fprintf(drawing->output, "<title>%s%s calls a second, %s: %s</title></%s>\n", point->is_burst ? "bursts of " : "",
        format_rate(point->per_second, rate), curves[curve].name, format_time(quantile(point, curve), time),
        curve == 0   ? "circle"
        : curve == 1 ? "rect"
                     : "path");
}

static void write_curve(const struct drawing *drawing, size_t curve)
{
    const struct picture *picture = drawing->picture;
    const char *command = "M";

    fprintf(drawing->output, "<path class=\"line %s\" d=\"", curves[curve].class);
    for (size_t i = 0; i < picture->count; i++) {
        const struct picture_point *point = &picture->points[i];
        if (point->is_burst)
            continue;
        fprintf(drawing->output, "%s%.1f %.1f", command, place(&drawing->rates, fmax(1, point->per_second)),
            place(&drawing->times, quantile(point, curve)));
        command = "L";
    }
    fprintf(drawing->output, "\"/>\n");
    for (size_t i = 0; i < picture->count; i++)
        write_mark(drawing, &picture->points[i], curve);
}

/* Names of the curves, where they end, none over another. */
static void write_names(const struct drawing *drawing)
{
    const struct picture *picture = drawing->picture;
    const struct picture_point *last = &picture->points[picture->count - 1];
    double below = BOTTOM + LABEL_HEIGHT;
    char text[NUMBER_SIZE];

    for (size_t i = picture->count; i > 0; i--)
        if (!picture->points[i - 1].is_burst) {
            last = &picture->points[i - 1];
            break;
        }
    for (size_t curve = 0; curve < QUANTILES; curve++) {
        double y = fmin(place(&drawing->times, quantile(last, curve)) + 4, below - LABEL_HEIGHT);
        fprintf(drawing->output, "<text class=\"halo %s\" x=\"%.1f\" y=\"%.1f\">%s %s</text>\n", curves[curve].class,
            place(&drawing->rates, fmax(1, last->per_second)) + 12, y, curves[curve].name,
            format_time(quantile(last, curve), text));
        below = y;
    }
}

static void write_burst_names(const struct drawing *drawing)
{
    char text[NUMBER_SIZE];

    for (size_t i = 0; i < drawing->picture->count; i++) {
        const struct picture_point *point = &drawing->picture->points[i];
        if (point->is_burst)
            fprintf(drawing->output,
                "<text class=\"halo soft\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">bursts of %s</text>\n",
                place(&drawing->rates, fmax(1, point->per_second)),
                place(&drawing->times, quantile(point, QUANTILES - 1)) - 14, format_rate(point->per_second, text));
    }
}

void picture_write(FILE *output, const struct picture *picture)
{
    struct drawing drawing = {.output = output, .picture = picture};

    assert(picture->count >= 1);
    choose_axes(&drawing);
    fprintf(output,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
        "aria-labelledby=\"title words\">\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT);
    write_words(&drawing);
    fputs(style, output);
    fprintf(output, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", WIDTH, HEIGHT);
    fprintf(output, "<text class=\"title\" x=\"%d\" y=\"30\">Latency of RouteLead against the rate of calls</text>\n",
        LEFT);
    fprintf(output,
        "<text class=\"soft\" x=\"%d\" y=\"52\">half of the calls (p50), 95 and 99 in 100 take no longer; both axes by "
        "powers of ten</text>\n",
        LEFT);
    write_grid(&drawing);
    write_level(&drawing, "p95", picture->level_p95_ms);
    write_level(&drawing, "p99", picture->level_p99_ms);
    for (size_t curve = 0; curve < QUANTILES; curve++)
        write_curve(&drawing, curve);
    write_names(&drawing);
    write_burst_names(&drawing);
    fputs("</svg>\n", output);
}
