#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

enum { NS_PER_MS = 1000000 };

int64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int clock_left_ms(int64_t deadline_ns)
{
    if (deadline_ns == CLOCK_NEVER)
        return INT_MAX;
    int64_t now_ns = clock_now_ns();
    if (deadline_ns <= now_ns) /* compared, not subtracted: any deadline may be given */
        return 0;
    int64_t left_ns = deadline_ns - now_ns;
    int64_t left_ms = left_ns / NS_PER_MS + (left_ns % NS_PER_MS != 0);
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

int64_t clock_after_ms(int64_t ms)
{
    int64_t now_ns = clock_now_ns();

    if (ms <= 0)
        return now_ns;
    if (ms >= (CLOCK_NEVER - now_ns) / NS_PER_MS)
        return CLOCK_NEVER;
    return now_ns + ms * NS_PER_MS;
}

int64_t clock_unix_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

char *clock_format_now(char ret_text[CLOCK_RFC3339_SIZE])
{
    return clock_format_us(clock_unix_us(), ret_text);
}

char *clock_format_us(int64_t unix_us, char ret_text[CLOCK_RFC3339_SIZE])
{
    int64_t seconds = unix_us / 1000000;
    int64_t rest_us = unix_us % 1000000;
    struct tm parts = {0};

    if (rest_us < 0) {
        rest_us += 1000000;
        seconds--;
    }
    time_t time = (time_t)seconds;
    char date[CLOCK_RFC3339_SIZE] = "";
    if (gmtime_r(&time, &parts) == NULL || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        date[0] = '\0';
    snprintf(ret_text, CLOCK_RFC3339_SIZE, "%.25s.%03dZ", date, (int)(rest_us / 1000));
    return ret_text;
}
