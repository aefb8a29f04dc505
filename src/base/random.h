/* Randomness. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills `size` bytes from the operating system's generator; buffered per thread, and not shared
 * with the children of a fork(). Ends the process when the system has none. Any thread. */
void random_bytes(void *ret_bytes, size_t size);

/* A seeded generator for tests, demo data and jitter: splitmix64 (Steele, Lea, Flood, OOPSLA 2014). Not for secrets. */
struct random_sequence {
    uint64_t state;
};

/* A sequence that depends on `seed` alone. Not for use by two threads at once. */
struct random_sequence random_sequence_from(uint64_t seed);

/* The next 64 bits. */
uint64_t random_next(struct random_sequence *sequence);

/* Uniform in 0 … bound-1; `bound` must not be 0. */
uint64_t random_below(struct random_sequence *sequence, uint64_t bound);

#endif
