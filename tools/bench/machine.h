/* What else the machine is doing: figures taken while it works for others say nothing. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

/* Waits until less than `percent` is busy, `timeout_ms` at most, or until the program is told to stop. Returns what
 * was busy last. */
double machine_wait_idle(double percent, int timeout_ms);

#endif
