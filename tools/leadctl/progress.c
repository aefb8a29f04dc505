#include "progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

enum { QUIET_MS = 1000, REDRAW_MS = 250, TEXT_SIZE = 80 };

struct progress {
    int64_t started_ns;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic clock */
    /* under the lock */
    bool is_over;
    char text[TEXT_SIZE];
};

static void *show(void *argument)
{
    struct progress *progress = argument;
    int64_t next_ns = clock_after_ms(QUIET_MS);
    bool has_line = false;

    pthread_mutex_lock(&progress->lock);
    while (!progress->is_over) {
        struct timespec next = {.tv_sec = next_ns / 1000000000, .tv_nsec = next_ns % 1000000000};
        pthread_cond_timedwait(&progress->changed, &progress->lock, &next);
        if (progress->is_over || clock_now_ns() < next_ns)
            continue;
        fprintf(
            stderr, "\r\033[K%s (%d s)", progress->text, (int)((clock_now_ns() - progress->started_ns) / 1000000000));
        has_line = true;
        next_ns = clock_after_ms(REDRAW_MS);
    }
    pthread_mutex_unlock(&progress->lock);
    if (has_line)
        fputs("\r\033[K", stderr);
    return NULL;
}

struct progress *progress_new(void)
{
    struct progress *progress = memory_new(sizeof(*progress));
    pthread_condattr_t attributes;

    progress->started_ns = clock_now_ns();
    pthread_mutex_init(&progress->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    progress->has_thread = isatty(STDERR_FILENO) == 1 && pthread_create(&progress->thread, NULL, show, progress) == 0;
    return progress;
}

void progress_set(struct progress *progress, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    pthread_mutex_lock(&progress->lock);
    vsnprintf(progress->text, sizeof(progress->text), format, arguments);
    pthread_mutex_unlock(&progress->lock);
    va_end(arguments);
}

void progress_free(struct progress *progress)
{
    if (progress == NULL)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->is_over = true;
    pthread_cond_signal(&progress->changed);
    pthread_mutex_unlock(&progress->lock);
    if (progress->has_thread)
        pthread_join(progress->thread, NULL);
    pthread_cond_destroy(&progress->changed);
    pthread_mutex_destroy(&progress->lock);
    free(progress);
}
