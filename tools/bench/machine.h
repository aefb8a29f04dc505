/* What else the machine is doing: figures taken while it works for others say nothing. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

/* Share of all processors that was busy during a window of `window_ms`, in percent, from /proc/stat; -1 when that
 * cannot be read. */
double machine_busy_percent(int window_ms);

/* Waits until less than `percent` is busy, `timeout_ms` at most, or until the program is told to stop. Returns what
 * was busy last. */
double machine_wait_idle(double percent, int timeout_ms);

#endif
