/* Latency against rate as a picture in SVG: both axes by powers of ten, light and dark as whoever looks at it likes it, and its figures
 * as text for those who do not see it. */
#ifndef BENCH_PICTURE_H
#define BENCH_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* One load. */
struct picture_point {
    double per_second;
    double p50_ms;
    double p95_ms;
    double p99_ms;
    bool is_burst; /* stands by itself, the line does not go through it */
};

struct picture {
    const struct picture_point *points; /* by rate, 1 at least */
    size_t count;
    double level_p95_ms; /* what must not be reached */
    double level_p99_ms;
};

/* Writes the picture; of times below 0.1 ms and rates below 1 it shows these. */
void picture_write(FILE *output, const struct picture *picture);

#endif
