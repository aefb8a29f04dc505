#include "recent_errors.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under the lock; the latest first */
static struct recent_error kinds[RECENT_ERRORS_MAX];
static size_t kind_count;

/* The place of a kind; that of a new one is behind the others, or the last. */
static size_t find_kind(enum log_level level, const char *event, const char *message)
{
    for (size_t i = 0; i < kind_count; i++)
        if (kinds[i].level == level && strcmp(kinds[i].event, event) == 0 && strcmp(kinds[i].message, message) == 0)
            return i;
    if (kind_count < RECENT_ERRORS_MAX)
        kind_count++;
    kinds[kind_count - 1] = (struct recent_error){.level = level, .event = event, .message = message};
    return kind_count - 1;
}

static void count_line(enum log_level level, const char *event, const char *message)
{
    int64_t now_us = 0;

    if (level < LOG_LEVEL_WARNING)
        return;
    now_us = clock_unix_us();
    pthread_mutex_lock(&lock);
    size_t place = find_kind(level, event, message);
    struct recent_error kind = kinds[place];
    kind.count++;
    kind.last_us = now_us;
    if (kind.first_us == 0)
        kind.first_us = now_us;
    memmove(&kinds[1], &kinds[0], place * sizeof(kinds[0]));
    kinds[0] = kind;
    pthread_mutex_unlock(&lock);
}

void recent_errors_watch(void)
{
    log_set_observer(count_line);
}

size_t recent_errors_read(struct recent_error ret_errors[RECENT_ERRORS_MAX])
{
    pthread_mutex_lock(&lock);
    size_t count = kind_count;
    memcpy(ret_errors, kinds, count * sizeof(*ret_errors));
    pthread_mutex_unlock(&lock);
    return count;
}
