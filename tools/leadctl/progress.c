#include "progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "ticker.h"

enum { QUIET_MS = 1000, REDRAW_MS = 250, TEXT_SIZE = 80 };

struct progress {
    int64_t started_ns;
    struct ticker *ticker;
    /* under its lock */
    bool has_line;
    char text[TEXT_SIZE];
};

static void draw(void *user)
{
    struct progress *progress = user;

    fprintf(stderr, "\r\033[K%s (%d s)", progress->text, (int)((clock_now_ns() - progress->started_ns) / 1000000000));
    progress->has_line = true;
}

struct progress *progress_new(void)
{
    struct progress *progress = memory_new(sizeof(*progress));

    progress->started_ns = clock_now_ns();
    progress->ticker = ticker_new(isatty(STDERR_FILENO) == 1, QUIET_MS, REDRAW_MS, draw, progress);
    return progress;
}

void progress_set(struct progress *progress, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    ticker_lock(progress->ticker);
    vsnprintf(progress->text, sizeof(progress->text), format, arguments);
    ticker_unlock(progress->ticker);
    va_end(arguments);
}

void progress_free(struct progress *progress)
{
    if (progress == NULL)
        return;
    ticker_free(progress->ticker);
    if (progress->has_line)
        fputs("\r\033[K", stderr);
    free(progress);
}
