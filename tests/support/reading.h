/* A file of leads read to its end and written down, for the tests and fuzz targets of ingest. */
#ifndef TESTS_READING_H
#define TESTS_READING_H

#include <stddef.h>

#include "ingest/reader.h"

/* Everything that a reader gives for `size` bytes fed in chunks of `chunk`, one step a line:
 *
 *     csv utf-8 , [a|b]            what the file is
 *     1 2@4 [x|y]                  row 1, which begins on line 2, at byte 4
 *     1 2@4 {"a":1}                the same of JSON
 *     1 2@4 !contains a NUL byte   a rejected row
 *     end                          or "!line 3: ..." for a file that is broken
 *
 * The caller's, released with free(). */
char *read_all(const struct ingest_reader_options *options, const char *bytes, size_t size, size_t chunk);

#endif
