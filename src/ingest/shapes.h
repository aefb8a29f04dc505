/* What a single value looks like, whatever its column is called. Any thread. */
#ifndef INGEST_SHAPES_H
#define INGEST_SHAPES_H

#include <stdbool.h>

enum ingest_shape {
    INGEST_SHAPE_BLANK,
    INGEST_SHAPE_EMAIL,
    INGEST_SHAPE_URL,
    INGEST_SHAPE_UUID,
    INGEST_SHAPE_DATE,   /* 2026-01-31, 1/31/2026, with or without a time */
    INGEST_SHAPE_PHONE,  /* written as one: with separators, brackets or a plus */
    INGEST_SHAPE_POSTAL, /* five digits, or five and four */
    INGEST_SHAPE_NUMBER,
    INGEST_SHAPE_STATE,   /* a code or name of a US state */
    INGEST_SHAPE_COUNTRY, /* a code of three letters, or a name */
    INGEST_SHAPE_TEXT,
    INGEST_SHAPE_COUNT,
};

/* The shape of a value; the first that fits, in the order above. */
enum ingest_shape ingest_shape_of(const char *text);

/* "an e-mail address"; for messages. Static storage. */
const char *ingest_shape_title(enum ingest_shape shape);

/* True for a shape that no name of a column has. */
bool ingest_shape_is_data(enum ingest_shape shape);

#endif
