#include "descriptors.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "levels/levels.h"

enum { KEPT_MS = 1000 };

int64_t descriptors_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > (rlim_t)INT32_MAX)
        return INT32_MAX;
    return (int64_t)limit.rlim_cur;
}

int64_t descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return descriptors_limit();
}

static int64_t count_open(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int64_t count = 0;

    if (directory == NULL)
        return descriptors_limit();
    for (const struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (entry->d_name[0] != '.')
            count++;
    closedir(directory);
    return count - 1; /* the directory's own */
}

int64_t descriptors_used(struct descriptors *descriptors)
{
    int64_t now_ns = clock_now_ns();
    int_fast64_t counted_ns = atomic_load(&descriptors->counted_ns);

    /* Who is first counts; the others take what was counted before. The very first wait for nobody and count too. */
    if (counted_ns == 0 || (now_ns - counted_ns >= KEPT_MS * INT64_C(1000000) &&
                               atomic_compare_exchange_strong(&descriptors->counted_ns, &counted_ns, now_ns))) {
        atomic_store(&descriptors->used, count_open());
        atomic_store(&descriptors->counted_ns, now_ns);
    }
    return atomic_load(&descriptors->used);
}

bool descriptors_are_short(int64_t used, int64_t limit)
{
    return band_judge(BAND_DESCRIPTORS, (double)used / (double)limit) > BAND_WELL;
}
