#include "patience.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_FIRST_MS = 100,
    PAUSE_MAX_MS = 5000,
    ODD_TRIES_MAX = 5,
    NS_PER_MS = 1000000,
    NEVER_MS = -1,
};

/* What the server has asked for: to come back after so many ms, or NEVER_MS, which gRPC takes for anything else as well. False: nothing. */
static bool find_pushback(const struct grpc_c_outcome *outcome, int *ret_ms)
{
    for (size_t i = 0; i < outcome->trailing_metadata_count; i++) {
        const char *text = outcome->trailing_metadata[i].value;
        char *end = NULL;
        if (strcmp(outcome->trailing_metadata[i].key, "grpc-retry-pushback-ms") != 0)
            continue;
        errno = 0;
        long ms = strtol(text, &end, 10);
        *ret_ms = end == text || *end != '\0' || errno != 0 || ms < 0 || ms > INT_MAX ? NEVER_MS : (int)ms;
        return true;
    }
    return false;
}

/* What a server that is killed in the middle of a call may leave behind, among other things. */
static bool is_odd(enum grpc_c_status status)
{
    return status == GRPC_C_CANCELLED || status == GRPC_C_INTERNAL || status == GRPC_C_UNKNOWN;
}

static bool is_passing(const struct patience *patience, enum grpc_c_status status)
{
    if (is_odd(status))
        return patience->odd_tries <= ODD_TRIES_MAX;
    return status == GRPC_C_UNAVAILABLE || status == GRPC_C_DEADLINE_EXCEEDED || status == GRPC_C_RESOURCE_EXHAUSTED;
}

/* Before the try after so many that failed. */
static int usual_pause_ms(unsigned tries)
{
    int pause_ms = PAUSE_FIRST_MS;

    while (--tries > 0 && pause_ms < PAUSE_MAX_MS)
        pause_ms *= 2;
    return pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
}

enum patience_verdict patience_judge(
    struct patience *patience, const struct grpc_c_outcome *outcome, int wait_s, int64_t now_ns, int *ret_pause_ms)
{
    int pushback_ms = 0;
    const bool has_pushback = find_pushback(outcome, &pushback_ms);

    if (outcome->status == GRPC_C_RESOURCE_EXHAUSTED && (!has_pushback || pushback_ms == NEVER_MS))
        return PATIENCE_LESS;
    if (patience->tries++ == 0)
        patience->since_ns = now_ns;
    if (is_odd(outcome->status))
        patience->odd_tries++;
    const int64_t left_ms = (int64_t)wait_s * 1000 - (now_ns - patience->since_ns) / NS_PER_MS;
    if (!is_passing(patience, outcome->status) || pushback_ms == NEVER_MS || left_ms <= 0 || pushback_ms > left_ms)
        return PATIENCE_OVER;
    int pause_ms = usual_pause_ms(patience->tries);
    if (pause_ms > left_ms)
        pause_ms = (int)left_ms;
    *ret_pause_ms = pause_ms > pushback_ms ? pause_ms : pushback_ms;
    return PATIENCE_AGAIN;
}

void patience_clear(struct patience *patience)
{
    *patience = (struct patience){0};
}
