#include "import_progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/display.h"
#include "base/memory.h"
#include "command.h"
#include "ticker.h"

enum {
    SILENT_MS = 1000, /* what is over sooner needs no bar */
    REDRAW_MS = 200,
    LINE_MS = 10000, /* between two lines, where there is no terminal */
    NOTE_SIZE = 160,
    LINE_SIZE = 320,
    COLUMNS_DEFAULT = 80,
    BAR_MAX = 30,
    BAR_MIN = 10,
    TIME_SIZE = 48,
};

struct import_progress {
    bool is_terminal;
    struct ticker *ticker;
    /* under its lock */
    bool has_line; /* the bar is there */
    int64_t begun_ns;
    int64_t first_offset;
    int64_t offset;
    int64_t size; /* 0: not known */
    int64_t rows;
    char note[NOTE_SIZE];
};

static int terminal_columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
}

static void clear_line(struct import_progress *progress)
{
    if (progress->has_line)
        fputs("\r\033[K", stderr);
    progress->has_line = false;
}

/* "1:02:03", "2:03" */
static void write_time(double seconds, char *ret_text, size_t size)
{
    long whole = (long)(seconds + 0.5);

    if (whole >= 3600)
        snprintf(ret_text, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(ret_text, size, "%ld:%02ld", whole / 60, whole % 60);
}

/* "45 %, 120000 rows, 8123 a second, 1:20 left", without what is not known. `*ret_fraction` is below 0 then. */
static void describe(const struct import_progress *progress, char *ret_text, size_t size, double *ret_fraction)
{
    const double seconds = (double)(clock_now_ns() - progress->begun_ns) / 1e9;
    const double done = (double)(progress->offset - progress->first_offset);
    char percent[16] = "";
    char left[64] = "";
    char time[TIME_SIZE];

    *ret_fraction = progress->size > 0 ? (double)progress->offset / (double)progress->size : -1;
    if (progress->size > 0)
        snprintf(percent, sizeof(percent), "%.0f %%, ", *ret_fraction * 100);
    if (progress->size > 0 && done > 0) {
        write_time(seconds * (double)(progress->size - progress->offset) / done, time, sizeof(time));
        snprintf(left, sizeof(left), ", %s left", time);
    }
    if (progress->begun_ns == 0)
        snprintf(ret_text, size, "%s", progress->note[0] != '\0' ? progress->note : "beginning");
    else
        snprintf(ret_text, size, "%s%" PRId64 " rows, %.0f a second%s", percent, progress->rows,
            seconds > 0 ? (double)progress->rows / seconds : 0, left);
    if (progress->note[0] != '\0' && progress->begun_ns != 0) {
        size_t used = strlen(ret_text);
        snprintf(ret_text + used, size - used, "; %s", progress->note);
    }
}

static void draw_bar(struct import_progress *progress)
{
    char text[LINE_SIZE];
    double fraction = -1;
    int columns = terminal_columns() - 1;
    int room = 0;

    describe(progress, text, sizeof(text), &fraction);
    room = columns - (int)strlen(text) - 3;
    room = room > BAR_MAX ? BAR_MAX : room;
    fputs("\r\033[K", stderr);
    if (fraction >= 0 && room >= BAR_MIN) {
        int filled = (int)(fraction * room);
        fputc('[', stderr);
        for (int i = 0; i < room; i++)
            fputc(i < filled ? '#' : '.', stderr);
        fputs("] ", stderr);
        columns -= room + 3;
    }
    fprintf(stderr, "%.*s", columns > 0 ? columns : 0, text);
    fflush(stderr);
    progress->has_line = true;
}

static void write_line(struct import_progress *progress)
{
    char text[LINE_SIZE];
    double fraction = 0;

    describe(progress, text, sizeof(text), &fraction);
    fprintf(stderr, "leadctl: %s\n", text);
}

static void draw(void *user)
{
    struct import_progress *progress = user;

    if (progress->is_terminal)
        draw_bar(progress);
    else
        write_line(progress);
}

struct import_progress *import_progress_new(bool is_quiet)
{
    struct import_progress *progress = memory_new(sizeof(*progress));

    progress->is_terminal = isatty(STDERR_FILENO) == 1;
    progress->ticker = ticker_new(!is_quiet, progress->is_terminal ? SILENT_MS : LINE_MS,
        progress->is_terminal ? REDRAW_MS : LINE_MS, draw, progress);
    return progress;
}

void import_progress_free(struct import_progress *progress)
{
    if (progress == NULL)
        return;
    ticker_free(progress->ticker);
    clear_line(progress);
    free(progress);
}

void import_progress_begin(struct import_progress *progress, int64_t offset, int64_t size)
{
    ticker_lock(progress->ticker);
    progress->begun_ns = clock_now_ns();
    progress->first_offset = offset;
    progress->offset = offset;
    progress->size = size;
    ticker_unlock(progress->ticker);
}

void import_progress_add(struct import_progress *progress, int64_t rows, int64_t offset)
{
    ticker_lock(progress->ticker);
    progress->rows += rows;
    progress->offset = offset;
    ticker_unlock(progress->ticker);
}

void import_progress_wait(struct import_progress *progress, const char *what)
{
    char *safe = display_safe(what == NULL ? "" : what);

    ticker_lock(progress->ticker);
    snprintf(progress->note, sizeof(progress->note), "%s", safe);
    ticker_unlock(progress->ticker);
    free(safe);
}

void import_progress_say(struct import_progress *progress, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = memory_format_list(format, arguments);
    va_end(arguments);
    ticker_lock(progress->ticker);
    clear_line(progress);
    print_line(stderr, "leadctl: %s", text);
    ticker_unlock(progress->ticker);
    free(text);
}
