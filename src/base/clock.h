/* Time. Deadlines and intervals use the monotonic clock; business times come from the database, never from here. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

enum { CLOCK_RFC3339_SIZE = 32 };

/* A point in time that is never reached. */
#define CLOCK_NEVER INT64_MAX

/* Nanoseconds of the monotonic clock; never negative. Like all of this file from any thread. */
int64_t clock_now_ns(void);

/* Milliseconds from now until `deadline_ns` (monotonic), rounded up; 0 when it has passed, INT_MAX for CLOCK_NEVER. What
 * poll() takes. */
int clock_left_ms(int64_t deadline_ns);

/* The deadline `ms` milliseconds from now: now for a negative number, CLOCK_NEVER for one that does not fit. */
int64_t clock_after_ms(int64_t ms);

/* Microseconds since 1970. */
int64_t clock_unix_us(void);

/* Wall clock in UTC with milliseconds, "2026-01-31T12:00:00.000Z", for log lines only; returns `ret_text`. */
char *clock_format_now(char ret_text[CLOCK_RFC3339_SIZE]);

/* A time in microseconds since 1970-01-01 UTC in the same form; returns `ret_text`. */
char *clock_format_us(int64_t unix_us, char ret_text[CLOCK_RFC3339_SIZE]);

#endif
