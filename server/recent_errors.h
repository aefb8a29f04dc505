/* Which warnings and errors this process has logged, counted by their constant texts: for the live page. Nothing of a line's
 * fields is kept. */
#ifndef SERVER_RECENT_ERRORS_H
#define SERVER_RECENT_ERRORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum { RECENT_ERRORS_MAX = 32 /* kinds; of more, the one that was seen longest ago is forgotten */ };

/* One kind of line. */
struct recent_error {
    enum log_level level;
    const char *event; /* constants */
    const char *message;
    uint64_t count;
    int64_t first_us; /* Unix */
    int64_t last_us;
};

/* Begins to count what is logged from here on. Once, before threads start. */
void recent_errors_watch(void);

/* Copies what was counted, the latest first: how many kinds. Any thread. */
size_t recent_errors_read(struct recent_error ret_errors[RECENT_ERRORS_MAX]);

#endif
