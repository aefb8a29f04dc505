#include "machine.h"

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"
#include "run.h"

enum { WINDOW_MS = 250 };

struct processor_times {
    uint64_t idle; /* clock ticks of all processors together */
    uint64_t all;
};

/* The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). */
static bool read_times(struct processor_times *ret_times)
{
    uint64_t t[8] = {0};
    FILE *file = fopen("/proc/stat", "re");
    bool ok = false;

    if (file == NULL)
        return false;
    ok =
        fscanf(file, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
            &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) == 8;
    fclose(file);
    *ret_times = (struct processor_times){.idle = t[3] + t[4]};
    for (int i = 0; i < 8; i++)
        ret_times->all += t[i];
    return ok;
}

/* Share of all processors that was busy during a window of `window_ms`, in percent, from /proc/stat; -1 when that cannot be read. */
static double busy_percent(int window_ms)
{
    struct processor_times before = {0};
    struct processor_times after = {0};

    if (!read_times(&before))
        return -1;
    poll(NULL, 0, window_ms);
    if (!read_times(&after) || after.all <= before.all)
        return -1;
    return 100.0 * (1.0 - (double)(after.idle - before.idle) / (double)(after.all - before.all));
}

double machine_wait_idle(double percent, int timeout_ms)
{
    int64_t deadline_ns = clock_after_ms(timeout_ms);
    double busy = busy_percent(WINDOW_MS);

    while (busy >= percent && clock_now_ns() < deadline_ns && !atomic_load(&run_interrupted))
        busy = busy_percent(WINDOW_MS);
    return busy;
}
