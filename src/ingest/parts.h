/* Parts of values that hold several: names of people, places. Any thread. */
#ifndef INGEST_PARTS_H
#define INGEST_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

enum ingest_part {
    INGEST_PART_NONE,
    INGEST_PART_FIRST_NAME,
    INGEST_PART_LAST_NAME,
    INGEST_PART_CITY,
    INGEST_PART_STATE,
    INGEST_PART_POSTAL_CODE,
    INGEST_PART_COUNTRY,
    INGEST_PART_COUNT,
};

/* "city" and so on. Static storage. */
const char *ingest_part_name(enum ingest_part part);

/* A part of a text, in the arena; "" when it is not there, or the text is longer than INGEST_TEXT_SIZE_MAX. Names: the first word, and the
 * rest. Places: read from the end, "1 Main St, Austin, TX 78701, United States"; what can be a US state is one. */
const char *ingest_part_of(enum ingest_part part, const char *text, struct arena *arena);

#endif
