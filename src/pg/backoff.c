#include <limits.h>
#include <stdint.h>

#include "base/random.h"
#include "pg/pg.h"

enum { FIRST_MS = 50, MOST_MS = 5000, DOUBLINGS_MAX = 7 };

int pg_backoff_next_ms(struct pg_backoff *backoff)
{
    unsigned doublings = backoff->failures < DOUBLINGS_MAX ? backoff->failures : DOUBLINGS_MAX;
    int delay_ms = FIRST_MS << doublings;
    uint32_t random = 0;

    if (backoff->failures < UINT_MAX)
        backoff->failures++;
    if (delay_ms > MOST_MS)
        delay_ms = MOST_MS;
    random_bytes(&random, sizeof(random));
    int spread_ms = delay_ms * 2 / 5; /* the interval from -20 % to +20 % */
    return delay_ms - spread_ms / 2 + (int)(random % (uint32_t)(spread_ms + 1));
}

void pg_backoff_reset(struct pg_backoff *backoff)
{
    backoff->failures = 0;
}
