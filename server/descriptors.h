/* File descriptors: how many there may be and how many there are. The gRPC core does not survive running out of them. */
#ifndef SERVER_DESCRIPTORS_H
#define SERVER_DESCRIPTORS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Counts, kept for a second. Zero is empty. Any thread. */
struct descriptors {
    atomic_int_fast64_t counted_ns;
    atomic_int_fast64_t used;
};

/* Raises the soft limit to the hard one, for this process and those it starts. Returns the limit that holds now. */
int64_t descriptors_raise(void);

/* The soft limit of the moment. */
int64_t descriptors_limit(void);

/* How many are open; counted at most once a second. All of them when not even one more can be opened. */
int64_t descriptors_used(struct descriptors *descriptors);

/* Whether `used` of `limit` is more than levels/levels.h allows (BAND_DESCRIPTORS): then the server is not ready for new connections. */
bool descriptors_are_short(int64_t used, int64_t limit);

#endif
