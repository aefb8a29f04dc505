#include "base/log_limit.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"

#define PERIOD_NS INT64_C(1000000000)

/* One kind of lines. */
struct kind {
    struct log_left_out left_out; /* `lines` of this period */
    int64_t since_ns;             /* the period's begin; 0: the place is free */
    unsigned written;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kind kinds[LOG_LIMIT_KINDS]; /* under the lock */

/* The place of a kind, or the one to use for it (`*ret_is_new`): a free one, or the oldest. */
static struct kind *find(int level, const char *event, const char *key, bool *ret_is_new)
{
    struct kind *oldest = &kinds[0];

    *ret_is_new = false;
    for (size_t i = 0; i < LOG_LIMIT_KINDS; i++) {
        struct kind *kind = &kinds[i];
        if (kind->since_ns != 0 && kind->left_out.level == level && strcmp(kind->left_out.event, event) == 0 &&
            strcmp(kind->left_out.key, key) == 0)
            return kind;
        if (kind->since_ns < oldest->since_ns)
            oldest = kind;
    }
    *ret_is_new = true;
    return oldest;
}

bool log_limit_admit(int level, const char *event, const char *key, int64_t now_ns, struct log_left_out *ret_forgotten)
{
    bool is_admitted = false, is_new = false;

    assert(now_ns > 0 && strlen(key) <= LOG_LIMIT_KEY_SIZE);
    pthread_mutex_lock(&lock);
    struct kind *kind = find(level, event, key, &is_new);
    ret_forgotten->lines = 0;
    if (is_new || now_ns - kind->since_ns >= PERIOD_NS) {
        if (kind->left_out.lines > 0)
            *ret_forgotten = kind->left_out;
        kind->since_ns = now_ns;
        kind->written = 0;
        kind->left_out.lines = 0;
        kind->left_out.level = level;
        kind->left_out.event = event;
        memcpy(kind->left_out.key, key, strlen(key) + 1);
    }
    is_admitted = kind->written < LOG_ALIKE_MAX;
    if (is_admitted)
        kind->written++;
    else
        kind->left_out.lines++;
    pthread_mutex_unlock(&lock);
    return is_admitted;
}

bool log_limit_take(int64_t now_ns, bool everything, struct log_left_out *ret_left_out)
{
    bool is_found = false;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LOG_LIMIT_KINDS && !is_found; i++) {
        struct kind *kind = &kinds[i];
        is_found = kind->left_out.lines > 0 && (everything || now_ns - kind->since_ns >= PERIOD_NS);
        if (is_found) {
            *ret_left_out = kind->left_out;
            kind->left_out.lines = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return is_found;
}
